/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_VBD_H
#define SPLITRING_VBD_H

#include <tools/disk.h>
#include <tools/fail.h>

#include <stdbool.h>
#include <stdint.h>

struct xs_handle;

/*
 * A vbd's nodes in xenstore, as libxl makes and removes them: the frontend's directory, which the
 * guest owns, the backend's, which its domain owns, and dom0's own record of both below /libxl.
 */

struct vbd {
	uint16_t domid;   /* the guest */
	uint16_t backend; /* the domain that serves it */
	enum sr_disk_kind kind;
	uint32_t devid;
};

/* Makes the nodes in one transaction. -EEXIST: the guest has a device of that number. */
int vbd_add(struct xs_handle *xs, const struct vbd *vbd, const struct sr_disk *disk,
	    struct sr_fail *f);

/*
 * Waits until the backend has opened the disk. `dir` is the machine's. -EIO: it refused, and the
 * line says why; -ETIMEDOUT, -ENOENT: nobody serves it.
 */
int vbd_wait(struct xs_handle *xs, const char *dir, const struct vbd *vbd,
	     const struct sr_disk *disk, struct sr_fail *f);

/*
 * Takes the device away: asks the backend to close, waits until it has, removes the nodes. force:
 * without waiting. -EBUSY: the guest did not let go of it, and nothing is removed. -ENOENT.
 */
int vbd_remove(struct xs_handle *xs, const char *dir, const struct vbd *vbd, bool force,
	       struct sr_fail *f);

/* Removes the nodes and the directories that are empty then. */
void vbd_erase(struct xs_handle *xs, const struct vbd *vbd);

/* Fills vbd->backend and vbd->kind of the device domid/devid from dom0's record. -ENOENT. */
int vbd_find(struct xs_handle *xs, uint16_t domid, uint32_t devid, struct vbd *vbd);

/* The devices of a guest, sorted; *vbds is freed with free(). */
int vbd_list(struct xs_handle *xs, uint16_t domid, struct vbd **vbds, unsigned *count);

/* A node of the backend's directory; free() it. NULL: there is none. */
char *vbd_read(struct xs_handle *xs, const struct vbd *vbd, const char *node);

/* The state of the backend, XenbusState* of <xen/io/xenbus.h>; -1: there is none. */
int vbd_state(struct xs_handle *xs, const struct vbd *vbd);

#endif
