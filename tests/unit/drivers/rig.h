/* SPDX-License-Identifier: MIT */
#ifndef TEST_DRIVERS_RIG_H
#define TEST_DRIVERS_RIG_H

/*
 * An engine's part, for tests: a disk with its queues, requests that are handed out and taken back,
 * and a wait on the driver's descriptor that fails the test when a wake-up is lost. It checks at
 * each turn that every request comes back exactly once.
 */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <drivers/registry.h>

struct rig;

struct rig_request {
	struct sr_blk_request req; /* first: what reap() gives is this */
	bool busy;                 /* with the driver */
	unsigned index;
	struct iovec iov[SR_BLK_MAX_IOV];
};

struct rig_queue {
	struct rig *rig;
	void *queue;
	unsigned depth, inflight;
	struct rig_request *requests;
	uint8_t *scratch;
};

struct rig {
	struct sr_blk_registry *registry;
	struct sr_blk_target target;
	const struct sr_blk_driver *driver;
	void *disk;
	struct sr_blk_info info;
	char error[512];
};

/* All of these fail the test, or return what they say. */

/* -errno of the open, with rig->error; 0: the disk is open. `library` may be NULL. */
int rig_open(struct rig *rig, const char *library, const char *target, bool read_only);
void rig_close(struct rig *rig);

void rig_queue_open(struct rig *rig, struct rig_queue *queue, unsigned depth, unsigned index,
		    unsigned count);
void rig_queue_close(struct rig_queue *queue);

/* A request that nobody has, or NULL. */
struct rig_request *rig_take(struct rig_queue *queue);

/* True: the driver has it, or (req.result set, *done true) has finished it. False: busy. */
bool rig_submit(struct rig_queue *queue, struct rig_request *request, bool *done);
void rig_kick(struct rig_queue *queue);

/* Up to `max` that are finished; if none is and `wait`, sleeps on the descriptor until one is. */
unsigned rig_reap(struct rig_queue *queue, struct rig_request **done, unsigned max, bool wait);

/* One request from start to end; its result. */
int64_t rig_do(struct rig_queue *queue, enum sr_blk_op op, uint64_t offset, void *base, size_t len,
	       uint8_t flags);

/* A repeatable pseudo-random number; `state` starts as anything but 0. */
uint64_t rig_random(uint64_t *state);
void rig_fill(void *base, size_t len, uint64_t *state);

#endif
