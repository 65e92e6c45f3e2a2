/* SPDX-License-Identifier: MIT */
#ifndef SR_RING_ATOMIC_H
#define SR_RING_ATOMIC_H

/*
 * Stands in front of ring/include/ring/atomic.h, so that the shipped <ring/index.h> runs over the
 * explorer's simulated memory. Macros, since each operation is known by the function it stands in:
 * that is how the tests take single fences out.
 */

#include "explore.h"

#define sr_ring_load(p)             explore_load((p), false, __func__)
#define sr_ring_load_acquire(p)     explore_load((p), true, __func__)
#define sr_ring_store(p, v)         explore_store((p), (v), false, __func__)
#define sr_ring_store_release(p, v) explore_store((p), (v), true, __func__)
#define sr_ring_fence()             explore_fence(__func__)

#endif
