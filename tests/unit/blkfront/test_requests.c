/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* From requests to the ring and back, in every layout and way to reach memory. */

static void fill(uint8_t *p, size_t n, unsigned seed)
{
	uint32_t word = seed * 2654435761u;
	size_t i;

	for (i = 0; i + 4 <= n; i += 4, word += 0x01030507)
		memcpy(p + i, &word, 4);
	memset(p + i, (int)seed, n - i);
}

/* Serves until the one request that is out is done; its error. */
static int finish(struct fake *f, void *tag)
{
	struct sr_blkfront_done done[4];
	unsigned n, idle = 0;

	sr_blkfront_kick(&f->queue);
	while (!(n = sr_blkfront_reap(&f->queue, done, 4))) {
		idle = fake_serve(f, 3) ? 0 : idle + 1;
		assert_true(idle < 10);
	}
	assert_int_equal(n, 1);
	assert_ptr_equal(done[0].tag, tag);
	assert_int_equal(sr_blkfront_in_flight(&f->queue), 0);
	return done[0].error;
}

static int run(struct fake *f, enum sr_blkfront_op op, uint64_t offset, const struct iovec *iov,
	       unsigned count)
{
	struct sr_blkfront_request req = {
		.op = op, .offset = offset, .iov = iov, .iov_count = count, .tag = &req
	};
	int rc = sr_blkfront_submit(&f->queue, &req);

	return rc ? rc : finish(f, &req);
}

/* Writes `size` bytes with op, compares the disk, and reads them back. */
static void round_trip(struct fake *f, uint8_t *buffer, size_t size, uint64_t offset, unsigned seed)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = size };
	uint8_t *expected = malloc(size);

	fill(expected, size, seed);
	memcpy(buffer, expected, size);
	assert_int_equal(run(f, SR_BLKFRONT_WRITE, offset, &iov, 1), 0);
	assert_memory_equal(f->disk + offset, expected, size);
	memset(buffer, 0xee, size);
	assert_int_equal(run(f, SR_BLKFRONT_READ, offset, &iov, 1), 0);
	assert_memory_equal(buffer, expected, size);
	free(expected);
}

static const size_t sizes[] = { 512,   1024,  3584,   4096,   4608,    12288,   45056,
				45568, 65536, 131072, 400896, 1048576, 1052672, 2097152 };

static void every_size(const struct fake_options *o, bool granted, size_t skew)
{
	size_t most = sizes[sizeof(sizes) / sizeof(sizes[0]) - 1] + 8192;
	unsigned permanent;
	struct fake f;
	void *memory;

	fake_open(&f, o);
	permanent = fake_grants();
	if (granted)
		assert_int_equal(sr_blkfront_alloc(&f.queue, most, &memory), 0);
	else
		memory = aligned_alloc(4096, most);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		if (sizes[i] % f.front.info.sector_size == 0)
			round_trip(&f, (uint8_t *)memory + skew, sizes[i], 4096u * i, i);
	}
	if (granted && skew % 512 == 0)
		assert_int_equal(f.queue.stats.bounced, 0);
	else
		assert_true(f.queue.stats.bounced > 0);
	if (o->max_segments > 11)
		assert_true(f.indirect_served > 0);
	else
		assert_int_equal(f.indirect_served, 0);
	/* All that was granted for a request has been taken back. */
	if (o->per_request && o->max_segments <= 11)
		assert_int_equal(fake_grants(), permanent);
	if (granted)
		assert_int_equal(sr_blkfront_free(&f.queue, memory), 0);
	else
		free(memory);
	fake_close(&f);
	assert_int_equal(fake_grants(), 0);
}

static void test_matrix(void **state)
{
	static const enum sr_blkif_abi abis[] = { SR_BLKIF_ABI_NATIVE, SR_BLKIF_ABI_X86_32,
						  SR_BLKIF_ABI_X86_64 };
	static const unsigned segments[] = { 11, 32, 256, 1024 };

	for (unsigned i = 0; i < 3 * 4 * 2 * 2; i++) {
		struct fake_options o = {
			.abi = abis[i % 3],
			.max_segments = segments[i / 3 % 4],
			.order = i / 12 % 2 ? 2 : 0,
			.per_request = i / 24 % 2,
		};

		every_size(&o, true, 0);
		every_size(&o, false, 0);
	}
}

