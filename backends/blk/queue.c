/* SPDX-License-Identifier: MIT */
/* A queue from the ring's side: taking requests, answering them, its beginning and its end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine.h"

/*
 * Requests of one round. Small enough that the guest has answers to work on while we go on, large
 * enough that the indices are shared once for many requests.
 */
#define SR_TAKE 16u
/* How far ahead of the one being copied slots are asked for. */
#define SR_AHEAD 6u

/* --- taking -------------------------------------------------------------------------------------
 */

static void break_ring(struct sr_blkq *q, int rc)
{
	q->broken = true;
	sr_stat_add(&q->stats.errors[SR_STAT_ERR_RING], 1);
	sr_log_guest(&q->log, SR_LOG_ERROR,
		     "queue %u: the guest's request index is impossible (%s); disconnecting it",
		     q->set.index, strerror(-rc));
	q->set.broken(q->set.ctx);
}

static struct sr_io *new_io(struct sr_blkq *q, unsigned slot, uint64_t now)
{
	struct sr_io *io = sr_blkq_io(q, slot);

	io->taken_at = now;
	io->pages = io->small_pages;
	io->iov = io->small_iov;
	io->nsegs = 0;
	io->npages = 0;
	io->pad = 0;
	io->status = BLKIF_RSP_OKAY;
	io->access = SR_ACCESS_NONE;
	io->prepared = false;
	io->rmw = false;
	io->copy_failed = false;
	io->req.iov_count = 0;
	sr_io_append(&q->waiting, io);
	return io;
}

static unsigned take(struct sr_blkq *q, uint64_t now)
{
	struct sr_ledger *j = &q->ledger;
	int pending = sr_ring_back_pending(&j->back.ring);
	uint32_t n = (uint32_t)pending;

	if (pending <= 0) {
		if (pending < 0)
			break_ring(q, pending);
		return 0;
	}
	if (n > SR_TAKE)
		n = SR_TAKE;
	sr_blkif_back_prefetch(&j->back, 0, n < SR_AHEAD ? n : SR_AHEAD);
	for (uint32_t i = 0; i < n; i++) {
		/* What is published is never more than there are free slots, see pending(). */
		unsigned slot = q->free_slots[--q->free_count];
		const struct sr_blkif_request *req;

		if (i + SR_AHEAD < n)
			sr_blkif_back_prefetch(&j->back, SR_AHEAD, 1);
		new_io(q, slot, now);
		req = sr_ledger_take(j, slot);
		if (q->persistent.limit && req->nr_segments)
			sr_persistent_prefetch(&q->persistent, req->segs[0].gref);
	}
	sr_ledger_commit(j);
	sr_stat_add(&q->stats.batches, 1);
	return n;
}

/* --- answering ----------------------------------------------------------------------------------
 */

void sr_blkq_finish(struct sr_blkq *q, struct sr_io *io)
{
	if (io->access == SR_ACCESS_BOUNCE && io->job.op == SR_STAT_READ && !io->status)
		q->copying = true;
	sr_io_append(&q->finished, io);
}

/* What was read into bounce pages goes to the guest, one copy for the batch. */
static void copy_out(struct sr_blkq *q)
{
	for (struct sr_io *io = q->finished.head; io; io = io->next)
		if (io->access == SR_ACCESS_BOUNCE && io->job.op == SR_STAT_READ && !io->status)
			sr_data_copy(q, io, false);
	sr_data_flush(q);
	for (struct sr_io *io = q->finished.head; io; io = io->next)
		if (io->copy_failed && !io->status) {
			io->status = BLKIF_RSP_ERROR;
			sr_stat_add(&q->stats.errors[SR_STAT_ERR_GRANT], 1);
		}
	q->copying = false;
}

