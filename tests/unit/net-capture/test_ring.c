/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <capture/ring.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SIZE 4096u

struct rig {
	size_t bytes;
	void *memory;
	struct sr_capture_writer w;
	struct sr_capture_reader r;
};

static int set_up(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->bytes = sr_capture_ring_bytes(SIZE);
	rig->memory = aligned_alloc(4096, rig->bytes);
	memset(rig->memory, 0, rig->bytes);
	sr_capture_writer_init(&rig->w, rig->memory, SIZE, 1000);
	assert_int_equal(sr_capture_reader_init(&rig->r, rig->memory, rig->bytes), 0);
	*state = rig;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *rig = *state;

	free(rig->memory);
	free(rig);
	return 0;
}

/* A record whose bytes are told by its number. */
static bool put(struct sr_capture_writer *w, uint32_t number, uint32_t length)
{
	struct sr_capture_record *record = sr_capture_begin(w, length);

	if (!record)
		return false;
	record->id = sr_capture_vif(1, 2);
	record->time = number;
	record->drop = 0;
	memset(record->data, (int)(number & 0xff), record->captured);
	return true;
}

/* The next one is that. */
static void expect(struct sr_capture_reader *r, uint32_t number, uint32_t length, uint32_t captured)
{
	const struct sr_capture_record *record;

	assert_int_equal(sr_capture_peek(r, &record), 0);
	assert_non_null(record);
	assert_int_equal(record->time, number);
	assert_int_equal(record->length, length);
	assert_int_equal(record->captured, captured);
	for (uint32_t i = 0; i < captured; i++)
		assert_int_equal(record->data[i], number & 0xff);
	sr_capture_next(r);
}

static void expect_none(struct sr_capture_reader *r)
{
	const struct sr_capture_record *record;

	assert_int_equal(sr_capture_peek(r, &record), 0);
	assert_null(record);
}

/* What was published arrives, in order and whole, around the ring's end; no more than snaplen. */
static void test_order(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i < 1000; i++) {
		uint32_t length = i * 37 % 1200;

		assert_true(put(&rig->w, i, length));
		expect_none(&rig->r);
		sr_capture_publish(&rig->w);
		expect(&rig->r, i, length, length < 1000 ? length : 1000);
	}
	expect_none(&rig->r);
}

/* A full ring takes nothing more, and again as soon as there is room. */
static void test_full(void **state)
{
	struct rig *rig = *state;
	uint32_t n = 0;

	while (put(&rig->w, n, 96))
		n++;
	assert_int_equal(n, SIZE / 128);
	sr_capture_publish(&rig->w);
	assert_false(put(&rig->w, n, 0));
	expect(&rig->r, 0, 96, 96);
	assert_true(put(&rig->w, n, 96));
	assert_false(put(&rig->w, n, 96));
	sr_capture_publish(&rig->w);
	for (uint32_t i = 1; i <= n; i++)
		expect(&rig->r, i, 96, 96);
	expect_none(&rig->r);
}

/* What is taken back is never seen, not even where it went around the end. */
static void test_rewind(void **state)
{
	struct rig *rig = *state;

	for (uint32_t i = 0; i < 200; i++) {
		uint64_t mark;

		assert_true(put(&rig->w, 2 * i, 700));
		mark = rig->w.head;
		assert_true(put(&rig->w, 2 * i + 1, 900));
		sr_capture_rewind(&rig->w, mark);
		sr_capture_publish(&rig->w);
		expect(&rig->r, 2 * i, 700, 700);
		expect_none(&rig->r);
	}
}

static void test_counts(void **state)
{
	struct rig *rig = *state;
	uint64_t seen = 0, missed = 0, others = 0;
	struct sr_capture_count count;

	/* More NICs than there are places for. */
	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < SR_CAPTURE_INTERFACES + 10; i++)
			sr_capture_count(&rig->w, sr_capture_vif((uint16_t)i, 0), 3, 1);
	for (unsigned i = 0; i <= SR_CAPTURE_INTERFACES; i++) {
		if (!sr_capture_read_count(&rig->r, i, &count))
			continue;
		seen += count.seen;
		missed += count.missed;
		if (count.id)
			assert_int_equal(count.seen, 6);
		else
			others = count.seen;
	}
	assert_int_equal(seen, 6 * (SR_CAPTURE_INTERFACES + 10));
	assert_int_equal(missed, 2 * (SR_CAPTURE_INTERFACES + 10));
	assert_int_equal(others, 60);
}