static void test_skewed_memory(void **state)
{
	struct fake_options o = { .max_segments = 11 };

	/* Whole sectors off the page: no copy. Anything else: a copy. */
	every_size(&o, true, 512);
	every_size(&o, true, 3584);
	every_size(&o, true, 8);
	every_size(&o, false, 1);
	o.per_request = true;
	every_size(&o, true, 1536);
	every_size(&o, true, 77);
}

static void test_large_sectors(void **state)
{
	struct fake_options o = { .max_segments = 11, .sector_size = 4096 };

	/* Segments begin in the middle of pages, requests end on whole sectors all the same. */
	every_size(&o, true, 512);
	every_size(&o, false, 3);
	o.max_segments = 64;
	every_size(&o, true, 2048);
}

static void test_scattered(void **state)
{
	struct fake_options o = { .max_segments = 11 };
	struct iovec iov[40];
	uint8_t *memory;
	void *granted;
	struct fake f;

	fake_open(&f, &o);
	assert_int_equal(sr_blkfront_alloc(&f.queue, 1 << 20, &granted), 0);
	memory = malloc(1 << 20);
	for (unsigned round = 0; round < 3; round++) {
		/* All of it granted; none of it; a mixture with odd lengths and empty pieces. */
		size_t at = 0, total = 0;

		for (unsigned i = 0; i < 40; i++) {
			uint8_t *base = round == 0 || (round == 2 && i % 3) ? granted : memory;
			size_t n = 512u * (i % 20 + 1);

			if (round == 2)
				n = i == 39 ? (512 - total % 512) : (i * 37) % 1500;
			iov[i] = (struct iovec){ .iov_base = base + at, .iov_len = n };
			fill(base + at, n, i + round);
			at += (n + 511) / 512 * 512;
			total += n;
		}
		assert_int_equal(run(&f, SR_BLKFRONT_WRITE, 1 << 20, iov, 40), 0);
		for (unsigned i = 0; i < 40; i++)
			memset(iov[i].iov_base, 0, iov[i].iov_len);
		assert_int_equal(run(&f, SR_BLKFRONT_READ, 1 << 20, iov, 40), 0);
		for (unsigned i = 0; i < 40; i++) {
			uint8_t expected[20 * 512];

			fill(expected, iov[i].iov_len, i + round);
			if (iov[i].iov_len)
				assert_memory_equal(iov[i].iov_base, expected, iov[i].iov_len);
		}
	}
	free(memory);
	fake_close(&f);
}

static void test_full_ring(void **state)
{
	struct fake_options o = { 0 };
	struct sr_blkfront_done done[64];
	struct iovec iov = { .iov_len = 4096 };
	struct sr_blkfront_request req = { .op = SR_BLKFRONT_READ, .iov = &iov, .iov_count = 1 };
	struct fake f;

	fake_open(&f, &o);
	assert_int_equal(sr_blkfront_alloc(&f.queue, 4096, &iov.iov_base), 0);
	for (uintptr_t round = 0; round < 5; round++) {
		for (uintptr_t i = 0; i < 32; i++) {
			req.tag = (void *)(round << 8 | i);
			assert_int_equal(sr_blkfront_submit(&f.queue, &req), 0);
		}
		assert_int_equal(sr_blkfront_submit(&f.queue, &req), -EBUSY);
		assert_int_equal(sr_blkfront_in_flight(&f.queue), 32);
		assert_int_equal(sr_ring_back_pending(&f.back.ring), 0);
		sr_blkfront_kick(&f.queue);
		assert_int_equal(fake_serve(&f, 100), 32);
		assert_int_equal(sr_blkfront_reap(&f.queue, done, 5), 5);
		assert_int_equal(sr_blkfront_reap(&f.queue, done + 5, 59), 27);
		for (uintptr_t i = 0; i < 32; i++)
			assert_ptr_equal(done[i].tag, (void *)(round << 8 | i));
	}
	fake_close(&f);
}

