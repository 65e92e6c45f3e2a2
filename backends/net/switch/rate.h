/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_RATE_H
#define SR_NET_RATE_H

/*
 * What a vif may send: so many bytes each interval, as Xen's `rate` has it. A meter of rte_meter
 * tells how many of them are left; beyond it nothing is taken from the guest's ring, so the guest
 * waits and loses nothing. What a burst takes too much is owed, and paid before the next one.
 *
 * Threads: any, each call under the lock; `on` is atomic.
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_meter.h>
#include <rte_spinlock.h>

struct sr_rate {
	bool on;
	rte_spinlock_t lock;
	uint64_t owed; /* bytes */
	struct rte_meter_srtcm meter;
	struct rte_meter_srtcm_profile profile;
} __attribute__((aligned(64)));

/* So many bytes an interval from now (ns) on, and as many at once; 0: no limit. */
void sr_rate_set(struct sr_rate *rate, uint64_t bytes, uint64_t interval_us, uint64_t now);

static inline bool sr_rate_on(const struct sr_rate *rate)
{
	return __atomic_load_n(&rate->on, __ATOMIC_RELAXED);
}

/* The bytes that may be taken now; 0: none. */
uint64_t sr_rate_credit(struct sr_rate *rate, uint64_t now);
/* They were. */
void sr_rate_take(struct sr_rate *rate, uint64_t now, uint64_t bytes);

#endif
