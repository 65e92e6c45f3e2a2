/* SPDX-License-Identifier: MIT */
/* Data, from a frontend through the engine to a driver and back, by every way there is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

/* Writes, reads back, in sizes from a sector to many segments, at odd sectors. */
static void write_and_verify(struct world *w)
{
	static const size_t sizes[] = { 512, 1024, 4096, 4608, 11 * 4096, 12 * 4096, MIB };
	uint8_t *out = malloc(MIB), *in = malloc(MIB);

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (unsigned odd = 0; odd < 3; odd++) {
			uint64_t offset = 8 * MIB + odd * 512;

			world_fill(out, sizes[i], i * 31 + odd);
			world_io(w, SR_BLKFRONT_WRITE, offset, out, sizes[i]);
			memset(in, 0xee, sizes[i]);
			world_io(w, SR_BLKFRONT_READ, offset, in, sizes[i]);
			assert_memory_equal(in, out, sizes[i]);
		}
	free(out);
	free(in);
}

static void one_way(const char *scheme, const char *params, struct sr_blkfront_options front,
		    struct sr_blkback_options back, struct sr_blk_stats *stats)
{
	struct sr_blkback_device d;
	struct world w;

	world_start(&w, scheme, params, &back);
	harness_attach(&w.h, &w.disk);
	world_open(&w, front);
	write_and_verify(&w);
	world_io(&w, SR_BLKFRONT_FLUSH, 0, NULL, 0);
	backend_device(&w.b, &w.disk, &d);
	assert_int_equal(d.state, 4);
	assert_int_equal(d.size, 32 * MIB);
	assert_true(d.stats.requests[SR_STAT_WRITE] >= 21);
	assert_int_equal(d.stats.requests[SR_STAT_FLUSH], 1);
	for (unsigned i = 0; i < SR_STAT_ERRORS; i++)
		assert_int_equal(d.stats.errors[i], 0);
	if (stats)
		*stats = d.stats;
	world_stop(&w);
}

static void test_persistent(void **state)
{
	struct sr_blk_stats s;

	one_way("embedded:", "ram:size=32M", world_front, (struct sr_blkback_options){ 0 }, &s);
	assert_true(s.persistent_hits > 0 && s.indirect > 0);
	assert_int_equal(s.maps + s.copies, 0);
}

static void test_persistent_strict(void **state)
{
	one_way("embedded-strict:", "ram:size=32M", world_front, (struct sr_blkback_options){ 0 },
		NULL);
}

/* Fewer than an indirect request needs by itself, so persistent grants alone do not do. */
static void test_persistent_limit(void **state)
{
	struct sr_blkback_options back = { .max_persistent_grants = 8 };
	struct sr_blkback_device d;
	struct world w;

	world_start(&w, "embedded:", "ram:size=32M", &back);
	harness_attach(&w.h, &w.disk);
	world_open(&w, world_front);
	/* Those that are kept make room for others, but only now and then. */
	for (unsigned round = 0; round < 50; round++) {
		write_and_verify(&w);
		backend_device(&w.b, &w.disk, &d);
		if (d.stats.persistent_purged)
			break;
	}
	assert_true(d.stats.persistent_purged > 0 && d.stats.maps > 0);
	assert_true(d.persistent_grants <= 8);
	world_stop(&w);
}

/* A guest that can grant few pages is not asked to leave any to us; one with some more is. */
static void test_small_grant_table(void **state)
{
	for (unsigned frames = 2; frames <= 4; frames++) {
		struct sr_blkback_device d;
		struct world w;

		world_start_with_frames(&w, "embedded:", "ram:size=32M", frames);
		harness_attach(&w.h, &w.disk);
		world_open(&w, world_front);
		assert_int_equal(sr_blkfront_info(w.front)->persistent, frames == 4);
		write_and_verify(&w);
		backend_device(&w.b, &w.disk, &d);
		assert_int_equal(d.persistent, frames == 4);
		assert_int_equal(d.persistent_grants > 0, frames == 4);
		world_stop(&w);
	}
}

