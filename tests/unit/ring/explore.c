/* SPDX-License-Identifier: MIT */
#include "explore.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 8, PLACES = WORDS + EXPLORE_EVENTS, HISTORY = 24, STEPS = 160 };

enum op_kind { OP_LOAD, OP_STORE, OP_FENCE, OP_NOTIFY, OP_WAIT, OP_DONE, OP_FAIL };

struct op {
	enum op_kind kind;
	unsigned place;
	uint32_t value;
	bool ordered; /* acquire or release */
	const char *what;
};

/* For each place the newest store that is known of. */
struct view {
	uint8_t at[PLACES];
};

struct store {
	uint32_t value;
	struct view view; /* what whoever acquires it learns */
};

struct thread {
	struct view now;      /* what its loads must respect */
	struct view acquired; /* what its loads have seen, to be respected after a fence */
	struct view released; /* what its relaxed stores pass on: `now` at the last fence */
	uint32_t steps;
	uint32_t results[STEPS]; /* of each step so far; that of a store is 0 */
};

struct state {
	uint8_t stored[PLACES]; /* the newest store to each place */
	struct store history[PLACES][HISTORY];
	struct view fences; /* what all fences so far have known */
	struct thread thread[EXPLORE_THREADS];
};

static struct {
	const struct explore_program *program;
	struct explore_result *result;
	/* The thread that is being replayed, how far it has come, and the operation it stops at. */
	const struct thread *thread;
	uint32_t step;
	struct op op;
	jmp_buf stop;
	/* Digests of the states seen: a hash set with open addressing. */
	uint64_t (*seen)[2];
	uint64_t seen_size;
} x;

static void join(struct view *v, const struct view *other)
{
	for (unsigned i = 0; i < PLACES; i++) {
		if (v->at[i] < other->at[i])
			v->at[i] = other->at[i];
	}
}

/* --- the threads' side: replay, and stop at the first operation that is new ------------------- */

static uint32_t next(struct op op)
{
	if (x.step < x.thread->steps)
		return x.thread->results[x.step++];
	x.op = op;
	longjmp(x.stop, 1);
}

static unsigned place_of(const uint32_t *p)
{
	return (unsigned)(p - x.program->words);
}

static bool is(const char *name, const char *where)
{
	return name && !strcmp(name, where);
}

uint32_t explore_load(const uint32_t *p, bool acquire, const char *where)
{
	return next((struct op){ .kind = OP_LOAD,
				 .place = place_of(p),
				 .ordered = acquire && !is(x.program->drop_acquire, where) });
}

void explore_store(uint32_t *p, uint32_t v, bool release, const char *where)
{
	next((struct op){ .kind = OP_STORE,
			  .place = place_of(p),
			  .value = v,
			  .ordered = release && !is(x.program->drop_release, where) });
}

void explore_fence(const char *where)
{
	if (!is(x.program->drop_fence, where))
		next((struct op){ .kind = OP_FENCE });
}

void explore_notify(unsigned event)
{
	next((struct op){ .kind = OP_NOTIFY, .place = WORDS + event });
}

void explore_wait(unsigned event)
{
	next((struct op){ .kind = OP_WAIT, .place = WORDS + event });
}

void explore_check(bool good, const char *what)
{
	if (!good)
		next((struct op){ .kind = OP_FAIL, .what = what });
}

/* Which operation would the thread do next? */
static struct op peek(const struct state *s, unsigned thread)
{
	x.thread = &s->thread[thread];
	x.step = 0;
	if (!setjmp(x.stop)) {
		x.program->thread[thread](x.program->arg);
		x.op = (struct op){ .kind = OP_DONE };
	}
	return x.op;
}

/* --- the memory ------------------------------------------------------------------------------- */

static void append(struct state *s, unsigned place, uint32_t value, const struct view *view)
{
	unsigned at = ++s->stored[place];

	if (at >= HISTORY)
		abort();
	s->history[place][at] = (struct store){ .value = value, .view = *view };
	s->history[place][at].view.at[place] = (uint8_t)at;
}

