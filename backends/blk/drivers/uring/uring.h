/* SPDX-License-Identifier: MIT */
#ifndef URING_URING_H
#define URING_URING_H

/* What the files of this driver share. */

#include <aio/queue.h>
#include <file/slow.h>
#include <file/transfer.h>

#include <liburing.h>

struct uring_disk {
	struct sr_file file;
	struct sr_slow slow;
	bool sqpoll;
};

/*
 * Registered memory: the kernel looks up and pins its pages once instead of at every request. What
 * the engine tells of is all of a guest's memory, and to register that would fill it with pages and
 * cost 16 bytes for each of them, on each queue. So it is done in windows, when a request first
 * uses one; a guest's requests keep to the same few. Beyond these, requests do without.
 */
#define URING_WINDOW     (UINT64_C(2) << 20)
#define URING_WINDOWS    16u
#define URING_REGIONS    4u
#define URING_REGION_MIN (UINT64_C(64) << 10) /* a smaller one costs more to find than it saves */

struct uring_buffers {
	struct iovec windows[URING_WINDOWS]; /* iov_len 0: free */
	struct iovec regions[URING_REGIONS]; /* what windows may lie in; iov_len 0: free */
	unsigned used;                       /* windows from 0 that may be in use */
	unsigned hint;                       /* the window that was found last */
	bool usable;
};

struct uring_queue {
	struct uring_disk *disk;
	struct sr_aio_queue *aio; /* in the ring's place, or NULL: see queue.c */
	struct io_uring ring;
	unsigned depth;
	unsigned inflight; /* requests that are ours, those of the slow lane left out */
	bool started;      /* the ring is enabled, by the thread that uses it */
	bool fixed_file;
	bool watching; /* a poll of slow.event is in the ring */
	struct uring_buffers buffers;
	struct sr_slow_queue slow;
	struct sr_blk_request *failed; /* could not be handed to the kernel; results set */
};

/* The request's scratch space, unless the queue is an AIO one. */
struct uring_io {
	struct sr_transfer transfer;
	struct sr_blk_request *next; /* in uring_queue.failed */
	struct sr_slow_job job;
};

int sr_uring_queue_open(void *disk, const struct sr_blk_queue_params *params, void **queue);
void sr_uring_queue_close(void *queue);
enum sr_blk_submit sr_uring_submit(void *queue, struct sr_blk_request *req);
void sr_uring_kick(void *queue);
unsigned sr_uring_reap(void *queue, struct sr_blk_request **done, unsigned max);
int sr_uring_fd(void *queue);
void sr_uring_memory_add(void *queue, void *base, size_t len);
void sr_uring_memory_remove(void *queue, void *base, size_t len);

/* Makes the ring usable by the calling thread, and only by it, at its first use. */
void sr_uring_start(struct uring_queue *queue);

/* The table of registered buffers; without one every request brings its memory along. */
void sr_uring_buffers_init(struct uring_queue *queue);

/* The slot of the window that holds all of [base, base + len), registered if it has to be, or -1.
 */
int sr_uring_buffers_find(struct uring_queue *queue, const void *base, size_t len);

#endif
