/* SPDX-License-Identifier: MIT */
#ifndef SR_XEN_SPANS_H
#define SR_XEN_SPANS_H

/*
 * The pages that a handle has mapped or shared, by their first address. The libraries close a
 * descriptor and leave what was mapped through it mapped, which keeps the other end from having its
 * pages back; and the kernel takes an address within a mapping, or even below it, for the mapping.
 */

#include <stddef.h>
#include <stdint.h>

struct sr_span {
	uintptr_t addr; /* 0: none */
	unsigned count; /* pages */
};

/* Zeroed: empty. */
struct sr_spans {
	struct sr_span *slot;
	size_t size, used; /* size: a power of two, or 0 */
};

/* Makes sure that the next sr_spans_add() finds room. -ENOMEM. */
int sr_spans_reserve(struct sr_spans *s);
void sr_spans_add(struct sr_spans *s, void *addr, unsigned count);
/* The count of what begins at `addr`; 0: nothing does. */
unsigned sr_spans_find(const struct sr_spans *s, const void *addr);
void sr_spans_remove(struct sr_spans *s, const void *addr);
/* Calls fn(ctx, addr, count) for each, and ends up empty. */
void sr_spans_drain(struct sr_spans *s, void (*fn)(void *ctx, void *addr, unsigned count),
		    void *ctx);

#endif
