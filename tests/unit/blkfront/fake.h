/* SPDX-License-Identifier: MIT */
#ifndef SR_TEST_FAKE_H
#define SR_TEST_FAKE_H

/*
 * A hypervisor of one process and a backend that a test drives by hand: the other end of every
 * ring, with a disk in memory. Implements the part of the seam that blkfront's queues use.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "internal.h"

#define FAKE_DISK_SIZE (8u << 20)

/* A front with one queue, connected by hand. */
struct fake {
	struct sr_blkfront front;
	struct sr_blkfront_queue queue;
	struct sr_blkif_back back;
	uint8_t *disk;
	int status; /* of the next responses: BLKIF_RSP_* */
	unsigned served, indirect_served, segments_served;
};

struct fake_options {
	enum sr_blkif_abi abi;
	unsigned order, max_segments;
	uint32_t sector_size;
	bool per_request; /* grants */
};

void fake_open(struct fake *f, const struct fake_options *options);
void fake_close(struct fake *f);
/* Takes up to `max` requests, does them and answers. How many there were. */
unsigned fake_serve(struct fake *f, unsigned max);
/* Takes one request and answers nothing. */
struct sr_blkif_request fake_take(struct fake *f);
void fake_answer(struct fake *f, uint64_t id, uint8_t operation, int16_t status);
/* Publishes, and sends the event if it is asked for. */
void fake_publish(struct fake *f);
/* Events that were sent to the backend, and grants that are in force. */
unsigned fake_events(void);
unsigned fake_grants(void);
/* From now on no grant can be ended, as if the backend held them all. */
void fake_hold_grants(bool hold);
/* The page behind a reference, or NULL; fails the test if it isn't granted for writing. */
uint8_t *fake_page(uint32_t ref, bool write);

#endif
