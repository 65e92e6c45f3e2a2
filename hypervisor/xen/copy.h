/* SPDX-License-Identifier: MIT */
#ifndef SR_XEN_COPY_H
#define SR_XEN_COPY_H

/*
 * Grant copies that Xen is asked for directly, as many as there are in one hypercall, where gntdev
 * would look at each for itself and hand Xen 16 at a time.
 *
 * Threads: a handle belongs to one thread at a time.
 */

#include <hypervisor.h>

#include "own.h"

struct sr_xen_copier;

/* NULL: this process may not, or there is no memory. */
struct sr_xen_copier *sr_xen_copier_new(void);
/* NULL is allowed. */
void sr_xen_copier_free(struct sr_xen_copier *c);

/*
 * Copies those of the `count` segments that are between another domain's page and `own`, and gives
 * them their status. The places of the others go to rest[], which has room for `count`: how many
 * they are, or a negative value if Xen can't be asked at all.
 */
int sr_xen_copier_run(struct sr_xen_copier *c, const struct sr_xen_own *own,
		      struct sr_copy_segment *segs, unsigned count, uint16_t *rest);

#endif
