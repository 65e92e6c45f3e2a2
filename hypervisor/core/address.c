/* SPDX-License-Identifier: MIT */
/*
 * Mappings by address. A direct map is an address in the view of the granter's whole memory, found
 * again by its frame. So a frame can be mapped directly once by a connection; a second map of it,
 * perhaps through another reference or with another protection, gets addresses of its own, as has
 * everything strict: else its unmap could not tell which of the two is meant.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

/* A map at addresses of its own. */
struct sr_area {
	struct sr_area *next;
	uint8_t *addr;
	uint32_t count;
	uint32_t handles[];
};

#define SMALL_MAP 32u

static struct sr_area **area_bucket(struct sr_conn *conn, const void *addr)
{
	uintptr_t page = (uintptr_t)addr >> SR_PAGE_SHIFT;

	return &conn->areas[(page ^ (page >> 8)) % SR_AREA_BUCKETS];
}

static int status_to_errno(int16_t status)
{
	switch (status) {
	case GNTST_bad_domain:
		return -ESRCH;
	case GNTST_no_space:
		return -ENOSPC;
	case GNTST_eagain:
		return -EAGAIN;
	default:
		return -EINVAL;
	}
}

static void unmap_handles(struct sr_conn *conn, const uint32_t *handles, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		sr_unmap_one(conn, handles[i]);
}

/* All or nothing; `handles` is filled on success. The first error is the one returned. */
static int map_handles(struct sr_conn *conn, uint16_t domid, const uint32_t *refs, uint32_t count,
		       uint16_t flags, int16_t *status, uint32_t *handles)
{
	uint32_t done = 0;
	int ret = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct sr_grant_map op = { .dom = domid, .ref = refs[i], .flags = flags };

		sr_map_one(conn, &op);
		if (status)
			status[i] = op.status;
		if (op.status == GNTST_okay)
			handles[done++] = op.handle;
		else if (ret == 0)
			ret = status_to_errno(op.status);
		if (ret < 0 && !status)
			break;
	}
	if (ret < 0)
		unmap_handles(conn, handles, done);
	return ret;
}

/* The direct slots of a domain. Untouched ones cost nothing. */
static struct sr_direct *direct_slots(struct sr_held *held)
{
	void *p;

	if (held->direct)
		return held->direct;
	p = mmap(NULL, held->view->nr_pages * sizeof(struct sr_direct), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p != MAP_FAILED)
		held->direct = p;
	return held->direct;
}

static void *map_direct(struct sr_conn *conn, struct sr_held *held, const uint32_t *handles,
			uint32_t count)
{
	struct sr_direct *slots = direct_slots(held);
	uint32_t first = conn->track[handles[0]].frame;

	if (!slots)
		return NULL;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t frame = conn->track[handles[i]].frame;

		if (frame != first + i || slots[frame].handle)
			return NULL;
	}
	for (uint32_t i = 0; i < count; i++) {
		slots[first + i].handle = handles[i] + 1;
		slots[first + i].span = i ? 0 : count;
	}
	return held->view->mem + ((size_t)first << SR_PAGE_SHIFT);
}

static int mmap_pages(struct sr_conn *conn, const struct sr_foreign *view, uint8_t *addr, int prot,
		      const uint32_t *handles, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		off_t off = (off_t)conn->track[handles[i]].frame << SR_PAGE_SHIFT;

		if (mmap(addr + (size_t)i * SR_PAGE_SIZE, SR_PAGE_SIZE, prot,
			 MAP_SHARED | MAP_FIXED, view->mem_fd, off) == MAP_FAILED)
			return -errno;
	}
	return 0;
}

static int map_area(struct sr_conn *conn, const struct sr_foreign *view, int prot,
		    const uint32_t *handles, uint32_t count, void **addr)
{
	size_t size = (size_t)count * SR_PAGE_SIZE;
	struct sr_area *area, **bucket;
	void *p;
	int ret;

	if (view->hugetlb)
		return -EOPNOTSUPP;
	area = malloc(sizeof(*area) + count * sizeof(area->handles[0]));
	if (!area)
		return -ENOMEM;
	p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		free(area);
		return -ENOMEM;
	}
	ret = mmap_pages(conn, view, p, prot, handles, count);
	if (ret < 0) {
		munmap(p, size);
		free(area);
		return ret;
	}
	area->addr = p;
	area->count = count;
	for (uint32_t i = 0; i < count; i++)
		area->handles[i] = handles[i];
	bucket = area_bucket(conn, p);
	area->next = *bucket;
	*bucket = area;
	*addr = p;
	return 0;
}

