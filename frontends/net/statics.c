/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Pages that the backend keeps mapped for a queue, so that it needs no grant operation a packet. */

#define LIST_PAGE (SR_PAGE_SIZE / sizeof(struct xen_netif_gref)) /* entries of a message */

static size_t fill_list(struct sr_netfront *f, const struct sr_net_region *r,
			const struct sr_net_static *s, size_t first)
{
	struct xen_netif_gref *list = f->ctrl.scratch;
	size_t n = s->pages - first;

	if (n > LIST_PAGE)
		n = LIST_PAGE;
	for (size_t i = 0; i < n; i++) {
		list[i] = (struct xen_netif_gref){
			.ref = sr_net_region_ref(r, s->addr + ((first + i) << SR_PAGE_SHIFT)),
		};
	}
	return n;
}

/* The first `pages` of it. 0, or -EBUSY where the backend says that some are still mapped. */
static int unmap(struct sr_netfront *f, const struct sr_net_static *s, size_t pages)
{
	const struct sr_net_region *r = sr_net_region_search(f, s->addr, s->pages << SR_PAGE_SHIFT);
	int rc = 0;

	for (size_t at = 0, n; at < pages; at += n) {
		uint32_t args[3] = { s->queue, f->ctrl.scratch_ref, 0 }, unmapped;
		int err;

		n = fill_list(f, r, s, at);
		if (n > pages - at)
			n = pages - at;
		args[2] = (uint32_t)n;
		err = sr_net_ctrl_call(f, XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING, args, &unmapped);
		if (!err && unmapped != n)
			err = -EBUSY;
		rc = rc ? rc : err;
	}
	return rc;
}

static int map(struct sr_netfront *f, const struct sr_net_static *s)
{
	const struct sr_net_region *r = sr_net_region_search(f, s->addr, s->pages << SR_PAGE_SHIFT);
	int rc = 0;

	for (size_t at = 0, n; !rc && at < s->pages; at += n) {
		uint32_t args[3] = { s->queue, f->ctrl.scratch_ref, 0 };

		n = fill_list(f, r, s, at);
		args[2] = (uint32_t)n;
		rc = sr_net_ctrl_call(f, XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING, args, NULL);
		if (rc && at)
			(void)unmap(f, s, at);
	}
	return rc;
}

static int limit(struct sr_netfront *f, unsigned queue, uint32_t *pages)
{
	uint32_t args[3] = { queue, 0, 0 };

	return sr_net_ctrl_call(f, XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE, args, pages);
}

unsigned sr_netfront_static_limit(struct sr_netfront *f, unsigned queue)
{
	uint32_t pages = 0;
	int rc;

	pthread_mutex_lock(&f->ctrl.lock);
	rc = limit(f, queue, &pages);
	pthread_mutex_unlock(&f->ctrl.lock);
	return rc ? 0 : pages;
}

/* May it be added to what is mapped? */
static int check_room(struct sr_netfront *f, const struct sr_net_static *s)
{
	uint64_t pages = s->pages;
	uint32_t most;
	int rc;

	for (const struct sr_net_static *o = f->statics; o; o = o->next) {
		if (o->queue != s->queue)
			continue;
		if (s->addr < o->addr + (o->pages << SR_PAGE_SHIFT) &&
		    o->addr < s->addr + (s->pages << SR_PAGE_SHIFT))
			return -EEXIST;
		pages += o->pages;
	}
	rc = limit(f, s->queue, &most);
	if (rc)
		return rc;
	return pages > most ? -ENOSPC : 0;
}

int sr_netfront_static_map(struct sr_netfront *f, unsigned queue, void *addr, size_t bytes)
{
	uintptr_t in_page = (uintptr_t)addr % SR_PAGE_SIZE;
	struct sr_net_static *s;
	int rc;

	if (!bytes || queue >= f->info.queues || !sr_net_region_search(f, addr, bytes))
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->queue = queue;
	s->addr = (uint8_t *)addr - in_page;
	s->pages = (in_page + bytes + SR_PAGE_SIZE - 1) >> SR_PAGE_SHIFT;
	pthread_mutex_lock(&f->ctrl.lock);
	rc = check_room(f, s);
	if (!rc)
		rc = map(f, s);
	if (!rc) {
		s->next = f->statics;
		f->statics = s;
		s = NULL;
	}
	pthread_mutex_unlock(&f->ctrl.lock);
	free(s);
	return rc;
}

int sr_netfront_static_unmap(struct sr_netfront *f, unsigned queue, void *addr, size_t bytes)
{
	uintptr_t in_page = (uintptr_t)addr % SR_PAGE_SIZE;
	size_t pages = (in_page + bytes + SR_PAGE_SIZE - 1) >> SR_PAGE_SHIFT;
	int rc = -EINVAL;

	pthread_mutex_lock(&f->ctrl.lock);
	for (struct sr_net_static **p = &f->statics; *p; p = &(*p)->next) {
		struct sr_net_static *s = *p;

		if (s->queue != queue || s->addr != (uint8_t *)addr - in_page || s->pages != pages)
			continue;
		rc = unmap(f, s, s->pages);
		*p = s->next;
		free(s);
		break;
	}
	pthread_mutex_unlock(&f->ctrl.lock);
	return rc;
}

void sr_net_statics_restore(struct sr_netfront *f)
{
	struct sr_net_static **p = &f->statics;

	while (*p) {
		struct sr_net_static *s = *p;

		if (s->queue < f->info.queues && !map(f, s)) {
			p = &s->next;
			continue;
		}
		/* This backend doesn't: it works without. */
		*p = s->next;
		free(s);
	}
}

void sr_net_statics_free(struct sr_netfront *f)
{
	while (f->statics) {
		struct sr_net_static *s = f->statics;

		f->statics = s->next;
		free(s);
	}
}
