/* SPDX-License-Identifier: MIT */
/* What a disk offers beside reads and writes, and what a toolstack does with it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

static void submit(struct world *w, enum sr_blkfront_op op, uint64_t offset, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	struct sr_blkfront_request req = {
		.op = op, .offset = offset, .iov = &iov, .iov_count = 1
	};

	assert_int_equal(sr_blkfront_submit(w->q, &req), 0);
}

static void finish(struct world *w, unsigned count)
{
	struct sr_blkfront_done done[16];

	while (count) {
		unsigned n;

		assert_int_equal(sr_blkfront_wait(w->q, 10000), 0);
		n = sr_blkfront_reap(w->q, done, 16);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(done[i].error, 0);
		count -= n;
	}
}

static int discard(struct world *w, enum sr_blkfront_op op, uint64_t offset, uint64_t length)
{
	struct sr_blkfront_request req = { .op = op, .offset = offset, .length = length };
	struct sr_blkfront_done done;
	int rc = sr_blkfront_submit(w->q, &req);

	if (rc)
		return rc;
	assert_int_equal(sr_blkfront_wait(w->q, 10000), 0);
	assert_int_equal(sr_blkfront_reap(w->q, &done, 1), 1);
	return done.error;
}

static void test_discard(void **state)
{
	uint8_t buf[4096], zero[4096] = { 0 };
	struct sr_blkback_device d;
	struct world w;

	fake_reset(4 * MIB);
	world_quick(&w, "fake:x");
	assert_true(sr_blkfront_info(w.front)->discard);
	assert_true(sr_blkfront_info(w.front)->secure_discard);
	world_fill(buf, sizeof(buf), 3);
	world_io(&w, SR_BLKFRONT_WRITE, 8192, buf, sizeof(buf));
	assert_int_equal(discard(&w, SR_BLKFRONT_DISCARD, 8192, 4096), 0);
	assert_int_equal(discard(&w, SR_BLKFRONT_SECURE_DISCARD, 8192, 4096), 0);
	world_io(&w, SR_BLKFRONT_READ, 8192, buf, sizeof(buf));
	assert_memory_equal(buf, zero, sizeof(buf));
	assert_int_equal(fake_count(SR_BLK_DISCARD), 2);
	fake_lock();
	assert_int_equal(fake.secure, 1);
	fake_unlock();
	backend_device(&w.b, &w.disk, &d);
	assert_int_equal(d.stats.bytes_discarded, 8192);
	world_stop(&w);
}

/* The toolstack may refuse it, whatever the disk can. */
static void test_discard_refused(void **state)
{
	struct world w;

	fake_reset(4 * MIB);
	world_start(&w, "embedded:", "fake:x", NULL);
	w.disk.no_discard = true;
	harness_attach(&w.h, &w.disk);
	world_open(&w, world_front);
	assert_false(sr_blkfront_info(w.front)->discard);
	assert_int_equal(discard(&w, SR_BLKFRONT_DISCARD, 0, 4096), -EOPNOTSUPP);
	assert_int_equal(harness_back_number(&w.h, &w.disk, "feature-discard"), 0);
	world_stop(&w);
}

static void test_read_only(void **state)
{
	uint8_t buf[512] = { 0 };
	struct world w;

	fake_reset(4 * MIB);
	fake.info.read_only = true;
	world_start(&w, "embedded:", "fake:x", NULL);
	w.disk.read_only = true;
	harness_attach(&w.h, &w.disk);
	world_open(&w, world_front);
	assert_true(sr_blkfront_info(w.front)->read_only);
	assert_int_equal(harness_back_number(&w.h, &w.disk, "info"), VDISK_READONLY);
	assert_int_equal(world_try(&w, SR_BLKFRONT_WRITE, 0, buf, sizeof(buf)), -EROFS);
	world_io(&w, SR_BLKFRONT_READ, 0, buf, sizeof(buf));
	world_io(&w, SR_BLKFRONT_FLUSH, 0, NULL, 0);
	world_stop(&w);
}

