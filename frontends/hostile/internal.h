/* SPDX-License-Identifier: MIT */
#ifndef HOSTILE_INTERNAL_H
#define HOSTILE_INTERNAL_H

#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds. */
int64_t sr_hostile_now_ms(void);

/* A xorshift generator; the state is never 0. */
static inline uint64_t sr_hostile_next(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

#endif