static void count_answer(struct sr_blkq *q, const struct sr_io *io, uint64_t now)
{
	const struct sr_clock *clock = sr_thread_clock(q->thread->thread);
	uint64_t *bytes = &q->stats.bytes_written;

	sr_stat_add(&q->stats.requests[io->job.op], 1);
	sr_stat_add(&q->stats.latency[sr_latency_bucket(sr_clock_ns(clock, now - io->taken_at))],
		    1);
	if (io->status)
		return;
	if (io->job.op == SR_STAT_READ)
		bytes = &q->stats.bytes_read;
	else if (io->job.op == SR_STAT_DISCARD)
		bytes = &q->stats.bytes_discarded;
	sr_stat_add(bytes, io->job.length);
}

static void notify(struct sr_blkq *q)
{
	if (sr_ring_back_notify_needed(&q->ledger.back.ring) || q->notify_always) {
		sr_stat_add(&q->stats.events_sent, 1);
		sr_evtchn_notify(q->ev, q->port);
		q->notify_always = false;
	} else {
		sr_stat_add(&q->stats.events_suppressed, 1);
	}
}

static unsigned answer(struct sr_blkq *q)
{
	uint64_t now = sr_thread_tick(q->thread->thread);
	struct sr_io *io;
	unsigned n = 0;

	if (q->copying)
		copy_out(q);
	for (io = q->finished.head; io; io = io->next) {
		const struct sr_blkif_request *req = sr_io_request(q, io);

		/* Before the guest learns of it: it may end the grant at once. */
		sr_data_put(q, io);
		sr_ledger_answer(&q->ledger, io->slot, sr_blk_response_operation(req), io->status);
		count_answer(q, io, now);
		n++;
	}
	sr_ledger_publish(&q->ledger);
	/* Now, and not before, the slots may be used again: see ledger.h. */
	while ((io = sr_io_pop(&q->finished)))
		q->free_slots[q->free_count++] = io->slot;
	notify(q);
	return n;
}

/* Those that get no answer. */
static void drop(struct sr_blkq *q, struct sr_io_list *list)
{
	struct sr_io *io;

	while ((io = sr_io_pop(list))) {
		if (io->executing) {
			io->executing = false;
			q->executing--;
		}
		sr_data_put(q, io);
	}
}

/* --- a round ------------------------------------------------------------------------------------
 */

static void release(struct sr_blkq *q);

static void set_gauges(struct sr_blkq *q)
{
	__atomic_store_n(&q->gauges.in_flight, q->size - q->free_count, __ATOMIC_RELAXED);
	__atomic_store_n(&q->gauges.persistent, q->persistent.count, __ATOMIC_RELAXED);
	__atomic_store_n(&q->stats.persistent_maps, q->persistent.maps, __ATOMIC_RELAXED);
	__atomic_store_n(&q->stats.persistent_purged, q->persistent.purged, __ATOMIC_RELAXED);
	__atomic_store_n(&q->stats.events_received, q->source.events, __ATOMIC_RELAXED);
}

/* The guest gets no more answers: only what the driver holds has to come back. */
static unsigned poll_dead(struct sr_blkq *q)
{
	unsigned n = q->with_driver ? sr_order_reap(q) : 0;

	drop(q, &q->waiting);
	drop(q, &q->finished);
	if (q->stopping && !q->with_driver)
		release(q);
	return n;
}

static unsigned queue_poll(struct sr_source *source, uint64_t now)
{
	struct sr_blkq *q = (struct sr_blkq *)(void *)source;
	unsigned taken = 0, work = 0;

	if (q->broken || (q->stopping && !q->drain))
		return poll_dead(q);
	if (q->paused && !q->stopping)
		return 0;
	q->persistent.tick++;
	if (q->armed) {
		q->armed = false;
		sr_ring_back_disarm(&q->ledger.back.ring);
	}
	if (q->with_driver)
		work = sr_order_reap(q);
	else
		q->busy = false;
	if (!q->waiting.head && !q->stopping)
		taken = take(q, now);
	work += taken;
	if (q->waiting.head) {
		work += sr_order_start(q);
		/* What the driver did inside the call is answered now, not a round later. */
		if (q->with_driver)
			work += sr_order_reap(q);
		if (q->waiting.head)
			sr_stat_add(&q->stats.held, 1);
	}
	if (q->finished.head)
		work += answer(q);
	/* A request alone, and its answer. */
	source->pausing = taken == 1 && q->free_count == q->size;
	if (work)
		set_gauges(q);
	if (q->stopping && !q->executing && !q->waiting.head)
		release(q);
	return work;
}