static void test_errors(void **state)
{
	uint8_t buf[512] = { 0 };
	struct sr_blkback_device d;
	struct world w;

	fake_reset(4 * MIB);
	fake.room = 4;
	world_quick(&w, "fake:x");
	fake_fail(SR_BLK_WRITE, -ENOSPC);
	assert_int_equal(world_try(&w, SR_BLKFRONT_WRITE, 0, buf, sizeof(buf)), -EIO);
	world_io(&w, SR_BLKFRONT_READ, 0, buf, sizeof(buf));
	fake_fail(SR_BLK_FLUSH, -EIO);
	assert_int_equal(world_try(&w, SR_BLKFRONT_FLUSH, 0, NULL, 0), -EIO);
	fake_fail(SR_BLK_DISCARD, -EOPNOTSUPP);
	assert_int_equal(discard(&w, SR_BLKFRONT_DISCARD, 0, 4096), -EOPNOTSUPP);
	backend_device(&w.b, &w.disk, &d);
	assert_int_equal(d.stats.errors[SR_STAT_ERR_IO], 3);
	world_stop(&w);
}

/* Where in the log the write at `offset` stands. */
static unsigned logged(uint64_t offset)
{
	for (unsigned i = 0; i < fake.log_count; i++)
		if (fake.log[i].op == SR_BLK_WRITE && fake.log[i].offset == offset)
			return i;
	fail_msg("no write at %llu", (unsigned long long)offset);
	return 0;
}

/* All before a barrier are done before it, all behind it after it, with flushes around it. */
static void test_barrier(void **state)
{
	struct world w;
	uint8_t *buf;
	unsigned barrier;

	fake_reset(4 * MIB);
	fake.room = 16;
	fake.backwards = true;
	world_quick(&w, "fake:x");
	assert_true(sr_blkfront_info(w.front)->barrier);
	assert_int_equal(sr_blkfront_alloc(w.q, 8 * 4096, (void **)&buf), 0);
	for (unsigned i = 0; i < 8; i++)
		submit(&w, i == 4 ? SR_BLKFRONT_BARRIER : SR_BLKFRONT_WRITE, i * 4096,
		       buf + i * 4096, 4096);
	finish(&w, 8);
	fake_lock();
	barrier = logged(4 * 4096);
	for (unsigned i = 0; i < 8; i++)
		if (i != 4)
			assert_true((logged(i * 4096) < barrier) == (i < 4));
	assert_int_equal(fake.log[barrier - 1].op, SR_BLK_FLUSH);
	assert_int_equal(fake.log[barrier + 1].op, SR_BLK_FLUSH);
	fake_unlock();
	world_stop(&w);
}

/* Sectors of one 4096-byte block, written at the same time: none is lost. */
static void test_rmw_at_once(void **state)
{
	struct world w;
	uint8_t *buf, in[4 * 4096];

	fake_reset(4 * MIB);
	fake.info.logical_block_size = 4096;
	fake.info.discard_granularity = 0;
	fake.room = 16;
	fake.backwards = true;
	world_quick(&w, "fake:x");
	assert_int_equal(harness_back_number(&w.h, &w.disk, "sector-size"), 512);
	assert_int_equal(harness_back_number(&w.h, &w.disk, "multi-queue-max-queues"), 1);
	assert_int_equal(sr_blkfront_alloc(w.q, sizeof(in), (void **)&buf), 0);
	world_fill(buf, sizeof(in), 9);
	for (unsigned i = 0; i < 8; i++)
		submit(&w, SR_BLKFRONT_WRITE, 4096 + i * 512, buf + 4096 + i * 512, 512);
	submit(&w, SR_BLKFRONT_WRITE, 0, buf, 4096);
	submit(&w, SR_BLKFRONT_WRITE, 8192, buf + 8192, 2048 + 4096);
	submit(&w, SR_BLKFRONT_WRITE, 8192 + 2048 + 4096, buf + 8192 + 2048 + 4096, 2048);
	finish(&w, 11);
	world_io(&w, SR_BLKFRONT_READ, 0, in, sizeof(in));
	assert_memory_equal(in, buf, sizeof(in));
	world_stop(&w);
}

