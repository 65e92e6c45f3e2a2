/* SPDX-License-Identifier: MIT */
/* Headers of Ethernet, IPv4, IPv6, TCP and UDP, none of whose lengths is believed. */
#include <errno.h>
#include <net/packet.h>
#include <netinet/in.h>
#include <string.h>

#include <rte_mbuf.h>

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_QINQ 0x88a8u
#define ETHERTYPE_IPV6 0x86ddu
#define MAX_TAGS       2u
#define MAX_EXTENSIONS 8u

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* The type of what follows Ethernet and its tags; 0: too short. */
static unsigned parse_ethernet(const uint8_t *p, size_t size, struct sr_net_headers *h)
{
	unsigned type, at = 12;

	if (size < 14)
		return 0;
	type = be16(p + at);
	for (unsigned i = 0; i < MAX_TAGS && (type == ETHERTYPE_VLAN || type == ETHERTYPE_QINQ);
	     i++) {
		at += 4;
		if (size < at + 2)
			return 0;
		type = be16(p + at);
	}
	h->l2_len = (uint8_t)(at + 2);
	return type;
}

static int parse_v4(const uint8_t *ip, size_t size, size_t len, struct sr_net_headers *h)
{
	unsigned header, total;

	if (size < 20)
		return -EBADMSG;
	header = (ip[0] & 15u) * 4;
	total = be16(ip + 2);
	if (ip[0] >> 4 != 4 || header < 20 || header > size || total < header || total > len)
		return -EBADMSG;
	h->ip = 4;
	h->l3_len = (uint16_t)header;
	h->l4_size = (uint16_t)(total - header);
	h->protocol = ip[9];
	/* More fragments, or not the first. */
	h->fragment = (be16(ip + 6) & 0x3fff) != 0;
	return 0;
}

/* One extension header: its length, 0 if it is none. -EBADMSG: not all of it is there. */
static int extension(const uint8_t *p, size_t size, struct sr_net_headers *h)
{
	size_t len;

	switch (h->protocol) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case 135: /* mobility */
		if (size < 8)
			return -EBADMSG;
		len = (p[1] + 1u) * 8;
		break;
	case IPPROTO_AH:
		if (size < 8)
			return -EBADMSG;
		len = (p[1] + 2u) * 4;
		break;
	case IPPROTO_FRAGMENT:
		if (size < 8)
			return -EBADMSG;
		len = 8;
		/* An offset, or more to come; a fragment that is the whole is none. */
		if (be16(p + 2) & 0xfff9)
			h->fragment = true;
		break;
	default:
		return 0;
	}
	if (len > size)
		return -EBADMSG;
	h->protocol = p[0];
	return (int)len;
}

static int parse_v6(const uint8_t *ip, size_t size, size_t len, struct sr_net_headers *h)
{
	unsigned at = 40, payload;

	if (size < 40)
		return -EBADMSG;
	payload = be16(ip + 4);
	if (ip[0] >> 4 != 6 || payload + 40 > len)
		return -EBADMSG;
	if (size > payload + 40)
		size = payload + 40;
	h->protocol = ip[6];
	for (unsigned i = 0; i < MAX_EXTENSIONS && !h->fragment; i++) {
		int n = extension(ip + at, size - at, h);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		at += (unsigned)n;
	}
	h->ip = 6;
	h->l3_len = (uint16_t)at;
	h->l4_size = (uint16_t)(payload + 40 - at);
	return 0;
}

static int parse_l4(const uint8_t *p, size_t size, struct sr_net_headers *h)
{
	unsigned len = 0;

	if (size > h->l4_size)
		size = h->l4_size;
	if (h->protocol == IPPROTO_TCP && size >= 20) {
		len = (p[12] >> 4) * 4u;
		if (len < 20 || len > size)
			return -EBADMSG;
	} else if (h->protocol == IPPROTO_UDP && size >= 8) {
		len = 8;
	}
	h->l4_len = (uint8_t)len;
	h->l4_complete = len != 0;
	return 0;
}

int sr_net_parse(const uint8_t *p, size_t size, size_t len, struct sr_net_headers *h)
{
	unsigned type;
	int rc;

	memset(h, 0, sizeof(*h));
	type = parse_ethernet(p, size, h);
	if (type == ETHERTYPE_IPV4)
		rc = parse_v4(p + h->l2_len, size - h->l2_len, len - h->l2_len, h);
	else if (type == ETHERTYPE_IPV6)
		rc = parse_v6(p + h->l2_len, size - h->l2_len, len - h->l2_len, h);
	else
		return 0;
	if (!rc && !h->fragment)
		rc = parse_l4(p + h->l2_len + h->l3_len, size - h->l2_len - h->l3_len, h);
	return rc;
}

int sr_net_parse_packet(const struct rte_mbuf *pkt, struct sr_net_headers *h)
{
	uint32_t size = pkt->pkt_len < SR_NET_HEADERS ? pkt->pkt_len : SR_NET_HEADERS;
	uint8_t copy[SR_NET_HEADERS];

	return sr_net_parse(rte_pktmbuf_read(pkt, 0, size, copy), size, pkt->pkt_len, h);
}
