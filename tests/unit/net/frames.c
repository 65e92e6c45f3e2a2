/* SPDX-License-Identifier: MIT */
/* Frames to test with, and their checksums, done once more in the plainest way. */
#include "rig.h"

#include <netinet/in.h>
#include <string.h>

static uint32_t add(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint16_t pseudo(const uint8_t *ip, bool v6, unsigned protocol, unsigned l4)
{
	uint32_t sum = v6 ? add(0, ip + 8, 32) : add(0, ip + 12, 8);

	return fold(sum + protocol + l4);
}

unsigned rig_build(uint8_t *frame, const struct rig_spec *s)
{
	unsigned l2 = s->vlan ? 18 : 14, l4 = s->udp ? 8 : 20 + s->tcp_options;
	unsigned l3 = (s->v6 ? 40 : 20) + s->options;
	unsigned protocol = s->udp ? IPPROTO_UDP : IPPROTO_TCP;
	uint8_t *ip = frame + l2, *l4p = ip + l3;

	for (unsigned i = 0; i < l2 + l3 + l4 + s->payload; i++)
		frame[i] = (uint8_t)(i * 7 + 3);
	frame[0] = 2;
	if (s->vlan) {
		put16(frame + 12, 0x8100);
		put16(frame + 14, 100);
	}
	put16(frame + l2 - 2, s->v6 ? 0x86dd : 0x0800);
	if (s->v6) {
		ip[0] = 0x60;
		put16(ip + 4, s->options + l4 + s->payload);
		ip[6] = (uint8_t)(s->options ? IPPROTO_HOPOPTS : protocol);
		if (s->options) {
			ip[40] = (uint8_t)protocol;
			ip[41] = (uint8_t)(s->options / 8 - 1);
		}
	} else {
		ip[0] = (uint8_t)(0x40 | l3 / 4);
		put16(ip + 2, l3 + l4 + s->payload);
		put16(ip + 6, 0x4000);
		ip[9] = (uint8_t)protocol;
		put16(ip + 10, 0);
		put16(ip + 10, (uint16_t)~fold(add(0, ip, l3)));
	}
	if (s->udp) {
		put16(l4p + 4, l4 + s->payload);
		put16(l4p + 6, pseudo(ip, s->v6, protocol, l4 + s->payload));
	} else {
		l4p[12] = (uint8_t)(l4 / 4 << 4);
		l4p[13] = 0x99; /* CWR, ACK, PSH, FIN */
		put16(l4p + 16, pseudo(ip, s->v6, protocol, l4 + s->payload));
	}
	return l2 + l3 + l4 + s->payload;
}

bool rig_checksum_good(const uint8_t *frame, size_t len)
{
	unsigned l2 = get16(frame + 12) == 0x8100 ? 18 : 14, l3, size, protocol;
	bool v6 = get16(frame + l2 - 2) == 0x86dd;
	const uint8_t *ip = frame + l2;

	if (v6) {
		l3 = 40;
		protocol = ip[6];
		if (protocol == IPPROTO_HOPOPTS) {
			protocol = ip[40];
			l3 += (ip[41] + 1u) * 8;
		}
		size = get16(ip + 4) + 40 - l3;
	} else {
		l3 = (ip[0] & 15u) * 4;
		protocol = ip[9];
		size = get16(ip + 2) - l3;
		if (fold(add(0, ip, l3)) != 0xffff)
			return false;
	}
	if (l2 + l3 + size > len)
		return false;
	return fold(add(pseudo(ip, v6, protocol, size), ip + l3, size)) == 0xffff;
}
