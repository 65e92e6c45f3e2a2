/* SPDX-License-Identifier: MIT */
/*
 * The shipped <ring/index.h> in every interleaving of a front and a back over a weak memory: no
 * request or response is read before it is written, and nobody sleeps while there is work. Each
 * fence, release, acquire and second look is then taken out, one at a time, and the search has to
 * find what breaks: that shows that it would, and that none of them is superfluous.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ring/index.h>

#include "explore.h"

enum { SIZE = 2, TO_BACK = 0, TO_FRONT = 1 };

/* The shared words: indices as on the page (its first four words), then the slots. */
struct shared {
	uint32_t words[4 + SIZE];
};

struct setup {
	struct shared shared;
	uint32_t start;        /* the first index */
	uint32_t requests;     /* how many go through the ring */
	uint32_t ahead;        /* the front sleeps until so many responses are there */
	bool each;             /* the back publishes each response, and decides once a batch */
	bool disarms;          /* the back takes its wish to be woken back before it looks */
	bool front_looks_once; /* faults: a sleeper that doesn't look again */
	bool back_looks_once;
	bool back_stays_disarmed;
	bool back_never_decides; /* and a publish() with no decision after it */
};

static uint32_t *slot(struct setup *s, uint32_t index)
{
	return &s->shared.words[4 + (index & (SIZE - 1))];
}

static void front_sleeps(struct setup *s, struct sr_ring_front *r)
{
	uint32_t ahead = sr_ring_front_in_flight(r);
	int count;

	if (ahead > s->ahead)
		ahead = s->ahead;
	count = sr_ring_front_arm(r, ahead);
	explore_check(count >= 0, "the front saw an impossible rsp_prod");
	if ((uint32_t)count < ahead || s->front_looks_once)
		explore_wait(TO_FRONT);
}

static void front(void *arg)
{
	struct setup *s = arg;
	struct sr_ring_front r;
	uint32_t end = s->start + s->requests;
	int count;

	sr_ring_front_attach(&r, (void *)s->shared.words, SIZE, s->start, s->start);
	while (r.rsp_cons != end) {
		for (; r.req_prod_pvt != end && sr_ring_front_free(&r); r.req_prod_pvt++)
			sr_ring_store(slot(s, r.req_prod_pvt), ~r.req_prod_pvt);
		if (sr_ring_front_publish_and_check(&r))
			explore_notify(TO_BACK);
		count = sr_ring_front_pending(&r);
		explore_check(count >= 0, "the front saw an impossible rsp_prod");
		for (int i = 0; i < count; i++, r.rsp_cons++)
			explore_check(sr_ring_load(slot(s, r.rsp_cons)) == r.rsp_cons + 7,
				      "the front read a response that was not there");
		if (count == 0)
			front_sleeps(s, &r);
	}
}

static void back(void *arg)
{
	struct setup *s = arg;
	struct sr_ring_back r;
	uint32_t end = s->start + s->requests;
	int count;

	sr_ring_back_attach(&r, (void *)s->shared.words, SIZE, s->start, s->start);
	while (r.req_cons != end) {
		if (s->disarms)
			sr_ring_back_disarm(&r);
		count = sr_ring_back_pending(&r);
		explore_check(count >= 0, "the back saw an impossible req_prod");
		for (int i = 0; i < count; i++) {
			explore_check(sr_ring_load(slot(s, r.req_cons)) == ~r.req_cons,
				      "the back read a request that was not there");
			r.req_cons++;
			sr_ring_store(slot(s, r.rsp_prod_pvt), r.rsp_prod_pvt + 7);
			r.rsp_prod_pvt++;
			if (s->each)
				sr_ring_back_publish(&r);
		}
		sr_ring_back_publish(&r);
		if (!s->back_never_decides && sr_ring_back_notify_needed(&r))
			explore_notify(TO_FRONT);
		if (count || r.req_cons == end)
			continue;
		count = sr_ring_back_arm(&r);
		if (s->back_stays_disarmed)
			sr_ring_back_disarm(&r);
		explore_check(count >= 0, "the back saw an impossible req_prod");
		if (count == 0 || s->back_looks_once)
			explore_wait(TO_BACK);
	}
}

