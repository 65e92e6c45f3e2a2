/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_DEVICE_H
#define SR_COMMON_DEVICE_H

/*
 * A device of a backend, and its class: what a kind of device adds to the handshake that all have
 * in common. A class' own device begins with a struct sr_device.
 *
 * Threads: a device belongs to the control thread, which holds the backend's lock whenever it calls
 * its class, but for start and stop.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <common/backend.h>
#include <common/xenbus.h>
#include <common/xs.h>

struct sr_device {
	struct sr_backend *backend;
	const struct sr_device_class *class;
	void *ctx; /* the class', of sr_backend_add() */
	struct xs_handle *xs;
	struct sr_log_source log;
	const char *type; /* "vbd": the directory below backend/ */
	uint16_t domid;   /* the frontend's */
	uint32_t devid;
	char *path, *front; /* directories: ours, the frontend's */
	char name[40];      /* "vbd-7-51712", of its record too */

	enum xenbus_state state; /* ours */
	unsigned attached;       /* queues; the class counts them up as it attaches them */
	bool dirty;              /* something happened: look */
	bool failed;             /* the guest broke the protocol; `error` says how */
	bool refused;            /* can't be opened: not again until something changes */
	bool foreign;            /* somebody else serves it */
	bool recovered;          /* taken over from another process */
	bool online;
	bool detaching; /* queues are about to be let go of */
	bool scripted;  /* a toolstack in our domain runs the class' script for it */
	/* Xenstore failed us in this look at the device, see sr_device_note(). 0: it did not. */
	int trouble;
	char error[160];
	struct sr_record_head *record; /* mapped, or NULL */
	size_t record_size;

	/* The backend's own. */
	struct sr_device *next, *next_id, *next_front; /* all, and two hash chains */
	char *front_watch;                             /* what is watched for it */
	bool gone;                                     /* its directory is */
	bool closing_down;
	/* What could not be written; NULL: all that we have to say stands in xenstore. */
	int (*unsaid)(struct xs_handle *xs, xs_transaction_t t, void *dev);
	int64_t retry_at;  /* looks again then, in ms of CLOCK_MONOTONIC; 0: at the next event */
	unsigned retry_ms; /* how long it waited last; 0: xenstore did well */
	int64_t remove_at; /* its directory is removed then; 0: it stays */
	bool condemned;    /* it goes, whatever the node online says */
};

struct sr_device_class {
	size_t size; /* of its device, zeroed at first */
	/* Nodes of the backend directory that are of interest, but for what all have; ends with
	 * NULL. */
	const char *const *keys;
	/* The same for the frontend's directory. NULL: none. */
	const char *const *front_keys;
	/*
	 * Our hotplug script for xl, "block-splitring". Where a toolstack is to run it, a device
	 * that can't be opened is told to it in InitWait, when libxl runs the script that says why;
	 * else in Closed, for which it waits in vain.
	 */
	const char *script;

	/* With the backend's: before any device, and after the last one. */
	int (*start)(void *ctx);
	void (*stop)(void *ctx);

	/*
	 * Reads what the toolstack says of the device. For a new one a failure means that it is not
	 * complete (-ENOENT: there will be another event); then `free` is called.
	 */
	int (*read_nodes)(struct sr_device *dev);
	/* Frees what the device holds but for itself; it is closed by then. */
	void (*free)(struct sr_device *dev);
	/* A node below our directory was written, `key` of `keys`. NULL: nothing to do at once. */
	void (*written)(struct sr_device *dev, const char *key);
	/* Something happened, the state is looked at next. NULL: nothing. */
	void (*prepare)(struct sr_device *dev);

	/* Gets ready what the guest will be connected to. On failure dev->error says why. */
	int (*open)(struct sr_device *dev);
	/* Only if it is open. */
	void (*close)(struct sr_device *dev);
	/* Writes what can be negotiated. */
	int (*put_offer)(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t);

	/*
	 * Reads what the frontend wants and attaches its queues. On failure dev->error says why,
	 * and those that were attached are detached. With dev->trouble nothing is attached: what
	 * could not be read may say something else than a node that is not there.
	 */
	int (*connect)(struct sr_device *dev);
	/* Writes what a connected frontend looks for. NULL: nothing. */
	int (*put_connected)(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t);
	void (*log_connected)(struct sr_device *dev);
	/*
	 * Asks all queues to detach, and calls sr_device_detached() for each one that has, later or
	 * at once. drain: the frontend may still wait for answers.
	 */
	void (*detach)(struct sr_device *dev, bool drain);
	/* The frontend is at Reconfiguring. NULL: there is no such thing for this class. */
	int (*reconfigure)(struct sr_device *dev);

	/*
	 * Is the mapped record one of a connection that can be taken over? Then what it says is
	 * read. Its `connected` need not be 1.
	 */
	bool (*check_record)(struct sr_device *dev);
	/* Attaches the queues as the record says. */
	int (*resume)(struct sr_device *dev);
};

/* --- what a class calls -------------------------------------------------------------------------
 */

/* Asks for all queues to be detached, if there are any. */
void sr_device_detach(struct sr_device *dev, bool drain);
/* One queue has. */
void sr_device_detached(struct sr_device *dev);
/* What the guest did (in dev->error) ends the connection. */
void sr_device_fail(struct sr_device *dev);

/*
 * A new record in dev->record, zeroed; an older one is dropped. The class sets `connected` once all
 * of it is valid.
 */
int sr_device_new_record(struct sr_device *dev, size_t size);
/* The connection is over: forgets the record. */
void sr_device_drop_record(struct sr_device *dev);

/* Something of its nodes is different: what can't be opened is tried again. */
void sr_device_try_again(struct sr_device *dev);

/* What put_connected says and the state, in one transaction. */
int sr_device_publish_connected(struct sr_device *dev);
/* Warns that `what` could not be written, where rc says so. */
void sr_device_report(struct sr_device *dev, const char *what, int rc);

/*
 * Passes on what xenstore answered. An error that says nothing of a node (its memory or a quota is
 * exhausted, transactions conflict) is kept in dev->trouble: the device is left as it is, and
 * looked at again a little later. Who reads or writes by the functions here need not call it.
 */
int sr_device_note(struct sr_device *dev, int rc);

/* A node of ours, which the caller frees. -ENOENT. */
int sr_device_get(struct sr_device *dev, const char *key, char **value);
/* A node of ours that is 0 or 1; `fallback` if it is neither. */
bool sr_device_flag(struct sr_device *dev, const char *key, bool fallback);

struct sr_device_node {
	const char *key;
	uint64_t value;
};

/* Writes numbers into our directory. */
int sr_device_put(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t,
		  const struct sr_device_node *nodes, size_t count);

/* Reads nodes of the frontend's directory, for negotiation. */
struct sr_device_front {
	struct sr_device *dev;
	char *value; /* of the last one; the user frees it in the end */
};

/* ctx: a struct sr_device_front. NULL: there is no such node; else valid until the next call. */
const char *sr_device_front_node(void *ctx, const char *key);

#endif
