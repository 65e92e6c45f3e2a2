/* SPDX-License-Identifier: MIT */
/* Lies in the ring itself, and the ground pulled away: indices, flipping memory, grants, events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <xen/io/xenbus.h>

#include <hypervisor.h>

#include "rig.h"

enum { FLIP_MS = 150 };

struct fixture {
	uint16_t domid;
	struct sr_hostile h;
};

static int start(void **state, const char *params)
{
	static struct fixture f;

	rig_begin();
	f.domid = rig_guest(params, "w");
	rig_open(f.domid, &f.h);
	assert_int_equal(sr_hostile_connect(&f.h, 0, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS), 0);
	*state = &f;
	return 0;
}

static int setup(void **state)
{
	return start(state, RIG_RAM);
}

static int setup_held(void **state)
{
	rig_hold();
	return start(state, RIG_HELD);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	rig_release();
	sr_hostile_close(&f->h);
	rig_end(f->domid);
	return 0;
}

static struct sr_ring_indices *shared(struct fixture *f)
{
	return (void *)f->h.ring;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Sets req_prod to what it can't be: the device is disconnected, and can be connected again. */
static void jump(struct fixture *f, uint32_t by)
{
	sr_ring_store_release(&shared(f)->req_prod, f->h.io.ring.req_published + by);
	assert_int_equal(sr_evtchn_notify(f->h.ev, f->h.port), 0);
	rig_is_refused(&f->h, f->domid);
	rig_others_go_on();
	rig_reconnects(&f->h);
}

static void req_prod_jumps(void **state)
{
	struct fixture *f = *state;

	jump(f, 0x80000000u);
	jump(f, 33);
	jump(f, UINT32_MAX);
	jump(f, 0x7fffffffu);
	jump(f, 64);
	jump(f, (uint32_t)-32);
}

/* While requests are in flight there is less room: one more than that is a lie. */
static void req_prod_passes_what_is_in_flight(void **state)
{
	struct fixture *f = *state;

	if (!rig_can_hold()) {
		print_message("# skipped: no disk can be held here\n");
		skip();
	}
	for (unsigned i = 0; i < 20; i++) {
		struct sr_blkif_request req = sr_hostile_request(&f->h, BLKIF_OP_READ, 0, 1);

		sr_hostile_put(&f->h, &req);
	}
	assert_int_equal(sr_hostile_kick(&f->h), 0);
	rig_await_held(20);
	sr_ring_store_release(&shared(f)->req_prod, f->h.io.ring.req_published + 13);
	assert_int_equal(sr_evtchn_notify(f->h.ev, f->h.port), 0);
	/* What the disk has can't be taken back: the device goes when it is answered. */
	rig_others_go_on();
	rig_release();
	rig_is_refused(&f->h, f->domid);
	rig_reconnects(&f->h);
}

/* A read whose response is waited for by looking at nothing but rsp_prod. */
static void polled_read(struct fixture *f)
{
	struct sr_blkif_request req = sr_hostile_request(&f->h, BLKIF_OP_READ, 0, 1);
	struct blkif_response rsp;
	int64_t end = now_ms() + RIG_TIMEOUT_MS;

	sr_hostile_put(&f->h, &req);
	assert_int_equal(sr_hostile_kick(&f->h), 0);
	while (sr_ring_front_pending(&f->h.io.ring) != 1) {
		assert_true(now_ms() < end);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	sr_blkif_front_take(&f->h.io, &rsp);
	assert_int_equal(rsp.id, req.id);
	assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
}

/*
 * What the backend has written is never read back by it, and rsp_event decides over notifications
 * only: any value of them does no harm to a guest that polls.
 */
static void backends_words_overwritten(void **state)
{
	static const uint32_t odd[] = { 0, 1, 33, 0x80000000u, 0x7fffffffu, 0xffffff00u, 100000 };
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		sr_ring_store(&shared(f)->rsp_prod, f->h.io.ring.rsp_cons + 2 + odd[i]);
		sr_ring_store(&shared(f)->req_event, odd[i]);
		sr_ring_store(&shared(f)->rsp_event, odd[i]);
		polled_read(f);
	}
	rig_io_works(&f->h);
}

