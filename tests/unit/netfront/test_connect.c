/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <stdlib.h>

#include <xen/io/xenbus.h>

/* Negotiation, closing and coming back, and all that is configured while connected. */

static struct world w;

static int setup(void **state)
{
	world_start(&w, &world_full);
	return 0;
}

static int teardown(void **state)
{
	world_stop(&w);
	return 0;
}

static void expect_node(const char *node, const char *value)
{
	char *text = testback_read(&w.back, w.back.front, node);

	if (!value)
		assert_null(text);
	else
		assert_string_equal(text, value);
	free(text);
}

static void open_with(unsigned queues)
{
	struct sr_netfront_options o = SR_NETFRONT_DEFAULTS;

	o.queues = queues;
	world_open(&w, o);
}

static void expect_traffic(unsigned queue)
{
	struct sr_netfront_queue *first = w.q;

	w.q = sr_netfront_queue(w.front, queue);
	assert_int_equal(world_send(&w, w.memory, 100, 0, 0), 1);
	assert_true(testback_take(&w.back, queue, &w.packet));
	assert_int_equal(w.packet.length, 100);
	testback_answer(&w.back, queue, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, queue);
	assert_int_equal(world_done(&w, w.memory), 0);
	w.q = first;
}

static void test_all_features(void **state)
{
	const struct sr_netfront_info *i;

	open_with(3);
	i = sr_netfront_info(w.front);
	assert_int_equal(i->queues, 3);
	assert_memory_equal(i->mac, "\x00\x16\x3e\x00\x00\x01", 6);
	assert_int_equal(i->mtu, 1500);
	assert_true(i->split && i->control && i->multicast_control && i->dynamic_multicast);
	assert_true(i->tx.sg && i->tx.gso4 && i->tx.gso6 && i->tx.csum4 && i->tx.csum6);
	expect_node("feature-sg", "1");
	expect_node("feature-gso-tcpv4", "1");
	expect_node("feature-gso-tcpv6", "1");
	expect_node("feature-ipv6-csum-offload", "1");
	expect_node("feature-no-csum-offload", NULL);
	expect_node("feature-rx-notify", "1");
	expect_node("multi-queue-num-queues", "3");
	expect_node("event-channel", NULL);
	expect_node("tx-ring-ref", NULL);
	for (unsigned q = 0; q < 3; q++)
		expect_traffic(q);
	assert_true(sr_netfront_carrier(w.front));
}

static void test_few_features(void **state)
{
	struct sr_netfront_options o = { .queues = 1, .timeout_ms = 20000, .headroom = 256 };

	testback_write(&w.back, w.back.front, "mtu", "9000");
	testback_write(&w.back, w.back.front, "mac", "nonsense");
	world_open(&w, o);
	assert_int_equal(sr_netfront_info(w.front)->mtu, 9000);
	assert_memory_equal(sr_netfront_info(w.front)->mac, "\0\0\0\0\0", 6);
	expect_node("feature-sg", NULL);
	expect_node("feature-no-csum-offload", "1");
	expect_node("event-channel-tx", NULL);
	expect_node("xdp-headroom", "256");
	assert_int_equal(w.back.headroom, 256);
	expect_traffic(0);
}

static void test_bad_options(void **state)
{
	struct sr_netfront_options o = SR_NETFRONT_DEFAULTS;
	char error[128];

	o.error = error;
	o.error_size = sizeof(error);
	o.queues = 65;
	assert_int_equal(sr_netfront_open(w.guest, &o, &w.front), -EINVAL);
	o.queues = 1;
	o.headroom = 0x8000;
	assert_int_equal(sr_netfront_open(w.guest, &o, &w.front), -EINVAL);
	o.headroom = 0;
	o.sg = false;
	assert_int_equal(sr_netfront_open(w.guest, &o, &w.front), -EINVAL);
	o.sg = true;
	o.device = 9;
	assert_int_equal(sr_netfront_open(w.guest, &o, &w.front), -ENODEV);
	assert_non_null(strstr(error, "no vif 9"));
	w.front = NULL;
}

