/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

#include <blkfront/blkfront.h>

/*
 * blkfront's half of xenbus against a backend that a thread of the test plays by a script: what it
 * offers, what it refuses, and what it says at the wrong time.
 */

static struct harness h;

struct node {
	const char *name, *value;
};

/* A backend's part of a connection. */
struct script {
	struct harness_disk disk;
	struct node offer[8];    /* with InitWait */
	struct node connect[12]; /* with Connected */
	long state;              /* instead of Connected */
	bool silent;             /* never gets to InitWait */
	pthread_t thread;
};

static struct sr_hypervisor *guest;

static void write_all(struct script *s, const struct node *nodes, unsigned max)
{
	for (unsigned i = 0; i < max && nodes[i].name; i++)
		harness_back_write(&h, &s->disk, nodes[i].name, "%s", nodes[i].value);
}

static void *play(void *arg)
{
	struct script *s = arg;

	if (s->silent)
		return NULL;
	harness_await_front(&h, &s->disk, "state", 1);
	write_all(s, s->offer, 8);
	harness_back_write(&h, &s->disk, "state", "2");
	harness_await_front(&h, &s->disk, "state", 3);
	write_all(s, s->connect, 12);
	harness_back_write(&h, &s->disk, "state", "%ld", s->state ? s->state : 4);
	if (s->state == 5) {
		harness_await_front(&h, &s->disk, "state", 6);
		harness_back_write(&h, &s->disk, "state", "6");
	}
	return NULL;
}

/* The good-bye. */
static void *part(void *arg)
{
	struct script *s = arg;

	harness_await_front(&h, &s->disk, "state", 5);
	harness_back_write(&h, &s->disk, "state", "5");
	harness_await_front(&h, &s->disk, "state", 6);
	harness_back_write(&h, &s->disk, "state", "6");
	return NULL;
}

static void start(struct script *s, void *(*what)(void *))
{
	assert_int_equal(pthread_create(&s->thread, NULL, what, s), 0);
}

static void finish(struct script *s)
{
	pthread_join(s->thread, NULL);
}

static int open_front(struct script *s, const struct sr_blkfront_options *o,
		      struct sr_blkfront **front)
{
	int rc;

	start(s, play);
	rc = sr_blkfront_open(guest, o, front);
	finish(s);
	return rc;
}

static void close_front(struct script *s, struct sr_blkfront *front)
{
	start(s, part);
	assert_int_equal(sr_blkfront_close(front), 0);
	finish(s);
	assert_int_equal(harness_front_number(&h, &s->disk, "state"), 6);
}

static struct script new_script(uint32_t vdev)
{
	struct script s = { .disk = { .domid = sr_hv_domid(guest), .vdev = vdev, .params = "x" } };

	s.connect[0] = (struct node){ "sectors", "2048" };
	s.connect[1] = (struct node){ "sector-size", "512" };
	harness_attach(&h, &s.disk);
	return s;
}

static void end_script(struct script *s)
{
	harness_back_write(&h, &s->disk, "state", "6");
	harness_detach(&h, &s->disk);
}

static void expect_front(struct script *s, const char *node, const char *value)
{
	char *text = harness_front_read(&h, &s->disk, node);

	if (!value) {
		assert_null(text);
	} else {
		assert_non_null(text);
		assert_string_equal(text, value);
	}
	free(text);
}

static void test_plain(void **state)
{
	struct sr_blkfront_options o = SR_BLKFRONT_DEFAULTS;
	struct script s = new_script(51712);
	const struct sr_blkfront_info *info;
	struct sr_blkfront *front;

	/* A backend that offers nothing at all. */
	o.device = "xvda";
	o.queues = 4;
	o.ring_order = 3;
	assert_int_equal(open_front(&s, &o, &front), 0);
	info = sr_blkfront_info(front);
	assert_int_equal(info->queues, 1);
	assert_int_equal(info->ring_order, 0);
	assert_int_equal(info->ring_size, 32);
	assert_int_equal(info->max_segments, 11);
	assert_false(info->persistent || info->flush || info->barrier || info->discard ||
		     info->secure_discard || info->read_only || info->cdrom);
	assert_int_equal(sr_blkfront_size(front), 1 << 20);
	assert_int_equal(harness_front_number(&h, &s.disk, "state"), 4);
	assert_true(harness_front_number(&h, &s.disk, "ring-ref") > 0);
	assert_true(harness_front_number(&h, &s.disk, "event-channel") > 0);
	expect_front(&s, "protocol", NULL);
	expect_front(&s, "ring-page-order", NULL);
	expect_front(&s, "multi-queue-num-queues", NULL);
	expect_front(&s, "feature-persistent", "1");
	close_front(&s, front);
	end_script(&s);
}

