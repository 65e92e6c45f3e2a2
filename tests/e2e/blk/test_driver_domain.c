/* SPDX-License-Identifier: MIT */
/* The backend in an unprivileged domain of its own, with a domain's quotas. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <xen/io/xenbus.h>

#include "world.h"

#define WATCHES 124u /* so that few of the 128 are left */
#define GUESTS  6u

static struct xs_handle *greedy;

/* Uses up what the domain may have. */
static void take_watches(const char *address, unsigned count)
{
	struct sr_hypervisor *hv;

	assert_int_equal(sr_hv_open(address, &hv), 0);
	assert_int_equal(sr_hv_xenstore(hv, &greedy), 0);
	sr_hv_close(hv);
	for (unsigned i = 0; i < count; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/local/domain/0/watch/%u", i);
		assert_true(xs_watch(greedy, path, "greedy"));
	}
}

/* Disks of several guests, used and taken away again. */
static void serve_guests(unsigned watches_taken, bool dead)
{
	struct world w[GUESTS];
	struct harness h;
	struct backend b;
	char address[128], dom0[sizeof(h.dom0)];
	uint8_t out[4096], in[4096];
	uint16_t driver;

	harness_start(&h, "embedded:");
	driver = harness_driver(&h, address);
	if (watches_taken)
		take_watches(address, watches_taken);
	strcpy(dom0, h.dom0);
	strcpy(h.dom0, address);
	backend_start(&b, &h, NULL);
	strcpy(h.dom0, dom0);
	for (unsigned i = 0; i < GUESTS; i++) {
		w[i] = (struct world){ .disk = { .vdev = VDEV, .params = "ram:size=4M" } };
		w[i].disk.backend = driver;
		w[i].disk.domid = harness_guest(&h, 4096, w[i].address);
		assert_int_equal(sr_hv_open(w[i].address, &w[i].guest), 0);
		harness_attach(&h, &w[i].disk);
		world_open(&w[i], world_front);
	}
	for (unsigned i = 0; i < GUESTS; i++) {
		world_fill(out, sizeof(out), i);
		world_io(&w[i], SR_BLKFRONT_WRITE, 4096, out, sizeof(out));
		world_io(&w[i], SR_BLKFRONT_READ, 4096, in, sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
	for (unsigned i = 0; i < GUESTS; i++) {
		/* As libxl does it with a qdisk of a guest that is dying. */
		harness_back_write(&h, &w[i].disk, "online", dead ? "1" : "0");
		harness_back_write(&h, &w[i].disk, "state", dead ? "6" : "5");
		world_close(&w[i]);
		sr_hv_close(w[i].guest);
		/* What a toolstack waits for of a driver domain: one after the other. */
		harness_await_back(&h, &w[i].disk, "state", XenbusStateClosed);
		harness_await_back(&h, &w[i].disk, "state", -1);
	}
	backend_stop(&b, SR_BLKBACK_CLOSE);
	if (greedy)
		xs_close(greedy);
	greedy = NULL;
	harness_stop(&h);
}

static void test_driver_domain(void **state)
{
	serve_guests(0, false);
}

/* With no watch left for each guest, one for all of them does it. */
static void test_watches_run_out(void **state)
{
	serve_guests(WATCHES, false);
}

/* The toolstack asks nobody, and waits for the directory's end. */
static void test_dead_guests(void **state)
{
	serve_guests(0, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_driver_domain),
		cmocka_unit_test(test_watches_run_out),
		cmocka_unit_test(test_dead_guests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
