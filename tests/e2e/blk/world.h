/* SPDX-License-Identifier: MIT */
#ifndef SR_E2E_WORLD_H
#define SR_E2E_WORLD_H

/* A machine, a backend in it, a guest with one disk. Every function fails the test by itself. */

#include <blkfront/blkfront.h>

#include "backend.h"
#include "fake_driver.h"

#define VDEV 51712
#define MIB  (1u << 20)

struct world {
	struct harness h;
	struct backend b;
	struct harness_disk disk;
	char address[128]; /* the guest's */
	struct sr_hypervisor *guest;
	struct sr_blkfront *front;
	struct sr_blkfront_queue *q; /* the first one */
};

extern const struct sr_blkfront_options world_front;

/* Without the disk's nodes: harness_attach() makes them. opt may be NULL. */
void world_start(struct world *w, const char *scheme, const char *params,
		 const struct sr_blkback_options *opt);
/* The same, where a guest's grant table has so many pages. */
void world_start_with_frames(struct world *w, const char *scheme, const char *params,
			     unsigned frames);
/* Closes and detaches; nothing may be left mapped. */
void world_stop(struct world *w);

void world_open(struct world *w, struct sr_blkfront_options opt);
void world_close(struct world *w);

/* world_start(), harness_attach() and world_open() with the defaults. */
void world_quick(struct world *w, const char *params);

void world_fill(void *p, size_t len, unsigned seed);
/* One request that has to succeed. */
void world_io(struct world *w, enum sr_blkfront_op op, uint64_t offset, void *buf, size_t len);
/* One request; what it ends with. */
int world_try(struct world *w, enum sr_blkfront_op op, uint64_t offset, void *buf, size_t len);

#endif