static void test_mapped(void **state)
{
	struct sr_blkfront_options front = world_front;
	struct sr_blk_stats s;

	front.persistent = false;
	one_way("embedded:", "ram:size=32M", front, (struct sr_blkback_options){ 0 }, &s);
	assert_true(s.maps > 0);
	assert_int_equal(s.persistent_maps + s.copies, 0);
}

static void test_copied(void **state)
{
	struct sr_blkfront_options front = world_front;
	struct sr_blk_stats s;

	front.persistent = false;
	one_way("embedded-strict:", "ram:size=32M", front, (struct sr_blkback_options){ 0 }, &s);
	assert_true(s.copies > 0);
	assert_int_equal(s.persistent_maps + s.maps, 0);
}

static void test_no_indirect(void **state)
{
	struct sr_blk_stats s;

	one_way("embedded:", "ram:size=32M", world_front,
		(struct sr_blkback_options){ .max_indirect_segments = SR_BLKBACK_NONE,
					     .max_ring_page_order = SR_BLKBACK_NONE,
					     .max_persistent_grants = SR_BLKBACK_NONE },
		&s);
	assert_int_equal(s.indirect, 0);
}

static void test_interrupt_mode(void **state)
{
	one_way("embedded:", "ram:size=32M", world_front,
		(struct sr_blkback_options){ .mode = SR_POLL_INTERRUPT }, NULL);
}

static void test_poll_mode(void **state)
{
	one_way("embedded:", "ram:size=32M", world_front,
		(struct sr_blkback_options){ .mode = SR_POLL_ALWAYS }, NULL);
}

static void test_abis(void **state)
{
	struct sr_blkfront_options front = world_front;

	front.abi = SR_BLKIF_ABI_X86_32;
	one_way("embedded:", "ram:size=32M", front, (struct sr_blkback_options){ 0 }, NULL);
	front.abi = SR_BLKIF_ABI_X86_64;
	front.ring_order = 4;
	one_way("embedded:", "ram:size=32M", front, (struct sr_blkback_options){ 0 }, NULL);
}

/* --- difficult drivers --------------------------------------------------------------------------
 */

static void test_large_blocks(void **state)
{
	struct sr_blk_stats s;

	fake_reset(32 * MIB);
	fake.info.logical_block_size = 4096;
	fake.info.discard_granularity = 0;
	one_way("embedded:", "fake:x", world_front, (struct sr_blkback_options){ 0 }, &s);
	assert_true(s.rmw > 0);
}

static void test_large_blocks_queued(void **state)
{
	fake_reset(32 * MIB);
	fake.info.logical_block_size = 2048;
	fake.info.memory_alignment = 4096;
	fake.info.discard_granularity = 0;
	fake.room = 3;
	fake.backwards = true;
	one_way("embedded-strict:", "fake:x", world_front, (struct sr_blkback_options){ 0 }, NULL);
}

static void test_busy_driver(void **state)
{
	fake_reset(32 * MIB);
	fake.room = 1;
	one_way("embedded:", "fake:x", world_front, (struct sr_blkback_options){ 0 }, NULL);
}

static void test_driver_without_fd(void **state)
{
	fake_reset(32 * MIB);
	fake.room = 2;
	fake.no_fd = true;
	one_way("embedded:", "fake:x", world_front,
		(struct sr_blkback_options){ .mode = SR_POLL_INTERRUPT }, NULL);
}

/* --- many at once -------------------------------------------------------------------------------
 */

#define AT_ONCE 4u

struct lane {
	struct sr_blkfront_queue *q;
	unsigned number; /* of the queue: its part of the disk, and its pattern */
	unsigned count;  /* requests of a round */
	size_t size;
	uint8_t *pages;
};

static void send_one(struct lane *l, unsigned i, bool read)
{
	struct iovec iov = { l->pages + i % AT_ONCE * l->size, l->size };
	struct sr_blkfront_request req = {
		.op = read ? SR_BLKFRONT_READ : SR_BLKFRONT_WRITE,
		.offset = (uint64_t)(l->number * l->count + i) * l->size,
		.iov = &iov,
		.iov_count = 1,
		.tag = (void *)(uintptr_t)i,
	};

	world_fill(iov.iov_base, l->size, read ? 0 : l->number * 100 + i);
	assert_int_equal(sr_blkfront_submit(l->q, &req), 0);
}

