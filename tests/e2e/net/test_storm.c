/* SPDX-License-Identifier: MIT */
/* Guests that flood, storm with events, or go in mid-burst, beside two that lose nothing by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "internal.h"
#include "vifs.h"

#define FRAMES 300u
#define BURST  16u
#define HALF   (VIFS_PAGES / 2)

static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

struct world {
	struct vifs w;
	struct vif a, b, bad;
};

struct flood {
	struct vif *v;
	uint8_t to[6];
	bool stop;
	unsigned long sent;
	pthread_t thread;
};

static bool stopped(const struct flood *f)
{
	return __atomic_load_n(&f->stop, __ATOMIC_RELAXED);
}

/* Broadcasts, or frames to one guest, as many as the backend takes. It receives nothing. */
static void *flood(void *arg)
{
	struct flood *f = arg;
	struct sr_netfront_done done[BURST];
	struct sr_netfront_segment segments[BURST];
	struct sr_netfront_tx packets[BURST];

	for (unsigned i = 0; i < BURST; i++) {
		uint8_t *frame = f->v->memory + (HALF + i) * SR_NETFRONT_BUFFER_SIZE;

		memcpy(frame, f->to, 6);
		memcpy(frame + 6, f->v->mac, 6);
		segments[i] = (struct sr_netfront_segment){ .addr = frame, .length = 60 };
		packets[i] = (struct sr_netfront_tx){ .segments = &segments[i], .count = 1 };
	}
	while (!stopped(f)) {
		int n = sr_netfront_transmit(f->v->q, packets, BURST);

		if (n < 0)
			break;
		__atomic_add_fetch(&f->sent, (unsigned)n, __ATOMIC_RELAXED);
		/* It fails where the vif is taken away, which may be the point. */
		sr_netfront_wait(f->v->q, SR_NETFRONT_TX, 20);
		while (sr_netfront_reap(f->v->q, done, BURST) > 0)
			;
	}
	return NULL;
}

/* Events without anything in the rings. */
static void *storm(void *arg)
{
	struct flood *f = arg;

	while (!stopped(f)) {
		sr_evtchn_notify(f->v->q->ev, f->v->q->tx_port);
		sr_evtchn_notify(f->v->q->ev, f->v->q->rx_port);
		__atomic_add_fetch(&f->sent, 2, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void start(struct world *t)
{
	vifs_start(&t->w);
	vifs_attach(&t->w, &t->a, "xenbr0", 1);
	vifs_attach(&t->w, &t->b, "xenbr0", 2);
	vifs_attach(&t->w, &t->bad, "xenbr0", 3);
	vifs_open(&t->a, NULL);
	vifs_open(&t->b, NULL);
	vifs_open_deaf(&t->bad, NULL);
}

static void stop(struct world *t)
{
	struct harness_usage usage;

	vifs_close(&t->bad);
	vifs_detach(&t->w, &t->bad);
	vifs_close(&t->a);
	vifs_close(&t->b);
	vifs_detach(&t->w, &t->a);
	vifs_detach(&t->w, &t->b);
	harness_usage(&t->w.h, &usage);
	assert_int_equal(usage.pinned, 0);
	vifs_stop(&t->w);
}

/* Each frame waits for the one before: a single one that is lost fails the test. */
static void talk(struct world *t)
{
	for (unsigned i = 0; i < FRAMES; i++) {
		vifs_send(&t->a, t->b.mac, 60 + i, i);
		vifs_expect(&t->b, &t->a, 60 + i, i);
	}
}

static void begin(struct flood *f, struct vif *v, const uint8_t to[6], void *(*fn)(void *arg))
{
	*f = (struct flood){ .v = v };
	memcpy(f->to, to, 6);
	assert_int_equal(pthread_create(&f->thread, NULL, fn, f), 0);
}

static void end(struct flood *f)
{
	__atomic_store_n(&f->stop, true, __ATOMIC_RELAXED);
	pthread_join(f->thread, NULL);
	assert_true(f->sent > 0);
}

static void test_broadcast_flood(void **state)
{
	struct flood f;
	struct world t;

	start(&t);
	begin(&f, &t.bad, everybody, flood);
	talk(&t);
	end(&f);
	stop(&t);
}

/* Its own ring for frames to it is never refilled. */
static void test_flood_to_itself_and_nobody(void **state)
{
	static const uint8_t nobody[6] = { 2, 7, 7, 7, 7, 7 };
	struct flood f;
	struct world t;

	start(&t);
	begin(&f, &t.bad, nobody, flood);
	talk(&t);
	end(&f);
	stop(&t);
}

/* Turns of all threads that move packets. */
static unsigned long long turns(struct vifs *w)
{
	struct sr_netback_thread threads[SR_NETBACK_MAX_THREADS];
	size_t n = sr_netback_threads(w->nb, threads, SR_NETBACK_MAX_THREADS);
	unsigned long long sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += threads[i].loops;
	return sum;
}

/* Others are served, it is itself, and afterwards no thread turns any more. */
static void test_event_storm(void **state)
{
	unsigned long long before, after;
	struct flood f;
	struct world t;

	start(&t);
	begin(&f, &t.bad, everybody, storm);
	talk(&t);
	end(&f);
	vifs_send(&t.bad, t.a.mac, 60, 1);
	vifs_expect(&t.a, &t.bad, 60, 1);
	/* What is left of it is worked off; then nothing turns. */
	do {
		before = turns(&t.w);
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
		after = turns(&t.w);
	} while (before != after);
	stop(&t);
}

/* The toolstack takes the whole device away while its guest sends. */
static void test_gone_in_mid_burst(void **state)
{
	struct flood f;
	struct world t;

	start(&t);
	for (unsigned i = 0; i < 5; i++) {
		begin(&f, &t.bad, everybody, flood);
		while (!__atomic_load_n(&f.sent, __ATOMIC_RELAXED))
			;
		assert_true(xs_rm(t.w.h.xs, XBT_NULL, t.bad.back_dir));
		vifs_send(&t.a, t.b.mac, 1000, i);
		vifs_expect(&t.b, &t.a, 1000, i);
		end(&f);
		sr_netfront_close(t.bad.front);
		t.bad.front = NULL;
		vifs_close(&t.bad);
		assert_true(xs_rm(t.w.h.xs, XBT_NULL, t.bad.front_dir));
		vifs_attach(&t.w, &t.bad, "xenbr0", 3);
		vifs_open_deaf(&t.bad, NULL);
	}
	talk(&t);
	stop(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_broadcast_flood),
		cmocka_unit_test(test_flood_to_itself_and_nobody),
		cmocka_unit_test(test_event_storm),
		cmocka_unit_test(test_gone_in_mid_burst),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
