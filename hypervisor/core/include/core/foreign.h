/* SPDX-License-Identifier: MIT */
/*
 * Views of other domains: their memory, grant table and active entries, mapped into this
 * process. A set of views is shared by all connections (and threads) of a process.
 */
#ifndef SR_CORE_FOREIGN_H
#define SR_CORE_FOREIGN_H

#include <core/layout.h>

/* File descriptors of one domain; the receiver owns them. */
struct sr_domain_fds {
	int mem;
	int table;
	int active;
};

/*
 * One domain as seen from here. All pointers stay valid as long as a reference is held,
 * also after the domain's death.
 */
struct sr_foreign {
	uint16_t domid;
	uint32_t refs; /* under the set's lock */
	int mem_fd;    /* for single-page mappings */
	uint8_t *mem;  /* the whole memory, read-write */
	uint8_t *table;
	uint8_t *status_base; /* v2 status frames, inside table */
	struct sr_active_header *header;
	struct sr_active *active;
	/* Copies of header fields which never change. */
	uint64_t nr_pages;
	uint32_t max_frames;
	uint32_t hugetlb;
};

struct sr_foreigns;

/*
 * Obtain the descriptors of `domid`. 0, or -ESRCH when there is no such domain, or another
 * -errno. Called under the set's lock, from whichever thread first needs the domain.
 */
typedef int sr_fetch_domain(void *ctx, uint16_t domid, struct sr_domain_fds *fds);

int sr_foreigns_create(sr_fetch_domain *fetch, void *ctx, struct sr_foreigns **out);

/* No connection may use the set any more. */
void sr_foreigns_destroy(struct sr_foreigns *set);

/*
 * Take a reference on the view of `domid`, opening it if need be. A view of a dead domain is
 * never returned: it is forgotten and fetched anew, since its number may belong to a new
 * domain by now. -ESRCH: no such (living) domain. Any thread.
 */
int sr_foreign_get(struct sr_foreigns *set, uint16_t domid, struct sr_foreign **out);

/* Drop a reference; the last one unmaps. Any thread. */
void sr_foreign_put(struct sr_foreigns *set, struct sr_foreign *view);

/* The whole frame, or NULL when the domain has no such frame. */
static inline uint8_t *sr_foreign_page(const struct sr_foreign *view, uint64_t gfn)
{
	return gfn < view->nr_pages ? view->mem + (gfn << SR_PAGE_SHIFT) : NULL;
}

static inline int sr_foreign_dead(const struct sr_foreign *view)
{
	return atomic_load_explicit(&view->header->dead, memory_order_acquire) != 0;
}

#endif
