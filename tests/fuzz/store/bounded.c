/* SPDX-License-Identifier: MIT */
/* A fixed number of random scripts from a fixed seed: the fuzzer's part in every test run. */
#include "fuzz_store.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS    1500u
#define MAX_INPUT 1024u

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 32);
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : ROUNDS;
	uint8_t script[MAX_INPUT];

	/* Another seed for a longer search by hand: fuzz-store-bounded ROUNDS SEED. */
	if (argc > 2)
		random_state ^= strtoull(argv[2], NULL, 0);
	for (unsigned long i = 0; i < rounds; i++) {
		size_t size = next_random() % sizeof(script) + 1;

		for (size_t k = 0; k < size; k++)
			script[k] = (uint8_t)next_random();
		LLVMFuzzerTestOneInput(script, size);
	}
	printf("1..1\nok 1 - %lu scripts of requests\n", rounds);
	return 0;
}