/* Keeps the ring full for a while, whatever comes back. */
static void load(struct fixture *f)
{
	int64_t end = now_ms() + FLIP_MS;
	struct sr_blkif_front *io = &f->h.io;

	for (unsigned i = 0; now_ms() < end; i++) {
		struct blkif_response rsp;
		struct sr_blkif_request req;
		int count = sr_ring_front_pending(&io->ring);

		for (; count > 0; count--)
			sr_blkif_front_take(io, &rsp);
		while (sr_ring_front_free(&io->ring)) {
			req = i % 2 ? sr_hostile_indirect(&f->h, (uint8_t)(i / 2 % 2), i % 4096, 64)
				    : sr_hostile_request(&f->h, (uint8_t)(i / 2 % 2), i % 4096, 11);
			sr_hostile_put(&f->h, &req);
		}
		sr_hostile_kick(&f->h);
		sr_hostile_response(&f->h, 2, &rsp);
	}
}

static void under_flipping(struct fixture *f, bool ring, size_t from, size_t to)
{
	struct sr_hostile_flipper *flipper;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		/* Each connection has a ring of its own. */
		uint8_t *at = (ring ? f->h.ring : f->h.data) + from;

		assert_int_equal(sr_hostile_flip(at, (to - from) / 4, seed * 77, &flipper), 0);
		load(f);
		rig_others_go_on();
		sr_hostile_flip_stop(flipper);
		rig_reconnects(&f->h);
	}
}

static void slots_change_while_read(void **state)
{
	under_flipping(*state, true, sizeof(struct sr_ring_indices), SR_PAGE_SIZE);
}

static void indirect_page_changes_while_read(void **state)
{
	under_flipping(*state, false, (SR_HOSTILE_PAGES - 1) * SR_PAGE_SIZE,
		       SR_HOSTILE_PAGES * SR_PAGE_SIZE);
}

static void data_changes_while_written(void **state)
{
	under_flipping(*state, false, 0, (SR_HOSTILE_PAGES - 1) * SR_PAGE_SIZE);
}

/* The four shared words change all the time: sooner or later that is impossible. */
static void indices_change_all_the_time(void **state)
{
	struct fixture *f = *state;
	struct sr_hostile_flipper *flipper;

	int64_t end = now_ms() + RIG_TIMEOUT_MS;

	assert_int_equal(sr_hostile_flip(f->h.ring, 4, 5, &flipper), 0);
	do {
		/* Each look finds something else, and not each of it is a lie. */
		assert_true(now_ms() < end);
		assert_int_equal(sr_evtchn_notify(f->h.ev, f->h.port), 0);
	} while (sr_hostile_await(&f->h, 1u << XenbusStateClosing | 1u << XenbusStateClosed, 5) <
		 0);
	sr_hostile_flip_stop(flipper);
	rig_others_go_on();
	rig_reconnects(&f->h);
}

/* The ring stays granted while it is mapped, whatever the guest asks for. */
static void end_access_to_the_ring(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(sr_gntshr_unshare(f->h.gs, f->h.ring, 1), rig_unshare_in_use());
	if (!rig_unshare_in_use()) {
		/* Not ours any more, and the backend's as long as it likes. */
		f->h.ring = NULL;
		assert_int_equal(sr_evtchn_notify(f->h.ev, f->h.port), 0);
		rig_others_go_on();
		rig_reconnects(&f->h);
		return;
	}
	rig_io_works(&f->h);
	assert_int_equal(sr_hostile_reset(&f->h, RIG_TIMEOUT_MS), 0);
	assert_int_equal(rig_mapped(f->domid), 0);
}

