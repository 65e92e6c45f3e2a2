/* SPDX-License-Identifier: MIT */
/* Nonsense in the nodes of a handshake: it is refused, and the next, honest handshake works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <xen/io/xenbus.h>

#include <hypervisor.h>

#include "rig.h"

struct fixture {
	uint16_t domid;
	struct sr_hostile h;
};

static int setup(void **state)
{
	static struct fixture f;

	rig_begin();
	f.domid = rig_guest(RIG_RAM, "w");
	rig_open(f.domid, &f.h);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sr_hostile_close(&f->h);
	rig_end(f->domid);
	return 0;
}

/* A ring whose truth is in the nodes, but not handed over yet. */
static void prepare(struct fixture *f, unsigned order)
{
	assert_int_equal(sr_hostile_await(&f->h, 1u << XenbusStateInitWait, RIG_TIMEOUT_MS),
			 XenbusStateInitWait);
	assert_int_equal(sr_hostile_make_ring(&f->h, order, SR_BLKIF_ABI_NATIVE), 0);
	assert_int_equal(sr_hostile_write_nodes(&f->h), 0);
}

static void hand_over(struct fixture *f)
{
	assert_int_equal(sr_hostile_setf(&f->h, "state", "%d", XenbusStateInitialised), 0);
}

/* The backend lets go, the others don't notice, and the guest may try again. */
static void is_refused(struct fixture *f)
{
	hand_over(f);
	rig_is_refused(&f->h, f->domid);
	rig_others_go_on();
	assert_int_equal(sr_hostile_reset(&f->h, RIG_TIMEOUT_MS), 0);
}

/* `value` in `node` is refused. */
static void refuses(struct fixture *f, const char *node, const char *value)
{
	print_message("# %s = \"%.40s\"\n", node, value ? value : "(none)");
	prepare(f, 0);
	assert_int_equal(sr_hostile_set(&f->h, node, value), 0);
	is_refused(f);
	/* The honest nodes write over all but these. */
	sr_hostile_set(&f->h, node, NULL);
}

static void refuses_each(struct fixture *f, const char *node, const char *const *values,
			 size_t count)
{
	for (size_t i = 0; i < count; i++)
		refuses(f, node, values[i]);
	assert_int_equal(sr_hostile_connect(&f->h, 0, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS), 0);
	rig_io_works(&f->h);
}

#define REFUSES_EACH(state, node, values)                                                          \
	refuses_each(*(state), node, values, sizeof(values) / sizeof((values)[0]))

static void ring_page_order(void **state)
{
	/* 1: there are no ring-ref0 and ring-ref1. */
	static const char *const values[] = {
		"31", "32", "63", "64", "255", "4294967295", "4294967296", "18446744073709551616",
		"-1", "5",  "1",  "",   "abc", "0x1",        " 1",         "1 ",
	};

	REFUSES_EACH(state, "ring-page-order", values);
}

static void number_of_queues(void **state)
{
	/* 2: there are no queue-0 and queue-1. */
	static const char *const values[] = {
		"0", "2147483648", "65536", "17", "4294967297", "-1", "", "abc", "2",
	};

	REFUSES_EACH(state, "multi-queue-num-queues", values);
}

static void ring_reference(void **state)
{
	static const char *const values[] = {
		"7", "30000", "2147483648", "4294967295", "4294967296", "-1", "", "abc", NULL,
	};
	struct fixture *f = *state;
	char lowest[16];

	snprintf(lowest, sizeof(lowest), "%u", f->h.lowest_ref);
	refuses(f, "ring-ref", lowest);
	REFUSES_EACH(state, "ring-ref", values);
}

static void event_channel(void **state)
{
	static const char *const values[] = {
		"0", "1022", "131071", "131072", "2147483648", "4294967295", "-1", "", "abc", NULL,
	};

	REFUSES_EACH(state, "event-channel", values);
}

static void protocol(void **state)
{
	static const char *const values[] = { "", "sparc-abi", "x86_64", "x86_64-abi\n", "%s%n%s" };

	REFUSES_EACH(state, "protocol", values);
}