static void test_bounds(void **state)
{
	struct fake_options o = { 0 };
	struct iovec iov = { .iov_len = 4096 }, empty = { 0 }, odd = { .iov_len = 700 };
	struct iovec huge[2] = { { .iov_len = SIZE_MAX - 511 }, { .iov_len = 1024 } };
	struct sr_blkfront_request discard = { .op = SR_BLKFRONT_DISCARD, .length = 1024 };
	struct fake f;

	fake_open(&f, &o);
	assert_int_equal(sr_blkfront_alloc(&f.queue, 1 << 20, &iov.iov_base), 0);
	odd.iov_base = empty.iov_base = huge[0].iov_base = huge[1].iov_base = iov.iov_base;
	assert_int_equal(run(&f, SR_BLKFRONT_READ, FAKE_DISK_SIZE - 4096, &iov, 1), 0);
	assert_int_equal(run(&f, SR_BLKFRONT_READ, FAKE_DISK_SIZE - 3584, &iov, 1), -EINVAL);
	assert_int_equal(run(&f, SR_BLKFRONT_READ, FAKE_DISK_SIZE, &iov, 1), -EINVAL);
	assert_int_equal(run(&f, SR_BLKFRONT_READ, UINT64_MAX - 511, &iov, 1), -EINVAL);
	assert_int_equal(run(&f, SR_BLKFRONT_READ, 100, &iov, 1), -EINVAL);
	assert_int_equal(run(&f, SR_BLKFRONT_READ, 0, &odd, 1), -EINVAL);
	assert_int_equal(run(&f, SR_BLKFRONT_READ, 0, &empty, 1), -EINVAL);
	assert_int_equal(run(&f, SR_BLKFRONT_READ, 0, NULL, 0), -EINVAL);
	assert_int_equal(run(&f, SR_BLKFRONT_WRITE, 0, huge, 2), -EINVAL);
	iov.iov_len = 12 * 4096;
	assert_int_equal(run(&f, SR_BLKFRONT_BARRIER, 0, &iov, 1), -EINVAL);
	iov.iov_len = 11 * 4096;
	assert_int_equal(run(&f, SR_BLKFRONT_BARRIER, 0, &iov, 1), 0);
	/* A barrier is one ring request: eleven pages that begin in the middle are twelve. */
	iov.iov_base = (uint8_t *)iov.iov_base + 512;
	assert_int_equal(run(&f, SR_BLKFRONT_BARRIER, 0, &iov, 1), -EINVAL);
	discard.offset = FAKE_DISK_SIZE;
	assert_int_equal(sr_blkfront_submit(&f.queue, &discard), -EINVAL);
	discard = (struct sr_blkfront_request){ .op = SR_BLKFRONT_DISCARD };
	assert_int_equal(sr_blkfront_submit(&f.queue, &discard), -EINVAL);
	discard.op = (enum sr_blkfront_op)77;
	assert_int_equal(sr_blkfront_submit(&f.queue, &discard), -EINVAL);
	f.front.info.read_only = true;
	assert_int_equal(run(&f, SR_BLKFRONT_WRITE, 0, &iov, 1), -EROFS);
	assert_int_equal(sr_blkfront_in_flight(&f.queue), 0);
	assert_int_equal(f.queue.free_count, 32);
	fake_close(&f);
}

