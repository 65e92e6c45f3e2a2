/* SPDX-License-Identifier: MIT */
#ifndef SR_RING_ATOMIC_H
#define SR_RING_ATOMIC_H

/*
 * Every access to memory that the other end of a ring can write, in one place.
 *
 * Each load happens exactly once: the compiler can neither repeat nor invent one, so what was
 * checked is what is used. No ordering is implied unless the name says so. Pointers are naturally
 * aligned.
 *
 * The model checker of tests/unit/ring puts a header of this name in front of this one and runs
 * the ring's code over a simulated weak memory.
 */

#include <stdint.h>

static inline uint32_t sr_ring_load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint64_t sr_ring_load64(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint32_t sr_ring_load_acquire(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void sr_ring_store(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void sr_ring_store64(uint64_t *p, uint64_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void sr_ring_store_release(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/*
 * A full fence: the stores before it are seen by all before the loads after it are done. The only
 * dear operation here; it waits until the lines that were stored to have arrived.
 */
static inline void sr_ring_fence(void)
{
	/* gcc says that its TSan doesn't model fences; no data race depends on this one. */
#pragma GCC diagnostic push
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#pragma GCC diagnostic pop
}

/* Asks for the line of `p` to read it. A hint: any address will do. */
static inline void sr_ring_prefetch(const void *p)
{
	__builtin_prefetch(p);
}

/*
 * Asks for the line of `p` to write it, be it after a read: taking it away from the other core at
 * once saves a second transfer. By hand, as compilers emit this instruction only when told that
 * the processor has it; where it hasn't, x86-64 ignores it.
 */
static inline void sr_ring_prefetch_write(void *p)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1);
#endif
}

#endif
