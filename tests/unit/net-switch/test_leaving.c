/* SPDX-License-Identifier: MIT */
/* A member leaves while others go on, in other lanes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "impl.h"
#include "rig.h"

static int two_lanes(void **state)
{
	rig_lanes = 2;
	return rig_set_up(state);
}

static struct rig_member *vif_in(unsigned number, unsigned lane)
{
	const struct sr_member_queue queue = { .lane = lane, .fd = -1 };
	const struct sr_member_config config = { .name = "vif",
						 .queue_count = 1,
						 .queues = &queue,
						 .mac = { 2, [5] = (uint8_t)number } };

	return rig_add(number, &config);
}

static struct sr_member_port *port_of(struct rig_member *m)
{
	return &m->member->ports[0];
}

/* --- a flood ------------------------------------------------------------------------------------
 */

#define ENDLESS 1000u

static struct rig_member *flooder, *victim;
static unsigned rounds;

/* The other lane is never slower than the one that is emptied. */
static void flood_on(struct rig_member *m)
{
	if (m != victim || ++rounds >= ENDLESS)
		return;
	rig_take(victim);
	victim->queue[0].room = RIG_DEPTH;
	for (unsigned i = 0; i < 8; i++)
		rig_send(flooder, victim->mac, flooder->mac);
	sr_port_poll(port_of(flooder), rig_now);
}

static void test_during_a_flood(void **state)
{
	struct rig_member *leaving;

	flooder = vif_in(1, 0);
	victim = vif_in(2, 1);
	leaving = vif_in(3, 1);
	rounds = 0;
	rig_send(flooder, victim->mac, flooder->mac);
	sr_port_poll(port_of(flooder), rig_now);
	rig_sent = flood_on;
	rig_remove(leaving);
	rig_sent = NULL;
	assert_true(rounds < ENDLESS);
	rig_run();
}

/* --- what waits ---------------------------------------------------------------------------------
 */

/* A queue that has just taken something has not stood still, whenever its lane looked last. */
static void test_before_a_lane_looks_again(void **state)
{
	struct rig_member *a = vif_in(1, 0), *b = vif_in(2, 1), *leaving = vif_in(3, 1);

	b->queue[0].room = 0;
	rig_send(a, b->mac, a->mac);
	rig_send(a, b->mac, a->mac);
	rig_run();
	rig_now += 1000000;
	b->queue[0].room = 1;
	assert_int_equal(sr_outlet_drain(port_of(b)->out, rig_now), 1);
	rig_send(a, b->mac, a->mac);
	sr_port_poll(port_of(a), rig_now);
	rig_remove(leaving);
	b->queue[0].room = 2;
	rig_run();
	assert_int_equal(rig_take(b), 3);
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, two_lanes, rig_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_during_a_flood),
		TEST(test_before_a_lane_looks_again),
	};

	return cmocka_run_group_tests(tests, rig_start, NULL);
}
