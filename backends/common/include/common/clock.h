/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_CLOCK_H
#define SR_COMMON_CLOCK_H

/*
 * A clock that is cheap enough to be read once a round of a poll loop, in ticks of its own. Where
 * the processor has no steady counter a tick is a nanosecond.
 */

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* How ticks and nanoseconds relate. Measured once; plain data from then on. */
struct sr_clock {
	uint32_t use_tsc;
	uint32_t mult; /* ns = ticks * mult >> 24 */
};

/* Takes a few milliseconds where the counter has to be measured. */
void sr_clock_init(struct sr_clock *clock);

static inline uint64_t sr_clock_now(const struct sr_clock *clock)
{
	struct timespec now;

#if defined(__x86_64__)
	if (clock->use_tsc)
		return __rdtsc();
#endif
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t sr_clock_ns(const struct sr_clock *clock, uint64_t ticks)
{
	return (uint64_t)((unsigned __int128)ticks * clock->mult >> 24);
}

static inline uint64_t sr_clock_ticks(const struct sr_clock *clock, uint64_t ns)
{
	return (uint64_t)(((unsigned __int128)ns << 24) / clock->mult);
}

/* Tells the processor that this is a spin loop. */
static inline void sr_cpu_relax(void)
{
#if defined(__x86_64__)
	_mm_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#endif
