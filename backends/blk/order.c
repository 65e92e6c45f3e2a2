/* SPDX-License-Identifier: MIT */
/*
 * What may run when. A request goes through stages (flush, read for read-modify-write, data,
 * flush), each one call of the driver. Requests start in the order of the ring; one that has to
 * wait holds up all behind it, which keeps every rule simple:
 *
 * - A barrier starts when all before it have finished, and nothing starts until it has finished.
 *   It flushes what was written before, writes its own data, and flushes those.
 * - A flush covers what was answered before, so it waits for nothing.
 * - A write of parts of blocks reads those blocks first. While it does, no other write may touch
 *   them, in part or in whole: else the one's old sectors would overwrite the other's new ones.
 *   A disk that needs this has a single queue, so looking at our own requests is enough.
 * - A driver that is busy is asked again when it has given something back.
 *
 * The order is one queue's, as with other backends: a guest does not order requests across queues
 * but by waiting for their responses.
 */
#include <errno.h>
#include <string.h>

#include "engine.h"

/* What one reap takes. */
#define SR_REAP 32u
/* What one grant copy and one kick are for, at most. */
#define SR_START 32u

/* --- stages -------------------------------------------------------------------------------------
 */

/* The whole blocks that a request touches. */
struct blocks {
	uint64_t begin, end;
};

static struct blocks blocks_of(const struct sr_blkq *q, const struct sr_io *io)
{
	uint64_t mask = q->disk->block - 1;

	return (struct blocks){
		.begin = io->job.offset & ~mask,
		.end = (io->job.offset + io->job.length + mask) & ~mask,
	};
}

static int16_t status_of(int64_t result)
{
	if (result == -EOPNOTSUPP || result == -ENOTSUP)
		return BLKIF_RSP_EOPNOTSUPP;
	return result < 0 ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY;
}

static void set_data(const struct sr_blkq *q, struct sr_io *io)
{
	io->req.op = io->job.op == SR_STAT_READ ? SR_BLK_READ : SR_BLK_WRITE;
	io->req.offset = io->job.offset - io->pad;
	io->req.length = io->access == SR_ACCESS_BOUNCE ? io->iov[0].iov_len : io->job.length;
	if (io->job.op != SR_STAT_DISCARD)
		return;
	/* What is only partly in the range is kept: a discard is a hint, rounded to blocks. */
	uint64_t mask = q->disk->block - 1, end = (io->job.offset + io->job.length) & ~mask;

	io->req.op = SR_BLK_DISCARD;
	io->req.flags = io->job.secure ? SR_BLK_SECURE : 0;
	io->req.offset = (io->job.offset + mask) & ~mask;
	io->req.length = end > io->req.offset ? end - io->req.offset : 0;
	io->req.iov_count = 0;
}

/* The first or last block of a read-modify-write, read into its place. */
static void set_edge(const struct sr_blkq *q, struct sr_io *io, bool tail)
{
	struct blocks range = blocks_of(q, io);
	size_t block = q->disk->block;

	io->req.op = SR_BLK_READ;
	io->req.offset = tail ? range.end - block : range.begin;
	io->req.length = block;
	io->iov[0] = (struct iovec){ io->bounce + (io->req.offset - range.begin), block };
}

/* The edges are there: now the guest's data go over them. */
static bool merge(struct sr_blkq *q, struct sr_io *io)
{
	struct blocks range = blocks_of(q, io);

	io->iov[0] = (struct iovec){ io->bounce, range.end - range.begin };
	sr_data_copy(q, io, true);
	sr_data_flush(q);
	return !io->copy_failed;
}

static void set_flush(struct sr_io *io)
{
	io->req.op = SR_BLK_FLUSH;
	io->req.offset = 0;
	io->req.length = 0;
}

/* Prepares the call of the driver for the lowest stage. False: there is nothing to call it for. */
static bool set_stage(struct sr_blkq *q, struct sr_io *io)
{
	unsigned stage = io->stages & -io->stages;

	io->req.flags = 0;
	switch (stage) {
	case SR_STAGE_PREFLUSH:
	case SR_STAGE_POSTFLUSH:
		set_flush(io);
		return q->disk->flush;
	case SR_STAGE_READ_HEAD:
	case SR_STAGE_READ_TAIL:
		set_edge(q, io, stage == SR_STAGE_READ_TAIL);
		return true;
	default:
		if (io->rmw && !merge(q, io)) {
			io->req.result = -EFAULT;
			return false;
		}
		set_data(q, io);
		return io->req.length != 0;
	}
}

