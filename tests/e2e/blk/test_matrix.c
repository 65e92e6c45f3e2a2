/* SPDX-License-Identifier: MIT */
/*
 * Every combination of what a frontend and the backend can agree on, each with random requests of
 * all queues at a time, checked against a shadow of the disk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <blkfront/blkfront.h>
#include <cmocka.h>

#include "backend.h"

#define MIB       (1u << 20)
#define DISK_SIZE (8u * MIB)
#define QUEUES    4u
#define AREA      (DISK_SIZE / QUEUES)
#define DEPTH     8u
#define LARGEST   (256u * 1024)

static struct harness h;
static struct backend b;
static struct sr_hypervisor *guest;
static struct harness_disk disk;
static char image[96];
static uint8_t *shadow;

struct slot {
	struct iovec iov;
	uint8_t *buffer; /* granted; or not, in every other slot */
	uint64_t offset;
	enum sr_blkfront_op op;
	bool out;
};

/* One queue's load: it has an area of the disk to itself. */
struct load {
	struct sr_blkfront_queue *q;
	pthread_t thread;
	unsigned index, requests;
	uint32_t random;
	struct slot slots[DEPTH];
	const char *failure; /* as only the main thread may fail the test */
};

static uint32_t next(struct load *l)
{
	l->random = l->random * 1664525u + 1013904223u;
	return l->random >> 8;
}

static bool overlaps(const struct load *l, uint64_t offset, size_t size)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		const struct slot *s = &l->slots[i];

		if (s->out && offset < s->offset + s->iov.iov_len && s->offset < offset + size)
			return true;
	}
	return false;
}

/* Fills a slot with a request that touches nothing that is in flight, and submits it. */
static void submit(struct load *l, struct slot *s)
{
	size_t size = 512u * (1 + next(l) % (next(l) % 6 ? 24 : LARGEST / 512));
	uint64_t offset = (uint64_t)AREA * l->index + 512ull * (next(l) % ((AREA - size) / 512));
	struct sr_blkfront_request req = { .iov = &s->iov, .iov_count = 1, .tag = s };
	unsigned skew = next(l) % 4 ? 0 : 512 * (next(l) % 8);
	int rc;

	if (overlaps(l, offset, size))
		return;
	s->offset = offset;
	s->op = next(l) % 2 ? SR_BLKFRONT_WRITE : SR_BLKFRONT_READ;
	s->iov = (struct iovec){ .iov_base = s->buffer + skew, .iov_len = size };
	if (s->op == SR_BLKFRONT_WRITE) {
		uint32_t *words = s->iov.iov_base, word = next(l);

		for (size_t i = 0; i < size / 4; i++)
			words[i] = word + (uint32_t)i;
	}
	req.op = s->op;
	req.offset = offset;
	rc = sr_blkfront_submit(l->q, &req);
	if (rc == -EBUSY)
		return;
	if (rc) {
		l->failure = "submit";
		return;
	}
	s->out = true;
	if (s->op == SR_BLKFRONT_WRITE)
		memcpy(shadow + offset, s->iov.iov_base, size);
	l->requests++;
}

static void check(struct load *l, const struct sr_blkfront_done *done)
{
	struct slot *s = done->tag;

	if (!s->out)
		l->failure = "a request was done twice";
	s->out = false;
	if (done->error)
		l->failure = "a request failed";
	else if (s->op == SR_BLKFRONT_READ &&
		 memcmp(s->iov.iov_base, shadow + s->offset, s->iov.iov_len))
		l->failure = "a read gave other data than were written";
}

static void *drive(void *arg)
{
	struct load *l = arg;
	struct sr_blkfront_done done[DEPTH];

	while (!l->failure && (l->requests < 60 || sr_blkfront_in_flight(l->q))) {
		unsigned n;

		for (unsigned i = 0; i < DEPTH && l->requests < 60; i++) {
			if (!l->slots[i].out)
				submit(l, &l->slots[i]);
		}
		if (sr_blkfront_kick(l->q))
			l->failure = "kick";
		n = sr_blkfront_reap(l->q, done, DEPTH);
		if (!n && sr_blkfront_in_flight(l->q) && sr_blkfront_wait(l->q, 30000))
			l->failure = "wait";
		for (unsigned i = 0; i < n; i++)
			check(l, &done[i]);
	}
	return NULL;
}

static void start_load(struct load *l, struct sr_blkfront *front, unsigned index)
{
	void *p;

	*l = (struct load){ .index = index, .random = 7 + index };
	l->q = sr_blkfront_queue(front, index);
	for (unsigned i = 0; i < DEPTH; i++) {
		if (i % 2)
			p = malloc(LARGEST + 4096);
		else
			assert_int_equal(sr_blkfront_alloc(l->q, LARGEST + 4096, &p), 0);
		l->slots[i].buffer = p;
	}
	assert_int_equal(pthread_create(&l->thread, NULL, drive, l), 0);
}

/*
 * What lies on the disk in the end is what the shadow says. Each queue reads what it has written:
 * queues are ordered by what passes between guest and backend through two mappings of the same
 * pages, which TSan can't know.
 */
static void compare_disk(struct sr_blkfront *front)
{
	unsigned queues = sr_blkfront_info(front)->queues;
	uint8_t *part = malloc(AREA);

	for (unsigned i = 0; i < QUEUES; i++) {
		struct sr_blkfront_queue *q = sr_blkfront_queue(front, i < queues ? i : 0);

		assert_int_equal(
		    sr_blkfront_io(q, SR_BLKFRONT_READ, (uint64_t)i * AREA, part, AREA), 0);
		assert_memory_equal(part, shadow + (size_t)i * AREA, AREA);
	}
	free(part);
}

