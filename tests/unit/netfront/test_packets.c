/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <stdlib.h>

/* Packets both ways: how they lie in rings and memory, and what is said of them. */

static struct world w;

static int setup(void **state)
{
	world_quick(&w);
	return 0;
}

static int teardown(void **state)
{
	world_stop(&w);
	return 0;
}

static void send_and_check(uint8_t *at, uint32_t length, unsigned slots)
{
	world_fill(at, length, length);
	assert_int_equal(world_send(&w, at, length, 0, 0), 1);
	assert_true(testback_take(&w.back, 0, &w.packet));
	assert_int_equal(w.packet.length, length);
	assert_int_equal(w.packet.slots, slots);
	world_expect(w.packet.data, length, length);
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, 0);
	assert_int_equal(world_done(&w, at), 0);
}

static void test_sizes(void **state)
{
	static const uint32_t sizes[] = { 14,   15,   60,   127,  128,  1499,  1500,  4081,
					  4082, 4095, 4096, 4097, 8999, 32768, 65534, 65535 };
	static const uint32_t offsets[] = { 0, 1, 14, 2048, 4095 };
	struct sr_netfront_stats stats;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (unsigned o = 0; o < sizeof(offsets) / sizeof(offsets[0]); o++) {
			uint32_t end = offsets[o] + sizes[i];

			send_and_check(w.memory + offsets[o], sizes[i], (end + 4095) / 4096);
			bytes += sizes[i];
		}
	}
	sr_netfront_stats(w.q, &stats);
	assert_int_equal(stats.tx_packets, sizeof(sizes) / sizeof(sizes[0]) * 5);
	assert_int_equal(stats.tx_bytes, bytes);
	assert_int_equal(stats.tx_copied, 0);
	assert_int_equal(sr_netfront_tx_room(w.q), SR_NETFRONT_RING_SIZE);
}

static void test_refused(void **state)
{
	struct sr_netfront_segment segs[2] = { { w.memory, 65535 }, { w.memory, 1 } };
	struct sr_netfront_tx p = { .segments = segs, .count = 2 };

	assert_int_equal(world_send(&w, w.memory, 13, 0, 0), -EINVAL);
	assert_int_equal(world_send(&w, w.memory, 0, 0, 0), -EINVAL);
	assert_int_equal(world_send(&w, w.memory, 65536, 0, 0), -EMSGSIZE);
	assert_int_equal(sr_netfront_transmit(w.q, &p, 1), -EMSGSIZE);
	assert_int_equal(world_send(&w, w.memory, 2000, SR_NETFRONT_GSO4, 0), -EINVAL);
	assert_int_equal(world_send(&w, w.memory, 2000, SR_NETFRONT_GSO4 | SR_NETFRONT_GSO6, 1000),
			 -EINVAL);
	assert_false(testback_take(&w.back, 0, &w.packet));
}

/* A chain of pieces; those of no length leave nothing behind. */
static void test_segments(void **state)
{
	struct sr_netfront_segment segs[5] = {
		{ w.memory, 0 },     { w.memory + 100, 10 },  { w.memory + 4090, 20 },
		{ w.memory + 1, 0 }, { w.memory + 8192, 70 },
	};
	struct sr_netfront_tx p = { .segments = segs, .count = 5, .tag = &p };

	world_fill(w.memory, 16384, 3);
	assert_int_equal(sr_netfront_transmit(w.q, &p, 1), 1);
	sr_netfront_kick(w.q);
	assert_true(testback_take(&w.back, 0, &w.packet));
	assert_int_equal(w.packet.slots, 4);
	assert_int_equal(w.packet.length, 100);
	assert_memory_equal(w.packet.data, w.memory + 100, 10);
	assert_memory_equal(w.packet.data + 10, w.memory + 4090, 20);
	assert_memory_equal(w.packet.data + 30, w.memory + 8192, 70);
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, 0);
	assert_int_equal(world_done(&w, &p), 0);
}

/* More pieces than a backend has to take, and memory that it can't reach. */
static void test_copied(void **state)
{
	struct sr_netfront_segment segs[40];
	struct sr_netfront_tx p = { .segments = segs, .count = 40, .tag = &p };
	uint8_t *foreign = malloc(65535);
	struct sr_netfront_stats stats;

	world_fill(w.memory, 40 * 4096, 9);
	for (unsigned i = 0; i < 40; i++)
		segs[i] = (struct sr_netfront_segment){ w.memory + i * 4096, 300 };
	for (unsigned round = 0; round < 30; round++) {
		assert_int_equal(sr_netfront_transmit(w.q, &p, 1), 1);
		sr_netfront_kick(w.q);
		assert_true(testback_take(&w.back, 0, &w.packet));
		assert_int_equal(w.packet.slots, 3);
		for (unsigned i = 0; i < 40; i++)
			assert_memory_equal(w.packet.data + i * 300, segs[i].addr, 300);
		testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
		testback_publish(&w.back, 0);
		assert_int_equal(world_done(&w, &p), 0);
	}
	send_and_check(foreign, 65535, 16);
	send_and_check(foreign, 14, 1);
	sr_netfront_stats(w.q, &stats);
	assert_int_equal(stats.tx_copied, 32);
	free(foreign);
}

