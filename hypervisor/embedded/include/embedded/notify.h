/* SPDX-License-Identifier: MIT */
#ifndef EMBEDDED_NOTIFY_H
#define EMBEDDED_NOTIFY_H

/*
 * Unmap notification, as Linux's gntdev and gntalloc have it: when a page is unmapped, the byte at
 * `offset` of it is cleared and an event goes to the other end of `port`. The machine does both, so
 * that they happen where the process is killed too. UINT32_MAX stands for "none" in either.
 *
 * Only for handles that the provider `embedded` opened. A notice is the handle's: what has not been
 * fired when the handle closes is fired then, before the handle's pages and grants go. The port may
 * be of any handle of the domain, and stays open, as far as its peer can see, until then.
 */

#include <hypervisor.h>

/*
 * For a page that `gt` has mapped, and for writing where a byte is to be cleared. *id is for
 * sr_em_gnttab_fire(). -EINVAL: the page is not mapped so, the offset not in a page, or there is no
 * such port; -ENOSPC: the domain has too many.
 */
int sr_em_gnttab_notify(struct sr_gnttab *gt, uint16_t domid, uint32_t ref, uint32_t offset,
			uint32_t port, uint32_t *id);
/* Before the page is unmapped. The notice is gone afterwards. */
int sr_em_gnttab_fire(struct sr_gnttab *gt, uint32_t id);

/* The same for a page from sr_gntshr_share(), before it is unshared. */
int sr_em_gntshr_notify(struct sr_gntshr *gs, void *addr, uint32_t offset, uint32_t port,
			uint32_t *id);
int sr_em_gntshr_fire(struct sr_gntshr *gs, uint32_t id);

#endif
