/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_DEVICE_H
#define SPLITRING_DEVICE_H

#include <tools/disk.h>
#include <tools/fail.h>
#include <tools/nic.h>

#include <stdbool.h>
#include <stdint.h>

#include <xenstore.h>

/*
 * A device's nodes in xenstore, as libxl makes and removes them: the frontend's directory, which
 * the guest owns, the backend's, which its domain owns, and dom0's own record of both below /libxl.
 */

enum device_type {
	DEVICE_VBD, /* a disk by backend/vbd */
	DEVICE_QDISK,
	DEVICE_VIF,
};

struct device {
	uint16_t domid;   /* the guest */
	uint16_t backend; /* the domain that serves it */
	enum device_type type;
	uint32_t devid;
};

/* "disk", "NIC" */
const char *device_word(const struct device *device);

/* A directory that is being written. */
struct device_nodes {
	struct xs_handle *xs;
	xs_transaction_t t;
	const char *dir;
};

bool device_put(const struct device_nodes *nodes, const char *node, const char *value);
bool device_put_number(const struct device_nodes *nodes, const char *node, uint32_t value);

/* Writes what is this device's own, into the backend's directory or the frontend's. */
typedef bool device_writer(const struct device_nodes *nodes, const struct device *device,
			   const void *arg, bool backend);

/* For disks and for NICs; arg: the struct sr_disk or struct sr_nic. */
device_writer vbd_write, vif_write;

/*
 * Makes the nodes in one transaction. `name`: how lines call it. -EEXIST: the guest has a device of
 * that number.
 */
int device_add(struct xs_handle *xs, const struct device *device, device_writer *writer,
	       const void *arg, const char *name, struct sr_fail *f);

/*
 * Waits until the backend has opened it. `dir` is the machine's. -EIO: it refused, and the line
 * says why; -ETIMEDOUT, -ENOENT: nobody serves it.
 */
int device_wait(struct xs_handle *xs, const char *dir, const struct device *device,
		const char *name, struct sr_fail *f);

/*
 * Takes the device away: asks the backend to close, waits until it has, removes the nodes. force:
 * without waiting. -EBUSY: the guest did not let go of it, and nothing is removed. -ENOENT.
 */
int device_remove(struct xs_handle *xs, const char *dir, const struct device *device, bool force,
		  struct sr_fail *f);

/* Removes the nodes and the directories that are empty then. */
void device_erase(struct xs_handle *xs, const struct device *device);

/*
 * The device domid/devid from dom0's record. `type`: DEVICE_VIF, or DEVICE_VBD for a disk of either
 * way. -ENOENT.
 */
int device_find(struct xs_handle *xs, enum device_type type, uint16_t domid, uint32_t devid,
		struct device *device);

/* The devices of a guest, sorted; *devices is freed with free(). `type` as above. */
int device_list(struct xs_handle *xs, enum device_type type, uint16_t domid,
		struct device **devices, unsigned *count);

/* A node of the backend's directory; free() it. NULL: there is none. */
char *device_read(struct xs_handle *xs, const struct device *device, const char *node);

/* Writes one there, and only there: not if the device has gone. -ENOENT. */
int device_write(struct xs_handle *xs, const struct device *device, const char *node,
		 const char *value);

/* The state of the backend, XenbusState* of <xen/io/xenbus.h>; -1: there is none. */
int device_state(struct xs_handle *xs, const struct device *device);

#endif
