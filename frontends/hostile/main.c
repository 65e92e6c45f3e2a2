/* SPDX-License-Identifier: MIT */
/*
 * A hostile guest to leave running: hostile-blkfront ADDRESS DEVID [SEED [STEPS]]
 *
 *     hostile-blkfront embedded:/run/splitring/demo#7 51712 42
 *
 * With no STEPS it goes on until it is killed, and says every so often how far it is: a backend
 * that falls is made to fall again by the same seed, if nothing else depended on time.
 */
#include <hostile/hostile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND 1000ul /* steps to a line of progress */

int main(int argc, char **argv)
{
	unsigned long steps = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	struct sr_hostile h;
	int rc;

	if (argc < 3 || argc > 5) {
		fprintf(stderr, "usage: %s ADDRESS DEVID [SEED [STEPS]]\n", argv[0]);
		return 2;
	}
	rc = sr_hostile_open(argv[1], (uint32_t)strtoul(argv[2], NULL, 0), &h);
	if (rc) {
		fprintf(stderr, "%s: %s\n", argv[1], strerror(-rc));
		return 1;
	}
	for (unsigned long done = 0; !rc && (!steps || done < steps); done += ROUND) {
		unsigned long count = steps && steps - done < ROUND ? steps - done : ROUND;

		/* Each round has a seed of its own, so that the last one can be run alone. */
		printf("seed %llu, %lu steps\n", (unsigned long long)seed, count);
		fflush(stdout);
		rc = sr_hostile_random(&h, seed++, count);
	}
	sr_hostile_close(&h);
	return rc ? 1 : 0;
}