static void huge_values(void **state)
{
	struct fixture *f = *state;
	char text[2000];

	memset(text, '1', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	refuses(f, "ring-ref", text);
	refuses(f, "ring-page-order", text);
	refuses(f, "protocol", text);
	/* What has no meaning does no harm. */
	assert_int_equal(sr_hostile_set(&f->h, "some-node", text), 0);
	assert_int_equal(sr_hostile_set(&f->h, "state-of-mind", text), 0);
	assert_int_equal(sr_hostile_connect(&f->h, 0, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS), 0);
	rig_io_works(&f->h);
}

static void ring_references_repeated(void **state)
{
	struct fixture *f = *state;

	prepare(f, 1);
	assert_int_equal(sr_hostile_setf(&f->h, "ring-ref1", "%u", f->h.ring_refs[0]), 0);
	is_refused(f);
	rig_reconnects(&f->h);
}

static void ring_of_two_queues_repeated(void **state)
{
	struct fixture *f = *state;

	if (sr_hostile_backend_number(&f->h, "multi-queue-max-queues", 1) < 2) {
		refuses(f, "multi-queue-num-queues", "2");
		return;
	}
	prepare(f, 0);
	sr_hostile_setf(&f->h, "multi-queue-num-queues", "2");
	for (unsigned i = 0; i < 2; i++) {
		char node[32];

		snprintf(node, sizeof(node), "queue-%u/ring-ref", i);
		sr_hostile_setf(&f->h, node, "%u", f->h.ring_refs[0]);
		snprintf(node, sizeof(node), "queue-%u/event-channel", i);
		sr_hostile_setf(&f->h, node, "%u", f->h.port);
	}
	is_refused(f);
	rig_reconnects(&f->h);
}

static void ring_granted_for_reading_only(void **state)
{
	struct fixture *f = *state;

	prepare(f, 0);
	assert_int_equal(sr_hostile_setf(&f->h, "ring-ref", "%u", f->h.readonly_ref), 0);
	is_refused(f);
	rig_reconnects(&f->h);
}

static void ring_granted_to_somebody_else(void **state)
{
	struct fixture *f = *state;
	void *page;
	uint32_t ref;

	prepare(f, 0);
	/* To the guest itself: any domain but the backend's. */
	assert_int_equal(sr_gntshr_share(f->h.gs, f->domid, 1, true, &ref, &page), 0);
	assert_int_equal(sr_hostile_setf(&f->h, "ring-ref", "%u", ref), 0);
	is_refused(f);
	rig_reconnects(&f->h);
}

static void event_channel_for_somebody_else(void **state)
{
	struct fixture *f = *state;
	uint32_t port;

	prepare(f, 0);
	assert_int_equal(sr_evtchn_alloc_unbound(f->h.ev, f->domid, &port), 0);
	assert_int_equal(sr_hostile_setf(&f->h, "event-channel", "%u", port), 0);
	is_refused(f);
	rig_reconnects(&f->h);
}

static void event_channel_closed_before_it_is_bound(void **state)
{
	struct fixture *f = *state;

	prepare(f, 0);
	assert_int_equal(sr_evtchn_unbind(f->h.ev, f->h.port), 0);
	f->h.port = 0;
	is_refused(f);
	rig_reconnects(&f->h);
}

static void ring_taken_away_before_it_is_mapped(void **state)
{
	struct fixture *f = *state;

	prepare(f, 0);
	assert_int_equal(sr_gntshr_unshare(f->h.gs, f->h.ring, 1), 0);
	f->h.ring = NULL;
	is_refused(f);
	rig_reconnects(&f->h);
}

/* Hints and strangers among the nodes are no reason to refuse a disk. */
static void nonsense_that_does_not_matter(void **state)
{
	static const char *const values[] = { "", "abc", "2", "-1", "4294967296" };
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		prepare(f, 0);
		sr_hostile_set(&f->h, "feature-persistent", values[i]);
		sr_hostile_set(&f->h, "feature-large-sector-size", values[i]);
		sr_hostile_set(&f->h, "trusted", values[i]);
		hand_over(f);
		assert_int_equal(
		    sr_hostile_await(&f->h, 1u << XenbusStateConnected, RIG_TIMEOUT_MS),
		    XenbusStateConnected);
		rig_io_works(&f->h);
		assert_int_equal(sr_hostile_reset(&f->h, RIG_TIMEOUT_MS), 0);
	}
}

/* All sizes of ring and all ABIs on one device, one after the other. */
static void every_honest_way_still_works(void **state)
{
	struct fixture *f = *state;

	for (unsigned order = 0; order <= SR_BLKIF_MAX_RING_ORDER; order++) {
		enum sr_blkif_abi abi = order % (SR_BLKIF_ABI_ARM + 1);

		assert_int_equal(sr_hostile_connect(&f->h, order, abi, RIG_TIMEOUT_MS), 0);
		rig_io_works(&f->h);
		assert_int_equal(sr_hostile_reset(&f->h, RIG_TIMEOUT_MS), 0);
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_honest_way_still_works),
		CASE(ring_page_order),
		CASE(number_of_queues),
		CASE(ring_reference),
		CASE(event_channel),
		CASE(protocol),
		CASE(huge_values),
		CASE(ring_references_repeated),
		CASE(ring_of_two_queues_repeated),
		CASE(ring_granted_for_reading_only),
		CASE(ring_granted_to_somebody_else),
		CASE(event_channel_for_somebody_else),
		CASE(event_channel_closed_before_it_is_bound),
		CASE(ring_taken_away_before_it_is_mapped),
		CASE(nonsense_that_does_not_matter),
	};

	return cmocka_run_group_tests_name("hostile nodes", tests, rig_start, rig_stop);
}
