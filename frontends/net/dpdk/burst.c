/* SPDX-License-Identifier: MIT */
/* Bursts of packets between DPDK and netfront. */
#include "xenfront.h"

#include <errno.h>
#include <string.h>

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include <ring/atomic.h>

/* --- receiving ----------------------------------------------------------------------------------
 */

static void post(struct sr_xf_rx_queue *rx)
{
	unsigned room = sr_netfront_rx_room(rx->q);

	while (room) {
		struct sr_netfront_buffer buffers[SR_XF_BURST];
		struct rte_mbuf *fresh[SR_XF_BURST];
		unsigned n = RTE_MIN(room, SR_XF_BURST);
		int taken;

		if (rte_pktmbuf_alloc_bulk(rx->pool, fresh, n)) {
			rx->no_mbuf++;
			return;
		}
		for (unsigned i = 0; i < n; i++) {
			sr_xf_shift(fresh[i], 0);
			buffers[i] = (struct sr_netfront_buffer){ .page = fresh[i]->buf_addr,
								  .tag = fresh[i] };
		}
		taken = sr_netfront_post(rx->q, buffers, n);
		if (taken < (int)n) {
			taken = RTE_MAX(taken, 0);
			rte_pktmbuf_free_bulk(fresh + taken, n - (unsigned)taken);
			return;
		}
		room -= n;
	}
}

static void set_rx_flags(struct rte_mbuf *m, const struct sr_netfront_rx *pkt)
{
	if (pkt->flags & SR_NETFRONT_CSUM_BLANK)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE; /* not there, but the data are right */
	else if (pkt->flags & SR_NETFRONT_CSUM_VALID)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	if (pkt->gso_size) {
		m->ol_flags |= RTE_MBUF_F_RX_LRO;
		m->tso_segsz = pkt->gso_size;
	}
	if (pkt->flags & SR_NETFRONT_HASH) {
		m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
		m->hash.rss = pkt->hash;
	}
}

/* The packet's first mbuf, with the others behind it. */
static struct rte_mbuf *chain(const struct sr_netfront_rx *pkt,
			      const struct sr_netfront_rx_segment *segments, uint16_t port)
{
	struct rte_mbuf *head = segments[pkt->first].tag, *last = NULL;

	for (unsigned i = 0; i < pkt->count; i++) {
		const struct sr_netfront_rx_segment *s = &segments[pkt->first + i];
		struct rte_mbuf *m = s->tag;

		m->data_off = s->offset;
		m->data_len = s->length;
		if (last)
			last->next = m;
		last = m;
	}
	head->nb_segs = pkt->count;
	head->pkt_len = pkt->length;
	head->port = port;
	set_rx_flags(head, pkt);
	return head;
}

uint16_t sr_xf_receive(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct sr_netfront_rx_segment segments[SR_XF_BURST + SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_rx found[SR_XF_BURST];
	struct sr_xf_rx_queue *rx = queue;
	int count =
	    sr_netfront_receive(rx->q, found, RTE_MIN(n, SR_XF_BURST), segments, RTE_DIM(segments));

	for (int i = 0; i < count; i++)
		pkts[i] = chain(&found[i], segments, rx->port);
	if (count >= 0) {
		post(rx);
		sr_netfront_kick(rx->q);
	}
	return count > 0 ? (uint16_t)count : 0;
}

/* --- sending ------------------------------------------------------------------------------------
 */

/*
 * Makes an mbuf that was sent ready for its next writer, which it soon has: the backend has the
 * line where that one begins.
 */
static void renew(const struct sr_xf *xf, struct rte_mbuf *m)
{
	for (const struct sr_xf_pool *p = xf->pools; p; p = p->next)
		if (p->pool == m->pool && rte_mbuf_refcnt_read(m) == 1) {
			sr_xf_shift(m, sr_xf_colour(p, m->buf_addr));
			break;
		}
	sr_ring_prefetch_write((uint8_t *)m->buf_addr + RTE_PKTMBUF_HEADROOM);
}

/* Frees packets that have been answered, `max` at most. How many. */
static unsigned reap(struct sr_xf_tx_queue *tx, unsigned max)
{
	struct sr_netfront_done done[SR_XF_BURST];
	struct rte_mbuf *sent[SR_XF_BURST];
	unsigned n, most, total = 0;

	do {
		most = RTE_MIN(max - total, SR_XF_BURST);
		n = sr_netfront_reap(tx->q, done, most);
		for (unsigned i = 0; i < n; i++) {
			sent[i] = done[i].tag;
			renew(tx->xf, sent[i]);
		}
		rte_pktmbuf_free_bulk(sent, n);
		total += n;
	} while (n == most && total < max);
	return total;
}

int sr_xf_done_cleanup(void *queue, uint32_t count)
{
	return (int)reap(queue, count ? count : SR_NETFRONT_RING_SIZE);
}

static void describe(struct rte_mbuf *m, struct sr_netfront_segment *segments,
		     struct sr_netfront_tx *pkt)
{
	uint64_t flags = m->ol_flags;

	*pkt = (struct sr_netfront_tx){ .segments = segments, .tag = m };
	for (const struct rte_mbuf *s = m; s; s = s->next)
		segments[pkt->count++] = (struct sr_netfront_segment){
			.addr = rte_pktmbuf_mtod(s, const void *),
			.length = s->data_len,
		};
	if (flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG))
		pkt->flags = SR_NETFRONT_CSUM_BLANK | SR_NETFRONT_CSUM_VALID;
	if (flags & RTE_MBUF_F_TX_TCP_SEG) {
		pkt->flags |= flags & RTE_MBUF_F_TX_IPV6 ? SR_NETFRONT_GSO6 : SR_NETFRONT_GSO4;
		pkt->gso_size = m->tso_segsz;
	}
}