static void test_silent_backend(void **state)
{
	struct sr_netfront_options o = SR_NETFRONT_DEFAULTS;

	w.back.offer.silent = true;
	o.timeout_ms = 100;
	assert_int_equal(sr_netfront_open(w.guest, &o, &w.front), -ETIMEDOUT);
	w.front = NULL;
	w.back.offer.silent = false;
	open_with(1);
	expect_traffic(0);
}

/* The backend closes the device under traffic and comes back with another number of queues. */
static void test_backend_comes_back(void **state)
{
	struct sr_netfront_done done[4];
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_rx got;

	open_with(2);
	for (unsigned round = 1; round < 4; round++) {
		world_post(&w, 0, 20);
		assert_int_equal(world_send(&w, w.memory, 60, 0, 0), 1);
		assert_int_equal(world_send(&w, w.memory, 9000, SR_NETFRONT_HASH, 0), 1);
		assert_true(testback_take(&w.back, 0, &w.packet));
		testback_go(&w.back, round == 1 ? XenbusStateClosing : XenbusStateClosed);
		world_await_event(&w, SR_NETFRONT_CLOSING, round);
		assert_int_equal(world_send(&w, w.memory, 60, 0, 0), -ESHUTDOWN);
		assert_int_equal(sr_netfront_wait(w.q, SR_NETFRONT_RX, -1), 0);
		assert_int_equal(sr_netfront_disconnect(w.front), 0);
		assert_int_equal(world_send(&w, w.memory, 60, 0, 0), -ENOTCONN);
		w.back.offer.queues = round == 2 ? 1 : 4;
		assert_int_equal(sr_netfront_connect(w.front), 0);
		assert_int_equal(sr_netfront_info(w.front)->queues, round == 2 ? 1 : 2);
		assert_int_equal(w.back.rounds, round + 1);
		/* What was out has been lost, what was posted is there. */
		assert_int_equal(sr_netfront_reap(w.q, done, 4), 2);
		assert_int_equal(done[0].error, -ENETRESET);
		assert_int_equal(done[1].error, -ENETRESET);
		for (unsigned i = 0; i < 20; i++) {
			w.packet = (struct testback_packet){ .length = 14 + i };
			assert_true(testback_send(&w.back, 0, &w.packet, 4096));
			testback_publish(&w.back, 0);
			assert_int_equal(
			    sr_netfront_receive(w.q, &got, 1, segs, SR_NETFRONT_MAX_SEGMENTS), 1);
			assert_ptr_equal(segs[0].tag, w.memory + i * SR_PAGE_SIZE);
		}
		expect_traffic(0);
		assert_int_equal(sr_netfront_tx_room(w.q), SR_NETFRONT_RING_SIZE);
	}
}

/* An earlier frontend of the domain has died without a word. */
static void test_left_connected(void **state)
{
	open_with(1);
	assert_int_equal(sr_netfront_close(w.front), 0);
	testback_write(&w.back, w.back.front, "state", "4");
	testback_write(&w.back, w.back.front, "queue-7", "");
	open_with(1);
	expect_node("queue-7", NULL);
	expect_traffic(0);
}

/* The same device, served by a driver domain from now on: memory is granted to that. */
static void test_another_domain(void **state)
{
	char driver[128];
	uint16_t domid;

	open_with(1);
	world_post(&w, 0, 4);
	assert_int_equal(sr_netfront_disconnect(w.front), 0);
	testback_stop(&w.back);
	domid = harness_driver(&w.h, driver);
	testback_start(&w.back, driver, w.h.dom0, w.domid, 0, &world_full);
	assert_int_equal(sr_netfront_connect(w.front), 0);
	expect_traffic(0);
	assert_int_equal(sr_netfront_info(w.front)->backend_domid, domid);
	assert_int_equal(sr_ring_back_pending(&w.back.queue[0].rx.ring), 4);
}

