/* SPDX-License-Identifier: MIT */
/* Open addressing, linear probing; at most half full. */
#include "spans.h"

#include <errno.h>
#include <stdlib.h>

#include <hypervisor.h>

#define FIRST_SIZE 64u

static size_t home(const struct sr_spans *s, uintptr_t addr)
{
	return (size_t)((addr >> SR_PAGE_SHIFT) * UINT64_C(0x9e3779b97f4a7c15) >> 32) &
	       (s->size - 1);
}

static size_t next(const struct sr_spans *s, size_t i)
{
	return (i + 1) & (s->size - 1);
}

/* Where it is, or the free slot where it belongs. */
static size_t place(const struct sr_spans *s, uintptr_t addr)
{
	size_t i = home(s, addr);

	while (s->slot[i].addr && s->slot[i].addr != addr)
		i = next(s, i);
	return i;
}

int sr_spans_reserve(struct sr_spans *s)
{
	struct sr_spans bigger = { .size = s->size ? s->size * 2 : FIRST_SIZE };

	if (s->used < s->size / 2)
		return 0;
	bigger.slot = calloc(bigger.size, sizeof(*bigger.slot));
	if (!bigger.slot)
		return -ENOMEM;
	for (size_t i = 0; i < s->size; i++)
		if (s->slot[i].addr)
			sr_spans_add(&bigger, (void *)s->slot[i].addr, s->slot[i].count);
	free(s->slot);
	*s = bigger;
	return 0;
}

void sr_spans_add(struct sr_spans *s, void *addr, unsigned count)
{
	s->slot[place(s, (uintptr_t)addr)] = (struct sr_span){ (uintptr_t)addr, count };
	s->used++;
}

unsigned sr_spans_find(const struct sr_spans *s, const void *addr)
{
	return addr && s->size ? s->slot[place(s, (uintptr_t)addr)].count : 0;
}

void sr_spans_remove(struct sr_spans *s, const void *addr)
{
	size_t gap = place(s, (uintptr_t)addr);

	/* What follows moves up where its search would otherwise end at the gap. */
	for (size_t i = next(s, gap); s->slot[i].addr; i = next(s, i)) {
		size_t want = home(s, s->slot[i].addr);

		if (((i - want) & (s->size - 1)) < ((i - gap) & (s->size - 1)))
			continue;
		s->slot[gap] = s->slot[i];
		gap = i;
	}
	s->slot[gap] = (struct sr_span){ 0 };
	s->used--;
}

void sr_spans_drain(struct sr_spans *s, void (*fn)(void *ctx, void *addr, unsigned count),
		    void *ctx)
{
	for (size_t i = 0; i < s->size; i++)
		if (s->slot[i].addr)
			fn(ctx, (void *)s->slot[i].addr, s->slot[i].count);
	free(s->slot);
	*s = (struct sr_spans){ 0 };
}
