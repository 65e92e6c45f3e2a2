/* SPDX-License-Identifier: MIT */
#ifndef SR_TEST_NETFRONT_WORLD_H
#define SR_TEST_NETFRONT_WORLD_H

/* A machine, a guest with one NIC, the test's backend. Every function fails the test by itself. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <netfront/netfront.h>

#include "harness.h"
#include "testback.h"

#define WORLD_PAGES 512u

struct world {
	struct harness h;
	struct testback back;
	uint16_t domid;
	char address[128];
	struct sr_hypervisor *guest;
	struct sr_netfront *front;
	struct sr_netfront_queue *q; /* the first one */
	uint8_t *memory;             /* WORLD_PAGES */
	unsigned events[3];          /* by enum sr_netfront_event */
	struct testback_packet packet;
};

/* Everything that it knows. */
extern const struct testback_offer world_full;

void world_start(struct world *w, const struct testback_offer *offer);
void world_open(struct world *w, struct sr_netfront_options options);
/* Both with all there is, and memory. */
void world_quick(struct world *w);
void world_stop(struct world *w);

/* Posts `count` pages from page `first` on; their tags are their addresses. */
void world_post(struct world *w, unsigned first, unsigned count);
/* One packet of one segment in granted memory; its tag is its address. */
int world_send(struct world *w, void *data, uint32_t length, uint16_t flags, uint16_t gso_size);
/* The one packet that is done with. */
int world_done(struct world *w, void *tag);
void world_fill(void *data, size_t length, unsigned seed);
void world_expect(const void *data, size_t length, unsigned seed);
/* Waits until the event has come so often. */
void world_await_event(struct world *w, enum sr_netfront_event event, unsigned count);

#endif
