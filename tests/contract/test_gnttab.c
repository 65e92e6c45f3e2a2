/* SPDX-License-Identifier: MIT */
/* Mapping and copying what another domain granted. */
#include "world.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xen/grant_table.h>

#define RW (PROT_READ | PROT_WRITE)

static uint64_t pinned(void)
{
	struct usage u;

	return env_usage(&u) ? u.pinned : 0;
}

static void both_see_what_either_writes(void **state)
{
	struct world *w = *state;
	uint32_t refs[3];
	char *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 3, true, refs, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 3, RW, (void **)&b), 0);
	world_put(f + 2 * SR_PAGE_SIZE, "from the front", 15);
	assert_string_equal(b + 2 * SR_PAGE_SIZE, "from the front");
	strcpy(b + SR_PAGE_SIZE, "from the back");
	world_expect(f + SR_PAGE_SIZE, "from the back", 14);
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 3), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 3), 0);
}

static void a_grant_table_has_a_size(void **state)
{
	struct world *w = *state;
	uint32_t refs[8];
	unsigned entries;
	char *f;
	int err = sr_hv_grant_entries(w->back, env.front_id, &entries);

	if (err == -EPERM || err == -ENOENT || err == -ENOTSUP)
		world_skip("a domain without privilege is not told of another one's table");
	assert_int_equal(err, 0);
	assert_true(entries >= 256 && entries % 256 == 0);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 8, true, refs, (void **)&f), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_true(refs[i] < entries);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 8), 0);
	assert_int_equal(sr_hv_grant_entries(w->back, 0x7000, &entries), -ESRCH);
}

static void scattered_pages_map_in_the_order_of_their_references(void **state)
{
	struct world *w = *state;
	uint32_t refs[8];
	char *f, *b;

	if (!(sr_hv_caps(w->front) & SR_CAP_GRANT_PAGES))
		world_skip("front can't grant page by page");
	assert_int_equal(sr_gntshr_alloc(w->gs, 8, (void **)&f), 0);
	for (unsigned i = 0; i < 8; i++) {
		memset(f + i * SR_PAGE_SIZE, 'a' + (int)i, SR_PAGE_SIZE);
		assert_int_equal(
		    sr_gntshr_grant(w->gs, env.back_id, f + i * SR_PAGE_SIZE, false, &refs[7 - i]),
		    0);
	}
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 8, PROT_READ, (void **)&b), 0);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(b[i * SR_PAGE_SIZE], 'h' - (int)i);
		assert_int_equal(b[i * SR_PAGE_SIZE + SR_PAGE_SIZE - 1], 'h' - (int)i);
	}
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 8), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(sr_gntshr_end(w->gs, refs[i]), 0);
	assert_int_equal(sr_gntshr_free(w->gs, f, 8), 0);
}

static void a_read_only_grant_maps_read_only(void **state)
{
	struct world *w = *state;
	char *f, *b;
	uint32_t ref;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, false, &ref, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, RW, (void **)&b), -EINVAL);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, PROT_READ, (void **)&b), 0);
	world_put(f, "look", 5);
	assert_string_equal(b, "look");
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 1), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

static void what_is_granted_to_another_domain_does_not_map(void **state)
{
	struct world *w = *state;
	uint16_t other = (uint16_t)(env.front_id + 1000);
	uint32_t ref;
	void *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, other, 1, true, &ref, &f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, PROT_READ, &b), -EINVAL);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

static void a_map_is_all_or_nothing(void **state)
{
	struct world *w = *state;
	uint64_t before = pinned();
	uint32_t refs[5];
	void *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 5, true, refs, &f), 0);
	for (unsigned bad = 0; bad < 5; bad++) {
		uint32_t good = refs[bad];

		refs[bad] = 0xfffffff0;
		assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 5, RW, &b), -EINVAL);
		assert_int_equal(pinned(), before);
		refs[bad] = good;
	}
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 5), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 1, RW, &b), -EINVAL);
}

static void bad_arguments_of_map_are_refused(void **state)
{
	struct world *w = *state;
	uint32_t ref;
	void *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, &f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 0, RW, &b), -EINVAL);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, PROT_NONE, &b), -EINVAL);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, PROT_READ | PROT_EXEC, &b),
			 -EINVAL);
	assert_int_equal(sr_gnttab_map(w->gt, 0x7000, &ref, 1, RW, &b), -ESRCH);
	assert_int_equal(sr_gnttab_map(w->gt, 0xfffe, &ref, 1, RW, &b), -ESRCH);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

