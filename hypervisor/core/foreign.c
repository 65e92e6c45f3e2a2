/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct sr_foreigns {
	pthread_mutex_t lock;
	sr_fetch_domain *fetch;
	void *ctx;
	struct sr_foreign *by_domid[DOMID_FIRST_RESERVED];
};

static int map_fd(int fd, size_t size, void **out)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((size_t)st.st_size < size)
		return -EINVAL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

static size_t mem_map_size(const struct sr_foreign *view)
{
	size_t size = (size_t)view->nr_pages << SR_PAGE_SHIFT;
	size_t huge = 2u << 20;

	return view->hugetlb ? (size + huge - 1) & ~(huge - 1) : size;
}

static void foreign_unmap(struct sr_foreign *view)
{
	if (view->mem)
		munmap(view->mem, mem_map_size(view));
	if (view->table)
		munmap(view->table, sr_table_size(view->max_frames));
	if (view->header)
		munmap(view->header, sr_active_size(view->max_frames));
	if (view->mem_fd >= 0)
		close(view->mem_fd);
	free(view);
}

/* The header says how large all the rest is, so it is mapped alone first. */
static int map_header(struct sr_foreign *view, int fd)
{
	struct sr_active_header *h;
	void *p;
	int ret;

	ret = map_fd(fd, SR_PAGE_SIZE, &p);
	if (ret < 0)
		return ret;
	h = p;
	view->nr_pages = h->nr_pages;
	view->max_frames = h->max_frames;
	view->hugetlb = h->hugetlb;
	ret = h->magic == SR_ACTIVE_MAGIC && h->domid == view->domid ? 0 : -EINVAL;
	munmap(p, SR_PAGE_SIZE);
	if (ret < 0)
		return ret;
	ret = map_fd(fd, sr_active_size(view->max_frames), &p);
	if (ret < 0)
		return ret;
	view->header = p;
	view->active = (struct sr_active *)((uint8_t *)p + SR_PAGE_SIZE);
	return 0;
}

int sr_foreign_open(uint16_t domid, struct sr_domain_fds *fds, struct sr_foreign **out)
{
	struct sr_foreign *view = calloc(1, sizeof(*view));
	void *p;
	int ret = -ENOMEM;

	if (!view)
		goto out;
	view->domid = domid;
	view->refs = 1;
	view->mem_fd = -1;
	ret = map_header(view, fds->active);
	if (ret < 0)
		goto out;
	ret = map_fd(fds->table, sr_table_size(view->max_frames), &p);
	if (ret < 0)
		goto out;
	view->table = p;
	view->status_base = view->table + sr_table_status_offset(view->max_frames);
	ret = map_fd(fds->mem, mem_map_size(view), &p);
	if (ret < 0)
		goto out;
	view->mem = p;
	/* Fewer TLB misses where the system has huge pages for shared memory; a wish only. */
	if (!view->hugetlb)
		madvise(view->mem, mem_map_size(view), MADV_HUGEPAGE);
	view->mem_fd = fds->mem;
	fds->mem = -1;
	*out = view;
	view = NULL;
out:
	if (view)
		foreign_unmap(view);
	sr_domain_fds_close(fds);
	return ret;
}

int sr_foreigns_create(sr_fetch_domain *fetch, void *ctx, struct sr_foreigns **out)
{
	struct sr_foreigns *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	pthread_mutex_init(&set->lock, NULL);
	set->fetch = fetch;
	set->ctx = ctx;
	*out = set;
	return 0;
}

/* No view has a reference left by contract, and the last one to go frees it. */
void sr_foreigns_destroy(struct sr_foreigns *set)
{
	if (!set)
		return;
	pthread_mutex_destroy(&set->lock);
	free(set);
}

void sr_foreigns_insert(struct sr_foreigns *set, struct sr_foreign *view)
{
	pthread_mutex_lock(&set->lock);
	set->by_domid[view->domid] = view;
	pthread_mutex_unlock(&set->lock);
}

void sr_foreign_ref(struct sr_foreigns *set, struct sr_foreign *view)
{
	pthread_mutex_lock(&set->lock);
	view->refs++;
	pthread_mutex_unlock(&set->lock);
}

int sr_foreign_get(struct sr_foreigns *set, uint16_t domid, struct sr_foreign **out)
{
	struct sr_domain_fds fds = { -1, -1, -1 };
	struct sr_foreign **slot;
	int ret = 0;

	if (domid >= DOMID_FIRST_RESERVED)
		return -ESRCH;
	slot = &set->by_domid[domid];
	pthread_mutex_lock(&set->lock);
	if (*slot && sr_foreign_dead(*slot))
		*slot = NULL; /* who still holds it has its own reference */
	if (*slot) {
		(*slot)->refs++;
	} else {
		ret = set->fetch(set->ctx, domid, &fds);
		if (ret == 0)
			ret = sr_foreign_open(domid, &fds, slot);
	}
	if (ret == 0)
		*out = *slot;
	pthread_mutex_unlock(&set->lock);
	return ret;
}

void sr_foreign_put(struct sr_foreigns *set, struct sr_foreign *view)
{
	bool last;

	pthread_mutex_lock(&set->lock);
	last = --view->refs == 0;
	if (last && set->by_domid[view->domid] == view)
		set->by_domid[view->domid] = NULL;
	pthread_mutex_unlock(&set->lock);
	if (last)
		foreign_unmap(view);
}
