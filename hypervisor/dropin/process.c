/* SPDX-License-Identifier: MIT */
#include "process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xentoollog.h>

#define ADDRESS "SPLITRING_HYPERVISOR"

static struct {
	pthread_mutex_t lock;
	struct sr_hypervisor *hv;
	unsigned users;
	pid_t pid;
} process = { .lock = PTHREAD_MUTEX_INITIALIZER };

int sr_dropin_join(struct sr_hypervisor **hv)
{
	const char *address = secure_getenv(ADDRESS);
	int err = 0;

	pthread_mutex_lock(&process.lock);
	/* The connection that a fork inherited is its parent's. */
	if (process.pid != getpid())
		process.hv = NULL;
	if (!process.hv) {
		err = address ? sr_hv_open(address, &process.hv) : -ENOENT;
		process.users = 0;
		process.pid = getpid();
	}
	if (!err) {
		process.users++;
		*hv = process.hv;
	}
	pthread_mutex_unlock(&process.lock);
	return err;
}

void sr_dropin_leave(void)
{
	pthread_mutex_lock(&process.lock);
	if (!--process.users) {
		sr_hv_close(process.hv);
		process.hv = NULL;
	}
	pthread_mutex_unlock(&process.lock);
}

int sr_dropin_open(struct sr_dropin_handle *h, struct xentoollog_logger *logger, bool logs)
{
	int err;

	pthread_mutex_init(&h->lock, NULL);
	h->pid = getpid();
	h->logger = logs ? logger : NULL;
	if (logs && !logger) {
		h->own_logger =
		    (xentoollog_logger *)xtl_createlogger_stdiostream(stderr, XTL_PROGRESS, 0);
		if (!h->own_logger)
			return -ENOMEM;
		h->logger = h->own_logger;
	}
	err = sr_dropin_join(&h->hv);
	if (err)
		sr_dropin_fail(h, err, "open the hypervisor that $" ADDRESS " names");
	return err;
}

bool sr_dropin_inherited(const struct sr_dropin_handle *h)
{
	return h->pid != getpid();
}

void sr_dropin_close(struct sr_dropin_handle *h)
{
	if (h->hv && !sr_dropin_inherited(h))
		sr_dropin_leave();
	xtl_logger_destroy(h->own_logger);
	pthread_mutex_destroy(&h->lock);
}

int sr_dropin_fail(struct sr_dropin_handle *h, int err, const char *what)
{
	if (h->logger)
		xtl_log(h->logger, XTL_ERROR, -err, "splitring", "could not %s", what);
	errno = -err;
	return -1;
}
