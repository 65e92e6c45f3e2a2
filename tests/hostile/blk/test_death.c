/* SPDX-License-Identifier: MIT */
/*
 * A guest that goes at any moment: the domain destroyed with its process at work, or the process
 * alone, so that another one finds the device as it was left. And a state node that jumps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <xen/io/xenbus.h>

#include <hypervisor.h>

#include "rig.h"
#include "stages.h"

/* To the stage; the requests stay with the disk only where that is the point. */
static uint16_t begin(struct sr_hostile *h, enum stage stage)
{
	uint16_t domid;

	print_message("# at %s\n", stage_names[stage]);
	rig_begin();
	if (stage == BUSY)
		rig_hold();
	else
		rig_release();
	domid = rig_guest(RIG_HELD, "w");
	if (stage > CREATED)
		rig_open(domid, h);
	stage_go_to(h, stage);
	return domid;
}

static void domain_dies_at_every_stage(void **state)
{
	for (enum stage stage = CREATED; stage < STAGES; stage++) {
		struct sr_hostile h = { 0 };
		uint16_t domid = begin(&h, stage);

		rig_kill(domid);
		rig_others_go_on();
		rig_release();
		sr_hostile_close(&h);
		rig_end(domid);
	}
}

/* The process goes, the domain stays: whoever comes next can use the device. */
static void process_dies_at_every_stage(void **state)
{
	for (enum stage stage = OPENED; stage < STAGES; stage++) {
		struct sr_hostile h = { 0 }, next;
		uint16_t domid = begin(&h, stage);

		sr_hostile_close(&h);
		rig_others_go_on();
		rig_release();
		rig_open(domid, &next);
		assert_int_equal(sr_hostile_reset(&next, RIG_TIMEOUT_MS), 0);
		rig_reconnects(&next);
		sr_hostile_close(&next);
		rig_end(domid);
	}
}

/*
 * The toolstack asks for the device, and when the guest does nothing to let it go, takes it by
 * removing its directories. The guest lives on.
 */
static void device_is_removed_at_every_stage(void **state)
{
	for (enum stage stage = CREATED; stage < STAGES; stage++) {
		struct sr_hostile h = { 0 };
		uint16_t domid = begin(&h, stage);

		rig_remove(domid);
		rig_release();
		rig_await_unmapped(domid);
		rig_is_forgotten(domid);
		rig_others_go_on();
		sr_hostile_close(&h);
		rig_end(domid);
	}
}

static void remove_it(void *domid)
{
	rig_remove(*(uint16_t *)domid);
}

/* Removed while the backend is busy opening its disk: it may not bring the directory back. */
static void device_is_removed_while_its_disk_is_opened(void **state)
{
	struct sr_hostile h;
	uint16_t domid;

	rig_begin();
	rig_release();
	domid = rig_guest(RIG_HELD, "w");
	rig_open(domid, &h);
	assert_int_equal(sr_hostile_connect(&h, 0, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS), 0);
	/* A reset makes it close the disk, and open it again. */
	rig_on_open(remove_it, &domid);
	assert_int_equal(sr_hostile_reset(&h, RIG_QUIET_MS), -ETIMEDOUT);
	rig_is_forgotten(domid);
	rig_others_go_on();
	sr_hostile_close(&h);
	rig_end(domid);
}

static void state_jumps(void **state)
{
	static const char *const values[] = {
		"4",  "1",  "5", "3",   "6",          "2",  "0", "7", "8", "9",
		"42", "-1", "",  "abc", "4294967299", "3",  "4", "1", "4", "6",
		"5",  "3",  "1", "3",   "33",         "3 ", "5", "4", "6", "4",
	};
	struct sr_hostile h;
	uint16_t domid;

	rig_begin();
	domid = rig_guest(RIG_RAM, "w");
	rig_open(domid, &h);
	for (unsigned round = 0; round < 4; round++) {
		assert_int_equal(sr_hostile_make_ring(&h, round, SR_BLKIF_ABI_NATIVE), 0);
		assert_int_equal(sr_hostile_write_nodes(&h), 0);
		for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			assert_int_equal(sr_hostile_set(&h, "state", values[i]), 0);
			if (i % (round + 2) == 0)
				rig_others_go_on();
		}
		/* The node goes altogether, and comes back. */
		assert_int_equal(sr_hostile_set(&h, "state", NULL), 0);
		rig_others_go_on();
		rig_reconnects(&h);
		assert_int_equal(sr_hostile_reset(&h, RIG_TIMEOUT_MS), 0);
	}
	sr_hostile_close(&h);
	rig_end(domid);
}

/* It writes states as fast as the store takes them. */
static void state_storm(void **state)
{
	struct sr_hostile h;
	uint16_t domid;

	rig_begin();
	domid = rig_guest(RIG_RAM, "w");
	rig_open(domid, &h);
	assert_int_equal(sr_hostile_connect(&h, 0, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(sr_hostile_setf(&h, "state", "%u", i % 7), 0);
	rig_others_go_on();
	rig_reconnects(&h);
	sr_hostile_close(&h);
	rig_end(domid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(domain_dies_at_every_stage),
		cmocka_unit_test(process_dies_at_every_stage),
		cmocka_unit_test(device_is_removed_at_every_stage),
		cmocka_unit_test(device_is_removed_while_its_disk_is_opened),
		cmocka_unit_test(state_jumps),
		cmocka_unit_test(state_storm),
	};

	return cmocka_run_group_tests_name("hostile death", tests, rig_start, rig_stop);
}
