/* SPDX-License-Identifier: MIT */
/* Who gets how much of a switch: slow and stalled members, links that are down, floods, rate
 * limits. */
#include "rig.h"

#include <string.h>

static void test_slow_member(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL), *c = rig_vif(3, NULL);

	b->queue[0].room = 0;
	for (unsigned i = 0; i < 100; i++)
		rig_send(a, b->mac, a->mac);
	rig_run();
	/* Half of 64: one source gets no more than it leaves. */
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_BUSY), 100 - 32);
	rig_send(c, b->mac, c->mac);
	rig_run();
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_BUSY), 100 - 32);
	/* Others are served. */
	rig_send(a, c->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(c), 1);
	b->queue[0].room = 100;
	rig_run();
	assert_int_equal(rig_take(b), 33);
	assert_int_equal(sr_member_stats(b->member, 0)->out.packets, 33);
}

/* One that takes nothing for long loses what waits, and nothing more is kept for it until it does.
 */
static void test_stalled_member(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL), *c = rig_vif(3, NULL);

	b->queue[0].room = 0;
	for (unsigned i = 0; i < 10; i++)
		rig_send(a, b->mac, a->mac);
	rig_run();
	assert_true(sr_member_carrier(b->member));
	rig_now += UINT64_C(900000000);
	rig_run();
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 0);
	/* Nobody sends to it any more: it is over all the same. */
	rig_now += UINT64_C(200000000);
	rig_run();
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 10);
	assert_int_equal(b->stalls, 1);
	assert_false(sr_member_carrier(b->member));
	assert_int_equal(sr_member_stats(b->member, 0)->stalls, 1);
	/* What comes now is lost at once, of a flood too, and others have all of theirs. */
	rig_send(a, b->mac, a->mac);
	rig_send(a, rig_broadcast, a->mac);
	rig_send(a, c->mac, a->mac);
	rig_run();
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 12);
	assert_int_equal(rig_take(c), 2);
	/* There is room again. */
	assert_int_equal(b->revivals, 0);
	b->queue[0].room = 100;
	rig_run();
	assert_int_equal(b->revivals, 1);
	assert_true(sr_member_carrier(b->member));
	rig_send(a, b->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 1);
	/* A little room now and then, and always too late, is no stall. */
	b->queue[0].room = 0;
	for (unsigned i = 0; i < 30; i++) {
		rig_send(a, b->mac, a->mac);
		rig_run();
		rig_now += UINT64_C(900000000);
		b->queue[0].room = 1;
	}
	assert_int_equal(b->stalls, 1);
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 12);
}

static void down(struct sr_member_config *config)
{
	config->down = true;
}

static void test_link_down_at_first(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, down);

	rig_send(a, b->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 0);
	assert_false(sr_member_carrier(b->member));
	sr_member_set_link(b->member, true);
	rig_send(a, b->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 1);
	assert_true(sr_member_carrier(b->member));
}

/* A guest that floods broadcast: another's packets get through, all of them. */
static void test_fairness_under_flood(void **state)
{
	struct rig_member *flooder = rig_vif(1, NULL), *quiet = rig_vif(2, NULL),
			  *victim = rig_vif(3, NULL);
	struct rig_member *more[20];
	unsigned sent = 0, got = 0;

	for (unsigned i = 0; i < 20; i++)
		more[i] = rig_vif(10 + i, NULL);
	for (unsigned round = 0; round < 200; round++) {
		while (flooder->queue[0].in_count < 64)
			rig_send(flooder, rig_broadcast, flooder->mac);
		rig_send(quiet, victim->mac, quiet->mac);
		sent++;
		victim->queue[0].room = 4; /* slower than what the flood brings */
		rig_round();
		for (unsigned i = 0; i < victim->queue[0].out_count; i++)
			got +=
			    *rte_pktmbuf_mtod_offset(victim->queue[0].out[i], uint8_t *, 11) == 2;
		rig_take(victim);
		for (unsigned i = 0; i < 20; i++)
			rig_take(more[i]);
		rig_take(quiet);
	}
	assert_int_equal(rig_drops(victim, false, SR_NET_DROP_NO_SLOTS), 0);
	assert_true(rig_drops(victim, false, SR_NET_DROP_BUSY) > 0);
	/* None was dropped; what is not there yet waits. */
	assert_true(got + 32 >= sent);
	assert_true(flooder->asked <= 32);
	/* A burst that is copied 22 times is a smaller burst. */
	assert_true(flooder->member->ports[0].burst < 16);
}

