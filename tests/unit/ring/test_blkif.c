/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <ring/blkif.h>

#include "mirror.h"

#define PAGE 4096u

/* The mirrored structures that describe an ABI, as sizes and as functions that fill a slot. */
struct abi {
	enum sr_blkif_abi abi;
	size_t rw_size, response_size, first_slot;
};

static const struct abi abis[] = {
	{ SR_BLKIF_ABI_NATIVE, sizeof(struct mirror_x86_64_rw),
	  sizeof(struct mirror_x86_64_response), offsetof(struct mirror_x86_64_sring, ring) },
	{ SR_BLKIF_ABI_X86_64, sizeof(struct mirror_x86_64_rw),
	  sizeof(struct mirror_x86_64_response), offsetof(struct mirror_x86_64_sring, ring) },
	{ SR_BLKIF_ABI_ARM, sizeof(struct mirror_x86_64_rw), sizeof(struct mirror_x86_64_response),
	  offsetof(struct mirror_x86_64_sring, ring) },
	{ SR_BLKIF_ABI_X86_32, sizeof(struct mirror_x86_32_rw),
	  sizeof(struct mirror_x86_32_response), offsetof(struct mirror_x86_32_sring, ring) },
};
enum { ABIS = sizeof(abis) / sizeof(abis[0]), MAX_PAGES = 1 << SR_BLKIF_MAX_RING_ORDER };

static uint8_t *pages; /* MAX_PAGES of them, and one behind that can't be touched */

static int setup(void **state)
{
	pages = mmap(NULL, (MAX_PAGES + 1) * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return -1;
	return mprotect(pages + MAX_PAGES * PAGE, PAGE, PROT_NONE);
}

static int teardown(void **state)
{
	return munmap(pages, (MAX_PAGES + 1) * PAGE);
}

#define ID     0x0123456789abcdefu
#define SECTOR 0xfedcba9876543210u

/* One mirrored request of each kind, in both layouts, zero-padded. Returns the bytes in use. */
#define FILLERS(name)                                                                              \
	static size_t fill_rw_##name(void *to, uint8_t op, uint8_t count)                          \
	{                                                                                          \
		struct mirror_##name##_rw r = { .operation = op,                                   \
						.nr_segments = count,                              \
						.handle = 0xca01,                                  \
						.id = ID,                                          \
						.sector = SECTOR };                                \
                                                                                                   \
		for (unsigned i = 0; i < count && i < MIRROR_SEGS; i++)                            \
			r.seg[i] = (struct mirror_seg){ 0xa0000000u + i, (uint8_t)i,               \
							(uint8_t)(7 - i % 8), 0 };                 \
		memcpy(to, &r, sizeof(r));                                                         \
		return offsetof(struct mirror_##name##_rw, seg) + count * 8u;                      \
	}                                                                                          \
	static size_t fill_discard_##name(void *to)                                                \
	{                                                                                          \
		struct mirror_##name##_discard r = { .operation = BLKIF_OP_DISCARD,                \
						     .flag = 1,                                    \
						     .handle = 0xca01,                             \
						     .id = ID,                                     \
						     .sector = SECTOR,                             \
						     .nr_sectors = 0x1122334455667788u };          \
                                                                                                   \
		memcpy(to, &r, sizeof(r));                                                         \
		return sizeof(r);                                                                  \
	}                                                                                          \
	static size_t fill_indirect_##name(void *to, uint8_t op, uint16_t count)                   \
	{                                                                                          \
		struct mirror_##name##_indirect r = { .operation = BLKIF_OP_INDIRECT,              \
						      .indirect_op = op,                           \
						      .nr_segments = count,                        \
						      .id = ID,                                    \
						      .sector = SECTOR,                            \
						      .handle = 0xca01 };                          \
		unsigned used = sr_blkif_indirect_pages(count);                                    \
                                                                                                   \
		for (unsigned i = 0; i < used && i < MIRROR_GREFS; i++)                            \
			r.grefs[i] = 0xb0000000u + i;                                              \
		memcpy(to, &r, sizeof(r));                                                         \
		return offsetof(struct mirror_##name##_indirect, grefs) + used * 4u;               \
	}

FILLERS(x86_64)
FILLERS(x86_32)

static size_t fill_rw(const struct abi *a, void *to, uint8_t op, uint8_t count)
{
	return a->abi == SR_BLKIF_ABI_X86_32 ? fill_rw_x86_32(to, op, count)
					     : fill_rw_x86_64(to, op, count);
}