static void unmap_takes_exactly_what_was_mapped(void **state)
{
	struct world *w = *state;
	uint32_t refs[4];
	char *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 4, true, refs, (void **)&f), 0);
	assert_int_equal(sr_gnttab_unmap(w->gt, f, 1), -EINVAL);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 4, RW, (void **)&b), 0);
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 3), -EINVAL);
	assert_int_equal(sr_gnttab_unmap(w->gt, b + SR_PAGE_SIZE, 3), -EINVAL);
	assert_int_equal(sr_gnttab_unmap(w->gt, b + 1, 4), -EINVAL);
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 0), -EINVAL);
	assert_int_equal(sr_gnttab_unmap(w->gt, NULL, 1), -EINVAL);
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 4), 0);
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 4), -EINVAL);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 4), 0);
}

static void one_reference_maps_twice(void **state)
{
	struct world *w = *state;
	char *f, *b1, *b2;
	uint32_t ref;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, RW, (void **)&b1), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, PROT_READ, (void **)&b2), 0);
	strcpy(b1, "twice");
	assert_string_equal(b2, "twice");
	assert_int_equal(sr_gnttab_unmap(w->gt, b1, 1), 0);
	assert_string_equal(b2, "twice");
	world_expect_busy(w, f, 1);
	assert_int_equal(sr_gnttab_unmap(w->gt, b2, 1), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

static void two_handles_map_the_same_reference(void **state)
{
	struct world *w = *state;
	struct sr_gnttab *other;
	char *f, *b1, *b2;
	uint32_t ref;

	assert_int_equal(sr_gnttab_open(w->back, &other), 0);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, RW, (void **)&b1), 0);
	assert_int_equal(sr_gnttab_map(other, env.front_id, &ref, 1, RW, (void **)&b2), 0);
	strcpy(b1, "both");
	assert_string_equal(b2, "both");
	sr_gnttab_close(other);
	assert_string_equal(b1, "both");
	world_expect_busy(w, f, 1);
	assert_int_equal(sr_gnttab_unmap(w->gt, b1, 1), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

static void close_unmaps(void **state)
{
	struct world *w = *state;
	struct sr_gnttab *gt;
	uint32_t refs[64];
	void *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 64, true, refs, &f), 0);
	assert_int_equal(sr_gnttab_open(w->back, &gt), 0);
	for (unsigned i = 0; i < 64; i += 4)
		assert_int_equal(sr_gnttab_map(gt, env.front_id, &refs[i], 4, RW, &b), 0);
	world_expect_busy(w, f, 64);
	sr_gnttab_close(gt);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 64), 0);
}

static void no_more_room_is_enospc_and_passes(void **state)
{
	enum { EACH = 64, MOST = 64 };
	struct world *w = *state;
	uint32_t refs[EACH], read_only;
	unsigned n = 0;
	void *f, *f2, *b, *all[MOST];
	int err = 0;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, EACH, true, refs, &f), 0);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, false, &read_only, &f2), 0);
	while (n < MOST && !(err = sr_gnttab_map(w->gt, env.front_id, refs, EACH, RW, &all[n])))
		n++;
	if (n == MOST)
		world_skip("there is room for too many maps");
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, EACH, PROT_READ, &b), -ENOSPC);
	/* What would fail anyway is told by its own name. */
	assert_int_equal(sr_gnttab_map(w->gt, 0x7000, refs, EACH, RW, &b), -ESRCH);
	assert_true(n > 0);
	assert_int_equal(sr_gnttab_unmap(w->gt, all[--n], EACH), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &read_only, 1, RW, &b), -EINVAL);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, EACH, RW, &all[n]), 0);
}