static void rate(struct sr_member_config *config)
{
	config->rate_bytes = 10000;
	config->rate_interval_us = 50000;
}

/* What is above the rate stays with the guest: nothing is lost. */
static void test_rate(void **state)
{
	struct rig_member *a = rig_vif(1, rate), *b = rig_vif(2, NULL);
	unsigned size = 14 + 28 + 32, got = 0;

	for (unsigned i = 0; i < 3000; i++)
		rig_send(a, b->mac, a->mac);
	for (unsigned ms = 0; ms < 1000; ms++) {
		rig_run();
		got += rig_take(b);
		rig_now += 1000000;
	}
	/* 200000 bytes a second, and the first credit on top. */
	assert_in_range(got * size, 200000, 200000 + 10000 + 32 * size);
	assert_int_equal(a->queue[0].in_count, 3000 - got);
	assert_true(sr_member_stats(a->member, 0)->limited > 0);
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_RATE), 0);
}

/* What a burst takes too much is paid for before the next one. */
static void test_rate_of_big_packets(void **state)
{
	struct rig_member *a = rig_vif(1, rate), *b = rig_vif(2, NULL);
	struct packet p = { .segsz = 1400, .payload = 30000, .piece = 2000 };
	unsigned size = 14 + 20 + 20 + 30000, got = 0;

	memcpy(p.dst, b->mac, 6);
	memcpy(p.src, a->mac, 6);
	for (unsigned i = 0; i < 50; i++)
		rig_give(a, 0, packet_new(rig_pool, &p));
	for (unsigned ms = 0; ms < 4000; ms++) {
		rig_run();
		got += rig_take(b);
		rig_now += 1000000;
	}
	assert_in_range(got * size, 800000 - size, 800000 * 101 / 100 + 10000 + 7 * size);
}

/* It changes while packets flow; a clock that is read a little earlier is no gift. */
static void test_rate_changes(void **state)
{
	struct rig_member *a = rig_vif(1, rate), *b = rig_vif(2, NULL);
	unsigned got;

	for (unsigned i = 0; i < 2000; i++)
		rig_send(a, b->mac, a->mac);
	rig_run();
	got = rig_take(b);
	assert_true(got < 200);
	rig_now -= 1000;
	rig_run();
	assert_int_equal(rig_take(b), 0);
	sr_member_set_rate(a->member, 1000, 1000000);
	rig_run();
	assert_in_range(rig_take(b), 14, 14 + 32);
	sr_member_set_rate(a->member, UINT64_MAX, 1);
	rig_run();
	assert_true(rig_take(b) > 0);
	for (unsigned i = 0; i < 20; i++)
		rig_send(a, b->mac, a->mac);
	sr_member_set_rate(a->member, 1, UINT32_MAX);
	rig_run();
	/* A byte in an hour: one burst is owed for as good as ever. */
	rig_take(b);
	rig_now += UINT64_C(3600000000000);
	rig_run();
	assert_int_equal(rig_take(b), 0);
	sr_member_set_rate(a->member, 0, 0);
	rig_run();
	rig_take(b);
	assert_int_equal(a->queue[0].in_count, 0);
}

static void test_broken_member(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL);

	a->queue[0].room = 0;
	rig_send(b, a->mac, b->mac);
	rig_run();
	a->fails = -EPROTO;
	rig_run();
	assert_int_equal(a->broken, 1);
	rig_send(b, a->mac, b->mac);
	rig_run();
	assert_int_equal(a->broken, 1);
	assert_int_equal(rig_drops(a, false, SR_NET_DROP_NO_PORT), 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_slow_member),
		TEST(test_stalled_member),
		TEST(test_link_down_at_first),
		TEST(test_fairness_under_flood),
		TEST(test_rate),
		TEST(test_rate_of_big_packets),
		TEST(test_rate_changes),
		TEST(test_broken_member),
	};

	return cmocka_run_group_tests(tests, rig_start, NULL);
}