static void test_everything(void **state)
{
	struct sr_blkfront_options o = SR_BLKFRONT_DEFAULTS;
	struct script s = new_script(51728);
	const struct sr_blkfront_info *info;
	struct sr_blkfront *front;

	s.offer[0] = (struct node){ "multi-queue-max-queues", "3" };
	s.offer[1] = (struct node){ "max-ring-page-order", "2" };
	s.connect[1] = (struct node){ "sector-size", "4096" };
	s.connect[2] = (struct node){ "feature-persistent", "1" };
	s.connect[3] = (struct node){ "feature-max-indirect-segments", "64" };
	s.connect[4] = (struct node){ "feature-flush-cache", "1" };
	s.connect[5] = (struct node){ "feature-barrier", "1" };
	s.connect[6] = (struct node){ "feature-discard", "1" };
	s.connect[7] = (struct node){ "discard-secure", "1" };
	s.connect[8] = (struct node){ "discard-granularity", "65536" };
	s.connect[9] = (struct node){ "info", "4" };
	o.device = "xvdb";
	o.queues = 8;
	o.ring_order = 4;
	o.abi = SR_BLKIF_ABI_X86_32;
	o.indirect_segments = 4096;
	assert_int_equal(open_front(&s, &o, &front), 0);
	info = sr_blkfront_info(front);
	assert_int_equal(info->queues, 3);
	assert_int_equal(info->ring_order, 2);
	assert_int_equal(info->max_segments, 64);
	assert_int_equal(info->sector_size, 4096);
	assert_int_equal(info->physical_sector_size, 4096);
	assert_int_equal(info->discard_granularity, 65536);
	assert_true(info->persistent && info->flush && info->barrier && info->discard &&
		    info->secure_discard && info->read_only);
	expect_front(&s, "protocol", "x86_32-abi");
	expect_front(&s, "ring-page-order", "2");
	expect_front(&s, "num-ring-pages", "4");
	expect_front(&s, "multi-queue-num-queues", "3");
	expect_front(&s, "ring-ref", NULL);
	expect_front(&s, "event-channel", NULL);
	assert_true(harness_front_number(&h, &s.disk, "queue-2/ring-ref3") > 0);
	assert_true(harness_front_number(&h, &s.disk, "queue-2/event-channel") > 0);
	expect_front(&s, "queue-2/ring-ref4", NULL);
	expect_front(&s, "queue-3", NULL);
	close_front(&s, front);

	/* Again with less: nothing of the first time is left to confuse the backend. */
	o.queues = 1;
	o.ring_order = 0;
	o.abi = SR_BLKIF_ABI_NATIVE;
	o.persistent = false;
	assert_int_equal(open_front(&s, &o, &front), 0);
	expect_front(&s, "protocol", NULL);
	expect_front(&s, "ring-page-order", NULL);
	expect_front(&s, "num-ring-pages", NULL);
	expect_front(&s, "multi-queue-num-queues", NULL);
	expect_front(&s, "queue-0", NULL);
	expect_front(&s, "feature-persistent", NULL);
	assert_false(sr_blkfront_info(front)->persistent);
	close_front(&s, front);
	end_script(&s);
}

static void expect_failure(struct script *s, int rc, const char *words)
{
	struct sr_blkfront_options o = SR_BLKFRONT_DEFAULTS;
	struct sr_blkfront *front;
	char error[256];

	o.device = "51712";
	o.timeout_ms = 100;
	o.error = error;
	o.error_size = sizeof(error);
	assert_int_equal(open_front(s, &o, &front), rc);
	if (!strstr(error, words))
		fail_msg("'%s' isn't in '%s'", words, error);
}

