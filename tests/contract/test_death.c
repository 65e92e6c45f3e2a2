/* SPDX-License-Identifier: MIT */
/*
 * A process is killed (SIGKILL) at each stage of its work; afterwards nothing is pinned, no port
 * is taken, no watch is left, and its peers go on.
 */
#include "world.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>

#define RW       (PROT_READ | PROT_WRITE)
#define PATIENCE 10000

extern char **environ;

enum stage { OPENED, HOLDS_PAGES, HOLDS_PORT, WATCHES, MAPS, BOUND, WORKS };

/* What the parent tells the child, and the child the parent: plain numbers in a line. */
struct script {
	enum stage stage;
	char address[256];
	unsigned peer_id, ref, port;
};

/* --- the process that is killed -------------------------------------------------------------- */

static void must(int err, const char *what)
{
	if (!err)
		return;
	printf("%s: %s\n", what, strerror(-err));
	exit(1);
}

static void work(struct sr_gnttab *gt, const struct script *s)
{
	for (;;) {
		struct sr_copy_segment seg = { .len = 4096, .flags = SR_COPY_SOURCE_GREF };
		char page[SR_PAGE_SIZE];
		void *p;

		seg.source.foreign.ref = s->ref;
		seg.source.foreign.domid = (uint16_t)s->peer_id;
		seg.dest.virt = page;
		must(sr_gnttab_copy(gt, &seg, 1), "copy");
		must(sr_gnttab_map(gt, (uint16_t)s->peer_id, &s->ref, 1, RW, &p), "map");
		must(sr_gnttab_unmap(gt, p, 1), "unmap");
	}
}

static int victim(char **argv)
{
	struct script s = { .stage = (enum stage)atoi(argv[0]),
			    .peer_id = (unsigned)atoi(argv[2]),
			    .ref = (unsigned)atoi(argv[3]),
			    .port = (unsigned)atoi(argv[4]) };
	struct sr_hypervisor *hv;
	struct sr_gnttab *gt;
	struct sr_gntshr *gs;
	struct sr_evtchn *ev;
	struct xs_handle *xs;
	uint32_t refs[4] = { 0 }, port = 0;
	void *p;

	must(sr_hv_open(argv[1], &hv), "open");
	must(sr_gnttab_open(hv, &gt), "gnttab");
	must(sr_gntshr_open(hv, &gs), "gntshr");
	must(sr_evtchn_open(hv, &ev), "evtchn");
	must(sr_hv_xenstore(hv, &xs), "xenstore");
	if (s.stage == HOLDS_PAGES || s.stage == HOLDS_PORT)
		must(sr_gntshr_share(gs, (uint16_t)s.peer_id, 4, true, refs, &p), "share");
	if (s.stage == HOLDS_PORT)
		must(sr_evtchn_alloc_unbound(ev, (uint16_t)s.peer_id, &port), "alloc");
	if (s.stage == WATCHES && !xs_watch(xs, "/local/domain", "token"))
		must(-errno, "watch");
	if (s.stage == MAPS || s.stage == BOUND)
		must(sr_gnttab_map(gt, (uint16_t)s.peer_id, &s.ref, 1, RW, &p), "map");
	if (s.stage == BOUND)
		must(sr_evtchn_bind_interdomain(ev, (uint16_t)s.peer_id, s.port, &port), "bind");
	printf("ready %u %u\n", refs[0], port);
	fflush(stdout);
	if (s.stage == WORKS)
		work(gt, &s);
	for (;;)
		pause();
	return 0;
}

/* --- its parent ------------------------------------------------------------------------------ */

static pid_t start(const struct script *s, unsigned *ref, unsigned *port)
{
	char stage[12], peer[12], sref[12], sport[12], line[128] = "";
	char *argv[] = { (char *)"test_contract_death",
			 "--victim",
			 stage,
			 (char *)s->address,
			 peer,
			 sref,
			 sport,
			 NULL };
	posix_spawn_file_actions_t fa;
	int out[2];
	pid_t pid;
	FILE *f;

	snprintf(stage, sizeof(stage), "%d", s->stage);
	snprintf(peer, sizeof(peer), "%u", s->peer_id);
	snprintf(sref, sizeof(sref), "%u", s->ref);
	snprintf(sport, sizeof(sport), "%u", s->port);
	assert_int_equal(pipe(out), 0);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, out[1], 1);
	posix_spawn_file_actions_addclose(&fa, out[0]);
	assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &fa, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&fa);
	close(out[1]);
	f = fdopen(out[0], "r");
	assert_non_null(fgets(line, sizeof(line), f));
	fclose(f);
	if (sscanf(line, "ready %u %u", ref, port) != 2)
		fail_msg("the victim says: %s", line);
	return pid;
}

