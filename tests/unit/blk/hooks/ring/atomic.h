/* SPDX-License-Identifier: MIT */
#ifndef SR_TEST_RING_ATOMIC_H
#define SR_TEST_RING_ATOMIC_H

/* The real one, with a possible death before each store to the ring. */

#define sr_ring_store         sr_ring_store_real
#define sr_ring_store64       sr_ring_store64_real
#define sr_ring_store_release sr_ring_store_release_real
#include_next <ring/atomic.h>
#undef sr_ring_store
#undef sr_ring_store64
#undef sr_ring_store_release

#include "../crash.h"

static inline void sr_ring_store(uint32_t *p, uint32_t v)
{
	crash_point();
	sr_ring_store_real(p, v);
}

static inline void sr_ring_store64(uint64_t *p, uint64_t v)
{
	crash_point();
	sr_ring_store64_real(p, v);
}

static inline void sr_ring_store_release(uint32_t *p, uint32_t v)
{
	crash_point();
	sr_ring_store_release_real(p, v);
}

#endif
