/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct sr_blkfront_options world_front = SR_BLKFRONT_DEFAULTS;

static void start(struct world *w, const char *params, const struct sr_blkback_options *opt)
{
	backend_start(&w->b, &w->h, opt);
	w->disk = (struct harness_disk){ .vdev = VDEV, .params = params };
	w->disk.domid = harness_guest(&w->h, 8192, w->address);
	assert_int_equal(sr_hv_open(w->address, &w->guest), 0);
}

void world_start(struct world *w, const char *scheme, const char *params,
		 const struct sr_blkback_options *opt)
{
	memset(w, 0, sizeof(*w));
	harness_start(&w->h, scheme);
	start(w, params, opt);
}

void world_start_with_frames(struct world *w, const char *scheme, const char *params,
			     unsigned frames)
{
	memset(w, 0, sizeof(*w));
	harness_start_with_frames(&w->h, scheme, frames);
	start(w, params, NULL);
}

void world_close(struct world *w)
{
	if (w->front)
		assert_int_equal(sr_blkfront_close(w->front), 0);
	w->front = NULL;
}

void world_stop(struct world *w)
{
	struct harness_usage usage;

	world_close(w);
	sr_hv_close(w->guest);
	harness_detach(&w->h, &w->disk);
	harness_usage(&w->h, &usage);
	assert_int_equal(usage.pinned, 0);
	backend_stop(&w->b, SR_BLKBACK_CLOSE);
	harness_stop(&w->h);
	if (fake.complaint)
		fail_msg("the driver was called wrongly: %s", fake.complaint);
}

void world_open(struct world *w, struct sr_blkfront_options opt)
{
	char error[256] = "";

	opt.device = "xvda";
	opt.error = error;
	opt.error_size = sizeof(error);
	if (sr_blkfront_open(w->guest, &opt, &w->front))
		fail_msg("open: %s", error);
	w->q = sr_blkfront_queue(w->front, 0);
}

void world_quick(struct world *w, const char *params)
{
	world_start(w, "embedded:", params, NULL);
	harness_attach(&w->h, &w->disk);
	world_open(w, world_front);
}

void world_fill(void *p, size_t len, unsigned seed)
{
	uint8_t *bytes = p;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(seed + i * 7 + (i >> 9) * 13);
}

int world_try(struct world *w, enum sr_blkfront_op op, uint64_t offset, void *buf, size_t len)
{
	return sr_blkfront_io(w->q, op, offset, buf, len);
}

void world_io(struct world *w, enum sr_blkfront_op op, uint64_t offset, void *buf, size_t len)
{
	assert_int_equal(world_try(w, op, offset, buf, len), 0);
}