static void test_big_sectors(void **state)
{
	uint8_t buf[4096] = { 0 };
	struct world w;

	fake_reset(4 * MIB);
	fake.info.logical_block_size = 4096;
	fake.info.discard_granularity = 4096;
	world_start(&w, "embedded:", "fake:x", NULL);
	/* Asked for by the operator. */
	w.disk.extra = "sector-size-logical";
	w.disk.extra_value = "4096";
	harness_attach(&w.h, &w.disk);
	world_open(&w, world_front);
	assert_int_equal(harness_back_number(&w.h, &w.disk, "sector-size"), 4096);
	assert_int_equal(harness_back_number(&w.h, &w.disk, "sectors"), 8192);
	world_io(&w, SR_BLKFRONT_WRITE, 8192, buf, sizeof(buf));
	world_stop(&w);
}

static void test_resize(void **state)
{
	uint8_t buf[512] = { 0 };
	struct world w;

	fake_reset(8 * MIB);
	fake.info.size = 4 * MIB;
	world_quick(&w, "fake:x");
	assert_int_equal(sr_blkfront_size(w.front), 4 * MIB);
	assert_int_equal(sr_blkback_refresh(w.b.bb, w.disk.domid, VDEV + 1), -ENOENT);
	fake_resize(6 * MIB);
	assert_int_equal(sr_blkback_refresh(w.b.bb, w.disk.domid, VDEV), 0);
	assert_int_equal(harness_back_number(&w.h, &w.disk, "sectors"), 6 * 2048);
	while (sr_blkfront_size(w.front) != 6 * MIB)
		usleep(1000);
	world_io(&w, SR_BLKFRONT_WRITE, 6 * MIB - 512, buf, sizeof(buf));
	/* By a node, as a tool in another process does it. */
	fake_resize(8 * MIB);
	harness_back_write(&w.h, &w.disk, "refresh", "1");
	harness_await_back(&w.h, &w.disk, "sectors", 8 * 2048);
	while (sr_blkfront_size(w.front) != 8 * MIB)
		usleep(1000);
	world_io(&w, SR_BLKFRONT_WRITE, 8 * MIB - 512, buf, sizeof(buf));
	assert_int_equal(harness_back_number(&w.h, &w.disk, "refresh"), -1);
	world_stop(&w);
}

static void test_reconnect(void **state)
{
	uint8_t buf[4096], in[4096];
	struct world w;

	world_quick(&w, "ram:size=4M");
	world_fill(buf, sizeof(buf), 1);
	for (unsigned i = 0; i < 3; i++) {
		world_io(&w, SR_BLKFRONT_WRITE, 0, buf, sizeof(buf));
		world_io(&w, SR_BLKFRONT_READ, 0, in, sizeof(in));
		assert_memory_equal(buf, in, sizeof(in));
		world_close(&w);
		harness_await_back(&w.h, &w.disk, "state", 6);
		world_open(&w, world_front);
	}
	world_stop(&w);
}

static void test_cdrom(void **state)
{
	uint8_t buf[512];
	struct sr_blkback_device d;
	struct world w;

	fake_reset(4 * MIB);
	world_start(&w, "embedded:", "", NULL);
	w.disk.cdrom = true;
	w.disk.read_only = true;
	harness_attach(&w.h, &w.disk);
	world_open(&w, world_front);
	assert_true(sr_blkfront_info(w.front)->cdrom);
	assert_true(sr_blkfront_info(w.front)->removable);
	assert_int_equal(sr_blkfront_size(w.front), 0);
	/* A medium is put in, and then another one, while the guest is connected. */
	fake_lock();
	fake.data[0] = 0xcd;
	fake_unlock();
	harness_back_write(&w.h, &w.disk, "params", "fake:x");
	harness_await_back(&w.h, &w.disk, "sectors", 4 * 2048);
	while (sr_blkfront_size(w.front) != 4 * MIB)
		usleep(1000);
	world_io(&w, SR_BLKFRONT_READ, 0, buf, sizeof(buf));
	assert_int_equal(buf[0], 0xcd);
	harness_back_write(&w.h, &w.disk, "params", "aio:");
	harness_await_back(&w.h, &w.disk, "sectors", 0);
	backend_device(&w.b, &w.disk, &d);
	assert_int_equal(d.state, 4);
	assert_true(d.cdrom);
	world_stop(&w);
}