static void test_refusals(void **state)
{
	static const struct {
		struct node node;
		long state;
		int rc;
		const char *words;
	} cases[] = {
		{ { "sectors", "lots" }, 0, -EINVAL, "sectors" },
		{ { "sectors", "-1" }, 0, -EINVAL, "sectors" },
		{ { "sectors", "18446744073709551615" }, 0, -EINVAL, "sectors" },
		{ { "sectors", "99999999999999999999999" }, 0, -EINVAL, "sectors" },
		{ { "sector-size", "513" }, 0, -EINVAL, "sector-size" },
		{ { "sector-size", "256" }, 0, -EINVAL, "sector-size" },
		{ { "sector-size", "131072" }, 0, -EINVAL, "sector-size" },
		{ { "error", "5 no such image" }, 5, -ECONNREFUSED, "no such image" },
		{ { "note", "" }, 6, -ECONNREFUSED, "state is 6" },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct script s = new_script(51712);

		s.connect[2] = cases[i].node;
		s.state = cases[i].state;
		expect_failure(&s, cases[i].rc, cases[i].words);
		end_script(&s);
	}
}

static void test_no_backend(void **state)
{
	struct script s = new_script(51712);

	s.silent = true;
	expect_failure(&s, -ETIMEDOUT, "no backend offers");
	harness_back_write(&h, &s.disk, "hotplug-error", "the image is locked by pid 7");
	expect_failure(&s, -ETIMEDOUT, "locked by pid 7");
	end_script(&s);
	expect_failure(&s, -ENODEV, "no disk xvda");
}

static void test_bad_options(void **state)
{
	struct sr_blkfront_options good = SR_BLKFRONT_DEFAULTS, o;
	struct sr_blkfront *front;

	o = good;
	assert_int_equal(sr_blkfront_open(guest, &o, &front), -EINVAL);
	good.device = o.device = "floppy";
	assert_int_equal(sr_blkfront_open(guest, &o, &front), -EINVAL);
	good.device = "xvda";
	o = good;
	o.queues = 0;
	assert_int_equal(sr_blkfront_open(guest, &o, &front), -EINVAL);
	o.queues = 65;
	assert_int_equal(sr_blkfront_open(guest, &o, &front), -EINVAL);
	o = good;
	o.ring_order = 5;
	assert_int_equal(sr_blkfront_open(guest, &o, &front), -EINVAL);
	o = good;
	o.indirect_segments = 4097;
	assert_int_equal(sr_blkfront_open(guest, &o, &front), -EINVAL);
	o = good;
	o.abi = (enum sr_blkif_abi)9;
	assert_int_equal(sr_blkfront_open(guest, &o, &front), -EINVAL);
	assert_int_equal(sr_blkfront_close(NULL), 0);
}

static _Atomic unsigned resized, closing, broken;

static void on_event(void *arg, enum sr_blkfront_event event)
{
	if (event == SR_BLKFRONT_RESIZED)
		resized++;
	else if (event == SR_BLKFRONT_CLOSING)
		closing++;
	else
		broken++;
}

static void await_count(_Atomic unsigned *count, unsigned value)
{
	struct timespec nap = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 20000 && *count != value; i++)
		nanosleep(&nap, NULL);
	assert_int_equal(*count, value);
}

