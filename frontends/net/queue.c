/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <string.h>

void sr_net_queue_init(struct sr_netfront *f, struct sr_netfront_queue *q)
{
	q->front = f;
	for (unsigned i = 0; i < SR_NETFRONT_RING_SIZE; i++)
		q->free_ids[i] = (uint16_t)(SR_NETFRONT_RING_SIZE - 1 - i);
	q->free_ids_count = SR_NETFRONT_RING_SIZE;
}

static int make_ports(struct sr_netfront_queue *q)
{
	struct sr_netfront *f = q->front;
	uint16_t domid = f->info.backend_domid;
	int rc = sr_evtchn_open(f->bus.hv, &q->ev);

	if (rc) {
		q->ev = NULL;
		return rc;
	}
	rc = sr_evtchn_alloc_unbound(q->ev, domid, &q->tx_port);
	q->rx_port = q->tx_port;
	if (!rc && f->info.split)
		rc = sr_evtchn_alloc_unbound(q->ev, domid, &q->rx_port);
	return rc;
}

int sr_net_queue_connect(struct sr_netfront_queue *q)
{
	struct sr_netfront *f = q->front;
	int rc = sr_net_share_page(f, &q->tx_ref, &q->tx_page);

	if (!rc)
		rc = sr_net_share_page(f, &q->rx_ref, &q->rx_page);
	if (rc)
		return sr_frontbus_fail(&f->bus, rc, "can't grant the pages of a ring: %s",
					strerror(-rc));
	rc = make_ports(q);
	if (rc)
		return sr_frontbus_fail(&f->bus, rc, "can't make an event channel: %s",
					strerror(-rc));
	sr_netif_tx_front_init(&q->tx, q->tx_page);
	sr_netif_rx_front_init(&q->rx, q->rx_page);
	q->partial.active = false;
	q->extras_out = 0;
	q->connected = true;
	return 0;
}

int sr_net_queue_refill(struct sr_netfront_queue *q)
{
	for (unsigned i = 0; i < q->kept_count; i++) {
		struct sr_net_region *r = sr_net_region_find(q, q->kept[i].page, SR_PAGE_SIZE);

		sr_net_rx_put(q, r, &q->kept[i]);
	}
	q->kept_count = 0;
	return 0;
}

void sr_net_queue_collect(struct sr_netfront_queue *q)
{
	struct sr_ring_front *r = &q->rx.ring;

	if (!q->connected || !r->shared)
		return;
	/* sr_netfront_rx_room() sees to it that together they aren't more than the ring has slots.
	 */
	for (unsigned i = 0; q->partial.active && i < q->partial.packet.count; i++)
		q->kept[q->kept_count++] = q->partial.buffers[i];
	q->partial.active = false;
	for (uint32_t i = r->rsp_cons; i != r->req_prod_pvt; i++)
		q->kept[q->kept_count++] = q->posted[i % SR_NETFRONT_RING_SIZE];
	r->rsp_cons = r->req_prod_pvt = r->req_published = r->req_notified = 0;
}

void sr_net_queue_lose(struct sr_netfront_queue *q, int error)
{
	for (uint32_t id = 0; id < SR_NETFRONT_RING_SIZE; id++) {
		struct sr_net_tx_slot *s = &q->slots[id];

		if (s->left) {
			s->left = 0;
			s->lost = true;
			q->tx_lost++;
		} else if (s->out) {
			q->free_ids[q->free_ids_count++] = (uint16_t)id;
		}
		s->out = false;
	}
	q->extras_out = 0;
	q->lost_error = error;
}

void sr_net_queue_disconnect(struct sr_netfront_queue *q)
{
	struct sr_netfront *f = q->front;

	sr_net_queue_collect(q);
	sr_net_queue_lose(q, -ENETRESET);
	q->connected = false;
	if (q->ev)
		sr_evtchn_close(q->ev);
	q->ev = NULL;
	sr_net_unshare_page(f, q->tx_page);
	sr_net_unshare_page(f, q->rx_page);
	q->tx_page = q->rx_page = NULL;
}
