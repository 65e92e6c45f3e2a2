/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>

/*
 * From responses of the RX ring to packets. A response stands in the slot of its request, so the
 * slot tells the buffer, and the id is not even looked at. Each is taken from the ring once, be the
 * packet complete or not.
 */

#define MIN_PACKET  14u /* an Ethernet header */
#define PREFETCH    64  /* responses whose lines are asked for at once */
#define MOST_EXTRAS 4u  /* one of each type that we know, with room to spare */

void sr_net_rx_put(struct sr_netfront_queue *q, const struct sr_net_region *r,
		   const struct sr_netfront_buffer *b)
{
	uint32_t slot = q->rx.ring.req_prod_pvt % SR_NETIF_RX_SLOTS;

	q->posted[slot] = *b;
	sr_netif_rx_front_put(&q->rx, (uint16_t)slot, sr_net_region_ref(r, b->page));
}

unsigned sr_netfront_rx_room(const struct sr_netfront_queue *q)
{
	if (!q->connected)
		return 0;
	/* Buffers of a packet that isn't complete may have to go back to the ring. */
	return sr_ring_front_free(&q->rx.ring) - (q->partial.active ? q->partial.packet.count : 0);
}

int sr_netfront_post(struct sr_netfront_queue *q, const struct sr_netfront_buffer *buffers,
		     unsigned count)
{
	int rc = sr_net_status(q->front);
	unsigned n = 0, most;

	if (__builtin_expect(rc || !q->connected, 0))
		return rc ? rc : -ENOTCONN;
	most = sr_netfront_rx_room(q);
	for (; n < count && n < most; n++) {
		const struct sr_net_region *r =
		    sr_net_region_find(q, buffers[n].page, SR_PAGE_SIZE);

		if (__builtin_expect(!r || (uintptr_t)buffers[n].page % SR_PAGE_SIZE, 0))
			return n ? (int)n : -EINVAL;
		sr_net_rx_put(q, r, &buffers[n]);
	}
	return (int)n;
}

/* A buffer that goes to the ring again, for which its own slot was just freed. */
static void repost(struct sr_netfront_queue *q, const struct sr_netfront_buffer *b)
{
	sr_net_rx_put(q, sr_net_region_find(q, b->page, SR_PAGE_SIZE), b);
}

static void take_extra(struct sr_netfront_queue *q, const struct sr_netfront_buffer *b)
{
	struct sr_net_partial *part = &q->partial;
	const struct sr_netfront_offloads *rx = &q->front->info.rx;
	struct netif_extra_info e;

	sr_netif_rx_front_take_extra(&q->rx, &e);
	repost(q, b);
	part->extras = e.flags & XEN_NETIF_EXTRA_FLAG_MORE;
	if (++part->extra_count > MOST_EXTRAS) {
		part->bad = true;
		return;
	}
	if (e.type == XEN_NETIF_EXTRA_TYPE_GSO) {
		bool v4 = e.u.gso.type == XEN_NETIF_GSO_TYPE_TCPV4;

		part->packet.gso_size = e.u.gso.size;
		part->packet.flags |= v4 ? SR_NETFRONT_GSO4 : SR_NETFRONT_GSO6;
		if (!e.u.gso.size || (v4 ? !rx->gso4 : !rx->gso6) ||
		    (!v4 && e.u.gso.type != XEN_NETIF_GSO_TYPE_TCPV6))
			part->bad = true;
	} else if (e.type == XEN_NETIF_EXTRA_TYPE_HASH) {
		part->packet.flags |= SR_NETFRONT_HASH;
		part->packet.hash_type = e.u.hash.type;
		part->packet.hash = 0;
		for (unsigned i = 0; i < sizeof(e.u.hash.value); i++)
			part->packet.hash |= (uint32_t)e.u.hash.value[i] << (8 * i);
	} else {
		part->bad = true;
	}
}

static uint8_t flags_of(uint16_t flags)
{
	return (uint8_t)((flags & NETRXF_csum_blank ? SR_NETFRONT_CSUM_BLANK : 0) |
			 (flags & NETRXF_data_validated ? SR_NETFRONT_CSUM_VALID : 0));
}

