/* SPDX-License-Identifier: MIT */
/* Requests that can't be right: each gets its error, and the device goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <hypervisor.h>

#include "rig.h"

enum { DISK_SECTORS = (16 << 20) / 512 };

struct fixture {
	uint16_t domid;
	struct sr_hostile h;
};

static void start(struct fixture *f, const char *mode, enum sr_blkif_abi abi, bool persistent)
{
	rig_begin();
	f->domid = rig_guest(RIG_RAM, mode);
	rig_open(f->domid, &f->h);
	f->h.persistent = persistent;
	assert_int_equal(sr_hostile_connect(&f->h, 0, abi, RIG_TIMEOUT_MS), 0);
}

static int setup(void **state)
{
	static struct fixture f;

	start(&f, "w", SR_BLKIF_ABI_NATIVE, false);
	*state = &f;
	return 0;
}

static int setup_x86_32(void **state)
{
	static struct fixture f;

	start(&f, "w", SR_BLKIF_ABI_X86_32, false);
	*state = &f;
	return 0;
}

static int setup_persistent(void **state)
{
	static struct fixture f;

	start(&f, "w", SR_BLKIF_ABI_NATIVE, true);
	*state = &f;
	return 0;
}

static int setup_read_only(void **state)
{
	static struct fixture f;

	start(&f, "r", SR_BLKIF_ABI_NATIVE, false);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sr_hostile_close(&f->h);
	rig_end(f->domid);
	return 0;
}

static void fails(struct sr_hostile *h, struct sr_blkif_request req)
{
	rig_answer(h, &req, BLKIF_RSP_ERROR);
}

static void succeeds(struct sr_hostile *h, struct sr_blkif_request req)
{
	rig_answer(h, &req, BLKIF_RSP_OKAY);
}

/* Puts a request whose first word is `head`, and wants `status` for it. */
static void answers_head(struct sr_hostile *h, struct sr_blkif_request req, uint32_t head,
			 int16_t status)
{
	struct blkif_response rsp;

	sr_hostile_put_head(h, &req, head);
	assert_int_equal(sr_hostile_kick(h), 0);
	assert_int_equal(sr_hostile_response(h, RIG_TIMEOUT_MS, &rsp), 0);
	assert_int_equal(rsp.id, req.id);
	/* That of an indirect request is what it wraps. */
	assert_int_equal(rsp.operation,
			 (uint8_t)((uint8_t)head == BLKIF_OP_INDIRECT ? head >> 8 : head));
	assert_int_equal(rsp.status, status);
}

static void sectors_out_of_the_page(void **state)
{
	static const uint8_t bad[][2] = { { 0, 8 },   { 8, 8 },   { 5, 2 },     { 7, 0 },
					  { 0, 255 }, { 255, 0 }, { 255, 255 }, { 1, 0 } };
	struct sr_hostile *h = &((struct fixture *)*state)->h;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned op = BLKIF_OP_READ; op <= BLKIF_OP_WRITE; op++) {
			for (unsigned at = 0; at < 3; at += 2) {
				struct sr_blkif_request req =
				    sr_hostile_request(h, (uint8_t)op, 0, 3);

				req.segs[at].first_sect = bad[i][0];
				req.segs[at].last_sect = bad[i][1];
				fails(h, req);
			}
		}
	}
	rig_io_works(h);
}

static void beyond_the_end(void **state)
{
	static const uint64_t sectors[] = {
		DISK_SECTORS,     DISK_SECTORS - 7,     DISK_SECTORS + 1, UINT64_MAX,
		UINT64_MAX - 7,   UINT64_MAX - 8,       1ull << 63,       1ull << 55,
		(1ull << 55) - 1, 1ull << 54,           1ull << 32,       INT64_MAX,
		UINT64_MAX / 512, UINT64_MAX / 512 - 7,
	};
	struct sr_hostile *h = &((struct fixture *)*state)->h;

	for (unsigned i = 0; i < sizeof(sectors) / sizeof(sectors[0]); i++) {
		fails(h, sr_hostile_request(h, BLKIF_OP_READ, sectors[i], 1));
		fails(h, sr_hostile_request(h, BLKIF_OP_WRITE, sectors[i], 1));
		fails(h, sr_hostile_indirect(h, BLKIF_OP_READ, sectors[i], 64));
	}
	/* The last one that fits does. */
	succeeds(h, sr_hostile_request(h, BLKIF_OP_READ, DISK_SECTORS - 8, 1));
	rig_io_works(h);
}