int sr_conn_map(struct sr_conn *conn, uint16_t domid, const uint32_t *refs, uint32_t count,
		uint32_t flags, int16_t *status, void **addr)
{
	uint16_t map_flags = flags & SR_MAP_READONLY ? GNTMAP_readonly : 0;
	int prot = flags & SR_MAP_READONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	uint32_t small[SMALL_MAP], *handles = small;
	struct sr_held *held;
	void *p = NULL;
	int ret;

	if (count == 0)
		return -EINVAL;
	if (count > conn->capacity)
		return -ENOSPC;
	if (count > SMALL_MAP) {
		handles = malloc(count * sizeof(*handles));
		if (!handles)
			return -ENOMEM;
	}
	ret = map_handles(conn, domid, refs, count, map_flags, status, handles);
	if (ret == 0) {
		held = &conn->held[domid];
		if (!(flags & SR_MAP_STRICT))
			p = map_direct(conn, held, handles, count);
		if (!p)
			ret = map_area(conn, held->view, prot, handles, count, &p);
		if (ret < 0)
			unmap_handles(conn, handles, count);
		else
			*addr = p;
	}
	if (handles != small)
		free(handles);
	return ret;
}

static struct sr_held *held_by_addr(struct sr_conn *conn, const uint8_t *addr)
{
	for (uint16_t d = conn->first_held; d != SR_HELD_END; d = conn->held[d].next) {
		const struct sr_foreign *view = conn->held[d].view;

		if (addr >= view->mem && addr < view->mem + (view->nr_pages << SR_PAGE_SHIFT))
			return &conn->held[d];
	}
	return NULL;
}

static int unmap_direct(struct sr_conn *conn, struct sr_held *held, const uint8_t *addr,
			uint32_t count)
{
	uint64_t frame = (uint64_t)(addr - held->view->mem) >> SR_PAGE_SHIFT;
	struct sr_direct *slots = held->direct;
	int ret = 0;

	if (!slots || slots[frame].span != count)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		if (sr_unmap_one(conn, slots[frame + i].handle - 1) != GNTST_okay)
			ret = -EAGAIN;
		slots[frame + i].handle = slots[frame + i].span = 0;
	}
	return ret;
}

static int unmap_area(struct sr_conn *conn, struct sr_area **link)
{
	struct sr_area *area = *link;
	int ret = 0;

	/* First the addresses, then the pins: nobody may reach a page that is not pinned. */
	munmap(area->addr, (size_t)area->count * SR_PAGE_SIZE);
	for (uint32_t i = 0; i < area->count; i++)
		if (sr_unmap_one(conn, area->handles[i]) != GNTST_okay)
			ret = -EAGAIN;
	*link = area->next;
	free(area);
	return ret;
}

int sr_conn_unmap(struct sr_conn *conn, void *addr, uint32_t count)
{
	struct sr_held *held;
	struct sr_area **link;

	if (count == 0 || (uintptr_t)addr & (SR_PAGE_SIZE - 1))
		return -EINVAL;
	held = held_by_addr(conn, addr);
	if (held)
		return unmap_direct(conn, held, addr, count);
	for (link = area_bucket(conn, addr); *link; link = &(*link)->next)
		if ((*link)->addr == addr)
			return (*link)->count == count ? unmap_area(conn, link) : -EINVAL;
	return -EINVAL;
}

void sr_conn_unmap_areas(struct sr_conn *conn)
{
	for (unsigned i = 0; i < SR_AREA_BUCKETS; i++)
		while (conn->areas[i])
			unmap_area(conn, &conn->areas[i]);
}

int sr_conn_region(struct sr_conn *conn, uint16_t domid, void **base, size_t *len)
{
	struct sr_foreign *view = sr_conn_view(conn, domid);

	if (!view)
		return -ESRCH;
	*base = view->mem;
	*len = (size_t)view->nr_pages << SR_PAGE_SHIFT;
	return 0;
}
