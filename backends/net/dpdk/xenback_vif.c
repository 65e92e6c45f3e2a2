/* SPDX-License-Identifier: MIT */
/*
 * The vif of a port: a class of devices that is netback's in all but where packets go. Its queues
 * are attached here, and used by whoever calls the port's bursts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hypervisor.h>

#include "xenback.h"

static struct sr_xb *xb_of(const struct sr_device *dev)
{
	return dev->ctx;
}

/* --- connecting ---------------------------------------------------------------------------------
 */

static int attach_queue(struct sr_xb *xb, struct sr_vif *v, unsigned index)
{
	struct sr_xb_queue *xq = &xb->queue[index];
	const struct sr_vif_queue_setup *s = &v->conn.setup[index];
	struct sr_netq_setup setup = {
		.netif = v->netif,
		.index = index,
		.domid = v->dev.domid,
		.tx_ref = s->tx_ref,
		.rx_ref = s->rx_ref,
		.tx_port = s->tx_port,
		.rx_port = s->rx_port,
		.pool = xb->pools[index],
		.features = v->conn.features,
		.log = &v->dev.log,
	};
	struct sr_netq *q = NULL;
	int rc = sr_gnttab_open(xb->nb.hv, &xq->gt);

	if (!rc)
		rc = sr_evtchn_open(xb->nb.hv, &xq->ev);
	setup.gt = xq->gt;
	setup.ev = xq->ev;
	if (!rc)
		rc = sr_netq_attach(&setup, &q, v->dev.error, sizeof(v->dev.error));
	xq->broken = false;
	v->queues[index].q = q;
	return rc;
}

/* From here on the bursts find them. The control ring's part belongs to queue 0. */
static void hand_over(struct sr_xb *xb, struct sr_vif *v)
{
	/* None has a queue yet, so none looks. */
	xb->connection = v->netif;
	xb->vif = v;
	/* Before the queues: a burst that finds one broken says so only of what is connected. */
	__atomic_store_n(&xb->connected, v->conn.queues, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < v->conn.queues; i++) {
		struct sr_xb_queue *xq = &xb->queue[i];

		rte_spinlock_lock(&xq->lock);
		xq->q = v->queues[i].q;
		if (i == 0)
			xb->netif = v->conn.has_ctrl ? v->netif : NULL;
		rte_spinlock_unlock(&xq->lock);
	}
}

static void take_back(struct sr_xb *xb)
{
	__atomic_store_n(&xb->connected, 0, __ATOMIC_RELAXED);
	xb->vif = NULL;
	/* A burst may look at any queue's mapping: all are taken, then nobody looks. */
	for (unsigned i = 0; i < SR_NET_MAX_QUEUES; i++)
		rte_spinlock_lock(&xb->queue[i].lock);
	for (unsigned i = 0; i < SR_NET_MAX_QUEUES; i++) {
		if (xb->queue[i].q)
			sr_net_stats_add(&xb->queue[i].past, sr_netq_stats(xb->queue[i].q));
		xb->queue[i].q = NULL;
	}
	xb->netif = NULL;
	for (unsigned i = 0; i < SR_NET_MAX_QUEUES; i++)
		rte_spinlock_unlock(&xb->queue[i].lock);
}

static void let_go(struct sr_xb *xb, struct sr_vif *v)
{
	if (v->netif && v->conn.has_ctrl)
		sr_netif_ctrl_detach(v->netif);
	for (unsigned i = 0; i < v->conn.queues; i++) {
		sr_netq_detach(v->queues[i].q);
		v->queues[i].q = NULL;
		sr_evtchn_close(xb->queue[i].ev);
		sr_gnttab_close(xb->queue[i].gt);
		xb->queue[i].ev = NULL;
		xb->queue[i].gt = NULL;
	}
	sr_netif_free(v->netif);
	v->netif = NULL;
}

static int attach_all(struct sr_xb *xb, struct sr_vif *v)
{
	const struct sr_netif_setup setup = {
		.queues = v->conn.queues,
		.domid = v->dev.domid,
		.multicast_filter = v->conn.multicast_filter,
		.headroom = v->conn.headroom,
		.log = &v->dev.log,
	};
	int rc = sr_netif_new(&setup, &v->netif);

	memset(v->queues, 0, sizeof(v->queues));
	for (unsigned i = 0; i < v->conn.queues && !rc; i++)
		rc = attach_queue(xb, v, i);
	if (!rc && v->conn.has_ctrl)
		rc = sr_netif_ctrl_attach(v->netif, xb->queue[0].gt, xb->queue[0].ev,
					  v->conn.ctrl_ref, v->conn.ctrl_port, false, v->dev.error,
					  sizeof(v->dev.error));
	return rc;
}

