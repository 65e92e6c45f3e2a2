/* SPDX-License-Identifier: MIT */
/* The block backend: its queue threads, and its options. */
#include <blk/blkback.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <hypervisor.h>

#include "vbd.h"

#define SR_DEFAULT_SPIN_US    50u
#define SR_DEFAULT_PERSISTENT 1056u

/* --- threads ------------------------------------------------------------------------------------
 */

static void thread_stop(struct sr_blk_thread *t)
{
	sr_thread_stop(t->thread);
	sr_gnttab_close(t->gt);
	sr_memory_destroy(&t->memory);
	free(t);
}

static int thread_start(struct sr_blkback *bb, unsigned index)
{
	struct sr_blk_thread *t = calloc(1, sizeof(*t));
	struct sr_thread_options options = {
		.cpu = bb->opt.cpus ? (int)bb->opt.cpus[index] : -1,
		.always = bb->opt.mode == SR_POLL_ALWAYS,
		.spin_us = bb->opt.mode == SR_POLL_INTERRUPT ? 0 : bb->opt.spin_us,
	};
	char name[16];
	int rc;

	if (!t)
		return -ENOMEM;
	snprintf(name, sizeof(name), "blk-%u", index);
	options.name = name;
	t->hv = bb->hv;
	t->cpu = options.cpu;
	t->cheap_map = sr_hv_caps(bb->hv) & SR_CAP_CHEAP_MAP;
	t->starved_tail = &t->starved;
	rc = sr_memory_init(&t->memory);
	if (!rc)
		rc = sr_gnttab_open(bb->hv, &t->gt);
	if (!rc)
		rc = sr_thread_start(bb->hv, &options, &t->thread);
	if (rc) {
		thread_stop(t);
		return rc;
	}
	bb->threads[bb->thread_count++] = t;
	return 0;
}

struct sr_blk_thread *sr_blkback_pick_thread(struct sr_blkback *bb)
{
	struct sr_blk_thread *best = bb->threads[0];

	for (unsigned i = 1; i < bb->thread_count; i++)
		if (bb->threads[i]->queues < best->queues)
			best = bb->threads[i];
	return best;
}

int sr_blkback_start(void *blkback)
{
	struct sr_blkback *bb = blkback;
	int rc = 0;

	for (unsigned i = 0; i < bb->opt.threads && !rc; i++)
		rc = thread_start(bb, i);
	if (rc)
		sr_blkback_end(bb);
	return rc;
}

void sr_blkback_end(void *blkback)
{
	struct sr_blkback *bb = blkback;

	while (bb->thread_count)
		thread_stop(bb->threads[--bb->thread_count]);
}

int sr_blkback_run(struct sr_blkback *bb)
{
	return sr_backend_run(bb->backend);
}

void sr_blkback_stop(struct sr_blkback *bb, enum sr_blkback_stop how)
{
	sr_backend_stop(bb->backend,
			how == SR_BLKBACK_CLOSE ? SR_BACKEND_CLOSE : SR_BACKEND_HANDOVER);
}

/* --- making and freeing -------------------------------------------------------------------------
 */

static unsigned limit_of(unsigned wanted, unsigned fallback, unsigned none, unsigned max)
{
	if (wanted == SR_BLKBACK_NONE)
		return none;
	if (wanted == 0)
		wanted = fallback;
	return wanted < max ? wanted : max;
}

static void set_defaults(struct sr_blkback_options *o)
{
	o->threads = limit_of(o->threads, 1, 1, SR_BLKBACK_MAX_THREADS);
	o->spin_us = o->spin_us ? o->spin_us : SR_DEFAULT_SPIN_US;
	o->max_queues = limit_of(o->max_queues, o->threads, 1, SR_RECORD_QUEUES);
	o->max_ring_page_order =
	    limit_of(o->max_ring_page_order, SR_BLKIF_MAX_RING_ORDER, 0, SR_BLKIF_MAX_RING_ORDER);
	o->max_indirect_segments =
	    limit_of(o->max_indirect_segments, SR_MAX_SEGMENTS, 0, SR_MAX_SEGMENTS);
	o->max_persistent_grants =
	    limit_of(o->max_persistent_grants, SR_DEFAULT_PERSISTENT, 0, 1u << 16);
}

static int make_backend(struct sr_blkback *bb)
{
	const struct sr_backend_options options = {
		.keep = bb->opt.keep,
		.log = bb->opt.log,
		.name = "blkback",
		.remove_directory = bb->opt.remove_directory,
		.rival = bb->opt.rival,
		.rival_ctx = bb->opt.rival_ctx,
	};
	int rc = sr_backend_new(bb->hv, &options, &bb->own_backend);

	bb->backend = bb->own_backend;
	return rc;
}

int sr_blkback_new(struct sr_hypervisor *hv, const struct sr_blkback_options *options,
		   struct sr_blkback **out)
{
	struct sr_blkback *bb = calloc(1, sizeof(*bb));
	int rc = 0;

	if (!bb)
		return -ENOMEM;
	bb->hv = hv;
	bb->opt = *options;
	set_defaults(&bb->opt);
	sr_log_source_init(&bb->log, options->log, "blkback");
	bb->types[0] = "vbd";
	bb->types[1] = bb->opt.no_qdisk ? NULL : "qdisk";
	bb->backend = options->backend;
	if (!bb->backend)
		rc = make_backend(bb);
	if (!rc)
		rc = sr_backend_add(bb->backend, &sr_vbd_class, bb, bb->types);
	if (rc) {
		sr_blkback_free(bb);
		return rc;
	}
	*out = bb;
	return 0;
}

void sr_blkback_free(struct sr_blkback *bb)
{
	if (!bb)
		return;
	sr_backend_free(bb->own_backend);
	free(bb);
}
