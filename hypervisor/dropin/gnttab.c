/* SPDX-License-Identifier: MIT */
/* libxengnttab, the half that uses other domains' grants. Errors are those of Linux's gntdev. */
#include <embedded/notify.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xengnttab.h>

#include "window.h"

_Static_assert(sizeof(struct sr_copy_segment) == sizeof(xengnttab_grant_copy_segment_t) &&
		   offsetof(struct sr_copy_segment, dest) ==
		       offsetof(xengnttab_grant_copy_segment_t, dest) &&
		   offsetof(struct sr_copy_segment, status) ==
		       offsetof(xengnttab_grant_copy_segment_t, status) &&
		   offsetof(union sr_copy_ptr, foreign.domid) ==
		       offsetof(union xengnttab_copy_ptr, foreign.domid) &&
		   (int)SR_COPY_SOURCE_GREF == GNTCOPY_source_gref &&
		   (int)SR_COPY_DEST_GREF == GNTCOPY_dest_gref,
	       "one layout");

xengnttab_handle *xengnttab_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	return sr_grants_open(logger, false);
}

int xengnttab_close(xengnttab_handle *xgt)
{
	return sr_grants_close(xgt);
}

int xengnttab_fd(xengnttab_handle *xgt)
{
	return xgt->fd;
}

int xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t nr_grants)
{
	return 0; /* as on Linux: nothing is set aside */
}

/* --- map and unmap --------------------------------------------------------------------------- */

/* The program sees it no more. */
static void let_go(xengnttab_handle *xgt, struct window *w)
{
	if (w->told)
		sr_em_gnttab_fire(xgt->gt, w->notice);
	for (unsigned i = 0; i < w->parts; i++)
		sr_gnttab_unmap(xgt->gt, w->part[i], 1);
	free(w);
}

static int map_page(xengnttab_handle *xgt, struct window *w, uint32_t domid, uint32_t ref, int prot)
{
	int err;

	if (domid > UINT16_MAX)
		return -EINVAL;
	prot = prot & PROT_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
	err = sr_gnttab_map(xgt->gt, (uint16_t)domid, &ref, 1, prot, &w->part[w->parts]);
	if (err)
		return err;
	w->parts++;
	return sr_window_show(w, w->parts - 1, w->part[w->parts - 1], 1);
}

/* gntdev tells no reasons but the lack of memory, and whether it is for us to map at all. */
static int map_error(int err)
{
	return err == -EPERM || err == -ENOMEM ? err : -EINVAL;
}

/* What is to be mapped. */
struct wish {
	uint32_t count;
	const uint32_t *domids;
	unsigned stride; /* 1: each page has a domain of its own; 0: one for all */
	const uint32_t *refs;
	int prot;
	uint32_t offset, port; /* of a notification for a single page; UINT32_MAX: none */
};

static int map_pages(xengnttab_handle *xgt, struct window *w, const struct wish *wish)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < wish->count; i++)
		err = map_page(xgt, w, wish->domids[i * wish->stride], wish->refs[i], wish->prot);
	if (!err && wish->prot != (PROT_READ | PROT_WRITE) &&
	    mprotect(w->addr, (size_t)wish->count << SR_PAGE_SHIFT, wish->prot))
		err = -errno;
	/* gntdev clears a byte for those only who could have done so. */
	if (!err && wish->offset != UINT32_MAX && !(wish->prot & PROT_WRITE))
		err = -EINVAL;
	if (!err && (wish->offset != UINT32_MAX || wish->port != UINT32_MAX)) {
		err = sr_em_gnttab_notify(xgt->gt, (uint16_t)wish->domids[0], wish->refs[0],
					  wish->offset, wish->port, &w->notice);
		w->told = !err;
	}
	return err;
}

