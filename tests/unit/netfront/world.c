/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <time.h>

const struct testback_offer world_full = {
	.queues = 4,
	.split = true,
	.sg = true,
	.gso = true,
	.csum6 = true,
	.control = true,
	.multicast = true,
	.dynamic_multicast = true,
	.headroom = true,
};

static void on_event(void *arg, enum sr_netfront_event event)
{
	struct world *w = arg;

	__atomic_add_fetch(&w->events[event], 1, __ATOMIC_RELEASE);
}

void world_start(struct world *w, const struct testback_offer *offer)
{
	memset(w, 0, sizeof(*w));
	harness_start(&w->h, "embedded:");
	w->domid = harness_guest(&w->h, 8192, w->address);
	testback_start(&w->back, w->h.dom0, w->h.dom0, w->domid, 0, offer);
	assert_int_equal(sr_hv_open(w->address, &w->guest), 0);
}

void world_open(struct world *w, struct sr_netfront_options options)
{
	static char error[256];
	void *memory;

	options.event = on_event;
	options.event_arg = w;
	options.error = error;
	options.error_size = sizeof(error);
	if (sr_netfront_open(w->guest, &options, &w->front))
		fail_msg("open: %s", error);
	w->q = sr_netfront_queue(w->front, 0);
	assert_int_equal(sr_netfront_memory(w->front, WORLD_PAGES * SR_PAGE_SIZE, &memory), 0);
	w->memory = memory;
}

void world_quick(struct world *w)
{
	struct sr_netfront_options o = SR_NETFRONT_DEFAULTS;

	world_start(w, &world_full);
	world_open(w, o);
}

void world_stop(struct world *w)
{
	assert_int_equal(sr_netfront_close(w->front), 0);
	sr_hv_close(w->guest);
	testback_stop(&w->back);
	harness_stop(&w->h);
}

void world_post(struct world *w, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		uint8_t *page = w->memory + (size_t)i * SR_PAGE_SIZE;
		struct sr_netfront_buffer b = { .page = page, .tag = page };

		assert_int_equal(sr_netfront_post(w->q, &b, 1), 1);
	}
	assert_int_equal(sr_netfront_kick(w->q), 0);
}

int world_send(struct world *w, void *data, uint32_t length, uint16_t flags, uint16_t gso_size)
{
	struct sr_netfront_segment seg = { .addr = data, .length = length };
	struct sr_netfront_tx p = {
		.segments = &seg,
		.count = 1,
		.flags = flags,
		.gso_size = gso_size,
		.tag = data,
	};
	int n = sr_netfront_transmit(w->q, &p, 1);

	if (n == 1)
		assert_int_equal(sr_netfront_kick(w->q), 0);
	return n;
}

int world_done(struct world *w, void *tag)
{
	struct sr_netfront_done done[2];

	assert_int_equal(sr_netfront_reap(w->q, done, 2), 1);
	assert_ptr_equal(done[0].tag, tag);
	return done[0].error;
}

void world_fill(void *data, size_t length, unsigned seed)
{
	uint8_t *bytes = data;

	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(seed + i * 7 + (i >> 8) * 13);
}

void world_expect(const void *data, size_t length, unsigned seed)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < length; i++)
		if (bytes[i] != (uint8_t)(seed + i * 7 + (i >> 8) * 13))
			fail_msg("byte %zu of %zu is wrong", i, length);
}

void world_await_event(struct world *w, enum sr_netfront_event event, unsigned count)
{
	struct timespec nap = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < 30000; i++) {
		if (__atomic_load_n(&w->events[event], __ATOMIC_ACQUIRE) >= count)
			return;
		nanosleep(&nap, NULL);
	}
	fail_msg("event %d didn't come", (int)event);
}