static size_t fill_discard(const struct abi *a, void *to)
{
	return a->abi == SR_BLKIF_ABI_X86_32 ? fill_discard_x86_32(to) : fill_discard_x86_64(to);
}

static size_t fill_indirect(const struct abi *a, void *to, uint8_t op, uint16_t count)
{
	return a->abi == SR_BLKIF_ABI_X86_32 ? fill_indirect_x86_32(to, op, count)
					     : fill_indirect_x86_64(to, op, count);
}

/*
 * Decodes `used` bytes of a slot that end where memory ends, so that a read beyond what the
 * request needs faults.
 */
static struct sr_blkif_request decode(const struct abi *a, const uint8_t *bytes, size_t used)
{
	/* Slots are aligned as the ring aligns them; bytes up to the alignment may be spare. */
	size_t room = (used + 7) & ~(size_t)7;
	uint8_t *slot = pages + MAX_PAGES * PAGE - (a->abi == SR_BLKIF_ABI_X86_32 ? used : room);
	struct sr_blkif_request req;

	memset(&req, 0x5a, sizeof(req));
	memcpy(slot, bytes, used);
	sr_blkif_decode(slot, sr_blkif_id_offset(a->abi), &req);
	return req;
}

static void check_head(const struct sr_blkif_request *req, uint8_t op)
{
	assert_int_equal(req->operation, op);
	assert_int_equal(req->id, ID);
	assert_int_equal(req->sector, SECTOR);
	assert_int_equal(req->handle, 0xca01);
}

static void check_segments(const struct sr_blkif_request *req, unsigned count)
{
	assert_false(req->malformed);
	assert_int_equal(req->nr_segments, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(req->segs[i].gref, 0xa0000000u + i);
		assert_int_equal(req->segs[i].first_sect, i);
		assert_int_equal(req->segs[i].last_sect, 7 - i % 8);
	}
}

static void sizes_are_xens(void **state)
{
	/* What __CONST_RING_SIZE() says of the mirrored rings. */
	static const uint32_t slots[] = { 32, 64, 128, 256, 512 };

	for (unsigned i = 0; i < ABIS; i++) {
		const struct abi *a = &abis[i];

		assert_int_equal(sr_blkif_slot_size(a->abi), a->rw_size);
		assert_int_equal(a->first_slot, sizeof(struct sr_ring_indices));
		for (unsigned order = 0; order <= SR_BLKIF_MAX_RING_ORDER; order++) {
			uint32_t xen = a->abi == SR_BLKIF_ABI_X86_32
					   ? __CONST_RING_SIZE(mirror_x86_32, PAGE << order)
					   : __CONST_RING_SIZE(mirror_x86_64, PAGE << order);

			assert_int_equal(sr_blkif_ring_size(a->abi, order), xen);
			assert_int_equal(xen, slots[order]);
		}
	}
	assert_int_equal(sr_blkif_ring_size(SR_BLKIF_ABI_NATIVE, 0),
			 __CONST_RING_SIZE(blkif, PAGE));
}

static void protocol_names(void **state)
{
	enum sr_blkif_abi abi;

	assert_int_equal(sr_blkif_abi_parse(NULL, &abi), 0);
	assert_int_equal(abi, SR_BLKIF_ABI_NATIVE);
	for (unsigned i = SR_BLKIF_ABI_X86_32; i <= SR_BLKIF_ABI_ARM; i++) {
		assert_int_equal(sr_blkif_abi_parse(sr_blkif_abi_name(i), &abi), 0);
		assert_int_equal(abi, i);
	}
	assert_string_equal(sr_blkif_abi_name(SR_BLKIF_ABI_NATIVE), XEN_IO_PROTO_ABI_NATIVE);
	assert_int_equal(sr_blkif_abi_parse("", &abi), -EINVAL);
	assert_int_equal(sr_blkif_abi_parse("x86_64", &abi), -EINVAL);
	assert_int_equal(sr_blkif_abi_parse("x86_64-abi ", &abi), -EINVAL);
	assert_int_equal(sr_blkif_abi_parse("riscv-abi", &abi), -EINVAL);
}

