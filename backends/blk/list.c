/* SPDX-License-Identifier: MIT */
/* What other threads may ask of a running backend. */
#include <errno.h>
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vbd.h"

static struct sr_vbd *next_vbd(struct sr_blkback *bb, const struct sr_vbd *after)
{
	struct sr_device *dev =
	    sr_backend_next(bb->backend, &sr_vbd_class, after ? &after->dev : NULL);

	return dev ? sr_vbd_of(dev) : NULL;
}

static void describe(const struct sr_vbd *v, struct sr_blkback_device *d)
{
	*d = (struct sr_blkback_device){
		.frontend = v->dev.domid,
		.devid = v->dev.devid,
		.state = v->dev.state,
		.sector_size = v->geometry.unit << SR_SECTOR_SHIFT,
		.read_only = v->read_only || v->geometry.read_only,
		.cdrom = v->cdrom,
		.recovered = v->dev.recovered,
	};
	snprintf(d->type, sizeof(d->type), "%s", v->dev.type);
	memcpy(d->vdev, v->vdev, sizeof(d->vdev));
	snprintf(d->params, sizeof(d->params), "%s", v->params);
	snprintf(d->driver, sizeof(d->driver), "%s", v->open ? v->driver->name : "");
	memcpy(d->error, v->dev.error, sizeof(d->error));
	if (v->open)
		d->size = v->geometry.sectors << SR_SECTOR_SHIFT;
	if (!v->dev.attached)
		return;
	d->persistent = v->conn.persistent;
	d->queues = v->conn.queues;
	d->ring_pages = 1u << v->conn.order;
	for (unsigned i = 0; i < v->conn.queues; i++) {
		const struct sr_blkq *q = v->queues[i].q;

		if (!q)
			continue;
		for (unsigned k = 0; k < v->bb->thread_count; k++)
			if (v->bb->threads[k] == v->queues[i].thread)
				d->threads[i] = k;
		d->in_flight += (unsigned)sr_stat_get(&q->gauges.in_flight);
		d->persistent_grants += (unsigned)sr_stat_get(&q->gauges.persistent);
		sr_blk_stats_add(&d->stats, &q->stats);
	}
}

int sr_blkback_list(struct sr_blkback *bb, struct sr_blkback_device **devices, size_t *count)
{
	struct sr_blkback_device *list;
	size_t n = 1;

	sr_backend_lock(bb->backend);
	for (struct sr_vbd *v = next_vbd(bb, NULL); v; v = next_vbd(bb, v))
		n++;
	list = calloc(n, sizeof(*list));
	n = 0;
	if (list)
		for (struct sr_vbd *v = next_vbd(bb, NULL); v; v = next_vbd(bb, v))
			describe(v, &list[n++]);
	sr_backend_unlock(bb->backend);
	if (!list)
		return -ENOMEM;
	*devices = list;
	*count = n;
	return 0;
}

void sr_blkback_totals(struct sr_blkback *bb, struct sr_blk_stats *sum)
{
	sr_backend_lock(bb->backend);
	*sum = bb->past;
	for (const struct sr_vbd *v = next_vbd(bb, NULL); v; v = next_vbd(bb, v))
		for (unsigned i = 0; v->dev.attached && i < v->conn.queues; i++)
			if (v->queues[i].q)
				sr_blk_stats_add(sum, &v->queues[i].q->stats);
	sr_backend_unlock(bb->backend);
}

size_t sr_blkback_threads(struct sr_blkback *bb, struct sr_blkback_thread *threads, size_t max)
{
	size_t n;

	sr_backend_lock(bb->backend);
	n = bb->thread_count;
	for (size_t i = 0; i < n && i < max; i++) {
		const struct sr_blk_thread *t = bb->threads[i];
		const struct sr_thread_stats *s = sr_thread_stats(t->thread);

		threads[i] = (struct sr_blkback_thread){
			.cpu = t->cpu < 0 ? UINT_MAX : (unsigned)t->cpu,
			.queues = t->queues,
			.loops = sr_stat_get(&s->loops),
			.busy_loops = sr_stat_get(&s->busy_loops),
			.sleeps = sr_stat_get(&s->sleeps),
			.wakeups = sr_stat_get(&s->wakeups),
			.cpu_ns = sr_thread_cpu_ns(t->thread),
			.spin_us = (unsigned)(sr_stat_get(&s->spin_ns) / 1000),
		};
	}
	sr_backend_unlock(bb->backend);
	return n;
}

int sr_blkback_refresh(struct sr_blkback *bb, uint16_t frontend, uint32_t devid)
{
	int rc = -ENOENT;

	/* The lock keeps the control thread out, which is all that a device needs. */
	sr_backend_lock(bb->backend);
	for (struct sr_vbd *v = next_vbd(bb, NULL); v; v = next_vbd(bb, v))
		if (v->dev.domid == frontend && v->dev.devid == devid)
			rc = sr_vbd_refresh(v);
	sr_backend_unlock(bb->backend);
	return rc;
}
