/* SPDX-License-Identifier: MIT */
/* Checksums that somebody else should have filled in. */
#include <errno.h>
#include <net/packet.h>
#include <netinet/in.h>

#include <rte_ip.h>
#include <rte_mbuf.h>

#define L4_FLAGS                                                                                   \
	(RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_TCP_SEG)

/* May its bytes be written? Nobody else may hold them, and all headers must lie in one segment. */
static bool is_ours(const struct rte_mbuf *m)
{
	return rte_mbuf_refcnt_read(m) == 1 && RTE_MBUF_DIRECT(m) &&
	       (m->data_len >= SR_NET_HEADERS || m->data_len == m->pkt_len);
}

/*
 * Not rte_raw_cksum_mbuf(): the one of DPDK 22.11 loses carries where a segment begins at an odd
 * place.
 */
uint16_t sr_net_sum(const struct rte_mbuf *pkt, uint32_t at, uint32_t len)
{
	uint32_t sum = 0;
	bool odd = false;

	for (; pkt && at >= pkt->data_len; pkt = pkt->next)
		at -= pkt->data_len;
	for (; len && pkt; pkt = pkt->next, at = 0) {
		uint32_t n;
		uint16_t part;

		n = pkt->data_len - at < len ? pkt->data_len - at : len;
		part = rte_raw_cksum(rte_pktmbuf_mtod_offset(pkt, const void *, at), n);
		sum += odd ? rte_bswap16(part) : part;
		odd ^= n & 1;
		len -= n;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

int sr_net_finish_checksum(struct rte_mbuf **pkt, struct rte_mempool *pool)
{
	bool tcp = ((*pkt)->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM;
	struct sr_net_headers h;
	unaligned_uint16_t *field;
	unsigned l4;
	uint16_t sum;

	if (sr_net_parse_packet(*pkt, &h) || !h.l4_complete ||
	    h.protocol != (tcp ? IPPROTO_TCP : IPPROTO_UDP))
		return -EBADMSG;
	if (!is_ours(*pkt)) {
		struct rte_mbuf *copy = rte_pktmbuf_copy(*pkt, pool, 0, UINT32_MAX);

		if (!copy)
			return -ENOMEM;
		rte_pktmbuf_free(*pkt);
		*pkt = copy;
	}
	l4 = (unsigned)h.l2_len + h.l3_len;
	field = rte_pktmbuf_mtod_offset(*pkt, unaligned_uint16_t *, l4 + (tcp ? 16 : 6));
	/* The field is summed up with the rest: it holds the pseudo-header's part. */
	sum = (uint16_t)~sr_net_sum(*pkt, l4, h.l4_size);
	/* Of UDP 0 says that there is none. */
	*field = !sum && !tcp ? 0xffff : sum;
	(*pkt)->ol_flags &= ~L4_FLAGS;
	(*pkt)->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	return 0;
}
