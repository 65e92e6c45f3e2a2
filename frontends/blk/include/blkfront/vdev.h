/* SPDX-License-Identifier: MIT */
#ifndef SR_BLKFRONT_VDEV_H
#define SR_BLKFRONT_VDEV_H

#include <stddef.h>
#include <stdint.h>

/*
 * How a virtual disk is called and numbered (xen-vbd-interface(7)): "xvda", "xvdb3", "d5p1",
 * "hda", "sdc" or the number itself, "51712" or "0xca00".
 */

/* The number of the disk called `name`. -EINVAL: no such name. */
int sr_vdev_parse(const char *name, uint32_t *vdev);

#define SR_VDEV_NAME_SIZE 24
/* The xvd name of a disk; the number in decimal if it has none. Always terminated. */
void sr_vdev_name(uint32_t vdev, char name[SR_VDEV_NAME_SIZE]);

#endif
