/* SPDX-License-Identifier: MIT */
/* Packets to the guest. */
#include <errno.h>
#include <string.h>

#include <net/packet.h>
#include <rte_prefetch.h>

#include "engine.h"

#define SR_RX_CHUNK 32u /* requests that are taken at once */
#define SR_RX_AHEAD 3u  /* packets that are asked for before they are looked at */

/*
 * Pages of a packet from which on it may go segment by segment: a slot that is not full then is one
 * of many.
 */
#define SR_RX_APART 4u

#define DROP(reason) (1u + (unsigned)(reason))

/* What has to be done to a packet, and how it will look to the guest. */
struct plan {
	uint16_t flags; /* NETRXF_* of the first slot */
	bool cut;       /* into segments, in software */
	bool checksum;  /* to be filled in, in software */
	bool apart;     /* each segment in a slot of its own */
	bool has_hash;
	uint8_t gso, hash_type;
	uint32_t hash;
	unsigned slots; /* that it takes, with extra info */
};

/* The batch that is placed. */
struct batch {
	unsigned slots, cuts;
	unsigned index; /* of the packet that is placed */
	unsigned room;  /* of a page, behind the headroom */
	uint16_t headroom;
};

/* --- stock --------------------------------------------------------------------------------------
 */

/* Copies requests out of the ring into the record: from there on a response may overwrite them. */
static void take(struct sr_netq *q, unsigned n)
{
	struct netif_rx_request req;

	for (unsigned i = 0; i < n; i++) {
		uint32_t at = q->rx.ring.req_cons;

		/* What a killed process had taken is in the record, and no longer in the ring. */
		if ((int32_t)(q->rx_replay - at) > 0) {
			q->rx.ring.req_cons++;
			sr_stat_add(&q->stats.recovered, 1);
			continue;
		}
		sr_netif_rx_back_take(&q->rx, &req);
		q->rec->rx[at % SR_NETIF_RX_SLOTS].id = req.id;
		q->rec->rx[at % SR_NETIF_RX_SLOTS].gref = req.gref;
	}
	if ((int32_t)(q->rx.ring.req_cons - q->rec->rx_taken) > 0 || !q->rec->rx_valid) {
		__atomic_store_n(&q->rec->rx_taken, q->rx.ring.req_cons, __ATOMIC_RELEASE);
		__atomic_store_n(&q->rec->rx_valid, 1, __ATOMIC_RELEASE);
	}
	/* Before any response: only the compiler could change that, see record.h. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

bool sr_rx_stock(struct sr_netq *q, unsigned used, unsigned need)
{
	unsigned have = sr_ring_back_in_flight(&q->rx.ring) - used, n;
	int pending;

	if (have >= need)
		return true;
	pending = sr_ring_back_pending(&q->rx.ring);
	if (pending < 0) {
		sr_netq_break(q, "an impossible index of rx requests");
		return false;
	}
	n = need - have > SR_RX_CHUNK ? need - have : SR_RX_CHUNK;
	if (n > (unsigned)pending)
		n = (unsigned)pending;
	if (n)
		take(q, n);
	return have + n >= need;
}

/* --- plan ---------------------------------------------------------------------------------------
 */

/* Can the guest take what is still to be cut, or a blank checksum, of this IP version? */
static bool agreed(const struct sr_netq *q, bool v6, bool gso)
{
	unsigned want = v6 ? SR_NET_CSUM6 : SR_NET_CSUM4;

	if (gso)
		want |= SR_NET_SG | (v6 ? SR_NET_GSO6 : SR_NET_GSO4);
	return (q->features & want) == want;
}

static unsigned plan_gso(const struct sr_netq *q, const struct rte_mbuf *m, struct plan *p)
{
	bool v6 = m->ol_flags & RTE_MBUF_F_TX_IPV6;
	struct sr_net_headers h;

	if (!m->tso_segsz)
		return DROP(SR_NET_DROP_GSO);
	p->flags = NETRXF_data_validated;
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
		p->flags |= NETRXF_csum_blank;
	} else {
		/* A port has put it together: its flags don't say of what. */
		if (sr_net_parse_packet(m, &h) || !h.l4_complete)
			return DROP(SR_NET_DROP_GSO);
		v6 = h.ip == 6;
	}
	p->cut = !agreed(q, v6, true);
	if (!p->cut)
		p->gso = v6 ? XEN_NETIF_GSO_TYPE_TCPV6 : XEN_NETIF_GSO_TYPE_TCPV4;
	return 0;
}

static unsigned data_slots(const struct batch *b, uint32_t len)
{
	return len <= b->room ? 1 : (len + b->room - 1) / b->room;
}

/*
 * A slot that ends where a segment does is one copy, else two. Segments of a page each, which a
 * guest's pages become (tx.c), then are one copy a page. At most 17 slots, as a guest itself sends.
 */
