/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_VBD_H
#define SR_BLK_VBD_H

/*
 * A device: its nodes, its state, its disk, its queues. All of it belongs to the control thread,
 * which holds bb->lock whenever it changes what sr_blkback_list() reads.
 */

#include <pthread.h>

#include <blk/blkback.h>
#include <common/xenbus.h>
#include <common/xs.h>
#include <drivers/registry.h>

#include "engine.h"
#include "guest.h"
#include "negotiate.h"

#define SR_VBD_BUCKETS 256u

struct sr_vbd;

/* What connects a queue's thread with the control thread. */
struct sr_vbd_queue {
	struct sr_vbd *vbd;
	struct sr_blkq *q; /* NULL: not attached */
	struct sr_blk_thread *thread;
	struct sr_mail detach, broken, detached;
};

struct sr_vbd {
	struct sr_blkback *bb;
	struct sr_guest *guest;
	struct sr_vbd *next, *next_id, *next_front; /* all, and two hash chains */
	struct sr_log_source log;
	char type[8];
	uint16_t domid; /* the frontend's */
	uint32_t devid;
	char *path, *front; /* directories */
	char *front_watch;  /* what is watched for it */
	char name[40];      /* of its record */

	enum xenbus_state state; /* ours */
	bool dirty;              /* something happened: look */
	bool gone;               /* its directory is */
	bool failed;             /* the guest broke the protocol */
	bool refused;            /* its disk can't be opened: not again until something changes */
	bool foreign;            /* somebody else serves it */
	bool recovered;
	bool online;
	bool detaching, drain, closing_down, refresh_wanted;
	bool swap; /* detached only to change the medium */

	/* From the nodes. */
	char *params;
	bool read_only, cdrom, removable, discard_enable, big_sectors;
	bool scripted; /* a toolstack in our domain runs tools/hotplug/block-splitring for it */
	char vdev[16];
	char error[160];

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
	struct sr_record *record;
	size_t record_size;
	unsigned attached; /* queues */
	struct sr_vbd_queue queues[SR_RECORD_QUEUES];
};

struct sr_front_watch {
	struct sr_front_watch *next;
	unsigned refs;
	size_t len; /* of the path */
	char path[];
};

struct sr_blkback {
	struct sr_hypervisor *hv;
	struct sr_blkback_options opt;
	struct sr_log_source log;
	struct sr_keep *keep, *own_keep;
	struct xs_handle *xs;
	uint16_t domid;
	char dirs[2][64]; /* backend/vbd, backend/qdisk */
	unsigned types;   /* how many of them are ours */
	struct sr_front_watch *watches;
	bool wide_watch; /* one for all frontends, since no more were to be had */
	struct sr_blk_thread *threads[SR_BLKBACK_MAX_THREADS];
	unsigned thread_count;
	struct sr_mailbox box;
	int stop_fd;
	int stop_how; /* atomic */
	bool stopping;
	bool closing;             /* the guests have been asked to, until close_deadline */
	int64_t close_deadline;   /* ms of CLOCK_MONOTONIC */
	struct sr_blk_stats past; /* of queues that are gone */

	pthread_mutex_t lock;
	struct sr_vbd *vbds;
	struct sr_guest *guests; /* those that have disks */
	struct sr_vbd *by_id[SR_VBD_BUCKETS], *by_front[SR_VBD_BUCKETS];
	size_t count;
};

/* --- vbd.c --------------------------------------------------------------------------------------
 */

/* Reads the directory `type`/`domid`/`devid`. -ENOENT: it is not complete (yet). */
int sr_vbd_new(struct sr_blkback *bb, const char *type, uint16_t domid, uint32_t devid);
/* Looks at its nodes and does what there is to do. It may be freed by this. */
void sr_vbd_update(struct sr_vbd *v);
/* At the daemon's end: lets go of the queues; `close`: and of the guest. */
void sr_vbd_shut_down(struct sr_vbd *v, bool close);
/* Tells the guest that it is to close, and goes on serving it. */
void sr_vbd_ask_to_close(struct sr_vbd *v);
/* Looks at the disk's size again and tells the guest. */
int sr_vbd_refresh(struct sr_vbd *v);
/* Frees it; its queues are detached. */
void sr_vbd_free(struct sr_vbd *v);

/* --- vbd_connect.c ------------------------------------------------------------------------------
 */

/* Opens the disk that the nodes name and says what is offered. On failure v->error says why. */
int sr_vbd_open_disk(struct sr_vbd *v);
void sr_vbd_close_disk(struct sr_vbd *v);
/* Reads what the frontend wants and attaches its queues. On failure v->error says why. */
int sr_vbd_connect(struct sr_vbd *v);
/* Is there a record of a connection that we can take over? */
bool sr_vbd_has_record(struct sr_vbd *v);
/* Attaches the queues as the record, or v->conn with `swap`, says. */
int sr_vbd_resume(struct sr_vbd *v);
/* Asks all queues to detach. */
void sr_vbd_detach(struct sr_vbd *v, bool drain);
/* Forgets the record: the connection is over. */
void sr_vbd_drop_record(struct sr_vbd *v);
/* It stays kept. */
void sr_vbd_unmap_record(struct sr_vbd *v);

/* --- vbd_nodes.c --------------------------------------------------------------------------------
 */

/* Reads what the toolstack says of the device. */
int sr_vbd_read_nodes(struct sr_vbd *v);
/* The node params, as the registry takes it; the caller frees it. */
int sr_vbd_read_params(struct sr_vbd *v, char **params);
/* What is offered, and the state, in one transaction. */
int sr_vbd_publish_offer(struct sr_vbd *v);
/* The size and the state, in one transaction: also what a live resize is. */
int sr_vbd_publish_disk(struct sr_vbd *v);
int sr_vbd_publish_state(struct sr_vbd *v);
/* hotplug-status and hotplug-error, with the state. */
int sr_vbd_publish_error(struct sr_vbd *v);

/* --- blkback.c ----------------------------------------------------------------------------------
 */

/* Mail to the control thread. */
void sr_blkback_post(struct sr_blkback *bb, struct sr_mail *mail);
void sr_blkback_watch_front(struct sr_vbd *v);
void sr_blkback_unwatch_front(struct sr_vbd *v);
/* The thread with the fewest queues. */
struct sr_blk_thread *sr_blkback_pick_thread(struct sr_blkback *bb);

uint32_t sr_hash_id(const char *type, uint16_t domid, uint32_t devid);
uint32_t sr_hash_path(const char *path);

#endif
