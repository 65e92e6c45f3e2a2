/* SPDX-License-Identifier: MIT */
#ifndef SR_BLKFRONT_H
#define SR_BLKFRONT_H

/*
 * A PV disk from the guest's side: <xen/io/blkif.h> over any hypervisor behind the seam.
 *
 *     sr_blkfront_open(hv, &options, &front);
 *     queue = sr_blkfront_queue(front, 0);
 *     sr_blkfront_alloc(queue, bytes, &buffer);           granted memory: no copy
 *     sr_blkfront_submit(queue, &request);  ...           writes requests to the ring
 *     sr_blkfront_kick(queue);                            shows them to the backend, once a batch
 *     n = sr_blkfront_reap(queue, done, max);             takes responses, never blocks
 *     sr_blkfront_wait(queue, timeout);                   spins a while, then sleeps
 *     sr_blkfront_close(front);
 *
 * Requests of any length are split into what the ring's requests can carry. A backend that restarts
 * and keeps the ring is not noticed: requests take longer, that's all.
 *
 * Trust. The backend is trusted with the data on the disk and with nothing else. A response to a
 * request that isn't out, an index that can't be, a grant that isn't given back: the device is
 * broken from then on, and all that was or will be submitted ends with -EIO.
 *
 * Threads. A queue and all memory from it belong to one thread at a time; the queues of a front are
 * independent of each other. open() and close() belong to one thread, and no queue is in use then.
 * A front has a thread of its own for xenstore; the event callback runs there. Nothing survives
 * fork(): a process that forks opens afterwards.
 *
 * Errors: 0 or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <ring/blkif.h>

#define SR_BLKFRONT_MAX_QUEUES 64u

struct sr_hypervisor;
struct sr_blkfront;
struct sr_blkfront_queue;

enum sr_blkfront_event {
	SR_BLKFRONT_RESIZED, /* sr_blkfront_size() has changed */
	SR_BLKFRONT_CLOSING, /* the backend wants the device back: finish, then close */
	SR_BLKFRONT_BROKEN,  /* the backend is gone or unsound: everything fails with -EIO */
};

/* Fill with SR_BLKFRONT_DEFAULTS first. */
struct sr_blkfront_options {
	const char *device;    /* "xvda", "51712", ...: see <blkfront/vdev.h> */
	unsigned queues;       /* wanted; the backend's limit holds */
	unsigned ring_order;   /* wanted, 2^order pages a ring; the backend's limit holds */
	enum sr_blkif_abi abi; /* NATIVE, X86_32, X86_64 */
	/* Offer persistent grants. Without them each request grants its pages and takes them back,
	 * where the hypervisor can do that (SR_CAP_GRANT_PAGES). */
	bool persistent;
	unsigned indirect_segments; /* most segments a request; 0: no indirect requests */
	bool poll;                  /* never sleep in sr_blkfront_wait() */
	unsigned timeout_ms;        /* for each step of the backend in open() and close() */
	void (*event)(void *arg, enum sr_blkfront_event event); /* optional */
	void *event_arg;
	char *error; /* optional: where open() puts one line about what failed */
	size_t error_size;
};

#define SR_BLKFRONT_DEFAULTS                                                                       \
	{                                                                                          \
		.queues = 1, .persistent = true, .indirect_segments = 256, .timeout_ms = 20000     \
	}

/* What has been agreed on. Constant while the front is open. */
struct sr_blkfront_info {
	uint32_t vdev;
	uint16_t backend_domid;
	unsigned queues;
	unsigned ring_order;
	uint32_t ring_size;    /* slots of each queue */
	unsigned max_segments; /* of a ring request; 11 without indirect segments */
	uint32_t sector_size;  /* bytes: the unit of offsets and lengths, 512 or more */
	uint32_t physical_sector_size;
	bool persistent;           /* on both sides */
	bool grants_are_permanent; /* no grant work a request */
	bool flush, barrier, discard, secure_discard;
	uint32_t discard_granularity, discard_alignment; /* bytes */
	bool read_only, removable, cdrom;
};

/*
 * Finds the device in xenstore, negotiates and connects. -ENODEV: the domain has no such device;
 * -EINVAL: bad options; -ETIMEDOUT: the backend didn't come along; others from below.
 * A device that an earlier front of this domain left connected is closed and connected anew.
 * On failure nothing is left behind and the device can be opened again.
 */
int sr_blkfront_open(struct sr_hypervisor *hv, const struct sr_blkfront_options *options,
		     struct sr_blkfront **front);
/*
 * Says good-bye (Closing, Closed) and frees all, memory from sr_blkfront_alloc() too. Requests
 * still out are dropped. -ETIMEDOUT: the backend didn't answer; it is closed nevertheless. NULL is
 * allowed.
 */
