/* SPDX-License-Identifier: MIT */
#include "window.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static void free_all(struct window *w)
{
	while (w) {
		struct window *next = w->next;

		free(w);
		w = next;
	}
}

struct xengntdev_handle *sr_grants_open(struct xentoollog_logger *logger, bool shares)
{
	struct xengntdev_handle *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return NULL;
	h->fd = -1;
	err = sr_dropin_open(&h->base, logger, true);
	if (err)
		goto fail;
	h->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->fd < 0)
		err = -errno;
	else
		err = shares ? sr_gntshr_open(h->base.hv, &h->gs)
			     : sr_gnttab_open(h->base.hv, &h->gt);
	if (!err)
		return h;
	sr_dropin_fail(&h->base, err, "open a handle");
fail:
	sr_grants_close(h);
	errno = -err;
	return NULL;
}

int sr_grants_close(struct xengntdev_handle *h)
{
	if (!h)
		return 0;
	if (!sr_dropin_inherited(&h->base)) {
		sr_gnttab_close(h->gt);
		sr_gntshr_close(h->gs);
	}
	free_all(h->windows);
	free_all(h->lingering);
	if (h->fd >= 0)
		close(h->fd);
	sr_dropin_close(&h->base);
	free(h);
	return 0;
}

int sr_window_new(unsigned count, unsigned parts, struct window **out)
{
	struct window *w = calloc(1, sizeof(*w) + parts * sizeof(w->part[0]));
	void *addr;

	if (!w)
		return -ENOMEM;
	addr = mmap(NULL, (size_t)count << SR_PAGE_SHIFT, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (addr == MAP_FAILED) {
		free(w);
		return -ENOMEM;
	}
	w->addr = addr;
	w->count = count;
	*out = w;
	return 0;
}

int sr_window_show(struct window *w, unsigned first, void *from, unsigned pages)
{
	/* An old size of 0 makes a second mapping of shared memory. */
	void *p = mremap(from, 0, (size_t)pages << SR_PAGE_SHIFT, MREMAP_MAYMOVE | MREMAP_FIXED,
			 w->addr + ((size_t)first << SR_PAGE_SHIFT));

	return p == MAP_FAILED ? -errno : 0;
}

void sr_window_hide(struct window *w)
{
	munmap(w->addr, (size_t)w->count << SR_PAGE_SHIFT);
}

static struct window *take(struct window **at)
{
	struct window *w = *at;

	if (w)
		*at = w->next;
	return w;
}

struct window *sr_window_take(struct window **list, const void *addr, unsigned count)
{
	while (*list && ((*list)->addr != addr || (*list)->count != count))
		list = &(*list)->next;
	return take(list);
}

struct window *sr_window_take_lost(struct window **list, const struct window *w)
{
	const uint8_t *end = w->addr + ((size_t)w->count << SR_PAGE_SHIFT);

	for (; *list; list = &(*list)->next) {
		const struct window *old = *list;
		const uint8_t *old_end = old->addr + ((size_t)old->count << SR_PAGE_SHIFT);

		if (old != w && old->addr < end && w->addr < old_end)
			break;
	}
	return take(list);
}