/* The backend counts a request as out until it has published its response. */
static void await_idle(void)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	struct sr_blkback_device d;

	for (unsigned i = 0; i < 10000; i++) {
		backend_device(&b, &disk, &d);
		if (!d.in_flight)
			return;
		nanosleep(&nap, NULL);
	}
	fail_msg("%u requests stay in flight", d.in_flight);
}

static void run(struct sr_blkfront_options opt)
{
	struct load loads[QUEUES];
	const struct sr_blkfront_info *info;
	struct sr_blkback_device d;
	struct sr_blkfront *front;
	char error[256], *failure = NULL;

	opt.device = "xvda";
	opt.error = error;
	opt.error_size = sizeof(error);
	if (sr_blkfront_open(guest, &opt, &front))
		fail_msg("open: %s", error);
	info = sr_blkfront_info(front);
	assert_int_equal(info->queues, opt.queues);
	assert_int_equal(info->ring_order, opt.ring_order);
	assert_int_equal(info->max_segments, opt.indirect_segments ? opt.indirect_segments : 11);
	assert_int_equal(info->persistent, opt.persistent);
	for (unsigned i = 0; i < opt.queues; i++)
		start_load(&loads[i], front, i);
	for (unsigned i = 0; i < opt.queues; i++) {
		pthread_join(loads[i].thread, NULL);
		for (unsigned s = 1; s < DEPTH; s += 2)
			free(loads[i].slots[s].buffer);
		if (loads[i].failure)
			failure = (char *)loads[i].failure;
	}
	if (failure)
		fail_msg("%s: abi %d, queues %u, order %u, persistent %d, indirect %u (%s)",
			 failure, (int)opt.abi, opt.queues, opt.ring_order, opt.persistent,
			 opt.indirect_segments, sr_blkfront_reason(front));
	compare_disk(front);
	await_idle();
	backend_device(&b, &disk, &d);
	assert_int_equal(d.queues, opt.queues);
	assert_int_equal(d.ring_pages, 1u << opt.ring_order);
	assert_int_equal(d.persistent, opt.persistent);
	assert_int_equal(sr_blkfront_close(front), 0);
}

/* Under TSan everything is ten times slower, and what it looks for is the same in each. */
#ifdef __SANITIZE_THREAD__
#define THINNER 7u
#else
#define THINNER 1u
#endif

/*
 * forgets: the disk is empty again with each connection. step: only every so many combinations are
 * run; a step that has no factor in common with 2 and 3 meets every value of each option.
 */
static void matrix(const char *params, bool forgets, unsigned step)
{
	static const enum sr_blkif_abi abis[] = { SR_BLKIF_ABI_NATIVE, SR_BLKIF_ABI_X86_32,
						  SR_BLKIF_ABI_X86_64 };
	static const unsigned queues[] = { 1, 2, QUEUES }, orders[] = { 0, 1, 4 };
	static const unsigned indirect[] = { 0, 33, 256 };
	struct harness_usage before, after;

	memset(shadow, 0, DISK_SIZE);
	disk = (struct harness_disk){ .vdev = 51712, .params = params };
	disk.domid = sr_hv_domid(guest);
	harness_attach(&h, &disk);
	harness_await_back(&h, &disk, "state", 2);
	harness_usage(&h, &before);
	for (unsigned i = 0; i < 3 * 3 * 3 * 3 * 2; i += step * THINNER) {
		struct sr_blkfront_options opt = SR_BLKFRONT_DEFAULTS;

		opt.abi = abis[i % 3];
		opt.queues = queues[i / 3 % 3];
		opt.ring_order = orders[i / 9 % 3];
		opt.indirect_segments = indirect[i / 27 % 3];
		opt.persistent = i / 81;
		if (forgets)
			memset(shadow, 0, DISK_SIZE);
		run(opt);
	}
	harness_usage(&h, &after);
	assert_int_equal(before.pinned, after.pinned);
	assert_int_equal(before.granted, after.granted);
	assert_int_equal(before.ports, after.ports);
	assert_int_equal(before.watches, after.watches);
	harness_detach(&h, &disk);
}

static void test_ram(void **state)
{
	matrix("ram:size=8M", true, 1);
}

static void test_ram_strict(void **state)
{
	matrix("ram:size=8M", true, 7);
}

static void test_uring(void **state)
{
	char params[128];
	FILE *f;

	snprintf(image, sizeof(image), "%s/image", h.parent);
	f = fopen(image, "w");
	assert_non_null(f);
	assert_int_equal(ftruncate(fileno(f), DISK_SIZE), 0);
	fclose(f);
	snprintf(params, sizeof(params), "uring:%s", image);
	matrix(params, false, 5);
	unlink(image);
}

static void start(const char *scheme)
{
	struct sr_blkback_options opt = { .threads = 2, .max_queues = QUEUES };
	char address[128];

	harness_start(&h, scheme);
	backend_start(&b, &h, &opt);
	harness_guest(&h, 32768, address);
	assert_int_equal(sr_hv_open(address, &guest), 0);
	shadow = malloc(DISK_SIZE);
	assert_non_null(shadow);
}

static int setup(void **state)
{
	start("embedded:");
	return 0;
}

static int setup_strict(void **state)
{
	start("embedded-strict:");
	return 0;
}

static int teardown(void **state)
{
	sr_hv_close(guest);
	backend_stop(&b, SR_BLKBACK_CLOSE);
	harness_stop(&h);
	free(shadow);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ram, setup, teardown),
		cmocka_unit_test_setup_teardown(test_uring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ram_strict, setup_strict, teardown),
	};

	return cmocka_run_group_tests_name("blk-matrix", tests, NULL, NULL);
}
