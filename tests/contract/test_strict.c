/* SPDX-License-Identifier: MIT */
/* Where each grant is mapped with a protection of its own, a forbidden access faults. */
#include "world.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

static sigjmp_buf back_to_the_test;

static void on_fault(int sig)
{
	siglongjmp(back_to_the_test, sig);
}

/* True if the access faulted. */
static bool faults(volatile char *p, bool write)
{
	struct sigaction act = { .sa_handler = on_fault }, old_segv, old_bus;
	bool faulted;

	sigaction(SIGSEGV, &act, &old_segv);
	sigaction(SIGBUS, &act, &old_bus);
	faulted = sigsetjmp(back_to_the_test, 1) != 0;
	if (!faulted) {
		char c = *p;

		if (write)
			*p = c;
	}
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
	return faulted;
}

static void a_write_to_a_read_only_map_faults(void **state)
{
	struct world *w = *state;
	uint32_t refs[2];
	char *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 2, true, refs, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, refs, 2, PROT_READ, (void **)&b), 0);
	assert_false(faults(b, false));
	assert_true(faults(b, true));
	assert_true(faults(b + SR_PAGE_SIZE, true));
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 2), 0);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 2), 0);
}

static void use_after_unmap_faults(void **state)
{
	struct world *w = *state;
	uint32_t refs[3];
	char *f, *b;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 3, true, refs, (void **)&f), 0);
	assert_int_equal(
	    sr_gnttab_map(w->gt, env.front_id, refs, 3, PROT_READ | PROT_WRITE, (void **)&b), 0);
	for (int i = 0; i < 3; i++)
		assert_false(faults(b + i * SR_PAGE_SIZE, true));
	assert_int_equal(sr_gnttab_unmap(w->gt, b, 3), 0);
	for (int i = 0; i < 3; i++)
		assert_true(faults(b + i * SR_PAGE_SIZE, false));
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 3), 0);
}

static void use_after_close_faults(void **state)
{
	struct world *w = *state;
	struct sr_gnttab *gt;
	uint32_t ref;
	char *f, *b;

	assert_int_equal(sr_gnttab_open(w->back, &gt), 0);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	assert_int_equal(sr_gnttab_map(gt, env.front_id, &ref, 1, PROT_READ, (void **)&b), 0);
	assert_false(faults(b, false));
	sr_gnttab_close(gt);
	assert_true(faults(b, false));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(a_write_to_a_read_only_map_faults),
		CASE(use_after_unmap_faults),
		CASE(use_after_close_faults),
	};

	return world_main(argc, argv, "strict", tests, sizeof(tests) / sizeof(tests[0]));
}
