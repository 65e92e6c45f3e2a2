/* SPDX-License-Identifier: MIT */
/* Packets from the guest. */
#include <errno.h>
#include <string.h>

#include <net/packet.h>

#include "engine.h"

/* How far ahead of the one being decoded slots are asked for: a line holds five. */
#define SR_TX_AHEAD 8u

/* The batch that is decoded: how far it got in the queue's arrays. */
struct batch {
	unsigned packets, slots, pieces;
	unsigned mapped; /* pieces of static mappings */
	unsigned left;   /* slots that the guest has published and that were not looked at */
};

/* --- decode -------------------------------------------------------------------------------------
 */

static void take(struct sr_netq *q, struct batch *b, struct netif_tx_request *req)
{
	/* Not beyond what is published: the guest writes there. */
	if (b->left > SR_TX_AHEAD)
		sr_netif_tx_back_prefetch(&q->tx, SR_TX_AHEAD);
	sr_netif_tx_back_take(&q->tx, req);
	q->taken[b->slots++] = (struct sr_tx_slot){ .id = req->id };
	b->left--;
}

static void fail(struct sr_tx_packet *p, enum sr_net_drop reason)
{
	if (p->status != NETIF_RSP_OKAY)
		return;
	p->status = NETIF_RSP_ERROR;
	p->reason = (uint8_t)reason;
}

static void note_extra(struct sr_tx_packet *p, const struct netif_extra_info *extra)
{
	switch (extra->type) {
	case XEN_NETIF_EXTRA_TYPE_GSO:
		p->gso = extra->u.gso.type;
		p->gso_size = extra->u.gso.size;
		if ((p->gso != XEN_NETIF_GSO_TYPE_TCPV4 && p->gso != XEN_NETIF_GSO_TYPE_TCPV6) ||
		    !p->gso_size)
			fail(p, SR_NET_DROP_GSO);
		break;
	case XEN_NETIF_EXTRA_TYPE_MCAST_ADD:
	case XEN_NETIF_EXTRA_TYPE_MCAST_DEL:
		p->multicast = extra->type;
		memcpy(p->addr, extra->u.mcast.addr, sizeof(p->addr));
		break;
	case XEN_NETIF_EXTRA_TYPE_HASH:
		if (extra->u.hash.algorithm != XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ)
			break;
		p->has_hash = true;
		memcpy(&p->hash, extra->u.hash.value, sizeof(p->hash));
		break;
	default:
		fail(p, SR_NET_DROP_MALFORMED);
		break;
	}
}

static int take_extras(struct sr_netq *q, struct batch *b, struct sr_tx_packet *p)
{
	struct netif_extra_info extra;
	unsigned n = 0;

	do {
		if (!b->left)
			return sr_netq_break(q, "extra info beyond what was published");
		if (n++ == SR_NET_MAX_EXTRAS)
			return sr_netq_break(q, "extra info without end");
		sr_netif_tx_back_take_extra(&q->tx, &extra);
		q->taken[b->slots++] = (struct sr_tx_slot){ .extra = true };
		b->left--;
		note_extra(p, &extra);
	} while (extra.flags & XEN_NETIF_EXTRA_FLAG_MORE);
	p->slots = (uint16_t)(p->slots + n);
	return 0;
}

static void add_piece(struct sr_netq *q, struct batch *b, struct sr_tx_packet *p,
		      const struct netif_tx_request *req, uint16_t size)
{
	struct sr_tx_piece *piece = &q->pieces[b->pieces];
	const struct sr_gref_place *place;

	if (!size)
		return;
	if ((uint32_t)req->offset + size > SR_PAGE_SIZE) {
		fail(p, SR_NET_DROP_MALFORMED);
		return;
	}
	piece->gref = req->gref;
	piece->offset = req->offset;
	piece->size = size;
	piece->page = NULL;
	place = sr_grefs_find(&q->grefs, req->gref);
	if (place) {
		b->mapped++;
		piece->page = place->page;
		sr_ring_prefetch(place->page + req->offset);
	}
	b->pieces++;
	p->pieces++;
}

/*
 * Fragments behind the first. The first slot's size is the packet's, so what is left of it when
 * they are known belongs to the first.
 */
