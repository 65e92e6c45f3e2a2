/* SPDX-License-Identifier: MIT */

/*
 * One io_uring a queue. submit() only fills entries of the submission ring; kick() hands over the
 * batch with one system call, in which the kernel also does what it can do at once: what lies in
 * the page cache is copied there and then.
 *
 * Not so on tmpfs, which can't say "I would have to wait": io_uring hands each of its requests to a
 * kernel thread on another processor. As there is nothing to wait for, AIO, which does the whole
 * batch inside the call, serves these several times as fast, and takes the ring's place.
 */

#include "uring.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* How often a batch that the kernel refuses with "again" is handed over. */
#define RETRIES 100u

static struct uring_io *io_of(struct sr_blk_request *req)
{
	return req->scratch;
}

/*
 * The best ring this kernel has: completions are run when we look, and interrupt us only in our
 * sleep. Not DEFER_TASKRUN: it is no faster here, and a poll() of such a ring misses completions.
 */
static int ring_open(struct uring_queue *queue, unsigned entries)
{
	static const unsigned wishes[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
		    IORING_SETUP_R_DISABLED,
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		0,
	};
	struct io_uring_params params;
	int err = -EINVAL;

	if (queue->disk->sqpoll) {
		params =
		    (struct io_uring_params){ .flags = IORING_SETUP_SQPOLL | IORING_SETUP_CLAMP,
					      .sq_thread_idle = 50 };
		return io_uring_queue_init_params(entries, &queue->ring, &params);
	}
	for (size_t i = 0; err == -EINVAL && i < sizeof(wishes) / sizeof(wishes[0]); i++) {
		params = (struct io_uring_params){ .flags = wishes[i] | IORING_SETUP_CLAMP };
		err = io_uring_queue_init_params(entries, &queue->ring, &params);
	}
	return err;
}

int sr_uring_queue_open(void *disk, const struct sr_blk_queue_params *params, void **out)
{
	struct uring_queue *queue = calloc(1, sizeof(*queue));
	int event, err;

	if (!queue)
		return -ENOMEM;
	queue->disk = disk;
	queue->depth = params->depth;
	if (queue->disk->file.memory && !queue->disk->sqpoll) {
		err = sr_aio_queue_open(&queue->disk->file, &queue->disk->slow, params->depth,
					&queue->aio);
		if (err)
			goto out_free;
		*out = queue;
		return 0;
	}
	event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event < 0) {
		err = -errno;
		goto out_free;
	}
	/* An entry for each request, as a retry takes one too, and one for the slow lane's event.
	 */
	err = ring_open(queue, params->depth + 1);
	if (err)
		goto out_event;
	queue->fixed_file = !io_uring_register_files(&queue->ring, &queue->disk->file.fd, 1);
	sr_slow_queue_init(&queue->slow, &queue->disk->slow, event);
	sr_uring_buffers_init(queue);
	*out = queue;
	return 0;
out_event:
	close(event);
out_free:
	free(queue);
	return err;
}

void sr_uring_queue_close(void *arg)
{
	struct uring_queue *queue = arg;

	if (queue->aio) {
		sr_aio_queue_close(queue->aio);
		free(queue);
		return;
	}
	/* The file is let go of at once, not when the kernel gets round to freeing the ring. */
	if (queue->fixed_file)
		io_uring_unregister_files(&queue->ring);
	io_uring_queue_exit(&queue->ring);
	close(queue->slow.event);
	free(queue);
}

void sr_uring_start(struct uring_queue *queue)
{
	if (queue->started)
		return;
	queue->started = true;
	/* liburing 2.3 has a function for it, but does not export it. */
	if (queue->ring.flags & IORING_SETUP_R_DISABLED)
		io_uring_register((unsigned)queue->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL,
				  0);
	/* Spares a look at the file table at each call; a kernel before 5.18 has none. */
	if (!queue->disk->sqpoll)
		io_uring_register_ring_fd(&queue->ring);
}

