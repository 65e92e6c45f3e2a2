/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_PERSISTENT_H
#define SR_BLK_PERSISTENT_H

/*
 * The grants of one queue that stay mapped, because the frontend has promised to use them again
 * (feature-persistent). A hash table of fixed size: the guest chooses its keys, so a lookup looks
 * at a bounded number of places, however the guest has chosen. Where a page finds no place, or the
 * limit is reached, the caller does without; only now and then those not used for longest make
 * room, as a page's map has to be worth its cost. Where the hypervisor maps no more, three
 * quarters of what is mapped then become the limit. Queues of one guest have a common budget
 * besides.
 *
 * Threads: the queue's.
 */

#include <stdbool.h>
#include <stdint.h>

struct sr_gnttab;

#define SR_PERSISTENT_PROBES 16u
#define SR_PERSISTENT_NONE   UINT32_MAX
/*
 * For each page that makes room for another, so often the caller does without one first. On Xen a
 * map and its end cost as much as 5 to 11 copies of a page (docs/xen-data-path.md), so a guest that
 * uses more pages than are kept is served better by copies than by maps that drive each other out.
 */
#define SR_PERSISTENT_PACE 32u

/* What several queues may keep between them. */
struct sr_grant_budget {
	unsigned limit;
	unsigned kept; /* atomic */
};

struct sr_persistent {
	struct sr_gnttab *gt;
	struct sr_grant_budget *budget;
	uint16_t domid;
	unsigned limit, count;
	uint32_t
	    mask; /* of the table: its size, a power of two and half more than the limit, - 1 */
	uint32_t multiplier;
	unsigned shift;
	uint32_t *refs;   /* the key; valid where addrs[] is not NULL */
	void **addrs;     /* where it is mapped */
	uint32_t *used;   /* the tick of its last use */
	uint16_t *in_use; /* requests that have it in hand */
	uint32_t *ages;   /* scratch space of a purge */
	uint32_t tick;    /* goes on with each batch */
	unsigned missed;  /* pages that found no room since the last purge */
	uint64_t maps, purged;
};

/* limit 0: nothing is kept. `budget` is borrowed; NULL: nobody else's need counts. */
int sr_persistent_init(struct sr_persistent *p, struct sr_gnttab *gt, uint16_t domid,
		       unsigned limit, struct sr_grant_budget *budget);
/* Unmaps all; nothing is in use. A zeroed one is fine. */
void sr_persistent_destroy(struct sr_persistent *p);

static inline uint32_t sr_persistent_home(const struct sr_persistent *p, uint32_t ref)
{
	return ref * p->multiplier >> p->shift;
}

static inline void sr_persistent_prefetch(const struct sr_persistent *p, uint32_t ref)
{
	uint32_t home = sr_persistent_home(p, ref);

	__builtin_prefetch(&p->refs[home]);
	__builtin_prefetch(&p->addrs[home]);
}

/* Maps `ref` for writing and keeps it. SR_PERSISTENT_NONE: not possible, *addr is not set. */
uint32_t sr_persistent_add(struct sr_persistent *p, uint32_t ref, void **addr);

/*
 * The place of `ref`, mapped if it was not, and in use until sr_persistent_put(); *addr is its
 * page. SR_PERSISTENT_NONE: it can't be kept.
 */
static inline uint32_t sr_persistent_get(struct sr_persistent *p, uint32_t ref, void **addr)
{
	uint32_t i = sr_persistent_home(p, ref);

	for (unsigned n = 0; n < SR_PERSISTENT_PROBES; n++, i = (i + 1) & p->mask) {
		if (p->refs[i] != ref || !p->addrs[i])
			continue;
		p->used[i] = p->tick;
		p->in_use[i]++;
		*addr = p->addrs[i];
		return i;
	}
	return sr_persistent_add(p, ref, addr);
}

/* Unmaps it if nobody uses it. */
void sr_persistent_shed(struct sr_persistent *p, uint32_t place);

static inline void sr_persistent_put(struct sr_persistent *p, uint32_t place)
{
	p->in_use[place]--;
	/* Only after the limit was lowered while all were in use. */
	if (p->count > p->limit)
		sr_persistent_shed(p, place);
}

#endif