static void stop(pid_t pid)
{
	int status;

	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void die_at(enum stage stage, const char *address, uint16_t peer)
{
	struct script s = { .stage = stage, .peer_id = peer };
	struct usage before;
	unsigned ref, port;

	snprintf(s.address, sizeof(s.address), "%s", address);
	env_usage(&before);
	stop(start(&s, &ref, &port));
	world_check_usage(&before);
}

static void with_handles_open(void **state)
{
	die_at(OPENED, env.back, env.front_id);
	if (!env.remote)
		die_at(OPENED, env.front, env.back_id);
}

static void with_a_watch(void **state)
{
	die_at(WATCHES, env.back, env.front_id);
	if (!env.remote)
		die_at(WATCHES, env.front, env.back_id);
}

static void with_pages_and_ports(void **state)
{
	if (!env.remote) {
		die_at(HOLDS_PAGES, env.front, env.back_id);
		die_at(HOLDS_PORT, env.front, env.back_id);
	}
	die_at(HOLDS_PORT, env.back, env.front_id);
}

static void a_frontend_whose_page_is_mapped(void **state)
{
	struct world *w = *state;
	struct script s = { .stage = HOLDS_PORT, .peer_id = env.back_id };
	unsigned ref, port;
	uint32_t b;
	pid_t pid;
	char *p;

	world_need_front_here();
	snprintf(s.address, sizeof(s.address), "%s", env.front);
	pid = start(&s, &ref, &port);
	assert_int_equal(sr_gnttab_map(w->gt, env.front_id, &ref, 1, RW, (void **)&p), 0);
	assert_int_equal(sr_evtchn_bind_interdomain(w->eb, env.front_id, port, &b), 0);
	assert_int_equal(world_wait(w->eb, PATIENCE), b);
	stop(pid);
	/* Its page stays ours until we let go; its port is gone and we are told nothing. */
	strcpy(p, "mine");
	assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(sr_evtchn_notify(w->eb, b), 0);
	assert_string_equal(p, "mine");
	assert_int_equal(sr_evtchn_unbind(w->eb, b), 0);
	assert_int_equal(sr_gnttab_unmap(w->gt, p, 1), 0);
	/* That what is left of it goes now is the tear-down's to check. */
}

static void a_backend_that_maps_and_is_bound(void **state)
{
	struct world *w = *state;
	struct script s = { .stage = BOUND, .peer_id = env.front_id };
	struct usage before;
	uint32_t ref, port, b;
	unsigned n;
	void *f;

	snprintf(s.address, sizeof(s.address), "%s", env.back);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, &f), 0);
	assert_int_equal(sr_evtchn_alloc_unbound(w->ef, env.back_id, &port), 0);
	env_usage(&before);
	for (int round = 0; round < 5; round++) {
		pid_t pid;

		s.ref = ref;
		s.port = port;
		pid = start(&s, &n, &n);
		assert_int_equal(sr_evtchn_notify(w->ef, port), 0);
		world_expect_busy(w, f, 1);
		stop(pid);
		world_check_usage(&before);
		assert_int_equal(sr_evtchn_notify(w->ef, port), 0);
	}
	/* Its successor finds everything as the first one did. */
	assert_int_equal(sr_evtchn_bind_interdomain(w->eb, env.front_id, port, &b), 0);
	assert_int_equal(world_wait(w->eb, PATIENCE), b);
	assert_int_equal(sr_evtchn_unmask(w->eb, b), 0);
	assert_int_equal(sr_evtchn_notify(w->ef, port), 0);
	assert_int_equal(world_wait(w->eb, PATIENCE), b);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

/* At whatever instruction of map, unmap and copy it happens to be. */
static void a_backend_at_work(void **state)
{
	struct world *w = *state;
	struct script s = { .stage = WORKS, .peer_id = env.front_id };
	struct usage before;
	unsigned n;
	void *f;

	snprintf(s.address, sizeof(s.address), "%s", env.back);
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &s.ref, &f), 0);
	env_usage(&before);
	for (int round = 0; round < 20; round++) {
		pid_t pid = start(&s, &n, &n);

		usleep((useconds_t)(round * 137));
		stop(pid);
		world_check_usage(&before);
	}
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(with_handles_open),
		CASE(with_a_watch),
		CASE(with_pages_and_ports),
		CASE(a_frontend_whose_page_is_mapped),
		CASE(a_backend_that_maps_and_is_bound),
		CASE(a_backend_at_work),
	};

	if (argc == 7 && !strcmp(argv[1], "--victim"))
		return victim(argv + 2);
	return world_main(argc, argv, "death", tests, sizeof(tests) / sizeof(tests[0]));
}
