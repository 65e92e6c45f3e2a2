/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdlib.h>

/* Pages of the pool for requests whose memory the backend can't reach. */
#define POOL_PAGES 1024u

static bool grants_pages(const struct sr_blkfront_queue *q)
{
	return !q->front->info.grants_are_permanent;
}

int sr_front_region_new(struct sr_blkfront_queue *q, size_t bytes, struct sr_front_region **region)
{
	size_t pages = (bytes + SR_PAGE_SIZE - 1) >> SR_PAGE_SHIFT;
	struct sr_front_region *r;
	void *addr;
	int rc;

	if (pages == 0 || pages > UINT32_MAX >> SR_PAGE_SHIFT)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	if (grants_pages(q)) {
		rc = sr_gntshr_alloc(q->gs, (unsigned)pages, &addr);
	} else {
		r->refs = calloc(pages, sizeof(*r->refs));
		rc = r->refs ? 0 : -ENOMEM;
		/* Writable, even if only writes will use it: persistent grants have to be. */
		if (!rc)
			rc = sr_gntshr_share(q->gs, q->front->info.backend_domid, (unsigned)pages,
					     true, r->refs, &addr);
	}
	if (rc) {
		free(r->refs);
		free(r);
		return rc;
	}
	r->base = addr;
	r->bytes = pages << SR_PAGE_SHIFT;
	*region = r;
	return 0;
}

int sr_front_region_free(struct sr_blkfront_queue *q, struct sr_front_region *region)
{
	unsigned pages = (unsigned)(region->bytes >> SR_PAGE_SHIFT);
	int rc;

	if (region->refs)
		rc = sr_gntshr_unshare(q->gs, region->base, pages);
	else
		rc = sr_gntshr_free(q->gs, region->base, pages);
	if (rc)
		return rc;
	if (q->region == region)
		q->region = NULL;
	free(region->refs);
	free(region);
	return 0;
}

static bool region_holds(const struct sr_front_region *r, const void *addr, size_t bytes)
{
	size_t at = (size_t)((const uint8_t *)addr - r->base);

	return at < r->bytes && bytes <= r->bytes - at;
}

struct sr_front_region *sr_front_region_find(struct sr_blkfront_queue *q, const void *addr,
					     size_t bytes)
{
	if (q->region && region_holds(q->region, addr, bytes))
		return q->region;
	for (struct sr_front_region *r = q->regions; r; r = r->next) {
		if (region_holds(r, addr, bytes)) {
			q->region = r;
			return r;
		}
	}
	return NULL;
}

int sr_front_grant(struct sr_blkfront_queue *q, struct sr_front_region *region, void *addr,
		   bool writable, uint32_t *grants, uint16_t *count, uint32_t *ref)
{
	int rc;

	if (region->refs) {
		*ref = region->refs[(size_t)((uint8_t *)addr - region->base) >> SR_PAGE_SHIFT];
		return 0;
	}
	rc = sr_gntshr_grant(q->gs, q->front->info.backend_domid, addr, writable, ref);
	if (!rc)
		grants[(*count)++] = *ref;
	return rc;
}

int sr_blkfront_alloc(struct sr_blkfront_queue *q, size_t bytes, void **addr)
{
	struct sr_front_region *region;
	int rc = sr_front_region_new(q, bytes, &region);

	if (rc)
		return rc;
	region->next = q->regions;
	q->regions = region;
	*addr = region->base;
	return 0;
}

int sr_blkfront_free(struct sr_blkfront_queue *q, void *addr)
{
	for (struct sr_front_region **r = &q->regions; *r; r = &(*r)->next) {
		struct sr_front_region *region = *r, *next = region->next;
		int rc;

		if (region->base != addr)
			continue;
		rc = sr_front_region_free(q, region);
		if (!rc)
			*r = next;
		return rc;
	}
	return -EINVAL;
}

/* Enough for a full ring of small requests, and for one of the largest. */
static uint32_t pool_size(const struct sr_blkfront_info *info)
{
	uint32_t pages = info->ring_size * BLKIF_MAX_SEGMENTS_PER_REQUEST;

	if (pages > POOL_PAGES)
		pages = POOL_PAGES;
	return pages < info->max_segments ? info->max_segments : pages;
}

int sr_front_pool_new(struct sr_blkfront_queue *q)
{
	const struct sr_blkfront_info *info = &q->front->info;
	uint32_t pages = pool_size(info);
	int rc = -ENOMEM;

	q->pool_free = calloc(pages, sizeof(*q->pool_free));
	q->pool_used = calloc((size_t)info->ring_size * info->max_segments, sizeof(*q->pool_used));
	q->bounces = calloc(info->ring_size, sizeof(*q->bounces));
	if (q->pool_free && q->pool_used && q->bounces)
		rc = sr_front_region_new(q, (size_t)pages << SR_PAGE_SHIFT, &q->pool);
	if (rc) {
		free(q->pool_free);
		free(q->pool_used);
		free(q->bounces);
		q->pool_free = q->pool_used = NULL;
		q->bounces = NULL;
		return rc;
	}
	for (uint32_t i = 0; i < pages; i++)
		q->pool_free[i] = pages - 1 - i;
	q->pool_free_count = pages;
	return 0;
}

int sr_front_indirect_new(struct sr_blkfront_queue *q)
{
	const struct sr_blkfront_info *info = &q->front->info;
	unsigned pages = sr_blkif_indirect_pages(info->max_segments);
	unsigned total = pages * info->ring_size;
	void *addr;
	int rc;

	q->indirect_refs = calloc(total, sizeof(*q->indirect_refs));
	if (!q->indirect_refs)
		return -ENOMEM;
	/* Granted for good in every mode: the backend can learn and change nothing but segments. */
	rc = sr_gntshr_share(q->gs, info->backend_domid, total, true, q->indirect_refs, &addr);
	if (rc) {
		free(q->indirect_refs);
		q->indirect_refs = NULL;
		return rc;
	}
	q->indirect = addr;
	q->indirect_pages = pages;
	return 0;
}

/* What the backend doesn't let go of is left to sr_gntshr_close(). */
void sr_front_memory_free(struct sr_blkfront_queue *q)
{
	while (q->regions) {
		struct sr_front_region *region = q->regions;

		q->regions = region->next;
		if (sr_front_region_free(q, region)) {
			free(region->refs);
			free(region);
		}
	}
	if (q->pool && sr_front_region_free(q, q->pool)) {
		free(q->pool->refs);
		free(q->pool);
	}
	if (q->indirect)
		(void)sr_gntshr_unshare(q->gs, q->indirect,
					q->indirect_pages * q->front->info.ring_size);
	free(q->indirect_refs);
	free(q->pool_free);
	free(q->pool_used);
	free(q->bounces);
}

void sr_front_advance(struct sr_front_cursor *at, size_t bytes)
{
	at->offset += bytes;
	at->left -= bytes;
	at->pos += bytes;
	while (at->left && at->pos >= at->iov->iov_len) {
		at->pos -= at->iov->iov_len;
		at->iov++;
	}
}

void sr_front_copy(struct sr_front_cursor *at, uint8_t *memory, size_t bytes, bool to_memory)
{
	while (bytes) {
		uint8_t *p = (uint8_t *)at->iov->iov_base + at->pos;
		size_t n = at->iov->iov_len - at->pos;

		if (n > bytes)
			n = bytes;
		if (to_memory)
			memcpy(memory, p, n);
		else
			memcpy(p, memory, n);
		memory += n;
		bytes -= n;
		sr_front_advance(at, n);
	}
}
