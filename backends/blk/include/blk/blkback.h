/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_BLKBACK_H
#define SR_BLK_BLKBACK_H

/*
 * The block backend: serves every vbd that the toolstack puts below
 * /local/domain/<us>/backend/{vbd,qdisk}, through the drivers of a registry.
 *
 * A device's nodes in its backend directory, as libxl writes them:
 *   params       "[driver:]target[,key=value...]", the driver is uring if none is named; "" for a
 *                CD-ROM drive without a medium
 *   mode         "r" or "w"                          device-type  "disk" or "cdrom"
 *   removable    0 or 1                              online       0: do not wait for a reconnect
 *   discard-enable 0 or 1 (default 1)                frontend, frontend-id
 *   script       ".../block-splitring": a disk that can't be opened is told to the toolstack in
 *                InitWait, where libxl runs the script; else in Closed, for which it waits in vain
 * and of our own:
 *   sector-size-logical  512 (default) or 4096: offers 4096-byte sectors, of a medium that has them
 *   refresh      any write to it: the size of the image is looked at again
 * We write hotplug-status ("connected" or "error"), hotplug-error, the features and the size.
 *
 * Threads. sr_blkback_run() turns the calling thread into the control thread and adds
 * options.threads queue threads. sr_blkback_stop() may be called from a signal handler; refresh,
 * list and totals from any thread while it runs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <common/backend.h>
#include <common/keep.h>
#include <common/log.h>
#include <common/stats.h>

struct sr_hypervisor;
struct sr_blk_registry; /* <drivers/registry.h> */
struct sr_blkback;

#define SR_BLKBACK_MAX_THREADS 64u

struct sr_blkback_options {
	struct sr_blk_registry *registry; /* borrowed */
	/*
	 * Borrowed: the control plane that it shares with other backends, which has `keep`,
	 * `remove_directory` and `rival` of its own. NULL: one of its own, made of those here.
	 */
	struct sr_backend *backend;
	struct sr_keep *keep;     /* borrowed; NULL: private */
	const struct sr_log *log; /* borrowed; NULL: silent */
	enum sr_poll_mode mode;
	unsigned threads;     /* queue threads; 0: 1 */
	const unsigned *cpus; /* one a queue thread, to pin it to; NULL: not pinned */
	unsigned spin_us;     /* the longest that adaptive spins without work; 0: 50 */
	/* What is offered to a guest. 0 means the default in brackets. */
	unsigned max_queues;            /* [threads, at most 16] */
	unsigned max_ring_page_order;   /* [4]; SR_BLKBACK_NONE for rings of one page only */
	unsigned max_indirect_segments; /* [256]; SR_BLKBACK_NONE: no indirect requests */
	/*
	 * A queue [1056]; SR_BLKBACK_NONE: no persistent grants. All disks of a guest keep no more
	 * than leaves room in its grant table; where that is too little, none are offered.
	 */
	unsigned max_persistent_grants;
	/*
	 * Whether a device's backend directory is removed once it has closed for good: what a
	 * toolstack waits for of a driver domain, and does itself for dom0. 0: if we are not domain
	 * 0; 1: yes; -1: no.
	 */
	int remove_directory;
	bool no_qdisk; /* devices below backend/qdisk are another backend's */
	/*
	 * Whether another backend of this host takes a device below backend/TYPE, and in `why` who
	 * and what to do. Such a device is left alone: nothing of it is written. NULL: none does.
	 * Called by the control thread.
	 */
	bool (*rival)(void *ctx, const char *type, uint16_t frontend, uint32_t devid, char *why,
		      size_t size);
	void *rival_ctx;
};

#define SR_BLKBACK_NONE UINT32_MAX

/* `options` is copied, what it points to is borrowed until sr_blkback_free(). */
int sr_blkback_new(struct sr_hypervisor *hv, const struct sr_blkback_options *options,
		   struct sr_blkback **bb);
/* After sr_blkback_run() has returned, or never ran. NULL is allowed. */
void sr_blkback_free(struct sr_blkback *bb);

/*
 * Serves until it is stopped: sr_backend_run() of its backend, or of the one that it shares. 0
 * after sr_blkback_stop(); -errno if the store or a thread can't be had. Devices that a killed
 * process served are taken over where `keep` has their record.
 */
int sr_blkback_run(struct sr_blkback *bb);

enum sr_blkback_stop {
	/*
	 * Every request that was taken is answered; the store is left as it is and the records stay
	 * kept, so that the next process takes over and guests see a pause. Where memory does not
	 * survive the process, the same as CLOSE.
	 */
	SR_BLKBACK_HANDOVER,
	/*
	 * Every guest is asked to close its devices and served until it has, two seconds at most.
	 * Then the same, and every device is closed: its guest loses it until it is attached again.
	 */
	SR_BLKBACK_CLOSE,
};

/* Makes sr_blkback_run() return when it is done. A second call does not wait for guests to close.
 */
void sr_blkback_stop(struct sr_blkback *bb, enum sr_blkback_stop how);

/* Looks again at the size of a device's image. -ENOENT: no such device; else the driver's answer.
 */
int sr_blkback_refresh(struct sr_blkback *bb, uint16_t frontend, uint32_t devid);

/* A device, as sr_blkback_list() tells it. */
struct sr_blkback_device {
	uint16_t frontend; /* its domain */
	uint32_t devid;
	char type[8];     /* "vbd" or "qdisk" */
	char vdev[16];    /* node `dev`: "xvda" */
	char params[256]; /* cut to what fits */
	char driver[32];
	unsigned state;  /* XenbusState* of <xen/io/xenbus.h> */
	char error[160]; /* "" or why it is not served */
	uint64_t size;   /* bytes */
	unsigned sector_size;
	bool read_only, cdrom, persistent, recovered;
	unsigned queues, ring_pages;
	unsigned threads[16]; /* of each queue, the queue thread it belongs to */
	unsigned in_flight;   /* requests, over all its queues */
	unsigned persistent_grants;
	struct sr_blk_stats stats; /* the sum over its queues, of this connection */
};

/* All devices now; *devices is freed with free(). */
int sr_blkback_list(struct sr_blkback *bb, struct sr_blkback_device **devices, size_t *count);

/* What all devices have done since sr_blkback_new(), those that are gone included. */
void sr_blkback_totals(struct sr_blkback *bb, struct sr_blk_stats *sum);

/* A queue thread, for those who tune. */
struct sr_blkback_thread {
	unsigned cpu; /* UINT_MAX: not pinned */
	unsigned queues;
	uint64_t loops, busy_loops; /* rounds, and rounds that found work */
	uint64_t sleeps, wakeups;
	uint64_t cpu_ns;  /* its CPU time */
	unsigned spin_us; /* what adaptive spins now */
};

/* Fills up to `max`, returns how many queue threads there are. */
size_t sr_blkback_threads(struct sr_blkback *bb, struct sr_blkback_thread *threads, size_t max);

#endif
