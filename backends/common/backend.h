/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_BACKEND_PRIVATE_H
#define SR_COMMON_BACKEND_PRIVATE_H

/* What the parts of the control plane share. */

#include <pthread.h>

#include <common/device.h>

#define SR_BACKEND_BUCKETS 256u
#define SR_BACKEND_TYPES   8u
/* The token of all watches of frontends; those of backend directories have their type. */
#define SR_FRONT_TOKEN "front"

/* A directory below backend/ that we serve. */
struct sr_backend_type {
	const struct sr_device_class *class;
	void *ctx;
	const char *name; /* the token of its watch too */
	char dir[64];
};

struct sr_front_watch {
	struct sr_front_watch *next;
	unsigned refs;
	size_t len; /* of the path */
	char path[];
};

struct sr_backend_class {
	const struct sr_device_class *class;
	void *ctx;
	bool started;
};

struct sr_backend {
	struct sr_hypervisor *hv;
	struct sr_backend_options opt;
	struct sr_log_source log;
	struct sr_keep *keep, *own_keep;
	struct xs_handle *xs;
	uint16_t domid;
	struct sr_backend_type types[SR_BACKEND_TYPES];
	unsigned type_count;
	struct sr_backend_class classes[SR_BACKEND_TYPES];
	unsigned class_count;
	struct sr_front_watch *watches;
	bool wide_watch; /* one for all frontends, since no more were to be had */
	struct sr_mailbox box;
	int stop_fd;
	int stop_how; /* atomic */
	bool stopping;
	bool closing;           /* the guests have been asked to, until close_deadline */
	int64_t close_deadline; /* ms of CLOCK_MONOTONIC */
	/* Some device could not be read: all directories are, at that time; 0: all is well. */
	int64_t scan_at;
	unsigned scan_ms; /* how long we waited last */

	pthread_mutex_t lock;
	struct sr_device *devices;
	struct sr_device *by_id[SR_BACKEND_BUCKETS], *by_front[SR_BACKEND_BUCKETS];
};

/* --- backend.c ----------------------------------------------------------------------------------
 */

int64_t sr_now_ms(void);
/* How long to wait after having waited so long, 0 at first, for a store that fails us. */
unsigned sr_backoff_ms(unsigned ms);

/* --- device.c -----------------------------------------------------------------------------------
 */

/* Reads the directory of `domid`/`devid`. -ENOENT: it is not complete (yet). */
int sr_device_new(struct sr_backend *b, const struct sr_backend_type *type, uint16_t domid,
		  uint32_t devid);
/* Looks at its nodes and does what there is to do. It may be freed by this. */
void sr_device_update(struct sr_device *dev);
/* At the daemon's end: lets go of the queues; `close`: and of the guest. */
void sr_device_shut_down(struct sr_device *dev, bool close);
/* Tells the guest that it is to close, and goes on serving it. */
void sr_device_ask_to_close(struct sr_device *dev);
/* Maps the record that an earlier process left, if it can be taken over. */
bool sr_device_has_record(struct sr_device *dev);
/* Frees it; its queues are detached, and the record stays kept. */
void sr_device_free(struct sr_device *dev);

uint32_t sr_hash_id(const char *type, uint16_t domid, uint32_t devid);
uint32_t sr_hash_path(const char *path);

/* --- device_nodes.c -----------------------------------------------------------------------------
 */

/* Whether xl runs our script for the device. */
bool sr_device_runs_our_script(struct sr_device *dev);
/* Looks at it again, later each time. */
void sr_device_try_later(struct sr_device *dev);
/* Does rc say something of xenstore, and nothing of the node that was asked for? */
bool sr_is_store_trouble(int rc);
/* Tries again to write what could not be written. */
int sr_device_say_again(struct sr_device *dev);
/* Each of these is tried again later where xenstore fails. What is offered, and the state, in one
 * transaction. */
int sr_device_publish_offer(struct sr_device *dev);
int sr_device_publish_state(struct sr_device *dev);
/* hotplug-status and hotplug-error, with the state. */
int sr_device_publish_error(struct sr_device *dev);
/* The directory, where that is our part: after a while, in which the toolstack sees our Closed; or
 * now. */
void sr_device_remove_directory(struct sr_device *dev);
void sr_device_remove_now(struct sr_device *dev);
/* It is Closed, and maybe nobody will say that it is to go. */
void sr_device_forgotten(struct sr_device *dev);

/* --- events.c -----------------------------------------------------------------------------------
 */

int sr_backend_watch_types(struct sr_backend *b);
/* Makes every device of a backend directory, and has all looked at; again later, if it can't. */
void sr_backend_scan(struct sr_backend *b, const struct sr_backend_type *type);
/*
 * Takes what the store has to tell: devices are made, or marked dirty. So much a turn, since a
 * guest can write without end; of the rest the store's descriptor still says that it is there.
 */
void sr_backend_take_events(struct sr_backend *b);

/* --- watch.c ------------------------------------------------------------------------------------
 */

void sr_backend_watch_front(struct sr_device *dev);
void sr_backend_unwatch_front(struct sr_device *dev);

#endif