static void end_execution(struct sr_blkq *q, struct sr_io *io)
{
	io->executing = false;
	q->executing--;
	if (io->rmw)
		q->rmw_count--;
	if (q->barrier == io)
		q->barrier = NULL;
	sr_blkq_finish(q, io);
}

/* What a stage has come to. True: the request has ended with it. */
static bool end_stage(struct sr_blkq *q, struct sr_io *io)
{
	io->stages &= (uint8_t)(io->stages - 1);
	if (io->req.result < 0) {
		io->status = status_of(io->req.result);
		io->stages = 0;
		sr_stat_add(&q->stats.errors[io->copy_failed ? SR_STAT_ERR_GRANT : SR_STAT_ERR_IO],
			    1);
	}
	if (io->stages)
		return false;
	end_execution(q, io);
	return true;
}

/* Runs stages until the driver keeps the request or it has ended. -EAGAIN: the driver is busy. */
static int run_stages(struct sr_blkq *q, struct sr_io *io)
{
	do {
		io->req.result = 0;
		if (!set_stage(q, io))
			continue;
		switch (q->driver->submit(q->driver_queue, &io->req)) {
		case SR_BLK_DONE:
			break;
		case SR_BLK_QUEUED:
			q->with_driver++;
			q->kick = true;
			return 0;
		case SR_BLK_BUSY:
			return -EAGAIN;
		}
	} while (!end_stage(q, io));
	return 0;
}

/* --- checks -------------------------------------------------------------------------------------
 */

static void refuse(struct sr_blkq *q, struct sr_io *io, int16_t status, enum sr_stat_error reason)
{
	io->status = status;
	sr_stat_add(&q->stats.errors[reason], 1);
}

static void choose_stages(const struct sr_blkq *q, struct sr_io *io)
{
	io->stages = SR_STAGE_DATA;
	if (io->job.op == SR_STAT_FLUSH || io->job.op == SR_STAT_BARRIER)
		io->stages = SR_STAGE_PREFLUSH | (io->nsegs ? SR_STAGE_DATA : 0);
	if (io->job.op == SR_STAT_BARRIER && io->nsegs)
		io->stages |= SR_STAGE_POSTFLUSH;
	if (io->rmw) {
		uint64_t mask = q->disk->block - 1, end = io->job.offset + io->job.length;

		if (io->job.offset & mask)
			io->stages |= SR_STAGE_READ_HEAD;
		/* The block of the end, unless it is the one that was read for the beginning. */
		if ((end & mask) &&
		    (!(io->job.offset & mask) || (end & ~mask) != (io->job.offset & ~mask)))
			io->stages |= SR_STAGE_READ_TAIL;
	}
}

/* A secure discard of a part of a block can't be rounded away. */
static bool is_odd_secure(const struct sr_blkq *q, const struct sr_io *io)
{
	return io->job.secure &&
	       ((io->job.offset | io->job.length) & (uint64_t)(q->disk->block - 1));
}

/* 0: ready to execute; -EAGAIN: no memory now; 1: refused, io->status is set. */
static int prepare(struct sr_blkq *q, struct sr_io *io)
{
	const struct sr_blkif_request *req = sr_io_request(q, io);
	struct sr_blk_refusal no = sr_blk_check_operation(q->disk, req, &io->job);
	int rc;

	if (!no.status && io->job.op == SR_STAT_DISCARD) {
		if (is_odd_secure(q, io))
			no = (struct sr_blk_refusal){ BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED };
	} else if (!no.status) {
		if (req->operation == BLKIF_OP_INDIRECT) {
			/* Read once: not again when only the bounce pages were missing. */
			rc = io->nsegs ? 0 : sr_data_indirect(q, io);
			if (rc == -EAGAIN)
				return rc;
			if (rc)
				no = (struct sr_blk_refusal){ BLKIF_RSP_ERROR, SR_STAT_ERR_GRANT };
		} else {
			io->segs = req->segs;
			io->nsegs = req->nr_segments;
		}
		if (!no.status)
			no = sr_blk_check_segments(q->disk, req->sector, io->segs, io->nsegs,
						   &io->job);
		if (!no.status && io->nsegs) {
			rc = sr_data_get(q, io);
			if (rc == -EAGAIN)
				return rc;
			if (rc)
				no = (struct sr_blk_refusal){ BLKIF_RSP_ERROR, SR_STAT_ERR_GRANT };
		}
	}
	if (no.status) {
		refuse(q, io, no.status, (enum sr_stat_error)no.reason);
		return 1;
	}
	choose_stages(q, io);
	io->prepared = true;
	return 0;
}

