/* SPDX-License-Identifier: MIT */
/*
 * libxengnttab, the half that grants pages. As with Linux's gntalloc, to unshare always succeeds;
 * what a peer still maps stays granted, out of the program's sight, until the peer lets go.
 */
#include <embedded/notify.h>
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
	if (w->told)
		sr_em_gntshr_fire(xgs->gs, w->notice);
	w->told = false;
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

/* On failure nothing is shared. */
static int share_pages(xengntshr_handle *xgs, struct window *w, uint16_t domid, uint32_t *refs,
		       bool writable, uint32_t offset, uint32_t port)
{
	int err = sr_gntshr_share(xgs->gs, domid, w->count, writable, refs, &w->part[0]);

	if (err)
		return err;
	err = sr_window_show(w, 0, w->part[0], w->count);
	if (!err && (offset != UINT32_MAX || port != UINT32_MAX)) {
		err = sr_em_gntshr_notify(xgs->gs, w->part[0], offset, port, &w->notice);
		w->told = !err;
	}
	/* Nobody has been told of the references yet. */
	if (err)
		sr_gntshr_unshare(xgs->gs, w->part[0], w->count);
	return err;
}

static void *share(xengntshr_handle *xgs, uint32_t domid, int count, uint32_t *refs, bool writable,
		   uint32_t offset, uint32_t port)
{
	struct window *w = NULL, *lost;
	int err =
	    count > 0 && domid <= UINT16_MAX ? sr_window_new((unsigned)count, 1, &w) : -EINVAL;

	pthread_mutex_lock(&xgs->base.lock);
	retry_lingering(xgs);
	if (!err)
		err = share_pages(xgs, w, (uint16_t)domid, refs, writable, offset, port);
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
		return w->addr;
	sr_dropin_fail(&xgs->base, err, "share pages");
	return NULL;
}

void *xengntshr_share_pages(xengntshr_handle *xgs, uint32_t domid, int count, uint32_t *refs,
			    int writable)
{
	return share(xgs, domid, count, refs, writable, UINT32_MAX, UINT32_MAX);
}

void *xengntshr_share_page_notify(xengntshr_handle *xgs, uint32_t domid, uint32_t *ref,
				  int writable, uint32_t notify_offset, evtchn_port_t notify_port)
{
	return share(xgs, domid, 1, ref, writable, notify_offset, notify_port);
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
