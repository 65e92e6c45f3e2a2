/* SPDX-License-Identifier: MIT */
#include "rate.h"

#include <rte_common.h>
#include <rte_cycles.h>

#define MAX_RATE   (UINT64_C(1) << 40) /* bytes a second: nobody comes near */
#define MAX_BURST  (UINT64_C(1) << 50)
#define MAX_CHARGE (UINT32_C(1) << 31) /* of one call of the meter's */

/* The meter counts in cycles. */
static uint64_t cycles(uint64_t ns)
{
	return (uint64_t)((unsigned __int128)ns * rte_get_tsc_hz() / NS_PER_S);
}

void sr_rate_set(struct sr_rate *rate, uint64_t bytes, uint64_t interval_us, uint64_t now)
{
	unsigned __int128 a_second =
	    interval_us ? (unsigned __int128)bytes * US_PER_S / interval_us : 0;
	struct rte_meter_srtcm_params params = {
		.cir = a_second > MAX_RATE ? MAX_RATE : RTE_MAX((uint64_t)a_second, 1u),
		/* What is not used is not saved up beyond one interval. */
		.cbs = RTE_MIN(bytes, MAX_BURST),
	};
	bool on = bytes != 0;

	rte_spinlock_lock(&rate->lock);
	rate->owed = 0;
	/* They fail only for a rate, or a burst, of nothing. */
	if (on)
		on = !rte_meter_srtcm_profile_config(&rate->profile, &params) &&
		     !rte_meter_srtcm_config(&rate->meter, &rate->profile);
	/* In our caller's clock. */
	rate->meter.time = cycles(now);
	__atomic_store_n(&rate->on, on, __ATOMIC_RELAXED);
	rte_spinlock_unlock(&rate->lock);
}

/* Pays what is owed, as far as the meter has it. */
static void pay(struct sr_rate *rate, uint64_t now)
{
	uint64_t time = cycles(now), part;

	/* The lanes' clocks are not read at the same time. To the meter a step back is an age. */
	if ((int64_t)(time - rate->meter.time) < 0)
		time = rate->meter.time;
	rte_meter_srtcm_color_blind_check(&rate->meter, &rate->profile, time, 0);
	while (rate->owed && rate->meter.tc) {
		part = RTE_MIN(RTE_MIN(rate->owed, rate->meter.tc), MAX_CHARGE);
		rte_meter_srtcm_color_blind_check(&rate->meter, &rate->profile, time,
						  (uint32_t)part);
		rate->owed -= part;
	}
}

uint64_t sr_rate_credit(struct sr_rate *rate, uint64_t now)
{
	uint64_t credit;

	rte_spinlock_lock(&rate->lock);
	pay(rate, now);
	credit = rate->owed ? 0 : rate->meter.tc;
	rte_spinlock_unlock(&rate->lock);
	return credit;
}

void sr_rate_take(struct sr_rate *rate, uint64_t now, uint64_t bytes)
{
	rte_spinlock_lock(&rate->lock);
	rate->owed += bytes;
	pay(rate, now);
	rte_spinlock_unlock(&rate->lock);
}
