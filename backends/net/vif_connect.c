/* SPDX-License-Identifier: MIT */
/*
 * A vif's queues and its place in the switch: connecting, resuming, detaching. The control ring is
 * served by the thread of the first queue.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/ring.h>
#include <hypervisor.h>

#include "vif.h"

/* --- the record ---------------------------------------------------------------------------------
 */

static size_t record_size(unsigned queues)
{
	return sizeof(struct sr_vif_record) + queues * sizeof(struct sr_netq_record);
}

static int new_record(struct sr_vif *v)
{
	struct sr_vif_record *record;
	int rc = sr_device_new_record(&v->dev, record_size(v->conn.queues));

	if (rc)
		return rc;
	record = sr_vif_record(v);
	record->head.magic = SR_VIF_RECORD_MAGIC;
	record->head.version = SR_VIF_RECORD_VERSION;
	record->conn = v->conn;
	return 0;
}

bool sr_vif_check_record(struct sr_device *dev)
{
	const struct sr_vif *v = sr_vif_of(dev);
	const struct sr_vif_record *record = sr_vif_record(v);

	if (dev->record_size < sizeof(*record) || record->head.magic != SR_VIF_RECORD_MAGIC ||
	    record->head.version != SR_VIF_RECORD_VERSION || !record->head.connected ||
	    record->conn.queues == 0 || record->conn.queues > SR_NET_MAX_QUEUES ||
	    dev->record_size < record_size(record->conn.queues))
		return false;
	sr_vif_of(dev)->conn = record->conn;
	return true;
}

/* --- the switch's calls, in the lanes -----------------------------------------------------------
 */

static int member_receive(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	return sr_netq_receive(((struct sr_vif *)arg)->queues[queue].q, pkts, n);
}

static int member_send(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	return sr_netq_send(((struct sr_vif *)arg)->queues[queue].q, pkts, n);
}

static void member_note_drops(void *arg, unsigned queue, uint8_t *fates)
{
	sr_netq_note_drops(((struct sr_vif *)arg)->queues[queue].q, fates);
}

static bool member_arm_receive(void *arg, unsigned queue)
{
	return sr_netq_arm_receive(((struct sr_vif *)arg)->queues[queue].q);
}

static bool member_arm_send(void *arg, unsigned queue)
{
	return sr_netq_arm_send(((struct sr_vif *)arg)->queues[queue].q);
}

static void member_flush(void *arg, unsigned queue)
{
	sr_netq_flush(((struct sr_vif *)arg)->queues[queue].q);
}

static void member_broken(void *arg, unsigned queue)
{
	struct sr_vif *v = arg;
	struct sr_vif_queue *vq = &v->queues[queue];

	/* Once: the control ring may break with the first queue, and a new member breaks anew. */
	if (!__atomic_exchange_n(&vq->told_broken, true, __ATOMIC_RELAXED))
		sr_backend_post(v->dev.backend, &vq->broken);
}

static void member_stalled(void *arg, unsigned queue, bool on)
{
	struct sr_vif_queue *vq = &((struct sr_vif *)arg)->queues[queue];

	if (on)
		sr_netq_stall(vq->q);
	sr_log_guest(&vq->log, on ? SR_LOG_WARNING : SR_LOG_INFO, "queue %u: %s", queue,
		     on ? "the guest gives no room for packets, which are dropped until it does"
			: "the guest takes packets again");
}

static unsigned member_pick(const void *arg, const struct rte_mbuf *pkt)
{
	return sr_netif_pick_queue(((const struct sr_vif *)arg)->netif, pkt);
}

static bool member_wants(const void *arg, const struct rte_ether_addr *to)
{
	return sr_netif_wants(((const struct sr_vif *)arg)->netif, to);
}

static const struct sr_member_ops member_ops = {
	.receive = member_receive,
	.send = member_send,
	.note_drops = member_note_drops,
	.arm_receive = member_arm_receive,
	.arm_send = member_arm_send,
	.flush = member_flush,
	.broken = member_broken,
	.stalled = member_stalled,
	.pick = member_pick,
	.wants = member_wants,
};

static int join(struct sr_vif *v)
{
	struct sr_member_queue queues[SR_NET_MAX_QUEUES];
	struct sr_member_config config = {
		.name = v->dev.name,
		.ops = &member_ops,
		.arg = v,
		.queue_count = v->conn.queues,
		.queues = queues,
		.check_mac = true,
		.addresses = v->addresses,
		.address_count = v->address_count,
		.capture_id = sr_capture_vif(v->dev.domid, v->dev.devid),
		.mtu = v->mtu,
		.rate_bytes = v->rate_bytes,
		.rate_interval_us = v->rate_interval_us,
		.down = v->link_down,
		.no_send_events = !v->conn.rx_notify,
	};

	memcpy(config.mac, v->mac, sizeof(config.mac));
	for (unsigned i = 0; i < v->conn.queues; i++)
		queues[i] = (struct sr_member_queue){
			.lane = v->queues[i].lane,
			.receive_port = sr_netq_tx_port(v->queues[i].q),
			.send_port = sr_netq_rx_port(v->queues[i].q),
			.fd = -1,
		};
	return sr_member_add(v->sw, &config, &v->member);
}