static void attach_checks_order_and_abi(void **state)
{
	struct sr_blkif_front f;
	struct sr_blkif_back b;

	assert_int_equal(sr_blkif_back_attach(&b, pages, 5, SR_BLKIF_ABI_NATIVE, 0, 0), -EINVAL);
	assert_int_equal(sr_blkif_back_attach(&b, pages, 31, SR_BLKIF_ABI_NATIVE, 0, 0), -EINVAL);
	assert_int_equal(sr_blkif_back_attach(&b, pages, 0, 4, 0, 0), -EINVAL);
	assert_int_equal(sr_blkif_back_attach(&b, pages, 0, SR_BLKIF_ABI_ARM, 0, 33), -EINVAL);
	assert_int_equal(sr_blkif_back_attach(&b, pages, 1, SR_BLKIF_ABI_ARM, 0, 33), 0);
	assert_int_equal(sr_blkif_front_init(&f, pages, 5, SR_BLKIF_ABI_NATIVE), -EINVAL);
	assert_int_equal(sr_blkif_front_init(&f, pages, 0, 77), -EINVAL);
}

static void decodes_reads_and_writes(void **state)
{
	static const uint8_t ops[] = { BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_WRITE_BARRIER,
				       BLKIF_OP_FLUSH_DISKCACHE };
	uint8_t bytes[128];

	for (unsigned i = 0; i < ABIS; i++) {
		for (unsigned op = 0; op < sizeof(ops); op++) {
			for (uint8_t n = 0; n <= BLKIF_MAX_SEGMENTS_PER_REQUEST; n++) {
				size_t used = fill_rw(&abis[i], bytes, ops[op], n);
				struct sr_blkif_request req = decode(&abis[i], bytes, used);

				check_head(&req, ops[op]);
				check_segments(&req, n);
			}
		}
	}
}

static void too_many_segments_are_malformed(void **state)
{
	uint8_t bytes[128];

	for (unsigned i = 0; i < ABIS; i++) {
		for (unsigned n = BLKIF_MAX_SEGMENTS_PER_REQUEST + 1; n <= 255; n++) {
			struct sr_blkif_request req;

			fill_rw(&abis[i], bytes, BLKIF_OP_WRITE, (uint8_t)n);
			/* Nothing behind the sector number is looked at. */
			req = decode(&abis[i], bytes, sr_blkif_id_offset(abis[i].abi) + 16);
			check_head(&req, BLKIF_OP_WRITE);
			assert_true(req.malformed);
			assert_int_equal(req.nr_segments, 0);
		}
	}
}

static void decodes_discard(void **state)
{
	uint8_t bytes[128];

	for (unsigned i = 0; i < ABIS; i++) {
		size_t used = fill_discard(&abis[i], bytes);
		struct sr_blkif_request req = decode(&abis[i], bytes, used);

		check_head(&req, BLKIF_OP_DISCARD);
		assert_false(req.malformed);
		assert_int_equal(req.flag, BLKIF_DISCARD_SECURE);
		assert_int_equal(req.nr_sectors, 0x1122334455667788u);
		assert_int_equal(req.nr_segments, 0);
	}
}

static void decodes_indirect(void **state)
{
	static const uint16_t counts[] = { 0, 1, 11, 12, 256, 512, 513, 1024, 4095, 4096 };
	uint8_t bytes[128];

	for (unsigned i = 0; i < ABIS; i++) {
		for (unsigned n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
			size_t used = fill_indirect(&abis[i], bytes, BLKIF_OP_WRITE, counts[n]);
			struct sr_blkif_request req = decode(&abis[i], bytes, used);

			check_head(&req, BLKIF_OP_INDIRECT);
			assert_false(req.malformed);
			assert_int_equal(req.indirect_op, BLKIF_OP_WRITE);
			assert_int_equal(req.nr_segments, counts[n]);
			for (unsigned g = 0; g < sr_blkif_indirect_pages(counts[n]); g++)
				assert_int_equal(req.grefs[g], 0xb0000000u + g);
		}
	}
}

static void bad_indirect_is_malformed(void **state)
{
	static const struct {
		uint8_t op;
		uint16_t count;
	} rows[] = {
		{ BLKIF_OP_READ, 4097 }, { BLKIF_OP_WRITE, UINT16_MAX },  { BLKIF_OP_INDIRECT, 12 },
		{ BLKIF_OP_DISCARD, 1 }, { BLKIF_OP_FLUSH_DISKCACHE, 0 }, { 255, 1 },
	};
	uint8_t bytes[128];

	for (unsigned i = 0; i < ABIS; i++) {
		for (unsigned n = 0; n < sizeof(rows) / sizeof(rows[0]); n++) {
			struct sr_blkif_request req;

			fill_indirect(&abis[i], bytes, rows[n].op, rows[n].count);
			/* The handle is the last that is read. */
			req = decode(&abis[i], bytes, sr_blkif_id_offset(abis[i].abi) + 20);
			check_head(&req, BLKIF_OP_INDIRECT);
			assert_true(req.malformed);
			assert_int_equal(req.nr_segments, 0);
		}
	}
}