static void finish_one(struct lane *l, unsigned i, bool read, uint8_t *want)
{
	struct sr_blkfront_done done;

	while (!sr_blkfront_reap(l->q, &done, 1))
		assert_int_equal(sr_blkfront_wait(l->q, 10000), 0);
	assert_int_equal(done.error, 0);
	/* They come back in order: the driver does not queue. */
	assert_int_equal((uintptr_t)done.tag, i);
	if (!read)
		return;
	world_fill(want, l->size, l->number * 100 + i);
	assert_memory_equal(l->pages + i % AT_ONCE * l->size, want, l->size);
}

static void run_lane(struct lane *l, bool read)
{
	uint8_t *want = malloc(l->size);

	for (unsigned i = 0; i < l->count + AT_ONCE; i++) {
		if (i >= AT_ONCE)
			finish_one(l, i - AT_ONCE, read, want);
		if (i < l->count)
			send_one(l, i, read);
	}
	free(want);
}

/* Each queue in its own part of the disk, a few requests at a time. */
static void many(const char *scheme, struct sr_blkfront_options front,
		 struct sr_blkback_options back, size_t size, unsigned count)
{
	struct sr_blkback_device d;
	struct lane lanes[4] = { 0 };
	struct world w;

	world_start(&w, scheme, "ram:size=256M", &back);
	harness_attach(&w.h, &w.disk);
	world_open(&w, front);
	assert_int_equal(sr_blkfront_info(w.front)->queues, front.queues);
	for (unsigned i = 0; i < front.queues; i++) {
		struct lane *l = &lanes[i];

		*l = (struct lane){ sr_blkfront_queue(w.front, i), i, count, size, NULL };
		assert_int_equal(sr_blkfront_alloc(l->q, AT_ONCE * size, (void **)&l->pages), 0);
	}
	for (unsigned read = 0; read < 2; read++)
		for (unsigned i = 0; i < front.queues; i++)
			run_lane(&lanes[i], read);
	backend_device(&w.b, &w.disk, &d);
	assert_int_equal(d.queues, front.queues);
	assert_int_equal(d.stats.bytes_written, (uint64_t)front.queues * count * size);
	assert_int_equal(d.stats.bytes_read, d.stats.bytes_written);
	/* The gauge follows the last answers, which were read before it was set. */
	for (unsigned tries = 0; d.in_flight && tries < 1000; tries++) {
		usleep(1000);
		backend_device(&w.b, &w.disk, &d);
	}
	assert_int_equal(d.in_flight, 0);
	world_stop(&w);
}

static void test_queues(void **state)
{
	struct sr_blkfront_options front = world_front;

	front.queues = 4;
	front.ring_order = 2;
	many("embedded:", front, (struct sr_blkback_options){ .threads = 2, .max_queues = 4 }, 4096,
	     200);
}

/* Bounce pages for a few large requests only: the queues of a thread take turns. */
static void test_memory_runs_out(void **state)
{
	struct sr_blkfront_options front = world_front;

	front.queues = 3;
	front.persistent = false;
	many("embedded-strict:", front, (struct sr_blkback_options){ .max_queues = 3 }, MIB, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_persistent),
		cmocka_unit_test(test_persistent_strict),
		cmocka_unit_test(test_persistent_limit),
		cmocka_unit_test(test_small_grant_table),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_copied),
		cmocka_unit_test(test_no_indirect),
		cmocka_unit_test(test_interrupt_mode),
		cmocka_unit_test(test_poll_mode),
		cmocka_unit_test(test_abis),
		cmocka_unit_test(test_large_blocks),
		cmocka_unit_test(test_large_blocks_queued),
		cmocka_unit_test(test_busy_driver),
		cmocka_unit_test(test_driver_without_fd),
		cmocka_unit_test(test_queues),
		cmocka_unit_test(test_memory_runs_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