/* Does `op` for the thread; a load returns the store of age `choice`. */
static void perform(struct state *s, unsigned thread, const struct op *op, unsigned choice)
{
	struct thread *t = &s->thread[thread];
	const struct store *from = &s->history[op->place][choice];
	uint32_t value = 0;

	switch (op->kind) {
	case OP_LOAD:
		value = from->value;
		t->now.at[op->place] = (uint8_t)choice;
		join(&t->acquired, &t->now);
		join(&t->acquired, &from->view);
		if (op->ordered)
			join(&t->now, &from->view);
		break;
	case OP_STORE:
		t->now.at[op->place] = (uint8_t)(s->stored[op->place] + 1);
		t->acquired.at[op->place] = t->now.at[op->place];
		append(s, op->place, op->value, op->ordered ? &t->now : &t->released);
		break;
	case OP_FENCE:
		join(&t->now, &t->acquired);
		join(&t->now, &s->fences);
		s->fences = t->acquired = t->released = t->now;
		break;
	case OP_NOTIFY:
	case OP_WAIT:
		/* The hypervisor's atomic operations: the newest value, acquire and release. */
		join(&t->now, &from->view);
		t->now.at[op->place] = (uint8_t)(s->stored[op->place] + 1);
		join(&t->acquired, &t->now);
		append(s, op->place, op->kind == OP_NOTIFY, &t->now);
		break;
	case OP_DONE:
	case OP_FAIL:
		break;
	}
	if (t->steps >= STEPS)
		abort();
	t->results[t->steps++] = value;
}

/* --- the search ------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, const void *data, size_t size, uint64_t factor)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i++) {
		h = (h ^ p[i]) * factor;
		h ^= h >> 29;
	}
	return h;
}

static uint64_t digest(const struct state *s, uint64_t factor)
{
	uint64_t h = mix(factor, s->stored, sizeof(s->stored), factor);

	for (unsigned p = 0; p < PLACES; p++)
		h = mix(h, s->history[p], (s->stored[p] + 1u) * sizeof(struct store), factor);
	h = mix(h, &s->fences, sizeof(s->fences), factor);
	for (unsigned i = 0; i < EXPLORE_THREADS; i++) {
		const struct thread *t = &s->thread[i];

		h = mix(h, t, offsetof(struct thread, results), factor);
		h = mix(h, t->results, t->steps * sizeof(t->results[0]), factor);
	}
	return h;
}

/* Puts the digest in the set; false: it was there. */
static bool insert(const uint64_t key[2])
{
	uint64_t i = key[0];

	for (;; i++) {
		uint64_t *slot = x.seen[i & (x.seen_size - 1)];

		if (!slot[0] && !slot[1]) {
			memcpy(slot, key, sizeof(x.seen[0]));
			return true;
		}
		if (slot[0] == key[0] && slot[1] == key[1])
			return false;
	}
}

static bool first_visit(const struct state *s)
{
	uint64_t key[2] = { digest(s, 0x9e3779b97f4a7c15u) | 1, digest(s, 0xc2b2ae3d27d4eb4fu) };

	if (x.result->states * 2 >= x.seen_size) {
		uint64_t(*old)[2] = x.seen, old_size = x.seen_size;

		x.seen_size = old_size * 2;
		x.seen = calloc(x.seen_size, sizeof(x.seen[0]));
		if (!x.seen)
			abort();
		for (uint64_t i = 0; i < old_size; i++) {
			if (old[i][0])
				insert(old[i]);
		}
		free(old);
	}
	if (!insert(key))
		return false;
	x.result->states++;
	return true;
}

static void visit(const struct state *s);

/* Goes on with every outcome of `op`; false: it can't be done now. */
static bool branch(const struct state *s, unsigned thread, const struct op *op)
{
	unsigned newest = s->stored[op->place], oldest = newest;

	if (op->kind == OP_WAIT && !s->history[op->place][newest].value)
		return false;
	if (op->kind == OP_LOAD)
		oldest = s->thread[thread].now.at[op->place];
	for (unsigned choice = oldest; choice <= newest && !x.result->failed; choice++) {
		struct state *after = malloc(sizeof(*after));

		if (!after)
			abort();
		*after = *s;
		perform(after, thread, op, choice);
		visit(after);
		free(after);
	}
	return true;
}

static void visit(const struct state *s)
{
	unsigned done = 0, moved = 0;

	if (!first_visit(s))
		return;
	for (unsigned i = 0; i < EXPLORE_THREADS && !x.result->failed; i++) {
		struct op op = peek(s, i);

		if (op.kind == OP_FAIL)
			x.result->failed = op.what;
		else if (op.kind == OP_DONE)
			done++;
		else if (branch(s, i, &op))
			moved++;
	}
	if (x.result->failed)
		return;
	if (done == EXPLORE_THREADS)
		x.result->runs++;
	else if (!moved)
		x.result->failed = "all sleep, and work is left";
}

void explore(const struct explore_program *program, struct explore_result *result)
{
	struct state *s = calloc(1, sizeof(*s));

	*result = (struct explore_result){ 0 };
	x.program = program;
	x.result = result;
	x.seen_size = 1u << 16;
	x.seen = calloc(x.seen_size, sizeof(x.seen[0]));
	if (!s || !x.seen || program->count > WORDS)
		abort();
	for (unsigned i = 0; i < program->count; i++)
		s->history[i][0].value = program->words[i];
	visit(s);
	free(x.seen);
	x.seen = NULL;
	free(s);
}
