/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_RATE_H
#define SR_NET_RATE_H

/*
 * What a vif may send: so many bytes each interval, as Xen's `rate` has it. Beyond it nothing is
 * taken from the guest's ring, so the guest waits and loses nothing. (rte_meter tells one thread
 * the colour of a packet that has been taken already; this tells several whether to take more.)
 *
 * Threads: the queues of the vif, at the same time.
 */

#include <stdbool.h>
#include <stdint.h>

struct sr_rate {
	uint64_t bytes, interval_ns; /* bytes 0: no limit */
	int64_t credit;              /* below 0 by what the last burst took too much */
	uint64_t filled;             /* ns */
} __attribute__((aligned(64)));

/* The bytes that may be taken now; 0: none. */
static inline uint64_t sr_rate_credit(struct sr_rate *rate, uint64_t now)
{
	uint64_t filled = __atomic_load_n(&rate->filled, __ATOMIC_RELAXED);
	int64_t credit = __atomic_load_n(&rate->credit, __ATOMIC_RELAXED);

	/* In steps of a sixteenth, so that rounding takes nothing away. */
	if ((int64_t)(now - filled) >= (int64_t)(rate->interval_ns / 16) &&
	    __atomic_compare_exchange_n(&rate->filled, &filled, now, false, __ATOMIC_RELAXED,
					__ATOMIC_RELAXED)) {
		uint64_t passed = now - filled;
		int64_t more, room = (int64_t)rate->bytes - credit;

		more = passed >= rate->interval_ns * 1024
			   ? INT64_MAX
			   : (int64_t)((unsigned __int128)passed * rate->bytes / rate->interval_ns);
		/* What was not used is not saved up beyond one interval. */
		credit =
		    __atomic_add_fetch(&rate->credit, more < room ? more : room, __ATOMIC_RELAXED);
	}
	return credit > 0 ? (uint64_t)credit : 0;
}

static inline void sr_rate_take(struct sr_rate *rate, uint64_t bytes)
{
	__atomic_sub_fetch(&rate->credit, (int64_t)bytes, __ATOMIC_RELAXED);
}

#endif