static void test_carrier(void **state)
{
	open_with(1);
	assert_true(sr_netfront_carrier(w.front));
	testback_write(&w.back, w.back.back, "carrier", "0");
	world_await_event(&w, SR_NETFRONT_CARRIER, 1);
	assert_false(sr_netfront_carrier(w.front));
	testback_write(&w.back, w.back.back, "carrier", "1");
	world_await_event(&w, SR_NETFRONT_CARRIER, 2);
	assert_true(sr_netfront_carrier(w.front));
	assert_int_equal(sr_netfront_disconnect(w.front), 0);
	assert_false(sr_netfront_carrier(w.front));
}

static void test_headroom(void **state)
{
	struct sr_netfront_rx_segment segs[SR_NETFRONT_MAX_SEGMENTS];
	struct timespec nap = { .tv_nsec = 1000000 };
	struct sr_netfront_rx got;

	open_with(1);
	world_post(&w, 0, 4);
	assert_int_equal(sr_netfront_set_headroom(w.front, 0x8000), -EINVAL);
	for (uint16_t headroom = 256; headroom <= 512; headroom += 128) {
		assert_int_equal(sr_netfront_set_headroom(w.front, headroom), 0);
		assert_int_equal(sr_netfront_info(w.front)->headroom, headroom);
		assert_int_equal(w.back.headroom, headroom);
		w.packet.length = 60;
		assert_true(testback_send(&w.back, 0, &w.packet, 4096));
		testback_publish(&w.back, 0);
		assert_int_equal(sr_netfront_receive(w.q, &got, 1, segs, SR_NETFRONT_MAX_SEGMENTS),
				 1);
		assert_int_equal(segs[0].offset, headroom);
		/* The backend has to be back at Connected, or its answer would be the old one. */
		while (w.back.state != XenbusStateConnected)
			nanosleep(&nap, NULL);
	}
}

static void test_multicast(void **state)
{
	static const uint8_t group[6] = { 1, 0, 0x5e, 1, 2, 3 };

	open_with(1);
	for (unsigned add = 0; add < 2; add++) {
		assert_int_equal(sr_netfront_multicast(w.q, group, add, w.memory), 0);
		assert_true(testback_take(&w.back, 0, &w.packet));
		assert_int_equal(w.packet.length, 0);
		assert_int_equal(w.packet.extra_count, 1);
		assert_int_equal(w.packet.extras[0].type, add ? XEN_NETIF_EXTRA_TYPE_MCAST_ADD
							      : XEN_NETIF_EXTRA_TYPE_MCAST_DEL);
		assert_memory_equal(w.packet.extras[0].u.mcast.addr, group, 6);
		testback_answer(&w.back, 0, &w.packet, add ? NETIF_RSP_OKAY : NETIF_RSP_ERROR);
		testback_publish(&w.back, 0);
		assert_int_equal(world_done(&w, w.memory), add ? 0 : -EIO);
	}
	assert_int_equal(sr_netfront_multicast_control(w.front, true), 0);
	expect_node("request-multicast-control", "1");
	assert_int_equal(sr_netfront_multicast_control(w.front, false), 0);
	expect_node("request-multicast-control", "0");
}

