/* SPDX-License-Identifier: MIT */
#include "stages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>
#include <xen/io/xenbus.h>

#include "rig.h"

enum { REQUESTS = 30 };

const char *const stage_names[STAGES] = {
	"created",   "opened", "InitWait", "ring",    "Initialised",
	"Connected", "busy",   "answered", "Closing", "Closed",
};

static void put_requests(struct sr_hostile *h)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		struct sr_blkif_request req =
		    i % 3 ? sr_hostile_request(h, BLKIF_OP_READ + i % 2, i, 1 + i % 11)
			  : sr_hostile_indirect(h, BLKIF_OP_READ + i % 2, i, 50);

		sr_hostile_put(h, &req);
	}
	assert_int_equal(sr_hostile_kick(h), 0);
}

static void await_answers(struct sr_hostile *h)
{
	for (unsigned waited = 0; sr_ring_front_pending(&h->io.ring) < REQUESTS; waited += 5) {
		assert_true(waited < RIG_TIMEOUT_MS);
		usleep(5000);
	}
}

void stage_go_to(struct sr_hostile *h, enum stage stage)
{
	if (stage >= INITWAIT)
		assert_true(sr_hostile_await(h, 1u << XenbusStateInitWait, RIG_TIMEOUT_MS) > 0);
	if (stage == RING || stage == INITIALISED) {
		assert_int_equal(sr_hostile_make_ring(h, 1, SR_BLKIF_ABI_NATIVE), 0);
		assert_int_equal(sr_hostile_write_nodes(h), 0);
	}
	if (stage == INITIALISED)
		sr_hostile_setf(h, "state", "%d", XenbusStateInitialised);
	if (stage >= CONNECTED)
		assert_int_equal(sr_hostile_connect(h, 1, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS), 0);
	if (stage >= BUSY) {
		put_requests(h);
		if (stage == BUSY)
			rig_await_held(REQUESTS);
		else
			await_answers(h);
	}
	if (stage >= CLOSING)
		sr_hostile_setf(h, "state", "%d", XenbusStateClosing);
	if (stage == CLOSED)
		sr_hostile_setf(h, "state", "%d", XenbusStateClosed);
}