static void test_operations(void **state)
{
	struct fake_options o = { 0 };
	struct sr_blkfront_request req = { .op = SR_BLKFRONT_SECURE_DISCARD,
					   .offset = 8192,
					   .length = 4096 };
	struct sr_blkif_request seen;
	struct fake f;

	fake_open(&f, &o);
	assert_int_equal(sr_blkfront_submit(&f.queue, &req), 0);
	sr_blkfront_kick(&f.queue);
	seen = fake_take(&f);
	assert_int_equal(seen.operation, BLKIF_OP_DISCARD);
	assert_int_equal(seen.flag, BLKIF_DISCARD_SECURE);
	assert_int_equal(seen.sector, 16);
	assert_int_equal(seen.nr_sectors, 8);
	fake_answer(&f, seen.id, seen.operation, BLKIF_RSP_OKAY);
	fake_publish(&f);
	assert_int_equal(finish(&f, NULL), 0);

	req = (struct sr_blkfront_request){ .op = SR_BLKFRONT_FLUSH };
	assert_int_equal(sr_blkfront_submit(&f.queue, &req), 0);
	sr_blkfront_kick(&f.queue);
	seen = fake_take(&f);
	assert_int_equal(seen.operation, BLKIF_OP_FLUSH_DISKCACHE);
	assert_int_equal(seen.nr_segments, 0);
	fake_answer(&f, seen.id, seen.operation, BLKIF_RSP_EOPNOTSUPP);
	fake_publish(&f);
	assert_int_equal(finish(&f, NULL), -EOPNOTSUPP);

	f.front.info.flush = f.front.info.discard = f.front.info.secure_discard = false;
	f.front.info.barrier = false;
	for (enum sr_blkfront_op op = SR_BLKFRONT_FLUSH; op <= SR_BLKFRONT_SECURE_DISCARD; op++) {
		req.op = op;
		assert_int_equal(sr_blkfront_submit(&f.queue, &req), -EOPNOTSUPP);
	}
	fake_close(&f);
}

static void test_errors(void **state)
{
	struct fake_options o = { .max_segments = 11 };
	static const struct {
		int16_t status;
		int error;
	} cases[] = { { BLKIF_RSP_ERROR, -EIO },
		      { BLKIF_RSP_EOPNOTSUPP, -EOPNOTSUPP },
		      { -77, -EIO },
		      { 5, -EIO },
		      { INT16_MIN, -EIO } };
	struct iovec iov = { .iov_len = 1 << 20 };
	struct fake f;

	fake_open(&f, &o);
	assert_int_equal(sr_blkfront_alloc(&f.queue, iov.iov_len, &iov.iov_base), 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f.status = cases[i].status;
		assert_int_equal(run(&f, SR_BLKFRONT_READ, 0, &iov, 1), cases[i].error);
		assert_int_equal(f.queue.free_count, 32);
		assert_int_equal(sr_blkfront_status(&f.front), 0);
	}
	fake_close(&f);
}

static void test_notifications(void **state)
{
	struct fake_options o = { 0 };
	struct iovec iov = { .iov_len = 4096 };
	struct sr_blkfront_request req = { .op = SR_BLKFRONT_READ, .iov = &iov, .iov_count = 1 };
	struct sr_blkfront_done done[8];
	struct fake f;

	fake_open(&f, &o);
	assert_int_equal(sr_blkfront_alloc(&f.queue, 4096, &iov.iov_base), 0);
	assert_int_equal(sr_blkfront_wait(&f.queue, 0), -EAGAIN);
	/* A new ring asks for the first event. A backend that doesn't arm again gets no more. */
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(sr_blkfront_submit(&f.queue, &req), 0);
		assert_int_equal(sr_blkfront_kick(&f.queue), 0);
		assert_int_equal(fake_events(), 1);
	}
	assert_int_equal(sr_blkfront_wait(&f.queue, 1), -ETIMEDOUT);
	assert_int_equal(fake_serve(&f, 8), 8);
	assert_int_equal(sr_blkfront_wait(&f.queue, -1), 0);
	assert_int_equal(sr_blkfront_reap(&f.queue, done, 8), 8);
	/* Asleep: the lazy kick leaves it to the next look. */
	assert_int_equal(sr_ring_back_arm(&f.back.ring), 0);
	assert_int_equal(sr_blkfront_submit(&f.queue, &req), 0);
	sr_blkfront_kick_lazy(&f.queue);
	assert_int_equal(fake_events(), 1);
	assert_int_equal(sr_blkfront_reap(&f.queue, done, 8), 0);
	assert_int_equal(fake_events(), 2);
	fake_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),        cmocka_unit_test(test_skewed_memory),
		cmocka_unit_test(test_large_sectors), cmocka_unit_test(test_scattered),
		cmocka_unit_test(test_full_ring),     cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_operations),    cmocka_unit_test(test_errors),
		cmocka_unit_test(test_notifications),
	};

	return cmocka_run_group_tests_name("blkfront-requests", tests, NULL, NULL);
}