uint16_t sr_xf_transmit(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	struct sr_netfront_segment segments[4 * SR_XF_BURST];
	struct sr_netfront_tx burst[SR_XF_BURST];
	struct sr_xf_tx_queue *tx = queue;
	unsigned used = 0, count = 0;
	int taken;

	/* Seldom, and then many: each look at the responses takes the indices' line from the
	 * backend. */
	if (!n || sr_netfront_tx_room(tx->q) < tx->free_thresh)
		reap(tx, SR_NETFRONT_RING_SIZE);
	while (count < n && count < SR_XF_BURST &&
	       used + pkts[count]->nb_segs <= RTE_DIM(segments)) {
		describe(pkts[count], segments + used, &burst[count]);
		used += pkts[count++]->nb_segs;
	}
	taken = sr_netfront_transmit(tx->q, burst, count);
	if (taken < 0 || (!count && n)) {
		/* This one never can be sent: the application is rid of it, the others follow. */
		rte_pktmbuf_free(pkts[0]);
		tx->sent.refused++;
		taken = 1;
	} else {
		tx->sent.packets += (unsigned)taken;
		for (int i = 0; i < taken; i++)
			tx->sent.bytes += pkts[i]->pkt_len;
	}
	sr_netfront_kick(tx->q);
	return (uint16_t)taken;
}

/* Puts the pseudo-header's sum where a packet's checksum will be. False: it is too short for that.
 */
static bool put_pseudo_header(struct rte_mbuf *m)
{
	bool tcp = (m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM ||
		   m->ol_flags & RTE_MBUF_F_TX_TCP_SEG;
	unsigned at =
	    m->l2_len + m->l3_len +
	    (tcp ? offsetof(struct rte_tcp_hdr, cksum) : offsetof(struct rte_udp_hdr, dgram_cksum));
	uint16_t sum;

	if (m->data_len < at + sizeof(sum))
		return false;
	/* By the length of the whole packet, be it segmented or not. */
	if (m->ol_flags & RTE_MBUF_F_TX_IPV6)
		sum = rte_ipv6_phdr_cksum(rte_pktmbuf_mtod_offset(m, void *, m->l2_len), 0);
	else
		sum = rte_ipv4_phdr_cksum(rte_pktmbuf_mtod_offset(m, void *, m->l2_len), 0);
	memcpy(rte_pktmbuf_mtod_offset(m, void *, at), &sum, sizeof(sum));
	return true;
}

uint16_t sr_xf_prepare(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	(void)queue;
	for (uint16_t i = 0; i < n; i++) {
		uint64_t l4 = pkts[i]->ol_flags & RTE_MBUF_F_TX_L4_MASK;

		if (!l4 && !(pkts[i]->ol_flags & RTE_MBUF_F_TX_TCP_SEG))
			continue;
		if (l4 == RTE_MBUF_F_TX_SCTP_CKSUM || !put_pseudo_header(pkts[i])) {
			rte_errno = EINVAL;
			return i;
		}
	}
	return n;
}

/* --- the end ------------------------------------------------------------------------------------
 */

void sr_xf_drain(struct sr_xf *xf)
{
	for (unsigned i = 0; i < SR_NETFRONT_MAX_QUEUES; i++) {
		struct sr_netfront_buffer buffers[SR_XF_BURST];
		unsigned n;

		if (xf->tx[i].q)
			reap(&xf->tx[i], SR_NETFRONT_RING_SIZE);
		while (xf->rx[i].q &&
		       (n = sr_netfront_take_back(xf->rx[i].q, buffers, SR_XF_BURST)))
			for (unsigned k = 0; k < n; k++)
				rte_pktmbuf_free(buffers[k].tag);
	}
}
