/* SPDX-License-Identifier: MIT */
/* 256 vifs on one backend: all are connected, a sample talks, then all rest; nothing is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "vifs.h"

#define VIFS 256u

static unsigned long long turns(struct vifs *w)
{
	struct sr_netback_thread threads[SR_NETBACK_MAX_THREADS];
	size_t n = sr_netback_threads(w->nb, threads, SR_NETBACK_MAX_THREADS);
	unsigned long long sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += threads[i].loops;
	return sum;
}

/* Each of these to the one that is a prime further on: all threads, and between them. */
static void talk(struct vif *v)
{
	for (unsigned i = 0; i < VIFS; i += 5) {
		unsigned to = (i + 101) % VIFS;

		vifs_send(&v[i], v[to].mac, 60 + i * 5, i);
		vifs_expect(&v[to], &v[i], 60 + i * 5, i);
	}
}

static void test_many(void **state)
{
	unsigned long long before, after;
	struct harness_usage usage;
	struct vif *v = calloc(VIFS, sizeof(*v));
	struct rlimit limit;
	struct vifs w;

	assert_non_null(v);
	/* Of all guests, which are in this process too. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	vifs_start(&w);
	for (unsigned i = 0; i < VIFS; i++) {
		vifs_attach(&w, &v[i], "xenbr0", (uint8_t)i);
		vifs_open(&v[i], NULL);
	}
	talk(v);
	do {
		before = turns(&w);
		nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
		after = turns(&w);
	} while (before != after);
	/* All of them are there still. */
	talk(v);
	for (unsigned i = 0; i < VIFS; i++) {
		vifs_close(&v[i]);
		vifs_detach(&w, &v[i]);
	}
	harness_usage(&w.h, &usage);
	assert_int_equal(usage.pinned, 0);
	vifs_stop(&w);
	free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