static bool can_go_apart(const struct batch *b, const struct rte_mbuf *m, unsigned slots)
{
	if (slots < SR_RX_APART || m->nb_segs > slots + 1 || m->nb_segs >= SR_NET_MAX_SLOTS)
		return false;
	for (; m; m = m->next)
		if (m->data_len == 0 || m->data_len > b->room)
			return false;
	return true;
}

/* How many slots its segments take, none of them longer than the first. */
static unsigned cut_slots(const struct sr_netq *q, const struct batch *b, const struct rte_mbuf *m,
			  unsigned extras, unsigned *slots)
{
	struct sr_net_headers h;
	unsigned each, n;

	if (sr_net_parse_packet(m, &h) || !h.l4_complete)
		return DROP(SR_NET_DROP_GSO);
	n = sr_net_segments(m);
	each = data_slots(b, (uint32_t)h.l2_len + h.l3_len + h.l4_len + m->tso_segsz);
	if (each > 1 && !(q->features & SR_NET_SG))
		return DROP(SR_NET_DROP_TOO_BIG);
	*slots = n * (each + extras);
	if (n > SR_NET_SEGMENTS || *slots > SR_NETIF_RX_SLOTS)
		return DROP(SR_NET_DROP_GSO);
	return 0;
}

/* Looks at the packet, and changes nothing. 0, or 1 + enum sr_net_drop. */
static unsigned plan(const struct sr_netq *q, const struct batch *b, const struct rte_mbuf *m,
		     struct plan *p)
{
	uint64_t ol = m->ol_flags;
	unsigned reason = 0, extras;

