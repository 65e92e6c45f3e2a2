/* SPDX-License-Identifier: MIT */
#ifndef SR_E2E_BACKEND_H
#define SR_E2E_BACKEND_H

/* The block backend in a thread of the test. Every function fails the test by itself. */

#include <pthread.h>

#include <blk/blkback.h>
#include <drivers/registry.h>
#include <hypervisor.h>

#include "harness.h"

struct backend {
	struct sr_blk_registry *registry;
	struct sr_hypervisor *hv;
	struct sr_blkback *bb;
	struct sr_log log;
	pthread_t thread;
	int result; /* of sr_blkback_run() */
};

/* options: registry and log are filled in; NULL: all default. */
void backend_start(struct backend *b, struct harness *h, const struct sr_blkback_options *options);
void backend_stop(struct backend *b, enum sr_blkback_stop how);

/* What the backend says of the disk; fails if it does not know it. */
void backend_device(struct backend *b, const struct harness_disk *disk,
		    struct sr_blkback_device *device);

#endif