/* An image that can't be had: it is said where the toolstack looks, and others go on. */
static void test_refused(void **state)
{
	static const char *const params[] = { "fake", "nosuchdriver:x", "/nonexistent/image",
					      "ram:size=4M,colour=blue", "" };
	struct world w;

	world_start(&w, "embedded:", "", NULL);
	for (unsigned i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
		struct sr_blkback_device d;
		char *error;

		w.disk.params = params[i];
		w.disk.vdev = VDEV + 16 * i;
		harness_attach(&w.h, &w.disk);
		harness_await_back(&w.h, &w.disk, "state", 6);
		error = harness_back_read(&w.h, &w.disk, "hotplug-error");
		assert_non_null(error);
		assert_true(strlen(error) > 10);
		backend_device(&w.b, &w.disk, &d);
		assert_string_equal(d.error, error);
		free(error);
		error = harness_back_read(&w.h, &w.disk, "hotplug-status");
		assert_string_equal(error, "error");
		free(error);
		harness_detach(&w.h, &w.disk);
	}
	/* Put right by the toolstack, it is tried again. */
	w.disk.params = "/nonexistent/image";
	w.disk.vdev = VDEV;
	harness_attach(&w.h, &w.disk);
	harness_await_back(&w.h, &w.disk, "state", 6);
	harness_back_write(&w.h, &w.disk, "params", "ram:size=4M");
	harness_await_back(&w.h, &w.disk, "state", 2);
	assert_int_equal(harness_back_number(&w.h, &w.disk, "hotplug-error"), -1);
	world_open(&w, world_front);
	world_stop(&w);
}

static void expect_text(struct world *w, const char *node, const char *words)
{
	char *text = harness_back_read(&w->h, &w->disk, node);

	assert_non_null(text);
	if (!strstr(text, words))
		fail_msg("%s is \"%s\", not \"%s\"", node, text, words);
	free(text);
}

/* A disk that can't be opened, whose toolstack runs `script`: the state that it is told of it in.
 */
static void refuse(struct world *w, const char *script, long state)
{
	w->disk.params = "/nonexistent/image";
	w->disk.extra = "script";
	w->disk.extra_value = script;
	harness_attach(&w->h, &w->disk);
	harness_await_back(&w->h, &w->disk, "state", state);
	expect_text(w, "hotplug-status", "error");
	expect_text(w, "hotplug-error", "/nonexistent/image");
}

/* libxl runs our script, which tells the reason, once it has seen InitWait. */
static void test_refused_with_script(void **state)
{
	static const char script[] = "/etc/xen/scripts/block-splitring";
	struct sr_blkfront_options front = world_front;
	char error[256] = "";
	struct world w;

	world_start(&w, "embedded:", "", NULL);
	refuse(&w, script, 2);
	harness_detach(&w.h, &w.disk);
	/* Xen's own script would take InitWait for success. */
	refuse(&w, "/etc/xen/scripts/block", 6);
	harness_detach(&w.h, &w.disk);
	/* A guest that runs takes InitWait for an offer: it gets no disk, and closes its side. */
	refuse(&w, script, 2);
	front.device = "xvda";
	front.error = error;
	front.error_size = sizeof(error);
	assert_int_equal(sr_blkfront_open(w.guest, &front, &w.front), -ECONNREFUSED);
	assert_int_equal(harness_back_number(&w.h, &w.disk, "state"), 6);
	expect_text(&w, "hotplug-error", "/nonexistent/image");
	harness_detach(&w.h, &w.disk);
	/* Put right by the toolstack, it is offered. */
	refuse(&w, script, 2);
	harness_back_write(&w.h, &w.disk, "params", "ram:size=4M");
	while (harness_back_number(&w.h, &w.disk, "feature-persistent") != 1)
		usleep(1000);
	expect_text(&w, "hotplug-status", "connected");
	assert_null(harness_back_read(&w.h, &w.disk, "hotplug-error"));
	world_open(&w, world_front);
	world_stop(&w);
}

