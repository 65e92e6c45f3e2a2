/* SPDX-License-Identifier: MIT */
#include "persistent.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <hypervisor.h>

/* Of the limit: how much is purged at once, so that the table is not walked for each page. */
#define SR_PURGE_SHARE 16u

int sr_persistent_init(struct sr_persistent *p, struct sr_gnttab *gt, uint16_t domid,
		       unsigned limit, struct sr_grant_budget *budget)
{
	uint32_t size = 64;
	unsigned bits = 6;

	*p = (struct sr_persistent){ .gt = gt, .budget = budget, .domid = domid, .limit = limit };
	if (!limit)
		return 0;
	while (size < limit + limit / 2) {
		size *= 2;
		bits++;
	}
	/* The guest can't know where its references meet. */
	if (getrandom(&p->multiplier, sizeof(p->multiplier), GRND_NONBLOCK) < 0)
		p->multiplier = 0x9e3779b1u;
	p->multiplier |= 1;
	p->mask = size - 1;
	p->shift = 32 - bits;
	p->refs = calloc(size, sizeof(*p->refs));
	p->addrs = calloc(size, sizeof(*p->addrs));
	p->used = calloc(size, sizeof(*p->used));
	p->in_use = calloc(size, sizeof(*p->in_use));
	p->ages = calloc(limit, sizeof(*p->ages));
	if (p->refs && p->addrs && p->used && p->in_use && p->ages)
		return 0;
	sr_persistent_destroy(p);
	return -ENOMEM;
}

static bool reserve(struct sr_grant_budget *b)
{
	if (!b || __atomic_add_fetch(&b->kept, 1, __ATOMIC_RELAXED) <= b->limit)
		return true;
	__atomic_sub_fetch(&b->kept, 1, __ATOMIC_RELAXED);
	return false;
}

static void give_back(struct sr_grant_budget *b)
{
	if (b)
		__atomic_sub_fetch(&b->kept, 1, __ATOMIC_RELAXED);
}

static void drop(struct sr_persistent *p, uint32_t i)
{
	sr_gnttab_unmap(p->gt, p->addrs[i], 1);
	give_back(p->budget);
	p->addrs[i] = NULL;
	p->count--;
}

void sr_persistent_destroy(struct sr_persistent *p)
{
	if (p->limit && p->addrs)
		for (uint32_t i = 0; i <= p->mask; i++)
			if (p->addrs[i])
				drop(p, i);
	free(p->refs);
	free(p->addrs);
	free(p->used);
	free(p->in_use);
	free(p->ages);
	*p = (struct sr_persistent){ 0 };
}

static int by_age(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * Unmaps those not used for longest. It walks the table, but for a sixteenth of it at once.
 * Lookups look at every place within reach, so a hole breaks no chain.
 */
static void purge(struct sr_persistent *p, unsigned want)
{
	unsigned n = 0, freed = 0;
	uint32_t *ages = p->ages, age;

	for (uint32_t i = 0; i <= p->mask; i++)
		if (p->addrs[i] && !p->in_use[i])
			ages[n++] = p->tick - p->used[i];
	if (n) {
		qsort(ages, n, sizeof(*ages), by_age);
		age = ages[n > want ? n - want : 0];
		for (uint32_t i = 0; i <= p->mask && freed < want; i++)
			if (p->addrs[i] && !p->in_use[i] && p->tick - p->used[i] >= age) {
				drop(p, i);
				freed++;
			}
	}
	p->purged += freed;
}

void sr_persistent_shed(struct sr_persistent *p, uint32_t place)
{
	if (p->in_use[place])
		return;
	drop(p, place);
	p->purged++;
}

/* Whether there is room for one more, be it in the place of others. */
static bool make_room(struct sr_persistent *p)
{
	unsigned want = p->limit / SR_PURGE_SHARE + 1;

	if (p->count < p->limit)
		return true;
	if (p->missed++ < want * SR_PERSISTENT_PACE)
		return false;
	p->missed = 0;
	purge(p, want);
	return p->count < p->limit;
}

/*
 * The hypervisor has no room for more. To ask again for each page would cost, and to keep all that
 * there is would leave nothing for the ring of the next disk.
 */
static void lower_limit(struct sr_persistent *p)
{
	p->limit = p->count - p->count / 4;
	purge(p, p->count - p->limit);
}

uint32_t sr_persistent_add(struct sr_persistent *p, uint32_t ref, void **addr)
{
	uint32_t home = sr_persistent_home(p, ref), i;
	void *page;
	int rc;

	if (!make_room(p))
		return SR_PERSISTENT_NONE;
	for (unsigned n = 0; n < SR_PERSISTENT_PROBES; n++) {
		i = (home + n) & p->mask;
		if (p->addrs[i])
			continue;
		if (!reserve(p->budget))
			return SR_PERSISTENT_NONE;
		/* For writing, whatever this request does: the next one may need it. */
		rc = sr_gnttab_map(p->gt, p->domid, &ref, 1, PROT_READ | PROT_WRITE, &page);
		if (rc) {
			give_back(p->budget);
			if (rc == -ENOSPC)
				lower_limit(p);
			return SR_PERSISTENT_NONE;
		}
		p->refs[i] = ref;
		p->addrs[i] = page;
		p->used[i] = p->tick;
		p->in_use[i] = 1;
		p->count++;
		p->maps++;
		*addr = page;
		return i;
	}
	return SR_PERSISTENT_NONE;
}
