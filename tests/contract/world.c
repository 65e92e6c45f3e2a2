/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "remote.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of a case; where events are not forgotten, each port may have one of its number's former life. */
#define MOST_PORTS 3

struct env env;

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	env_usage(&w->before);
	assert_int_equal(env_open(env.back, &w->back), 0);
	assert_int_equal(env_open(env.front, &w->front), 0);
	assert_int_equal(sr_gnttab_open(w->back, &w->gt), 0);
	assert_int_equal(sr_gntshr_open(w->front, &w->gs), 0);
	assert_int_equal(sr_evtchn_open(w->back, &w->eb), 0);
	assert_int_equal(sr_evtchn_open(w->front, &w->ef), 0);
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	struct world *w = *state;

	sr_evtchn_close(w->eb);
	sr_evtchn_close(w->ef);
	sr_gnttab_close(w->gt);
	sr_gntshr_close(w->gs);
	sr_hv_close(w->back);
	sr_hv_close(w->front);
	world_check_usage(&w->before);
	free(w);
	return 0;
}

void world_check_usage(const struct usage *before)
{
	struct usage now;

	for (int i = 0; i < 500; i++) {
		if (!env_usage(&now) || !memcmp(before, &now, sizeof(now)))
			return;
		usleep(10000);
	}
	assert_int_equal(before->pinned, now.pinned);
	assert_int_equal(before->granted, now.granted);
	assert_int_equal(before->ports, now.ports);
	assert_int_equal(before->connections, now.connections);
	assert_int_equal(before->watches, now.watches);
}

uint32_t world_wait(struct sr_evtchn *ev, int timeout_ms)
{
	struct pollfd pfd = { .fd = sr_evtchn_fd(ev), .events = POLLIN };
	uint32_t port = 0;
	int err;

	if (remote_is(ev)) {
		err = remote_wait(ev, timeout_ms, &port);
		/* A peer that does not answer is not silence. */
		assert_true(!err || err == -EAGAIN);
		return err ? 0 : port;
	}
	/* An edge that turns out to be nothing is allowed; silence is not. */
	while (sr_evtchn_pending(ev, &port) == -EAGAIN) {
		int n = poll(&pfd, 1, timeout_ms);

		if (n == 0)
			return 0;
		assert_true(n == 1 || errno == EINTR);
	}
	return port;
}

void world_expect_silence(struct sr_evtchn *ev)
{
	unsigned left = env.forgets_events ? 0 : MOST_PORTS;
	uint32_t port;

	while ((port = world_wait(ev, env.forgets_events ? 0 : 100)) != 0) {
		assert_in_range(left--, 1, MOST_PORTS);
		assert_int_equal(sr_evtchn_unmask(ev, port), 0);
	}
}

void world_put(void *at, const void *data, size_t len)
{
	if (!remote_put(at, data, len))
		memcpy(at, data, len);
}

void world_get(const void *at, void *data, size_t len)
{
	if (!remote_get(at, data, len))
		memcpy(data, at, len);
}

void world_fill(void *at, int byte, size_t len)
{
	void *data = malloc(len);

	assert_non_null(data);
	memset(data, byte, len);
	world_put(at, data, len);
	free(data);
}

void world_expect(const void *at, const void *data, size_t len)
{
	void *got = malloc(len ? len : 1);

	assert_non_null(got);
	world_get(at, got, len);
	assert_memory_equal(got, data, len);
	free(got);
}

void world_expect_busy(struct world *w, void *addr, unsigned count)
{
	if (env.tells_busy)
		assert_int_equal(sr_gntshr_unshare(w->gs, addr, count), -EBUSY);
}

_Noreturn void world_skip(const char *why)
{
	printf("# skipped: %s\n", why);
	skip();
	abort();
}

void world_need_front_here(void)
{
	if (env.remote)
		world_skip("it needs both domains in one process");
}

void world_channel(struct world *w, uint32_t *front_port, uint32_t *back_port)
{
	assert_int_equal(sr_evtchn_alloc_unbound(w->ef, env.back_id, front_port), 0);
	assert_int_equal(sr_evtchn_bind_interdomain(w->eb, env.front_id, *front_port, back_port),
			 0);
	assert_int_equal(world_wait(w->eb, 2000), *back_port);
	assert_int_equal(sr_evtchn_unmask(w->eb, *back_port), 0);
}

int world_main(int argc, char **argv, const char *name, const struct CMUnitTest *tests, size_t n)
{
	const char *scheme = argc > 1 ? argv[1] : "embedded:";
	char group[128];
	int failed, err;

	err = env_start(scheme, &env);
	if (err) {
		fprintf(stderr, "no environment for %s: %s\n", scheme, strerror(-err));
		return 1;
	}
	snprintf(group, sizeof(group), "%s on %s", name, scheme);
	failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
	env_stop();
	return failed;
}
