/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>

/*
 * A backend that lies. What it says of one packet costs that packet; what it says of the rings
 * breaks the front. Each tag and each buffer comes back once, nothing crashes.
 */

#define OUT    10u
#define POSTED 64u

static struct world w;

static int setup(void **state)
{
	world_quick(&w);
	world_post(&w, 0, POSTED);
	for (unsigned i = 0; i < OUT; i++)
		assert_int_equal(world_send(&w, w.memory + i * 60, 60, 0, 0), 1);
	return 0;
}

static int teardown(void **state)
{
	world_stop(&w);
	return 0;
}

/* All comes back, and nothing goes out any more. */
static void expect_broken(unsigned sent)
{
	struct sr_netfront_done done[OUT + 1];
	struct sr_netfront_buffer back[POSTED + 1];
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_rx got;
	bool seen[POSTED] = { false };
	unsigned n = sr_netfront_reap(w.q, done, OUT + 1), good = 0;

	assert_int_equal(n, OUT);
	for (unsigned i = 0; i < n; i++) {
		size_t at = (size_t)((uint8_t *)done[i].tag - w.memory) / 60;

		assert_true(at < OUT && !seen[at]);
		seen[at] = true;
		assert_true(!done[i].error || done[i].error == -EIO);
		good += !done[i].error;
	}
	assert_int_equal(good, sent);
	assert_int_equal(sr_netfront_status(w.front), -EIO);
	assert_true(sr_netfront_reason(w.front)[0]);
	world_await_event(&w, SR_NETFRONT_BROKEN, 1);
	assert_int_equal(world_send(&w, w.memory, 60, 0, 0), -EIO);
	assert_int_equal(sr_netfront_receive(w.q, &got, 1, segs, SR_NETFRONT_MAX_SEGMENTS), -EIO);
	assert_int_equal(sr_netfront_wait(w.q, SR_NETFRONT_RX, -1), 0);
	memset(seen, 0, sizeof(seen));
	assert_int_equal(sr_netfront_take_back(w.q, back, POSTED + 1), POSTED);
	for (unsigned i = 0; i < POSTED; i++) {
		size_t at = (size_t)((uint8_t *)back[i].page - w.memory) / SR_PAGE_SIZE;

		assert_true(at < POSTED && !seen[at] && back[i].tag == back[i].page);
		seen[at] = true;
	}
	assert_int_equal(sr_netfront_take_back(w.q, back, 1), 0);
}

/* A fresh start heals it. */
static void expect_healed(void)
{
	assert_int_equal(sr_netfront_disconnect(w.front), 0);
	assert_int_equal(sr_netfront_connect(w.front), 0);
	assert_int_equal(sr_netfront_status(w.front), 0);
	assert_string_equal(sr_netfront_reason(w.front), "");
	assert_int_equal(world_send(&w, w.memory, 60, 0, 0), 1);
	assert_true(testback_take(&w.back, 0, &w.packet));
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, 0);
	assert_int_equal(world_done(&w, w.memory), 0);
}

static void tx_put(uint16_t id, int16_t status)
{
	sr_netif_tx_back_put(&w.back.queue[0].tx, id, status);
}

static void test_bad_ids(void **state)
{
	static const uint16_t ids[] = { 200, 255, 256, 0x7fff, 0xffff };

	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		if (i) {
			teardown(state);
			setup(state);
		}
		assert_true(testback_take(&w.back, 0, &w.packet));
		testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
		tx_put(ids[i], NETIF_RSP_OKAY);
		testback_publish(&w.back, 0);
		expect_broken(1);
	}
	expect_healed();
}

static void test_answered_twice(void **state)
{
	assert_true(testback_take(&w.back, 0, &w.packet));
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, 0);
	expect_broken(1);
}

static void test_null_for_nothing(void **state)
{
	tx_put(0, NETIF_RSP_NULL);
	testback_publish(&w.back, 0);
	expect_broken(0);
}

