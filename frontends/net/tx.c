/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <string.h>

/* From packets to slots of the TX ring, and from responses to packets that are done. */

#define MIN_PACKET 14u /* an Ethernet header */
#define PREFETCH   64  /* responses whose lines are asked for at once */

static uint32_t room(const struct sr_netfront_queue *q)
{
	uint32_t slots = sr_ring_front_free(&q->tx.ring);

	return slots < q->free_ids_count ? slots : q->free_ids_count;
}

unsigned sr_netfront_tx_room(const struct sr_netfront_queue *q)
{
	return q->connected ? room(q) : 0;
}

static unsigned extras_of(const struct sr_netfront_tx *p)
{
	return !!(p->flags & (SR_NETFRONT_GSO4 | SR_NETFRONT_GSO6)) +
	       !!(p->flags & SR_NETFRONT_HASH);
}

/* Can the backend take such a packet at all? */
static int check_offloads(const struct sr_netfront_info *info, const struct sr_netfront_tx *p)
{
	unsigned gso = p->flags & (SR_NETFRONT_GSO4 | SR_NETFRONT_GSO6);

	if ((p->flags & SR_NETFRONT_CSUM_BLANK) && !info->tx.csum4 && !info->tx.csum6)
		return -EOPNOTSUPP;
	if (!gso)
		return 0;
	if (!p->gso_size || gso == (SR_NETFRONT_GSO4 | SR_NETFRONT_GSO6))
		return -EINVAL;
	if ((gso == SR_NETFRONT_GSO4 && !info->tx.gso4) ||
	    (gso == SR_NETFRONT_GSO6 && !info->tx.gso6))
		return -EOPNOTSUPP;
	return 0;
}

/* How a packet lies in memory. */
struct shape {
	uint32_t bytes;
	unsigned slots; /* without extras */
	bool copy;
};

static int measure(struct sr_netfront_queue *q, const struct sr_netfront_tx *p, struct shape *s)
{
	uint64_t bytes = 0;
	unsigned most = q->front->info.tx.sg ? SR_NETFRONT_MAX_SEGMENTS : 1;

	*s = (struct shape){ 0 };
	for (unsigned i = 0; i < p->count; i++) {
		const struct sr_netfront_segment *seg = &p->segments[i];
		uintptr_t in_page = (uintptr_t)seg->addr % SR_PAGE_SIZE;

		if (!seg->length)
			continue;
		bytes += seg->length;
		s->slots += (unsigned)((in_page + seg->length + SR_PAGE_SIZE - 1) >> SR_PAGE_SHIFT);
		s->copy |= !sr_net_region_find(q, seg->addr, seg->length);
	}
	if (bytes < MIN_PACKET)
		return -EINVAL;
	if (bytes > SR_NETFRONT_MAX_PACKET || bytes > (uint64_t)most << SR_PAGE_SHIFT)
		return -EMSGSIZE;
	s->bytes = (uint32_t)bytes;
	s->copy |= s->slots > most;
	if (s->copy)
		s->slots = (s->bytes + SR_PAGE_SIZE - 1) >> SR_PAGE_SHIFT;
	return 0;
}

static uint16_t slot_new(struct sr_netfront_queue *q, uint16_t head)
{
	uint16_t id = q->free_ids[--q->free_ids_count];

	q->slots[id].out = true;
	q->slots[id].head = head;
	return id;
}

/* A packet on its way to the ring. */
struct writer {
	const struct sr_netfront_tx *packet;
	struct netif_tx_request next; /* put once it is known whether more follows */
	unsigned slots;
	uint32_t bytes;
	uint16_t head;
};

