/* SPDX-License-Identifier: MIT */
/* Vifs from their nodes to each other: two guests on a switch, and what changes while they talk. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <net/queue.h>

#include "vifs.h"

static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static void start_two(struct vifs *w, struct vif *a, struct vif *b,
		      const struct sr_netfront_options *options)
{
	vifs_start(w);
	vifs_attach(w, a, "xenbr0", 1);
	vifs_attach(w, b, "xenbr0", 2);
	vifs_open(a, options);
	vifs_open(b, options);
}

static void stop_two(struct vifs *w, struct vif *a, struct vif *b)
{
	struct harness_usage usage;

	vifs_close(a);
	vifs_close(b);
	vifs_detach(w, a);
	vifs_detach(w, b);
	harness_usage(&w->h, &usage);
	assert_int_equal(usage.pinned, 0);
	vifs_stop(w);
}

static void test_two_guests(void **state)
{
	static const size_t sizes[] = { 14, 60, 1514, 4096, 4097, 9014, 65535 };
	struct sr_netback_device d;
	struct vif a, b;
	struct vifs w;

	start_two(&w, &a, &b, NULL);
	vifs_send(&a, everybody, 60, 1);
	vifs_expect(&b, &a, 60, 1);
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		vifs_send(&a, b.mac, sizes[i], i);
		vifs_expect(&b, &a, sizes[i], i);
		vifs_send(&b, a.mac, sizes[i], 100 + i);
		vifs_expect(&a, &b, sizes[i], 100 + i);
	}
	vifs_device(&w, &a, &d);
	assert_int_equal(d.state, 4);
	assert_int_equal(d.queues, 1);
	assert_true(d.split);
	assert_true(d.ctrl_ring);
	assert_int_equal(d.features,
			 SR_NET_SG | SR_NET_GSO4 | SR_NET_GSO6 | SR_NET_CSUM4 | SR_NET_CSUM6);
	assert_int_equal(d.stats.tx.packets, 8);
	assert_int_equal(d.stats.rx.packets, 7);
	assert_string_equal(d.bridge, "xenbr0");
	stop_two(&w, &a, &b);
}

static void test_several_queues(void **state)
{
	struct sr_netfront_options o = SR_NETFRONT_DEFAULTS;
	struct sr_netback_device d;
	struct vif a, b;
	struct vifs w;

	o.queues = 2;
	o.split = false;
	start_two(&w, &a, &b, NULL);
	vifs_close(&b);
	vifs_detach(&w, &b);
	vifs_attach(&w, &b, "xenbr0", 2);
	vifs_open(&b, &o);
	vifs_device(&w, &b, &d);
	assert_int_equal(d.queues, 2);
	assert_false(d.split);
	/* One on each thread. */
	assert_int_equal(d.threads[0] + d.threads[1], 1);
	vifs_send(&b, a.mac, 1514, 5);
	vifs_expect(&a, &b, 1514, 5);
	stop_two(&w, &a, &b);
}

/* Guests of one bridge see nothing of another. */
static void test_bridges(void **state)
{
	struct vif a, b, c;
	struct vifs w;

	start_two(&w, &a, &b, NULL);
	vifs_attach(&w, &c, "other", 3);
	vifs_open(&c, NULL);
	vifs_send(&a, everybody, 100, 1);
	vifs_expect(&b, &a, 100, 1);
	assert_int_equal(sr_netfront_wait(c.q, SR_NETFRONT_RX, 50), -ETIMEDOUT);
	vifs_close(&c);
	vifs_detach(&w, &c);
	stop_two(&w, &a, &b);
}

/* How many lines with `part` the log has. */
static unsigned lines_with(FILE *log, const char *part)
{
	char line[512];
	unsigned n = 0;

	rewind(log);
	while (fgets(line, sizeof(line), log))
		n += strstr(line, part) != NULL;
	return n;
}