static struct explore_result search(struct setup s, struct explore_program p)
{
	struct explore_result result;
	uint32_t first[] = { s.start, s.start + 1, s.start, s.start + 1 };

	for (unsigned i = 0; i < 4; i++)
		s.shared.words[i] = first[i];
	p.thread[0] = front;
	p.thread[1] = back;
	p.arg = &s;
	p.words = s.shared.words;
	p.count = 4 + SIZE;
	explore(&p, &result);
	print_message("# %llu states, %llu ends: %s\n", (unsigned long long)result.states,
		      (unsigned long long)result.runs,
		      result.failed ? result.failed : "nothing found");
	return result;
}

static void holds(struct setup s)
{
	struct explore_result r = search(s, (struct explore_program){ 0 });

	assert_null(r.failed);
	assert_true(r.runs > 0);
}

static void every_interleaving_is_right(void **state)
{
	holds((struct setup){ .requests = 3, .ahead = 1 });
}

static void indices_run_through_zero(void **state)
{
	holds((struct setup){ .start = UINT32_MAX - 1, .requests = 3, .ahead = 1 });
}

static void one_decision_for_many_publishes_is_enough(void **state)
{
	holds((struct setup){ .requests = 3, .ahead = 1, .each = true });
}

static void waking_after_several_responses(void **state)
{
	holds((struct setup){ .requests = 3, .ahead = 2, .each = true });
}

static void a_wish_may_be_taken_back(void **state)
{
	holds((struct setup){ .requests = 3, .ahead = 1, .disarms = true });
	holds((struct setup){
	    .start = UINT32_MAX - 1, .requests = 3, .ahead = 1, .each = true, .disarms = true });
}

static void breaks(struct setup s, struct explore_program p, const char *how)
{
	struct explore_result r;

	s.requests = 3;
	s.ahead = 1;
	r = search(s, p);
	assert_non_null(r.failed);
	assert_string_equal(r.failed, how);
}

#define LOST "all sleep, and work is left"

static void each_fence_is_needed(void **state)
{
	static const char *const where[] = { "sr_ring_front_notify_needed", "sr_ring_back_arm",
					     "sr_ring_back_notify_needed", "sr_ring_front_arm" };

	for (unsigned i = 0; i < 4; i++)
		breaks((struct setup){ 0 }, (struct explore_program){ .drop_fence = where[i] },
		       LOST);
}

static void each_second_look_is_needed(void **state)
{
	breaks((struct setup){ .front_looks_once = true }, (struct explore_program){ 0 }, LOST);
	breaks((struct setup){ .back_looks_once = true }, (struct explore_program){ 0 }, LOST);
}

static void wishes_and_decisions_are_needed(void **state)
{
	breaks((struct setup){ .back_stays_disarmed = true }, (struct explore_program){ 0 }, LOST);
	breaks((struct setup){ .back_never_decides = true }, (struct explore_program){ 0 }, LOST);
}

static void release_and_acquire_are_needed(void **state)
{
	const char *req = "the back read a request that was not there";
	const char *rsp = "the front read a response that was not there";

	breaks((struct setup){ 0 },
	       (struct explore_program){ .drop_release = "sr_ring_front_publish" }, req);
	breaks((struct setup){ 0 },
	       (struct explore_program){ .drop_acquire = "sr_ring_back_pending" }, req);
	breaks((struct setup){ 0 },
	       (struct explore_program){ .drop_release = "sr_ring_back_publish" }, rsp);
	breaks((struct setup){ 0 },
	       (struct explore_program){ .drop_acquire = "sr_ring_front_pending" }, rsp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_interleaving_is_right),
		cmocka_unit_test(indices_run_through_zero),
		cmocka_unit_test(one_decision_for_many_publishes_is_enough),
		cmocka_unit_test(waking_after_several_responses),
		cmocka_unit_test(a_wish_may_be_taken_back),
		cmocka_unit_test(each_fence_is_needed),
		cmocka_unit_test(each_second_look_is_needed),
		cmocka_unit_test(wishes_and_decisions_are_needed),
		cmocka_unit_test(release_and_acquire_are_needed),
	};

	return cmocka_run_group_tests_name("ring model", tests, NULL, NULL);
}
