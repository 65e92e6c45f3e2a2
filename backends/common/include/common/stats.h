/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_STATS_H
#define SR_COMMON_STATS_H

/*
 * Counters of one block queue. The queue's thread alone writes them, any thread may read them:
 * each counter is a relaxed atomic, so a reader sees no torn value but gets no snapshot of all of
 * them at one instant. They never go down while the queue lives.
 */

#include <stdint.h>

enum sr_stat_op {
	SR_STAT_READ,
	SR_STAT_WRITE,
	SR_STAT_FLUSH,
	SR_STAT_BARRIER,
	SR_STAT_DISCARD,
	SR_STAT_OPS,
};

/* Why a request was answered with an error, or a device disconnected. */
enum sr_stat_error {
	SR_STAT_ERR_MALFORMED,   /* segment counts, sectors outside of the page, nesting */
	SR_STAT_ERR_RANGE,       /* beyond the disk's end */
	SR_STAT_ERR_READ_ONLY,   /* a write to a read-only disk */
	SR_STAT_ERR_UNSUPPORTED, /* unknown operation, or one that was not offered */
	SR_STAT_ERR_GRANT,       /* a reference that can't be mapped or copied */
	SR_STAT_ERR_IO,          /* the driver's answer */
	SR_STAT_ERR_RING,        /* impossible index: the device was disconnected */
	SR_STAT_ERRORS,
};

/*
 * Latency buckets: a power of two of nanoseconds, each split in four, beginning at 256 ns; the last
 * one holds all that is slower (about 17 s).
 */
#define SR_LATENCY_BUCKETS 108u

struct sr_blk_stats {
	uint64_t requests[SR_STAT_OPS]; /* answered, by what the guest asked for */
	uint64_t bytes_read, bytes_written, bytes_discarded;
	uint64_t errors[SR_STAT_ERRORS];
	uint64_t events_received;   /* of our event channel */
	uint64_t events_sent;       /* to the frontend */
	uint64_t events_suppressed; /* batches of responses that needed none */
	uint64_t batches;           /* times that requests were taken */
	uint64_t sleeps;            /* times that this queue went idle */
	uint64_t indirect;          /* requests with indirect segments */
	uint64_t persistent_hits, persistent_maps, persistent_purged;
	uint64_t maps, copies; /* pages mapped for one request, pages copied */
	uint64_t rmw;          /* writes that were turned into read-modify-write */
	uint64_t held;         /* requests that had to wait for order or for memory */
	uint64_t recovered;    /* requests taken over from a process that died */
	uint64_t latency[SR_LATENCY_BUCKETS]; /* from taken to answered */
};

static inline void sr_stat_add(uint64_t *counter, uint64_t n)
{
	/* One writer, so there is no need for a locked instruction. */
	__atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline uint64_t sr_stat_get(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* The bucket of a latency in nanoseconds. */
static inline unsigned sr_latency_bucket(uint64_t ns)
{
	unsigned log, bucket;

	if (ns < 256)
		return 0;
	log = 63 - (unsigned)__builtin_clzll(ns);
	bucket = (log - 8) * 4 + (unsigned)(ns >> (log - 2) & 3) + 1;
	return bucket < SR_LATENCY_BUCKETS ? bucket : SR_LATENCY_BUCKETS - 1;
}

/* What a bucket ends at, in nanoseconds, exclusive; of the last one: UINT64_MAX. */
uint64_t sr_latency_bucket_end(unsigned bucket);

/* The latency that `percent` (0 to 100) of the requests did not exceed: a bucket's end; 0 if none.
 */
uint64_t sr_latency_percentile(const uint64_t latency[SR_LATENCY_BUCKETS], double percent);

/* Adds what `from` says now to `sum`. */
void sr_blk_stats_add(struct sr_blk_stats *sum, const struct sr_blk_stats *from);

/* A short name of a reason or an operation, for tables and JSON: "malformed", "read". */
const char *sr_stat_error_name(enum sr_stat_error error);
const char *sr_stat_op_name(enum sr_stat_op op);

#endif