static void set_file(struct uring_queue *queue, struct io_uring_sqe *sqe)
{
	if (queue->fixed_file) {
		sqe->fd = 0;
		sqe->flags |= IOSQE_FIXED_FILE;
	}
}

/* A read or write, or what is left of one, with registered memory where it is. */
static void prepare_transfer(struct uring_queue *queue, struct io_uring_sqe *sqe,
			     const struct sr_blk_request *req, const struct sr_transfer *transfer)
{
	bool write = req->op == SR_BLK_WRITE;
	int op = write ? IORING_OP_WRITE : IORING_OP_READ;
	struct iovec piece;
	int slot;

	if (!sr_transfer_piece(transfer, req, &piece)) {
		io_uring_prep_rw(write ? IORING_OP_WRITEV : IORING_OP_READV, sqe,
				 queue->disk->file.fd, req->iov, req->iov_count, req->offset);
		return;
	}
	slot = sr_uring_buffers_find(queue, piece.iov_base, piece.iov_len);
	if (slot >= 0)
		op = write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
	io_uring_prep_rw(op, sqe, queue->disk->file.fd, piece.iov_base, (unsigned)piece.iov_len,
			 req->offset + transfer->moved);
	if (slot >= 0)
		sqe->buf_index = (uint16_t)slot;
}

static void prepare(struct uring_queue *queue, struct io_uring_sqe *sqe, struct sr_blk_request *req)
{
	int fd = queue->disk->file.fd;

	switch (req->op) {
	case SR_BLK_FLUSH:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case SR_BLK_DISCARD:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)req->offset, (off_t)req->length);
		break;
	default:
		prepare_transfer(queue, sqe, req, &io_of(req)->transfer);
	}
	set_file(queue, sqe);
	io_uring_sqe_set_data(sqe, req);
}

/*
 * The slow lane reports through an eventfd, which the ring watches while a job is there: so one
 * descriptor, the ring's, tells of everything. A watch has no request: its data is NULL.
 */
static bool watch_slow(struct uring_queue *queue)
{
	struct io_uring_sqe *sqe;

	if (queue->watching)
		return true;
	sqe = io_uring_get_sqe(&queue->ring);
	if (!sqe)
		return false;
	io_uring_prep_poll_add(sqe, queue->slow.event, POLLIN);
	io_uring_sqe_set_data(sqe, NULL);
	queue->watching = true;
	return true;
}

enum sr_blk_submit sr_uring_submit(void *arg, struct sr_blk_request *req)
{
	struct uring_queue *queue = arg;
	struct uring_io *io = io_of(req);
	struct io_uring_sqe *sqe;

	if (queue->aio)
		return sr_aio_submit(queue->aio, req);
	if (req->op == SR_BLK_DISCARD && (queue->disk->file.block || req->flags & SR_BLK_SECURE)) {
		if (!watch_slow(queue))
			return SR_BLK_BUSY;
		return sr_slow_submit(&queue->slow, &io->job, req);
	}
	if (queue->inflight >= queue->depth)
		return SR_BLK_BUSY;
	sqe = io_uring_get_sqe(&queue->ring);
	if (!sqe)
		return SR_BLK_BUSY;
	io->transfer = (struct sr_transfer){ 0 };
	prepare(queue, sqe, req);
	queue->inflight++;
	return SR_BLK_QUEUED;
}

/*
 * The kernel took less than the batch: for want of memory, or because it hates an entry. What it
 * did not take comes back with an error, or the guest would wait for ever.
 */
static void give_up(struct uring_queue *queue, int err)
{
	struct io_uring_sq *sq = &queue->ring.sq;
	unsigned head = *sq->khead;

	for (unsigned i = head; i != *sq->ktail; i++) {
		struct io_uring_sqe *sqe = &sq->sqes[sq->array[i & sq->ring_mask]];
		struct sr_blk_request *req = (struct sr_blk_request *)(uintptr_t)sqe->user_data;

		if (!req) {
			queue->watching = false;
			continue;
		}
		req->result = err;
		io_of(req)->next = queue->failed;
		queue->failed = req;
	}
	/* Nobody but this thread's calls reads the tail without SQPOLL, which never gets here. */
	*sq->ktail = head;
	sq->sqe_head = sq->sqe_tail = head;
}