	*p = (struct plan){ 0 };
	if (m->pkt_len < SR_NET_MIN_PACKET)
		return DROP(SR_NET_DROP_MALFORMED);
	if (m->pkt_len > SR_NET_MAX_PACKET)
		return DROP(SR_NET_DROP_TOO_BIG);
	if (ol & (RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_RX_LRO)) {
		reason = plan_gso(q, m, p);
	} else if (ol & RTE_MBUF_F_TX_L4_MASK) {
		p->flags = NETRXF_data_validated;
		p->checksum = !agreed(q, ol & RTE_MBUF_F_TX_IPV6, false);
		if (!p->checksum)
			p->flags |= NETRXF_csum_blank;
	} else if ((ol & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
		p->flags = NETRXF_data_validated;
	}
	if (reason)
		return reason;
	if (sr_netif_hashes(q->netif))
		p->has_hash = sr_hash_packet(q->netif, m, &p->hash, &p->hash_type);
	extras = p->has_hash + (p->gso != 0);
	if (p->cut)
		return cut_slots(q, b, m, extras, &p->slots);
	p->slots = data_slots(b, m->pkt_len);
	if (p->slots > 1 && !(q->features & SR_NET_SG))
		return DROP(SR_NET_DROP_TOO_BIG);
	p->apart = !p->checksum && can_go_apart(b, m, p->slots);
	if (p->apart)
		p->slots = m->nb_segs;
	p->slots += extras;
	return 0;
}

/* --- place --------------------------------------------------------------------------------------
 */

/* A place in a packet of many segments. */
struct cursor {
	const struct rte_mbuf *seg;
	uint32_t at;
};

static void do_moves(struct sr_netq *q)
{
	for (unsigned i = 0; i < q->move_count; i++)
		memcpy(q->moves[i].to, q->moves[i].from, q->moves[i].len);
	if (q->move_count)
		sr_stat_add(&q->stats.rx.mapped, q->move_count);
	q->move_count = 0;
}

static void piece(struct sr_netq *q, unsigned slot, const struct sr_gref_place *place,
		  uint32_t gref, uint32_t offset, const uint8_t *from, uint32_t len)
{
	if (!place) {
		sr_copy_out(q, slot, gref, (uint16_t)offset, from, (uint16_t)len);
		return;
	}
	if (place->flags & SR_NETQ_GREF_READ_ONLY) {
		q->failed[slot] = true;
		return;
	}
	if (q->move_count == SR_NET_COPIES)
		do_moves(q);
	sr_ring_prefetch_write(place->page + offset);
	q->moves[q->move_count++] = (struct sr_rx_move){ place->page + offset, from, len };
}

/* Bytes from here to the end of the page of ours that it lies in. */
static uint32_t page_rest(const uint8_t *p)
{
	return (uint32_t)(SR_PAGE_SIZE - (uintptr_t)p % SR_PAGE_SIZE);
}

/* `len` bytes of the packet into the page of slot `slot` of the batch. */
static void fill_page(struct sr_netq *q, unsigned slot, struct cursor *c, uint32_t offset,
		      uint32_t len)
{
	uint32_t at = (q->rx.ring.rsp_prod_pvt + slot) % SR_NETIF_RX_SLOTS;
	uint32_t gref = q->rec->rx[at].gref;
	const struct sr_gref_place *place = sr_grefs_find(&q->grefs, gref);

	while (len) {
		uint32_t n = c->seg->data_len - c->at;
		const uint8_t *from;

		if (!n) {
			c->seg = c->seg->next;
			c->at = 0;
			continue;
		}
		n = n < len ? n : len;
		from = rte_pktmbuf_mtod_offset(c->seg, const uint8_t *, c->at);
		/* Memory that Xen finds by itself is copied page by page. */
		if (c->seg->data_len > SR_PAGE_SIZE)
			n = RTE_MIN(n, page_rest(from));
		piece(q, slot, place, gref, offset, from, n);
		c->at += n;
		offset += n;
		len -= n;
	}
}

/* What the next page gets of the `left` bytes at the cursor. */
static uint32_t page_len(const struct batch *b, const struct cursor *c, uint32_t left, bool apart)
{
	if (apart)
		return c->at < c->seg->data_len ? c->seg->data_len : c->seg->next->data_len;
	return left < b->room ? left : b->room;
}

static void add_page(struct sr_netq *q, struct batch *b, struct cursor *c, uint32_t *left,
		     uint16_t flags, uint32_t packet, bool apart)
{
	uint32_t at = (q->rx.ring.rsp_prod_pvt + b->slots) % SR_NETIF_RX_SLOTS;
	uint32_t n = page_len(b, c, *left, apart);

	*left -= n;
	if (*left)
		flags |= NETRXF_more_data;
	q->failed[b->slots] = false;
	q->given[b->slots] = (struct sr_rx_slot){
		.rsp = { .id = (uint16_t)q->rec->rx[at].id,
			 .offset = b->headroom,
			 .flags = flags,
			 .status = (int16_t)n },
		.index = (uint8_t)b->index,
		.packet = packet,
	};
	fill_page(q, b->slots, c, b->headroom, n);
	b->slots++;
}

static struct netif_extra_info *add_extra(struct sr_netq *q, struct batch *b, uint8_t type,
					  bool more)
{
	struct sr_rx_slot *s = &q->given[b->slots++];

	*s = (struct sr_rx_slot){ .is_extra = true };
	s->extra.type = type;
	s->extra.flags = more ? XEN_NETIF_EXTRA_FLAG_MORE : 0;
	return &s->extra;
}

/* Puts one packet into slots of the batch, for which there is room. */
static void place(struct sr_netq *q, struct batch *b, const struct rte_mbuf *m,
		  const struct plan *p)
{
	struct cursor c = { .seg = m };
	uint32_t left = m->pkt_len;
	uint16_t flags = p->flags;
	struct netif_extra_info *extra;

	if (p->gso || p->has_hash)
		flags |= NETRXF_extra_info;
	add_page(q, b, &c, &left, flags, m->pkt_len, p->apart);
	if (p->gso) {
		extra = add_extra(q, b, XEN_NETIF_EXTRA_TYPE_GSO, p->has_hash);
		extra->u.gso.size = m->tso_segsz;
		extra->u.gso.type = p->gso;
		sr_stat_add(&q->stats.rx.gso, 1);
	}
	if (p->has_hash) {
		extra = add_extra(q, b, XEN_NETIF_EXTRA_TYPE_HASH, false);
		extra->u.hash.type = p->hash_type;
		extra->u.hash.algorithm = XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ;
		memcpy(extra->u.hash.value, &p->hash, sizeof(extra->u.hash.value));
	}
	if (p->flags & NETRXF_csum_blank)
		sr_stat_add(&q->stats.rx.checksums, 1);
	while (left)
		add_page(q, b, &c, &left, 0, 0, p->apart);
}

/* Alone in its batch: the segments stay in q->cut until that is over. */
static unsigned place_cut(struct sr_netq *q, struct batch *b, const struct rte_mbuf *m,
			  struct plan *p)
{
	int n = sr_net_segment(m, q->set.pool, q->cut, SR_NET_SEGMENTS);

