/* SPDX-License-Identifier: MIT */
/*
 * Recovery: the backend dies before each store that it does to the ring or to its record, is
 * followed by another process, which may die as well, and the guest must not notice: every request
 * is answered exactly once, with what it asked for.
 *
 * One process plays both: what survives is in struct world, what dies is on the backend's stack.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ledger.h"

#define PAGE     4096u
#define REQUESTS 48u   /* so the ring of 32 slots goes round */
#define OFFSET   1000u /* ids are not small numbers */

struct world {
	uint8_t ring[PAGE] __attribute__((aligned(PAGE)));
	uint8_t record[2 * PAGE] __attribute__((aligned(64)));
	struct sr_blkif_front front;
	unsigned sent;
	unsigned out; /* sent and not answered */
	bool answered[REQUESTS];
	unsigned executed[REQUESTS];
	unsigned last_fresh; /* requests are first executed in the guest's order */
	bool connected;
};

static struct world world;
static jmp_buf death;
static long lives; /* stores until death; negative: immortal */
static long stores;
static uint32_t dice;

void crash_point(void)
{
	stores++;
	if (lives >= 0 && lives-- == 0)
		longjmp(death, 1);
}

static unsigned roll(unsigned n)
{
	dice = dice * 1664525u + 1013904223u;
	return (dice >> 16) % n;
}

/* --- the guest ----------------------------------------------------------------------------------
 */

static uint8_t operation_of(unsigned i)
{
	return i % 5 == 4 ? BLKIF_OP_WRITE_BARRIER : i % 2 ? BLKIF_OP_WRITE : BLKIF_OP_READ;
}

static void guest_reap(void)
{
	int n = sr_ring_front_pending(&world.front.ring);

	assert_true(n >= 0);
	while (n--) {
		struct blkif_response rsp;
		unsigned i;

		sr_blkif_front_take(&world.front, &rsp);
		i = (unsigned)rsp.id - OFFSET;
		assert_true(rsp.id >= OFFSET && i < world.sent);
		assert_false(world.answered[i]);
		assert_true(world.executed[i] > 0);
		assert_int_equal(rsp.operation, operation_of(i));
		assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
		world.answered[i] = true;
		world.out--;
	}
}

static void guest_send(unsigned max)
{
	while (max-- && world.sent < REQUESTS && sr_ring_front_free(&world.front.ring)) {
		struct sr_blkif_request req = {
			.id = OFFSET + world.sent,
			.sector = world.sent * 8,
			.operation = operation_of(world.sent),
			.nr_segments = 1,
		};

		req.segs[0] = (struct blkif_request_segment){ .gref = world.sent, .last_sect = 7 };
		sr_blkif_front_put(&world.front, &req);
		world.sent++;
		world.out++;
	}
	sr_ring_front_publish(&world.front.ring);
}

/* The guest does not die with the backend. */
static void guest_turn(void)
{
	long left = lives;

	lives = -1;
	guest_reap();
	guest_send(roll(9));
	lives = left;
}

/* --- the backend --------------------------------------------------------------------------------
 */

struct backend {
	struct sr_ledger ledger;
	uint16_t free[512], hand[512], done[512];
	unsigned free_count, hand_count, done_count;
};

static void execute(struct backend *b, unsigned slot)
{
	const struct sr_blkif_request *req = &b->ledger.rec->slots[slot].request;
	unsigned i = (unsigned)req->id - OFFSET;

	/* What it took is a request, and the one that the guest wrote. */
	assert_true(req->id >= OFFSET && i < world.sent);
	assert_false(world.answered[i]);
	assert_int_equal(req->operation, operation_of(i));
	assert_int_equal(req->sector, i * 8);
	assert_int_equal(req->segs[0].gref, i);
	if (!world.executed[i])
		assert_int_equal(i, world.last_fresh++);
	world.executed[i]++;
	b->hand[b->hand_count++] = (uint16_t)slot;
}

static void backend_attach(struct backend *b)
{
	struct sr_record_queue *rec = (struct sr_record_queue *)(void *)world.record;
	uint16_t again[512];
	bool used[512] = { false };
	unsigned count = 0, last = 0;

	if (world.connected)
		assert_int_equal(sr_ledger_resume(&b->ledger, rec, world.ring, 0,
						  SR_BLKIF_ABI_X86_64, again, &count),
				 0);
	else
		assert_int_equal(
		    sr_ledger_begin(&b->ledger, rec, world.ring, 0, SR_BLKIF_ABI_X86_64), 0);
	world.connected = true;
	for (unsigned i = 0; i < count; i++) {
		unsigned id = (unsigned)rec->slots[again[i]].request.id;

		assert_true(id > last);
		last = id;
		used[again[i]] = true;
		execute(b, again[i]);
	}
	for (unsigned i = 0; i < 32; i++)
		if (!used[i])
			b->free[b->free_count++] = (uint16_t)i;
}

static void backend_take(struct backend *b)
{
	int n = sr_ring_back_pending(&b->ledger.back.ring);
	unsigned first = b->hand_count;
	uint16_t taken[32];

	assert_true(n >= 0);
	if (n > 7)
		n = 7;
	for (int i = 0; i < n; i++) {
		taken[i] = b->free[--b->free_count];
		sr_ledger_take(&b->ledger, taken[i]);
	}
	sr_ledger_commit(&b->ledger);
	for (int i = 0; i < n; i++)
		execute(b, taken[i]);
	assert_int_equal(b->hand_count, first + (unsigned)n);
}