/* As many as the ring holds, answered in any order. */
static void test_full_ring(void **state)
{
	struct sr_netfront_segment seg = { w.memory, 60 };
	struct sr_netfront_tx p[300];
	struct sr_netfront_done done[300];
	static struct testback_packet packets[256];
	bool seen[256] = { false };

	for (uintptr_t i = 0; i < 300; i++)
		p[i] = (struct sr_netfront_tx){ .segments = &seg, .count = 1, .tag = (void *)i };
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(sr_netfront_transmit(w.q, p, 300), 256);
		assert_int_equal(sr_netfront_tx_room(w.q), 0);
		assert_int_equal(sr_netfront_transmit(w.q, p, 1), 0);
		sr_netfront_kick(w.q);
		for (unsigned i = 0; i < 256; i++)
			assert_true(testback_take(&w.back, 0, &packets[i]));
		for (unsigned i = 0; i < 256; i++)
			testback_answer(&w.back, 0, &packets[(i * 77 + round) % 256],
					NETIF_RSP_OKAY);
		testback_publish(&w.back, 0);
		assert_int_equal(sr_netfront_reap(w.q, done, 100), 100);
		assert_int_equal(sr_netfront_reap(w.q, done + 100, 300), 156);
		memset(seen, 0, sizeof(seen));
		for (unsigned i = 0; i < 256; i++) {
			assert_false(seen[(uintptr_t)done[i].tag]);
			seen[(uintptr_t)done[i].tag] = true;
		}
	}
}

static void test_errors(void **state)
{
	static const int16_t statuses[] = { NETIF_RSP_ERROR, NETIF_RSP_DROPPED, -77 };
	static const int errors[] = { -EIO, -ECOMM, -EIO };
	struct sr_netfront_stats stats;

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(world_send(&w, w.memory, 9000, 0, 0), 1);
		assert_true(testback_take(&w.back, 0, &w.packet));
		/* One bad piece spoils the packet. */
		sr_netif_tx_back_put(&w.back.queue[0].tx, w.packet.ids[1], statuses[i]);
		sr_netif_tx_back_put(&w.back.queue[0].tx, w.packet.ids[0], NETIF_RSP_OKAY);
		sr_netif_tx_back_put(&w.back.queue[0].tx, w.packet.ids[2], NETIF_RSP_OKAY);
		testback_publish(&w.back, 0);
		assert_int_equal(world_done(&w, w.memory), errors[i]);
	}
	sr_netfront_stats(w.q, &stats);
	assert_int_equal(stats.tx_errors, 3);
	assert_int_equal(stats.tx_packets, 0);
	assert_int_equal(sr_netfront_tx_room(w.q), SR_NETFRONT_RING_SIZE);
}

static void test_tx_offloads(void **state)
{
	struct sr_netfront_segment seg = { w.memory, 20000 };
	struct sr_netfront_tx p = {
		.segments = &seg,
		.count = 1,
		.flags = SR_NETFRONT_CSUM_BLANK | SR_NETFRONT_GSO6 | SR_NETFRONT_HASH,
		.gso_size = 1440,
		.hash = 0x12345678,
		.hash_type = _XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP,
	};

	assert_int_equal(sr_netfront_transmit(w.q, &p, 1), 1);
	sr_netfront_kick(w.q);
	assert_true(testback_take(&w.back, 0, &w.packet));
	assert_int_equal(w.packet.flags, NETTXF_csum_blank | NETTXF_data_validated |
					     NETTXF_extra_info | NETTXF_more_data);
	assert_int_equal(w.packet.extra_count, 2);
	assert_int_equal(w.packet.extras[0].type, XEN_NETIF_EXTRA_TYPE_GSO);
	assert_int_equal(w.packet.extras[0].u.gso.size, 1440);
	assert_int_equal(w.packet.extras[0].u.gso.type, XEN_NETIF_GSO_TYPE_TCPV6);
	assert_int_equal(w.packet.extras[1].type, XEN_NETIF_EXTRA_TYPE_HASH);
	assert_int_equal(w.packet.extras[1].u.hash.type, _XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP);
	assert_memory_equal(w.packet.extras[1].u.hash.value, "\x78\x56\x34\x12", 4);
	assert_int_equal(w.packet.slots, 5);
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, 0);
	assert_int_equal(world_done(&w, NULL), 0);
	assert_int_equal(world_send(&w, w.memory, 60, SR_NETFRONT_CSUM_VALID, 0), 1);
	assert_true(testback_take(&w.back, 0, &w.packet));
	assert_int_equal(w.packet.flags, NETTXF_data_validated);
}