int sr_blkfront_close(struct sr_blkfront *front);

const struct sr_blkfront_info *sr_blkfront_info(const struct sr_blkfront *front);
/* The disk's size in bytes, as last told by the backend. Any thread. */
uint64_t sr_blkfront_size(const struct sr_blkfront *front);
/* 0; -ESHUTDOWN: the backend wants the device back; -EIO: broken. Any thread. */
int sr_blkfront_status(const struct sr_blkfront *front);
/* Why it is broken, in words; "" if it isn't. Any thread. */
const char *sr_blkfront_reason(const struct sr_blkfront *front);
/* `index` < info->queues. Owned by the front. */
struct sr_blkfront_queue *sr_blkfront_queue(struct sr_blkfront *front, unsigned index);

/* --- memory ----------------------------------------------------------------------------------- */

/*
 * Page-aligned, zeroed memory, granted to the backend for good (or ready to be granted a request
 * at a time, see .persistent): requests of this queue in it need no copy, as far as they begin and
 * end on multiples of 512 bytes. All other memory is copied through pages of the front's own.
 */
int sr_blkfront_alloc(struct sr_blkfront_queue *queue, size_t bytes, void **addr);
/* -EBUSY: the backend still uses some of it; try again later, or leave it to close(). */
int sr_blkfront_free(struct sr_blkfront_queue *queue, void *addr);

/* --- requests --------------------------------------------------------------------------------- */

enum sr_blkfront_op {
	SR_BLKFRONT_READ,
	SR_BLKFRONT_WRITE,
	SR_BLKFRONT_FLUSH,   /* what was completed before is on stable storage; nothing else is used
			      */
	SR_BLKFRONT_BARRIER, /* a write, before and after all others; see sr_blkfront_submit() */
	SR_BLKFRONT_DISCARD, /* .offset and .length */
	SR_BLKFRONT_SECURE_DISCARD,
};

struct sr_blkfront_request {
	enum sr_blkfront_op op;
	unsigned iov_count;
	uint64_t offset;         /* bytes */
	uint64_t length;         /* bytes, of a discard only; else it is the sum of the iov */
	const struct iovec *iov; /* iov and the memory stay untouched until completion */
	void *tag;               /* the caller's */
};

struct sr_blkfront_done {
	void *tag;
	int error; /* 0, -EIO, -EOPNOTSUPP (the backend lacks the operation) */
};

/*
 * Takes a request, to be completed by sr_blkfront_reap() exactly once. The struct itself is copied.
 * -EBUSY: no room, reap first. -EINVAL: not in whole sectors, beyond the disk's end, or a barrier
 * of more than 11 segments. -EROFS, -EOPNOTSUPP: this disk can't. -EIO, -ESHUTDOWN: see
 * sr_blkfront_status().
 */
int sr_blkfront_submit(struct sr_blkfront_queue *queue, const struct sr_blkfront_request *request);

/*
 * Shows the backend what was submitted, and notifies it if it sleeps.
 * The lazy form leaves the notification to the next call of kick(), reap() that finds nothing, or
 * wait(): for callers who are sure to make one at once. It saves the fence.
 */
int sr_blkfront_kick(struct sr_blkfront_queue *queue);
void sr_blkfront_kick_lazy(struct sr_blkfront_queue *queue);

/* Up to `max` completed requests into done[]. */
unsigned sr_blkfront_reap(struct sr_blkfront_queue *queue, struct sr_blkfront_done *done,
			  unsigned max);

/*
 * Kicks, then waits until there is something for reap() to look at. 0; -EAGAIN: nothing is out, so
 * nothing will come; -ETIMEDOUT. timeout_ms < 0: as long as it takes, a restart of the backend
 * included.
 */
int sr_blkfront_wait(struct sr_blkfront_queue *queue, int timeout_ms);

/* Requests submitted and not yet given back by reap(). */
unsigned sr_blkfront_in_flight(const struct sr_blkfront_queue *queue);

/*
 * One request, from submission to completion: for callers who have nothing else to do, and only
 * while nothing else is in flight on this queue (-EBUSY). `buffer` is any memory.
 */
int sr_blkfront_io(struct sr_blkfront_queue *queue, enum sr_blkfront_op op, uint64_t offset,
		   void *buffer, size_t length);

struct sr_blkfront_stats {
	uint64_t requests;      /* submitted by the caller */
	uint64_t ring_requests; /* which they became */
	uint64_t notifications; /* sent */
	uint64_t events;        /* received */
	uint64_t sleeps;
	uint64_t bounced; /* ring requests that were copied */
};
/* The queue's thread. */
void sr_blkfront_stats(const struct sr_blkfront_queue *queue, struct sr_blkfront_stats *stats);

#endif
