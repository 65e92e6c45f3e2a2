/* SPDX-License-Identifier: MIT */
#ifndef SPLITRINGD_RIVAL_H
#define SPLITRINGD_RIVAL_H

#include <tools/fail.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon;

/*
 * Linux's own block backend, xen-blkback. Where it is loaded (or built in) it takes every device
 * below backend/vbd as soon as that appears, writes the same nodes as we do and binds the same
 * event channel: so such a device is left to it. It knows nothing of backend/qdisk.
 *
 * sysfs tells: /sys/bus/xen-backend. $SPLITRING_SYSFS stands for /sys, on any hypervisor; without
 * it only on `xen:`.
 */

/*
 * At the start. -EBUSY: all that this daemon is to serve would be taken from it. Where it is only a
 * part, a warning is logged and 0 returned.
 */
int rival_check_start(struct daemon *d, uint16_t domid, struct sr_fail *f);

/* For struct sr_blkback_options; ctx: the daemon. */
bool rival_takes(void *ctx, const char *type, uint16_t frontend, uint32_t devid, char *why,
		 size_t size);

#endif