static void put_extras(struct sr_netfront_queue *q, const struct sr_netfront_tx *p)
{
	unsigned gso = p->flags & (SR_NETFRONT_GSO4 | SR_NETFRONT_GSO6);
	bool hash = p->flags & SR_NETFRONT_HASH;
	struct netif_extra_info e;

	if (gso) {
		e = (struct netif_extra_info){ .type = XEN_NETIF_EXTRA_TYPE_GSO };
		e.flags = hash ? XEN_NETIF_EXTRA_FLAG_MORE : 0;
		e.u.gso.size = p->gso_size;
		e.u.gso.type =
		    gso == SR_NETFRONT_GSO4 ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6;
		sr_netif_tx_front_put_extra(&q->tx, &e);
		q->extras_out++;
	}
	if (hash) {
		e = (struct netif_extra_info){ .type = XEN_NETIF_EXTRA_TYPE_HASH };
		e.u.hash.type = p->hash_type;
		e.u.hash.algorithm = XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ;
		for (unsigned i = 0; i < sizeof(e.u.hash.value); i++)
			e.u.hash.value[i] = (uint8_t)(p->hash >> (8 * i));
		sr_netif_tx_front_put_extra(&q->tx, &e);
		q->extras_out++;
	}
}

static uint16_t first_flags(const struct sr_netfront_tx *p)
{
	uint16_t flags = 0;

	/* What is sent with a blank checksum is right in memory. */
	if (p->flags & SR_NETFRONT_CSUM_BLANK)
		flags |= NETTXF_csum_blank | NETTXF_data_validated;
	if (p->flags & SR_NETFRONT_CSUM_VALID)
		flags |= NETTXF_data_validated;
	if (extras_of(p))
		flags |= NETTXF_extra_info;
	return flags;
}

/* Puts the request that was held back; the extras stand behind the first. */
static void put_held(struct sr_netfront_queue *q, struct writer *w, bool more)
{
	if (more)
		w->next.flags |= NETTXF_more_data;
	sr_netif_tx_front_put(&q->tx, &w->next);
	if (w->slots == 1 && (w->next.flags & NETTXF_extra_info))
		put_extras(q, w->packet);
}

/* One slot for a stretch of one page. */
static void put_piece(struct sr_netfront_queue *q, struct writer *w, const struct sr_net_region *r,
		      const uint8_t *addr, uint32_t length)
{
	uint16_t id;

	if (w->slots)
		put_held(q, w, true);
	id = slot_new(q, w->head);
	w->next = (struct netif_tx_request){
		.gref = sr_net_region_ref(r, addr),
		.offset = (uint16_t)((uintptr_t)addr % SR_PAGE_SIZE),
		.id = id,
		.size = (uint16_t)length,
	};
	if (!w->slots) {
		/* The first one says the size of all. */
		w->next.size = (uint16_t)w->bytes;
		w->next.flags = first_flags(w->packet);
		q->slots[id].head = w->head = id;
	}
	w->slots++;
}

static void put_in_place(struct sr_netfront_queue *q, struct writer *w)
{
	for (unsigned i = 0; i < w->packet->count; i++) {
		const uint8_t *addr = w->packet->segments[i].addr;
		uint32_t left = w->packet->segments[i].length, n;
		const struct sr_net_region *r;

		if (!left)
			continue;
		r = sr_net_region_find(q, addr, left);
		for (; left; left -= n, addr += n) {
			n = SR_PAGE_SIZE - (uint32_t)((uintptr_t)addr % SR_PAGE_SIZE);
			n = n < left ? n : left;
			put_piece(q, w, r, addr, n);
		}
	}
}

/* By way of pages of our own: that of a slot is the one of its id, which is the next on the stack.
 */
static void put_copied(struct sr_netfront_queue *q, struct writer *w)
{
	uint32_t in_page = 0, left = w->bytes;
	uint8_t *page = NULL;

	for (unsigned i = 0; i < w->packet->count; i++) {
		const uint8_t *addr = w->packet->segments[i].addr;
		uint32_t bytes = w->packet->segments[i].length, n;

		for (; bytes; bytes -= n, addr += n) {
			if (in_page == 0)
				page = q->bounce->base + ((size_t)q->free_ids[q->free_ids_count - 1]
							  << SR_PAGE_SHIFT);
			n = SR_PAGE_SIZE - in_page;
			n = n < bytes ? n : bytes;
			memcpy(page + in_page, addr, n);
			in_page += n;
			left -= n;
			if (in_page == SR_PAGE_SIZE || !left) {
				put_piece(q, w, q->bounce, page, in_page);
				in_page = 0;
			}
		}
	}
	q->stats.tx_copied++;
}