	if (n < 0)
		return DROP(n == -ENOMEM ? SR_NET_DROP_MEMORY : SR_NET_DROP_GSO);
	p->flags = NETRXF_data_validated;
	for (int i = 0; i < n; i++)
		place(q, b, q->cut[i], p);
	b->cuts = (unsigned)n;
	sr_stat_add(&q->stats.rx.software, 1);
	return 0;
}

static unsigned place_any(struct sr_netq *q, struct batch *b, struct rte_mbuf **m, struct plan *p)
{
	int rc;

	if (p->cut)
		return place_cut(q, b, *m, p);
	if (p->checksum) {
		rc = sr_net_finish_checksum(m, q->set.pool);
		if (rc)
			return DROP(rc == -ENOMEM ? SR_NET_DROP_MEMORY : SR_NET_DROP_CHECKSUM);
		sr_stat_add(&q->stats.rx.software, 1);
	}
	place(q, b, *m, p);
	return 0;
}

/* --- answer -------------------------------------------------------------------------------------
 */

static void note_drop(struct sr_netq *q, uint8_t *fates, unsigned index, unsigned reason)
{
	sr_stat_add(&q->stats.rx.drops[reason - 1], 1);
	if (unlikely(fates))
		fates[index] = (uint8_t)reason;
}

/* `first`: the packet's first slot, NULL: there was none. */
static void count(struct sr_netq *q, const struct sr_rx_slot *first, bool failed, uint8_t *fates,
		  uint64_t *packets, uint64_t *bytes)
{
	if (!first)
		return;
	if (failed) {
		note_drop(q, fates, first->index, DROP(SR_NET_DROP_GRANT));
		return;
	}
	++*packets;
	*bytes += first->packet;
}

static void answer(struct sr_netq *q, const struct batch *b, uint8_t *fates)
{
	uint64_t packets = 0, bytes = 0;
	const struct sr_rx_slot *first = NULL;
	bool failed = false;

	if (!b->slots)
		return;
	do_moves(q);
	sr_copy_flush(q, &q->stats.rx);
	for (unsigned i = 0; i < b->slots; i++) {
		struct sr_rx_slot *s = &q->given[i];

		if (s->is_extra) {
			sr_netif_rx_back_put_extra(&q->rx, &s->extra);
			continue;
		}
		if (s->packet) {
			count(q, first, failed, fates, &packets, &bytes);
			first = s;
			failed = false;
		}
		if (q->failed[i]) {
			/* The flags stay: the guest finds the packet's end by them. */
			s->rsp.status = NETIF_RSP_ERROR;
			failed = true;
		}
		sr_netif_rx_back_put(&q->rx, &s->rsp);
	}
	count(q, first, failed, fates, &packets, &bytes);
	sr_ring_back_publish(&q->rx.ring);
	sr_stat_add(&q->stats.rx.packets, packets);
	sr_stat_add(&q->stats.rx.bytes, bytes);
	sr_stat_add(&q->stats.rx.requests, b->slots);
	sr_stat_add(&q->stats.rx.batches, 1);
	if (b->cuts)
		rte_pktmbuf_free_bulk(q->cut, b->cuts);
}

/*
 * A batch out of `n` packets; how many of them are done with. Fewer than n and 32: no room.
 * `fates`: theirs, or NULL.
 */
static unsigned send_batch(struct sr_netq *q, struct rte_mbuf **pkts, unsigned n, uint8_t *fates)
{
	struct batch b = { .headroom = (uint16_t)sr_netif_headroom(q->netif) };
	unsigned i;

	b.room = SR_PAGE_SIZE - b.headroom;
	for (i = 0; i < n && i < SR_NET_BATCH; i++) {
		struct plan p;
		unsigned reason;

		if (i + SR_RX_AHEAD < n)
			rte_prefetch0(rte_pktmbuf_mtod(pkts[i + SR_RX_AHEAD], void *));
		b.index = i;
		reason = plan(q, &b, pkts[i], &p);
		if (!reason && p.cut && b.slots)
			break; /* a batch of its own */
		if (!reason && !sr_rx_stock(q, b.slots, p.slots)) {
			q->missing = p.slots;
			break;
		}
		if (!reason)
			reason = place_any(q, &b, &pkts[i], &p);
		if (reason)
			note_drop(q, fates, i, reason);
		if (p.cut) {
			i++;
			break;
		}
	}
	answer(q, &b, fates);
	/* Not before: the copies read them. */
	rte_pktmbuf_free_bulk(pkts, i);
	return i;
}

void sr_netq_note_drops(struct sr_netq *q, uint8_t *fates)
{
	q->fates = fates;
}

int sr_netq_send(struct sr_netq *q, struct rte_mbuf **pkts, unsigned n)
{
	unsigned done = 0;

	sr_netq_mail(q);
	if (q->broken)
		return -EPROTO;
	q->missing = 0;
	for (unsigned i = 0; i < n && i < SR_RX_AHEAD; i++)
		rte_prefetch0(rte_pktmbuf_mtod(pkts[i], void *));
	while (done < n && !q->missing && !q->broken)
		done += send_batch(q, pkts + done, n - done, q->fates ? q->fates + done : NULL);
	if (done || !q->missing)
		q->stalled_since = 0;
	return q->broken && !done ? -EPROTO : (int)done;
}