static bool queue_arm(struct sr_source *source)
{
	struct sr_blkq *q = (struct sr_blkq *)(void *)source;

	source->fd_rests = !q->with_driver;
	/* A driver without a descriptor has to be asked. */
	if (q->with_driver && source->fd < 0)
		return true;
	if (q->broken || q->stopping || q->paused)
		return false;
	/* What waits is waked by the driver, or by memory that another queue gives back. */
	if (q->waiting.head)
		return !q->with_driver && !q->is_starved;
	if (sr_ring_back_arm(&q->ledger.back.ring))
		return true;
	q->armed = true;
	sr_stat_add(&q->stats.sleeps, 1);
	return false;
}

static const struct sr_source_ops queue_ops = { queue_poll, queue_arm };

/* --- begin and end ------------------------------------------------------------------------------
 */

static void release_parts(struct sr_blkq *q)
{
	struct sr_blk_thread *t = q->thread;

	sr_thread_remove(t->thread, &q->source);
	sr_data_forget(q);
	if (q->memory_base)
		q->driver->memory_remove(q->driver_queue, q->memory_base, q->memory_len);
	if (q->driver_queue && q->driver->queue_close)
		q->driver->queue_close(q->driver_queue);
	sr_persistent_destroy(&q->persistent);
	if (q->ring_pages)
		sr_gnttab_unmap(t->gt, q->ring_pages, 1u << q->set.order);
	if (q->port_bound)
		sr_evtchn_unbind(q->ev, q->port);
	q->memory_base = NULL;
	q->driver_queue = NULL;
	q->ring_pages = NULL;
	q->port_bound = false;
}

static void release(struct sr_blkq *q)
{
	release_parts(q);
	q->set.detached(q->set.ctx);
}

void sr_blkq_start(struct sr_blkq *q)
{
	q->paused = false;
	/* The process before may have died between publishing its last answers and telling of them. */
	if (q->notify_always)
		notify(q);
	sr_thread_wake(q->thread->thread, &q->source);
}

void sr_blkq_detach(struct sr_blkq *q, bool drain)
{
	q->stopping = true;
	q->drain = drain;
	sr_thread_wake(q->thread->thread, &q->source);
}

void sr_blkq_free(struct sr_blkq *q)
{
	if (!q)
		return;
	free(q->ios);
	free(q->free_slots);
	free(q);
}

static size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

static int alloc_ios(struct sr_blkq *q)
{
	size_t scratch = round_up(sizeof(struct sr_io), 16);

	q->io_size = round_up(scratch + q->driver->scratch_size, 64);
	q->ios = aligned_alloc(64, q->io_size * q->size);
	q->free_slots = calloc(q->size, sizeof(*q->free_slots));
	if (!q->ios || !q->free_slots)
		return -ENOMEM;
	memset(q->ios, 0, q->io_size * q->size);
	for (unsigned i = 0; i < q->size; i++) {
		struct sr_io *io = sr_blkq_io(q, i);

		io->slot = (uint16_t)i;
		io->req.scratch = (uint8_t *)io + scratch;
	}
	return 0;
}

/* A new ledger, or the one of a process that died: its requests in hand go first. */
static int begin(struct sr_blkq *q, uint16_t *in_hand)
{
	const struct sr_blkq_setup *s = &q->set;
	uint64_t now = sr_clock_now(sr_thread_clock(q->thread->thread));
	bool used[SR_MAX_RING] = { false };
	unsigned count = 0;
	int rc;

	if (s->resume)
		rc = sr_ledger_resume(&q->ledger, s->rec, q->ring_pages, s->order, s->abi, in_hand,
				      &count);
	else
		rc = sr_ledger_begin(&q->ledger, s->rec, q->ring_pages, s->order, s->abi);
	if (rc)
		return rc;
	for (unsigned i = 0; i < count; i++) {
		used[in_hand[i]] = true;
		new_io(q, in_hand[i], now);
	}
	/* The last one pushed is the first one taken: the lowest, whose lines lie together. */
	for (unsigned i = q->size; i-- > 0;)
		if (!used[i])
			q->free_slots[q->free_count++] = (uint16_t)i;
	sr_stat_add(&q->stats.recovered, count);
	q->notify_always = s->resume;
	return 0;
}