/* What is no rate is none, and a line says so once. */
static void test_bad_rates(void **state)
{
	static const char *const bad[] = { "",    "1000",   "1000,",     ",1000",
					   "0,1", "1,0",    "-1,1",      "1,4294967296",
					   "x,y", "10Mb/s", "1000,10,1", "18446744073709551616,1" };
	struct sr_netback_device d;
	FILE *log = tmpfile();
	struct vif a, b;
	struct vifs w;

	assert_non_null(log);
	vifs_start(&w);
	vifs_attach(&w, &b, "xenbr0", 2);
	vifs_open(&b, NULL);
	w.log = (struct sr_log){ .fd = fileno(log), .level = SR_LOG_WARNING };
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char part[64];

		rewind(log);
		assert_int_equal(ftruncate(fileno(log), 0), 0);
		vifs_attach_rate(&w, &a, "xenbr0", 1, bad[i]);
		vifs_open(&a, NULL);
		vifs_device(&w, &a, &d);
		assert_int_equal(d.rate_bytes, 0);
		vifs_send(&a, b.mac, 1000, 4);
		vifs_expect(&b, &a, 1000, 4);
		snprintf(part, sizeof(part), "rate \"%s\" is not", bad[i]);
		assert_int_equal(lines_with(log, part), 1);
		/* Written again while it is connected, it is no news. */
		vifs_write(&w, a.back_dir, "rate", "1000000,1000");
		do
			vifs_device(&w, &a, &d);
		while (!d.rate_bytes);
		vifs_write(&w, a.back_dir, "rate", bad[i]);
		do
			vifs_device(&w, &a, &d);
		while (d.rate_bytes);
		vifs_write(&w, a.back_dir, "rate", bad[i]);
		vifs_close(&a);
		vifs_detach(&w, &a);
		assert_int_equal(lines_with(log, part), 2);
	}
	vifs_close(&b);
	vifs_detach(&w, &b);
	vifs_stop(&w);
	fclose(log);
}

static void test_changes(void **state)
{
	struct sr_netback_device d;
	struct vif a, b;
	struct vifs w;

	start_two(&w, &a, &b, NULL);
	/* A rate, and nonsense in its place. */
	vifs_write(&w, a.back_dir, "rate", "100000000,50000");
	do
		vifs_device(&w, &a, &d);
	while (d.rate_bytes != 100000000);
	assert_int_equal(d.rate_interval_us, 50000);
	vifs_send(&a, b.mac, 1000, 3);
	vifs_expect(&b, &a, 1000, 3);
	vifs_write(&w, a.back_dir, "rate", "quick,1");
	do
		vifs_device(&w, &a, &d);
	while (d.rate_bytes);
	vifs_send(&a, b.mac, 1000, 4);
	vifs_expect(&b, &a, 1000, 4);
	/* Groups: only those that it asks for. */
	assert_int_equal(sr_netfront_multicast_control(a.front, true), 0);
	do
		vifs_device(&w, &a, &d);
	while (!d.multicast_filter);
	vifs_send(&b, (uint8_t[]){ 1, 0, 0x5e, 0, 0, 9 }, 60, 5);
	vifs_send(&b, a.mac, 60, 6);
	vifs_expect(&a, &b, 60, 6);
	/* XDP headroom, by way of Reconfiguring; more than a page has room for. */
	assert_int_equal(sr_netfront_set_headroom(a.front, 256), 0);
	vifs_device(&w, &a, &d);
	assert_int_equal(d.headroom, 256);
	vifs_send(&b, a.mac, 4000, 7);
	vifs_expect(&a, &b, 4000, 7);
	assert_int_equal(sr_netfront_set_headroom(a.front, 0x7fff), 0);
	vifs_device(&w, &a, &d);
	assert_int_equal(d.headroom, SR_NET_MAX_HEADROOM);
	vifs_send(&b, a.mac, 18 * 3072, 8);
	vifs_expect(&a, &b, 18 * 3072, 8);
	/* No number of the protocol's: it keeps what it has. */
	vifs_write(&w, a.front_dir, "xdp-headroom", "32768");
	vifs_write(&w, a.front_dir, "state", "7");
	vifs_await(&w, a.back_dir, "state", "8");
	vifs_write(&w, a.front_dir, "state", "4");
	vifs_await(&w, a.back_dir, "state", "4");
	stop_two(&w, &a, &b);
}

