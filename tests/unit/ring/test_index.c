/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ring/index.h>

struct pair {
	struct sr_ring_indices shared;
	struct sr_ring_back back;
	struct sr_ring_front front;
};

/* Both ends attached at `start`, with no request in the ring. */
static void pair_init(struct pair *p, uint32_t size, uint32_t start)
{
	sr_ring_init_shared(&p->shared);
	p->shared.req_prod = p->shared.rsp_prod = start;
	p->shared.req_event = p->shared.rsp_event = start + 1;
	assert_int_equal(sr_ring_front_attach(&p->front, &p->shared, size, start, start), 0);
	assert_int_equal(sr_ring_back_attach(&p->back, &p->shared, size, start, start), 0);
}

static void event_is_passed_in_a_half_open_range(void **state)
{
	static const struct {
		uint32_t event, old, now;
		bool passes;
	} rows[] = {
		{ 1, 0, 1, true },
		{ 1, 0, 5, true },
		{ 5, 0, 5, true },
		{ 6, 0, 5, false },
		{ 0, 0, 5, false }, /* passed before */
		{ 0, 0, 0, false }, /* nothing new */
		{ 1, 1, 1, false },
		{ 0, UINT32_MAX, 0, true },
		{ 0, UINT32_MAX - 3, 2, true },
		{ UINT32_MAX, UINT32_MAX - 3, 2, true },
		{ 3, UINT32_MAX - 3, 2, false },
		{ UINT32_MAX - 3, UINT32_MAX - 3, 2, false },
		{ 0x80000000u, 0, 32, false }, /* an event that lies far away is none of ours */
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(sr_ring_passes(rows[i].event, rows[i].old, rows[i].now),
				 rows[i].passes);
}

static void attach_refuses_impossible_positions(void **state)
{
	struct sr_ring_indices shared;
	struct sr_ring_front front;
	struct sr_ring_back back;

	sr_ring_init_shared(&shared);
	assert_int_equal(sr_ring_back_attach(&back, &shared, 0, 0, 0), -EINVAL);
	assert_int_equal(sr_ring_back_attach(&back, &shared, 24, 0, 0), -EINVAL);
	assert_int_equal(sr_ring_back_attach(&back, &shared, 32, 0, 33), -EINVAL);
	assert_int_equal(sr_ring_back_attach(&back, &shared, 32, 1, 0), -EINVAL);
	assert_int_equal(sr_ring_back_attach(&back, &shared, 32, UINT32_MAX, 31), 0);
	assert_int_equal(sr_ring_back_in_flight(&back), 32);
	assert_int_equal(sr_ring_front_attach(&front, &shared, 33, 0, 0), -EINVAL);
	assert_int_equal(sr_ring_front_attach(&front, &shared, 32, 33, 0), -EINVAL);
	assert_int_equal(sr_ring_front_attach(&front, &shared, 32, 0, 1), -EINVAL);
	assert_int_equal(sr_ring_front_attach(&front, &shared, 32, 32, 0), 0);
	assert_int_equal(sr_ring_front_free(&front), 0);
	assert_int_equal(sr_ring_front_in_flight(&front), 32);
}

/* Batches of every size up to the ring's go round, through 2^32, and every count is right. */
static void counts_through_the_wrap(void **state)
{
	enum { SIZE = 8 };
	struct pair p;

	pair_init(&p, SIZE, UINT32_MAX - 20);
	for (uint32_t batch = 1, done = 0; done < 200; done += batch, batch = batch % SIZE + 1) {
		assert_int_equal(sr_ring_front_free(&p.front), SIZE);
		p.front.req_prod_pvt += batch;
		assert_int_equal(sr_ring_back_pending(&p.back), 0);
		sr_ring_front_publish(&p.front);
		assert_int_equal(sr_ring_front_free(&p.front), SIZE - batch);
		assert_int_equal(sr_ring_front_in_flight(&p.front), batch);
		assert_int_equal(sr_ring_back_pending(&p.back), batch);
		p.back.req_cons += batch;
		assert_int_equal(sr_ring_back_pending(&p.back), 0);
		assert_int_equal(sr_ring_back_in_flight(&p.back), batch);

		p.back.rsp_prod_pvt += batch;
		assert_int_equal(sr_ring_front_pending(&p.front), 0);
		sr_ring_back_publish(&p.back);
		assert_int_equal(sr_ring_back_in_flight(&p.back), 0);
		assert_int_equal(sr_ring_front_pending(&p.front), batch);
		p.front.rsp_cons += batch;
	}
}

static void back_disbelieves_impossible_req_prod(void **state)
{
	static const uint32_t starts[] = { 0, 1, UINT32_MAX - 3, 0x7fffffffu };
	enum { SIZE = 32 };
	struct pair p;

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		uint32_t start = starts[i];

		pair_init(&p, SIZE, start);
		p.shared.req_prod = start + SIZE;
		assert_int_equal(sr_ring_back_pending(&p.back), SIZE);
		p.shared.req_prod = start + SIZE + 1;
		assert_int_equal(sr_ring_back_pending(&p.back), -EPROTO);
		p.shared.req_prod = start - 1;
		assert_int_equal(sr_ring_back_pending(&p.back), -EPROTO);
		p.shared.req_prod = start + 0x80000000u;
		assert_int_equal(sr_ring_back_pending(&p.back), -EPROTO);
		assert_int_equal(sr_ring_back_arm(&p.back), -EPROTO);

		/* Five taken and unanswered: room for 27 more. */
		p.back.req_cons += 5;
		p.shared.req_prod = start + SIZE;
		assert_int_equal(sr_ring_back_pending(&p.back), SIZE - 5);
		p.shared.req_prod = start + SIZE + 1;
		assert_int_equal(sr_ring_back_pending(&p.back), -EPROTO);
		/* An answer that the front has not been shown frees nothing yet. */
		p.back.rsp_prod_pvt += 5;
		assert_int_equal(sr_ring_back_pending(&p.back), -EPROTO);
		sr_ring_back_publish(&p.back);
		assert_int_equal(sr_ring_back_pending(&p.back), SIZE + 1 - 5);
		/* req_prod may not go behind what has been taken. */
		p.shared.req_prod = start + 4;
		assert_int_equal(sr_ring_back_pending(&p.back), -EPROTO);
	}
}

