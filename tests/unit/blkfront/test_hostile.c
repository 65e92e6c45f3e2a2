/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

/* A backend that lies: the device breaks, every request ends once, nothing crashes. */

#define OUT 10u

struct scene {
	struct fake f;
	struct iovec iov;
	unsigned seen[OUT + 1];
};

static void begin_with(struct scene *s, const struct fake_options *o)
{
	struct sr_blkfront_request req = { .op = SR_BLKFRONT_READ, .iov = &s->iov, .iov_count = 1 };

	memset(s, 0, sizeof(*s));
	fake_open(&s->f, o);
	s->iov.iov_len = 4096;
	assert_int_equal(sr_blkfront_alloc(&s->f.queue, 1 << 20, &s->iov.iov_base), 0);
	for (uintptr_t i = 0; i < OUT; i++) {
		req.tag = (void *)i;
		assert_int_equal(sr_blkfront_submit(&s->f.queue, &req), 0);
	}
	sr_blkfront_kick(&s->f.queue);
}

static void begin(struct scene *s)
{
	struct fake_options o = { 0 };

	begin_with(s, &o);
}

/* Reaps all; how many ended well. Each tag comes once. */
static unsigned reap(struct scene *s)
{
	struct sr_blkfront_done done[3];
	unsigned n, good = 0;

	while ((n = sr_blkfront_reap(&s->f.queue, done, 3))) {
		for (unsigned i = 0; i < n; i++) {
			uintptr_t tag = (uintptr_t)done[i].tag;

			assert_true(tag <= OUT);
			assert_int_equal(s->seen[tag]++, 0);
			if (done[i].error)
				assert_int_equal(done[i].error, -EIO);
			else
				good++;
		}
	}
	return good;
}

static void expect_broken(struct scene *s, unsigned good)
{
	struct sr_blkfront_request req = { .op = SR_BLKFRONT_FLUSH };

	assert_int_equal(reap(s), good);
	for (unsigned i = 0; i < OUT; i++)
		assert_int_equal(s->seen[i], 1);
	assert_int_equal(sr_blkfront_in_flight(&s->f.queue), 0);
	assert_int_equal(sr_blkfront_status(&s->f.front), -EIO);
	assert_true(sr_blkfront_reason(&s->f.front)[0]);
	assert_int_equal(sr_blkfront_submit(&s->f.queue, &req), -EIO);
	assert_int_equal(sr_blkfront_io(&s->f.queue, SR_BLKFRONT_FLUSH, 0, NULL, 0), -EIO);
	assert_int_equal(sr_blkfront_wait(&s->f.queue, 1000), -EAGAIN);
	fake_close(&s->f);
}

static void test_bad_ids(void **state)
{
	static const uint64_t ids[] = { 32, 31, 0xffff, 1ull << 32, UINT64_MAX };

	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		struct scene s;

		begin(&s);
		fake_serve(&s.f, 2);
		(void)fake_take(&s.f);
		fake_answer(&s.f, ids[i], BLKIF_OP_READ, BLKIF_RSP_OKAY);
		fake_publish(&s.f);
		expect_broken(&s, 2);
	}
}

static void test_answered_twice(void **state)
{
	struct sr_blkif_request req;
	struct scene s;

	begin(&s);
	req = fake_take(&s.f);
	(void)fake_take(&s.f);
	fake_answer(&s.f, req.id, BLKIF_OP_READ, BLKIF_RSP_OKAY);
	fake_answer(&s.f, req.id, BLKIF_OP_READ, BLKIF_RSP_OKAY);
	fake_publish(&s.f);
	expect_broken(&s, 1);
}

static void test_wrong_operation(void **state)
{
	struct sr_blkif_request req;
	struct scene s;

	begin(&s);
	req = fake_take(&s.f);
	fake_answer(&s.f, req.id, BLKIF_OP_WRITE, BLKIF_RSP_OKAY);
	fake_publish(&s.f);
	expect_broken(&s, 0);
}

static void test_impossible_index(void **state)
{
	static const uint32_t jumps[] = { OUT + 1, 33, 1u << 31, UINT32_MAX };

	for (unsigned i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		struct scene s;

		begin(&s);
		sr_ring_store_release(&s.f.back.ring.shared->rsp_prod, jumps[i]);
		assert_int_equal(sr_blkfront_wait(&s.f.queue, 1000), 0);
		expect_broken(&s, 0);
	}
}

static void test_index_goes_back(void **state)
{
	struct scene s;

	begin(&s);
	fake_serve(&s.f, 4);
	assert_int_equal(reap(&s), 4);
	sr_ring_store_release(&s.f.back.ring.shared->rsp_prod, 3);
	expect_broken(&s, 0);
}

/* It says that it is done and keeps the pages: they may not be used for anything else. */
static void test_kept_grants(void **state)
{
	struct fake_options o = { .per_request = true };
	struct scene s;

	begin_with(&s, &o);
	fake_serve(&s.f, 3);
	assert_int_equal(reap(&s), 3);
	fake_serve(&s.f, 2);
	fake_hold_grants(true);
	expect_broken(&s, 0);
}

/* A large request, of which some pieces are in the ring and some not yet. */
static void test_broken_in_a_split(void **state)
{
	struct sr_blkfront_request req = { .op = SR_BLKFRONT_WRITE, .tag = (void *)OUT };
	struct scene s;
	struct iovec iov;

	begin(&s);
	iov = (struct iovec){ .iov_base = s.iov.iov_base, .iov_len = 1 << 20 };
	req.iov = &iov;
	req.iov_count = 1;
	assert_int_equal(sr_blkfront_submit(&s.f.queue, &req), 0);
	assert_int_equal(sr_blkfront_submit(&s.f.queue, &req), -EBUSY);
	sr_blkfront_kick(&s.f.queue);
	fake_serve(&s.f, OUT + 3);
	assert_int_equal(reap(&s), OUT);
	assert_int_equal(sr_blkfront_in_flight(&s.f.queue), 1);
	sr_ring_store_release(&s.f.back.ring.shared->rsp_prod, 1u << 30);
	expect_broken(&s, 0);
	assert_int_equal(s.seen[OUT], 1);
}

/* The queue's owner sleeps while the device breaks. */
static void *breaker(void *arg)
{
	struct timespec nap = { .tv_nsec = 20000000 };

	nanosleep(&nap, NULL);
	sr_front_break(arg, "for the test");
	return NULL;
}

static void test_broken_while_asleep(void **state)
{
	struct scene s;
	pthread_t thread;

	begin(&s);
	assert_int_equal(pthread_create(&thread, NULL, breaker, &s.f.front), 0);
	assert_int_equal(sr_blkfront_wait(&s.f.queue, -1), 0);
	pthread_join(thread, NULL);
	expect_broken(&s, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_ids),
		cmocka_unit_test(test_answered_twice),
		cmocka_unit_test(test_wrong_operation),
		cmocka_unit_test(test_impossible_index),
		cmocka_unit_test(test_index_goes_back),
		cmocka_unit_test(test_kept_grants),
		cmocka_unit_test(test_broken_in_a_split),
		cmocka_unit_test(test_broken_while_asleep),
	};

	return cmocka_run_group_tests_name("blkfront-hostile", tests, NULL, NULL);
}
