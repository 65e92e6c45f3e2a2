/* SPDX-License-Identifier: MIT */
#include "packets.h"

#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#define MOST 70000u

uint8_t packet_byte(uint32_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) * 13);
}

/* The bytes as one piece; returns their number. */
static uint32_t build(const struct packet *p, uint8_t *bytes, struct rte_mbuf *m)
{
	uint32_t l4 = p->udp ? sizeof(struct rte_udp_hdr) : sizeof(struct rte_tcp_hdr);
	uint32_t at = 12, l3, len = l4 + p->payload;
	uint16_t sum = 0;

	memcpy(bytes, p->dst, 6);
	memcpy(bytes + 6, p->src, 6);
	for (unsigned i = 0; i < p->tags; i++, at += 4)
		memcpy(bytes + at, "\x81\x00\x00\x05", 4);
	memcpy(bytes + at, p->v6 ? "\x86\xdd" : "\x08\x00", 2);
	at += 2;
	m->l2_len = at & 0x7f;
	l3 = at;
	if (p->v6) {
		struct rte_ipv6_hdr *ip = (void *)(bytes + at);

		*ip = (struct rte_ipv6_hdr){
			.vtc_flow = rte_cpu_to_be_32(6u << 28),
			.payload_len = rte_cpu_to_be_16((uint16_t)len),
			.proto = p->udp ? IPPROTO_UDP : IPPROTO_TCP,
			.hop_limits = 64,
			.src_addr = { 0xfd, [15] = 1 },
			.dst_addr = { 0xfd, [15] = 2 },
		};
		sum = rte_ipv6_phdr_cksum(ip, 0);
		at += sizeof(*ip);
	} else {
		struct rte_ipv4_hdr *ip = (void *)(bytes + at);

		*ip = (struct rte_ipv4_hdr){
			.version_ihl = 0x45,
			.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(*ip) + len)),
			.packet_id = rte_cpu_to_be_16(0xfffe),
			.time_to_live = 64,
			.next_proto_id = p->udp ? IPPROTO_UDP : IPPROTO_TCP,
			.src_addr = rte_cpu_to_be_32(0x0a000001),
			.dst_addr = rte_cpu_to_be_32(0x0a000002),
		};
		ip->hdr_checksum = rte_ipv4_cksum(ip);
		sum = rte_ipv4_phdr_cksum(ip, 0);
		at += sizeof(*ip);
	}
	m->l3_len = (at - l3) & 0x1ff;
	m->l4_len = l4 & 0xff;
	if (p->udp)
		*(struct rte_udp_hdr *)(bytes + at) = (struct rte_udp_hdr){
			.src_port = rte_cpu_to_be_16(1000),
			.dst_port = rte_cpu_to_be_16(2000),
			.dgram_len = rte_cpu_to_be_16((uint16_t)len),
			.dgram_cksum = sum,
		};
	else
		*(struct rte_tcp_hdr *)(bytes + at) = (struct rte_tcp_hdr){
			.src_port = rte_cpu_to_be_16(1000),
			.dst_port = rte_cpu_to_be_16(2000),
			.sent_seq = rte_cpu_to_be_32(0xfffffff0),
			.data_off = 5 << 4,
			.tcp_flags = RTE_TCP_ACK_FLAG | RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG |
				     RTE_TCP_CWR_FLAG,
			.cksum = sum,
		};
	at += l4;
	for (uint32_t i = 0; i < p->payload; i++)
		bytes[at + i] = packet_byte(i);
	return at + p->payload;
}

struct rte_mbuf *packet_new(struct rte_mempool *pool, const struct packet *p)
{
	static uint8_t bytes[MOST];
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *last = m;
	uint32_t len, at = 0;

	if (!m)
		return NULL;
	len = build(p, bytes, m);
	m->ol_flags = p->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	if (p->blank || p->segsz)
		m->ol_flags |= p->udp ? RTE_MBUF_F_TX_UDP_CKSUM : RTE_MBUF_F_TX_TCP_CKSUM;
	if (p->segsz) {
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		m->tso_segsz = (uint16_t)p->segsz;
	}
	while (at < len) {
		uint32_t room = RTE_MIN(len - at, (uint32_t)rte_pktmbuf_tailroom(last));

		if (p->piece && room > p->piece - last->data_len)
			room = p->piece - last->data_len;
		memcpy(rte_pktmbuf_mtod_offset(last, void *, last->data_len), bytes + at, room);
		last->data_len = (uint16_t)(last->data_len + room);
		m->pkt_len += room;
		at += room;
		if (at == len)
			break;
		last->next = rte_pktmbuf_alloc(pool);
		if (!last->next) {
			rte_pktmbuf_free(m);
			return NULL;
		}
		last = last->next;
		m->nb_segs++;
	}
	return m;
}

/* Of the pseudo-header and all behind it. */
static bool sums_up(uint16_t pseudo, const void *l4, uint32_t len)
{
	uint32_t sum = pseudo + rte_raw_cksum(l4, len);

	return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

bool packet_checksum_ok(const struct rte_mbuf *m)
{
	const uint8_t *bytes = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct rte_ipv4_hdr *ip4;
	const struct rte_ipv6_hdr *ip6;
	uint32_t at = 12;

	while (bytes[at] == 0x81)
		at += 4;
	ip4 = (const void *)(bytes + at + 2);
	ip6 = (const void *)ip4;
	if (ip4->version_ihl >> 4 == 6)
		return sums_up(rte_ipv6_phdr_cksum(ip6, 0), ip6 + 1,
			       rte_be_to_cpu_16(ip6->payload_len));
	return rte_raw_cksum(ip4, sizeof(*ip4)) == 0xffff &&
	       sums_up(rte_ipv4_phdr_cksum(ip4, 0), ip4 + 1,
		       rte_be_to_cpu_16(ip4->total_length) - (uint32_t)sizeof(*ip4));
}