/* Some of what is in hand is finished, in any order. */
static void backend_answer(struct backend *b)
{
	unsigned n = b->hand_count ? roll(b->hand_count + 1) : 0;

	b->done_count = 0;
	while (n--) {
		unsigned k = roll(b->hand_count);
		uint16_t slot = b->hand[k];

		b->hand[k] = b->hand[--b->hand_count];
		sr_ledger_answer(&b->ledger, slot, b->ledger.rec->slots[slot].request.operation,
				 BLKIF_RSP_OKAY);
		b->done[b->done_count++] = slot;
	}
	sr_ledger_publish(&b->ledger);
	while (b->done_count)
		b->free[b->free_count++] = b->done[--b->done_count];
}

/* A process. False: it was killed. */
static bool process(long stores_to_live)
{
	struct backend b = { 0 };

	lives = stores_to_live;
	if (setjmp(death)) {
		lives = -1;
		return false;
	}
	backend_attach(&b);
	while (world.sent < REQUESTS || world.out) {
		backend_take(&b);
		backend_answer(&b);
		guest_turn();
	}
	lives = -1;
	return true;
}

/* --- cases --------------------------------------------------------------------------------------
 */

static void new_world(uint32_t seed, uint32_t start)
{
	struct sr_ring_indices *shared = (struct sr_ring_indices *)(void *)world.ring;

	memset(&world, 0, sizeof(world));
	dice = seed;
	lives = -1;
	assert_int_equal(sr_blkif_front_init(&world.front, world.ring, 0, SR_BLKIF_ABI_X86_64), 0);
	/* A ring that has been in use: the indices go through 2^32 during the test. */
	shared->req_prod = shared->rsp_prod = start;
	shared->req_event = shared->rsp_event = start + 1;
	assert_int_equal(sr_ring_front_attach(&world.front.ring, shared, 32, start, start), 0);
	guest_send(5);
}

static void check_end(void)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_true(world.answered[i]);
	assert_int_equal(world.out, 0);
}

static long length_of_a_life(void)
{
	new_world(1, UINT32_MAX - 20);
	stores = 0;
	assert_true(process(-1));
	check_end();
	return stores;
}

static void test_no_kill(void **state)
{
	assert_true(length_of_a_life() > 300);
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(world.executed[i], 1);
}

static void test_kill_at_each_store(void **state)
{
	long life = length_of_a_life();

	for (long k = 0; k < life; k++)
		for (uint32_t seed = 1; seed < 5; seed++) {
			bool whole;

			new_world(seed, UINT32_MAX - 20);
			whole = process(k);
			guest_turn();
			if (!whole)
				assert_true(process(-1));
			check_end();
		}
}

/* The next process is killed too, at each store of its beginning; and the one after it. */
static void test_kill_twice(void **state)
{
	long life = length_of_a_life();

	for (long k = 0; k < life; k += 3)
		for (long j = 0; j < 120; j++) {
			new_world(1 + (uint32_t)k % 7, 77);
			if (process(k))
				continue;
			if (j % 2)
				guest_turn();
			if (!process(j) && !process(j / 2))
				assert_true(process(-1));
			check_end();
		}
}

/* rsp_prod is the backend's. A guest that writes it while nobody looks is disconnected. */
static void test_guest_moves_rsp_prod(void **state)
{
	struct sr_record_queue *rec = (struct sr_record_queue *)(void *)world.record;
	struct sr_ring_indices *shared = (struct sr_ring_indices *)(void *)world.ring;
	uint16_t in_hand[512];
	struct sr_ledger l;
	unsigned count;

	new_world(3, 0);
	assert_false(process(60));
	shared->rsp_prod += 17;
	assert_int_equal(
	    sr_ledger_resume(&l, rec, world.ring, 0, SR_BLKIF_ABI_X86_64, in_hand, &count),
	    -EPROTO);
}

static void test_record_check(void **state)
{
	size_t size = sr_record_size(2, 32);
	struct sr_record *r = calloc(1, size);

	assert_int_equal(sr_record_check(r, size), -ENOENT);
	r->magic = SR_RECORD_MAGIC;
	r->version = SR_RECORD_VERSION;
	r->queues = 2;
	r->abi = SR_BLKIF_ABI_X86_64;
	assert_int_equal(sr_record_check(r, size), -ENOENT);
	r->connected = 1;
	assert_int_equal(sr_record_check(r, size), 0);
	assert_int_equal(sr_record_check(r, size + 4096), -EINVAL);
	assert_int_equal(sr_record_check(r, 100), -EINVAL);
	r->version++;
	assert_int_equal(sr_record_check(r, size), -EINVAL);
	r->version--;
	r->order = 31;
	assert_int_equal(sr_record_check(r, size), -EINVAL);
	r->order = 0;
	r->queues = 17;
	assert_int_equal(sr_record_check(r, size), -EINVAL);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_kill),      cmocka_unit_test(test_kill_at_each_store),
		cmocka_unit_test(test_kill_twice),   cmocka_unit_test(test_guest_moves_rsp_prod),
		cmocka_unit_test(test_record_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