static void unknown_operations_keep_their_id(void **state)
{
	uint8_t bytes[128];

	for (unsigned i = 0; i < ABIS; i++) {
		for (unsigned op = BLKIF_OP_INDIRECT + 1; op <= 255; op++) {
			struct sr_blkif_request req;

			fill_rw(&abis[i], bytes, (uint8_t)op, 11);
			req = decode(&abis[i], bytes, sr_blkif_id_offset(abis[i].abi) + 16);
			check_head(&req, (uint8_t)op);
			assert_int_equal(req.nr_segments, 0);
		}
	}
}

/* encode() writes what the mirror says, with zeroes for padding, and leaves the rest alone. */
static void encodes_what_the_mirror_says(void **state)
{
	uint8_t want[128], got[128] __attribute__((aligned(8)));

	for (unsigned i = 0; i < ABIS; i++) {
		uint16_t at = sr_blkif_id_offset(abis[i].abi);
		struct sr_blkif_request req;

		for (unsigned kind = 0; kind < 4; kind++) {
			size_t used =
			    kind == 0   ? fill_rw(&abis[i], want, BLKIF_OP_READ, 11)
			    : kind == 1 ? fill_rw(&abis[i], want, BLKIF_OP_FLUSH_DISKCACHE, 0)
			    : kind == 2 ? fill_discard(&abis[i], want)
					: fill_indirect(&abis[i], want, BLKIF_OP_READ, 1025);

			req = decode(&abis[i], want, used);
			memset(got, 0xee, sizeof(got));
			sr_blkif_encode(got, at, &req);
			assert_memory_equal(got, want, used);
			for (size_t b = used; b < sizeof(got); b++)
				assert_int_equal(got[b], 0xee);
		}
	}
}

/* Through a whole ring of each size: every slot is where Xen's header puts it. */
static void round_trip(const struct abi *a, unsigned order)
{
	struct sr_blkif_front f;
	struct sr_blkif_back b;
	uint32_t size = sr_blkif_ring_size(a->abi, order);
	uint8_t want[128];

	memset(pages, 0xee, MAX_PAGES * PAGE);
	assert_int_equal(sr_blkif_front_init(&f, pages, order, a->abi), 0);
	assert_int_equal(sr_blkif_back_attach(&b, pages, order, a->abi, 0, 0), 0);
	for (unsigned round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < size; i++) {
			struct sr_blkif_request req = { .operation = BLKIF_OP_WRITE,
							.id = i,
							.nr_segments = 1,
							.segs = { { i, 0, 7 } } };

			assert_true(sr_ring_front_free(&f.ring) > 0);
			sr_blkif_front_put(&f, &req);
		}
		assert_int_equal(sr_ring_front_free(&f.ring), 0);
		assert_true(sr_ring_front_publish_and_check(&f.ring) == (round == 0));
		assert_int_equal(sr_ring_back_pending(&b.ring), size);
		sr_blkif_back_prefetch(&b, 0, size);
		for (uint32_t i = 0; i < size; i++) {
			struct sr_blkif_request req;
			uint8_t *slot = pages + a->first_slot + i * a->rw_size;

			sr_blkif_back_take(&b, &req);
			assert_int_equal(req.id, i);
			assert_int_equal(req.segs[0].gref, i);
			/* Answered out of order: the other half of the ids. */
			sr_blkif_back_put(&b, i ^ 1, req.operation, BLKIF_RSP_EOPNOTSUPP);
			memset(want, 0, sizeof(want));
			want[0] = (uint8_t)(i ^ 1);
			want[1] = (uint8_t)((i ^ 1) >> 8);
			want[8] = BLKIF_OP_WRITE;
			want[10] = 0xfe;
			want[11] = 0xff;
			assert_memory_equal(slot, want, a->response_size);
		}
		sr_ring_back_publish(&b.ring);
		assert_int_equal(sr_ring_front_pending(&f.ring), size);
		sr_blkif_front_prefetch(&f, size);
		for (uint32_t i = 0; i < size; i++) {
			struct blkif_response rsp;

			sr_blkif_front_take(&f, &rsp);
			assert_int_equal(rsp.id, i ^ 1);
			assert_int_equal(rsp.operation, BLKIF_OP_WRITE);
			assert_int_equal(rsp.status, BLKIF_RSP_EOPNOTSUPP);
		}
	}
	/* Nothing behind the last slot was touched. */
	for (size_t at = a->first_slot + size * a->rw_size; at < MAX_PAGES * PAGE; at++)
		assert_int_equal(pages[at], 0xee);
}