static void *map(xengnttab_handle *xgt, const struct wish *wish)
{
	uint32_t count = wish->count;
	struct window *w = NULL, *lost;
	int err = count && count <= INT32_MAX ? sr_window_new(count, count, &w) : -EINVAL;

	pthread_mutex_lock(&xgt->base.lock);
	if (!err)
		err = map_pages(xgt, w, wish);
	if (!err) {
		while ((lost = sr_window_take_lost(&xgt->windows, w)))
			let_go(xgt, lost);
		w->next = xgt->windows;
		xgt->windows = w;
	} else if (w) {
		sr_window_hide(w);
		let_go(xgt, w);
	}
	pthread_mutex_unlock(&xgt->base.lock);
	if (!err)
		return w->addr;
	sr_dropin_fail(&xgt->base, map_error(err), "map grant references");
	return NULL;
}

void *xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot)
{
	return xengnttab_map_grant_ref_notify(xgt, domid, ref, prot, UINT32_MAX, UINT32_MAX);
}

void *xengnttab_map_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t *domids,
			       uint32_t *refs, int prot)
{
	const struct wish wish = { count, domids, 1, refs, prot, UINT32_MAX, UINT32_MAX };

	return map(xgt, &wish);
}

void *xengnttab_map_domain_grant_refs(xengnttab_handle *xgt, uint32_t count, uint32_t domid,
				      uint32_t *refs, int prot)
{
	const struct wish wish = { count, &domid, 0, refs, prot, UINT32_MAX, UINT32_MAX };

	return map(xgt, &wish);
}

void *xengnttab_map_grant_ref_notify(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int prot,
				     uint32_t notify_offset, evtchn_port_t notify_port)
{
	const struct wish wish = { 1, &domid, 0, &ref, prot, notify_offset, notify_port };

	return map(xgt, &wish);
}

int xengnttab_unmap(xengnttab_handle *xgt, void *start_address, uint32_t count)
{
	struct window *w;

	pthread_mutex_lock(&xgt->base.lock);
	w = sr_window_take(&xgt->windows, start_address, count);
	if (w) {
		sr_window_hide(w);
		let_go(xgt, w);
	}
	pthread_mutex_unlock(&xgt->base.lock);
	if (w)
		return 0;
	errno = EINVAL;
	return -1;
}

/* --- copy ------------------------------------------------------------------------------------ */

/* What gntdev refuses before it asks the hypervisor. */
static bool copy_refused(const xengnttab_grant_copy_segment_t *s)
{
	bool from = s->flags & GNTCOPY_source_gref, to = s->flags & GNTCOPY_dest_gref;

	return (!from && !to) || (from && s->source.foreign.offset + s->len > SR_PAGE_SIZE) ||
	       (to && s->dest.foreign.offset + s->len > SR_PAGE_SIZE);
}

int xengnttab_grant_copy(xengnttab_handle *xgt, uint32_t count,
			 xengnttab_grant_copy_segment_t *segs)
{
	int err;

	for (uint32_t i = 0; i < count; i++)
		if (copy_refused(&segs[i]))
			return sr_dropin_fail(&xgt->base, -EINVAL, "copy: a segment is bad");
	pthread_mutex_lock(&xgt->base.lock);
	err = sr_gnttab_copy(xgt->gt, (struct sr_copy_segment *)segs, count);
	pthread_mutex_unlock(&xgt->base.lock);
	return err ? sr_dropin_fail(&xgt->base, err, "copy") : 0;
}

/* --- dma-buf: as a kernel that was built without it --------------------------------------------
 */

static int no_dmabuf(xengnttab_handle *xgt)
{
	return sr_dropin_fail(&xgt->base, -ENOTTY, "use a dma-buf");
}

int xengnttab_dmabuf_exp_from_refs(xengnttab_handle *xgt, uint32_t domid, uint32_t flags,
				   uint32_t count, const uint32_t *refs, uint32_t *fd)
{
	return no_dmabuf(xgt);
}

int xengnttab_dmabuf_exp_wait_released(xengnttab_handle *xgt, uint32_t fd, uint32_t wait_to_ms)
{
	return no_dmabuf(xgt);
}

int xengnttab_dmabuf_imp_to_refs(xengnttab_handle *xgt, uint32_t domid, uint32_t fd, uint32_t count,
				 uint32_t *refs)
{
	return no_dmabuf(xgt);
}

int xengnttab_dmabuf_imp_release(xengnttab_handle *xgt, uint32_t fd)
{
	return no_dmabuf(xgt);
}