/* --- the control ring ---------------------------------------------------------------------------
 */

static struct sr_vif *vif_of_ctrl(struct sr_source *source)
{
	return (struct sr_vif *)(void *)((char *)source - offsetof(struct sr_vif, ctrl));
}

static unsigned ctrl_poll(struct sr_source *source, uint64_t now)
{
	struct sr_vif *v = vif_of_ctrl(source);
	int n = sr_netif_ctrl_poll(v->netif);

	if (n >= 0)
		return (unsigned)n;
	/* Whatever comes now is not looked at; it is told once. */
	v->ctrl_added = false;
	sr_thread_remove(v->nb->lanes[v->queues[0].lane].thread, source);
	member_broken(v, 0);
	return 0;
}

static bool ctrl_arm(struct sr_source *source)
{
	return sr_netif_ctrl_arm(vif_of_ctrl(source)->netif);
}

static const struct sr_source_ops ctrl_ops = { .poll = ctrl_poll, .arm = ctrl_arm };

static void wake_queue(void *ctx, unsigned queue)
{
	struct sr_vif *v = ctx;

	sr_member_wake(v->member, queue);
}

static void ctrl_woken(void *arg)
{
	struct sr_vif *v = arg;

	__atomic_store_n(&v->ctrl_posted, false, __ATOMIC_RELEASE);
	if (v->ctrl_added)
		sr_thread_wake(v->nb->lanes[v->queues[0].lane].thread, &v->ctrl);
}

static void wake_ctrl(void *ctx)
{
	struct sr_vif *v = ctx;

	if (!__atomic_exchange_n(&v->ctrl_posted, true, __ATOMIC_ACQ_REL))
		sr_thread_post(v->nb->lanes[v->queues[0].lane].thread, &v->ctrl_mail);
}

/* --- in the lanes -------------------------------------------------------------------------------
 */

struct attach_call {
	struct sr_vif *vif;
	const struct sr_netq_setup *setup;
	struct sr_netq **q;
	bool resume;
	int rc;
};

static void do_attach(void *arg)
{
	struct attach_call *c = arg;

	c->rc = sr_netq_attach(c->setup, c->q, c->vif->dev.error, sizeof(c->vif->dev.error));
}

static void do_attach_ctrl(void *arg)
{
	struct attach_call *c = arg;
	struct sr_vif *v = c->vif;
	struct sr_net_lane *lane = &v->nb->lanes[v->queues[0].lane];

	c->rc = sr_netif_ctrl_attach(v->netif, lane->gt, sr_thread_evtchn(lane->thread),
				     v->conn.ctrl_ref, v->conn.ctrl_port, c->resume, v->dev.error,
				     sizeof(v->dev.error));
	if (c->rc)
		return;
	v->ctrl = (struct sr_source){ .ops = &ctrl_ops };
	c->rc = sr_thread_add(lane->thread, &v->ctrl, sr_netif_ctrl_port(v->netif), -1);
	v->ctrl_added = !c->rc;
	if (c->rc)
		sr_netif_ctrl_detach(v->netif);
}

static void do_detach_ctrl(void *arg)
{
	struct sr_vif *v = arg;

	if (v->ctrl_added)
		sr_thread_remove(v->nb->lanes[v->queues[0].lane].thread, &v->ctrl);
	v->ctrl_added = false;
	sr_netif_ctrl_detach(v->netif);
}

static void do_detach(void *arg)
{
	sr_netq_detach(arg);
}

/* --- connecting ---------------------------------------------------------------------------------
 */

static void on_broken(void *arg)
{
	struct sr_vif_queue *vq = arg;
	struct sr_device *dev = &vq->vif->dev;

	snprintf(dev->error, sizeof(dev->error), "the guest broke the protocol of its rings");
	sr_device_fail(dev);
}

static int attach_queue(struct sr_vif *v, unsigned index, bool resume)
{
	struct sr_netback *nb = v->nb;
	struct sr_vif_queue *vq = &v->queues[index];
	const struct sr_vif_queue_setup *s = &v->conn.setup[index];
	unsigned lanes = sr_fabric_lanes(nb->fabric);
	unsigned lane = (sr_fabric_quietest(nb->fabric) + index) % lanes;
	const struct sr_netq_setup setup = {
		.netif = v->netif,
		.index = index,
		.gt = nb->lanes[lane].gt,
		.ev = sr_thread_evtchn(nb->lanes[lane].thread),
		.domid = v->dev.domid,
		.tx_ref = s->tx_ref,
		.rx_ref = s->rx_ref,
		.tx_port = s->tx_port,
		.rx_port = s->rx_port,
		.pool = nb->pool,
		.features = v->conn.features,
		.record = &sr_vif_record(v)->queues[index],
		.resume = resume,
		.log = &v->dev.log,
	};
	struct attach_call call = { .vif = v, .setup = &setup, .q = &vq->q };

	*vq = (struct sr_vif_queue){
		.vif = v,
		.lane = lane,
		.broken = { .run = on_broken, .arg = vq },
		.log = v->dev.log,
	};
	sr_thread_call(nb->lanes[lane].thread, do_attach, &call);
	return call.rc;
}

