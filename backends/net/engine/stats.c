/* SPDX-License-Identifier: MIT */
#include <net/stats.h>

const char *sr_net_drop_name(enum sr_net_drop reason)
{
	static const char *const names[SR_NET_DROPS] = {
		[SR_NET_DROP_MALFORMED] = "malformed", [SR_NET_DROP_GRANT] = "grant",
		[SR_NET_DROP_CHECKSUM] = "checksum",   [SR_NET_DROP_GSO] = "gso",
		[SR_NET_DROP_TOO_BIG] = "too-big",     [SR_NET_DROP_MEMORY] = "memory",
		[SR_NET_DROP_NO_SLOTS] = "no-slots",   [SR_NET_DROP_FILTER] = "filter",
		[SR_NET_DROP_RATE] = "rate",           [SR_NET_DROP_NO_PORT] = "no-port",
		[SR_NET_DROP_BUSY] = "busy",
	};

	return (unsigned)reason < SR_NET_DROPS ? names[reason] : "unknown";
}

_Static_assert(sizeof(struct sr_net_stats) % sizeof(uint64_t) == 0, "counters only");

void sr_net_stats_add(struct sr_net_stats *sum, const struct sr_net_stats *from)
{
	uint64_t *to = (uint64_t *)(void *)sum;
	const uint64_t *of = (const uint64_t *)(const void *)from;

	for (unsigned i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		sr_stat_add(&to[i], sr_stat_get(&of[i]));
}
