/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_ENGINE_H
#define SR_BLK_ENGINE_H

/*
 * One queue of a vbd, and the thread it belongs to. The way of a request:
 *
 *   queue.c  take      copied out of the ring into the record, appended to the FIFO `waiting`
 *   order.c  start     checked; held back where a barrier, an overlapping write, the driver or
 *                      memory says so, and then all behind it waits as well
 *   data.c   access    guest pages mapped (for good, or for this request) or copied
 *   order.c  stages    flush, read for read-modify-write, data, flush: to the driver one by one
 *   queue.c  answer    copied out, let go, answered, published; one notification a batch
 *
 * Threads: all of it belongs to the queue's thread, but where a comment says otherwise.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <common/log.h>
#include <common/reactor.h>
#include <common/stats.h>
#include <hypervisor.h>
#include <splitring/blk_driver.h>

#include "ledger.h"
#include "memory.h"
#include "persistent.h"
#include "request.h"

#define SR_COPY_BATCH 256u /* segments of one grant copy */
#define SR_MAX_RING   512u /* slots of the largest ring */

struct sr_blkq;
struct sr_io;

struct sr_io_list {
	struct sr_io *head, **tail;
};

/* A queue thread, with all that its queues share. */
struct sr_blk_thread {
	struct sr_thread *thread;
	struct sr_gnttab *gt;
	struct sr_hypervisor *hv;
	bool cheap_map;
	struct sr_memory memory;
	/* Queues that wait for memory, in order: who is not the first gets none. */
	struct sr_blkq *starved, **starved_tail;
	/* The grant copy at hand. */
	unsigned copies;
	struct sr_io *copy_owner[SR_COPY_BATCH];
	struct sr_copy_segment copy[SR_COPY_BATCH];
	unsigned queues; /* the control thread's count, to spread queues */
	int cpu;
};

/* How the data of a request are reached. */
enum sr_io_access {
	SR_ACCESS_NONE,
	SR_ACCESS_MAPPED,     /* pages[]: addresses mapped for this request */
	SR_ACCESS_PERSISTENT, /* pages[]: places in the queue's table */
	SR_ACCESS_BOUNCE,
};

/* What is left to be done: bits, in this order. */
enum {
	SR_STAGE_PREFLUSH = 1u << 0,
	SR_STAGE_READ_HEAD = 1u << 1, /* the first block that is overwritten in part */
	SR_STAGE_READ_TAIL = 1u << 2,
	SR_STAGE_DATA = 1u << 3,
	SR_STAGE_POSTFLUSH = 1u << 4,
};

struct sr_io {
	struct sr_blk_request req; /* first: what a driver gives back is cast to its io */
	struct sr_io *next;
	uint64_t taken_at; /* the thread's clock */
	struct sr_blk_job job;
	const struct blkif_request_segment *segs;
	uintptr_t *pages;
	struct iovec *iov;
	struct sr_big *big;
	uint8_t *bounce;
	uint16_t slot;
	uint16_t nsegs, npages, bounce_pages;
	uint16_t pad; /* bytes of bounce before the guest's data */
	int16_t status;
	uint8_t access, stages;
	bool prepared;  /* checked, and its data can be reached */
	bool executing; /* counts in q->executing */
	bool rmw;       /* writes blocks in part */
	bool copy_failed;
	struct iovec small_iov[BLKIF_MAX_SEGMENTS_PER_REQUEST];
	uintptr_t small_pages[BLKIF_MAX_SEGMENTS_PER_REQUEST];
};

struct sr_blkq_setup {
	const struct sr_blk_driver *driver;
	void *driver_disk;
	struct sr_blk_disk *disk;
	const struct sr_log_source *log; /* copied: each queue is on its own */
	struct sr_record_queue *rec;
	const struct sr_record_queue_setup *setup;
	unsigned order, index, count;
	enum sr_blkif_abi abi;
	unsigned persistent_limit; /* 0: no persistent grants */
	struct sr_grant_budget *persistent_budget;
	uint16_t domid;
	bool resume;
	/* Called in the queue's thread. */
	void (*broken)(void *ctx);   /* once: the guest has broken the protocol */
	void (*detached)(void *ctx); /* once, at the end of sr_blkq_detach() */
	void *ctx;
};

/* Readable from other threads. */
struct sr_blkq_gauges {
	uint64_t in_flight, persistent;
};

