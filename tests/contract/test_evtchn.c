/* SPDX-License-Identifier: MIT */
/* Event channels. */
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <xen/xen.h>

#define PATIENCE 10000 /* ms; only ever waited for where something is broken */

static bool readable(struct sr_evtchn *ev)
{
	struct pollfd pfd = { .fd = sr_evtchn_fd(ev), .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static void a_bound_port_starts_pending(void **state)
{
	struct world *w = *state;
	uint32_t f, b, got = 0;

	assert_int_equal(sr_evtchn_alloc_unbound(w->ef, env.back_id, &f), 0);
	assert_int_equal(sr_evtchn_pending(w->ef, &got), -EAGAIN);
	assert_int_equal(sr_evtchn_bind_interdomain(w->eb, env.front_id, f, &b), 0);
	assert_int_equal(world_wait(w->eb, PATIENCE), b);
	assert_int_equal(sr_evtchn_pending(w->eb, &got), -EAGAIN);
	/* The side that allocated it has had no event. */
	assert_int_equal(sr_evtchn_pending(w->ef, &got), -EAGAIN);
}

static void events_go_both_ways(void **state)
{
	struct world *w = *state;
	uint32_t f, b, got;

	world_channel(w, &f, &b);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
		assert_int_equal(world_wait(w->eb, PATIENCE), b);
		assert_int_equal(sr_evtchn_pending(w->eb, &got), -EAGAIN);
		assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
		assert_int_equal(sr_evtchn_notify(w->eb, b), 0);
		assert_int_equal(world_wait(w->ef, PATIENCE), f);
		assert_int_equal(sr_evtchn_pending(w->ef, &got), -EAGAIN);
		assert_int_equal(sr_evtchn_unmask(w->ef, f), 0);
	}
}

static void events_merge_and_wait_while_masked(void **state)
{
	struct world *w = *state;
	uint32_t f, b, got;

	world_channel(w, &f, &b);
	for (int i = 0; i < 5; i++)
		assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
	assert_int_equal(world_wait(w->eb, PATIENCE), b);
	for (int i = 0; i < 5; i++)
		assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
	assert_int_equal(sr_evtchn_pending(w->eb, &got), -EAGAIN);
	assert_false(readable(w->eb));
	assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
	assert_true(readable(w->eb));
	assert_int_equal(world_wait(w->eb, PATIENCE), b);
	assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
	assert_int_equal(sr_evtchn_pending(w->eb, &got), -EAGAIN);
	assert_false(readable(w->eb));
}

static void the_descriptor_tells_of_each_pending_port(void **state)
{
	struct world *w = *state;
	uint32_t f[10], b[10], got;
	bool seen[10] = { false };

	for (int i = 0; i < 10; i++)
		world_channel(w, &f[i], &b[i]);
	for (int i = 0; i < 10; i++)
		assert_int_equal(sr_evtchn_notify(w->ef, f[i]), 0);
	/* One at a time, and a look at the descriptor before each. */
	for (int i = 0; i < 10; i++) {
		assert_true(readable(w->eb));
		assert_int_equal(sr_evtchn_pending(w->eb, &got), 0);
		for (int j = 0; j < 10; j++)
			if (b[j] == got) {
				assert_false(seen[j]);
				seen[j] = true;
			}
	}
	for (int i = 0; i < 10; i++)
		assert_true(seen[i]);
	assert_int_equal(sr_evtchn_pending(w->eb, &got), -EAGAIN);
	assert_false(readable(w->eb));
}

static void only_who_is_named_may_bind(void **state)
{
	struct world *w = *state;
	struct sr_hypervisor *hv;
	struct sr_evtchn *ev;
	char address[256];
	uint16_t domid;
	uint32_t f, port;

	if (!env_make_guest(&domid, address))
		world_skip("no domain that may be destroyed");
	assert_int_equal(env_open(address, &hv), 0);
	assert_int_equal(sr_evtchn_open(hv, &ev), 0);
	assert_int_equal(sr_evtchn_alloc_unbound(w->ef, env.back_id, &f), 0);
	assert_true(sr_evtchn_bind_interdomain(ev, env.front_id, f, &port) < 0);
	assert_true(sr_evtchn_bind_interdomain(w->eb, env.front_id, f + 1, &port) < 0);
	assert_true(sr_evtchn_bind_interdomain(w->eb, env.front_id, 0, &port) < 0);
	assert_true(sr_evtchn_bind_interdomain(w->eb, env.front_id, 0xfffffff0, &port) < 0);
	assert_true(sr_evtchn_bind_interdomain(w->eb, 0x7000, f, &port) < 0);
	assert_int_equal(sr_evtchn_bind_interdomain(w->eb, env.front_id, f, &port), 0);
	/* Bound is bound. */
	assert_true(sr_evtchn_bind_interdomain(w->eb, env.front_id, f, &port) < 0);
	sr_evtchn_close(ev);
	sr_hv_close(hv);
	env_kill_guest(domid);
}

static void ports_of_others_are_refused(void **state)
{
	struct world *w = *state;
	struct sr_evtchn *other;
	uint32_t f, b;

	world_channel(w, &f, &b);
	assert_int_equal(sr_evtchn_open(w->back, &other), 0);
	assert_true(sr_evtchn_notify(other, b) < 0);
	assert_true(sr_evtchn_unmask(other, b) < 0);
	assert_true(sr_evtchn_unbind(other, b) < 0);
	assert_true(sr_evtchn_notify(w->eb, 0xfffffff0) < 0);
	assert_true(sr_evtchn_unmask(w->eb, 0) < 0);
	assert_true(sr_evtchn_unbind(w->eb, 3000) < 0);
	sr_evtchn_close(other);
	assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
	assert_int_equal(world_wait(w->eb, PATIENCE), b);
}

static void a_lost_peer_is_no_error_and_a_new_one_may_come(void **state)
{
	struct world *w = *state;
	struct sr_evtchn *second;
	uint32_t f, b, b2;

	world_channel(w, &f, &b);
	for (int round = 0; round < 5; round++) {
		/* What was sent to the first must not count for the second. */
		assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
		assert_int_equal(sr_evtchn_unbind(w->eb, b), 0);
		assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
		assert_int_equal(sr_evtchn_bind_interdomain(w->eb, env.front_id, f, &b), 0);
		assert_int_equal(world_wait(w->eb, PATIENCE), b);
		assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
		world_expect_silence(w->eb);
		assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
		assert_int_equal(world_wait(w->eb, PATIENCE), b);
		assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
		assert_int_equal(sr_evtchn_notify(w->eb, b), 0);
		assert_int_equal(world_wait(w->ef, PATIENCE), f);
		assert_int_equal(sr_evtchn_unmask(w->ef, f), 0);
	}
	/* The same where a whole handle goes, and the new peer is another one. */
	assert_int_equal(sr_evtchn_open(w->back, &second), 0);
	assert_int_equal(sr_evtchn_unbind(w->eb, b), 0);
	assert_int_equal(sr_evtchn_bind_interdomain(second, env.front_id, f, &b2), 0);
	assert_int_equal(world_wait(second, PATIENCE), b2);
	assert_int_equal(sr_evtchn_unmask(second, b2), 0);
	assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
	assert_int_equal(world_wait(second, PATIENCE), b2);
	sr_evtchn_close(second);
	assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
}

static void a_port_masked_over_a_change_of_peers_hears_the_new_one(void **state)
{
	struct world *w = *state;
	uint32_t f, b;

	world_channel(w, &f, &b);
	assert_int_equal(sr_evtchn_notify(w->eb, b), 0);
	assert_int_equal(world_wait(w->ef, PATIENCE), f);
	/* f is masked now. */
	assert_int_equal(sr_evtchn_unbind(w->eb, b), 0);
	assert_int_equal(sr_evtchn_bind_interdomain(w->eb, env.front_id, f, &b), 0);
	assert_int_equal(sr_evtchn_notify(w->eb, b), 0);
	assert_int_equal(world_wait(w->ef, 0), 0);
	assert_int_equal(sr_evtchn_unmask(w->ef, f), 0);
	assert_int_equal(world_wait(w->ef, PATIENCE), f);
}

static void the_other_side_can_leave_first(void **state)
{
	struct world *w = *state;
	uint32_t f, b;

	world_channel(w, &f, &b);
	assert_int_equal(sr_evtchn_unbind(w->ef, f), 0);
	assert_int_equal(sr_evtchn_notify(w->eb, b), 0);
	assert_int_equal(sr_evtchn_notify(w->eb, b), 0);
	assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
	assert_int_equal(world_wait(w->eb, 0), 0);
	assert_int_equal(sr_evtchn_unbind(w->eb, b), 0);
}

static void a_pending_port_that_is_unbound_is_not_reported(void **state)
{
	struct world *w = *state;
	uint32_t f[3], b[3], got;

	for (int i = 0; i < 3; i++)
		world_channel(w, &f[i], &b[i]);
	for (int i = 0; i < 3; i++)
		assert_int_equal(sr_evtchn_notify(w->ef, f[i]), 0);
	got = world_wait(w->eb, PATIENCE);
	for (int i = 0; i < 3; i++)
		if (b[i] != got)
			assert_int_equal(sr_evtchn_unbind(w->eb, b[i]), 0);
	assert_int_equal(world_wait(w->eb, 0), 0);
	/* Ports that take over the numbers have no events of the old ones. */
	for (int i = 0; i < 2; i++)
		assert_int_equal(sr_evtchn_alloc_unbound(w->eb, env.front_id, &f[i]), 0);
	world_expect_silence(w->eb);
}

static void a_channel_within_one_domain(void **state)
{
	struct world *w = *state;
	uint32_t a, b, first;

	assert_int_equal(sr_evtchn_alloc_unbound(w->ef, env.front_id, &a), 0);
	assert_int_equal(sr_evtchn_bind_interdomain(w->ef, env.front_id, a, &b), 0);
	first = world_wait(w->ef, PATIENCE);
	assert_int_equal(first, b);
	assert_int_equal(sr_evtchn_unmask(w->ef, b), 0);
	assert_int_equal(sr_evtchn_notify(w->ef, a), 0);
	assert_int_equal(world_wait(w->ef, PATIENCE), b);
	assert_int_equal(sr_evtchn_notify(w->ef, b), 0);
	assert_int_equal(world_wait(w->ef, PATIENCE), a);
}

static void a_thousand_ports(void **state)
{
	enum { PORTS = 1000 };
	struct world *w = *state;
	int ports = env.remote ? 30 : PORTS;
	uint32_t *f = calloc(PORTS, sizeof(*f)), *b = calloc(PORTS, sizeof(*b)), got;
	uint8_t *seen = calloc(1 << 17, 1);
	struct rlimit lim;

	getrlimit(RLIMIT_NOFILE, &lim);
	if (!env.remote && lim.rlim_max < 12000) {
		free(f);
		free(b);
		free(seen);
		world_skip("too few descriptors for the embedded machine");
	}
	for (int i = 0; i < ports; i++)
		world_channel(w, &f[i], &b[i]);
	for (int i = 0; i < ports; i++)
		assert_int_equal(sr_evtchn_notify(w->ef, f[i]), 0);
	for (int i = 0; i < ports; i++) {
		got = world_wait(w->eb, PATIENCE);
		assert_int_not_equal(got, 0);
		assert_int_equal(seen[got]++, 0);
		assert_int_equal(sr_evtchn_unmask(w->eb, got), 0);
	}
	assert_int_equal(world_wait(w->eb, 0), 0);
	for (int i = 0; i < ports; i++)
		assert_int_equal(seen[b[i]], 1);
	free(f);
	free(b);
	free(seen);
}

static void a_dying_domain_is_heard_of(void **state)
{
	struct world *w = *state;
	char address[256];
	uint16_t domid;
	uint32_t port, again;

	if (!strncmp(env.back, "xen:", 4))
		world_skip("xenstored has bound VIRQ_DOM_EXC");
	assert_int_equal(sr_evtchn_bind_virq(w->eb, VIRQ_DOM_EXC, &port), 0);
	assert_int_equal(sr_evtchn_bind_virq(w->eb, VIRQ_DOM_EXC, &again), -EEXIST);
	assert_true(sr_evtchn_bind_virq(w->eb, 1000, &again) < 0);
	for (int i = 0; i < 3; i++) {
		if (!env_make_guest(&domid, address))
			world_skip("no domain that may be destroyed");
		assert_int_equal(world_wait(w->eb, 0), 0);
		env_kill_guest(domid);
		assert_int_equal(world_wait(w->eb, PATIENCE), port);
		assert_int_equal(sr_evtchn_unmask(w->eb, port), 0);
	}
	assert_true(sr_evtchn_notify(w->eb, port) <= 0);
}

/* --- threads --------------------------------------------------------------------------------- */

struct end {
	struct sr_evtchn *ev;
	uint32_t port;
	int rounds, done;
};

static void *pong(void *arg)
{
	struct end *e = arg;

	for (e->done = 0; e->done < e->rounds; e->done++) {
		if (world_wait(e->ev, PATIENCE) != e->port)
			break;
		sr_evtchn_unmask(e->ev, e->port);
		sr_evtchn_notify(e->ev, e->port);
	}
	return NULL;
}

static void no_wake_up_is_lost_between_threads(void **state)
{
	struct world *w = *state;
	struct end f = { .ev = w->ef, .rounds = env.remote ? 20 : 3000 };
	pthread_t thread;
	uint32_t b;
	int done;

	world_channel(w, &f.port, &b);
	assert_int_equal(pthread_create(&thread, NULL, pong, &f), 0);
	for (done = 0; done < f.rounds; done++) {
		sr_evtchn_notify(w->eb, b);
		if (world_wait(w->eb, PATIENCE) != b)
			break;
		sr_evtchn_unmask(w->eb, b);
	}
	pthread_join(thread, NULL);
	assert_int_equal(done, f.rounds);
	assert_int_equal(f.done, f.rounds);
}

struct flood {
	struct sr_evtchn *ev;
	uint32_t port;
	int count;
	atomic_int *value;
};

static void *flood(void *arg)
{
	struct flood *fl = arg;

	for (int i = 1; i <= fl->count; i++) {
		atomic_store_explicit(fl->value, i, memory_order_relaxed);
		sr_evtchn_notify(fl->ev, fl->port);
	}
	return NULL;
}

/* Events merge, but what was written before the last of them is seen. */
static void the_last_event_of_a_flood_arrives(void **state)
{
	struct world *w = *state;
	atomic_int value = 0;
	struct flood fl = { .ev = w->ef, .count = env.remote ? 50 : 30000, .value = &value };
	pthread_t thread;
	uint32_t b, got = 1;

	world_channel(w, &fl.port, &b);
	assert_int_equal(pthread_create(&thread, NULL, flood, &fl), 0);
	while (got && atomic_load_explicit(&value, memory_order_relaxed) < fl.count) {
		got = world_wait(w->eb, PATIENCE);
		sr_evtchn_unmask(w->eb, b);
	}
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&value), fl.count);
}

