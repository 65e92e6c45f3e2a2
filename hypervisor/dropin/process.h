/* SPDX-License-Identifier: MIT */
#ifndef DROPIN_PROCESS_H
#define DROPIN_PROCESS_H

/*
 * What the drop-in libraries share: the domain that the process acts for, and what every handle of
 * theirs begins with.
 *
 * A handle is locked by each call, since Xen's libraries let threads share one as far as the device
 * beneath them does. What a fork inherits may only be closed, and that leaves the parent's alone.
 */

#include <hypervisor.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/types.h>

struct xentoollog_logger;

/*
 * The instance of the seam that $SPLITRING_HYPERVISOR names: opened by the first, closed by the
 * last handle of this library. -ENOENT: the variable isn't set, or there is no such machine, as
 * where a kernel has no Xen devices.
 */
int sr_dropin_join(struct sr_hypervisor **hv);
void sr_dropin_leave(void);

struct sr_dropin_handle {
	pthread_mutex_t lock;
	pid_t pid; /* of who opened it */
	struct sr_hypervisor *hv;
	struct xentoollog_logger *logger, *own_logger; /* NULL: says nothing */
};

/* Joins, and makes a logger for stderr where `logger` is NULL and `logs`. */
int sr_dropin_open(struct sr_dropin_handle *h, struct xentoollog_logger *logger, bool logs);
void sr_dropin_close(struct sr_dropin_handle *h);
/* Inherited by fork(): nothing but memory may be given back. */
bool sr_dropin_inherited(const struct sr_dropin_handle *h);

/* Sets errno to -err, says what failed where the handle has a logger, and returns -1. */
int sr_dropin_fail(struct sr_dropin_handle *h, int err, const char *what);

#endif