/* No script runs in a driver domain: the toolstack waits elsewhere, and Closed is what tells it. */
static void test_refused_in_driver_domain(void **state)
{
	struct sr_blkback_options opt = { .remove_directory = 1 };
	struct world w;

	world_start(&w, "embedded:", "", &opt);
	refuse(&w, "/etc/xen/scripts/block-splitring", 6);
	world_stop(&w);
}

/* The guest dies in the middle of its I/O. */
static void test_guest_dies(void **state)
{
	struct sr_blkfront_options quick = world_front;
	struct sr_blkback_device *list;
	struct world w;
	uint8_t *buf;
	size_t count;

	fake_reset(4 * MIB);
	fake.room = 16;
	world_start(&w, "embedded:", "fake:x", NULL);
	harness_attach(&w.h, &w.disk);
	quick.timeout_ms = 500; /* nobody answers its good-bye */
	world_open(&w, quick);
	fake_hold(true);
	assert_int_equal(sr_blkfront_alloc(w.q, 8 * 4096, (void **)&buf), 0);
	for (unsigned i = 0; i < 8; i++)
		submit(&w, SR_BLKFRONT_WRITE, i * 4096, buf + i * 4096, 4096);
	sr_blkfront_kick(w.q);
	while (fake_in_flight() < 8)
		usleep(1000);
	harness_destroy(&w.h, w.disk.domid);
	usleep(20000);
	fake_hold(false);
	sr_blkfront_close(w.front);
	sr_hv_close(w.guest);
	harness_remove(&w.h, &w.disk);
	do {
		usleep(1000);
		assert_int_equal(sr_blkback_list(w.b.bb, &list, &count), 0);
		free(list);
	} while (count);
	assert_int_equal(fake.queues, 1);
	backend_stop(&w.b, SR_BLKBACK_CLOSE);
	harness_stop(&w.h);
	assert_null(fake.complaint);
}

/* As in a driver domain: who serves the device removes its directory. */
static void test_directory_is_removed(void **state)
{
	struct sr_blkback_options opt = { .remove_directory = 1 };
	struct world w;

	world_start(&w, "embedded:", "ram:size=4M", &opt);
	harness_attach(&w.h, &w.disk);
	world_open(&w, world_front);
	harness_back_write(&w.h, &w.disk, "online", "0");
	harness_back_write(&w.h, &w.disk, "state", "5");
	world_close(&w);
	harness_await_back(&w.h, &w.disk, "state", -1);
	sr_hv_close(w.guest);
	backend_stop(&w.b, SR_BLKBACK_CLOSE);
	harness_stop(&w.h);
}

/* Connected to somebody else: hands off, until it is free. */
static void test_foreign(void **state)
{
	struct sr_blkback_device d;
	struct world w;
	char *text;

	world_start(&w, "embedded:", "ram:size=4M", NULL);
	w.disk.extra = "state";
	w.disk.extra_value = "4";
	harness_attach(&w.h, &w.disk);
	do {
		struct sr_blkback_device *list;
		size_t count;

		assert_int_equal(sr_blkback_list(w.b.bb, &list, &count), 0);
		free(list);
		if (count)
			break;
		usleep(1000);
	} while (1);
	usleep(20000);
	backend_device(&w.b, &w.disk, &d);
	assert_non_null(strstr(d.error, "another backend"));
	assert_int_equal(harness_back_number(&w.h, &w.disk, "state"), 4);
	text = harness_back_read(&w.h, &w.disk, "hotplug-status");
	assert_null(text);
	harness_back_write(&w.h, &w.disk, "state", "1");
	world_open(&w, world_front);
	world_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_discard_refused),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_barrier),
		cmocka_unit_test(test_rmw_at_once),
		cmocka_unit_test(test_big_sectors),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_reconnect),
		cmocka_unit_test(test_cdrom),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_with_script),
		cmocka_unit_test(test_refused_in_driver_domain),
		cmocka_unit_test(test_guest_dies),
		cmocka_unit_test(test_directory_is_removed),
		cmocka_unit_test(test_foreign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