static void test_hash(void **state)
{
	static const uint8_t key[40] = { 1, 2, 3, [39] = 40 };
	struct testback_control *c = &w.back.control;
	struct sr_netfront_hash h = { .types = 0xf, .key = key, .key_length = 40 };
	uint32_t mapping[128], types;
	unsigned size;

	open_with(2);
	assert_int_equal(sr_netfront_hash_limits(w.front, &types, &size), 0);
	assert_int_equal(types, 0xf);
	assert_int_equal(size, 1024);
	testback_sync(&w.back);
	assert_int_equal(c->algorithm, XEN_NETIF_CTRL_HASH_ALGORITHM_NONE);
	for (unsigned i = 0; i < 128; i++)
		mapping[i] = i % 2;
	h.mapping = mapping;
	h.mapping_length = 128;
	testback_sync(&w.back);
	assert_int_equal(sr_netfront_hash(w.front, &h), 0);
	for (unsigned round = 0; round < 2; round++) {
		testback_sync(&w.back);
		assert_int_equal(c->algorithm, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ);
		assert_int_equal(c->types, 0xf);
		assert_int_equal(c->key_length, 40);
		assert_memory_equal(c->key, key, 40);
		assert_int_equal(c->mapping_length, 128);
		assert_memory_equal(c->mapping, mapping, sizeof(mapping));
		if (round)
			break;
		/* The next backend is told the same. */
		testback_sync(&w.back);
		assert_int_equal(sr_netfront_disconnect(w.front), 0);
		testback_sync(&w.back);
		memset(c, 0, sizeof(*c));
		testback_sync(&w.back);
		assert_int_equal(sr_netfront_connect(w.front), 0);
	}
	h.types = 0;
	testback_sync(&w.back);
	assert_int_equal(sr_netfront_hash(w.front, &h), 0);
	testback_sync(&w.back);
	assert_int_equal(c->algorithm, XEN_NETIF_CTRL_HASH_ALGORITHM_NONE);
	h.key_length = 4097;
	assert_int_equal(sr_netfront_hash(w.front, &h), -EOVERFLOW);
}

static void test_static_maps(void **state)
{
	struct testback_control *c = &w.back.control;
	size_t bytes = 600 * SR_PAGE_SIZE;
	void *more;

	open_with(2);
	assert_int_equal(sr_netfront_memory(w.front, 2 * bytes, &more), 0);
	assert_int_equal(sr_netfront_static_limit(w.front, 0), 1024);
	assert_int_equal(sr_netfront_static_map(w.front, 2, more, bytes), -EINVAL);
	assert_int_equal(sr_netfront_static_map(w.front, 0, w.address, bytes), -EINVAL);
	assert_int_equal(sr_netfront_static_map(w.front, 0, more, 2 * bytes), -ENOSPC);
	assert_int_equal(sr_netfront_static_map(w.front, 0, more, bytes), 0);
	assert_int_equal(c->mapped, 600);
	assert_int_equal(sr_netfront_static_map(w.front, 0, (uint8_t *)more + bytes - 1, 2),
			 -EEXIST);
	assert_int_equal(sr_netfront_static_map(w.front, 0, (uint8_t *)more + bytes, bytes),
			 -ENOSPC);
	assert_int_equal(sr_netfront_static_map(w.front, 1, (uint8_t *)more + bytes + 10, 4096), 0);
	assert_int_equal(c->mapped, 602);
	/* The next backend maps the same. */
	assert_int_equal(sr_netfront_disconnect(w.front), 0);
	assert_int_equal(sr_netfront_connect(w.front), 0);
	assert_int_equal(c->mapped, 602);
	assert_int_equal(sr_netfront_static_unmap(w.front, 0, more, 4096), -EINVAL);
	assert_int_equal(sr_netfront_static_unmap(w.front, 0, more, bytes), 0);
	assert_int_equal(c->mapped, 2);
	/* One that was forgotten behind our back. */
	testback_sync(&w.back);
	memset(c->grefs, 0, sizeof(c->grefs));
	testback_sync(&w.back);
	assert_int_equal(sr_netfront_static_unmap(w.front, 1, (uint8_t *)more + bytes + 10, 4096),
			 -EBUSY);
	c->limit = 0;
	assert_int_equal(sr_netfront_static_limit(w.front, 0), 0);
	assert_int_equal(sr_netfront_static_map(w.front, 0, more, bytes), -ENOSPC);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_all_features),
		CASE(test_few_features),
		CASE(test_bad_options),
		CASE(test_silent_backend),
		CASE(test_backend_comes_back),
		CASE(test_left_connected),
		CASE(test_another_domain),
		CASE(test_carrier),
		CASE(test_headroom),
		CASE(test_multicast),
		CASE(test_hash),
		CASE(test_static_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
