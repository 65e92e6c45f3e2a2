/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_VBD_H
#define SR_BLK_VBD_H

/*
 * A disk: its nodes, its medium, its queues. What it shares with all devices, its state above all,
 * is in <common/device.h>; all of it belongs to the control thread, which holds the backend's lock
 * whenever it changes what sr_blkback_list() reads.
 */

#include <blk/blkback.h>
#include <common/device.h>
#include <drivers/registry.h>

#include "engine.h"
#include "guest.h"
#include "negotiate.h"

struct sr_vbd;

/* What connects a queue's thread with the control thread. */
struct sr_vbd_queue {
	struct sr_vbd *vbd;
	struct sr_blkq *q; /* NULL: not attached */
	struct sr_blk_thread *thread;
	struct sr_mail detach, broken, detached;
};

struct sr_vbd {
	struct sr_device dev; /* first */
	struct sr_blkback *bb;
	struct sr_guest *guest;
	bool drain, refresh_wanted;
	bool swap; /* detached only to change the medium */

	/* From the nodes. */
	char *params;
	bool read_only, cdrom, removable, discard_enable, big_sectors;
	char vdev[16];

	/* The disk, while it is open. */
	bool open;
	struct sr_blk_target target;
	const struct sr_blk_driver *driver;
	void *disk;
	struct sr_blk_info info;
	struct sr_blk_disk geometry;
	struct sr_blk_offer offer;

	/* The connection. */
	struct sr_blk_connection conn;
	struct sr_vbd_queue queues[SR_RECORD_QUEUES];
};

static inline struct sr_vbd *sr_vbd_of(struct sr_device *dev)
{
	return (struct sr_vbd *)(void *)dev;
}

_Static_assert(offsetof(struct sr_record, magic) == offsetof(struct sr_record_head, magic) &&
		   offsetof(struct sr_record, version) ==
		       offsetof(struct sr_record_head, version) &&
		   offsetof(struct sr_record, connected) ==
		       offsetof(struct sr_record_head, connected),
	       "a record begins as that of any device");

/* It lies in the memory that the device keeps. */
static inline struct sr_record *sr_vbd_record(const struct sr_vbd *v)
{
	return (struct sr_record *)(void *)v->dev.record;
}

struct sr_blkback {
	struct sr_hypervisor *hv;
	struct sr_blkback_options opt;
	struct sr_backend *backend, *own_backend;
	struct sr_log_source log;
	struct sr_guest *guests; /* those that have disks */
	const char *types[3]; /* "vbd", perhaps "qdisk", NULL */
	struct sr_blk_thread *threads[SR_BLKBACK_MAX_THREADS];
	unsigned thread_count;
	struct sr_blk_stats past; /* of queues that are gone */
};

/* --- vbd.c --------------------------------------------------------------------------------------
 */

extern const struct sr_device_class sr_vbd_class;

/* Looks at the disk's size again and tells the guest. */
int sr_vbd_refresh(struct sr_vbd *v);

/* --- vbd_connect.c ------------------------------------------------------------------------------
 */

/* Opens the disk that the nodes name and says what is offered. */
int sr_vbd_open_disk(struct sr_device *dev);
void sr_vbd_close_disk(struct sr_device *dev);
/* Reads what the frontend wants and attaches its queues. */
int sr_vbd_connect(struct sr_device *dev);
bool sr_vbd_check_record(struct sr_device *dev);
/* Attaches the queues as the record, or v->conn with `swap`, says. */
int sr_vbd_resume(struct sr_device *dev);
/* Asks all queues to detach. */
void sr_vbd_detach(struct sr_device *dev, bool drain);

/* --- vbd_nodes.c --------------------------------------------------------------------------------
 */

/* Reads what the toolstack says of the device. */
int sr_vbd_read_nodes(struct sr_device *dev);
/* The node params, as the registry takes it; the caller frees it. */
int sr_vbd_read_params(struct sr_vbd *v, char **params);
/* What is offered. */
int sr_vbd_put_offer(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t);
/* The size: also what a live resize is. */
int sr_vbd_put_disk(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t);

/* --- blkback.c ----------------------------------------------------------------------------------
 */

/* The queue threads. */
int sr_blkback_start(void *blkback);
void sr_blkback_end(void *blkback);
/* The thread with the fewest queues. */
struct sr_blk_thread *sr_blkback_pick_thread(struct sr_blkback *bb);

#endif
