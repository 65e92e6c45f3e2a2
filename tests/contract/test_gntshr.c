/* SPDX-License-Identifier: MIT */
/* Granting pages. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define RW (PROT_READ | PROT_WRITE)

static void need_grant_pages(struct world *w)
{
	if (!(sr_hv_caps(w->front) & SR_CAP_GRANT_PAGES))
		world_skip("front can't grant page by page");
}

static bool all_zero(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static void pages_are_zeroed_each_time(void **state)
{
	struct world *w = *state;

	for (int round = 0; round < 3; round++) {
		uint32_t refs[4];
		char got[4 * SR_PAGE_SIZE], *f;

		assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 4, true, refs, (void **)&f),
				 0);
		world_get(f, got, sizeof(got));
		assert_true(all_zero(got, sizeof(got)));
		world_fill(f, 0xff, sizeof(got));
		assert_int_equal(sr_gntshr_unshare(w->gs, f, 4), 0);
	}
}

static void references_are_distinct(void **state)
{
	struct world *w = *state;
	struct sr_gntshr *other;
	uint32_t refs[2][200];
	void *f;

	assert_int_equal(sr_gntshr_open(w->front, &other), 0);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 200, true, refs[0], &f), 0);
	assert_int_equal(sr_gntshr_share(other, env.back_id, 200, true, refs[1], &f), 0);
	for (unsigned i = 0; i < 400; i++)
		for (unsigned j = i + 1; j < 400; j++)
			assert_int_not_equal(refs[i / 200][i % 200], refs[j / 200][j % 200]);
	sr_gntshr_close(other);
}

static void unshare_is_refused_while_mapped_and_changes_nothing(void **state)
{
	struct world *w = *state;
	uint32_t refs[5];
	void *f, *b, *b2;

	if (!env.tells_busy)
		world_skip("gntalloc takes pages back when they are let go, and says nothing");
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 5, true, refs, &f), 0);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &refs[i], 1, RW, &b), 0);
		assert_int_equal(sr_gntshr_unshare(w->gs, f, 5), -EBUSY);
		/* Not even the pages before the busy one have been taken back. */
		for (unsigned j = 0; j < 5; j++) {
			assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &refs[j], 1, RW, &b2),
					 0);
			assert_int_equal(sr_gnttab_unmap(w->gt, b2, 1), 0);
		}
		assert_int_equal(sr_gnttab_unmap(w->gt, b, 1), 0);
	}
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 5), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 5, RW, &b), -EINVAL);
}

static void close_ends_grants(void **state)
{
	struct world *w = *state;
	struct sr_gntshr *gs;
	uint32_t ref;
	void *f, *b;

	assert_int_equal(sr_gntshr_open(w->front, &gs), 0);
	assert_int_equal(sr_gntshr_share(gs, env.back_id, 1, true, &ref, &f), 0);
	sr_gntshr_close(gs);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, RW, &b), -EINVAL);
}

static void what_is_mapped_at_close_stays_until_unmapped(void **state)
{
	struct world *w = *state;
	struct sr_gntshr *gs;
	uint32_t ref;
	char *f, *b;

	assert_int_equal(sr_gntshr_open(w->front, &gs), 0);
	assert_int_equal(sr_gntshr_share(gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, RW, (void **)&b), 0);
	world_put(f, "still here", 11);
	sr_gntshr_close(gs);
	assert_string_equal(b, "still here");
	/* Nobody else is given the page meanwhile. */
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	world_fill(f, 0xff, SR_PAGE_SIZE);
	assert_string_equal(b, "still here");
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 1), 0);
}

static void pages_grant_one_by_one(void **state)
{
	struct world *w = *state;
	uint32_t a, b, c;
	char *f, *m;

	need_grant_pages(w);
	assert_int_equal(sr_gntshr_alloc(w->gs, 2, (void **)&f), 0);
	assert_true(all_zero(f, (size_t)2 * SR_PAGE_SIZE));
	strcpy(f + SR_PAGE_SIZE, "second");
	/* Any address in the page names it; one page may have several references. */
	assert_int_equal(sr_gntshr_grant(w->gs, env.back_id, f + SR_PAGE_SIZE + 77, false, &a), 0);
	assert_int_equal(sr_gntshr_grant(w->gs, env.back_id, f + SR_PAGE_SIZE, true, &b), 0);
	assert_int_equal(sr_gntshr_grant(w->gs, env.back_id, f, true, &c), 0);
	assert_int_not_equal(a, b);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &a, 1, PROT_READ, (void **)&m), 0);
	assert_string_equal(m, "second");
	assert_int_equal(sr_gntshr_end(w->gs, a), -EBUSY);
	assert_int_equal(sr_gntshr_end(w->gs, b), 0);
	assert_int_equal(sr_gntshr_end(w->gs, b), -EINVAL);
	assert_int_equal(sr_gntshr_free(w->gs, f, 2), -EBUSY);
	assert_int_equal(sr_gnttab_unmap(w->gt, m, 1), 0);
	assert_int_equal(sr_gntshr_end(w->gs, a), 0);
	assert_int_equal(sr_gntshr_free(w->gs, f, 2), -EBUSY);
	assert_int_equal(sr_gntshr_end(w->gs, c), 0);
	assert_int_equal(sr_gntshr_free(w->gs, f, 2), 0);
	assert_int_equal(sr_gntshr_free(w->gs, f, 2), -EINVAL);
}