static void mappings_outlive_their_domain(void **state)
{
	struct world *w = *state;
	struct sr_hypervisor *hv;
	struct sr_gntshr *gs;
	char address[256];
	uint16_t domid;
	uint32_t ref;
	char *f, *b;
	void *p;
	int err, patience = 1000;

	if (!env_make_guest(&domid, address))
		world_skip("no domain that may be destroyed");
	assert_int_equal(env_open(address, &hv), 0);
	assert_int_equal(sr_gntshr_open(hv, &gs), 0);
	assert_int_equal(sr_gntshr_share(gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, domid, &ref, 1, RW, (void **)&b), 0);
	world_put(f, "last words", 11);
	env_kill_guest(domid);
	assert_string_equal(b, "last words");
	strcpy(b, "and thanks");
	/* Whether what is mapped can be mapped once more is the hypervisor's affair. */
	if (!sr_gnttab_map(w->gt, domid, &ref, 1, RW, &p))
		assert_int_equal(sr_gnttab_unmap(w->gt, p, 1), 0);
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 1), 0);
	/* The last mapping kept the domain from going; that may take a moment. */
	while ((err = sr_gnttab_map(w->gt, domid, &ref, 1, RW, &p)) != -ESRCH && patience--)
		usleep(10000);
	assert_int_equal(err, -ESRCH);
	sr_gntshr_close(gs);
	sr_hv_close(hv);
}

/* --- copy ------------------------------------------------------------------------------------ */

static struct sr_copy_segment from_grant(uint32_t ref, uint16_t offset, void *to, uint16_t len)
{
	struct sr_copy_segment s = { .len = len, .flags = SR_COPY_SOURCE_GREF, .status = 99 };

	s.source.foreign.ref = ref;
	s.source.foreign.domid = env.front_id;
	s.source.foreign.offset = offset;
	s.dest.virt = to;
	return s;
}

static struct sr_copy_segment to_grant(void *from, uint32_t ref, uint16_t offset, uint16_t len)
{
	struct sr_copy_segment s = { .len = len, .flags = SR_COPY_DEST_GREF, .status = 99 };

	s.source.virt = from;
	s.dest.foreign.ref = ref;
	s.dest.foreign.domid = env.front_id;
	s.dest.foreign.offset = offset;
	return s;
}

static void copies_go_both_ways(void **state)
{
	struct world *w = *state;
	struct sr_copy_segment segs[40];
	char in[40][16], out[40][16];
	uint32_t refs[2];
	char *f;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 2, true, refs, (void **)&f), 0);
	memset(in, 0, sizeof(in));
	for (unsigned i = 0; i < 40; i++) {
		memset(out[i], 'A' + (int)i, sizeof(out[i]));
		segs[i] = to_grant(out[i], refs[i % 2], (uint16_t)(i * 100), 16);
	}
	assert_int_equal(sr_gnttab_copy(w->gt, segs, 40), 0);
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(segs[i].status, GNTST_okay);
		world_expect(f + (i % 2) * SR_PAGE_SIZE + i * 100, out[i], 16);
		segs[i] = from_grant(refs[i % 2], (uint16_t)(i * 100), in[i], 16);
	}
	assert_int_equal(sr_gnttab_copy(w->gt, segs, 40), 0);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(segs[i].status, GNTST_okay);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 2), 0);
}

static void a_copy_joins_two_grants(void **state)
{
	struct world *w = *state;
	struct sr_copy_segment s = { .len = 4096,
				     .flags = SR_COPY_SOURCE_GREF | SR_COPY_DEST_GREF };
	char page[SR_PAGE_SIZE], *f;
	uint32_t refs[2];

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 2, true, refs, (void **)&f), 0);
	world_fill(f, 'x', SR_PAGE_SIZE);
	s.source.foreign.ref = refs[0];
	s.source.foreign.domid = s.dest.foreign.domid = env.front_id;
	s.dest.foreign.ref = refs[1];
	assert_int_equal(sr_gnttab_copy(w->gt, &s, 1), 0);
	assert_int_equal(s.status, GNTST_okay);
	world_get(f, page, SR_PAGE_SIZE);
	assert_int_equal(page[SR_PAGE_SIZE - 1], 'x');
	world_expect(f + SR_PAGE_SIZE, page, SR_PAGE_SIZE);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 2), 0);
}

