/* SPDX-License-Identifier: MIT */
#ifndef SR_BLKFRONT_VDEV_H
#define SR_BLKFRONT_VDEV_H

#include <stddef.h>
#include <stdint.h>

/*
 * Names of virtual disks and the numbers that stand for them in xenstore, by Xen's
 * xen-vbd-interface(7): xvda, xvda1, sda, hda, d0p0, or the number itself (decimal, 0x.., 0..).
 */

/* -EINVAL: not a name of a virtual disk, or one out of the range that its scheme can number. */
int sr_vdev_parse(const char *name, uint32_t *number);

#define SR_VDEV_NAME_SIZE 24 /* enough for every name */
/* The name that a guest gives the disk: the reverse of the above; "xvda" for d0. */
void sr_vdev_name(uint32_t number, char *name, size_t size);

#endif
