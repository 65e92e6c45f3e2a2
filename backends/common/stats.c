/* SPDX-License-Identifier: MIT */
#include <common/stats.h>

uint64_t sr_latency_bucket_end(unsigned bucket)
{
	unsigned log, quarter;

	if (bucket == 0)
		return 256;
	if (bucket >= SR_LATENCY_BUCKETS - 1)
		return UINT64_MAX;
	log = (bucket - 1) / 4 + 8;
	quarter = (bucket - 1) % 4 + 1;
	return ((uint64_t)1 << log) + ((uint64_t)quarter << (log - 2));
}

uint64_t sr_latency_percentile(const uint64_t latency[SR_LATENCY_BUCKETS], double percent)
{
	uint64_t total = 0, seen = 0, last = 0;

	for (unsigned i = 0; i < SR_LATENCY_BUCKETS; i++)
		total += latency[i];
	for (unsigned i = 0; i < SR_LATENCY_BUCKETS; i++) {
		if (!latency[i])
			continue;
		seen += latency[i];
		last = sr_latency_bucket_end(i);
		if ((double)seen >= (double)total * percent / 100.0)
			break;
	}
	return last;
}

void sr_blk_stats_add(struct sr_blk_stats *sum, const struct sr_blk_stats *from)
{
	/* Nothing but counters, so it is an array of them. */
	const uint64_t *f = (const uint64_t *)(const void *)from;
	uint64_t *s = (uint64_t *)(void *)sum;

	_Static_assert(sizeof(*sum) % sizeof(uint64_t) == 0, "only counters");
	for (unsigned i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
		s[i] += sr_stat_get(&f[i]);
}

const char *sr_stat_error_name(enum sr_stat_error error)
{
	static const char *const names[SR_STAT_ERRORS] = {
		[SR_STAT_ERR_MALFORMED] = "malformed", [SR_STAT_ERR_RANGE] = "range",
		[SR_STAT_ERR_READ_ONLY] = "read-only", [SR_STAT_ERR_UNSUPPORTED] = "unsupported",
		[SR_STAT_ERR_GRANT] = "grant",         [SR_STAT_ERR_IO] = "io",
		[SR_STAT_ERR_RING] = "ring",
	};

	return error < SR_STAT_ERRORS ? names[error] : "unknown";
}

const char *sr_stat_op_name(enum sr_stat_op op)
{
	static const char *const names[SR_STAT_OPS] = {
		[SR_STAT_READ] = "read",       [SR_STAT_WRITE] = "write",
		[SR_STAT_FLUSH] = "flush",     [SR_STAT_BARRIER] = "barrier",
		[SR_STAT_DISCARD] = "discard",
	};

	return op < SR_STAT_OPS ? names[op] : "unknown";
}