/* One response of data into the packet that is being put together. */
static void take_data(struct sr_netfront_queue *q, const struct netif_rx_response *rsp,
		      const struct sr_netfront_buffer *b)
{
	struct sr_net_partial *part = &q->partial;
	struct sr_netfront_rx *p = &part->packet;

	if (!part->active) {
		*p = (struct sr_netfront_rx){ .flags = flags_of(rsp->flags) };
		part->active = true;
		part->bad = rsp->flags & NETRXF_gso_prefix;
		part->extras = rsp->flags & NETRXF_extra_info;
		part->extra_count = 0;
	}
	part->more = rsp->flags & NETRXF_more_data;
	if (rsp->status < 0 || (uint32_t)rsp->offset + (uint32_t)rsp->status > SR_PAGE_SIZE ||
	    p->count == SR_NETFRONT_MAX_SEGMENTS) {
		part->bad = true;
		repost(q, b);
		return;
	}
	part->buffers[p->count] = *b;
	part->segments[p->count++] = (struct sr_netfront_rx_segment){
		.tag = b->tag,
		.offset = rsp->offset,
		.length = (uint16_t)rsp->status,
	};
	p->length += (uint32_t)rsp->status;
}

/* The packet is complete. False: it was dropped. */
static bool finish(struct sr_netfront_queue *q, struct sr_netfront_rx *packet,
		   struct sr_netfront_rx_segment *segments, unsigned *used)
{
	struct sr_net_partial *part = &q->partial;
	struct sr_netfront_rx *p = &part->packet;

	part->active = false;
	if (part->bad || p->length < MIN_PACKET || p->length > SR_NETFRONT_MAX_PACKET ||
	    (p->count > 1 && !q->front->info.rx.sg)) {
		for (unsigned i = 0; i < p->count; i++)
			repost(q, &part->buffers[i]);
		q->stats.rx_errors++;
		return false;
	}
	*packet = *p;
	packet->first = (uint16_t)*used;
	for (unsigned i = 0; i < p->count; i++)
		segments[(*used)++] = part->segments[i];
	return true;
}

/* Takes one response. True if that makes a packet. */
static inline bool take(struct sr_netfront_queue *q, struct sr_netfront_rx *packet,
			struct sr_netfront_rx_segment *segments, unsigned *used)
{
	struct sr_netfront_buffer b = q->posted[q->rx.ring.rsp_cons % SR_NETIF_RX_SLOTS];
	struct sr_net_partial *part = &q->partial;
	struct netif_rx_response rsp;

	if (part->active && part->extras) {
		take_extra(q, &b);
	} else {
		sr_netif_rx_front_take(&q->rx, &rsp);
		/* The common case: all of the packet is here. */
		if (!part->active && rsp.status >= (int)MIN_PACKET &&
		    !(rsp.flags & (NETRXF_more_data | NETRXF_extra_info | NETRXF_gso_prefix)) &&
		    (uint32_t)rsp.offset + (uint32_t)rsp.status <= SR_PAGE_SIZE) {
			*packet = (struct sr_netfront_rx){
				.length = (uint32_t)rsp.status,
				.first = (uint16_t)*used,
				.count = 1,
				.flags = flags_of(rsp.flags),
			};
			segments[(*used)++] = (struct sr_netfront_rx_segment){
				.tag = b.tag,
				.offset = rsp.offset,
				.length = (uint16_t)rsp.status,
			};
			return true;
		}
		take_data(q, &rsp, &b);
	}
	return !part->extras && !part->more && finish(q, packet, segments, used);
}

int sr_netfront_receive(struct sr_netfront_queue *q, struct sr_netfront_rx *packets, unsigned max,
			struct sr_netfront_rx_segment *segments, unsigned room)
{
	int rc = sr_net_status(q->front), pending;
	unsigned n = 0, used = 0;
	uint32_t put = q->rx.ring.req_prod_pvt;

	if (__builtin_expect(rc || !q->connected, 0))
		return rc ? rc : -ENOTCONN;
	pending = sr_ring_front_pending(&q->rx.ring);
	if (__builtin_expect(pending < 0, 0)) {
		sr_net_break(q->front, "the backend's index of RX responses is impossible");
		return -EIO;
	}
	sr_netif_rx_front_prefetch(&q->rx, (uint32_t)(pending < PREFETCH ? pending : PREFETCH));
	while (pending-- > 0 && n < max && room - used >= SR_NETFRONT_MAX_SEGMENTS) {
		if (!take(q, &packets[n], segments, &used))
			continue;
		q->stats.rx_bytes += packets[n].length;
		n++;
	}
	q->stats.rx_packets += n;
	/* What was put back here the caller knows nothing of. */
	if (q->rx.ring.req_prod_pvt != put)
		sr_ring_front_publish(&q->rx.ring);
	return (int)n;
}

unsigned sr_netfront_take_back(struct sr_netfront_queue *q, struct sr_netfront_buffer *buffers,
			       unsigned max)
{
	unsigned n = 0;

	if (q->connected && sr_net_status(q->front) != -EIO)
		return 0;
	sr_net_queue_collect(q);
	while (n < max && q->kept_count)
		buffers[n++] = q->kept[--q->kept_count];
	return n;
}
