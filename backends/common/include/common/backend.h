/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_BACKEND_H
#define SR_COMMON_BACKEND_H

/*
 * The control plane of all backends: one thread that holds the connection to the store, watches
 * the directories /local/domain/<us>/backend/TYPE and those of the frontends, and leads every
 * device through the xenbus handshake. What a device is (a disk, a NIC) its class knows, see
 * <common/device.h>; a backend serves any number of classes.
 *
 * Threads. sr_backend_run() turns the calling thread into the control thread. sr_backend_stop() may
 * be called from a signal handler; sr_backend_lock() and sr_backend_post() from any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <common/keep.h>
#include <common/log.h>
#include <common/reactor.h>

struct sr_hypervisor;
struct xs_handle;
struct sr_backend;
struct sr_device;
struct sr_device_class;

struct sr_backend_options {
	struct sr_keep *keep;     /* borrowed; NULL: private */
	const struct sr_log *log; /* borrowed; NULL: silent */
	const char *name;         /* of its lines in the log; NULL: "backend" */
	/*
	 * Whether a device's backend directory is removed once it has closed for good: what a
	 * toolstack waits for of a driver domain, and does itself for dom0. 0: if we are not domain
	 * 0; 1: yes; -1: no.
	 */
	int remove_directory;
	/*
	 * Whether another backend of this host takes a device below backend/TYPE, and in `why` who
	 * and what to do. Such a device is left alone: nothing of it is written. NULL: none does.
	 * Called by the control thread.
	 */
	bool (*rival)(void *ctx, const char *type, uint16_t frontend, uint32_t devid, char *why,
		      size_t size);
	void *rival_ctx;
};

/* `options` is copied, what it points to is borrowed until sr_backend_free(). */
int sr_backend_new(struct sr_hypervisor *hv, const struct sr_backend_options *options,
		   struct sr_backend **backend);
/* After sr_backend_run() has returned, or never ran. NULL is allowed. */
void sr_backend_free(struct sr_backend *backend);

/*
 * Has `class` serve the devices below backend/TYPE of every one of `types`, which ends with NULL.
 * All are borrowed until sr_backend_free(). Before sr_backend_run(). -ENOSPC: too many.
 */
int sr_backend_add(struct sr_backend *backend, const struct sr_device_class *class, void *ctx,
		   const char *const *types);

/*
 * Serves until it is stopped. 0 after sr_backend_stop(); -errno if the store or what a class needs
 * can't be had. Devices that a killed process served are taken over where `keep` has their record.
 */
int sr_backend_run(struct sr_backend *backend);

enum sr_backend_stop {
	/*
	 * Every request that was taken is answered; the store is left as it is and the records stay
	 * kept, so that the next process takes over and guests see a pause. Where memory does not
	 * survive the process, the same as CLOSE.
	 */
	SR_BACKEND_HANDOVER,
	/*
	 * Every guest is asked to close its devices and served until it has, two seconds at most.
	 * Then the same, and every device is closed: its guest loses it until it is attached again.
	 */
	SR_BACKEND_CLOSE,
};

/* Makes sr_backend_run() return when it is done. A second call does not wait for guests to close.
 */
void sr_backend_stop(struct sr_backend *backend, enum sr_backend_stop how);

/* --- for classes --------------------------------------------------------------------------------
 */

struct sr_hypervisor *sr_backend_hv(const struct sr_backend *backend);
/* The control thread's. */
struct xs_handle *sr_backend_xs(const struct sr_backend *backend);
struct sr_keep *sr_backend_keep(const struct sr_backend *backend);
/* Whether directories are removed by us: then no toolstack of our own domain looks after them. */
bool sr_backend_removes(const struct sr_backend *backend);

/* Keeps the control thread out: what it changes it changes under this lock. */
void sr_backend_lock(struct sr_backend *backend);
void sr_backend_unlock(struct sr_backend *backend);

/*
 * Under the lock: the devices of a class, one after the other; the first after NULL. NULL: no more.
 */
struct sr_device *sr_backend_next(const struct sr_backend *backend,
				  const struct sr_device_class *class,
				  const struct sr_device *after);

/* Mail to the control thread; it is run under the lock. */
void sr_backend_post(struct sr_backend *backend, struct sr_mail *mail);

#endif
