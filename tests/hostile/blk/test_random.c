/* SPDX-License-Identifier: MIT */
/*
 * Random hostile guests, from seeds that can be repeated, for a bounded time:
 *
 *     SR_HOSTILE_SEED   the first seed (1)
 *     SR_HOSTILE_GUESTS how many guests, each from the next seed (12); by hand as many as you like
 *     SR_HOSTILE_STEPS  of each (150)
 */
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include <hypervisor.h>

#include "rig.h"

extern char **environ;

static unsigned long from_env(const char *name, unsigned long fallback)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : fallback;
}

static void one_guest(uint64_t seed, unsigned long steps)
{
	struct sr_hostile h;
	uint16_t domid;

	print_message("# seed %llu\n", (unsigned long long)seed);
	rig_begin();
	domid = rig_guest(RIG_RAM, seed % 5 ? "w" : "r");
	rig_open(domid, &h);
	assert_int_equal(sr_hostile_random(&h, seed, steps), 0);
	rig_others_go_on();
	/* Some find their way back, the others are left as they are. */
	if (seed % 2 && seed % 5)
		rig_reconnects(&h);
	sr_hostile_close(&h);
	rig_end(domid);
}

static void guests_that_do_anything(void **state)
{
	unsigned long seed = from_env("SR_HOSTILE_SEED", 1);
	unsigned long guests = from_env("SR_HOSTILE_GUESTS", 12);
	unsigned long steps = from_env("SR_HOSTILE_STEPS", 150);

	for (unsigned long i = 0; i < guests; i++)
		one_guest(seed + i, steps);
}

/* As processes, attached to their domains, and killed at a random moment. */
static void processes_killed_at_any_moment(void **state)
{
	unsigned long seed = from_env("SR_HOSTILE_SEED", 1);

	for (unsigned long i = 0; i < 8; i++) {
		char address[128], number[32], devid[16];
		char *argv[] = { (char *)HOSTILE_BLKFRONT, address, devid, number, NULL };
		uint16_t domid;
		pid_t pid;

		rig_begin();
		domid = rig_guest(RIG_RAM, "w");
		snprintf(address, sizeof(address), "%s", rig_address(domid));
		snprintf(devid, sizeof(devid), "%u", RIG_DEVID);
		snprintf(number, sizeof(number), "%lu", seed + i);
		rig_spawn(argv, domid, &pid);
		nanosleep(&(struct timespec){ .tv_nsec = (long)(i * 37 % 19 + 1) * 15000000 },
			  NULL);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		rig_await_gone(domid);
		rig_end(domid);
	}
}

/* Whatever a guest does, what the backend keeps of it afterwards does not grow. */
static void memory_does_not_grow(void **state)
{
	uint64_t before = 0, after;

	for (uint64_t seed = 101; seed < 131; seed++) {
		if (seed == 111)
			before = rig_allocated();
		one_guest(seed, 25);
	}
	after = rig_allocated();
	print_message("# %llu bytes before, %llu after\n", (unsigned long long)before,
		      (unsigned long long)after);
	/* Twenty guests: far less than the least that one device holds. */
	assert_true(after < before + 65536);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guests_that_do_anything),
		cmocka_unit_test(processes_killed_at_any_moment),
		cmocka_unit_test(memory_does_not_grow),
	};

	return cmocka_run_group_tests_name("hostile random", tests, rig_start, rig_stop);
}
