/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_MEMORY_H
#define SR_BLK_MEMORY_H

/*
 * What a queue thread has for the requests of all its queues, set aside once: bounce pages, and
 * descriptors of requests with many segments. Untouched parts cost address space only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <xen/xen.h>

#include <xen/grant_table.h>
#include <xen/io/blkif.h>

#define SR_MAX_SEGMENTS 256u /* of an indirect request */
#define SR_BOUNCE_PAGES 2048u
#define SR_BIGS         128u

/* Of a request with more than BLKIF_MAX_SEGMENTS_PER_REQUEST segments. */
struct sr_big {
	struct blkif_request_segment segs[SR_MAX_SEGMENTS];
	uintptr_t pages[SR_MAX_SEGMENTS];
	struct iovec iov[SR_MAX_SEGMENTS];
};

/*
 * Runs of contiguous pages. Room for any one request whenever nothing is in use, so a request that
 * waits for its run gets it at last if those behind it wait as well.
 */
struct sr_bounce {
	uint8_t *base;
	uint64_t used[SR_BOUNCE_PAGES / 64]; /* a bit a page */
	unsigned free;
};

struct sr_memory {
	struct sr_bounce bounce;
	struct sr_big *bigs;
	uint8_t big_free[SR_BIGS]; /* a stack of indices: the warmest is on top */
	unsigned big_count;
};

int sr_memory_init(struct sr_memory *m);
void sr_memory_destroy(struct sr_memory *m);

/* NULL: none left. */
struct sr_big *sr_memory_big_get(struct sr_memory *m);
void sr_memory_big_put(struct sr_memory *m, struct sr_big *big);

/* `pages` contiguous pages, or NULL. */
void *sr_bounce_get(struct sr_bounce *b, unsigned pages);
void sr_bounce_put(struct sr_bounce *b, void *addr, unsigned pages);

#endif