/* One system call a batch; more only where the kernel stops halfway. */
static void flush(struct uring_queue *queue)
{
	int n = 0;

	sr_uring_start(queue);
	for (unsigned tries = 0; tries < RETRIES && io_uring_sq_ready(&queue->ring); tries++) {
		if (queue->disk->sqpoll)
			n = io_uring_submit(&queue->ring);
		else
			n = io_uring_submit_and_get_events(&queue->ring);
		if (queue->disk->sqpoll || (n < 0 && n != -EAGAIN && n != -EBUSY && n != -EINTR))
			break;
	}
	if (!queue->disk->sqpoll && io_uring_sq_ready(&queue->ring))
		give_up(queue, n < 0 ? n : -EIO);
}

void sr_uring_kick(void *arg)
{
	struct uring_queue *queue = arg;

	if (queue->aio)
		sr_aio_kick(queue->aio);
	else if (io_uring_sq_ready(&queue->ring))
		flush(queue);
}

/* True: the request is finished, and its result set. */
static bool settle(struct uring_queue *queue, struct sr_blk_request *req, int res)
{
	struct io_uring_sqe *sqe;

	if (sr_transfer_settle(&io_of(req)->transfer, req, res))
		return true;
	sqe = io_uring_get_sqe(&queue->ring);
	if (!sqe) {
		req->result = -EIO;
		return true;
	}
	prepare(queue, sqe, req);
	return false;
}

static unsigned reap_ring(struct uring_queue *queue, struct sr_blk_request **done, unsigned max)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0, n = 0;

	io_uring_for_each_cqe(&queue->ring, head, cqe)
	{
		struct sr_blk_request *req = io_uring_cqe_get_data(cqe);
		eventfd_t count;

		if (n == max)
			break;
		seen++;
		if (!req) {
			eventfd_read(queue->slow.event, &count);
			queue->watching = false;
		} else if (settle(queue, req, cqe->res)) {
			done[n++] = req;
		}
	}
	io_uring_cq_advance(&queue->ring, seen);
	return n;
}

/* Completions that wait until we let the kernel post them. */
static bool kernel_waits(struct uring_queue *queue)
{
	unsigned flags = __atomic_load_n(queue->ring.sq.kflags, __ATOMIC_ACQUIRE);

	return flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

static unsigned reap_failed(struct uring_queue *queue, struct sr_blk_request **done, unsigned max)
{
	unsigned n = 0;

	while (n < max && queue->failed) {
		done[n++] = queue->failed;
		queue->failed = io_of(queue->failed)->next;
	}
	return n;
}

unsigned sr_uring_reap(void *arg, struct sr_blk_request **done, unsigned max)
{
	struct uring_queue *queue = arg;
	unsigned n, slow;

	if (queue->aio)
		return sr_aio_reap(queue->aio, done, max);
	n = reap_ring(queue, done, max);
	if (n < max && kernel_waits(queue) && queue->started) {
		io_uring_get_events(&queue->ring);
		n += reap_ring(queue, done + n, max - n);
	}
	slow = sr_slow_reap(&queue->slow, done + n, max - n);
	if (queue->slow.inflight && !queue->watching)
		watch_slow(queue);
	/* What settle() or the watch put into the ring; then what the kernel would not take. */
	sr_uring_kick(queue);
	n += slow + reap_failed(queue, done + n + slow, max - n - slow);
	queue->inflight -= n - slow;
	return n;
}

int sr_uring_fd(void *arg)
{
	struct uring_queue *queue = arg;

	return queue->aio ? sr_aio_fd(queue->aio) : queue->ring.ring_fd;
}
