/* SPDX-License-Identifier: MIT */
/* What a guest may ask of its disk, bound by bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "request.h"

static struct sr_blk_disk disk;
static struct sr_blk_job job;

static int setup(void **state)
{
	disk = (struct sr_blk_disk){
		.sectors = 1000,
		.unit = 1,
		.max_segments = 256,
		.barrier = true,
		.flush_feature = true,
		.discard = true,
		.secure_discard = true,
		.block = 512,
		.alignment = 1,
	};
	return 0;
}

static void expect(struct sr_blk_refusal r, int status, enum sr_stat_error reason)
{
	assert_int_equal(r.status, status);
	if (status)
		assert_int_equal(r.reason, reason);
}

static struct sr_blk_refusal check(uint8_t operation, uint16_t segments)
{
	struct sr_blkif_request req = { .operation = operation, .nr_segments = segments };

	return sr_blk_check_operation(&disk, &req, &job);
}

static void test_operations(void **state)
{
	for (unsigned op = 0; op < 256; op++) {
		bool known = op <= BLKIF_OP_FLUSH_DISKCACHE || op == BLKIF_OP_DISCARD ||
			     op == BLKIF_OP_INDIRECT;

		expect(check((uint8_t)op, 1), known ? 0 : BLKIF_RSP_EOPNOTSUPP,
		       SR_STAT_ERR_UNSUPPORTED);
	}
	check(BLKIF_OP_READ, 1);
	assert_int_equal(job.op, SR_STAT_READ);
	check(BLKIF_OP_WRITE, 1);
	assert_int_equal(job.op, SR_STAT_WRITE);
	check(BLKIF_OP_WRITE_BARRIER, 1);
	assert_int_equal(job.op, SR_STAT_BARRIER);
	check(BLKIF_OP_FLUSH_DISKCACHE, 0);
	assert_int_equal(job.op, SR_STAT_FLUSH);
}

static void test_no_segments(void **state)
{
	expect(check(BLKIF_OP_READ, 0), BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
	expect(check(BLKIF_OP_WRITE, 0), BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
	expect(check(BLKIF_OP_WRITE_BARRIER, 0), 0, 0);
	expect(check(BLKIF_OP_FLUSH_DISKCACHE, 0), 0, 0);
	expect(check(BLKIF_OP_INDIRECT, 0), BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
}

static void test_not_offered(void **state)
{
	disk.barrier = disk.flush_feature = disk.discard = false;
	disk.max_segments = 0;
	expect(check(BLKIF_OP_WRITE_BARRIER, 1), BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
	expect(check(BLKIF_OP_FLUSH_DISKCACHE, 0), BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
	expect(check(BLKIF_OP_DISCARD, 0), BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
	expect(check(BLKIF_OP_INDIRECT, 12), BLKIF_RSP_EOPNOTSUPP, SR_STAT_ERR_UNSUPPORTED);
}

static void test_read_only(void **state)
{
	disk.read_only = true;
	expect(check(BLKIF_OP_READ, 1), 0, 0);
	expect(check(BLKIF_OP_WRITE, 1), BLKIF_RSP_ERROR, SR_STAT_ERR_READ_ONLY);
	expect(check(BLKIF_OP_WRITE_BARRIER, 1), BLKIF_RSP_ERROR, SR_STAT_ERR_READ_ONLY);
	expect(check(BLKIF_OP_FLUSH_DISKCACHE, 1), BLKIF_RSP_ERROR, SR_STAT_ERR_READ_ONLY);
	expect(check(BLKIF_OP_FLUSH_DISKCACHE, 0), 0, 0);
	expect(check(BLKIF_OP_DISCARD, 0), BLKIF_RSP_ERROR, SR_STAT_ERR_READ_ONLY);
}

static void test_indirect(void **state)
{
	struct sr_blkif_request req = { .operation = BLKIF_OP_INDIRECT,
					.indirect_op = BLKIF_OP_WRITE,
					.nr_segments = 256 };

	expect(sr_blk_check_operation(&disk, &req, &job), 0, 0);
	assert_int_equal(job.op, SR_STAT_WRITE);
	assert_int_equal(sr_blk_response_operation(&req), BLKIF_OP_WRITE);
	disk.read_only = true;
	expect(sr_blk_check_operation(&disk, &req, &job), BLKIF_RSP_ERROR, SR_STAT_ERR_READ_ONLY);
	disk.read_only = false;
	req.nr_segments = 257;
	expect(sr_blk_check_operation(&disk, &req, &job), BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
	req.nr_segments = 1;
	req.malformed = true;
	req.indirect_op = BLKIF_OP_INDIRECT;
	expect(sr_blk_check_operation(&disk, &req, &job), BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
}

static void test_discard(void **state)
{
	struct sr_blkif_request req = {
		.operation = BLKIF_OP_DISCARD,
		.flag = 0xff,
		.sector = 10,
		.nr_sectors = 990,
	};

	expect(sr_blk_check_operation(&disk, &req, &job), 0, 0);
	assert_true(job.secure);
	assert_int_equal(job.offset, 5120);
	assert_int_equal(job.length, 990 * 512);
	req.nr_sectors++;
	expect(sr_blk_check_operation(&disk, &req, &job), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	req.nr_sectors = UINT64_MAX - 5;
	expect(sr_blk_check_operation(&disk, &req, &job), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	req.sector = UINT64_MAX;
	req.nr_sectors = 2;
	expect(sr_blk_check_operation(&disk, &req, &job), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	/* Not offered: the flag is ignored, as the header says. */
	disk.secure_discard = false;
	req.sector = 0;
	expect(sr_blk_check_operation(&disk, &req, &job), 0, 0);
	assert_false(job.secure);
}