static void discard_beyond_the_end(void **state)
{
	static const struct {
		uint64_t sector, count;
	} rows[] = {
		{ 0, DISK_SECTORS + 1 }, { DISK_SECTORS, 1 },        { 8, UINT64_MAX },
		{ UINT64_MAX, 1 },       { UINT64_MAX, UINT64_MAX }, { 1ull << 63, 1ull << 63 },
		{ 8, UINT64_MAX - 7 },   { 0, 1ull << 55 },          { 1ull << 55, 8 },
	};
	struct sr_hostile *h = &((struct fixture *)*state)->h;

	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sr_blkif_request req =
		    sr_hostile_request(h, BLKIF_OP_DISCARD, rows[i].sector, 0);

		req.nr_sectors = rows[i].count;
		fails(h, req);
		req.flag = BLKIF_DISCARD_SECURE | 0xf0;
		req.id = h->next_id++;
		fails(h, req);
	}
	rig_io_works(h);
}

static void too_many_or_too_few_segments(void **state)
{
	static const uint32_t counts[] = { 12, 13, 64, 128, 255 };
	struct sr_hostile *h = &((struct fixture *)*state)->h;

	for (uint32_t op = BLKIF_OP_READ; op <= BLKIF_OP_WRITE; op++) {
		fails(h, sr_hostile_request(h, (uint8_t)op, 0, 0));
		for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
			answers_head(h, sr_hostile_request(h, (uint8_t)op, 0, 11),
				     op | counts[i] << 8, BLKIF_RSP_ERROR);
	}
	answers_head(h, sr_hostile_request(h, BLKIF_OP_FLUSH_DISKCACHE, 0, 11),
		     BLKIF_OP_FLUSH_DISKCACHE | 255 << 8, BLKIF_RSP_ERROR);
	rig_io_works(h);
}

static void indirect_counts(void **state)
{
	struct sr_hostile *h = &((struct fixture *)*state)->h;
	uint32_t most = (uint32_t)sr_hostile_backend_number(h, "feature-max-indirect-segments", 0);
	const uint32_t counts[] = { 0, most + 1, 4096, 4097, 65535 };

	assert_true(most > 11);
	for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		for (uint32_t op = BLKIF_OP_READ; op <= BLKIF_OP_WRITE; op++)
			answers_head(h, sr_hostile_indirect(h, (uint8_t)op, 0, most),
				     BLKIF_OP_INDIRECT | op << 8 | counts[i] << 16,
				     BLKIF_RSP_ERROR);
	succeeds(h, sr_hostile_indirect(h, BLKIF_OP_WRITE, 0, most));
	rig_io_works(h);
}

static void indirect_in_indirect(void **state)
{
	static const uint8_t ops[] = { BLKIF_OP_INDIRECT,
				       BLKIF_OP_WRITE_BARRIER,
				       BLKIF_OP_FLUSH_DISKCACHE,
				       BLKIF_OP_DISCARD,
				       4,
				       7,
				       255 };
	struct sr_hostile *h = &((struct fixture *)*state)->h;

	for (unsigned i = 0; i < sizeof(ops); i++)
		answers_head(h, sr_hostile_indirect(h, BLKIF_OP_READ, 0, 16),
			     BLKIF_OP_INDIRECT | ops[i] << 8 | 16u << 16, BLKIF_RSP_ERROR);
	rig_io_works(h);
}

/* Changes one segment of the indirect page before the request goes. */
static void indirect_segment_fails(struct sr_hostile *h, unsigned at,
				   struct blkif_request_segment seg)
{
	struct sr_blkif_request req = sr_hostile_indirect(h, BLKIF_OP_WRITE, 0, 32);

	sr_blkif_put_segments(h->data + (SR_HOSTILE_PAGES - 1) * SR_PAGE_SIZE + at * 8, &seg, 1);
	fails(h, req);
}

static void bad_segments_in_an_indirect_page(void **state)
{
	struct sr_hostile *h = &((struct fixture *)*state)->h;
	uint32_t good = h->data_refs[0], none = h->lowest_ref;

	for (unsigned at = 0; at < 32; at += 31) {
		indirect_segment_fails(h, at, (struct blkif_request_segment){ good, 0, 8 });
		indirect_segment_fails(h, at, (struct blkif_request_segment){ good, 3, 2 });
		indirect_segment_fails(h, at, (struct blkif_request_segment){ good, 255, 255 });
		indirect_segment_fails(h, at, (struct blkif_request_segment){ none, 0, 7 });
		indirect_segment_fails(h, at, (struct blkif_request_segment){ UINT32_MAX, 0, 7 });
	}
	rig_io_works(h);
}