/* What the backend doesn't offer isn't sent. */
static void test_poor_backend(void **state)
{
	static const struct testback_offer poor = { .queues = 1, .no_csum4 = true };
	struct sr_netfront_options o = SR_NETFRONT_DEFAULTS;

	world_stop(&w);
	world_start(&w, &poor);
	o.queues = 4;
	world_open(&w, o);
	assert_int_equal(sr_netfront_info(w.front)->queues, 1);
	assert_false(sr_netfront_info(w.front)->split);
	assert_int_equal(world_send(&w, w.memory, 4097, 0, 0), -EMSGSIZE);
	assert_int_equal(world_send(&w, w.memory, 100, SR_NETFRONT_CSUM_BLANK, 0), -EOPNOTSUPP);
	assert_int_equal(world_send(&w, w.memory, 100, SR_NETFRONT_GSO4, 100), -EOPNOTSUPP);
	assert_int_equal(sr_netfront_multicast(w.q, w.memory, true, NULL), -EOPNOTSUPP);
	/* One slot it has to be: a packet across pages is copied. */
	send_and_check(w.memory + 4090, 4096, 1);
}

static void receive_one(uint32_t length, uint32_t piece, unsigned seed)
{
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_rx p;
	uint32_t at = 0;

	world_fill(w.packet.data, length, seed);
	w.packet.length = length;
	assert_true(testback_send(&w.back, 0, &w.packet, piece));
	testback_publish(&w.back, 0);
	assert_int_equal(sr_netfront_receive(w.q, &p, 1, segs, SR_NETFRONT_MAX_SEGMENTS), 1);
	assert_int_equal(p.length, length);
	assert_int_equal(p.count, (length + piece - 1) / piece);
	for (unsigned i = p.first; i < p.first + p.count; i++) {
		const uint8_t *page = segs[i].tag;

		assert_memory_equal(page + segs[i].offset, w.packet.data + at, segs[i].length);
		at += segs[i].length;
		assert_int_equal(
		    sr_netfront_post(w.q, &(struct sr_netfront_buffer){ segs[i].tag, segs[i].tag },
				     1),
		    1);
	}
	assert_int_equal(at, length);
	sr_netfront_kick(w.q);
}

static void test_receive(void **state)
{
	static const uint32_t sizes[] = { 14, 60, 1514, 4096, 4097, 9014, 65535 };

	world_post(&w, 0, 256);
	assert_int_equal(sr_netfront_rx_room(w.q), 0);
	for (unsigned round = 0; round < 8; round++)
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			receive_one(sizes[i], i % 2 ? 4096 : 3900, round);
	assert_int_equal(sr_netfront_rx_room(w.q), 0);
}

static void test_rx_offloads(void **state)
{
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct testback_packet *p = &w.packet;
	struct sr_netfront_rx got;

	world_post(&w, 0, 8);
	p->flags = NETRXF_csum_blank | NETRXF_data_validated;
	p->extra_count = 2;
	p->extras[0] = (struct netif_extra_info){ .type = XEN_NETIF_EXTRA_TYPE_GSO };
	p->extras[0].u.gso.size = 1448;
	p->extras[0].u.gso.type = XEN_NETIF_GSO_TYPE_TCPV4;
	p->extras[1] = (struct netif_extra_info){ .type = XEN_NETIF_EXTRA_TYPE_HASH };
	p->extras[1].u.hash.type = _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP;
	memcpy(p->extras[1].u.hash.value, "\x01\x02\x03\x84", 4);
	p->length = 10000;
	assert_true(testback_send(&w.back, 0, p, 4096));
	testback_publish(&w.back, 0);
	assert_int_equal(sr_netfront_receive(w.q, &got, 1, segs, SR_NETFRONT_MAX_SEGMENTS), 1);
	assert_int_equal(got.flags, SR_NETFRONT_CSUM_BLANK | SR_NETFRONT_CSUM_VALID |
					SR_NETFRONT_GSO4 | SR_NETFRONT_HASH);
	assert_int_equal(got.gso_size, 1448);
	assert_int_equal(got.hash, 0x84030201);
	assert_int_equal(got.hash_type, _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP);
	assert_int_equal(got.count, 3);
	/* The pages of the extras are in the ring again. */
	assert_int_equal(sr_netfront_rx_room(w.q), 256 - 5);
	assert_int_equal(sr_ring_back_pending(&w.back.queue[0].rx.ring), 5);
}

