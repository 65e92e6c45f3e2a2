/* SPDX-License-Identifier: MIT */
/*
 * A fixed number (ROUNDS, from the build) of random inputs from a fixed seed: a fuzzer's part in
 * every test run. For fuzzers whose input has no form of its own.
 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_INPUT 1024u

int main(void)
{
	const char *env = getenv("SR_FUZZ_ROUNDS");
	unsigned long rounds = env ? strtoul(env, NULL, 10) : ROUNDS;
	uint64_t random = 0x9e3779b97f4a7c15u;

	for (unsigned long i = 0; i < rounds; i++) {
		uint8_t buf[MAX_INPUT];
		size_t size = i % MAX_INPUT;

		for (size_t at = 0; at < size; at++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			buf[at] = (uint8_t)(random >> 32);
		}
		LLVMFuzzerTestOneInput(buf, size);
	}
	printf("1..1\nok 1 - %lu inputs\n", rounds);
	return 0;
}