static int make_netif(struct sr_vif *v, bool resume)
{
	const struct sr_netif_setup setup = {
		.queues = v->conn.queues,
		.domid = v->dev.domid,
		.multicast_filter = v->conn.multicast_filter,
		.headroom = v->conn.headroom,
		.record = &sr_vif_record(v)->netif,
		.resume = resume,
		.wake = wake_queue,
		.ctrl_wake = wake_ctrl,
		.ctx = v,
		.log = &v->dev.log,
	};
	int rc = sr_netif_new(&setup, &v->netif);

	if (rc)
		snprintf(v->dev.error, sizeof(v->dev.error), "can't set it up: %s", strerror(-rc));
	return rc;
}

static int join_and_say(struct sr_vif *v)
{
	int rc = join(v);

	if (rc == -ENOSPC)
		snprintf(v->dev.error, sizeof(v->dev.error), "bridge %s is full", v->bridge);
	else if (rc)
		snprintf(v->dev.error, sizeof(v->dev.error), "can't join bridge %s: %s", v->bridge,
			 strerror(-rc));
	return rc;
}

static int attach_ctrl(struct sr_vif *v, bool resume)
{
	struct attach_call call = { .vif = v, .resume = resume };

	if (!v->conn.has_ctrl)
		return 0;
	sr_thread_call(v->nb->lanes[v->queues[0].lane].thread, do_attach_ctrl, &call);
	return call.rc;
}

/* All of it, or nothing: what was attached then is let go of, as ever by mail. */
static int attach_all(struct sr_vif *v, bool resume)
{
	int rc;

	v->dev.error[0] = 0;
	v->carrier_said = -1;
	memset(v->queues, 0, sizeof(v->queues));
	v->ctrl_mail = (struct sr_mail){ .run = ctrl_woken, .arg = v };
	rc = make_netif(v, resume);
	if (rc)
		return rc;
	/* One for all: they come and go together. */
	v->dev.attached = 1;
	for (unsigned i = 0; i < v->conn.queues && !rc; i++)
		rc = attach_queue(v, i, resume);
	if (!rc) {
		/* From here on packets are taken: the next process has to take over. */
		__atomic_store_n(&v->dev.record->connected, 1, __ATOMIC_RELEASE);
		rc = join_and_say(v);
	}
	if (!rc)
		rc = attach_ctrl(v, resume);
	if (rc)
		sr_device_detach(&v->dev, false);
	return rc;
}

int sr_vif_connect(struct sr_device *dev)
{
	struct sr_vif *v = sr_vif_of(dev);
	struct sr_device_front nodes = { .dev = dev };
	int rc = sr_vif_negotiate(v->nb->opt.max_queues, sr_device_front_node, &nodes, &v->conn,
				  dev->error, sizeof(dev->error));

	free(nodes.value);
	if (dev->trouble || rc)
		return dev->trouble ? dev->trouble : rc;
	if (dev->error[0])
		sr_log_guest(&dev->log, SR_LOG_WARNING, "%s", dev->error);
	rc = new_record(v);
	if (rc) {
		snprintf(dev->error, sizeof(dev->error), "can't keep a record for recovery: %s",
			 strerror(-rc));
		return rc;
	}
	dev->recovered = false;
	return attach_all(v, false);
}

int sr_vif_resume(struct sr_device *dev)
{
	return attach_all(sr_vif_of(dev), true);
}

/* --- detaching ----------------------------------------------------------------------------------
 */

static void nothing(void *arg)
{
}

static void on_detached(void *arg)
{
	struct sr_vif *v = arg;

	sr_device_detached(&v->dev);
}

void sr_vif_detach(struct sr_device *dev, bool drain)
{
	struct sr_vif *v = sr_vif_of(dev);
	struct sr_net_lane *lane = v->queues[0].q ? &v->nb->lanes[v->queues[0].lane] : NULL;

	if (v->conn.has_ctrl && lane)
		sr_thread_call(lane->thread, do_detach_ctrl, v);
	sr_member_remove(v->member);
	v->member = NULL;
	for (unsigned i = 0; i < v->conn.queues; i++) {
		struct sr_vif_queue *vq = &v->queues[i];

		if (!vq->q)
			continue;
		sr_thread_call(v->nb->lanes[vq->lane].thread, do_detach, vq->q);
		vq->q = NULL;
	}
	/*
	 * What queues posted to the control ring's thread arrives before this call does; they post
	 * nothing more. What was posted to us comes before the mail below.
	 */
	if (v->conn.has_ctrl && lane)
		sr_thread_call(lane->thread, nothing, NULL);
	sr_netif_free(v->netif);
	v->netif = NULL;
	v->detached = (struct sr_mail){ .run = on_detached, .arg = v };
	sr_backend_post(dev->backend, &v->detached);
}
