/* SPDX-License-Identifier: MIT */
#include "memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define SR_BOUNCE_BYTES ((size_t)SR_BOUNCE_PAGES * 4096)

static int reserve(size_t size, void **addr)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	*addr = p;
	return 0;
}

int sr_memory_init(struct sr_memory *m)
{
	void *base = NULL, *bigs = NULL;
	int rc;

	memset(m, 0, sizeof(*m));
	rc = reserve(SR_BOUNCE_BYTES, &base);
	if (rc)
		return rc;
	rc = reserve(SR_BIGS * sizeof(struct sr_big), &bigs);
	if (rc) {
		munmap(base, SR_BOUNCE_BYTES);
		return rc;
	}
	m->bounce.base = base;
	m->bounce.free = SR_BOUNCE_PAGES;
	m->bigs = bigs;
	for (unsigned i = 0; i < SR_BIGS; i++)
		m->big_free[m->big_count++] = (uint8_t)(SR_BIGS - 1 - i);
	return 0;
}

void sr_memory_destroy(struct sr_memory *m)
{
	if (m->bounce.base)
		munmap(m->bounce.base, SR_BOUNCE_BYTES);
	if (m->bigs)
		munmap(m->bigs, SR_BIGS * sizeof(struct sr_big));
	memset(m, 0, sizeof(*m));
}

struct sr_big *sr_memory_big_get(struct sr_memory *m)
{
	return m->big_count ? &m->bigs[m->big_free[--m->big_count]] : NULL;
}

void sr_memory_big_put(struct sr_memory *m, struct sr_big *big)
{
	m->big_free[m->big_count++] = (uint8_t)(big - m->bigs);
}

static bool bit(const struct sr_bounce *b, unsigned i)
{
	return b->used[i / 64] >> (i % 64) & 1;
}

/* The first free page from `i` on. */
static unsigned next_free(const struct sr_bounce *b, unsigned i)
{
	while (i < SR_BOUNCE_PAGES) {
		uint64_t word = ~b->used[i / 64] >> (i % 64);

		if (word)
			return i + (unsigned)__builtin_ctzll(word);
		i = (i / 64 + 1) * 64;
	}
	return i;
}

static void mark(struct sr_bounce *b, unsigned first, unsigned pages, bool used)
{
	for (unsigned i = first; i < first + pages; i++)
		if (used)
			b->used[i / 64] |= (uint64_t)1 << (i % 64);
		else
			b->used[i / 64] &= ~((uint64_t)1 << (i % 64));
}

void *sr_bounce_get(struct sr_bounce *b, unsigned pages)
{
	unsigned i = 0, run;

	if (pages > b->free)
		return NULL;
	/* First fit: what is low is warm. */
	while ((i = next_free(b, i)) + pages <= SR_BOUNCE_PAGES) {
		for (run = 1; run < pages && !bit(b, i + run); run++)
			;
		if (run == pages) {
			mark(b, i, pages, true);
			b->free -= pages;
			return b->base + (size_t)i * 4096;
		}
		i += run;
	}
	return NULL;
}

void sr_bounce_put(struct sr_bounce *b, void *addr, unsigned pages)
{
	mark(b, (unsigned)(((uint8_t *)addr - b->base) / 4096), pages, false);
	b->free += pages;
}