static void each_segment_has_its_status(void **state)
{
	struct world *w = *state;
	struct sr_copy_segment segs[6];
	char page[SR_PAGE_SIZE] = "nothing", *f;
	uint32_t ref, read_only;
	void *f2;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, false, &read_only, &f2), 0);
	world_put(f, "good", 5);
	segs[0] = from_grant(0xfffffff0, 0, page, 8);
	segs[1] = to_grant(page, read_only, 0, 8);
	segs[2] = from_grant(ref, 4095, page, 2);
	segs[3] = from_grant(ref, 0, page, 4097);
	segs[4] = from_grant(ref, 0, page, 8);
	segs[4].source.foreign.domid = 0x7000;
	segs[5] = from_grant(ref, 0, page, 8);
	assert_int_equal(sr_gnttab_copy(w->gt, segs, 6), 0);
	assert_true(segs[0].status < 0);
	assert_true(segs[1].status < 0);
	assert_int_equal(segs[2].status, GNTST_bad_copy_arg);
	assert_int_equal(segs[3].status, GNTST_bad_copy_arg);
	assert_int_equal(segs[4].status, GNTST_bad_domain);
	assert_int_equal(segs[5].status, GNTST_okay);
	assert_string_equal(page, "good");
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f2, 1), 0);
}