static void test_events(void **state)
{
	struct sr_blkfront_options o = SR_BLKFRONT_DEFAULTS;
	struct sr_blkfront_request flush = { .op = SR_BLKFRONT_FLUSH };
	struct script s = new_script(51712);
	struct sr_blkfront *front;

	resized = closing = broken = 0;
	o.device = "xvda";
	o.event = on_event;
	s.connect[2] = (struct node){ "feature-flush-cache", "1" };
	assert_int_equal(open_front(&s, &o, &front), 0);
	harness_back_write(&h, &s.disk, "sectors", "4096");
	harness_back_write(&h, &s.disk, "state", "4");
	await_count(&resized, 1);
	assert_int_equal(sr_blkfront_size(front), 2 << 20);
	/* Nonsense changes nothing. */
	harness_back_write(&h, &s.disk, "sectors", "x");
	harness_back_write(&h, &s.disk, "state", "4");
	harness_back_write(&h, &s.disk, "sectors", "1024");
	harness_back_write(&h, &s.disk, "state", "4");
	await_count(&resized, 2);
	assert_int_equal(sr_blkfront_size(front), 1 << 19);

	assert_int_equal(sr_blkfront_submit(sr_blkfront_queue(front, 0), &flush), 0);
	harness_back_write(&h, &s.disk, "state", "5");
	await_count(&closing, 1);
	assert_int_equal(sr_blkfront_status(front), -ESHUTDOWN);
	assert_int_equal(sr_blkfront_submit(sr_blkfront_queue(front, 0), &flush), -ESHUTDOWN);
	harness_back_write(&h, &s.disk, "state", "6");
	await_count(&broken, 1);
	assert_int_equal(sr_blkfront_status(front), -EIO);
	assert_non_null(strstr(sr_blkfront_reason(front), "closed"));
	assert_int_equal(sr_blkfront_wait(sr_blkfront_queue(front, 0), -1), 0);
	assert_int_equal(sr_blkfront_close(front), 0);
	end_script(&s);
}

static void test_backend_vanishes(void **state)
{
	struct sr_blkfront_options o = SR_BLKFRONT_DEFAULTS;
	struct script s = new_script(51712);
	struct sr_blkfront *front;

	resized = closing = broken = 0;
	o.device = "xvda";
	o.event = on_event;
	assert_int_equal(open_front(&s, &o, &front), 0);
	harness_back_remove(&h, &s.disk, "state");
	await_count(&broken, 1);
	assert_int_equal(sr_blkfront_close(front), 0);
	end_script(&s);
}

/* A frontend that died left its state at 4: the next one closes first, then connects. */
static void test_after_a_crash(void **state)
{
	struct sr_blkfront_options o = SR_BLKFRONT_DEFAULTS;
	struct script s = new_script(51712);
	struct sr_blkfront *front;
	pthread_t closer;
	char path[96];

	o.device = "xvda";
	snprintf(path, sizeof(path), "/local/domain/%u/device/vbd/51712/state", s.disk.domid);
	assert_true(xs_write(h.xs, XBT_NULL, path, "4", 1));
	harness_back_write(&h, &s.disk, "state", "4");
	assert_int_equal(pthread_create(&closer, NULL, part, &s), 0);
	assert_int_equal(open_front(&s, &o, &front), 0);
	pthread_join(closer, NULL);
	close_front(&s, front);
	end_script(&s);
}

static void test_nothing_leaks(void **state)
{
	struct sr_blkfront_options o = SR_BLKFRONT_DEFAULTS;
	struct script s = new_script(51712);
	struct harness_usage before, after;
	struct sr_blkfront *front;
	void *memory;

	o.device = "xvda";
	harness_usage(&h, &before);
	for (unsigned i = 0; i < 5; i++) {
		o.persistent = i % 2;
		assert_int_equal(open_front(&s, &o, &front), 0);
		assert_int_equal(sr_blkfront_alloc(sr_blkfront_queue(front, 0), 100000, &memory),
				 0);
		close_front(&s, front);
	}
	harness_usage(&h, &after);
	assert_int_equal(before.ports, after.ports);
	assert_int_equal(before.granted, after.granted);
	assert_int_equal(before.pinned, after.pinned);
	assert_int_equal(before.connections, after.connections);
	assert_int_equal(before.watches, after.watches);
	end_script(&s);
}

static int setup(void **state)
{
	char address[128];

	harness_start(&h, "embedded:");
	harness_guest(&h, 8192, address);
	assert_int_equal(sr_hv_open(address, &guest), 0);
	return 0;
}

static int teardown(void **state)
{
	sr_hv_close(guest);
	harness_stop(&h);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_no_backend),
		cmocka_unit_test(test_bad_options),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_backend_vanishes),
		cmocka_unit_test(test_after_a_crash),
		cmocka_unit_test(test_nothing_leaks),
	};

	return cmocka_run_group_tests_name("blk-handshake", tests, setup, teardown);
}
