/* SPDX-License-Identifier: MIT */
/* A vbd's disk and its queues: opening, connecting, resuming, detaching. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
	rc = sr_blk_target_parse(v->bb->opt.registry, v->params, &v->target, v->error,
				 sizeof(v->error));
	if (!rc)
		rc = sr_blk_target_open(&v->target, v->read_only || v->cdrom, &v->disk, &v->info,
					v->error, sizeof(v->error));
	if (rc) {
		sr_blk_target_clear(&v->target);
		return rc;
	}
	v->driver = v->target.driver;
	return 0;
}

int sr_vbd_open_disk(struct sr_vbd *v)
{
	int rc;

	if (v->open)
		return 0;
	v->error[0] = 0;
	rc = open_medium(v);
	if (rc) {
		if (!v->error[0])
			snprintf(v->error, sizeof(v->error), "can't open \"%.100s\": %s", v->params,
				 strerror(-rc));
		return rc;
	}
	v->open = true;
	if (!v->read_only && !v->cdrom && v->info.read_only)
		sr_log(&v->log, SR_LOG_WARNING,
		       "mode is \"w\", but %s is read-only: the guest gets it read-only",
		       v->params);
	set_geometry(v);
	return 0;
}

void sr_vbd_close_disk(struct sr_vbd *v)
{
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

static int map_record(struct sr_vbd *v, int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	v->record = p;
	v->record_size = size;
	return 0;
}

void sr_vbd_unmap_record(struct sr_vbd *v)
{
	if (v->record)
		munmap(v->record, v->record_size);
	v->record = NULL;
}

void sr_vbd_drop_record(struct sr_vbd *v)
{
	if (v->record)
		__atomic_store_n(&v->record->connected, 0, __ATOMIC_RELEASE);
	sr_vbd_unmap_record(v);
	sr_keep_drop(v->bb->keep, v->name);
}

static int new_record(struct sr_vbd *v)
{
	size_t size = sr_record_size(v->conn.queues, ring_size(v));
	bool created;
	int fd, rc;

	sr_vbd_drop_record(v);
	rc = sr_keep_get(v->bb->keep, v->name, size, &fd, &created);
	if (!rc)
		rc = map_record(v, fd, size);
	if (rc)
		return rc;
	v->record->magic = SR_RECORD_MAGIC;
	v->record->version = SR_RECORD_VERSION;
	v->record->queues = v->conn.queues;
	v->record->order = v->conn.order;
	v->record->abi = v->conn.abi;
	v->record->persistent = v->conn.persistent;
	memcpy(v->record->setup, v->conn.setup, sizeof(v->record->setup));
	return 0;
}

bool sr_vbd_has_record(struct sr_vbd *v)
{
	size_t size;
	int fd;

	if (sr_keep_find(v->bb->keep, v->name, &fd, &size) || map_record(v, fd, size))
		return false;
	if (sr_record_check(v->record, size)) {
		sr_vbd_drop_record(v);
		return false;
	}
	v->conn = (struct sr_blk_connection){
		.abi = (enum sr_blkif_abi)v->record->abi,
		.order = v->record->order,
		.queues = v->record->queues,
		.persistent = v->record->persistent,
	};
	memcpy(v->conn.setup, v->record->setup, sizeof(v->conn.setup));
	return true;
}

/* --- queues -------------------------------------------------------------------------------------
 */

static void post_broken(void *ctx)
{
	struct sr_vbd_queue *vq = ctx;

	sr_blkback_post(vq->vbd->bb, &vq->broken);
}

static void on_broken(void *arg)
{
	struct sr_vbd_queue *vq = arg;

	vq->vbd->failed = true;
	vq->vbd->dirty = true;
	snprintf(vq->vbd->error, sizeof(vq->vbd->error), "the guest broke the ring's protocol");
}

static void post_detached(void *ctx)
{
	struct sr_vbd_queue *vq = ctx;

	sr_blkback_post(vq->vbd->bb, &vq->detached);
}

static void on_detached(void *arg)
{
	struct sr_vbd_queue *vq = arg;
	struct sr_vbd *v = vq->vbd;

	sr_blk_stats_add(&v->bb->past, &vq->q->stats);
	sr_blkq_free(vq->q);
	vq->q = NULL;
	vq->thread->queues--;
	if (--v->attached == 0) {
		v->detaching = false;
		v->dirty = true;
	}
}

static void do_detach(void *arg)
{
	struct sr_vbd_queue *vq = arg;

	sr_blkq_detach(vq->q, vq->vbd->drain);
}

void sr_vbd_detach(struct sr_vbd *v, bool drain)
{
	if (v->detaching || !v->attached)
		return;
	v->detaching = true;
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
		.log = &v->log,
		.rec = sr_record_queue(v->record, index, ring_size(v)),
		.setup = &v->record->setup[index],
		.order = v->conn.order,
		.index = index,
		.count = v->conn.queues,
		.abi = v->conn.abi,
		.persistent_limit = v->conn.persistent ? v->bb->opt.max_persistent_grants : 0,
		.persistent_budget = &v->guest->budget,
		.domid = v->domid,
		.resume = resume,
		.broken = post_broken,
		.detached = post_detached,
		.ctx = vq,
	};
	struct attach_call call = {
		.setup = &setup, .vq = vq, .error = v->error, .error_size = sizeof(v->error)
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
	v->attached++;
	return 0;
}

/* All queues; if one can't be attached the others are detached, which takes its time. */
static int attach_queues(struct sr_vbd *v, bool resume)
{
	int rc = 0;

	v->error[0] = 0;
	for (unsigned i = 0; i < v->conn.queues && !rc; i++)
		rc = attach_queue(v, i, resume);
	if (rc)
		sr_vbd_detach(v, false);
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

struct front_nodes {
	struct sr_vbd *v;
	char *value;
};

static const char *front_node(void *ctx, const char *key)
{
	struct front_nodes *n = ctx;

	free(n->value);
	n->value = NULL;
	if (sr_xs_get(n->v->bb->xs, XBT_NULL, n->v->front, key, &n->value))
		return NULL;
	return n->value;
}

int sr_vbd_connect(struct sr_vbd *v)
{
	struct front_nodes nodes = { .v = v };
	int rc;

	rc = sr_blk_negotiate(&v->offer, front_node, &nodes, &v->conn, v->error, sizeof(v->error));
	free(nodes.value);
	if (rc)
		return rc;
	rc = new_record(v);
	if (rc) {
		snprintf(v->error, sizeof(v->error), "can't keep a record for recovery: %s",
			 strerror(-rc));
		return rc;
	}
	rc = attach_queues(v, false);
	if (rc)
		return rc;
	/* From here on there may be requests in hand: the next process has to take over. */
	__atomic_store_n(&v->record->connected, 1, __ATOMIC_RELEASE);
	v->recovered = false;
	start_queues(v);
	return 0;
}

int sr_vbd_resume(struct sr_vbd *v)
{
	int rc = attach_queues(v, true);

	if (!rc)
		start_queues(v);
	return rc;
}