struct sr_blkq {
	struct sr_source source; /* first */
	struct sr_blk_thread *thread;
	struct sr_blkq_setup set;
	struct sr_log_source log;
	const struct sr_blk_disk *disk;
	const struct sr_blk_driver *driver;
	void *driver_queue;
	struct sr_ledger ledger;
	struct sr_persistent persistent;
	struct sr_io *ios; /* of io_size bytes each: the driver's scratch space is behind it */
	size_t io_size;
	uint16_t *free_slots; /* a stack */
	unsigned free_count, size;
	struct sr_io_list waiting;  /* not with the driver, in order */
	struct sr_io_list finished; /* to be answered */
	struct sr_io *barrier;      /* the one that is executing */
	unsigned executing;         /* started and not finished */
	unsigned with_driver;
	unsigned rmw_count;              /* executing ones */
	unsigned bounce_held, bigs_held; /* of the thread's memory: pages, and descriptors */
	bool kick, busy;                 /* the driver has to be kicked; has had no room */
	bool any_memory;                 /* guest pages suit the driver as they are */
	bool paused;                     /* until sr_blkq_start() */
	bool broken, stopping, drain, copying;
	bool is_starved;
	bool notify_always; /* the next batch: an event may have been lost */
	bool armed;         /* the guest was asked to notify us of its next request */
	struct sr_blkq *next_starved;
	struct sr_evtchn *ev;
	void *ring_pages;
	uint32_t port;
	bool port_bound;
	void *memory_base; /* told to the driver */
	size_t memory_len;
	struct sr_blkq_gauges gauges;
	struct sr_blk_stats stats __attribute__((aligned(64)));
};

static inline struct sr_io *sr_blkq_io(const struct sr_blkq *q, unsigned slot)
{
	return (struct sr_io *)(void *)((uint8_t *)q->ios + slot * q->io_size);
}

static inline const struct sr_blkif_request *sr_io_request(const struct sr_blkq *q,
							   const struct sr_io *io)
{
	return &q->ledger.rec->slots[io->slot].request;
}

static inline void sr_io_list_init(struct sr_io_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static inline void sr_io_append(struct sr_io_list *l, struct sr_io *io)
{
	io->next = NULL;
	*l->tail = io;
	l->tail = &io->next;
}

static inline struct sr_io *sr_io_pop(struct sr_io_list *l)
{
	struct sr_io *io = l->head;

	if (io) {
		l->head = io->next;
		if (!l->head)
			l->tail = &l->head;
	}
	return io;
}

static inline void sr_io_prepend(struct sr_io_list *l, struct sr_io *io)
{
	io->next = l->head;
	if (!l->head)
		l->tail = &io->next;
	l->head = io;
}

/* --- queue.c ------------------------------------------------------------------------------------
 */

/*
 * In the thread. Maps the ring, binds the port, opens the driver's queue. No request is taken
 * before sr_blkq_start().
 */
int sr_blkq_attach(struct sr_blk_thread *thread, const struct sr_blkq_setup *setup,
		   struct sr_blkq **q, char *error, size_t error_size);
void sr_blkq_start(struct sr_blkq *q);
/*
 * In the thread. Takes no more requests and lets go of everything once nothing is with the driver:
 * set.detached is called then, the last thing that touches q before sr_blkq_free(). drain: what was
 * taken is answered first.
 */
void sr_blkq_detach(struct sr_blkq *q, bool drain);
/* From any thread, after set.detached. */
void sr_blkq_free(struct sr_blkq *q);
/* Ends a request: to be answered with io->status. */
void sr_blkq_finish(struct sr_blkq *q, struct sr_io *io);

/* --- order.c ------------------------------------------------------------------------------------
 */

/* Starts what can be started. Returns how many the driver took: it is asked again before a sleep.
 */
unsigned sr_order_start(struct sr_blkq *q);
/* Takes back what the driver has finished, and goes on with it. Returns how many. */
unsigned sr_order_reap(struct sr_blkq *q);

/* --- data.c -------------------------------------------------------------------------------------
 */

/* Copies the segments of an indirect request. 0; -EAGAIN: no memory; -EFAULT: a bad reference. */
int sr_data_indirect(struct sr_blkq *q, struct sr_io *io);
/*
 * Makes the data of a checked request reachable: sets req.iov. Where they are copied the copy of a
 * write is only done by sr_data_flush(). The errors as above.
 */
int sr_data_get(struct sr_blkq *q, struct sr_io *io);
/* Adds the copy between the guest's pages and the bounce pages: in (to us) or out. */
void sr_data_copy(struct sr_blkq *q, struct sr_io *io, bool in);
/* Does the copies at hand; io->copy_failed says whose failed. */
void sr_data_flush(struct sr_blkq *q);
/* Lets go of everything. */
void sr_data_put(struct sr_blkq *q, struct sr_io *io);
/* q leaves: it does not wait for memory any more. */
void sr_data_forget(struct sr_blkq *q);

#endif
