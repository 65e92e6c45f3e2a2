/* SPDX-License-Identifier: MIT */
/*
 * The fast path of event channels: no wake-up is lost, in any order of steps. Each step of the
 * protocol is one read-modify-write, so running the shipped functions in every order of the two
 * sides' steps covers all that can happen.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the above first. */
#include <cmocka.h>
#include <core/channel.h>
#include <pthread.h>
#include <semaphore.h>
#include <string.h>

#define EVENTS  4 /* work items that each sender announces */
#define SENDERS 2

/* A sender: write an item, send, ring if told to. */
struct sender {
	int sent;
	int pc; /* 0: write; 1: send; 2: ring */
};

/* The receiver: take, read what there is, arm; if nothing is pending sleep until rung. */
struct world {
	struct sr_channel_line line;
	struct sender sender[SENDERS];
	int items;    /* written by senders */
	int rings;    /* the doorbell, as an eventfd counts */
	int consumed; /* seen by the receiver */
	int seen;     /* read, in the step between take and arm */
	int pc;       /* 0: take; 1: read; 2: arm; 3: asleep */
};

static uint64_t states, ends;

static bool sender_step(struct world *w, struct sender *s)
{
	if (s->sent == EVENTS)
		return false;
	if (s->pc == 0) {
		w->items++;
		s->pc = 1;
	} else if (s->pc == 1) {
		s->pc = sr_channel_send(&w->line) == SR_CHANNEL_RING ? 2 : 0;
		s->sent += s->pc == 0;
	} else {
		w->rings++;
		s->sent++;
		s->pc = 0;
	}
	return true;
}

static bool receiver_step(struct world *w)
{
	switch (w->pc) {
	case 0:
		sr_channel_take(&w->line);
		w->pc = 1;
		return true;
	case 1:
		w->consumed = w->items;
		w->pc = 2;
		return true;
	case 2:
		w->pc = sr_channel_arm(&w->line) ? 0 : 3;
		return true;
	default:
		if (w->rings == 0)
			return false;
		w->rings = 0;
		w->pc = 0;
		return true;
	}
}

/* States seen before lead nowhere new. A state fits 32 bits. */
#define SEEN_SIZE (1u << 22)
static uint8_t seen_bits[SEEN_SIZE / 8];

static uint32_t state_key(const struct world *w)
{
	uint32_t key = w->line.word & 3;

	for (int i = 0; i < SENDERS; i++)
		key = key << 5 | (uint32_t)(w->sender[i].sent * 3 + w->sender[i].pc);
	key = key << 2 | (uint32_t)w->pc;
	key = key << 2 | (uint32_t)(w->rings > 3 ? 3 : w->rings);
	return key << 4 | (uint32_t)(w->items - w->consumed);
}

static void explore(const struct world *w)
{
	uint32_t key = state_key(w);
	bool moved = false;

	assert_true(key < SEEN_SIZE);
	if (seen_bits[key / 8] & 1 << key % 8)
		return;
	seen_bits[key / 8] |= (uint8_t)(1 << key % 8);
	states++;
	for (int i = 0; i <= SENDERS; i++) {
		struct world next = *w;

		if (i < SENDERS ? sender_step(&next, &next.sender[i]) : receiver_step(&next)) {
			moved = true;
			explore(&next);
		}
	}
	if (moved)
		return;
	/* Everyone has stopped: the receiver sleeps, and must have seen it all. */
	ends++;
	assert_int_equal(w->consumed, w->items);
	assert_int_equal(w->items, SENDERS * EVENTS);
}

static void test_every_order(void **state)
{
	struct world w;

	memset(&w, 0, sizeof(w));
	states = ends = 0;
	memset(seen_bits, 0, sizeof(seen_bits));
	explore(&w);
	assert_true(states > 1000);
	assert_true(ends > 0);
}

static void test_busy_receiver_is_not_rung(void **state)
{
	struct sr_channel ch;
	struct sr_channel_line *line = &ch.lines[1];

	memset(&ch, 0, sizeof(ch));
	assert_int_equal(sr_channel_send(line), SR_CHANNEL_QUIET);
	assert_true(sr_channel_peek(line));
	assert_true(sr_channel_arm(line)); /* it came before */
	assert_int_equal(sr_channel_send(line), SR_CHANNEL_QUIET);
	assert_true(sr_channel_take(line));
	assert_false(sr_channel_take(line));
	assert_false(sr_channel_arm(line));
	assert_int_equal(sr_channel_send(line), SR_CHANNEL_RING);
	assert_int_equal(sr_channel_send(line), SR_CHANNEL_QUIET); /* rung once is enough */
	sr_channel_mask(line);
	assert_true(sr_channel_peek(line));
	assert_true(sr_channel_arm(line));
	/* The other direction is another line. */
	assert_false(sr_channel_peek(&ch.lines[0]));
}

static void test_closed(void **state)
{
	struct sr_channel ch;

	memset(&ch, 0, sizeof(ch));
	sr_channel_arm(&ch.lines[0]);
	sr_channel_close(&ch);
	assert_true(sr_channel_closed(&ch.lines[0]));
	assert_true(sr_channel_closed(&ch.lines[1]));
	assert_int_equal(sr_channel_send(&ch.lines[0]), SR_CHANNEL_SLOW);
	assert_int_equal(sr_channel_send(&ch.lines[1]), SR_CHANNEL_SLOW);
}

/* The same with real threads and a real doorbell; a lost wake-up shows as a hang. */
#define THREAD_EVENTS 20000

struct live {
	struct sr_channel_line line;
	_Atomic uint32_t items;
	sem_t doorbell;
	uint32_t rings;
};

static void *live_sender(void *arg)
{
	struct live *l = arg;

	for (int i = 0; i < THREAD_EVENTS; i++) {
		atomic_fetch_add_explicit(&l->items, 1, memory_order_relaxed);
		if (sr_channel_send(&l->line) == SR_CHANNEL_RING)
			sem_post(&l->doorbell);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct live l;
	pthread_t t[SENDERS];
	uint32_t seen = 0;

	memset(&l, 0, sizeof(l));
	sem_init(&l.doorbell, 0, 0);
	for (int i = 0; i < SENDERS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, live_sender, &l), 0);
	for (;;) {
		sr_channel_take(&l.line);
		seen = atomic_load_explicit(&l.items, memory_order_relaxed);
		if (seen == SENDERS * THREAD_EVENTS)
			break;
		if (!sr_channel_arm(&l.line))
			sem_wait(&l.doorbell);
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(t[i], NULL);
	sem_destroy(&l.doorbell);
	assert_int_equal(seen, SENDERS * THREAD_EVENTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_order),
		cmocka_unit_test(test_busy_receiver_is_not_rung),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
