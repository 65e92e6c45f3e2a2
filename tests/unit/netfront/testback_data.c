/* SPDX-License-Identifier: MIT */
#include "must.h"
#include "testback.h"

#include <string.h>

/* The data rings. */

static void copy(struct testback *b, struct sr_copy_segment *s)
{
	must(!sr_gnttab_copy(b->gt, s, 1));
	must(s->status == GNTST_okay);
}

static void copy_in(struct testback *b, const struct netif_tx_request *req, void *to, uint32_t size)
{
	struct sr_copy_segment s = { .flags = SR_COPY_SOURCE_GREF, .len = (uint16_t)size };

	must((uint32_t)req->offset + size <= SR_PAGE_SIZE);
	s.source.foreign.ref = req->gref;
	s.source.foreign.offset = req->offset;
	s.source.foreign.domid = b->domid;
	s.dest.virt = to;
	copy(b, &s);
}

static void take_extras(struct testback_queue *q, struct testback_packet *p)
{
	struct netif_extra_info *e;

	do {
		must(p->extra_count < 4 && sr_ring_back_pending(&q->tx.ring) > 0);
		e = &p->extras[p->extra_count++];
		sr_netif_tx_back_take_extra(&q->tx, e);
	} while (e->flags & XEN_NETIF_EXTRA_FLAG_MORE);
}

bool testback_take(struct testback *b, unsigned queue, struct testback_packet *p)
{
	struct testback_queue *q = &b->queue[queue];
	struct netif_tx_request slots[SR_NETIF_TX_SLOTS];
	int pending = sr_ring_back_pending(&q->tx.ring);
	uint32_t rest = 0, at = 0;
	unsigned n = 0;

	must(pending >= 0);
	if (!pending)
		return false;
	p->extra_count = 0;
	do {
		must(n < SR_NETIF_TX_SLOTS && sr_ring_back_pending(&q->tx.ring) > 0);
		sr_netif_tx_back_take(&q->tx, &slots[n]);
		if (n == 0 && (slots[0].flags & NETTXF_extra_info))
			take_extras(q, p);
		p->ids[n] = slots[n].id;
		rest += n ? slots[n].size : 0;
	} while (slots[n++].flags & NETTXF_more_data);
	must(n <= XEN_NETIF_NR_SLOTS_MIN && rest <= slots[0].size);
	p->flags = slots[0].flags;
	p->length = slots[0].size;
	p->slots = n;
	slots[0].size = (uint16_t)(slots[0].size - rest);
	for (unsigned i = 0; i < n; at += slots[i++].size)
		if (slots[i].size)
			copy_in(b, &slots[i], p->data + at, slots[i].size);
	return true;
}

void testback_answer(struct testback *b, unsigned queue, const struct testback_packet *p,
		     int16_t status)
{
	struct testback_queue *q = &b->queue[queue];

	sr_netif_tx_back_put(&q->tx, p->ids[0], status);
	for (unsigned i = 0; i < p->extra_count; i++)
		sr_netif_tx_back_put(&q->tx, 0, NETIF_RSP_NULL);
	for (unsigned i = 1; i < p->slots; i++)
		sr_netif_tx_back_put(&q->tx, p->ids[i], status);
}

struct netif_rx_request testback_rx_request(struct testback *b, unsigned queue, const void *data,
					    unsigned offset, unsigned length)
{
	struct testback_queue *q = &b->queue[queue];
	struct sr_copy_segment s = { .flags = SR_COPY_DEST_GREF, .len = (uint16_t)length };
	struct netif_rx_request req;

	must(sr_ring_back_pending(&q->rx.ring) > 0);
	sr_netif_rx_back_take(&q->rx, &req);
	if (!length)
		return req;
	s.source.virt = (void *)(uintptr_t)data;
	s.dest.foreign.ref = req.gref;
	s.dest.foreign.offset = (uint16_t)offset;
	s.dest.foreign.domid = b->domid;
	copy(b, &s);
	return req;
}

bool testback_send(struct testback *b, unsigned queue, const struct testback_packet *p,
		   uint32_t piece)
{
	struct testback_queue *q = &b->queue[queue];
	uint32_t at = 0, n, most = SR_PAGE_SIZE - b->headroom;
	unsigned needed;

	piece = piece < most ? piece : most;
	needed = (p->length + piece - 1) / piece + p->extra_count;
	if (sr_ring_back_pending(&q->rx.ring) < (int)needed)
		return false;
	for (; at < p->length; at += n) {
		struct netif_rx_response rsp = { .offset = (uint16_t)b->headroom };

		n = p->length - at < piece ? p->length - at : piece;
		rsp.id = testback_rx_request(b, queue, p->data + at, b->headroom, n).id;
		rsp.status = (int16_t)n;
		rsp.flags = at + n < p->length ? NETRXF_more_data : 0;
		if (at == 0)
			rsp.flags |= p->flags | (p->extra_count ? NETRXF_extra_info : 0);
		sr_netif_rx_back_put(&q->rx, &rsp);
		for (unsigned i = 0; at == 0 && i < p->extra_count; i++) {
			struct netif_extra_info e = p->extras[i];

			e.flags = i + 1 < p->extra_count ? XEN_NETIF_EXTRA_FLAG_MORE : 0;
			(void)testback_rx_request(b, queue, NULL, 0, 0);
			sr_netif_rx_back_put_extra(&q->rx, &e);
		}
	}
	return true;
}

void testback_publish(struct testback *b, unsigned queue)
{
	struct testback_queue *q = &b->queue[queue];
	bool tx = sr_ring_back_publish_and_check(&q->tx.ring);
	bool rx = sr_ring_back_publish_and_check(&q->rx.ring);

	if (tx || (rx && q->rx_port == q->tx_port))
		must(!sr_evtchn_notify(b->ev, q->tx_port));
	if (rx && q->rx_port != q->tx_port)
		must(!sr_evtchn_notify(b->ev, q->rx_port));
}
