/* SPDX-License-Identifier: MIT */
#ifndef SR_EXPLORE_H
#define SR_EXPLORE_H

/*
 * Runs small threads in every interleaving over a simulated weak memory.
 *
 * The memory is the view-based form of C11's: each location keeps all that was ever stored to it,
 * and a relaxed load may return anything that is not older than what its thread knows of. Release,
 * acquire and full fences pass that knowledge on, nothing else does. This is weaker than x86 and
 * as weak as ARM, except that a load doesn't run ahead of the stores that follow it in its thread.
 * Each location has one writer at a time, as a ring's words have.
 *
 * A thread is a function that is run again from its start for every step, with the results of the
 * steps it has done already; so it keeps its state in local variables, and all that it shares goes
 * through the calls below.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPLORE_THREADS 2
#define EXPLORE_EVENTS  2

struct explore_result {
	uint64_t states;    /* different ones that were visited */
	uint64_t runs;      /* interleavings that ended well, up to equal states */
	const char *failed; /* NULL, or what went wrong in some interleaving */
};

struct explore_program {
	void (*thread[EXPLORE_THREADS])(void *arg);
	void *arg;
	uint32_t *words; /* the shared locations with their first values */
	unsigned count;
	/* The function whose fence, release or acquire is left out, or NULL. */
	const char *drop_fence, *drop_release, *drop_acquire;
};

/* Visits every state. Stops at the first failure. */
void explore(const struct explore_program *program, struct explore_result *result);

/* To be called by a thread. */
uint32_t explore_load(const uint32_t *p, bool acquire, const char *where);
void explore_store(uint32_t *p, uint32_t v, bool release, const char *where);
void explore_fence(const char *where);
/* An event channel: a flag that notify sets and wait waits for and clears. */
void explore_notify(unsigned event);
void explore_wait(unsigned event);
/* Ends the exploration with `what` unless `good`. */
void explore_check(bool good, const char *what);

#endif
