/* SPDX-License-Identifier: MIT */
#ifndef SR_BLKFRONT_INTERNAL_H
#define SR_BLKFRONT_INTERNAL_H

/* Shared by the files of blkfront; nobody else's. The contract is <blkfront/blkfront.h>. */

#include <pthread.h>
#include <stdatomic.h>

#include <frontbus/frontbus.h>
#include <hypervisor.h>

#include <blkfront/blkfront.h>
#include <blkfront/vdev.h>

#define SR_SECTOR_SHIFT 9
#define SR_SECTOR_SIZE  512u

/* A run of pages that the backend may be shown. */
struct sr_front_region {
	struct sr_front_region *next;
	uint8_t *base;
	size_t bytes;   /* whole pages */
	uint32_t *refs; /* a page; NULL: granted a request at a time */
};

/* A place in a request's iov, and on the disk. */
struct sr_front_cursor {
	const struct iovec *iov;
	size_t pos;      /* in *iov */
	uint64_t offset; /* on the disk, bytes */
	uint64_t left;   /* bytes */
};

enum {
	PIECE_OUT = 1u << 0,     /* in the ring, not answered */
	PIECE_GRANTED = 1u << 1, /* its grants are to be ended */
	PIECE_BOUNCED = 1u << 2, /* its data lie in pages of the pool */
};

/*
 * A ring request that is out. Its index is the id on the ring. The first piece of a caller's
 * request, its head, stands for the whole of it, and stays taken until all are answered.
 */
struct sr_front_piece {
	void *tag;     /* of a head */
	uint32_t left; /* of a head: pieces not answered, and one while there are more to be put */
	int32_t error; /* of a head: the first one */
	uint16_t head; /* index */
	uint16_t grants;   /* to end */
	uint16_t pages;    /* of the pool */
	uint8_t operation; /* that the response has to name */
	uint8_t flags;
};

/* Where the data of a bounced piece belong. */
struct sr_front_bounce {
	struct sr_front_cursor at;
	uint32_t bytes;
};

/* What is left of the one request that has not fitted in the ring yet. */
struct sr_front_split {
	bool active;
	bool bounce;
	uint8_t operation;
	uint16_t head;
	struct sr_front_cursor at;
};

struct sr_blkfront_queue {
	struct sr_blkif_front ring;
	struct sr_blkfront *front;
	struct sr_front_piece *pieces; /* ring_size */
	uint16_t *free_ids;            /* a stack, so that the same few stay in the cache */
	uint32_t free_count;
	uint32_t ready;                 /* responses that are known to be there */
	uint32_t prefetched;            /* of them */
	uint32_t requests_out;          /* the caller's */
	struct sr_front_region *region; /* the last one that was hit */
	struct sr_front_split split;
	struct sr_blkfront_stats stats;

	struct blkif_request_segment *segs; /* max_segments: the piece that is being made */
	uint32_t *grants;                   /* a piece: max_segments references to end */
	struct sr_front_region *regions;

	/* Made at their first use. */
	uint8_t *indirect; /* a piece: indirect_pages pages */
	uint32_t *indirect_refs;
	unsigned indirect_pages;
	struct sr_front_region *pool; /* what other memory is copied through */
	uint32_t *pool_free;          /* a stack of page numbers */
	uint32_t pool_free_count;
	uint32_t *pool_used; /* a piece: max_segments page numbers */
	struct sr_front_bounce *bounces;

	struct sr_gntshr *gs;
	struct sr_evtchn *ev;
	uint32_t port;
	void *ring_pages;
	uint32_t ring_refs[1u << SR_BLKIF_MAX_RING_ORDER];
	uint64_t wait_ns; /* moving average of how long the next response takes */
};

struct sr_blkfront {
	struct sr_frontbus bus; /* error: while open() runs */
	char title[SR_VDEV_NAME_SIZE + 8];
	struct sr_blkfront_options options; /* its strings are gone */
	struct sr_blkfront_info info;
	_Atomic uint64_t size; /* bytes */
	_Atomic int status;
	_Atomic(const char *) reason;
	struct sr_blkfront_queue *queues;
	int wake_fd; /* readable for good once the device is broken */

	bool published; /* the backend may use our rings */
	pthread_t thread;
	bool running;
	int stop_fd;
};

/* --- publish.c, xenbus.c ---------------------------------------------------------------------- */

/* Writes all that the backend has to know of our rings, and Initialised. */
int sr_front_publish_rings(struct sr_blkfront *f);
/* The thread that follows the backend from now on. */
int sr_front_follow(struct sr_blkfront *f);
void sr_front_unfollow(struct sr_blkfront *f);
/* Reads the size again; tells whether it has changed. */
int sr_front_read_size(struct sr_blkfront *f, bool *changed);

/* --- queue.c ---------------------------------------------------------------------------------- */

/* The ring and its event channel. After a failure sr_front_queue_free() is due. */
int sr_front_queue_init(struct sr_blkfront *f, struct sr_blkfront_queue *q);
/* What depends on the number of segments, which the backend says late. */
int sr_front_queue_tables(struct sr_blkfront *f, struct sr_blkfront_queue *q);
void sr_front_queue_free(struct sr_blkfront_queue *q);

/* --- memory.c --------------------------------------------------------------------------------- */

int sr_front_region_new(struct sr_blkfront_queue *q, size_t bytes, struct sr_front_region **region);
/* -EBUSY as sr_blkfront_free(). */
int sr_front_region_free(struct sr_blkfront_queue *q, struct sr_front_region *region);
/* The region that all of [addr, addr + bytes) lies in, or NULL. */
struct sr_front_region *sr_front_region_find(struct sr_blkfront_queue *q, const void *addr,
					     size_t bytes);
/*
 * The reference by which the backend reaches the page of `addr`; what has to be ended goes to
 * grants[*count], and *count up.
 */
int sr_front_grant(struct sr_blkfront_queue *q, struct sr_front_region *region, void *addr,
		   bool writable, uint32_t *grants, uint16_t *count, uint32_t *ref);
int sr_front_pool_new(struct sr_blkfront_queue *q);
int sr_front_indirect_new(struct sr_blkfront_queue *q);
void sr_front_memory_free(struct sr_blkfront_queue *q);
/* Copies between `bytes` of memory and the iov, and moves the cursor on. */
void sr_front_copy(struct sr_front_cursor *at, uint8_t *memory, size_t bytes, bool to_memory);
void sr_front_advance(struct sr_front_cursor *at, size_t bytes);

/* --- submit.c, reap.c ------------------------------------------------------------------------- */

/* Puts what fits of the request that is being split. True: it failed and is done, *done is set. */
bool sr_front_split_more(struct sr_blkfront_queue *q, struct sr_blkfront_done *done);
/* Takes back the grants of a piece, and its pages of the pool. -EBUSY: the backend holds one. */
int sr_front_piece_release(struct sr_blkfront_queue *q, uint32_t id, unsigned flags);
/*
 * Ends a piece: its grants and pages are given back, data copied. True if with it the caller's
 * request is done; then *done is set.
 */
bool sr_front_piece_done(struct sr_blkfront_queue *q, uint32_t id, int error,
			 struct sr_blkfront_done *done);
/* Counts one off a head. */
bool sr_front_head_done(struct sr_blkfront_queue *q, uint32_t head, int error,
			struct sr_blkfront_done *done);
/* From any thread; `reason` is a constant. */
void sr_front_break(struct sr_blkfront *f, const char *reason);

static inline int sr_front_status(const struct sr_blkfront *f)
{
	return atomic_load_explicit(&f->status, memory_order_relaxed);
}

#endif
