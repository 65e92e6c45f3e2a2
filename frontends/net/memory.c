/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

int sr_net_share_page(struct sr_netfront *f, uint32_t *ref, void **page)
{
	int rc;

	pthread_mutex_lock(&f->memory_lock);
	rc = sr_gntshr_share(f->gs, f->info.backend_domid, 1, true, ref, page);
	pthread_mutex_unlock(&f->memory_lock);
	if (rc)
		*page = NULL;
	return rc;
}

void sr_net_unshare_page(struct sr_netfront *f, void *page)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	int rc = -EBUSY;

	for (unsigned i = 0; page && rc == -EBUSY && i < 200; i++) {
		if (i)
			nanosleep(&nap, NULL);
		pthread_mutex_lock(&f->memory_lock);
		rc = sr_gntshr_unshare(f->gs, page, 1);
		pthread_mutex_unlock(&f->memory_lock);
	}
}

/* A reference that was ended may be another page's next: it is forgotten at once. */
static void end_grants(struct sr_netfront *f, struct sr_net_region *r)
{
	for (size_t i = 0; i < r->bytes >> SR_PAGE_SHIFT; i++) {
		if (r->refs[i])
			(void)sr_gntshr_end(f->gs, r->refs[i]);
		r->refs[i] = 0;
	}
}

static int grant_pages(struct sr_netfront *f, struct sr_net_region *r)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < r->bytes >> SR_PAGE_SHIFT; i++)
		rc = sr_gntshr_grant(f->gs, f->granted_to, r->base + (i << SR_PAGE_SHIFT), true,
				     &r->refs[i]);
	if (rc)
		end_grants(f, r);
	return rc;
}

static int region_fill(struct sr_netfront *f, struct sr_net_region *r)
{
	unsigned pages = (unsigned)(r->bytes >> SR_PAGE_SHIFT);
	void *addr;
	int rc;

	if (!r->by_page) {
		rc = sr_gntshr_share(f->gs, f->granted_to, pages, true, r->refs, &addr);
		r->base = rc ? NULL : addr;
		return rc;
	}
	rc = sr_gntshr_alloc(f->gs, pages, &addr);
	if (rc)
		return rc;
	r->base = addr;
	rc = grant_pages(f, r);
	if (rc)
		(void)sr_gntshr_free(f->gs, addr, pages);
	return rc;
}

int sr_net_region_new(struct sr_netfront *f, size_t bytes, struct sr_net_region **region)
{
	size_t pages = (bytes >> SR_PAGE_SHIFT) + (bytes % SR_PAGE_SIZE != 0);
	struct sr_net_region *r;
	int rc;

	if (pages == 0 || pages > UINT32_MAX >> SR_PAGE_SHIFT)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->bytes = pages << SR_PAGE_SHIFT;
	r->by_page = sr_hv_caps(f->bus.hv) & SR_CAP_GRANT_PAGES;
	r->refs = calloc(pages, sizeof(*r->refs));
	pthread_mutex_lock(&f->memory_lock);
	rc = r->refs ? region_fill(f, r) : -ENOMEM;
	if (!rc) {
		r->next = atomic_load_explicit(&f->regions, memory_order_relaxed);
		/* Release: queues look for addresses without the lock. */
		atomic_store_explicit(&f->regions, r, memory_order_release);
	}
	pthread_mutex_unlock(&f->memory_lock);
	if (rc) {
		free(r->refs);
		free(r);
		return rc;
	}
	*region = r;
	return 0;
}

int sr_netfront_memory(struct sr_netfront *f, size_t bytes, void **addr)
{
	struct sr_net_region *r;
	int rc = sr_net_region_new(f, bytes, &r);

	if (!rc)
		*addr = r->base;
	return rc;
}

struct sr_net_region *sr_net_region_search(struct sr_netfront *f, const void *addr, size_t bytes)
{
	struct sr_net_region *r = atomic_load_explicit(&f->regions, memory_order_acquire);

	while (r && !sr_net_region_holds(r, addr, bytes))
		r = r->next;
	return r;
}

static int regrant(struct sr_netfront *f)
{
	struct sr_net_region *r;
	int rc = 0;

	for (r = f->regions; r; r = r->next) {
		if (!r->by_page)
			return -ENOTSUP;
	}
	f->granted_to = f->info.backend_domid;
	for (r = f->regions; r && !rc; r = r->next) {
		/* What the old one still maps stays granted to it; it is gone, or will be. */
		end_grants(f, r);
		rc = grant_pages(f, r);
	}
	if (rc)
		f->granted_to = DOMID_INVALID; /* to be tried again */
	return rc;
}

int sr_net_regrant(struct sr_netfront *f)
{
	int rc = 0;

	pthread_mutex_lock(&f->memory_lock);
	if (!f->regions)
		f->granted_to = f->info.backend_domid;
	else if (f->granted_to != f->info.backend_domid)
		rc = regrant(f);
	pthread_mutex_unlock(&f->memory_lock);
	return rc ? sr_frontbus_fail(&f->bus, rc, "can't grant our memory to domain %u",
				     f->info.backend_domid)
		  : 0;
}

/* What the backend doesn't let go of is left to sr_gntshr_close(). */
void sr_net_memory_free(struct sr_netfront *f)
{
	struct sr_net_region *r = f->regions, *next;

	for (; r; r = next) {
		unsigned pages = (unsigned)(r->bytes >> SR_PAGE_SHIFT);

		next = r->next;
		if (r->by_page) {
			end_grants(f, r);
			(void)sr_gntshr_free(f->gs, r->base, pages);
		} else {
			(void)sr_gntshr_unshare(f->gs, r->base, pages);
		}
		free(r->refs);
		free(r);
	}
	f->regions = NULL;
	if (f->gs)
		sr_gntshr_close(f->gs);
	f->gs = NULL;
}
