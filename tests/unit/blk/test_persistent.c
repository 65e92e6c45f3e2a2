/* SPDX-License-Identifier: MIT */
/* Persistent grants over a hypervisor that has room for a few maps only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include <hypervisor.h>

#include "persistent.h"

/* The hypervisor. */
static unsigned room, mapped, asked;
static uint8_t pages[64][SR_PAGE_SIZE];

int sr_gnttab_map(struct sr_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		  int prot, void **addr)
{
	asked++;
	if (refs[0] >= 64)
		return -EINVAL;
	if (mapped == room)
		return -ENOSPC;
	mapped++;
	*addr = pages[refs[0]];
	return 0;
}

int sr_gnttab_unmap(struct sr_gnttab *gt, void *addr, unsigned count)
{
	mapped--;
	return 0;
}

static int setup(void **state)
{
	room = 10;
	mapped = asked = 0;
	return 0;
}

static void no_room_lowers_the_limit(void **state)
{
	struct sr_persistent p;
	uint32_t place[10];
	void *addr;

	assert_int_equal(sr_persistent_init(&p, NULL, 1, 32, NULL), 0);
	for (uint32_t ref = 0; ref < 10; ref++) {
		place[ref] = sr_persistent_get(&p, ref, &addr);
		assert_int_not_equal(place[ref], SR_PERSISTENT_NONE);
		assert_ptr_equal(addr, pages[ref]);
	}
	/* All are in use: the eleventh is done without, and the hypervisor is asked once. */
	for (uint32_t ref = 10; ref < 20; ref++)
		assert_int_equal(sr_persistent_get(&p, ref, &addr), SR_PERSISTENT_NONE);
	assert_int_equal(asked, 11);
	assert_int_equal(p.limit, 8);
	/* Those that are not leave room for others, and take turns. */
	for (uint32_t ref = 0; ref < 10; ref++)
		sr_persistent_put(&p, place[ref]);
	assert_int_equal(mapped, 8);
	p.tick++;
	place[0] = SR_PERSISTENT_NONE;
	for (unsigned i = 0; i < 2 * SR_PERSISTENT_PACE && place[0] == SR_PERSISTENT_NONE; i++)
		place[0] = sr_persistent_get(&p, 20, &addr);
	assert_int_not_equal(place[0], SR_PERSISTENT_NONE);
	assert_ptr_equal(addr, pages[20]);
	sr_persistent_put(&p, place[0]);
	assert_true(p.count <= 8);
	assert_int_equal(mapped, p.count);
	sr_persistent_destroy(&p);
	assert_int_equal(mapped, 0);
}

/* What is not in use goes at once: nobody may come by any more. */
static void no_room_leaves_some_to_others(void **state)
{
	struct sr_persistent p;
	void *addr;

	assert_int_equal(sr_persistent_init(&p, NULL, 1, 32, NULL), 0);
	for (uint32_t ref = 0; ref < 10; ref++)
		sr_persistent_put(&p, sr_persistent_get(&p, ref, &addr));
	assert_int_equal(sr_persistent_get(&p, 10, &addr), SR_PERSISTENT_NONE);
	assert_true(mapped <= 8);
	sr_persistent_destroy(&p);
	assert_int_equal(mapped, 0);
}

/* What is kept is worth its map: pages that are used in turns don't drive each other out. */
static void more_pages_than_are_kept(void **state)
{
	unsigned kept = 0, rounds = 100;
	struct sr_persistent p;
	uint32_t place;
	void *addr;

	room = 64;
	assert_int_equal(sr_persistent_init(&p, NULL, 1, 8, NULL), 0);
	for (uint32_t i = 0; i < rounds * 16; i++) {
		p.tick++;
		place = sr_persistent_get(&p, i % 16, &addr);
		if (place == SR_PERSISTENT_NONE)
			continue;
		sr_persistent_put(&p, place);
		kept++;
	}
	assert_in_range(kept, rounds * 7, rounds * 9);
	assert_in_range(asked, 9, 8 + rounds * 16 / SR_PERSISTENT_PACE);
	/* Other pages get their turn for all that. */
	for (uint32_t i = 0; i < 16 * 8 * SR_PERSISTENT_PACE; i++) {
		p.tick++;
		place = sr_persistent_get(&p, 32 + i % 8, &addr);
		if (place != SR_PERSISTENT_NONE)
			sr_persistent_put(&p, place);
	}
	for (uint32_t ref = 32; ref < 40; ref++)
		assert_int_not_equal(sr_persistent_get(&p, ref, &addr), SR_PERSISTENT_NONE);
	sr_persistent_destroy(&p);
	assert_int_equal(mapped, 0);
}

static void no_room_at_all_ends_it(void **state)
{
	struct sr_persistent p;
	void *addr;

	room = 0;
	assert_int_equal(sr_persistent_init(&p, NULL, 1, 32, NULL), 0);
	for (uint32_t ref = 0; ref < 10; ref++)
		assert_int_equal(sr_persistent_get(&p, ref, &addr), SR_PERSISTENT_NONE);
	assert_int_equal(asked, 1);
	assert_int_equal(p.limit, 0);
	sr_persistent_destroy(&p);
}

static void a_bad_reference_lowers_nothing(void **state)
{
	struct sr_persistent p;
	void *addr;

	assert_int_equal(sr_persistent_init(&p, NULL, 1, 32, NULL), 0);
	assert_int_equal(sr_persistent_get(&p, 1000, &addr), SR_PERSISTENT_NONE);
	assert_int_equal(p.limit, 32);
	sr_persistent_destroy(&p);
}

/* Two queues of a guest with room for seven. */
static void a_budget_is_shared(void **state)
{
	struct sr_grant_budget budget = { .limit = 7 };
	struct sr_persistent p, q;
	void *addr;

	assert_int_equal(sr_persistent_init(&p, NULL, 1, 32, &budget), 0);
	assert_int_equal(sr_persistent_init(&q, NULL, 1, 32, &budget), 0);
	for (uint32_t ref = 0; ref < 5; ref++)
		assert_int_not_equal(sr_persistent_get(&p, ref, &addr), SR_PERSISTENT_NONE);
	/* What can't be mapped takes nothing of it. */
	assert_int_equal(sr_persistent_get(&p, 1000, &addr), SR_PERSISTENT_NONE);
	for (uint32_t ref = 10; ref < 20; ref++)
		assert_int_equal(sr_persistent_get(&q, ref, &addr) != SR_PERSISTENT_NONE, ref < 12);
	assert_int_equal(asked, 8);
	assert_int_equal(q.limit, 32);
	/* What is kept already is found, and what one lets go of the other may have. */
	assert_int_not_equal(sr_persistent_get(&p, 4, &addr), SR_PERSISTENT_NONE);
	sr_persistent_destroy(&p);
	assert_int_equal(budget.kept, 2);
	assert_int_not_equal(sr_persistent_get(&q, 19, &addr), SR_PERSISTENT_NONE);
	sr_persistent_destroy(&q);
	assert_int_equal(budget.kept, 0);
	assert_int_equal(mapped, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(no_room_lowers_the_limit, setup),
		cmocka_unit_test_setup(more_pages_than_are_kept, setup),
		cmocka_unit_test_setup(no_room_leaves_some_to_others, setup),
		cmocka_unit_test_setup(no_room_at_all_ends_it, setup),
		cmocka_unit_test_setup(a_bad_reference_lowers_nothing, setup),
		cmocka_unit_test_setup(a_budget_is_shared, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
