/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_BLK_DRIVER_H
#define SPLITRING_BLK_DRIVER_H

/*
 * How to put a storage of your own under a guest's disk.
 *
 * The blkif engine speaks the protocol, checks every request, reaches the guest's memory and keeps
 * the statistics. A driver moves bytes. The smallest one has a name, open() and submit(); see
 * docs/writing-a-driver.md. A driver in a shared object exports one symbol:
 *
 *     const struct sr_blk_driver sr_blk_driver = { .abi = SR_BLK_DRIVER_ABI, .name = "mine", ... };
 *
 * A driver has nothing to link with: <splitring/blk_options.h> is a header.
 *
 * Threads: open(), close() and refresh() run in the control thread; queue_open() runs there or in
 * the queue's thread; all that takes a queue runs in the one thread that owns that queue. Several
 * queues of a disk run at the same time, and refresh() beside them.
 * Errors: 0 or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Goes up with every change that an old driver would not survive. */
#define SR_BLK_DRIVER_ABI 1u

#define SR_BLK_MAX_IOV 1024u /* pieces of one request */

enum sr_blk_op {
	SR_BLK_READ,
	SR_BLK_WRITE,
	SR_BLK_FLUSH, /* all that was answered before is on stable storage when this is answered */
	SR_BLK_DISCARD, /* offset and length only, no iov */
};

enum {
	SR_BLK_SECURE = 1u << 0, /* with SR_BLK_DISCARD: the old content must be gone for good */
};

/* What submit() says. */
enum sr_blk_submit {
	SR_BLK_DONE,   /* finished: .result holds the outcome, the request is the engine's again */
	SR_BLK_QUEUED, /* the driver's until reap() gives it back, exactly once */
	SR_BLK_BUSY,   /* not taken, no room: submitted again after the next reap() that gives some
			  back */
};

/* What the disk is. Filled by open(), and by refresh() after the disk has changed. */
struct sr_blk_info {
	uint64_t size;                /* bytes, a multiple of logical_block_size */
	uint32_t logical_block_size;  /* smallest unit of a transfer: 512 to 4096, a power of two */
	uint32_t physical_block_size; /* 0: the same as the logical one */
	uint32_t memory_alignment;    /* of each iov's base, a power of two; 0 or 1: any */
	uint32_t discard_granularity; /* bytes; 0: the disk can't discard */
	uint32_t discard_alignment;   /* bytes */
	bool secure_discard;          /* SR_BLK_SECURE is honoured */
	bool flush;                   /* SR_BLK_FLUSH does something; else the engine answers it */
	bool read_only;               /* opened so, or the medium is */
	bool removable;
};

/*
 * A request. The engine has checked that [offset, offset + length) lies in the disk, is a multiple
 * of logical_block_size, that the iov adds up to length, that each piece of it is a multiple of
 * logical_block_size long and starts at a multiple of memory_alignment, that there are no more than
 * SR_BLK_MAX_IOV of them, and that a read-only disk is not written. The iov stays in place until
 * the request is done. The memory is the guest's: it can change at any moment.
 * The driver may change nothing but result and the scratch space.
 */
struct sr_blk_request {
	uint64_t offset; /* bytes */
	uint64_t length; /* bytes */
	const struct iovec *iov;
	uint32_t iov_count;
	uint8_t op;    /* enum sr_blk_op */
	uint8_t flags; /* SR_BLK_SECURE */
	uint16_t reserved;
	int64_t
	    result; /* out: 0, or -errno. Fewer bytes than length is an error to report as -EIO */
	void *scratch; /* sr_blk_driver.scratch_size bytes, the driver's own, 16-byte aligned,
			  zeroed once */
};

/* What open() gets. The strings live until open() returns. */
struct sr_blk_open {
	/* "/path/to/image", "size=1G": what stands behind "driver:" up to a comma. */
	const char *target;
	/* The options that followed it, "direct=on,sqpoll=off", or "". Unknown keys are an error.
	 */
	const char *options;
	bool read_only;
	/* Where to put one clear line that says what failed, where, and what to do. */
	char *error;
	size_t error_size;
};

struct sr_blk_queue_params {
	uint32_t depth; /* the most requests that are with the driver at any time */
	uint32_t index; /* of this queue, from 0 */
	uint32_t count; /* of queues of this disk */
};

struct sr_blk_driver {
	uint32_t abi;            /* SR_BLK_DRIVER_ABI */
	const char *name;        /* "null": what stands before the colon in a disk's target */
	const char *description; /* one line */
	size_t scratch_size;     /* bytes of sr_blk_request.scratch */

	/* On failure nothing is left behind, and args->error holds a line for the operator. */
	int (*open)(const struct sr_blk_open *args, void **disk, struct sr_blk_info *info);
	void (*close)(void *disk); /* optional; every queue is closed before */
	/* Optional: looks again whether the disk has grown or shrunk. */
	int (*refresh)(void *disk, struct sr_blk_info *info);

	/* Optional, both or neither; without them `queue` is the disk itself. */
	int (*queue_open)(void *disk, const struct sr_blk_queue_params *params, void **queue);
	void (*queue_close)(void *queue); /* nothing is in flight any more */

	enum sr_blk_submit (*submit)(void *queue, struct sr_blk_request *req);

	/* The rest is optional, and needed only by a driver that ever says SR_BLK_QUEUED. */
	/* Called once after a batch of submit(). */
	void (*kick)(void *queue);
	/* Up to `max` finished requests, their results set, into done[]. Never blocks. */
	unsigned (*reap)(void *queue, struct sr_blk_request **done, unsigned max);
	/*
	 * Becomes readable when a request finishes; watched only while the queue thread sleeps.
	 * Between a kick() and its sleep the engine calls reap() until it gives back less than it
	 * could: what finished before that need not make this readable.
	 */
	int (*fd)(void *queue);

	/*
	 * Optional: memory that requests of this queue will use for long (for registered buffers),
	 * told before it is used and after its last use. Other memory may be used beside it. What
	 * is removed is exactly what was added.
	 */
	void (*memory_add)(void *queue, void *base, size_t len);
	void (*memory_remove)(void *queue, void *base, size_t len);
};

#ifdef __cplusplus
}
#endif

#endif