static void rings_of_every_size_and_abi(void **state)
{
	for (unsigned i = 0; i < ABIS; i++) {
		for (unsigned order = 0; order <= SR_BLKIF_MAX_RING_ORDER; order++)
			round_trip(&abis[i], order);
	}
}

static void segments_of_an_indirect_page(void **state)
{
	struct blkif_request_segment in[SR_BLKIF_SEGS_PER_PAGE], out[SR_BLKIF_SEGS_PER_PAGE];
	struct mirror_seg *page = (void *)pages;

	memset(in, 0xdd, sizeof(in)); /* padding of our own is not given away */
	for (unsigned i = 0; i < SR_BLKIF_SEGS_PER_PAGE; i++) {
		in[i].gref = i * 0x01010101u;
		in[i].first_sect = (uint8_t)i;
		in[i].last_sect = (uint8_t)~i;
	}
	sr_blkif_put_segments(pages, in, SR_BLKIF_SEGS_PER_PAGE);
	sr_blkif_copy_segments(out, pages, SR_BLKIF_SEGS_PER_PAGE);
	for (unsigned i = 0; i < SR_BLKIF_SEGS_PER_PAGE; i++) {
		assert_int_equal(page[i].gref, in[i].gref);
		assert_int_equal(page[i].first_sect, in[i].first_sect);
		assert_int_equal(page[i].last_sect, in[i].last_sect);
		assert_int_equal(page[i].pad, 0);
		assert_int_equal(out[i].gref, in[i].gref);
		assert_int_equal(out[i].first_sect, in[i].first_sect);
		assert_int_equal(out[i].last_sect, in[i].last_sect);
	}
	assert_int_equal(sr_blkif_indirect_pages(0), 0);
	assert_int_equal(sr_blkif_indirect_pages(512), 1);
	assert_int_equal(sr_blkif_indirect_pages(513), 2);
	assert_int_equal(sr_blkif_indirect_pages(4096), 8);
}

/* A backend that comes back goes on where the record says, with what was taken still to answer. */
static void recovery_goes_on_at_given_positions(void **state)
{
	struct sr_blkif_request req = { .operation = BLKIF_OP_READ, .nr_segments = 0 };
	struct sr_blkif_front f;
	struct sr_blkif_back b;

	sr_blkif_front_init(&f, pages, 0, SR_BLKIF_ABI_NATIVE);
	sr_blkif_back_attach(&b, pages, 0, SR_BLKIF_ABI_NATIVE, 0, 0);
	for (req.id = 0; req.id < 10; req.id++)
		sr_blkif_front_put(&f, &req);
	sr_ring_front_publish(&f.ring);
	for (int i = 0; i < 6; i++)
		sr_blkif_back_take(&b, &req);
	sr_blkif_back_put(&b, 0, BLKIF_OP_READ, 0);
	sr_ring_back_publish(&b.ring);

	memset(&b, 0, sizeof(b));
	assert_int_equal(sr_blkif_back_attach(&b, pages, 0, SR_BLKIF_ABI_NATIVE,
					      sr_ring_shared_rsp_prod((void *)pages), 6),
			 0);
	assert_int_equal(sr_ring_back_in_flight(&b.ring), 5);
	assert_int_equal(sr_ring_back_pending(&b.ring), 4);
	sr_blkif_back_take(&b, &req);
	assert_int_equal(req.id, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_xens),
		cmocka_unit_test(protocol_names),
		cmocka_unit_test(attach_checks_order_and_abi),
		cmocka_unit_test(decodes_reads_and_writes),
		cmocka_unit_test(too_many_segments_are_malformed),
		cmocka_unit_test(decodes_discard),
		cmocka_unit_test(decodes_indirect),
		cmocka_unit_test(bad_indirect_is_malformed),
		cmocka_unit_test(unknown_operations_keep_their_id),
		cmocka_unit_test(encodes_what_the_mirror_says),
		cmocka_unit_test(rings_of_every_size_and_abi),
		cmocka_unit_test(segments_of_an_indirect_page),
		cmocka_unit_test(recovery_goes_on_at_given_positions),
	};

	return cmocka_run_group_tests_name("ring blkif", tests, setup, teardown);
}
