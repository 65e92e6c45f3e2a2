/* SPDX-License-Identifier: MIT */
/* What a guest says of a packet, held up to the packet itself: our copy, which it can't change. */
#include <netinet/in.h>

#include <net/packet.h>
#include <rte_ip.h>

#include "engine.h"

#define DROP(reason) (1u + (unsigned)(reason))

static uint16_t *checksum_field(struct rte_mbuf *pkt, const struct sr_net_headers *h)
{
	unsigned field = h->protocol == IPPROTO_TCP ? 16 : 6;

	return rte_pktmbuf_mtod_offset(pkt, uint16_t *, (unsigned)h->l2_len + h->l3_len + field);
}

/*
 * A guest that wants segments and gives no blank checksum has one made all the same: the field gets
 * the pseudo-header's sum, as if it had been blank.
 */
static void blank(struct rte_mbuf *pkt, const struct sr_net_headers *h)
{
	const void *ip = rte_pktmbuf_mtod_offset(pkt, void *, h->l2_len);
	uint16_t *field = checksum_field(pkt, h);
	struct rte_ipv4_hdr v4;
	struct rte_ipv6_hdr v6;

	if (h->ip == 4) {
		memcpy(&v4, ip, sizeof(v4));
		v4.total_length = rte_cpu_to_be_16((uint16_t)(sizeof(v4) + h->l4_size));
		v4.version_ihl = 0x45;
		v4.next_proto_id = h->protocol;
		*(unaligned_uint16_t *)field = rte_ipv4_phdr_cksum(&v4, 0);
		return;
	}
	memcpy(&v6, ip, sizeof(v6));
	v6.payload_len = rte_cpu_to_be_16(h->l4_size);
	v6.proto = h->protocol;
	*(unaligned_uint16_t *)field = rte_ipv6_phdr_cksum(&v6, 0);
}

static unsigned segmentation(const struct sr_tx_packet *p, struct rte_mbuf *pkt,
			     const struct sr_net_headers *h)
{
	unsigned ip = p->gso == XEN_NETIF_GSO_TYPE_TCPV4 ? 4 : 6;

	if (h->protocol != IPPROTO_TCP || h->ip != ip)
		return DROP(SR_NET_DROP_GSO);
	if (!(p->flags & NETTXF_csum_blank))
		blank(pkt, h);
	/* What fits in one segment needs no cutting. */
	if ((unsigned)h->l4_size - h->l4_len <= p->gso_size)
		return 0;
	pkt->tso_segsz = p->gso_size;
	pkt->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	return 0;
}

unsigned sr_tx_finish(const struct sr_tx_packet *p, struct rte_mbuf *pkt)
{
	size_t size = pkt->data_len < SR_NET_HEADERS ? pkt->data_len : SR_NET_HEADERS;
	struct sr_net_headers h;

	if (p->has_hash) {
		pkt->hash.rss = p->hash;
		pkt->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
	}
	if (!(p->flags & NETTXF_csum_blank) && !p->gso) {
		if (p->flags & NETTXF_data_validated)
			pkt->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
		return 0;
	}
	/* Our segments hold 2048 bytes and more, so all headers that are looked at lie in one. */
	if (sr_net_parse(rte_pktmbuf_mtod(pkt, uint8_t *), size, pkt->pkt_len, &h) || !h.ip ||
	    h.fragment || !h.l4_complete)
		return DROP(p->gso ? SR_NET_DROP_GSO : SR_NET_DROP_CHECKSUM);
	pkt->l2_len = h.l2_len;
	pkt->l3_len = h.l3_len;
	pkt->l4_len = h.l4_len;
	pkt->ol_flags |= h.ip == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	pkt->ol_flags |=
	    h.protocol == IPPROTO_TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
	return p->gso ? segmentation(p, pkt, &h) : 0;
}
