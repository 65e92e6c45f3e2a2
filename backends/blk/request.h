/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_REQUEST_H
#define SR_BLK_REQUEST_H

/*
 * What a request asks for, and whether it may. Pure functions of copies: nothing here reads what a
 * guest can still write.
 */

#include <stdbool.h>
#include <stdint.h>

#include <common/stats.h>
#include <ring/blkif.h>

#define SR_SECTOR_SHIFT 9
#define SR_PAGE_SECTORS 8u

/* What the guest was told of its disk. */
struct sr_blk_disk {
	uint64_t sectors;      /* atomic: it changes with a resize */
	uint32_t unit;         /* sectors: offsets and lengths are multiples of it; 1 or 8 */
	uint32_t max_segments; /* of an indirect request; 0: none are offered */
	bool read_only;
	bool barrier, flush_feature;
	bool discard, secure_discard;
	/* The driver's side. */
	uint32_t block;     /* bytes, its logical block */
	uint32_t alignment; /* bytes, of memory, at least 1 */
	bool flush;         /* the driver's flush does something */
};

/* What is to be done. */
struct sr_blk_job {
	uint64_t offset, length; /* bytes; 0 and 0 where there are no data */
	enum sr_stat_op op;
	bool secure;
};

/* Why not: the status for the guest, and what is counted. */
struct sr_blk_refusal {
	int16_t status; /* BLKIF_RSP_*; BLKIF_RSP_OKAY: not refused */
	uint8_t reason; /* enum sr_stat_error */
};

/*
 * The operation alone, as soon as the request is there: sets job->op and job->secure, and all of a
 * discard. An INDIRECT comes out as what it wraps.
 */
struct sr_blk_refusal sr_blk_check_operation(const struct sr_blk_disk *disk,
					     const struct sr_blkif_request *req,
					     struct sr_blk_job *job);

/* The segments, inline or copied from indirect pages: sets job->offset and job->length. */
struct sr_blk_refusal sr_blk_check_segments(const struct sr_blk_disk *disk, uint64_t sector,
					    const struct blkif_request_segment *segs,
					    unsigned count, struct sr_blk_job *job);

/* What stands as operation in the response. */
uint8_t sr_blk_response_operation(const struct sr_blkif_request *req);

#endif