static void unknown_operations(void **state)
{
	struct sr_hostile *h = &((struct fixture *)*state)->h;

	for (unsigned op = 0; op <= 255; op++) {
		struct sr_blkif_request req;

		if (op <= BLKIF_OP_INDIRECT && op != BLKIF_OP_RESERVED_1)
			continue;
		req = sr_hostile_request(h, (uint8_t)op, 0, 1);
		rig_answer(h, &req, BLKIF_RSP_EOPNOTSUPP);
	}
	rig_io_works(h);
}

/* References that are not granted, not for this, or not for us. */
static void bad_references(void **state)
{
	struct fixture *f = *state;
	struct sr_hostile *h = &f->h;
	uint32_t bad[] = { h->lowest_ref, h->lowest_ref + 1, 7, 30000, 0x80000000u, UINT32_MAX, 0 };
	uint32_t other;
	void *page;

	assert_int_equal(sr_gntshr_share(h->gs, f->domid, 1, true, &other, &page), 0);
	bad[6] = other;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned at = 0; at < 11; at += 5) {
			struct sr_blkif_request req = sr_hostile_request(h, BLKIF_OP_READ, 0, 11);

			req.segs[at].gref = bad[i];
			fails(h, req);
			req.operation = BLKIF_OP_WRITE;
			req.id = h->next_id++;
			fails(h, req);
		}
		struct sr_blkif_request indirect = sr_hostile_indirect(h, BLKIF_OP_WRITE, 0, 40);

		indirect.grefs[0] = bad[i];
		fails(h, indirect);
	}
	assert_int_equal(sr_gntshr_unshare(h->gs, page, 1), 0);
	rig_io_works(h);
}

/* A read writes to the guest's page: that page must be granted for it. A write needs no more. */
static void page_granted_for_reading_only(void **state)
{
	struct sr_hostile *h = &((struct fixture *)*state)->h;
	struct sr_blkif_request req = sr_hostile_request(h, BLKIF_OP_WRITE, 0, 1);

	req.segs[0].gref = h->readonly_ref;
	memset(h->readonly, 0x77, SR_PAGE_SIZE);
	rig_answer(h, &req, BLKIF_RSP_OKAY);
	req = sr_hostile_request(h, BLKIF_OP_READ, 8, 1);
	req.segs[0].gref = h->readonly_ref;
	fails(h, req);
	for (unsigned i = 0; i < SR_PAGE_SIZE; i++)
		assert_int_equal(h->readonly[i], 0x77);
	rig_io_works(h);
}

/* The ring's own pages as a buffer: the guest's own trouble, and nobody else's. */
static void ring_as_buffer(void **state)
{
	struct fixture *f = *state;
	struct sr_blkif_request req = sr_hostile_request(&f->h, BLKIF_OP_READ, 0, 1);

	req.segs[0].gref = f->h.ring_refs[0];
	sr_hostile_put(&f->h, &req);
	assert_int_equal(sr_hostile_kick(&f->h), 0);
	rig_others_go_on();
	rig_reconnects(&f->h);
}

static void one_page_in_every_segment(void **state)
{
	struct sr_hostile *h = &((struct fixture *)*state)->h;
	struct sr_blkif_request req = sr_hostile_request(h, BLKIF_OP_WRITE, 0, 11);

	for (unsigned i = 0; i < 11; i++)
		req.segs[i].gref = h->data_refs[3];
	succeeds(h, req);
	req.operation = BLKIF_OP_READ;
	req.id = h->next_id++;
	succeeds(h, req);
	rig_io_works(h);
}

static void same_id_again_and_again(void **state)
{
	struct sr_hostile *h = &((struct fixture *)*state)->h;
	struct blkif_response rsp;

	for (unsigned i = 0; i < 32; i++) {
		struct sr_blkif_request req = sr_hostile_request(h, BLKIF_OP_READ, 0, 1);

		req.id = UINT64_MAX;
		sr_hostile_put(h, &req);
	}
	assert_int_equal(sr_hostile_kick(h), 0);
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(sr_hostile_response(h, RIG_TIMEOUT_MS, &rsp), 0);
		assert_int_equal(rsp.id, UINT64_MAX);
		assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
	}
	rig_io_works(h);
}

/* More pages than the backend keeps: it lets go of the oldest, and the guest gets none back early.
 */
