/* SPDX-License-Identifier: MIT */
#ifndef SR_TEST_RECORD_STORE_H
#define SR_TEST_RECORD_STORE_H

/* Before each store to the record the process may die. */

#include <stdint.h>

#include "crash.h"

static inline void sr_record_store(uint64_t *p, uint64_t v)
{
	crash_point();
	*p = v;
}

#endif