/* --- waits without the descriptor ------------------------------------------------------------- */

/* False: this provider has none, and says so each time. */
static bool can_wait(struct world *w)
{
	int err = sr_evtchn_prepare_wait(w->eb);
	uint32_t got;

	if (err != -ENOTSUP) {
		assert_int_equal(err, 0);
		return true;
	}
	assert_int_equal(sr_evtchn_wait(w->eb, &got), -ENOTSUP);
	assert_int_equal(sr_evtchn_wake(w->eb), -ENOTSUP);
	return false;
}

static void a_wait_takes_one_event(void **state)
{
	struct world *w = *state;
	uint32_t f[2], b[2], one, other;

	if (!can_wait(w))
		return;
	for (int i = 0; i < 2; i++)
		world_channel(w, &f[i], &b[i]);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(sr_evtchn_notify(w->ef, f[0]), 0);
		assert_int_equal(sr_evtchn_wait(w->eb, &one), 0);
		assert_int_equal(one, b[0]);
		assert_int_equal(sr_evtchn_pending(w->eb, &other), -EAGAIN);
		assert_false(readable(w->eb));
		/* Masked until it is unmasked, like after sr_evtchn_pending(). */
		assert_int_equal(sr_evtchn_notify(w->ef, f[0]), 0);
		assert_int_equal(sr_evtchn_pending(w->eb, &other), -EAGAIN);
		assert_int_equal(sr_evtchn_unmask(w->eb, b[0]), 0);
		assert_int_equal(sr_evtchn_wait(w->eb, &one), 0);
		assert_int_equal(one, b[0]);
		assert_int_equal(sr_evtchn_unmask(w->eb, b[0]), 0);
	}
	/* Of two the descriptor still tells, and pending() takes the other. */
	for (int i = 0; i < 2; i++)
		assert_int_equal(sr_evtchn_notify(w->ef, f[i]), 0);
	assert_int_equal(sr_evtchn_wait(w->eb, &one), 0);
	assert_int_equal(world_wait(w->eb, PATIENCE), one == b[0] ? b[1] : b[0]);
	assert_int_equal(sr_evtchn_pending(w->eb, &other), -EAGAIN);
	assert_false(readable(w->eb));
}