/* A guest that takes nothing under a flood: another on the same switch loses not one packet. */
static void test_stalled_guest(void **state)
{
	struct sr_netback_device d;
	struct vif a, b, deaf;
	uint64_t stalls = 0;
	struct vifs w;

	start_two(&w, &a, &b, NULL);
	vifs_attach(&w, &deaf, "xenbr0", 3);
	vifs_open_deaf(&deaf, NULL);
	for (unsigned i = 0; i < 600 || !stalls; i++) {
		vifs_send(&a, deaf.mac, 60, i);
		vifs_send(&a, b.mac, 1000, i);
		vifs_expect(&b, &a, 1000, i);
		vifs_device(&w, &deaf, &d);
		stalls = d.stalls;
	}
	assert_false(d.carrier);
	assert_true(d.link);
	assert_true(d.stats.rx.drops[SR_NET_DROP_NO_SLOTS] > 0);
	assert_int_equal(d.stats.rx.packets, 0);
	/* It gives room, and gets what is sent from then on. */
	vifs_post(&deaf);
	do
		vifs_device(&w, &deaf, &d);
	while (!d.carrier);
	vifs_send(&b, deaf.mac, 1514, 7);
	vifs_expect(&deaf, &b, 1514, 7);
	vifs_device(&w, &b, &d);
	assert_int_equal(d.stats.rx.packets, d.stats.rx.requests);
	for (unsigned i = 0; i < SR_NET_DROPS; i++)
		assert_int_equal(d.stats.rx.drops[i], 0);
	vifs_close(&deaf);
	vifs_detach(&w, &deaf);
	stop_two(&w, &a, &b);
}

/* Nobody tells when there is room: it is found by looking. */
static void test_no_rx_notify(void **state)
{
	struct sr_netfront_options o = SR_NETFRONT_DEFAULTS;
	struct sr_netback_device d;
	struct vif a, b;
	struct vifs w;

	o.quiet_rx = true;
	for (unsigned split = 0; split < 2; split++) {
		o.split = split;
		vifs_start(&w);
		vifs_attach(&w, &a, "xenbr0", 1);
		vifs_attach(&w, &b, "xenbr0", 2);
		vifs_open(&a, NULL);
		vifs_open_deaf(&b, &o);
		for (unsigned i = 0; i < 10; i++)
			vifs_send(&a, b.mac, 1000, i);
		vifs_post(&b);
		for (unsigned i = 0; i < 10; i++)
			vifs_expect(&b, &a, 1000, i);
		stop_two(&w, &a, &b);
		/* Also after it has been given up. */
		vifs_start(&w);
		vifs_attach(&w, &a, "xenbr0", 1);
		vifs_attach(&w, &b, "xenbr0", 2);
		vifs_open(&a, NULL);
		vifs_open_deaf(&b, &o);
		vifs_send(&a, b.mac, 1000, 1);
		do
			vifs_device(&w, &b, &d);
		while (!d.stalls);
		vifs_post(&b);
		do
			vifs_device(&w, &b, &d);
		while (!d.carrier);
		vifs_send(&a, b.mac, 1000, 2);
		vifs_expect(&b, &a, 1000, 2);
		stop_two(&w, &a, &b);
	}
}

/* What an operator does to a link; the guest reads of it in `carrier`. */
static void test_link(void **state)
{
	struct sr_netback_device d;
	struct vif a, b;
	struct vifs w;

	start_two(&w, &a, &b, NULL);
	assert_true(sr_netfront_carrier(b.front));
	vifs_write(&w, b.back_dir, "link", "0");
	vifs_await(&w, b.back_dir, "carrier", "0");
	while (sr_netfront_carrier(b.front))
		;
	vifs_send(&a, b.mac, 60, 1);
	vifs_send(&b, a.mac, 60, 1);
	assert_int_equal(sr_netfront_wait(a.q, SR_NETFRONT_RX, 20), -ETIMEDOUT);
	vifs_device(&w, &b, &d);
	assert_false(d.link);
	assert_false(d.carrier);
	assert_int_equal(d.stats.tx.drops[SR_NET_DROP_NO_PORT], 1);
	/* It stays down for a guest that connects anew. */
	assert_int_equal(sr_netfront_disconnect(b.front), 0);
	assert_int_equal(sr_netfront_connect(b.front), 0);
	b.q = sr_netfront_queue(b.front, 0);
	assert_false(sr_netfront_carrier(b.front));
	vifs_send(&a, b.mac, 60, 2);
	/* Nonsense is up, as is nothing. */
	vifs_write(&w, b.back_dir, "link", "x");
	vifs_await(&w, b.back_dir, "carrier", "1");
	vifs_send(&a, b.mac, 60, 3);
	vifs_expect(&b, &a, 60, 3);
	stop_two(&w, &a, &b);
}