static void tell_memory(struct sr_blkq *q)
{
	struct sr_bounce *b = &q->thread->memory.bounce;

	if (!q->driver->memory_add)
		return;
	if (sr_gnttab_region(q->thread->gt, q->set.domid, &q->memory_base, &q->memory_len)) {
		q->memory_base = b->base;
		q->memory_len = (size_t)SR_BOUNCE_PAGES * SR_PAGE_SIZE;
	}
	q->driver->memory_add(q->driver_queue, q->memory_base, q->memory_len);
}

static int open_driver_queue(struct sr_blkq *q)
{
	struct sr_blk_queue_params params = {
		.depth = q->size,
		.index = q->set.index,
		.count = q->set.count,
	};

	q->driver_queue = q->set.driver_disk;
	if (!q->driver->queue_open)
		return 0;
	q->driver_queue = NULL;
	return q->driver->queue_open(q->set.driver_disk, &params, &q->driver_queue);
}

/* Each step with what to say where it fails. */
static int attach(struct sr_blkq *q, const char **what)
{
	const struct sr_blkq_setup *s = &q->set;
	struct sr_blk_thread *t = q->thread;
	uint16_t in_hand[SR_MAX_RING];
	int rc;

	*what = "map the ring pages that the guest granted";
	rc = sr_gnttab_map(t->gt, s->domid, s->setup->refs, 1u << s->order, PROT_READ | PROT_WRITE,
			   &q->ring_pages);
	if (rc) {
		q->ring_pages = NULL;
		return rc;
	}
	*what = "allocate memory";
	rc = alloc_ios(q);
	if (!rc)
		rc = sr_persistent_init(&q->persistent, t->gt, s->domid, s->persistent_limit,
					s->persistent_budget);
	if (rc)
		return rc;
	*what = s->resume ? "go on where the last process stopped" : "use the ring's indices";
	rc = begin(q, in_hand);
	if (rc)
		return rc;
	*what = "open the driver's queue";
	rc = open_driver_queue(q);
	if (rc)
		return rc;
	*what = "bind the guest's event channel";
	rc = sr_evtchn_bind_interdomain(q->ev, s->domid, s->setup->port, &q->port);
	if (rc)
		return rc;
	q->port_bound = true;
	tell_memory(q);
	*what = "watch the driver's descriptor";
	return sr_thread_add(t->thread, &q->source, q->port,
			     q->driver->fd ? q->driver->fd(q->driver_queue) : -1);
}

int sr_blkq_attach(struct sr_blk_thread *thread, const struct sr_blkq_setup *setup,
		   struct sr_blkq **out, char *error, size_t error_size)
{
	struct sr_blkq *q = aligned_alloc(64, round_up(sizeof(*q), 64));
	const char *what = "";
	int rc;

	if (!q)
		return -ENOMEM;
	memset(q, 0, sizeof(*q));
	q->source.ops = &queue_ops;
	q->source.fd = -1;
	q->paused = true;
	q->thread = thread;
	q->ev = sr_thread_evtchn(thread->thread);
	q->set = *setup;
	q->log = *setup->log;
	q->disk = setup->disk;
	q->driver = setup->driver;
	q->size = sr_blkif_ring_size(setup->abi, setup->order);
	q->any_memory = q->disk->block <= 512 && q->disk->alignment <= 512;
	sr_io_list_init(&q->waiting);
	sr_io_list_init(&q->finished);
	rc = attach(q, &what);
	if (rc) {
		snprintf(error, error_size, "queue %u: can't %s: %s", setup->index, what,
			 strerror(-rc));
		drop(q, &q->waiting);
		release_parts(q);
		sr_blkq_free(q);
		return rc;
	}
	*out = q;
	return 0;
}
