/* SPDX-License-Identifier: MIT */
/* A vbd's disk and its queues: opening, connecting, resuming, detaching. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hypervisor.h>

#include "vbd.h"

/* --- a drive without a medium -------------------------------------------------------------------
 */

/* Its size is 0, so no request with data gets here; what does is answered so. */
static enum sr_blk_submit empty_submit(void *queue, struct sr_blk_request *req)
{
	req->result = -ENOMEDIUM;
	return SR_BLK_DONE;
}

static const struct sr_blk_driver empty_drive = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "empty",
	.description = "a drive without a medium",
	.submit = empty_submit,
};

/* "", or what libxl writes for it: a format and a colon. */
static bool is_empty(const char *params)
{
	const char *colon = strchr(params, ':');

	return !*params || (colon && !colon[1]);
}

/* --- the disk -----------------------------------------------------------------------------------
 */

static void set_geometry(struct sr_vbd *v)
{
	const struct sr_blkback_options *opt = &v->bb->opt;
	const struct sr_blk_info *info = &v->info;
	bool big = v->big_sectors || info->logical_block_size <= 512;

	v->geometry = (struct sr_blk_disk){
		.sectors = info->size >> SR_SECTOR_SHIFT,
		.unit = v->big_sectors ? 8 : 1,
		.max_segments = opt->max_indirect_segments,
		.read_only = v->read_only || v->cdrom || info->read_only,
		.barrier = true,
		.flush_feature = true,
		.discard = v->discard_enable && info->discard_granularity,
		.secure_discard =
		    v->discard_enable && info->discard_granularity && info->secure_discard,
		.block = info->logical_block_size,
		.alignment = info->memory_alignment ? info->memory_alignment : 1,
		.flush = info->flush,
	};
	v->offer = (struct sr_blk_offer){
		/* Read-modify-write looks at one queue's requests only: see order.c. */
		.max_queues = big || v->geometry.read_only ? opt->max_queues : 1,
		.max_order = opt->max_ring_page_order,
		.persistent = opt->max_persistent_grants && sr_guest_has_room(v->guest),
	};
}

static int open_medium(struct sr_vbd *v)
{
	int rc;

	if (v->cdrom && is_empty(v->params)) {
		v->driver = &empty_drive;
		v->disk = NULL;
		v->info = (struct sr_blk_info){ .logical_block_size = 512, .read_only = true };
		return 0;
	}
	rc = sr_blk_target_parse(v->bb->opt.registry, v->params, &v->target, v->dev.error,
				 sizeof(v->dev.error));
	if (!rc)
		rc = sr_blk_target_open(&v->target, v->read_only || v->cdrom, &v->disk, &v->info,
					v->dev.error, sizeof(v->dev.error));
	if (rc) {
		sr_blk_target_clear(&v->target);
		return rc;
	}
	v->driver = v->target.driver;
	return 0;
}

int sr_vbd_open_disk(struct sr_device *dev)
{
	struct sr_vbd *v = sr_vbd_of(dev);
	int rc;

	if (v->open)
		return 0;
	v->dev.error[0] = 0;
	rc = open_medium(v);
	if (rc) {
		if (!v->dev.error[0])
			snprintf(v->dev.error, sizeof(v->dev.error), "can't open \"%.100s\": %s",
				 v->params, strerror(-rc));
		return rc;
	}
	v->open = true;
	if (!v->read_only && !v->cdrom && v->info.read_only)
		sr_log(&v->dev.log, SR_LOG_WARNING,
		       "mode is \"w\", but %s is read-only: the guest gets it read-only",
		       v->params);
	set_geometry(v);
	return 0;
}

void sr_vbd_close_disk(struct sr_device *dev)
{
	struct sr_vbd *v = sr_vbd_of(dev);

	if (!v->open)
		return;
	v->open = false;
	if (v->driver != &empty_drive && v->driver->close)
		v->driver->close(v->disk);
	sr_blk_target_clear(&v->target);
	v->disk = NULL;
	v->driver = NULL;
}

/* --- the record ---------------------------------------------------------------------------------
 */

static uint32_t ring_size(const struct sr_vbd *v)
{
	return sr_blkif_ring_size(v->conn.abi, v->conn.order);
}

static int new_record(struct sr_vbd *v)
{
	struct sr_record *record;
	int rc = sr_device_new_record(&v->dev, sr_record_size(v->conn.queues, ring_size(v)));

	if (rc)
		return rc;
	record = sr_vbd_record(v);
	record->magic = SR_RECORD_MAGIC;
	record->version = SR_RECORD_VERSION;
	record->queues = v->conn.queues;
	record->order = v->conn.order;
	record->abi = v->conn.abi;
	record->persistent = v->conn.persistent;
	memcpy(record->setup, v->conn.setup, sizeof(record->setup));
	return 0;
}

bool sr_vbd_check_record(struct sr_device *dev)
{
	struct sr_vbd *v = sr_vbd_of(dev);
	const struct sr_record *record = sr_vbd_record(v);

	if (sr_record_check(record, dev->record_size))
		return false;
	v->conn = (struct sr_blk_connection){
		.abi = (enum sr_blkif_abi)record->abi,
		.order = record->order,
		.queues = record->queues,
		.persistent = record->persistent,
	};
	memcpy(v->conn.setup, record->setup, sizeof(v->conn.setup));
	return true;
}