static bool is_write(const struct sr_io *io)
{
	return io->job.op == SR_STAT_WRITE || io->job.op == SR_STAT_FLUSH ||
	       io->job.op == SR_STAT_BARRIER || io->job.op == SR_STAT_DISCARD;
}

/* Does a write have to wait, because it or one that is executing rewrites parts of blocks? */
static bool overlaps(const struct sr_blkq *q, const struct sr_io *io)
{
	struct blocks mine = blocks_of(q, io);

	if ((!io->rmw && !q->rmw_count) || !is_write(io))
		return false;
	for (unsigned i = 0; i < q->size; i++) {
		const struct sr_io *other = sr_blkq_io(q, i);
		struct blocks its;

		if (!other->executing || !is_write(other) || (!io->rmw && !other->rmw))
			continue;
		its = blocks_of(q, other);
		if (its.begin < mine.end && mine.begin < its.end)
			return true;
	}
	return false;
}

/* --- starting -----------------------------------------------------------------------------------
 */

static void begin_execution(struct sr_blkq *q, struct sr_io *io)
{
	io->executing = true;
	q->executing++;
	if (io->rmw) {
		q->rmw_count++;
		sr_stat_add(&q->stats.rmw, 1);
	}
	if (io->job.op == SR_STAT_BARRIER)
		q->barrier = io;
}

/*
 * Moves what may start now from the FIFO to batch[]. Stops at the first request that may not.
 * Requests that were in the middle of their stages when the driver was busy go on.
 */
static unsigned gather(struct sr_blkq *q, struct sr_io **batch)
{
	unsigned n = 0;

	while (q->waiting.head && n < SR_START) {
		struct sr_io *io = q->waiting.head;
		int rc = 0;

		if (!io->executing) {
			if (q->barrier)
				break;
			if (!io->prepared)
				rc = prepare(q, io);
			if (rc == -EAGAIN)
				break;
			if (!rc &&
			    ((io->job.op == SR_STAT_BARRIER && q->executing) || overlaps(q, io)))
				break;
		}
		sr_io_pop(&q->waiting);
		if (q->is_starved)
			sr_data_forget(q);
		if (rc) {
			sr_blkq_finish(q, io);
			continue;
		}
		if (!io->executing)
			begin_execution(q, io);
		batch[n++] = io;
	}
	return n;
}

/* Gives back to the FIFO what a busy driver did not take, in order. */
static void put_back(struct sr_blkq *q, struct sr_io **batch, unsigned from, unsigned n)
{
	q->busy = true;
	while (n-- > from)
		sr_io_prepend(&q->waiting, batch[n]);
}

/* Once after a batch: a driver may leave everything undone until then. */
static void kick_driver(struct sr_blkq *q)
{
	if (q->kick && q->driver->kick)
		q->driver->kick(q->driver_queue);
	q->kick = false;
}

unsigned sr_order_start(struct sr_blkq *q)
{
	struct sr_io *batch[SR_START];
	unsigned n, started = 0;

	while (q->waiting.head && !q->busy) {
		n = gather(q, batch);
		/* One copy for all of them, before the driver sees the first. */
		sr_data_flush(q);
		if (!n)
			break;
		for (unsigned i = 0; i < n; i++) {
			if (batch[i]->copy_failed) {
				batch[i]->req.result = -EFAULT;
				batch[i]->stages = SR_STAGE_DATA;
				end_stage(q, batch[i]);
			} else if (run_stages(q, batch[i]) == -EAGAIN) {
				put_back(q, batch, i, n);
				break;
			}
			started++;
		}
	}
	kick_driver(q);
	return started;
}

unsigned sr_order_reap(struct sr_blkq *q)
{
	struct sr_blk_request *done[SR_REAP];
	unsigned n, total = 0;

	while (q->with_driver) {
		n = q->driver->reap(q->driver_queue, done, SR_REAP);
		for (unsigned i = 0; i < n; i++) {
			struct sr_io *io = (struct sr_io *)(void *)done[i];

			q->with_driver--;
			q->busy = false;
			if (!end_stage(q, io) && run_stages(q, io) == -EAGAIN) {
				/* It was taken before those that wait. */
				q->busy = true;
				sr_io_prepend(&q->waiting, io);
			}
		}
		total += n;
		if (n < SR_REAP)
			break;
	}
	kick_driver(q); /* further stages */
	return total;
}
