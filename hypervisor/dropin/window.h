/* SPDX-License-Identifier: MIT */
#ifndef DROPIN_WINDOW_H
#define DROPIN_WINDOW_H

/*
 * What libxengnttab's two kinds of handle are made of.
 *
 * A program sees granted pages through a mapping of its own, a second one of the memory that the
 * provider gave us. Xen's programs munmap() what these libraries gave them without telling the
 * library (libxenvchan does), and the provider's address may lie in the middle of a mapping that
 * others use. It also makes pages of several domains one range, and protects each mapping by
 * itself.
 *
 * A munmap() behind our back is noticed late: when the address is given out again, or when the
 * handle closes. Until then the grant stays mapped. Closing a handle leaves its addresses mapped,
 * as Linux does: they may not be ours any more.
 */

#include <hypervisor.h>
#include <stdbool.h>

#include "process.h"

struct window {
	struct window *next;
	uint8_t *addr; /* the program's */
	unsigned count;
	/* Somebody is told of its end, see <embedded/notify.h>. */
	bool told;
	uint32_t notice;
	unsigned parts;
	void *part[]; /* the provider's addresses: one a page, or one for all */
};

/* xengnttab_handle and xengntshr_handle. */
struct xengntdev_handle {
	struct sr_dropin_handle base;
	int fd; /* stands for the device's, and is good for nothing */
	struct sr_gnttab *gt;
	struct sr_gntshr *gs;
	struct window *windows;
	/* gntshr: unshared by the program, and still mapped by a peer. */
	struct window *lingering;
};

/* One of the two, by `shares`. NULL, and errno. */
struct xengntdev_handle *sr_grants_open(struct xentoollog_logger *logger, bool shares);
int sr_grants_close(struct xengntdev_handle *h);

/* An address range that holds nothing yet; from malloc(), the caller's. -ENOMEM. */
int sr_window_new(unsigned count, unsigned parts, struct window **w);
/* Shows the provider's `pages` pages at `from` from page `first` on. */
int sr_window_show(struct window *w, unsigned first, void *from, unsigned pages);
/* Unmaps the address range. */
void sr_window_hide(struct window *w);
/* Takes it out of the list it is in. NULL: no window is exactly that. */
struct window *sr_window_take(struct window **list, const void *addr, unsigned count);
/* Takes one that overlaps `w`: the program has unmapped it by itself. */
struct window *sr_window_take_lost(struct window **list, const struct window *w);

#endif
