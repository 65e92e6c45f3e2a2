/* SPDX-License-Identifier: MIT */
#ifndef SR_XEN_IMPL_H
#define SR_XEN_IMPL_H

/*
 * The provider `xen`: Xen's own libraries behind the seam. What they do not say, this folder
 * finds out on the cold paths; the hot ones are one call of a library each.
 *
 * xentoolcore_restrict_all() is not called. For libxengnttab and libxenstore it puts /dev/null in
 * the place of their descriptors, and for libxenevtchn it allows one peer domain only: a backend
 * that serves several domains and maps their pages cannot live under it.
 */

#include <provider.h>

struct sr_xen_own;
struct xentoollog_logger;

/*
 * Says nothing. The libraries' default logger writes to stderr whatever fails, which a guest could
 * make fail at any rate; our callers log what they are told, and limit it.
 */
struct xentoollog_logger *sr_xen_quiet(void);

int sr_xen_gnttab_open(struct sr_hypervisor *hv, struct sr_gnttab **gt);
int sr_xen_gntshr_open(struct sr_hypervisor *hv, struct sr_gntshr **gs);
int sr_xen_evtchn_open(struct sr_hypervisor *hv, struct sr_evtchn **ev);

/* The instance's own memory to copy to and from. */
const struct sr_xen_own *sr_xen_own(const struct sr_hypervisor *hv);

/* What errno says of a device or a socket that did not open. */
int sr_xen_open_error(void);

#endif