/* 0; -EAGAIN: no room now; else what is wrong with the packet. */
static int put_packet(struct sr_netfront_queue *q, const struct sr_netfront_tx *p)
{
	struct writer w = { .packet = p };
	struct sr_net_tx_slot *head;
	struct shape shape;
	int rc;

	rc = check_offloads(&q->front->info, p);
	if (!rc)
		rc = measure(q, p, &shape);
	if (rc)
		return rc;
	if (shape.slots + extras_of(p) > room(q))
		return -EAGAIN;
	if (shape.copy && !q->bounce) {
		rc = sr_net_region_new(q->front, SR_NETFRONT_RING_SIZE * SR_PAGE_SIZE, &q->bounce);
		if (rc)
			return rc;
	}
	w.bytes = shape.bytes;
	if (shape.copy)
		put_copied(q, &w);
	else
		put_in_place(q, &w);
	put_held(q, &w, false);
	head = &q->slots[w.head];
	head->tag = p->tag;
	head->bytes = shape.bytes;
	head->left = (uint16_t)w.slots;
	head->status = NETIF_RSP_OKAY;
	return 0;
}

/*
 * The common case, for which put_packet() is too general: one stretch of a page that was granted,
 * and no extras. False: not that case.
 */
static inline bool put_simple(struct sr_netfront_queue *q, const struct sr_netfront_tx *p)
{
	const struct sr_netfront_segment *seg = p->segments;
	const struct sr_net_region *r = q->region;
	struct netif_tx_request req;
	struct sr_net_tx_slot *s;

	if (p->count != 1 || (p->flags & ~SR_NETFRONT_CSUM_VALID) || !r ||
	    !sr_net_region_holds(r, seg->addr, seg->length) || seg->length < MIN_PACKET)
		return false;
	req.offset = (uint16_t)((uintptr_t)seg->addr % SR_PAGE_SIZE);
	if (seg->length > SR_PAGE_SIZE - req.offset)
		return false;
	req.gref = sr_net_region_ref(r, seg->addr);
	req.flags = p->flags ? NETTXF_data_validated : 0;
	req.id = slot_new(q, 0);
	req.size = (uint16_t)seg->length;
	sr_netif_tx_front_put(&q->tx, &req);
	s = &q->slots[req.id];
	s->head = req.id;
	s->tag = p->tag;
	s->bytes = seg->length;
	s->left = 1;
	s->status = NETIF_RSP_OKAY;
	return true;
}

int sr_netfront_transmit(struct sr_netfront_queue *q, const struct sr_netfront_tx *packets,
			 unsigned count)
{
	int rc = sr_net_status(q->front);
	unsigned n = 0;

	if (__builtin_expect(rc || !q->connected, 0))
		return rc ? rc : -ENOTCONN;
	for (; n < count; n++) {
		if (!room(q))
			break;
		if (put_simple(q, &packets[n]))
			continue;
		rc = put_packet(q, &packets[n]);
		if (rc)
			break;
	}
	return n || rc == -EAGAIN ? (int)n : rc;
}

int sr_netfront_multicast(struct sr_netfront_queue *q, const uint8_t mac[6], bool add, void *tag)
{
	struct netif_extra_info e = {
		.type = add ? XEN_NETIF_EXTRA_TYPE_MCAST_ADD : XEN_NETIF_EXTRA_TYPE_MCAST_DEL,
	};
	struct netif_tx_request req = { .flags = NETTXF_extra_info };
	int rc = sr_net_status(q->front);
	struct sr_net_tx_slot *s;

	if (rc || !q->connected)
		return rc ? rc : -ENOTCONN;
	if (!q->front->info.multicast_control)
		return -EOPNOTSUPP;
	if (room(q) < 2)
		return -EBUSY;
	memcpy(e.u.mcast.addr, mac, 6);
	req.id = slot_new(q, 0);
	s = &q->slots[req.id];
	*s = (struct sr_net_tx_slot){ .tag = tag, .left = 1, .head = req.id, .out = true };
	sr_netif_tx_front_put(&q->tx, &req);
	sr_netif_tx_front_put_extra(&q->tx, &e);
	q->extras_out++;
	return sr_netfront_kick(q);
}

