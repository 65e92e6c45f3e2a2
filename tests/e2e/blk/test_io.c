/* SPDX-License-Identifier: MIT */
/* Every kind of request, from a real frontend through the engine to a driver and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <blkfront/blkfront.h>
#include <cmocka.h>

#include "backend.h"

#define VDEV 51712
#define MIB  (1u << 20)

struct world {
	struct harness h;
	struct backend b;
	struct harness_disk disk;
	struct sr_hypervisor *guest;
	struct sr_blkfront *front;
	struct sr_blkfront_queue *q;
};

static const struct sr_blkfront_options defaults = SR_BLKFRONT_DEFAULTS;

static void open_front(struct world *w, struct sr_blkfront_options opt)
{
	char error[256] = "";

	opt.device = "xvda";
	opt.error = error;
	opt.error_size = sizeof(error);
	if (sr_blkfront_open(w->guest, &opt, &w->front))
		fail_msg("open: %s", error);
	w->q = sr_blkfront_queue(w->front, 0);
}

static void start(struct world *w, const char *scheme, const char *params,
		  const struct sr_blkback_options *opt)
{
	char address[128];

	memset(w, 0, sizeof(*w));
	harness_start(&w->h, scheme);
	backend_start(&w->b, &w->h, opt);
	w->disk = (struct harness_disk){ .vdev = VDEV, .params = params };
	w->disk.domid = harness_guest(&w->h, 4096, address);
	assert_int_equal(sr_hv_open(address, &w->guest), 0);
}

static void stop(struct world *w)
{
	struct harness_usage usage;

	if (w->front)
		assert_int_equal(sr_blkfront_close(w->front), 0);
	sr_hv_close(w->guest);
	harness_detach(&w->h, &w->disk);
	harness_usage(&w->h, &usage);
	assert_int_equal(usage.pinned, 0);
	backend_stop(&w->b, SR_BLKBACK_CLOSE);
	harness_stop(&w->h);
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed + i * 7 + (i >> 9) * 13);
}

static void do_io(struct world *w, enum sr_blkfront_op op, uint64_t offset, void *buf, size_t len)
{
	assert_int_equal(sr_blkfront_io(w->q, op, offset, buf, len), 0);
}

/* Writes, reads back, in sizes from a sector to many segments, at odd sectors. */
static void write_and_verify(struct world *w)
{
	static const size_t sizes[] = { 512, 1024, 4096, 4608, 11 * 4096, 12 * 4096, MIB };
	uint8_t *out = malloc(MIB), *in = malloc(MIB);

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (unsigned odd = 0; odd < 3; odd++) {
			uint64_t offset = 8 * MIB + odd * 512;

			fill(out, sizes[i], i * 31 + odd);
			do_io(w, SR_BLKFRONT_WRITE, offset, out, sizes[i]);
			memset(in, 0xee, sizes[i]);
			do_io(w, SR_BLKFRONT_READ, offset, in, sizes[i]);
			assert_memory_equal(in, out, sizes[i]);
		}
	free(out);
	free(in);
}

static void one_way(const char *scheme, struct sr_blkfront_options front,
		    struct sr_blkback_options back)
{
	struct sr_blkback_device d;
	struct world w;

	start(&w, scheme, "ram:size=32M", &back);
	harness_attach(&w.h, &w.disk);
	open_front(&w, front);
	write_and_verify(&w);
	do_io(&w, SR_BLKFRONT_FLUSH, 0, NULL, 0);
	backend_device(&w.b, &w.disk, &d);
	assert_int_equal(d.state, 4);
	assert_true(d.stats.requests[SR_STAT_WRITE] >= 21);
	assert_true(d.stats.requests[SR_STAT_FLUSH] == 1);
	for (unsigned i = 0; i < SR_STAT_ERRORS; i++)
		assert_int_equal(d.stats.errors[i], 0);
	stop(&w);
}

static void test_persistent(void **state)
{
	one_way("embedded:", defaults, (struct sr_blkback_options){ 0 });
}

static void test_mapped(void **state)
{
	struct sr_blkfront_options front = defaults;

	front.persistent = false;
	one_way("embedded:", front, (struct sr_blkback_options){ 0 });
}

static void test_strict(void **state)
{
	one_way("embedded-strict:", defaults, (struct sr_blkback_options){ 0 });
}

static void test_copied(void **state)
{
	struct sr_blkfront_options front = defaults;

	front.persistent = false;
	one_way("embedded-strict:", front, (struct sr_blkback_options){ 0 });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_persistent),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_strict),
		cmocka_unit_test(test_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