/* What comes from another address than its own goes nowhere. */
static void test_spoofing(void **state)
{
	struct sr_netback_device d;
	struct vif a, b, liar;
	struct vifs w;

	start_two(&w, &a, &b, NULL);
	liar = a;
	liar.mac[5] = 77;
	vifs_send(&liar, b.mac, 60, 1);
	vifs_send(&a, b.mac, 60, 2);
	vifs_expect(&b, &a, 60, 2);
	vifs_device(&w, &a, &d);
	assert_int_equal(d.stats.tx.drops[SR_NET_DROP_FILTER], 1);
	stop_two(&w, &a, &b);
}

static void test_bad_nodes(void **state)
{
	static const char *const macs[] = { "", "00:16:3e:00:00", "01:16:3e:00:00:01",
					    "00:00:00:00:00:00", "00-16-3e-00-00-01" };
	struct vifs w;
	struct vif v;

	vifs_start(&w);
	for (unsigned i = 0; i < sizeof(macs) / sizeof(macs[0]); i++) {
		vifs_stop_backend(&w, SR_BACKEND_CLOSE);
		vifs_attach(&w, &v, "xenbr0", 1);
		vifs_write(&w, v.back_dir, "mac", macs[i]);
		vifs_start_backend(&w);
		vifs_await_error(&w, &v, "its mac");
		/* Mended. */
		vifs_write(&w, v.back_dir, "mac", "00:16:3e:00:00:01");
		vifs_open(&v, NULL);
		vifs_close(&v);
		vifs_detach(&w, &v);
	}
	vifs_stop(&w);
}

/* What a frontend may write, and what becomes of it. */
static void test_bad_front(void **state)
{
	static const struct {
		const char *node, *value, *error;
	} bad[] = {
		{ "multi-queue-num-queues", "0", "no queue at all" },
		{ "multi-queue-num-queues", "2147483648", "multi-queue-num-queues" },
		{ "multi-queue-num-queues", "17", "multi-queue-num-queues" },
		{ "multi-queue-num-queues", "x", "multi-queue-num-queues" },
		{ "tx-ring-ref", "4294967296", "tx-ring-ref" },
		{ "event-channel", "-1", "event-channel" },
		{ "rx-ring-ref", "8", "twice" },
		{ "request-rx-copy", "0", "request-rx-copy" },
	};
	struct vifs w;

	vifs_start(&w);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vif v;

		vifs_attach(&w, &v, "xenbr0", 1);
		vifs_await(&w, v.back_dir, "state", "2");
		vifs_write(&w, v.front_dir, "request-rx-copy", "1");
		vifs_write(&w, v.front_dir, "tx-ring-ref", "8");
		vifs_write(&w, v.front_dir, "rx-ring-ref", "9");
		vifs_write(&w, v.front_dir, "event-channel", "5");
		vifs_write(&w, v.front_dir, bad[i].node, bad[i].value);
		vifs_write(&w, v.front_dir, "state", "4");
		vifs_await_error(&w, &v, bad[i].error);
		vifs_await(&w, v.back_dir, "hotplug-status", "error");
		vifs_close(&v);
		vifs_detach(&w, &v);
	}
	vifs_stop(&w);
}

/* A frontend that leaves and comes back. */
static void test_reconnect(void **state)
{
	struct sr_netback_device d;
	struct vif a, b;
	struct vifs w;

	start_two(&w, &a, &b, NULL);
	vifs_send(&a, b.mac, 60, 1);
	vifs_expect(&b, &a, 60, 1);
	assert_int_equal(sr_netfront_disconnect(a.front), 0);
	assert_int_equal(sr_netfront_connect(a.front), 0);
	a.q = sr_netfront_queue(a.front, 0);
	vifs_send(&a, b.mac, 60, 2);
	vifs_expect(&b, &a, 60, 2);
	vifs_send(&b, a.mac, 1514, 3);
	vifs_expect(&a, &b, 1514, 3);
	vifs_device(&w, &a, &d);
	assert_false(d.recovered);
	stop_two(&w, &a, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_guests),    cmocka_unit_test(test_several_queues),
		cmocka_unit_test(test_bridges),       cmocka_unit_test(test_changes),
		cmocka_unit_test(test_spoofing),      cmocka_unit_test(test_bad_nodes),
		cmocka_unit_test(test_bad_front),     cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_stalled_guest), cmocka_unit_test(test_no_rx_notify),
		cmocka_unit_test(test_link),          cmocka_unit_test(test_bad_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
