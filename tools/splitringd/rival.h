/* SPDX-License-Identifier: MIT */
#ifndef SPLITRINGD_RIVAL_H
#define SPLITRINGD_RIVAL_H

#include <tools/fail.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon;

/*
 * Linux's own backends, xen-blkback and xen-netback. Where one is loaded (or built in) it takes
 * every device below backend/vbd, or backend/vif, as soon as that appears, writes the same nodes as
 * we do and binds the same event channel: so such a device is left to it. It knows nothing of
 * backend/qdisk.
 *
 * sysfs tells: /sys/bus/xen-backend. $SPLITRING_SYSFS stands for /sys, on any hypervisor; without
 * it only on `xen:`.
 */

/*
 * At the start. -EBUSY: all disks that this daemon is to serve would be taken from it, or, where it
 * was given bridges, all NICs. Where it is only a part, a warning is logged and 0 returned.
 */
int rival_check_start(struct daemon *d, uint16_t domid, struct sr_fail *f);

/* For struct sr_backend_options; ctx: the daemon. */
bool rival_takes(void *ctx, const char *type, uint16_t frontend, uint32_t devid, char *why,
		 size_t size);

#endif