static void a_wake_ends_one_wait(void **state)
{
	struct world *w = *state;
	uint32_t f, b, got;

	if (!can_wait(w))
		return;
	for (int i = 0; i < 20; i++) {
		assert_int_equal(sr_evtchn_wake(w->eb), 0);
		assert_int_equal(sr_evtchn_wait(w->eb, &got), -ECANCELED);
		assert_int_equal(sr_evtchn_pending(w->eb, &got), -EAGAIN);
		assert_false(readable(w->eb));
	}
	/* It is no event, and takes none away. */
	world_channel(w, &f, &b);
	assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
	assert_int_equal(sr_evtchn_wait(w->eb, &got), 0);
	assert_int_equal(got, b);
	assert_false(readable(w->eb));
}

struct waker {
	struct sr_evtchn *ev;
	uint32_t port; /* 0: wakes */
	int count;
	sem_t go;
};

static void *wake_or_notify(void *arg)
{
	struct waker *k = arg;

	for (int i = 0; i < k->count; i++) {
		while (sem_wait(&k->go))
			;
		if (k->port)
			sr_evtchn_notify(k->ev, k->port);
		else
			sr_evtchn_wake(k->ev);
	}
	return NULL;
}

/* An event and a wake at the same time, again and again: each ends a wait of its own. */
static void no_wake_is_lost_beside_events(void **state)
{
	struct world *w = *state;
	struct waker kind[2] = { { .ev = w->ef }, { .ev = w->eb } };
	pthread_t threads[2];
	uint32_t b, got;

	if (!can_wait(w))
		return;
	world_channel(w, &kind[0].port, &b);
	for (int i = 0; i < 2; i++) {
		kind[i].count = env.remote ? 50 : 3000;
		sem_init(&kind[i].go, 0, 0);
		assert_int_equal(pthread_create(&threads[i], NULL, wake_or_notify, &kind[i]), 0);
	}
	for (int n = 0; n < kind[0].count; n++) {
		bool event = false, waked = false;

		for (int i = 0; i < 2; i++)
			sem_post(&kind[(n + i) % 2].go);
		while (!event || !waked) {
			int err = sr_evtchn_wait(w->eb, &got);

			assert_true(err ? err == -ECANCELED && !waked : !event);
			event |= !err;
			waked |= err != 0;
		}
		assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
	}
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		sem_destroy(&kind[i].go);
	}
	assert_int_equal(sr_evtchn_pending(w->eb, &got), -EAGAIN);
	assert_false(readable(w->eb));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(a_bound_port_starts_pending),
		CASE(events_go_both_ways),
		CASE(events_merge_and_wait_while_masked),
		CASE(the_descriptor_tells_of_each_pending_port),
		CASE(only_who_is_named_may_bind),
		CASE(ports_of_others_are_refused),
		CASE(a_lost_peer_is_no_error_and_a_new_one_may_come),
		CASE(a_port_masked_over_a_change_of_peers_hears_the_new_one),
		CASE(the_other_side_can_leave_first),
		CASE(a_pending_port_that_is_unbound_is_not_reported),
		CASE(a_channel_within_one_domain),
		CASE(a_thousand_ports),
		CASE(a_dying_domain_is_heard_of),
		CASE(no_wake_up_is_lost_between_threads),
		CASE(the_last_event_of_a_flood_arrives),
		CASE(a_wait_takes_one_event),
		CASE(a_wake_ends_one_wait),
		CASE(no_wake_is_lost_beside_events),
	};

	return world_main(argc, argv, "evtchn", tests, sizeof(tests) / sizeof(tests[0]));
}