static int take_fragments(struct sr_netq *q, struct batch *b, struct sr_tx_packet *p,
			  const struct netif_tx_request *first)
{
	unsigned first_piece = b->pieces++, fragments = 1, end;
	struct netif_tx_request req;
	uint32_t sum = 0;

	p->pieces = 1;
	do {
		if (!b->left)
			return sr_netq_break(q, "a packet ends beyond what was published");
		if (++fragments > SR_NET_FATAL_SLOTS)
			return sr_netq_break(q, "a packet of more than 20 slots");
		take(q, b, &req);
		p->slots++;
		sum += req.size;
		add_piece(q, b, p, &req, req.size);
	} while (req.flags & NETTXF_more_data);

	if (fragments > SR_NET_MAX_SLOTS || sum > first->size) {
		fail(p, SR_NET_DROP_MALFORMED);
		sum = first->size;
	}
	/* Now the first one, in its place; one of no bytes stays there and is passed over. */
	end = b->pieces;
	b->pieces = first_piece;
	q->pieces[first_piece] = (struct sr_tx_piece){ 0 };
	p->pieces--;
	add_piece(q, b, p, first, (uint16_t)(first->size - sum));
	p->pieces = (uint16_t)(end - first_piece);
	b->pieces = end;
	return 0;
}

/* One packet. -EPROTO: the framing is broken, what was taken of it gets no answer. */
static int decode(struct sr_netq *q, struct batch *b)
{
	struct sr_tx_packet *p = &q->packets[b->packets];
	struct netif_tx_request first;
	int rc = 0;

	take(q, b, &first);
	*p = (struct sr_tx_packet){ .flags = first.flags,
				    .slots = 1,
				    .piece = (uint16_t)b->pieces,
				    .size = first.size,
				    .status = NETIF_RSP_OKAY };
	if (first.flags & NETTXF_extra_info)
		rc = take_extras(q, b, p);
	if (rc)
		return rc;
	if (first.flags & NETTXF_more_data)
		rc = take_fragments(q, b, p, &first);
	else
		add_piece(q, b, p, &first, first.size);
	if (rc)
		return rc;
	if (first.size < SR_NET_MIN_PACKET && !p->multicast)
		fail(p, SR_NET_DROP_MALFORMED);
	b->packets++;
	return 0;
}

/* --- fill ---------------------------------------------------------------------------------------
 */

/*
 * How much of a piece of `left` bytes goes into the packet's last segment; 0: it wants a new one. A
 * piece that a segment can hold is not cut, so with segments of a page each a page stays one copy,
 * here and where it is handed on. But all headers lie in the first segment.
 */
static uint16_t part(const struct sr_netq *q, const struct sr_tx_packet *p,
		     const struct rte_mbuf *tail, uint16_t left)
{
	uint16_t room = (uint16_t)(q->room - tail->data_len);

	if (left <= room)
		return left;
	if (left > q->room)
		return room;
	if (tail != p->pkt || tail->data_len >= SR_NET_HEADERS)
		return 0;
	return (uint16_t)(SR_NET_HEADERS - tail->data_len);
}

/* One piece to the end of the packet; *tail is the segment that is being filled. */
static int append(struct sr_netq *q, unsigned owner, struct sr_tx_packet *p, struct rte_mbuf **tail,
		  const struct sr_tx_piece *piece)
{
	uint16_t offset = piece->offset, left = piece->size;

	while (left) {
		struct rte_mbuf *m = *tail;
		uint16_t n = part(q, p, m, left);

		if (!n) {
			m = sr_netq_mbuf(q);
			if (!m)
				return -ENOMEM;
			(*tail)->next = m;
			*tail = m;
			p->pkt->nb_segs++;
			continue;
		}
		if (piece->page)
			memcpy(rte_pktmbuf_mtod_offset(m, void *, m->data_len),
			       piece->page + offset, n);
		else
			sr_copy_in(q, owner, rte_pktmbuf_mtod_offset(m, void *, m->data_len),
				   piece->gref, offset, n);
		m->data_len = (uint16_t)(m->data_len + n);
		offset = (uint16_t)(offset + n);
		left = (uint16_t)(left - n);
	}
	return 0;
}

static void fill(struct sr_netq *q, unsigned i)
{
	struct sr_tx_packet *p = &q->packets[i];
	struct rte_mbuf *tail;

	q->failed[i] = false;
	if (p->status != NETIF_RSP_OKAY || p->multicast)
		return;
	tail = p->pkt = sr_netq_mbuf(q);
	for (unsigned n = 0; tail && n < p->pieces; n++)
		if (append(q, i, p, &tail, &q->pieces[p->piece + n]))
			tail = NULL;
	if (!tail) {
		/* Not freed yet: a copy into it may be listed. */
		p->status = NETIF_RSP_DROPPED;
		p->reason = SR_NET_DROP_MEMORY;
		return;
	}
	p->pkt->pkt_len = p->size;
}

/* --- finish and answer --------------------------------------------------------------------------
 */