static void more_persistent_grants_than_are_kept(void **state)
{
	enum { PAGES = 1056 + 200, EACH = 11 };
	struct fixture *f = *state;
	struct sr_hostile *h = &f->h;
	uint32_t refs[PAGES];
	void *pages;

	assert_int_equal(sr_gntshr_share(h->gs, 0, PAGES, true, refs, &pages), 0);
	for (unsigned i = 0; i + EACH <= PAGES; i += EACH) {
		struct sr_blkif_request req = sr_hostile_request(h, BLKIF_OP_READ, 0, EACH);

		for (unsigned k = 0; k < EACH; k++)
			req.segs[k].gref = refs[i + k];
		succeeds(h, req);
	}
	assert_true(rig_mapped(f->domid) <= 1056 + 1);
	assert_int_equal(sr_gntshr_unshare(h->gs, pages, PAGES), rig_unshare_in_use());
	rig_io_works(h);
	if (!rig_unshare_in_use())
		return;
	assert_int_equal(sr_hostile_reset(h, RIG_TIMEOUT_MS), 0);
	assert_int_equal(rig_mapped(f->domid), 0);
	assert_int_equal(sr_gntshr_unshare(h->gs, pages, PAGES), 0);
}

/* A page that is kept mapped for writing was granted for it; this one never is. */
static void persistent_page_granted_for_reading_only(void **state)
{
	struct sr_hostile *h = &((struct fixture *)*state)->h;
	struct sr_blkif_request req;

	for (unsigned i = 0; i < 3; i++) {
		memset(h->readonly, 0x77, SR_PAGE_SIZE);
		req = sr_hostile_request(h, BLKIF_OP_READ, 0, 1);
		req.segs[0].gref = h->readonly_ref;
		fails(h, req);
		for (unsigned k = 0; k < SR_PAGE_SIZE; k++)
			assert_int_equal(h->readonly[k], 0x77);
	}
	rig_io_works(h);
}

static void writes_to_a_read_only_disk(void **state)
{
	struct sr_hostile *h = &((struct fixture *)*state)->h;
	struct sr_blkif_request req;
	int status;

	fails(h, sr_hostile_request(h, BLKIF_OP_WRITE, 0, 1));
	fails(h, sr_hostile_request(h, BLKIF_OP_WRITE_BARRIER, 0, 1));
	fails(h, sr_hostile_indirect(h, BLKIF_OP_WRITE, 0, 20));
	req = sr_hostile_request(h, BLKIF_OP_DISCARD, 0, 0);
	req.nr_sectors = 8;
	assert_int_equal(sr_hostile_io(h, &req, RIG_TIMEOUT_MS, &status), 0);
	assert_int_not_equal(status, BLKIF_RSP_OKAY);
	succeeds(h, sr_hostile_request(h, BLKIF_OP_READ, 0, 1));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define CASE_PERSISTENT(name)                                                                      \
	{                                                                                          \
#name "_persistent", name, setup_persistent, teardown, NULL                        \
	}
#define CASE_32(name)                                                                              \
	{                                                                                          \
#name "_x86_32", name, setup_x86_32, teardown, NULL                                \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(sectors_out_of_the_page),
		CASE_32(sectors_out_of_the_page),
		CASE(beyond_the_end),
		CASE_32(beyond_the_end),
		CASE(discard_beyond_the_end),
		CASE_32(discard_beyond_the_end),
		CASE(too_many_or_too_few_segments),
		CASE_32(too_many_or_too_few_segments),
		CASE(indirect_counts),
		CASE_32(indirect_counts),
		CASE(indirect_in_indirect),
		CASE_32(indirect_in_indirect),
		CASE(bad_segments_in_an_indirect_page),
		CASE(unknown_operations),
		CASE_32(unknown_operations),
		CASE(bad_references),
		CASE(page_granted_for_reading_only),
		CASE(ring_as_buffer),
		CASE(one_page_in_every_segment),
		CASE(same_id_again_and_again),
		CASE_PERSISTENT(sectors_out_of_the_page),
		CASE_PERSISTENT(beyond_the_end),
		CASE_PERSISTENT(bad_segments_in_an_indirect_page),
		CASE_PERSISTENT(bad_references),
		CASE_PERSISTENT(ring_as_buffer),
		CASE_PERSISTENT(one_page_in_every_segment),
		CASE_PERSISTENT(more_persistent_grants_than_are_kept),
		CASE_PERSISTENT(persistent_page_granted_for_reading_only),
		cmocka_unit_test_setup_teardown(writes_to_a_read_only_disk, setup_read_only,
						teardown),
	};

	return cmocka_run_group_tests_name("hostile requests", tests, rig_start, rig_stop);
}