static void front_disbelieves_impossible_rsp_prod(void **state)
{
	struct pair p;

	pair_init(&p, 32, UINT32_MAX - 1);
	p.front.req_prod_pvt += 4;
	p.shared.rsp_prod = p.front.rsp_cons + 1;
	/* Nothing has been published, so nothing can be answered. */
	assert_int_equal(sr_ring_front_pending(&p.front), -EPROTO);
	sr_ring_front_publish(&p.front);
	assert_int_equal(sr_ring_front_pending(&p.front), 1);
	p.shared.rsp_prod = p.front.rsp_cons + 4;
	assert_int_equal(sr_ring_front_pending(&p.front), 4);
	p.shared.rsp_prod = p.front.rsp_cons + 5;
	assert_int_equal(sr_ring_front_pending(&p.front), -EPROTO);
	p.shared.rsp_prod = p.front.rsp_cons - 1;
	assert_int_equal(sr_ring_front_pending(&p.front), -EPROTO);
	assert_int_equal(sr_ring_front_arm(&p.front, 1), -EPROTO);
}

static void notifies_only_who_asked(void **state)
{
	struct pair p;

	pair_init(&p, 32, 0);
	/* A new ring wants the first event of each direction. */
	p.front.req_prod_pvt++;
	assert_true(sr_ring_front_publish_and_check(&p.front));
	assert_false(sr_ring_front_publish_and_check(&p.front));
	/* The back polls: no more of them. */
	p.front.req_prod_pvt++;
	assert_false(sr_ring_front_publish_and_check(&p.front));
	assert_int_equal(sr_ring_back_arm(&p.back), 2);
	p.back.req_cons += 2;
	assert_int_equal(sr_ring_back_arm(&p.back), 0);
	p.front.req_prod_pvt += 3;
	assert_true(sr_ring_front_publish_and_check(&p.front));
	p.back.req_cons += 3;
	/* It was woken by something else. */
	assert_int_equal(sr_ring_back_arm(&p.back), 0);
	sr_ring_back_disarm(&p.back);
	p.front.req_prod_pvt += 3;
	assert_false(sr_ring_front_publish_and_check(&p.front));

	/* The front wants to know of the third response. */
	p.back.rsp_prod_pvt++;
	assert_true(sr_ring_back_publish_and_check(&p.back));
	p.front.rsp_cons++;
	assert_int_equal(sr_ring_front_arm(&p.front, 3), 0);
	p.back.req_cons += 3;
	p.back.rsp_prod_pvt += 2;
	assert_false(sr_ring_back_publish_and_check(&p.back));
	assert_int_equal(sr_ring_front_arm(&p.front, 3), 2);
	p.back.rsp_prod_pvt++;
	assert_true(sr_ring_back_publish_and_check(&p.back));
}

/* A decision covers all that was published since the last one, not only the last batch. */
static void late_decision_covers_every_publish(void **state)
{
	struct pair p;

	pair_init(&p, 32, UINT32_MAX - 2);
	p.front.req_prod_pvt += 8;
	sr_ring_front_publish(&p.front);
	assert_true(sr_ring_front_notify_needed(&p.front));
	p.back.req_cons += 8;
	for (int i = 0; i < 8; i++) {
		p.back.rsp_prod_pvt++;
		sr_ring_back_publish(&p.back);
	}
	assert_true(sr_ring_back_notify_needed(&p.back));
	assert_false(sr_ring_back_notify_needed(&p.back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(event_is_passed_in_a_half_open_range),
		cmocka_unit_test(attach_refuses_impossible_positions),
		cmocka_unit_test(counts_through_the_wrap),
		cmocka_unit_test(back_disbelieves_impossible_req_prod),
		cmocka_unit_test(front_disbelieves_impossible_rsp_prod),
		cmocka_unit_test(notifies_only_who_asked),
		cmocka_unit_test(late_decision_covers_every_publish),
	};

	return cmocka_run_group_tests_name("ring index", tests, NULL, NULL);
}
