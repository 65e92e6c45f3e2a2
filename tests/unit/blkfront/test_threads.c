/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/*
 * The two ends in two threads: random requests against a shadow of the disk. The backend sleeps
 * now and then, so that each side has to wake the other.
 */

#define SLOTS    16u
#define AREA     (FAKE_DISK_SIZE / SLOTS)
#define REQUESTS 3000u

struct slot {
	uint8_t *buffer;
	struct iovec iov;
	bool write;
	uint64_t offset;
};

struct load {
	struct fake f;
	uint8_t *shadow;
	struct slot slots[SLOTS];
	uint32_t random;
	_Atomic bool stop;
};

static uint32_t next(struct load *l)
{
	l->random = l->random * 1664525u + 1013904223u;
	return l->random >> 8;
}

static void *backend(void *arg)
{
	struct load *l = arg;
	struct timespec nap = { .tv_nsec = 50000 };
	unsigned seen = 0;

	while (!l->stop) {
		if (fake_serve(&l->f, 1 + l->f.served % 7))
			continue;
		if (sr_ring_back_arm(&l->f.back.ring) > 0)
			continue;
		/* Armed: from here on the next request has to come with an event. */
		while (!l->stop && fake_events() == seen)
			nanosleep(&nap, NULL);
		seen = fake_events();
	}
	return NULL;
}

/* Each slot has an area of the disk to itself, so the order of requests doesn't matter. */
static bool submit(struct load *l, unsigned i)
{
	struct slot *s = &l->slots[i];
	size_t size = 512u * (1 + next(l) % (next(l) % 8 ? 16 : 400));
	struct sr_blkfront_request req = { .iov = &s->iov, .iov_count = 1, .tag = s };

	int rc;

	s->write = next(l) % 2;
	s->offset = (uint64_t)AREA * i + 512u * (next(l) % ((AREA - size) / 512));
	s->iov = (struct iovec){ .iov_base = s->buffer, .iov_len = size };
	for (size_t b = 0; s->write && b < size; b += 64)
		memset(s->buffer + b, (int)next(l), 64);
	req.op = s->write ? SR_BLKFRONT_WRITE : SR_BLKFRONT_READ;
	req.offset = s->offset;
	rc = sr_blkfront_submit(&l->f.queue, &req);
	if (rc == -EBUSY)
		return false;
	assert_int_equal(rc, 0);
	if (s->write)
		memcpy(l->shadow + s->offset, s->buffer, size);
	return true;
}

static void run(const struct fake_options *o, bool granted)
{
	struct load l = { .random = 42 };
	struct sr_blkfront_done done[SLOTS];
	struct slot *idle[SLOTS];
	unsigned idle_count = SLOTS, submitted = 0, finished = 0;
	pthread_t thread;

	fake_open(&l.f, o);
	l.shadow = calloc(1, FAKE_DISK_SIZE);
	for (unsigned i = 0; i < SLOTS; i++) {
		void *p;

		if (granted)
			assert_int_equal(sr_blkfront_alloc(&l.f.queue, AREA, &p), 0);
		else
			p = malloc(AREA);
		l.slots[i].buffer = p;
		idle[i] = &l.slots[i];
	}
	assert_int_equal(pthread_create(&thread, NULL, backend, &l), 0);
	while (finished < REQUESTS) {
		unsigned n;

		while (idle_count && submitted < REQUESTS &&
		       submit(&l, (unsigned)(idle[idle_count - 1] - l.slots))) {
			idle_count--;
			submitted++;
		}
		assert_int_equal(sr_blkfront_kick(&l.f.queue), 0);
		n = sr_blkfront_reap(&l.f.queue, done, SLOTS);
		if (!n)
			assert_int_equal(sr_blkfront_wait(&l.f.queue, 20000), 0);
		for (unsigned i = 0; i < n; i++) {
			struct slot *s = done[i].tag;

			assert_int_equal(done[i].error, 0);
			if (!s->write)
				assert_memory_equal(s->buffer, l.shadow + s->offset,
						    s->iov.iov_len);
			idle[idle_count++] = s;
			finished++;
		}
	}
	l.stop = true;
	pthread_join(thread, NULL);
	assert_memory_equal(l.f.disk, l.shadow, FAKE_DISK_SIZE);
	assert_int_equal(l.f.queue.stats.requests, REQUESTS);
	assert_int_equal(l.f.queue.free_count, l.f.front.info.ring_size);
	for (unsigned i = 0; i < SLOTS && !granted; i++)
		free(l.slots[i].buffer);
	free(l.shadow);
	fake_close(&l.f);
}

static void test_granted(void **state)
{
	struct fake_options o = { .max_segments = 64 };

	run(&o, true);
}

static void test_bounced(void **state)
{
	struct fake_options o = { .abi = SR_BLKIF_ABI_X86_32, .max_segments = 11 };

	run(&o, false);
}

static void test_grants_per_request(void **state)
{
	struct fake_options o = { .order = 1, .max_segments = 32, .per_request = true };

	run(&o, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_granted),
		cmocka_unit_test(test_bounced),
		cmocka_unit_test(test_grants_per_request),
	};

	return cmocka_run_group_tests_name("blkfront-threads", tests, NULL, NULL);
}
