/* SPDX-License-Identifier: MIT */
#include "request.h"

static const struct sr_blk_refusal accepted = { BLKIF_RSP_OKAY, 0 };

static struct sr_blk_refusal refuse(int16_t status, enum sr_stat_error reason)
{
	return (struct sr_blk_refusal){ status, (uint8_t)reason };
}

uint8_t sr_blk_response_operation(const struct sr_blkif_request *req)
{
	/* Frontends compare it with what the indirect request wraps. */
	return req->operation == BLKIF_OP_INDIRECT ? req->indirect_op : req->operation;
}

/* [sector, sector + count) within the disk, in whole units, without overflow. */
static bool in_disk(const struct sr_blk_disk *disk, uint64_t sector, uint64_t count)
{
	uint64_t sectors = __atomic_load_n(&disk->sectors, __ATOMIC_RELAXED);

	return sector <= sectors && count <= sectors - sector;
}

static bool in_units(const struct sr_blk_disk *disk, uint64_t sector, uint64_t count)
{
	return ((sector | count) & (disk->unit - 1)) == 0;
}

static struct sr_blk_refusal check_discard(const struct sr_blk_disk *disk,
					   const struct sr_blkif_request *req,
					   struct sr_blk_job *job)
{
	if (!disk->discard)
		return refuse(BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
	if (disk->read_only)
		return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_READ_ONLY);
	if (!in_disk(disk, req->sector, req->nr_sectors))
		return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	/* The flag is to be ignored where it was not offered. */
	job->secure = disk->secure_discard && (req->flag & BLKIF_DISCARD_SECURE);
	job->offset = req->sector << SR_SECTOR_SHIFT;
	job->length = req->nr_sectors << SR_SECTOR_SHIFT;
	return accepted;
}

struct sr_blk_refusal sr_blk_check_operation(const struct sr_blk_disk *disk,
					     const struct sr_blkif_request *req,
					     struct sr_blk_job *job)
{
	uint8_t operation = req->operation;

	*job = (struct sr_blk_job){ .op = SR_STAT_READ };
	if (operation == BLKIF_OP_INDIRECT) {
		if (!disk->max_segments)
			return refuse(BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
		operation = req->indirect_op;
		/* The decoder marks it malformed if it is anything but these. */
		if (operation == BLKIF_OP_WRITE)
			job->op = SR_STAT_WRITE;
		if (req->malformed || req->nr_segments == 0 ||
		    req->nr_segments > disk->max_segments)
			return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
	}
	switch (operation) {
	case BLKIF_OP_READ:
		break;
	case BLKIF_OP_WRITE:
		job->op = SR_STAT_WRITE;
		break;
	case BLKIF_OP_WRITE_BARRIER:
		job->op = SR_STAT_BARRIER;
		if (!disk->barrier)
			return refuse(BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
		break;
	case BLKIF_OP_FLUSH_DISKCACHE:
		job->op = SR_STAT_FLUSH;
		if (!disk->flush_feature)
			return refuse(BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
		break;
	case BLKIF_OP_DISCARD:
		job->op = SR_STAT_DISCARD;
		return check_discard(disk, req, job);
	default:
		return refuse(BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
	}
	if (req->malformed)
		return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
	/* A flush or a barrier may come without data, and may then go to a read-only disk. */
	if (req->nr_segments == 0 && job->op != SR_STAT_FLUSH && job->op != SR_STAT_BARRIER)
		return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
	if (disk->read_only && job->op != SR_STAT_READ && req->nr_segments)
		return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_READ_ONLY);
	return accepted;
}

struct sr_blk_refusal sr_blk_check_segments(const struct sr_blk_disk *disk, uint64_t sector,
					    const struct blkif_request_segment *segs,
					    unsigned count, struct sr_blk_job *job)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++) {
		if (segs[i].first_sect > segs[i].last_sect || segs[i].last_sect >= SR_PAGE_SECTORS)
			return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
		total += segs[i].last_sect - segs[i].first_sect + 1u;
	}
	/* Without data the sector means nothing. */
	if (count == 0)
		return accepted;
	if (!in_disk(disk, sector, total))
		return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	if (!in_units(disk, sector, total))
		return refuse(BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
	job->offset = sector << SR_SECTOR_SHIFT;
	job->length = total << SR_SECTOR_SHIFT;
	return accepted;
}
