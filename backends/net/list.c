/* SPDX-License-Identifier: MIT */
/* What other threads may ask of a running backend. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vif.h"

static struct sr_vif *next_vif(struct sr_netback *nb, const struct sr_vif *after)
{
	struct sr_device *dev =
	    sr_backend_next(nb->backend, &sr_vif_class, after ? &after->dev : NULL);

	return dev ? sr_vif_of(dev) : NULL;
}

static void describe(const struct sr_vif *v, struct sr_netback_device *d)
{
	*d = (struct sr_netback_device){
		.frontend = v->dev.domid,
		.devid = v->dev.devid,
		.mtu = v->mtu,
		.state = v->dev.state,
		.recovered = v->dev.recovered,
		.rate_bytes = v->rate_bytes,
		.rate_interval_us = v->rate_interval_us,
		.link = !v->link_down,
	};
	memcpy(d->mac, v->mac, sizeof(d->mac));
	memcpy(d->bridge, v->bridge, sizeof(d->bridge));
	memcpy(d->error, v->dev.error, sizeof(d->error));
	if (!v->member)
		return;
	d->queues = v->conn.queues;
	d->split = v->conn.setup[0].tx_port != v->conn.setup[0].rx_port;
	d->ctrl_ring = v->conn.has_ctrl;
	d->multicast_filter = v->conn.multicast_filter;
	d->features = v->conn.features;
	d->headroom = v->conn.headroom;
	d->carrier = sr_member_carrier(v->member);
	for (unsigned i = 0; i < v->conn.queues; i++) {
		const struct sr_member_stats *m = sr_member_stats(v->member, i);

		d->stalls += sr_stat_get(&m->stalls);
		d->threads[i] = v->queues[i].lane;
		sr_net_stats_add(&d->stats, sr_netq_stats(v->queues[i].q));
		/* What the switch dropped it counts itself. */
		for (unsigned k = 0; k < SR_NET_DROPS; k++) {
			d->stats.tx.drops[k] += sr_stat_get(&m->in.drops[k]);
			d->stats.rx.drops[k] += sr_stat_get(&m->out.drops[k]);
		}
	}
}

int sr_netback_list(struct sr_netback *nb, struct sr_netback_device **devices, size_t *count)
{
	struct sr_netback_device *list;
	size_t n = 1;

	sr_backend_lock(nb->backend);
	for (struct sr_vif *v = next_vif(nb, NULL); v; v = next_vif(nb, v))
		n++;
	list = calloc(n, sizeof(*list));
	n = 0;
	if (list)
		for (struct sr_vif *v = next_vif(nb, NULL); v; v = next_vif(nb, v))
			describe(v, &list[n++]);
	sr_backend_unlock(nb->backend);
	if (!list)
		return -ENOMEM;
	*devices = list;
	*count = n;
	return 0;
}

size_t sr_netback_threads(struct sr_netback *nb, struct sr_netback_thread *threads, size_t max)
{
	size_t n;

	sr_backend_lock(nb->backend);
	n = nb->fabric ? sr_fabric_lanes(nb->fabric) : 0;
	for (size_t i = 0; i < n && i < max; i++) {
		struct sr_thread *thread = nb->lanes[i].thread;
		const struct sr_thread_stats *s = sr_thread_stats(thread);

		threads[i] = (struct sr_netback_thread){
			.queues = sr_fabric_load(nb->fabric, (unsigned)i),
			.loops = sr_stat_get(&s->loops),
			.busy_loops = sr_stat_get(&s->busy_loops),
			.sleeps = sr_stat_get(&s->sleeps),
			.wakeups = sr_stat_get(&s->wakeups),
			.cpu_ns = sr_thread_cpu_ns(thread),
		};
	}
	sr_backend_unlock(nb->backend);
	return n;
}

static void describe_bridge(const struct sr_netback *nb, const struct sr_switch *sw,
			    struct sr_netback_bridge *b)
{

	snprintf(b->name, sizeof(b->name), "%s", sr_switch_name(sw));
	for (size_t i = 0; i < nb->opt.uplink_count; i++)
		b->uplinks += !strcmp(nb->opt.uplinks[i].bridge, b->name);
	while (sr_switch_member_at(sw, b->vifs + b->uplinks))
		b->vifs++;
}

int sr_netback_bridges(struct sr_netback *nb, struct sr_netback_bridge **bridges, size_t *count)
{
	struct sr_netback_bridge *list;
	size_t n = 0;

	sr_backend_lock(nb->backend);
	while (nb->fabric && sr_fabric_switch_at(nb->fabric, n))
		n++;
	list = calloc(n + 1, sizeof(*list));
	for (size_t i = 0; list && i < n; i++)
		describe_bridge(nb, sr_fabric_switch_at(nb->fabric, i), &list[i]);
	sr_backend_unlock(nb->backend);
	if (!list)
		return -ENOMEM;
	*bridges = list;
	*count = n;
	return 0;
}
