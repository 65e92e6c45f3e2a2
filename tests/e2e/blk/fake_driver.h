/* SPDX-License-Identifier: MIT */
#ifndef SR_E2E_FAKE_DRIVER_H
#define SR_E2E_FAKE_DRIVER_H

/*
 * A disk of the test's own, in memory, that is as difficult as a driver may be: it queues, is busy,
 * finishes in any order, fails, has large blocks. "fake:" opens it; there is one.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <splitring/blk_driver.h>

#define FAKE_LOG 4096u

struct fake_disk {
	/* Set by the test, before the disk is opened. */
	struct sr_blk_info info;
	unsigned room;  /* requests it takes at a time; 0: it finishes each within submit() */
	bool backwards; /* the latest comes back first */
	bool no_fd;
	/* While it is open. */
	bool hold;   /* gives nothing back */
	int fail_op; /* an SR_BLK_* that ends with fail_error; -1: none */
	int fail_error;
	/* What happened. */
	pthread_mutex_t lock;
	uint8_t *data;
	unsigned opened, queues;
	unsigned in_flight, most_in_flight;
	unsigned count[4]; /* by op */
	unsigned secure;
	unsigned log_count;
	struct {
		uint8_t op;
		uint64_t offset, length;
	} log[FAKE_LOG];
	const char *complaint; /* the engine broke the contract: how */
};

extern struct fake_disk fake;
extern const struct sr_blk_driver fake_driver;

/* Back to a disk of `size` bytes with 512-byte blocks that does everything at once. */
void fake_reset(uint64_t size);
void fake_hold(bool hold);
/* Requests with that SR_BLK_* end with `error` from now on; op -1: none. */
void fake_fail(int op, int error);
void fake_resize(uint64_t size);
unsigned fake_in_flight(void);
/* How many there were of an SR_BLK_*. */
unsigned fake_count(int op);
/* To read the rest while the backend runs. */
void fake_lock(void);
void fake_unlock(void);

#endif
