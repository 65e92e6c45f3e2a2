/* SPDX-License-Identifier: MIT */
#include <common/clock.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define SR_CLOCK_MEASURE_NS 2000000u

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Does the counter tick steadily, in all power states, on all cores? */
static int tsc_is_steady(void)
{
#if defined(__x86_64__)
	unsigned a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
#else
	return 0;
#endif
}

void sr_clock_init(struct sr_clock *clock)
{
	*clock = (struct sr_clock){ .mult = 1u << 24 };
	if (!tsc_is_steady())
		return;
#if defined(__x86_64__)
	uint64_t ns0 = monotonic_ns(), t0 = __rdtsc(), ns, ticks;

	do
		ns = monotonic_ns() - ns0;
	while (ns < SR_CLOCK_MEASURE_NS);
	ticks = __rdtsc() - t0;
	/* A counter slower than 4 MHz is none that we could use. */
	if (ticks < ns / 250)
		return;
	clock->mult = (uint32_t)((ns << 24) / ticks);
	clock->use_tsc = 1;
#endif
}
