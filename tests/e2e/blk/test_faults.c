/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor fails the backend: the request that it concerns ends with an error, or takes
 * another way, and nothing else does.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <faulty/faulty.h>

#include "world.h"

/* Only the backend sees the faults. */
static void start(struct world *w, const char *faults, const char *scheme)
{
	char plain[sizeof(w->h.dom0)];

	memset(w, 0, sizeof(*w));
	harness_start(&w->h, scheme);
	strcpy(plain, w->h.dom0);
	snprintf(w->h.dom0, sizeof(w->h.dom0), "faulty:%s:%s", faults, plain);
	backend_start(&w->b, &w->h, NULL);
	strcpy(w->h.dom0, plain);
	w->disk = (struct harness_disk){ .vdev = VDEV, .params = "ram:size=8M" };
	w->disk.domid = harness_guest(&w->h, 8192, w->address);
	assert_int_equal(sr_hv_open(w->address, &w->guest), 0);
	harness_attach(&w->h, &w->disk);
}

static uint64_t injected(struct world *w, enum sr_fault kind)
{
	uint64_t n;

	assert_int_equal(sr_faulty_count(w->b.hv, kind, &n), 0);
	return n;
}

/* Writes and reads back; a write that failed is tried again. Returns how many requests failed. */
static unsigned work(struct world *w, unsigned rounds)
{
	uint8_t out[3 * 4096], in[sizeof(out)];
	unsigned failed = 0;

	for (unsigned i = 0; i < rounds; i++) {
		world_fill(out, sizeof(out), i);
		while (world_try(w, SR_BLKFRONT_WRITE, i * sizeof(out), out, sizeof(out))) {
			failed++;
			assert_true(failed < rounds);
		}
		while (world_try(w, SR_BLKFRONT_READ, i * sizeof(out), in, sizeof(in))) {
			failed++;
			assert_true(failed < rounds);
		}
		assert_memory_equal(in, out, sizeof(in));
	}
	return failed;
}

static uint64_t grant_errors(struct world *w)
{
	struct sr_blkback_device d;

	backend_device(&w->b, &w->disk, &d);
	return d.stats.errors[SR_STAT_ERR_GRANT];
}

static void one_fault(const char *faults, const char *scheme, bool persistent, unsigned expected)
{
	struct sr_blkfront_options front = world_front;
	struct world w;

	front.persistent = persistent;
	start(&w, faults, scheme);
	world_open(&w, front);
	assert_int_equal(work(&w, 50), expected);
	assert_int_equal(grant_errors(&w), expected);
	assert_int_equal(injected(&w, SR_FAULT_MAP) + injected(&w, SR_FAULT_COPY) +
			     injected(&w, SR_FAULT_COPY_SEGMENT),
			 1);
	world_stop(&w);
}

/* The second page of a request: the first one is let go of. The ring was the first map. */
static void test_map(void **state)
{
	one_fault("map=6", "embedded:", false, 1);
}

/* A page that can't be kept is mapped for the one request. */
static void test_persistent_map(void **state)
{
	one_fault("map=3", "embedded:", true, 0);
}

static void test_copy(void **state)
{
	one_fault("copy=3", "embedded-strict:", false, 1);
}

/* Into the bounce pages, and out of them. */
static void test_copy_segment(void **state)
{
	one_fault("copy-segment=8", "embedded-strict:", false, 1);
	one_fault("copy-segment=11", "embedded-strict:", false, 1);
}

static void test_events(void **state)
{
	struct world w;

	start(&w, "evtchn-late=0.3,evtchn-double=0.3,seed=5", "embedded:");
	world_open(&w, world_front);
	assert_int_equal(work(&w, 100), 0);
	world_stop(&w);
}

/* The rings can't be had: it is said, and the next try gets them. */
static void no_connection(const char *faults)
{
	struct sr_blkfront_options opt = world_front;
	char error[256];
	struct world w;
	char *text;

	start(&w, faults, "embedded:");
	opt.device = "xvda";
	opt.timeout_ms = 5000;
	opt.error = error;
	opt.error_size = sizeof(error);
	assert_int_not_equal(sr_blkfront_open(w.guest, &opt, &w.front), 0);
	text = harness_back_read(&w.h, &w.disk, "hotplug-error");
	assert_non_null(text);
	assert_non_null(strstr(text, "queue 0: can't"));
	free(text);
	w.front = NULL;
	world_open(&w, world_front);
	assert_int_equal(work(&w, 5), 0);
	world_stop(&w);
}

static void test_no_ring(void **state)
{
	no_connection("map=1");
}

static void test_no_event_channel(void **state)
{
	no_connection("bind=1");
}

/*
 * Whichever request to xenstore fails, from the first look to the last word: the disk connects as
 * it should, works, and goes.
 */
static void test_store(void **state)
{
	uint64_t struck = 1;

	for (unsigned nth = 1; struck; nth++) {
		struct sr_blkfront_options front = world_front;
		struct sr_blkback_device d;
		char faults[32];
		struct world w;

		snprintf(faults, sizeof(faults), "store=%u", nth);
		front.abi = SR_BLKIF_ABI_X86_32;
		front.ring_order = 1;
		start(&w, faults, "embedded:");
		world_open(&w, front);
		assert_int_equal(work(&w, 2), 0);
		backend_device(&w.b, &w.disk, &d);
		assert_int_equal(d.ring_pages, 2);
		assert_true(d.persistent);
		world_close(&w);
		struck = injected(&w, SR_FAULT_STORE);
		world_stop(&w);
	}
}

/* A store that fails a good part of the time is asked again, until all is said. */
static void test_bad_store(void **state)
{
	struct world w;

	start(&w, "store=0.02,seed=3", "embedded:");
	for (unsigned i = 0; i < 3; i++) {
		world_open(&w, world_front);
		assert_int_equal(work(&w, 5), 0);
		world_close(&w);
	}
	assert_true(injected(&w, SR_FAULT_STORE) > 0);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map),
		cmocka_unit_test(test_persistent_map),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_copy_segment),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_no_ring),
		cmocka_unit_test(test_no_event_channel),
		cmocka_unit_test(test_store),
		cmocka_unit_test(test_bad_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
