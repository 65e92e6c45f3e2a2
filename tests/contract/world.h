/* SPDX-License-Identifier: MIT */
#ifndef CONTRACT_WORLD_H
#define CONTRACT_WORLD_H

/* What each case starts with: one handle of each family in both domains. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "env.h"

struct world {
	struct sr_hypervisor *back, *front;
	struct sr_gnttab *gt;      /* back's */
	struct sr_gntshr *gs;      /* front's */
	struct sr_evtchn *eb, *ef; /* back's and front's */
	struct usage before;
};

extern struct env env;

int world_setup(void **state);
/* Closes everything; fails where something leaked. */
int world_teardown(void **state);
/* Fails unless the hypervisor keeps as much as it did in `before`; waits for it a while. */
void world_check_usage(const struct usage *before);

/* The next event, waited for on the descriptor; 0: none came (ports are never 0). */
uint32_t world_wait(struct sr_evtchn *ev, int timeout_ms);
/* Fails if there is an event, but for those that the environment does not forget. */
void world_expect_silence(struct sr_evtchn *ev);
/* A channel: allocated in front, bound in back, the first event of which has been taken. */
void world_channel(struct world *w, uint32_t *front_port, uint32_t *back_port);

/*
 * The bytes of what front shared, which is memory of ours or of another domain: `at` is an address
 * in it.
 */
void world_put(void *at, const void *data, size_t len);
void world_get(const void *at, void *data, size_t len);
void world_fill(void *at, int byte, size_t len);
void world_expect(const void *at, const void *data, size_t len);
/* Fails unless unsharing is refused while it is mapped, where that is done at all. */
void world_expect_busy(struct world *w, void *addr, unsigned count);

/* Ends the case as one that can't be run here, and says why. */
_Noreturn void world_skip(const char *why);
/* Skips where front is driven from another process, see env.h. */
void world_need_front_here(void);

/* Starts the environment that argv[1] names ("embedded:", ...), runs the cases. */
int world_main(int argc, char **argv, const char *name, const struct CMUnitTest *tests, size_t n);

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

#endif