/* And data pages while a request uses them; what the backend has copied may go. */
static void end_access_to_data_in_use(void **state)
{
	struct fixture *f = *state;
	struct blkif_response rsp;
	void *pages;
	uint32_t refs[4];
	int rc;

	assert_int_equal(sr_gntshr_share(f->h.gs, 0, 4, true, refs, &pages), 0);
	for (uint8_t op = BLKIF_OP_READ; op <= BLKIF_OP_WRITE; op++) {
		struct sr_blkif_request req = sr_hostile_request(&f->h, op, 0, 4);

		for (unsigned i = 0; i < 4; i++)
			req.segs[i].gref = refs[i];
		sr_hostile_put(&f->h, &req);
	}
	assert_int_equal(sr_hostile_kick(&f->h), 0);
	rig_await_held(2);
	rc = sr_gntshr_unshare(f->h.gs, pages, 4);
	assert_true(rc == 0 || rc == -EBUSY);
	rig_release();
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(sr_hostile_response(&f->h, RIG_TIMEOUT_MS, &rsp), 0);
		/* Not held, either may have been before or after the pages went. */
		if (!rig_can_hold())
			continue;
		/* A read into pages that are gone fails; one into pages that stayed doesn't. */
		if (rc == -EBUSY || rsp.operation == BLKIF_OP_WRITE)
			assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
		else
			assert_int_equal(rsp.status, BLKIF_RSP_ERROR);
	}
	if (rc == -EBUSY) {
		assert_int_equal(sr_hostile_reset(&f->h, RIG_TIMEOUT_MS), 0);
		assert_int_equal(sr_gntshr_unshare(f->h.gs, pages, 4), 0);
	}
}

/*
 * A full ring on a disk that answers nothing takes what memory the thread has for such requests,
 * but not all of it: the others' disks are well, and need some too.
 */
static void full_ring_on_a_disk_that_hangs(void **state)
{
	struct fixture *f = *state;
	struct blkif_response rsp;

	assert_int_equal(sr_hostile_reset(&f->h, RIG_TIMEOUT_MS), 0);
	assert_int_equal(sr_hostile_connect(&f->h, 4, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS), 0);
	for (unsigned i = 0; i < 512; i++) {
		struct sr_blkif_request req =
		    sr_hostile_indirect(&f->h, i % 2, i, i % 3 ? 13 : 256);

		sr_hostile_put(&f->h, &req);
	}
	assert_int_equal(sr_hostile_kick(&f->h), 0);
	rig_await_held(3);
	for (unsigned i = 0; i < 5; i++)
		rig_others_go_on();
	rig_release();
	for (unsigned i = 0; i < 512; i++) {
		assert_int_equal(sr_hostile_response(&f->h, RIG_TIMEOUT_MS, &rsp), 0);
		assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
	}
	rig_io_works(&f->h);
}

static void storm_of_events(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(sr_evtchn_notify(f->h.ev, f->h.port), 0);
	rig_others_go_on();
	rig_io_works(&f->h);
}

static void port_closed_under_the_backend(void **state)
{
	struct fixture *f = *state;
	struct sr_blkif_request req = sr_hostile_request(&f->h, BLKIF_OP_READ, 0, 1);

	sr_hostile_put(&f->h, &req);
	assert_int_equal(sr_hostile_kick(&f->h), 0);
	assert_int_equal(sr_evtchn_unbind(f->h.ev, f->h.port), 0);
	f->h.port = 0;
	rig_others_go_on();
	rig_reconnects(&f->h);
}

#define CASE(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE_HELD(name) cmocka_unit_test_setup_teardown(name, setup_held, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(req_prod_jumps),
		CASE_HELD(req_prod_passes_what_is_in_flight),
		CASE(backends_words_overwritten),
		CASE(slots_change_while_read),
		CASE(indirect_page_changes_while_read),
		CASE(data_changes_while_written),
		CASE(indices_change_all_the_time),
		CASE(end_access_to_the_ring),
		CASE_HELD(end_access_to_data_in_use),
		CASE_HELD(full_ring_on_a_disk_that_hangs),
		CASE(storm_of_events),
		CASE(port_closed_under_the_backend),
	};

	return cmocka_run_group_tests_name("hostile ring", tests, rig_start, rig_stop);
}
