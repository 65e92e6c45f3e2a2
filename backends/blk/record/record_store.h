/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_RECORD_STORE_H
#define SR_BLK_RECORD_STORE_H

/*
 * The stores to a queue's record whose order recovery depends on. The test of recovery puts a
 * header of this name in front of this one and kills the backend before each of them.
 */

#include <stdint.h>

/* After all stores to the record that stand before it in the program. */
static inline void sr_record_store(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
	/* And before those behind it: only the compiler could change that, see ledger.h. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

#endif