/* --- queues -------------------------------------------------------------------------------------
 */

static void post_broken(void *ctx)
{
	struct sr_vbd_queue *vq = ctx;

	sr_backend_post(vq->vbd->dev.backend, &vq->broken);
}

static void on_broken(void *arg)
{
	struct sr_vbd_queue *vq = arg;
	struct sr_device *dev = &vq->vbd->dev;

	snprintf(dev->error, sizeof(dev->error), "the guest broke the ring's protocol");
	sr_device_fail(dev);
}

static void post_detached(void *ctx)
{
	struct sr_vbd_queue *vq = ctx;

	sr_backend_post(vq->vbd->dev.backend, &vq->detached);
}

static void on_detached(void *arg)
{
	struct sr_vbd_queue *vq = arg;
	struct sr_vbd *v = vq->vbd;

	sr_blk_stats_add(&v->bb->past, &vq->q->stats);
	sr_blkq_free(vq->q);
	vq->q = NULL;
	vq->thread->queues--;
	sr_device_detached(&v->dev);
}

static void do_detach(void *arg)
{
	struct sr_vbd_queue *vq = arg;

	sr_blkq_detach(vq->q, vq->vbd->drain);
}

void sr_vbd_detach(struct sr_device *dev, bool drain)
{
	struct sr_vbd *v = sr_vbd_of(dev);

	v->drain = drain;
	for (unsigned i = 0; i < v->conn.queues; i++)
		if (v->queues[i].q)
			sr_thread_post(v->queues[i].thread->thread, &v->queues[i].detach);
}

struct attach_call {
	const struct sr_blkq_setup *setup;
	struct sr_vbd_queue *vq;
	char *error;
	size_t error_size;
	int rc;
};

static void do_attach(void *arg)
{
	struct attach_call *c = arg;

	c->rc = sr_blkq_attach(c->vq->thread, c->setup, &c->vq->q, c->error, c->error_size);
}

static int attach_queue(struct sr_vbd *v, unsigned index, bool resume)
{
	struct sr_vbd_queue *vq = &v->queues[index];
	const struct sr_blkq_setup setup = {
		.driver = v->driver,
		.driver_disk = v->disk,
		.disk = &v->geometry,
		.log = &v->dev.log,
		.rec = sr_record_queue(sr_vbd_record(v), index, ring_size(v)),
		.setup = &sr_vbd_record(v)->setup[index],
		.order = v->conn.order,
		.index = index,
		.count = v->conn.queues,
		.abi = v->conn.abi,
		.persistent_limit = v->conn.persistent ? v->bb->opt.max_persistent_grants : 0,
		.persistent_budget = &v->guest->budget,
		.domid = v->dev.domid,
		.resume = resume,
		.broken = post_broken,
		.detached = post_detached,
		.ctx = vq,
	};
	struct attach_call call = {
		.setup = &setup, .vq = vq, .error = v->dev.error, .error_size = sizeof(v->dev.error)
	};

	*vq = (struct sr_vbd_queue){
		.vbd = v,
		.thread = sr_blkback_pick_thread(v->bb),
		.detach = { .run = do_detach, .arg = vq },
		.broken = { .run = on_broken, .arg = vq },
		.detached = { .run = on_detached, .arg = vq },
	};
	sr_thread_call(vq->thread->thread, do_attach, &call);
	if (call.rc)
		return call.rc;
	vq->thread->queues++;
	v->dev.attached++;
	return 0;
}

/* All queues; if one can't be attached the others are detached, which takes its time. */
static int attach_queues(struct sr_vbd *v, bool resume)
{
	int rc = 0;

	v->dev.error[0] = 0;
	for (unsigned i = 0; i < v->conn.queues && !rc; i++)
		rc = attach_queue(v, i, resume);
	if (rc)
		sr_device_detach(&v->dev, false);
	return rc;
}

static void do_start(void *arg)
{
	sr_blkq_start(arg);
}

static void start_queues(struct sr_vbd *v)
{
	for (unsigned i = 0; i < v->conn.queues; i++)
		sr_thread_call(v->queues[i].thread->thread, do_start, v->queues[i].q);
}

/* --- connecting ---------------------------------------------------------------------------------
 */

int sr_vbd_connect(struct sr_device *dev)
{
	struct sr_vbd *v = sr_vbd_of(dev);
	struct sr_device_front nodes = { .dev = dev };
	int rc;

	rc = sr_blk_negotiate(&v->offer, sr_device_front_node, &nodes, &v->conn, v->dev.error,
			      sizeof(v->dev.error));
	free(nodes.value);
	if (dev->trouble || rc)
		return dev->trouble ? dev->trouble : rc;
	rc = new_record(v);
	if (rc) {
		snprintf(v->dev.error, sizeof(v->dev.error), "can't keep a record for recovery: %s",
			 strerror(-rc));
		return rc;
	}
	rc = attach_queues(v, false);
	if (rc)
		return rc;
	/* From here on there may be requests in hand: the next process has to take over. */
	__atomic_store_n(&v->dev.record->connected, 1, __ATOMIC_RELEASE);
	v->dev.recovered = false;
	start_queues(v);
	return 0;
}

int sr_vbd_resume(struct sr_device *dev)
{
	struct sr_vbd *v = sr_vbd_of(dev);
	int rc = attach_queues(v, true);

	if (!rc)
		start_queues(v);
	return rc;
}