/* Whatever a reader writes to its index, the writer stays inside, and at worst has no room. */
static void test_wild_reader(void **state)
{
	struct rig *rig = *state;
	uint64_t dice = 1;

	for (uint32_t i = 0; i < 20000; i++) {
		dice = dice * 6364136223846793005u + 1442695040888963407u;
		/* Any number, near where it should be, and the right one. */
		rig->w.ring->tail = i % 3 == 0   ? dice
				    : i % 3 == 1 ? rig->w.published + (dice >> 50) - 8192
						 : rig->w.published;
		(void)put(&rig->w, i, (uint32_t)(dice >> 32) % 1500);
		sr_capture_publish(&rig->w);
	}
	rig->w.ring->tail = rig->w.published;
	/* It has counted on no room that an index promised which could not be. */
	assert_true(rig->w.limit - rig->w.published <= SIZE);
}

/* Memory that makes no sense ends the reading. */
static void test_wild_writer(void **state)
{
	struct rig *rig = *state;
	const struct sr_capture_record *record;
	uint32_t sizes[] = { 0, 1, 31, 33, 8192, 0xffffffe0 };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		sr_capture_writer_init(&rig->w, rig->memory, SIZE, 1000);
		assert_int_equal(sr_capture_reader_init(&rig->r, rig->memory, rig->bytes), 0);
		assert_true(put(&rig->w, 1, 100));
		rig->w.published = 0;
		sr_capture_publish(&rig->w);
		((struct sr_capture_record *)(void *)rig->w.ring->data)->size = sizes[i];
		assert_int_equal(sr_capture_peek(&rig->r, &record), -EPROTO);
		rig->w.ring->head = 0;
	}
	assert_int_equal(sr_capture_reader_init(&rig->r, rig->memory, 4096), -EPROTO);
	rig->w.ring->magic = 0;
	assert_int_equal(sr_capture_reader_init(&rig->r, rig->memory, rig->bytes), -EPROTO);
}

#define HANDED 200000u

static void *write_many(void *arg)
{
	struct sr_capture_writer *w = arg;

	for (uint32_t i = 0; i < HANDED; i++) {
		bool done = put(w, i, i % 500);

		sr_capture_count(w, sr_capture_vif(1, 2), 1, !done);
		if (i % 8 == 0)
			sr_capture_publish(w);
	}
	sr_capture_publish(w);
	/* An end that is not missed. */
	while (!put(w, HANDED, 0))
		;
	sr_capture_publish(w);
	return NULL;
}

/* Two threads: what arrives is right and in order, and the rest was counted. */
static void test_threads(void **state)
{
	struct rig *rig = *state;
	const struct sr_capture_record *record;
	struct sr_capture_count count = { 0 };
	uint64_t got = 0, last = 0;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, write_many, &rig->w), 0);
	for (;;) {
		assert_int_equal(sr_capture_peek(&rig->r, &record), 0);
		if (!record)
			continue;
		if (record->time == HANDED)
			break;
		assert_true(!got || record->time > last);
		assert_int_equal(record->captured, record->time % 500);
		for (uint32_t i = 0; i < record->captured; i++)
			assert_int_equal(record->data[i], record->time & 0xff);
		last = record->time;
		got++;
		sr_capture_next(&rig->r);
	}
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < SR_CAPTURE_INTERFACES && !count.seen; i++)
		(void)sr_capture_read_count(&rig->r, i, &count);
	assert_int_equal(count.seen, HANDED);
	assert_int_equal(got, HANDED - count.missed);
}

#define with_rig(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_rig(test_order),   with_rig(test_full),        with_rig(test_rewind),
		with_rig(test_counts),  with_rig(test_wild_reader), with_rig(test_wild_writer),
		with_rig(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
