/* SPDX-License-Identifier: MIT */
/* The table of what a handle has mapped, beside a plain array that knows the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "spans.h"

#define PLACES 3000u

static void *place(unsigned i)
{
	return (void *)(uintptr_t)(0x7f0000000000 + (uintptr_t)i * 4096);
}

static void count_one(void *ctx, void *addr, unsigned count)
{
	unsigned *model = ctx, i = (unsigned)(((uintptr_t)addr - 0x7f0000000000) / 4096);

	assert_int_equal(model[i], count);
	model[i] = 0;
}

static void it_knows_what_an_array_knows(void **state)
{
	unsigned model[PLACES] = { 0 };
	struct sr_spans s = { 0 };
	uint32_t rnd = 12345;

	for (unsigned step = 0; step < 200000; step++) {
		unsigned i;

		rnd = rnd * 1664525 + 1013904223;
		i = (rnd >> 8) % PLACES;
		assert_int_equal(sr_spans_find(&s, place(i)), model[i]);
		if (model[i]) {
			sr_spans_remove(&s, place(i));
			model[i] = 0;
		} else {
			assert_int_equal(sr_spans_reserve(&s), 0);
			model[i] = 1 + rnd % 200;
			sr_spans_add(&s, place(i), model[i]);
		}
	}
	for (unsigned i = 0; i < PLACES; i++)
		assert_int_equal(sr_spans_find(&s, place(i)), model[i]);
	sr_spans_drain(&s, count_one, model);
	for (unsigned i = 0; i < PLACES; i++)
		assert_int_equal(model[i], 0);
}

static void an_empty_one_holds_nothing(void **state)
{
	struct sr_spans s = { 0 };

	assert_int_equal(sr_spans_find(&s, place(1)), 0);
	assert_int_equal(sr_spans_find(&s, NULL), 0);
	assert_int_equal(sr_spans_reserve(&s), 0);
	assert_int_equal(sr_spans_find(&s, place(1)), 0);
	assert_int_equal(sr_spans_find(&s, NULL), 0);
	sr_spans_drain(&s, count_one, NULL);
	assert_int_equal(sr_spans_find(&s, place(1)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_knows_what_an_array_knows),
		cmocka_unit_test(an_empty_one_holds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
