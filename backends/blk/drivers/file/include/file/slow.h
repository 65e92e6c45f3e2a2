/* SPDX-License-Identifier: MIT */
#ifndef FILE_SLOW_H
#define FILE_SLOW_H

/*
 * The slow lane: what the kernel can only do while the caller waits (a discard of a block device,
 * and whatever libaio lacks) is done by one thread a disk, which starts when it is first needed.
 *
 * A sr_slow_queue is used by one thread, the owner of the driver's queue.
 */

#include <file/file.h>

#include <pthread.h>

struct sr_slow_queue;

/* Lies in the request's scratch space. */
struct sr_slow_job {
	struct sr_slow_job *next;
	struct sr_blk_request *req;
	struct sr_slow_queue *queue;
};

/* One for each disk. */
struct sr_slow {
	const struct sr_file *file;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running, stop;
	struct sr_slow_job *first, **last;
};

/* One for each queue. */
struct sr_slow_queue {
	struct sr_slow *slow;
	int event;                /* an eventfd that counts finished jobs; the caller's */
	unsigned inflight;        /* of the owner's thread only */
	struct sr_slow_job *done; /* under slow->lock */
};

void sr_slow_init(struct sr_slow *slow, const struct sr_file *file);
/* No job may be left. */
void sr_slow_fini(struct sr_slow *slow);

void sr_slow_queue_init(struct sr_slow_queue *queue, struct sr_slow *slow, int event);

/* Takes a flush or discard. Answers as sr_blk_driver.submit() does. */
enum sr_blk_submit sr_slow_submit(struct sr_slow_queue *queue, struct sr_slow_job *job,
				  struct sr_blk_request *req);

/* Up to `max` finished requests, their results set. */
unsigned sr_slow_reap(struct sr_slow_queue *queue, struct sr_blk_request **done, unsigned max);

#endif
