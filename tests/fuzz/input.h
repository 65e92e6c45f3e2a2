/* SPDX-License-Identifier: MIT */
#ifndef SR_FUZZ_INPUT_H
#define SR_FUZZ_INPUT_H

/* An input that is taken piece by piece, and what has to hold whatever it says. */

#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

/* Bytes of the input, zeros when they are used up. */
struct input {
	const uint8_t *data;
	size_t size;
};

static inline uint64_t take(struct input *in, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes && in->size; i++, in->size--)
		v |= (uint64_t)*in->data++ << 8 * i;
	return v;
}

static inline void must(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

#endif