static void copies_of_every_length_stay_in_bounds(void **state)
{
	static const uint16_t lens[] = { 0, 1, 7, 8, 63, 64, 65, 511, 4095, 4096 };
	struct world *w = *state;
	unsigned char page[SR_PAGE_SIZE + 2], want[SR_PAGE_SIZE], *f;
	uint32_t ref;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	for (unsigned i = 0; i < SR_PAGE_SIZE; i++)
		want[i] = (unsigned char)(i * 7 + 1);
	world_put(f, want, sizeof(want));
	for (unsigned i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint16_t len = lens[i], off = (uint16_t)(SR_PAGE_SIZE - len);
		struct sr_copy_segment s = from_grant(ref, off, page + 1, len);

		memset(page, 0xee, sizeof(page));
		if (off == SR_PAGE_SIZE)
			s.source.foreign.offset = 0;
		assert_int_equal(sr_gnttab_copy(w->gt, &s, 1), 0);
		assert_int_equal(s.status, GNTST_okay);
		assert_memory_equal(page + 1, want + off, len);
		assert_int_equal(page[0], 0xee);
		assert_int_equal(page[1 + len], 0xee);
	}
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

/* Copies to and from memory that is made for it, beside other memory, and across its pages. */
static void memory_for_copies_copies_as_any(void **state)
{
	struct world *w = *state;
	struct sr_copy_segment segs[6];
	char *f, *mine, other[16];
	struct sr_hypervisor *hv;
	struct sr_gnttab *gt;
	uint32_t ref;
	void *again;
	int rc;

	assert_int_equal(env_open(env.back, &hv), 0);
	rc = sr_hv_copy_memory(hv, 3, (void **)&mine);
	if (rc) {
		sr_hv_close(hv);
		assert_int_equal(rc, -ENOTSUP);
		world_skip("all memory is alike here");
	}
	assert_int_equal(sr_hv_copy_memory(hv, 1, &again), -EBUSY);
	assert_int_equal(sr_gnttab_open(hv, &gt), 0);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	for (unsigned i = 0; i < 3 * SR_PAGE_SIZE; i++)
		assert_int_equal(mine[i], 0);
	world_fill(f, 'f', SR_PAGE_SIZE);
	world_put(f + 100, "of the guest", 13);
	segs[0] = from_grant(ref, 0, mine + SR_PAGE_SIZE, SR_PAGE_SIZE);
	segs[1] = from_grant(ref, 100, mine + SR_PAGE_SIZE - 5, 13);
	segs[2] = from_grant(0xfffffff0, 0, mine, 8);
	segs[3] = from_grant(ref, 100, other, 13);
	segs[4] = from_grant(ref, SR_PAGE_SIZE - 1, mine, 2);
	segs[5] = from_grant(ref, 0, mine, 0);
	assert_int_equal(sr_gnttab_copy(gt, segs, 6), 0);
	assert_int_equal(segs[0].status, GNTST_okay);
	assert_int_equal(segs[1].status, GNTST_okay);
	assert_true(segs[2].status < 0);
	assert_int_equal(segs[3].status, GNTST_okay);
	assert_int_equal(segs[4].status, GNTST_bad_copy_arg);
	assert_int_equal(segs[5].status, GNTST_okay);
	assert_string_equal(mine + SR_PAGE_SIZE - 5, "of the guest");
	assert_string_equal(mine + SR_PAGE_SIZE + 100, "of the guest");
	assert_int_equal(mine[2 * SR_PAGE_SIZE - 1], 'f');
	assert_int_equal(mine[2 * SR_PAGE_SIZE], 0);
	assert_int_equal(mine[0], 0);
	assert_string_equal(other, "of the guest");
	strcpy(mine + 2 * SR_PAGE_SIZE + 50, "of the back");
	segs[0] = to_grant(mine + 2 * SR_PAGE_SIZE + 50, ref, 7, 12);
	assert_int_equal(sr_gnttab_copy(gt, segs, 1), 0);
	assert_int_equal(segs[0].status, GNTST_okay);
	world_expect(f + 7, "of the back", 12);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
	sr_gnttab_close(gt);
	sr_hv_close(hv);
}

/* The other way round: a guest copies from and to what the back granted. */
static void the_front_copies_too(void **state)
{
	struct world *w = *state;
	struct sr_copy_segment segs[2];
	char in[32], out[32] = "of the guest";
	struct sr_gntshr *gs;
	struct sr_gnttab *gt;
	uint32_t ref;
	char *b;

	assert_int_equal(sr_gntshr_open(w->back, &gs), 0);
	assert_int_equal(sr_gnttab_open(w->front, &gt), 0);
	assert_int_equal(sr_gntshr_share(gs, env.front_id, 1, true, &ref, (void **)&b), 0);
	strcpy(b, "of the back");
	segs[0] = from_grant(ref, 0, in, sizeof(in));
	segs[0].source.foreign.domid = env.back_id;
	segs[1] = to_grant(out, ref, 2048, sizeof(out));
	segs[1].dest.foreign.domid = env.back_id;
	assert_int_equal(sr_gnttab_copy(gt, segs, 2), 0);
	assert_int_equal(segs[0].status, GNTST_okay);
	assert_int_equal(segs[1].status, GNTST_okay);
	assert_string_equal(in, "of the back");
	assert_string_equal(b + 2048, "of the guest");
	segs[0].source.foreign.offset = 4090;
	segs[1].dest.foreign.ref = 0xfffffff0;
	assert_int_equal(sr_gnttab_copy(gt, segs, 2), 0);
	assert_int_equal(segs[0].status, GNTST_bad_copy_arg);
	assert_true(segs[1].status < 0);
	sr_gnttab_close(gt);
	sr_gntshr_close(gs);
}

static void cheap_maps_lie_in_the_region(void **state)
{
	struct world *w = *state;
	uint8_t *f, *b, *base;
	uint32_t refs[16];
	size_t len;

	if (!(sr_hv_caps(w->back) & SR_CAP_CHEAP_MAP)) {
		assert_int_equal(sr_gnttab_region(w->gt, env.front_id, (void **)&base, &len),
				 -ENOTSUP);
		return;
	}
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 16, true, refs, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 16, RW, (void **)&b), 0);
	assert_int_equal(sr_gnttab_region(w->gt, env.front_id, (void **)&base, &len), 0);
	assert_true(b >= base && b + (size_t)16 * SR_PAGE_SIZE <= base + len);
	assert_int_equal(sr_gnttab_region(w->gt, 0x7000, (void **)&base, &len), -ESRCH);
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 16), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 16), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(both_see_what_either_writes),
		CASE(a_grant_table_has_a_size),
		CASE(scattered_pages_map_in_the_order_of_their_references),
		CASE(a_read_only_grant_maps_read_only),
		CASE(what_is_granted_to_another_domain_does_not_map),
		CASE(a_map_is_all_or_nothing),
		CASE(bad_arguments_of_map_are_refused),
		CASE(unmap_takes_exactly_what_was_mapped),
		CASE(one_reference_maps_twice),
		CASE(two_handles_map_the_same_reference),
		CASE(close_unmaps),
		CASE(mappings_outlive_their_domain),
		CASE(copies_go_both_ways),
		CASE(a_copy_joins_two_grants),
		CASE(each_segment_has_its_status),
		CASE(copies_of_every_length_stay_in_bounds),
		CASE(memory_for_copies_copies_as_any),
		CASE(the_front_copies_too),
		CASE(cheap_maps_lie_in_the_region),
		CASE(no_more_room_is_enospc_and_passes),
	};
	size_t count = sizeof(tests) / sizeof(tests[0]);

	/* Only a toolstack makes domains with room for few maps. */
	if (argc < 2 || strcmp(argv[1], "xen:"))
		count--;

	return world_main(argc, argv, "gnttab", tests, count);
}
