/* SPDX-License-Identifier: MIT */
#include "bystander.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <blkfront/blkfront.h>
#include <hypervisor.h>

/* More segments than a plain request has, so that it needs what indirect ones need. */
enum { BYTES = 65536, ROUNDS = 3 };

struct bystander {
	struct sr_hypervisor *hv;
	struct sr_blkfront *front;
	uint8_t *buffer;
	pthread_t thread;
	uint32_t stop, rounds, failed; /* atomics */
};

static bool round_trip(struct bystander *b, uint32_t round)
{
	struct sr_blkfront_queue *q = sr_blkfront_queue(b->front, 0);
	uint64_t offset = (uint64_t)round * BYTES % sr_blkfront_size(b->front);
	uint8_t fill = (uint8_t)(round * 5 + 1);

	memset(b->buffer, fill, BYTES);
	if (sr_blkfront_io(q, SR_BLKFRONT_WRITE, offset, b->buffer, BYTES))
		return false;
	memset(b->buffer, 0, BYTES);
	if (sr_blkfront_io(q, SR_BLKFRONT_READ, offset, b->buffer, BYTES))
		return false;
	for (unsigned i = 0; i < BYTES; i++) {
		if (b->buffer[i] != fill)
			return false;
	}
	return true;
}

static void *run(void *arg)
{
	struct bystander *b = arg;

	for (uint32_t round = 0; !__atomic_load_n(&b->stop, __ATOMIC_RELAXED); round++) {
		if (!round_trip(b, round)) {
			__atomic_store_n(&b->failed, 1, __ATOMIC_RELAXED);
			break;
		}
		__atomic_fetch_add(&b->rounds, 1, __ATOMIC_RELAXED);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return NULL;
}

int bystander_start(const char *address, struct bystander **out)
{
	struct sr_blkfront_options options = SR_BLKFRONT_DEFAULTS;
	struct bystander *b = calloc(1, sizeof(*b));
	void *buffer;
	int rc;

	if (!b)
		return -ENOMEM;
	options.device = "xvda";
	rc = sr_hv_open(address, &b->hv);
	if (!rc)
		rc = sr_blkfront_open(b->hv, &options, &b->front);
	if (!rc)
		rc = sr_blkfront_alloc(sr_blkfront_queue(b->front, 0), BYTES, &buffer);
	if (!rc) {
		b->buffer = buffer;
		rc = -pthread_create(&b->thread, NULL, run, b);
	}
	if (rc) {
		sr_blkfront_close(b->front);
		sr_hv_close(b->hv);
		free(b);
		return rc;
	}
	*out = b;
	return 0;
}

bool bystander_goes_on(struct bystander *b, int timeout_ms)
{
	uint32_t from = __atomic_load_n(&b->rounds, __ATOMIC_RELAXED);

	for (int waited = 0; waited < timeout_ms; waited += 2) {
		if (__atomic_load_n(&b->failed, __ATOMIC_RELAXED))
			return false;
		if (__atomic_load_n(&b->rounds, __ATOMIC_RELAXED) - from >= ROUNDS)
			return true;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	return false;
}

void bystander_stop(struct bystander *b)
{
	if (!b)
		return;
	__atomic_store_n(&b->stop, 1, __ATOMIC_RELAXED);
	pthread_join(b->thread, NULL);
	sr_blkfront_close(b->front);
	sr_hv_close(b->hv);
	free(b);
}
