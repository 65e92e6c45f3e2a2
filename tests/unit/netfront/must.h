/* SPDX-License-Identifier: MIT */
#ifndef SR_TEST_MUST_H
#define SR_TEST_MUST_H

#include <stdio.h>
#include <stdlib.h>

/* For what a test needs and doesn't test: in any thread, and in programs that are no test. */
#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#endif