static struct sr_blk_refusal segment(uint64_t sector, unsigned first, unsigned last)
{
	struct blkif_request_segment s = { .first_sect = (uint8_t)first,
					   .last_sect = (uint8_t)last };

	return sr_blk_check_segments(&disk, sector, &s, 1, &job);
}

static void test_segment_bounds(void **state)
{
	for (unsigned first = 0; first < 256; first += first < 10 ? 1 : 49)
		for (unsigned last = 0; last < 256; last += last < 10 ? 1 : 49)
			expect(segment(0, first, last),
			       first <= last && last < 8 ? 0 : BLKIF_RSP_ERROR,
			       SR_STAT_ERR_MALFORMED);
}

static void test_disk_bounds(void **state)
{
	expect(segment(992, 0, 7), 0, 0);
	assert_int_equal(job.offset, 992 * 512);
	assert_int_equal(job.length, 4096);
	expect(segment(993, 0, 7), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	expect(segment(999, 3, 3), 0, 0);
	expect(segment(1000, 0, 0), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	expect(segment(UINT64_MAX, 0, 0), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	expect(segment(UINT64_MAX - 3, 0, 7), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	/* Times 512 it would be 0 again. */
	expect(segment((uint64_t)1 << 55, 0, 7), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	/* A drive without a medium. */
	disk.sectors = 0;
	expect(segment(0, 0, 0), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
}

static void test_sum(void **state)
{
	struct blkif_request_segment s[256];

	for (unsigned i = 0; i < 256; i++)
		s[i] = (struct blkif_request_segment){ .last_sect = 7 };
	disk.sectors = 2048;
	expect(sr_blk_check_segments(&disk, 0, s, 256, &job), 0, 0);
	assert_int_equal(job.length, 1u << 20);
	expect(sr_blk_check_segments(&disk, 1, s, 256, &job), BLKIF_RSP_ERROR, SR_STAT_ERR_RANGE);
	/* The last one counts as well. */
	s[255].first_sect = 8;
	expect(sr_blk_check_segments(&disk, 0, s, 256, &job), BLKIF_RSP_ERROR,
	       SR_STAT_ERR_MALFORMED);
	expect(sr_blk_check_segments(&disk, UINT64_MAX, s, 0, &job), 0, 0);
}

static void test_big_sectors(void **state)
{
	disk.unit = 8;
	expect(segment(8, 0, 7), 0, 0);
	expect(segment(4, 0, 7), BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
	expect(segment(8, 0, 3), BLKIF_RSP_ERROR, SR_STAT_ERR_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_operations, setup),
		cmocka_unit_test_setup(test_no_segments, setup),
		cmocka_unit_test_setup(test_not_offered, setup),
		cmocka_unit_test_setup(test_read_only, setup),
		cmocka_unit_test_setup(test_indirect, setup),
		cmocka_unit_test_setup(test_discard, setup),
		cmocka_unit_test_setup(test_segment_bounds, setup),
		cmocka_unit_test_setup(test_disk_bounds, setup),
		cmocka_unit_test_setup(test_sum, setup),
		cmocka_unit_test_setup(test_big_sectors, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