static void a_foreign_address_is_no_page_of_ours(void **state)
{
	struct world *w = *state;
	char stack[16], *f;
	uint32_t ref;

	need_grant_pages(w);
	assert_int_equal(sr_gntshr_grant(w->gs, env.back_id, stack, true, &ref), -EINVAL);
	assert_int_equal(sr_gntshr_free(w->gs, stack, 1), -EINVAL);
	assert_int_equal(sr_gntshr_unshare(w->gs, stack, 1), -EINVAL);
	assert_int_equal(sr_gntshr_end(w->gs, 0), -EINVAL);
	assert_int_equal(sr_gntshr_end(w->gs, 0xfffffff0), -EINVAL);
	assert_int_equal(sr_gntshr_alloc(w->gs, 0, (void **)&f), -EINVAL);
	assert_int_equal(sr_gntshr_alloc(w->gs, 1, (void **)&f), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), -EINVAL);
	assert_int_equal(sr_gntshr_free(w->gs, f, 1), 0);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	assert_int_equal(sr_gntshr_end(w->gs, ref), -EINVAL);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

static void large_shares_are_contiguous(void **state)
{
	struct world *w = *state;
	unsigned step = env.remote ? 100 : 1;
	uint32_t *refs = calloc(1200, sizeof(*refs));
	char *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1200, true, refs, (void **)&f), 0);
	for (unsigned i = 0; i < 1200; i += step)
		world_put(f + (size_t)i * SR_PAGE_SIZE, &i, sizeof(i));
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 1200, RW, (void **)&b), 0);
	for (unsigned i = 0; i < 1200; i += step)
		assert_memory_equal(b + (size_t)i * SR_PAGE_SIZE, &i, sizeof(i));
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 1200), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1200), 0);
	free(refs);
}

static void running_out_is_an_error_and_passes(void **state)
{
	struct world *w = *state;
	void *f, *all[4096];
	unsigned n = 0;
	int err;

	need_grant_pages(w);
	assert_int_equal(sr_gntshr_alloc(w->gs, 1u << 24, &f), -ENOSPC);
	while (n < 4096 && !(err = sr_gntshr_alloc(w->gs, 64, &all[n])))
		n++;
	assert_int_equal(err, -ENOSPC);
	assert_true(n > 0);
	assert_int_equal(sr_gntshr_free(w->gs, all[n - 1], 64), 0);
	assert_int_equal(sr_gntshr_alloc(w->gs, 64, &f), 0);
	assert_ptr_equal(f, all[n - 1]);
}

static void references_are_used_again(void **state)
{
	struct world *w = *state;
	struct usage one, now;
	uint32_t ref;
	char *f;

	need_grant_pages(w);
	assert_int_equal(sr_gntshr_alloc(w->gs, 1, (void **)&f), 0);
	assert_int_equal(sr_gntshr_grant(w->gs, env.back_id, f, true, &ref), 0);
	assert_int_equal(sr_gntshr_end(w->gs, ref), 0);
	env_usage(&one);
	for (int i = 0; i < 5000; i++) {
		assert_int_equal(sr_gntshr_grant(w->gs, env.back_id, f, true, &ref), 0);
		assert_int_equal(sr_gntshr_end(w->gs, ref), 0);
	}
	if (env_usage(&now))
		assert_int_equal(now.granted, one.granted);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(pages_are_zeroed_each_time),
		CASE(references_are_distinct),
		CASE(unshare_is_refused_while_mapped_and_changes_nothing),
		CASE(close_ends_grants),
		CASE(what_is_mapped_at_close_stays_until_unmapped),
		CASE(pages_grant_one_by_one),
		CASE(a_foreign_address_is_no_page_of_ours),
		CASE(large_shares_are_contiguous),
		CASE(running_out_is_an_error_and_passes),
		CASE(references_are_used_again),
	};

	return world_main(argc, argv, "gntshr", tests, sizeof(tests) / sizeof(tests[0]));
}