/* --- responses -------------------------------------------------------------------------------- */

static void finish(struct sr_netfront_queue *q, struct sr_net_tx_slot *head, int error,
		   struct sr_netfront_done *done)
{
	done->tag = head->tag;
	done->error = error;
	q->free_ids[q->free_ids_count++] = (uint16_t)(head - q->slots);
	if (error) {
		q->stats.tx_errors++;
		return;
	}
	q->stats.tx_packets++;
	q->stats.tx_bytes += head->bytes;
}

static unsigned reap_lost(struct sr_netfront_queue *q, struct sr_netfront_done *done, unsigned max)
{
	unsigned n = 0;

	for (unsigned id = 0; id < SR_NETFRONT_RING_SIZE && q->tx_lost && n < max; id++) {
		if (!q->slots[id].lost)
			continue;
		q->slots[id].lost = false;
		q->tx_lost--;
		finish(q, &q->slots[id], q->lost_error, &done[n++]);
	}
	return n;
}

/* Takes one response. True if that ends a packet. */
static inline bool take(struct sr_netfront_queue *q, struct sr_netfront_done *done)
{
	struct netif_tx_response rsp;
	struct sr_net_tx_slot *s, *head;

	sr_netif_tx_front_take(&q->tx, &rsp);
	if (__builtin_expect(rsp.status == NETIF_RSP_NULL, 0)) {
		if (!q->extras_out)
			sr_net_break(q->front, "the backend answered an extra info that isn't out");
		else
			q->extras_out--;
		return false;
	}
	s = &q->slots[rsp.id % SR_NETFRONT_RING_SIZE];
	if (__builtin_expect(rsp.id >= SR_NETFRONT_RING_SIZE || !s->out, 0)) {
		sr_net_break(q->front, "the backend answered a packet that isn't out");
		return false;
	}
	s->out = false;
	head = &q->slots[s->head];
	if (__builtin_expect(rsp.status != NETIF_RSP_OKAY, 0) && head->status == NETIF_RSP_OKAY)
		head->status = rsp.status;
	if (s != head)
		q->free_ids[q->free_ids_count++] = rsp.id;
	if (--head->left)
		return false;
	if (head->status == NETIF_RSP_OKAY)
		finish(q, head, 0, done);
	else
		finish(q, head, head->status == NETIF_RSP_DROPPED ? -ECOMM : -EIO, done);
	return true;
}

unsigned sr_netfront_reap(struct sr_netfront_queue *q, struct sr_netfront_done *done, unsigned max)
{
	unsigned n = 0;
	int pending;

	if (__builtin_expect(q->tx_lost, 0))
		n = reap_lost(q, done, max);
	if (!q->connected)
		return n;
	pending = sr_ring_front_pending(&q->tx.ring);
	if (__builtin_expect(pending < 0, 0)) {
		sr_net_break(q->front, "the backend's index of TX responses is impossible");
		pending = 0;
	}
	sr_netif_tx_front_prefetch(&q->tx, (uint32_t)(pending < PREFETCH ? pending : PREFETCH));
	while (n < max && pending-- > 0) {
		n += take(q, done + n);
		if (__builtin_expect(sr_net_status(q->front) == -EIO, 0))
			break;
	}
	if (__builtin_expect(sr_net_status(q->front) == -EIO, 0)) {
		sr_net_queue_lose(q, -EIO);
		n += reap_lost(q, done + n, max - n);
	}
	return n;
}