/* A packet of which the backend has shown only a part is there once all of it is. */
static void test_in_parts(void **state)
{
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netif_back *rx = &w.back.queue[0].rx;
	struct sr_netfront_rx got;

	world_post(&w, 0, 256);
	for (unsigned i = 0; i < 3; i++) {
		struct netif_rx_response rsp = { .status = 1000 };

		rsp.flags = i < 2 ? NETRXF_more_data : 0;
		rsp.id = testback_rx_request(&w.back, 0, w.packet.data, 0, 1000).id;
		sr_netif_rx_back_put(rx, &rsp);
		testback_publish(&w.back, 0);
		assert_int_equal(sr_netfront_receive(w.q, &got, 1, segs, SR_NETFRONT_MAX_SEGMENTS),
				 i == 2);
		if (i < 2)
			assert_int_equal(sr_netfront_rx_room(w.q), 0);
	}
	assert_int_equal(got.length, 3000);
	assert_int_equal(sr_netfront_rx_room(w.q), 3);
}

/* The room for segments bounds what is taken, and nothing is lost by that. */
static void test_room(void **state)
{
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS + 3];
	struct sr_netfront_rx got[8];

	world_post(&w, 0, 32);
	w.packet.length = 100;
	for (unsigned i = 0; i < 8; i++)
		assert_true(testback_send(&w.back, 0, &w.packet, 4096));
	testback_publish(&w.back, 0);
	assert_int_equal(sr_netfront_receive(w.q, got, 8, segs, SR_NETFRONT_MAX_SEGMENTS - 1), 0);
	assert_int_equal(sr_netfront_receive(w.q, got, 8, segs, SR_NETFRONT_MAX_SEGMENTS + 3), 4);
	assert_int_equal(sr_netfront_receive(w.q, got, 2, segs, SR_NETFRONT_MAX_SEGMENTS + 3), 2);
	assert_int_equal(sr_netfront_receive(w.q, got, 8, segs, SR_NETFRONT_MAX_SEGMENTS + 3), 2);
	assert_int_equal(sr_netfront_receive(w.q, got, 8, segs, SR_NETFRONT_MAX_SEGMENTS + 3), 0);
}

static void test_bad_buffers(void **state)
{
	struct sr_netfront_buffer b = { .page = w.memory + 8 };
	static char foreign[8192];

	assert_int_equal(sr_netfront_post(w.q, &b, 1), -EINVAL);
	b.page = w.memory + WORLD_PAGES * SR_PAGE_SIZE;
	assert_int_equal(sr_netfront_post(w.q, &b, 1), -EINVAL);
	b.page = (void *)(((uintptr_t)foreign + 4095) & ~(uintptr_t)4095);
	assert_int_equal(sr_netfront_post(w.q, &b, 1), -EINVAL);
}

/* Asleep until the backend notifies. */
static void *sender(void *arg)
{
	struct timespec nap = { .tv_nsec = 20000000 };

	nanosleep(&nap, NULL);
	w.packet.length = 64;
	testback_send(&w.back, 0, &w.packet, 4096);
	testback_publish(&w.back, 0);
	return NULL;
}

static void test_wait(void **state)
{
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_stats stats;
	struct sr_netfront_rx got;
	pthread_t thread;

	world_post(&w, 0, 32);
	assert_int_equal(sr_netfront_wait(w.q, SR_NETFRONT_RX, 10), -ETIMEDOUT);
	/* Nothing is out, so nothing will come. */
	assert_int_equal(sr_netfront_wait(w.q, SR_NETFRONT_TX, -1), 0);
	assert_int_equal(pthread_create(&thread, NULL, sender, NULL), 0);
	assert_int_equal(sr_netfront_wait(w.q, SR_NETFRONT_RX, -1), 0);
	pthread_join(thread, NULL);
	assert_int_equal(sr_netfront_receive(w.q, &got, 1, segs, SR_NETFRONT_MAX_SEGMENTS), 1);
	sr_netfront_stats(w.q, &stats);
	assert_true(stats.sleeps >= 2 && stats.events >= 1);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_sizes),       CASE(test_refused),      CASE(test_segments),
		CASE(test_copied),      CASE(test_full_ring),    CASE(test_errors),
		CASE(test_tx_offloads), CASE(test_poor_backend), CASE(test_receive),
		CASE(test_rx_offloads), CASE(test_in_parts),     CASE(test_room),
		CASE(test_bad_buffers), CASE(test_wait),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
