/* SPDX-License-Identifier: MIT */
/* Bounce pages, descriptors, and grants that stay mapped. The hypervisor is played by the test. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <hypervisor.h>

#include "memory.h"
#include "persistent.h"

/* --- the grant table ----------------------------------------------------------------------------
 */

#define REFS 65536u

static unsigned mapped_count, map_calls;
static bool mapped[REFS];
static uint8_t *pages; /* an address for each reference */

int sr_gnttab_map(struct sr_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		  int prot, void **addr)
{
	assert_int_equal(count, 1);
	map_calls++;
	if (refs[0] >= REFS || refs[0] % 1000 == 999)
		return -EINVAL;
	assert_false(mapped[refs[0]]);
	mapped[refs[0]] = true;
	mapped_count++;
	*addr = pages + (size_t)refs[0] * 16;
	return 0;
}

int sr_gnttab_unmap(struct sr_gnttab *gt, void *addr, unsigned count)
{
	size_t ref = (size_t)((uint8_t *)addr - pages) / 16;

	assert_int_equal(count, 1);
	assert_true(mapped[ref]);
	mapped[ref] = false;
	mapped_count--;
	return 0;
}

static void test_persistent(void **state)
{
	struct sr_persistent p;
	void *addr, *again;
	uint32_t place;

	assert_int_equal(sr_persistent_init(&p, NULL, 1, 100, NULL), 0);
	place = sr_persistent_get(&p, 7, &addr);
	assert_int_not_equal(place, SR_PERSISTENT_NONE);
	assert_ptr_equal(addr, pages + 7 * 16);
	assert_int_equal(sr_persistent_get(&p, 7, &again), place);
	assert_ptr_equal(again, addr);
	assert_int_equal(p.in_use[place], 2);
	sr_persistent_put(&p, place);
	sr_persistent_put(&p, place);
	assert_int_equal(map_calls, 1);
	/* Reference 0 is one like others. */
	sr_persistent_put(&p, sr_persistent_get(&p, 0, &addr));
	assert_int_equal(p.count, 2);
	/* One that can't be mapped leaves nothing behind. */
	assert_int_equal(sr_persistent_get(&p, 999, &addr), SR_PERSISTENT_NONE);
	assert_int_equal(p.count, 2);
	sr_persistent_destroy(&p);
	assert_int_equal(mapped_count, 0);
}

/* Above the limit those not used for longest go; never one that is in use. */
static void test_least_recently_used(void **state)
{
	struct sr_persistent p;
	uint32_t held[10], place;
	void *addr;

	map_calls = 0;
	assert_int_equal(sr_persistent_init(&p, NULL, 1, 64, NULL), 0);
	for (uint32_t i = 0; i < 10; i++)
		held[i] = sr_persistent_get(&p, i, &addr);
	for (uint32_t i = 10; i < 5000; i++) {
		p.tick++;
		if (i % 1000 == 999)
			continue;
		/* Used again and again, so it stays. */
		sr_persistent_put(&p, sr_persistent_get(&p, 20, &addr));
		place = sr_persistent_get(&p, i, &addr);
		if (place != SR_PERSISTENT_NONE)
			sr_persistent_put(&p, place);
		assert_true(p.count <= 64);
		assert_int_equal(p.count, mapped_count);
		for (uint32_t k = 0; k < 10; k++)
			assert_true(mapped[k]);
		assert_true(mapped[20]);
	}
	/* Maps take each other's place, but slowly. */
	assert_in_range(p.purged, 100, 5000 / SR_PERSISTENT_PACE);
	for (uint32_t i = 0; i < 10; i++)
		sr_persistent_put(&p, held[i]);
	sr_persistent_destroy(&p);
	assert_int_equal(mapped_count, 0);
}

static void test_all_in_use(void **state)
{
	struct sr_persistent p;
	uint32_t place;
	void *addr;

	assert_int_equal(sr_persistent_init(&p, NULL, 1, 16, NULL), 0);
	for (uint32_t i = 0; i < 16; i++)
		assert_int_not_equal(sr_persistent_get(&p, i, &addr), SR_PERSISTENT_NONE);
	assert_int_equal(sr_persistent_get(&p, 100, &addr), SR_PERSISTENT_NONE);
	assert_int_equal(p.count, 16);
	place = sr_persistent_get(&p, 3, &addr);
	sr_persistent_put(&p, place);
	sr_persistent_put(&p, place);
	for (unsigned i = 0; i < 3 * SR_PERSISTENT_PACE && mapped[3]; i++)
		place = sr_persistent_get(&p, 100, &addr);
	assert_int_not_equal(place, SR_PERSISTENT_NONE);
	assert_false(mapped[3]);
	for (uint32_t i = 0; i <= p.mask; i++)
		p.in_use[i] = 0;
	sr_persistent_destroy(&p);
}

/* --- bounce pages -------------------------------------------------------------------------------
 */

static void test_bounce(void **state)
{
	struct sr_memory m;
	void *all[SR_BOUNCE_PAGES], *p, *q;

	assert_int_equal(sr_memory_init(&m), 0);
	for (unsigned i = 0; i < SR_BOUNCE_PAGES; i++) {
		all[i] = sr_bounce_get(&m.bounce, 1);
		assert_non_null(all[i]);
		memset(all[i], (int)i, 4096);
	}
	assert_null(sr_bounce_get(&m.bounce, 1));
	/* Every second one: enough pages, but no two together. */
	for (unsigned i = 0; i < SR_BOUNCE_PAGES; i += 2)
		sr_bounce_put(&m.bounce, all[i], 1);
	assert_null(sr_bounce_get(&m.bounce, 2));
	sr_bounce_put(&m.bounce, all[511], 1);
	p = sr_bounce_get(&m.bounce, 3);
	assert_ptr_equal(p, all[510]);
	sr_bounce_put(&m.bounce, p, 3);
	for (unsigned i = 1; i < SR_BOUNCE_PAGES; i += 2)
		if (i != 511)
			sr_bounce_put(&m.bounce, all[i], 1);
	/* Runs that end at, begin at and lie across a word of the map. */
	p = sr_bounce_get(&m.bounce, 63);
	q = sr_bounce_get(&m.bounce, 130);
	assert_ptr_equal(q, (uint8_t *)p + 63 * 4096);
	sr_bounce_put(&m.bounce, p, 63);
	sr_bounce_put(&m.bounce, q, 130);
	p = sr_bounce_get(&m.bounce, SR_BOUNCE_PAGES);
	assert_non_null(p);
	sr_bounce_put(&m.bounce, p, SR_BOUNCE_PAGES);
	assert_null(sr_bounce_get(&m.bounce, SR_BOUNCE_PAGES + 1));
	sr_memory_destroy(&m);
}

static void test_bigs(void **state)
{
	struct sr_big *big[SR_BIGS];
	struct sr_memory m;

	assert_int_equal(sr_memory_init(&m), 0);
	for (unsigned i = 0; i < SR_BIGS; i++) {
		big[i] = sr_memory_big_get(&m);
		assert_non_null(big[i]);
		big[i]->iov[SR_MAX_SEGMENTS - 1].iov_len = i;
	}
	assert_null(sr_memory_big_get(&m));
	sr_memory_big_put(&m, big[17]);
	assert_ptr_equal(sr_memory_big_get(&m), big[17]);
	sr_memory_destroy(&m);
}

static int setup(void **state)
{
	pages = calloc(REFS, 16);
	return pages ? 0 : -1;
}

static int teardown(void **state)
{
	free(pages);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_persistent), cmocka_unit_test(test_least_recently_used),
		cmocka_unit_test(test_all_in_use), cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_bigs),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
