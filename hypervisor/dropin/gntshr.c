/* SPDX-License-Identifier: MIT */
/*
 * libxengnttab, the half that grants pages. As with Linux's gntalloc, to unshare always succeeds;
 * what a peer still maps stays granted, out of the program's sight, until the peer lets go.
 */
#include <errno.h>
#include <stdlib.h>
#include <xengnttab.h>

#include "window.h"

xengntshr_handle *xengntshr_open(struct xentoollog_logger *logger, unsigned open_flags)
{
	return sr_grants_open(logger, true);
}

int xengntshr_close(xengntshr_handle *xgs)
{
	return sr_grants_close(xgs);
}

int xengntshr_fd(xengntshr_handle *xgs)
{
	return xgs->fd;
}

/* The program sees it no more. */
static void let_go(xengntshr_handle *xgs, struct window *w)
{
	if (sr_gntshr_unshare(xgs->gs, w->part[0], w->count)) {
		w->next = xgs->lingering;
		xgs->lingering = w;
	} else {
		free(w);
	}
}

static void retry_lingering(xengntshr_handle *xgs)
{
	struct window *list = xgs->lingering;

	xgs->lingering = NULL;
	while (list) {
		struct window *w = list;

		list = w->next;
		let_go(xgs, w);
	}
}

static struct window *share(xengntshr_handle *xgs, uint32_t domid, int count, uint32_t *refs,
			    int writable)
{
	struct window *w = NULL, *lost;
	int err =
	    count > 0 && domid <= UINT16_MAX ? sr_window_new((unsigned)count, 1, &w) : -EINVAL;

	pthread_mutex_lock(&xgs->base.lock);
	retry_lingering(xgs);
	if (!err)
		err = sr_gntshr_share(xgs->gs, (uint16_t)domid, w->count, writable, refs,
				      &w->part[0]);
	if (!err) {
		err = sr_window_show(w, 0, w->part[0], w->count);
		if (err)
			sr_gntshr_unshare(xgs->gs, w->part[0], w->count);
	}
	if (!err) {
		while ((lost = sr_window_take_lost(&xgs->windows, w)))
			let_go(xgs, lost);
		w->next = xgs->windows;
		xgs->windows = w;
	} else if (w) {
		sr_window_hide(w);
		free(w);
	}
	pthread_mutex_unlock(&xgs->base.lock);
	if (!err)
		return w;
	sr_dropin_fail(&xgs->base, err, "share pages");
	return NULL;
}

void *xengntshr_share_pages(xengntshr_handle *xgs, uint32_t domid, int count, uint32_t *refs,
			    int writable)
{
	struct window *w = share(xgs, domid, count, refs, writable);

	return w ? w->addr : NULL;
}

void *xengntshr_share_page_notify(xengntshr_handle *xgs, uint32_t domid, uint32_t *ref,
				  int writable, uint32_t notify_offset, evtchn_port_t notify_port)
{
	if (notify_offset == UINT32_MAX && notify_port == UINT32_MAX)
		return xengntshr_share_pages(xgs, domid, 1, ref, writable);
	sr_dropin_fail(&xgs->base, -EOPNOTSUPP, "set up a notification");
	return NULL;
}

int xengntshr_unshare(xengntshr_handle *xgs, void *start_address, uint32_t count)
{
	struct window *w;

	pthread_mutex_lock(&xgs->base.lock);
	retry_lingering(xgs);
	w = sr_window_take(&xgs->windows, start_address, count);
	if (w) {
		sr_window_hide(w);
		let_go(xgs, w);
	}
	pthread_mutex_unlock(&xgs->base.lock);
	if (w)
		return 0;
	errno = EINVAL;
	return -1;
}