static int connect_vif(struct sr_device *dev)
{
	struct sr_xb *xb = xb_of(dev);
	struct sr_vif *v = sr_vif_of(dev);
	struct sr_device_front nodes = { .dev = dev };
	int rc = sr_vif_negotiate(xb->nb.opt.max_queues, sr_device_front_node, &nodes, &v->conn,
				  dev->error, sizeof(dev->error));

	free(nodes.value);
	if (dev->trouble || rc)
		return dev->trouble ? dev->trouble : rc;
	if (dev->error[0])
		sr_log_guest(&dev->log, SR_LOG_WARNING, "%s", dev->error);
	dev->error[0] = 0;
	rc = attach_all(xb, v);
	if (rc) {
		if (!dev->error[0])
			snprintf(dev->error, sizeof(dev->error), "can't set it up: %s",
				 strerror(-rc));
		let_go(xb, v);
		return rc;
	}
	dev->attached = 1;
	hand_over(xb, v);
	return 0;
}

static void on_detached(void *arg)
{
	sr_device_detached(&((struct sr_vif *)arg)->dev);
}

static void detach(struct sr_device *dev, bool drain)
{
	struct sr_vif *v = sr_vif_of(dev);

	take_back(xb_of(dev));
	let_go(xb_of(dev), v);
	v->detached = (struct sr_mail){ .run = on_detached, .arg = v };
	sr_backend_post(dev->backend, &v->detached);
}

static void on_broken(void *arg)
{
	struct sr_xb *xb = arg;

	if (!xb->vif)
		return;
	snprintf(xb->vif->dev.error, sizeof(xb->vif->dev.error),
		 "the guest broke the protocol of its rings");
	sr_device_fail(&xb->vif->dev);
}

void sr_xb_broken(struct sr_xb *xb, struct sr_xb_queue *queue)
{
	if (queue->broken)
		return;
	queue->broken = true;
	/* One letter for all queues, which is on its way once. */
	if (__atomic_exchange_n(&xb->connected, 0, __ATOMIC_RELAXED))
		sr_backend_post(xb->nb.backend, &xb->broken);
}

/* --- the class ----------------------------------------------------------------------------------
 */

static int open_vif(struct sr_device *dev)
{
	/* What reading its nodes has found wrong. */
	return dev->error[0] ? -EINVAL : 0;
}

static void nothing(struct sr_device *dev)
{
}

static void log_connected(struct sr_device *dev)
{
	sr_log_guest(&dev->log, SR_LOG_INFO, "connected: %u queues", sr_vif_of(dev)->conn.queues);
}

static int begin(void *ctx)
{
	return 0;
}

static void end(void *ctx)
{
}

/* A process that was killed leaves no record: the packets of an application are its own affair. */
static bool no_record(struct sr_device *dev)
{
	return false;
}

static const char *const keys[] = { "mac", "mtu", NULL };

static const struct sr_device_class port_class = {
	.size = sizeof(struct sr_vif),
	.keys = keys,
	.start = begin,
	.stop = end,
	.read_nodes = sr_vif_read_nodes,
	.free = nothing,
	.open = open_vif,
	.close = nothing,
	.put_offer = sr_vif_put_offer,
	.connect = connect_vif,
	.put_connected = sr_vif_put_connected,
	.log_connected = log_connected,
	.detach = detach,
	.check_record = no_record,
	.resume = connect_vif,
};

static const char *const types[] = { "vif", NULL };

/* Every vif but one is another port's, or another backend's. */
static bool rival(void *ctx, const char *type, uint16_t frontend, uint32_t devid, char *why,
		  size_t size)
{
	const struct sr_xb *xb = ctx;

	if (frontend == xb->domid && devid == xb->device)
		return false;
	snprintf(why, size, "it is no vif of this port");
	return true;
}

static void *run(void *arg)
{
	struct sr_xb *xb = arg;

	xb->result = sr_backend_run(xb->nb.backend);
	if (xb->result) {
		struct sr_log_source source;

		sr_log_source_init(&source, &xb->log, "net_xenback");
		sr_log(&source, SR_LOG_ERROR, "%s: %s", xb->address, strerror(-xb->result));
	}
	return NULL;
}

int sr_xb_start(struct sr_xb *xb)
{
	const struct sr_backend_options options = {
		.log = &xb->log,
		.name = "net_xenback",
		.rival = rival,
		.rival_ctx = xb,
	};
	int rc;

	xb->broken = (struct sr_mail){ .run = on_broken, .arg = xb };
	xb->nb.opt.max_queues = xb->queues;
	rc = sr_backend_new(xb->nb.hv, &options, &xb->nb.backend);
	if (!rc)
		rc = sr_backend_add(xb->nb.backend, &port_class, xb, types);
	if (!rc)
		rc = -pthread_create(&xb->thread, NULL, run, xb);
	if (rc) {
		sr_backend_free(xb->nb.backend);
		xb->nb.backend = NULL;
		return rc;
	}
	xb->running = true;
	return 0;
}

void sr_xb_stop(struct sr_xb *xb)
{
	if (!xb->running)
		return;
	sr_backend_stop(xb->nb.backend, SR_BACKEND_CLOSE);
	pthread_join(xb->thread, NULL);
	sr_backend_free(xb->nb.backend);
	xb->nb.backend = NULL;
	xb->running = false;
}