static void change_multicast(struct sr_netq *q, struct sr_tx_packet *p)
{
	int rc;

	if (p->status != NETIF_RSP_OKAY)
		return;
	rc = p->multicast == XEN_NETIF_EXTRA_TYPE_MCAST_ADD
		 ? sr_netif_multicast_add(q->netif, p->addr)
		 : sr_netif_multicast_del(q->netif, p->addr);
	if (rc)
		p->status = NETIF_RSP_ERROR;
	else
		sr_stat_add(&q->stats.multicast_changes, 1);
}

/* What becomes of a packet: the mbuf to pass on, or NULL. */
static struct rte_mbuf *conclude(struct sr_netq *q, unsigned i)
{
	struct sr_tx_packet *p = &q->packets[i];
	unsigned reason;

	if (p->multicast) {
		change_multicast(q, p);
		/* The refusal of a message is no lost packet. */
		return NULL;
	}
	if (q->failed[i])
		fail(p, SR_NET_DROP_GRANT);
	if (p->status == NETIF_RSP_OKAY) {
		/* Most packets say nothing of themselves. */
		if (!(p->flags & (NETTXF_csum_blank | NETTXF_data_validated)) && !p->gso &&
		    !p->has_hash)
			return p->pkt;
		reason = sr_tx_finish(p, p->pkt);
		if (!reason)
			return p->pkt;
		fail(p, (enum sr_net_drop)(reason - 1));
	}
	rte_pktmbuf_free(p->pkt);
	sr_stat_add(&q->stats.tx.drops[p->reason], 1);
	return NULL;
}

static void answer(struct sr_netq *q, const struct batch *b)
{
	unsigned slot = 0;

	for (unsigned i = 0; i < b->packets; i++) {
		const struct sr_tx_packet *p = &q->packets[i];

		for (unsigned n = 0; n < p->slots; n++, slot++)
			if (q->taken[slot].extra)
				sr_netif_tx_back_put(&q->tx, 0, NETIF_RSP_NULL);
			else
				sr_netif_tx_back_put(&q->tx, q->taken[slot].id, p->status);
	}
	sr_ring_back_publish(&q->tx.ring);
	sr_stat_add(&q->stats.tx.requests, slot);
	sr_stat_add(&q->stats.tx.batches, 1);
}

static void count(struct sr_netq *q, struct rte_mbuf *const *pkts, unsigned n)
{
	struct sr_net_direction *d = &q->stats.tx;
	unsigned gso = 0, sums = 0;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		bytes += pkts[i]->pkt_len;
		gso += (pkts[i]->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
		sums += (pkts[i]->ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0;
	}
	sr_stat_add(&d->packets, n);
	sr_stat_add(&d->bytes, bytes);
	if (gso)
		sr_stat_add(&d->gso, gso);
	if (sums)
		sr_stat_add(&d->checksums, sums);
}

/* A batch of up to `n` packets out of `pending` slots. How many there are to pass on. */
static unsigned receive_batch(struct sr_netq *q, struct rte_mbuf **pkts, unsigned n,
			      unsigned pending)
{
	struct batch b = { .left = pending };
	unsigned got = 0;

	if (n > SR_NET_BATCH)
		n = SR_NET_BATCH;
	while (b.packets < n && b.left)
		if (decode(q, &b))
			break;
	for (unsigned i = 0; i < b.packets; i++)
		fill(q, i);
	sr_copy_flush(q, &q->stats.tx);
	if (b.mapped)
		sr_stat_add(&q->stats.tx.mapped, b.mapped);
	for (unsigned i = 0; i < b.packets; i++) {
		struct rte_mbuf *m = conclude(q, i);

		if (m)
			pkts[got++] = m;
	}
	answer(q, &b);
	count(q, pkts, got);
	return got;
}

int sr_netq_receive(struct sr_netq *q, struct rte_mbuf **pkts, unsigned n)
{
	unsigned got = 0, budget = SR_NETIF_TX_SLOTS;

	sr_netq_mail(q);
	/* What is dropped counts as well: a guest that sends nonsense doesn't keep us here. */
	while (got < n && budget && !q->broken) {
		int pending = sr_ring_back_pending(&q->tx.ring);
		uint32_t before = q->tx.ring.req_cons, used;

		if (pending < 0)
			sr_netq_break(q, "an impossible index of tx requests");
		if (pending <= 0)
			break;
		got += receive_batch(q, pkts + got, n - got, (unsigned)pending);
		used = q->tx.ring.req_cons - before;
		budget = used < budget ? budget - used : 0;
	}
	/* The caller has nothing in hand that would have it flush, and the guest may wait. */
	if (!got && budget < SR_NETIF_TX_SLOTS)
		sr_netq_flush(q);
	return q->broken && !got ? -EPROTO : (int)got;
}
