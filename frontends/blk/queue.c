/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdlib.h>
#include <time.h>

/* A ring page that the backend still maps is given a moment; after that closing the handle does. */
static void unshare_ring(struct sr_blkfront_queue *q)
{
	struct timespec nap = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 200; i++) {
		if (sr_gntshr_unshare(q->gs, q->ring_pages, 1u << q->front->info.ring_order) !=
		    -EBUSY)
			return;
		nanosleep(&nap, NULL);
	}
}

void sr_front_queue_free(struct sr_blkfront_queue *q)
{
	if (q->ev)
		sr_evtchn_close(q->ev);
	if (q->gs) {
		sr_front_memory_free(q);
		if (q->ring_pages)
			unshare_ring(q);
		sr_gntshr_close(q->gs);
	}
	free(q->pieces);
	free(q->free_ids);
	free(q->segs);
	free(q->grants);
}

int sr_front_queue_init(struct sr_blkfront *f, struct sr_blkfront_queue *q)
{
	uint16_t domid = f->info.backend_domid;
	int rc;

	q->front = f;
	rc = sr_gntshr_open(f->bus.hv, &q->gs);
	if (!rc)
		rc = sr_gntshr_share(q->gs, domid, 1u << f->info.ring_order, true, q->ring_refs,
				     &q->ring_pages);
	if (rc)
		return sr_frontbus_fail(&f->bus, rc, "can't grant the pages of a ring: %s",
					strerror(-rc));
	rc = sr_evtchn_open(f->bus.hv, &q->ev);
	if (!rc)
		rc = sr_evtchn_alloc_unbound(q->ev, domid, &q->port);
	if (rc)
		return sr_frontbus_fail(&f->bus, rc, "can't make an event channel: %s",
					strerror(-rc));
	return sr_blkif_front_init(&q->ring, q->ring_pages, f->info.ring_order, f->options.abi);
}

int sr_front_queue_tables(struct sr_blkfront *f, struct sr_blkfront_queue *q)
{
	uint32_t size = f->info.ring_size;

	q->pieces = calloc(size, sizeof(*q->pieces));
	q->free_ids = calloc(size, sizeof(*q->free_ids));
	q->segs = calloc(f->info.max_segments, sizeof(*q->segs));
	if (!f->info.grants_are_permanent)
		q->grants = calloc((size_t)size * f->info.max_segments, sizeof(*q->grants));
	if (!q->pieces || !q->free_ids || !q->segs || (!f->info.grants_are_permanent && !q->grants))
		return -ENOMEM;
	for (uint32_t i = 0; i < size; i++)
		q->free_ids[i] = (uint16_t)(size - 1 - i);
	q->free_count = size;
	return 0;
}