static void test_impossible_tx_index(void **state)
{
	static const uint32_t jumps[] = { OUT + 1, 257, 1u << 31, UINT32_MAX };

	for (unsigned i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
		if (i) {
			teardown(state);
			setup(state);
		}
		sr_ring_store_release(&w.back.queue[0].tx.ring.shared->rsp_prod, jumps[i]);
		assert_int_equal(sr_netfront_wait(w.q, SR_NETFRONT_TX, 1000), 0);
		expect_broken(0);
	}
	expect_healed();
}

static void test_impossible_rx_index(void **state)
{
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_rx got;

	sr_ring_store_release(&w.back.queue[0].rx.ring.shared->rsp_prod, POSTED + 1);
	assert_int_equal(sr_netfront_wait(w.q, SR_NETFRONT_RX, 1000), 0);
	assert_int_equal(sr_netfront_receive(w.q, &got, 1, segs, SR_NETFRONT_MAX_SEGMENTS), -EIO);
	expect_broken(0);
}

/* --- packets that make no sense --------------------------------------------------------------- */

static void rx_put(uint16_t offset, int16_t status, uint16_t flags)
{
	struct netif_rx_response rsp = { .offset = offset, .status = status, .flags = flags };

	(void)testback_rx_request(&w.back, 0, NULL, 0, 0);
	/* The id is a lie as well; nobody looks at it. */
	rsp.id = 0xbeef;
	sr_netif_rx_back_put(&w.back.queue[0].rx, &rsp);
}

static void rx_extra(uint8_t type, uint8_t flags, uint16_t size, uint8_t gso)
{
	struct netif_extra_info e = { .type = type, .flags = flags };

	(void)testback_rx_request(&w.back, 0, NULL, 0, 0);
	e.u.gso.size = size;
	e.u.gso.type = gso;
	sr_netif_rx_back_put_extra(&w.back.queue[0].rx, &e);
}

/* What was put is dropped; a good packet behind it is received; no buffer is lost. */
static void expect_dropped(void)
{
	struct sr_netfront_rx_segment segs[4 * SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_stats before, after;
	struct sr_netfront_buffer b;
	struct sr_netfront_rx got[2];

	sr_netfront_stats(w.q, &before);
	rx_put(32, 60, 0);
	testback_publish(&w.back, 0);
	assert_int_equal(sr_netfront_receive(w.q, got, 2, segs, sizeof(segs) / sizeof(segs[0])), 1);
	assert_int_equal(got[0].length, 60);
	assert_int_equal(got[0].flags, 0);
	sr_netfront_stats(w.q, &after);
	assert_int_equal(after.rx_errors, before.rx_errors + 1);
	b = (struct sr_netfront_buffer){ segs[got[0].first].tag, segs[got[0].first].tag };
	assert_int_equal(sr_netfront_post(w.q, &b, 1), 1);
	assert_int_equal(sr_netfront_rx_room(w.q), SR_NETFRONT_RING_SIZE - POSTED);
	sr_netfront_kick(w.q);
	assert_int_equal(sr_netfront_status(w.front), 0);
}

static void test_bad_packets(void **state)
{
	static const struct {
		uint16_t offset;
		int16_t status;
	} ones[] = {
		{ 0, 0 },     { 0, 13 },    { 0, -1 },      { 0, -32768 },     { 1, 4096 },
		{ 4096, 60 }, { 4090, 60 }, { 0xffff, 60 }, { 0xffff, 32767 }, { 0, 4097 },
	};

	for (unsigned round = 0; round < 30; round++) {
		for (unsigned i = 0; i < sizeof(ones) / sizeof(ones[0]); i++) {
			rx_put(ones[i].offset, ones[i].status, 0);
			expect_dropped();
		}
	}
}

static void test_bad_chains(void **state)
{
	for (unsigned pieces = 19; pieces < POSTED; pieces += 9) {
		for (unsigned i = 0; i < pieces; i++)
			rx_put(0, 100, i + 1 < pieces ? NETRXF_more_data : 0);
		expect_dropped();
	}
	/* 18 pieces, too long in sum. */
	for (unsigned i = 0; i < 18; i++)
		rx_put(0, 4096, i < 17 ? NETRXF_more_data : 0);
	expect_dropped();
	/* A bad piece in the middle. */
	rx_put(0, 100, NETRXF_more_data);
	rx_put(4000, 100, NETRXF_more_data);
	rx_put(0, 100, 0);
	expect_dropped();
	rx_put(0, 100, NETRXF_gso_prefix | NETRXF_more_data);
	rx_put(0, 100, 0);
	expect_dropped();
}

static void test_bad_extras(void **state)
{
	static const uint8_t types[] = { 0, 2, 3, 5, 255 };

	for (unsigned i = 0; i < sizeof(types); i++) {
		rx_put(0, 100, NETRXF_extra_info);
		rx_extra(types[i], 0, 1, 1);
		expect_dropped();
	}
	rx_put(0, 100, NETRXF_extra_info);
	rx_extra(XEN_NETIF_EXTRA_TYPE_GSO, 0, 0, XEN_NETIF_GSO_TYPE_TCPV4);
	expect_dropped();
	rx_put(0, 100, NETRXF_extra_info | NETRXF_more_data);
	rx_extra(XEN_NETIF_EXTRA_TYPE_GSO, 0, 1448, 3);
	rx_put(0, 100, 0);
	expect_dropped();
	/* A chain of extras without end, as long as the ring. */
	rx_put(0, 100, NETRXF_extra_info);
	for (unsigned i = 0; i < 50; i++)
		rx_extra(XEN_NETIF_EXTRA_TYPE_HASH, i < 49 ? XEN_NETIF_EXTRA_FLAG_MORE : 0, 0, 0);
	expect_dropped();
}

/* The ring is full of a packet that never ends: nothing spins, and disconnecting brings all back.
 */
static void test_endless_packet(void **state)
{
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_buffer back[POSTED + 1];
	struct sr_netfront_rx got;

	for (unsigned i = 0; i < 10 * POSTED; i++) {
		rx_put(0, 100, NETRXF_more_data);
		testback_publish(&w.back, 0);
		assert_int_equal(sr_netfront_receive(w.q, &got, 1, segs, SR_NETFRONT_MAX_SEGMENTS),
				 0);
		sr_netfront_kick(w.q);
	}
	assert_int_equal(sr_netfront_arm(w.q, SR_NETFRONT_RX), 0);
	assert_int_equal(sr_netfront_disconnect(w.front), 0);
	assert_int_equal(sr_netfront_take_back(w.q, back, POSTED + 1), POSTED);
}

/* --- the control ring ------------------------------------------------------------------------- */

static void test_control_lies(void **state)
{
	static const uint32_t args[3];
	static const int statuses[] = { 1, 2, 3 }, errors[] = { -ENOTSUP, -EINVAL, -EOVERFLOW };
	struct testback_control *c = &w.back.control;
	uint32_t data;

	for (unsigned i = 0; i < 3; i++) {
		c->status = statuses[i];
		assert_int_equal(sr_netfront_control(w.front, 1, args, &data), errors[i]);
	}
	c->status = 0;
	assert_int_equal(
	    sr_netfront_control(w.front, XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, args, &data), 0);
	c->status = 99;
	assert_int_equal(sr_netfront_control(w.front, 1, args, &data), -EPROTO);
	/* From then on it isn't used. */
	assert_int_equal(sr_netfront_control(w.front, 1, args, &data), -ENOTSUP);
	assert_int_equal(sr_netfront_status(w.front), 0);
	c->status = 0;
	assert_int_equal(sr_netfront_disconnect(w.front), 0);
	assert_int_equal(sr_netfront_connect(w.front), 0);
	c->wrong_id = true;
	assert_int_equal(sr_netfront_control(w.front, 1, args, &data), -EPROTO);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_bad_ids),
		CASE(test_answered_twice),
		CASE(test_null_for_nothing),
		CASE(test_impossible_tx_index),
		CASE(test_impossible_rx_index),
		CASE(test_bad_packets),
		CASE(test_bad_chains),
		CASE(test_bad_extras),
		CASE(test_endless_packet),
		CASE(test_control_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
