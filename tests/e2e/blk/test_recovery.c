/* SPDX-License-Identifier: MIT */
/*
 * The backend is a process of its own that is killed in the middle of the work, and one that hands
 * over in order; the guest sees a pause. This program plays the supervisor; run with arguments it
 * is the backend.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blk/blkback.h>
#include <blkfront/blkfront.h>
#include <cmocka.h>
#include <drivers/registry.h>

#include "harness.h"

#define BLOCK     4096u
#define BLOCKS    1024u
#define DEPTH     16u
#define KEEP_FD   9
#define KEEP_TEXT "9"

extern char **environ;

/* --- the backend process ------------------------------------------------------------------------
 */

static struct sr_blkback *backend;

static void on_term(int signal)
{
	sr_blkback_stop(backend, SR_BLKBACK_HANDOVER);
}

static int be_the_backend(const char *address, int fd)
{
	struct sr_log log = { .fd = STDERR_FILENO,
			      .level = getenv("SR_TEST_LOG") ? SR_LOG_INFO : SR_LOG_ERROR };
	struct sr_blkback_options opt = { .log = &log, .threads = 2 };
	struct sr_hypervisor *hv;
	int rc;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (sr_blk_registry_new(&opt.registry) || sr_hv_open(address, &hv) ||
	    sr_keep_open_keeper(fd, &opt.keep) || sr_blkback_new(hv, &opt, &backend))
		return 1;
	signal(SIGTERM, on_term);
	rc = sr_blkback_run(backend);
	sr_blkback_free(backend);
	sr_keep_close(opt.keep);
	sr_hv_close(hv);
	sr_blk_registry_free(opt.registry);
	return rc ? 1 : 0;
}

/* --- the supervisor -----------------------------------------------------------------------------
 */

struct supervisor {
	struct harness h;
	struct harness_disk disk;
	struct sr_keeper *keeper;
	pthread_t keeper_thread;
	bool stop; /* atomic */
	pid_t child;
	char image[96], params[128];
	struct sr_hypervisor *guest;
	struct sr_blkfront *front;
	uint8_t *pages[2]; /* of each queue */
};

static void *keep(void *arg)
{
	struct supervisor *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE)) {
		struct pollfd fd = { .fd = sr_keeper_fd(s->keeper), .events = POLLIN };

		poll(&fd, 1, 20);
		if (sr_keeper_process(s->keeper) == -EPIPE)
			break;
	}
	return NULL;
}

static void spawn(struct supervisor *s)
{
	char *argv[] = { (char *)"/proc/self/exe", s->h.dom0, (char *)KEEP_TEXT, NULL };
	posix_spawn_file_actions_t actions;
	int fd;

	assert_int_equal(sr_keeper_connect(s->keeper, &fd), 0);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, KEEP_FD);
	assert_int_equal(posix_spawn(&s->child, argv[0], &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(fd);
	assert_int_equal(pthread_create(&s->keeper_thread, NULL, keep, s), 0);
}

/* Returns how it ended. */
static int end_child(struct supervisor *s, int signal)
{
	int status;

	kill(s->child, signal);
	assert_int_equal(waitpid(s->child, &status, 0), s->child);
	pthread_join(s->keeper_thread, NULL);
	return status;
}

static void make_image(struct supervisor *s)
{
	int fd;

	snprintf(s->image, sizeof(s->image), "%s/image", s->h.parent);
	fd = open(s->image, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)BLOCK * BLOCKS * 2), 0);
	close(fd);
	snprintf(s->params, sizeof(s->params), "%s", s->image);
}

static void start(struct supervisor *s, struct sr_blkfront_options opt)
{
	char address[128], error[256] = "";

	memset(s, 0, sizeof(*s));
	harness_start(&s->h, "embedded:");
	assert_int_equal(sr_keeper_new(&s->keeper), 0);
	make_image(s);
	spawn(s);
	s->disk = (struct harness_disk){ .vdev = 51712, .params = s->params };
	s->disk.domid = harness_guest(&s->h, 4096, address);
	assert_int_equal(sr_hv_open(address, &s->guest), 0);
	harness_attach(&s->h, &s->disk);
	opt.device = "xvda";
	opt.error = error;
	opt.error_size = sizeof(error);
	if (sr_blkfront_open(s->guest, &opt, &s->front))
		fail_msg("open: %s", error);
	for (unsigned i = 0; i < sr_blkfront_info(s->front)->queues; i++)
		assert_int_equal(sr_blkfront_alloc(sr_blkfront_queue(s->front, i), DEPTH * BLOCK,
						   (void **)&s->pages[i]),
				 0);
}

static void stop(struct supervisor *s)
{
	assert_int_equal(sr_blkfront_close(s->front), 0);
	sr_hv_close(s->guest);
	harness_detach(&s->h, &s->disk);
	assert_int_equal(WEXITSTATUS(end_child(s, SIGTERM)), 0);
	/* Nothing is kept of a device that is gone. */
	assert_int_equal(sr_keeper_count(s->keeper), 0);
	sr_keeper_free(s->keeper);
	unlink(s->image);
	harness_stop(&s->h);
}

/* --- the guest's load ---------------------------------------------------------------------------
 */

struct load {
	struct sr_blkfront_queue *q;
	uint8_t *pages;
	uint64_t base;            /* bytes: its part of the disk */
	uint32_t version[BLOCKS]; /* what each block holds */
	uint32_t writing[DEPTH];  /* the block of each slot */
	bool busy[DEPTH];
	unsigned in_flight, next;
	unsigned long completed;
};

static void stamp(uint8_t *page, uint64_t where, uint32_t version)
{
	for (unsigned i = 0; i < BLOCK; i += 16) {
		memcpy(page + i, &where, 8);
		memcpy(page + i + 8, &version, 4);
		memcpy(page + i + 12, &i, 4);
	}
}

static void send_write(struct load *l, unsigned slot)
{
	uint32_t block = l->next++ % BLOCKS;
	struct iovec iov = { l->pages + slot * BLOCK, BLOCK };
	struct sr_blkfront_request req = {
		.op = SR_BLKFRONT_WRITE,
		.offset = l->base + (uint64_t)block * BLOCK,
		.iov = &iov,
		.iov_count = 1,
		.tag = (void *)(uintptr_t)slot,
	};

	stamp(iov.iov_base, req.offset, ++l->version[block]);
	assert_int_equal(sr_blkfront_submit(l->q, &req), 0);
	l->writing[slot] = block;
	l->busy[slot] = true;
	l->in_flight++;
}

/* Each tag comes back once, without an error. */
static void reap(struct load *l)
{
	struct sr_blkfront_done done[DEPTH];
	unsigned n = sr_blkfront_reap(l->q, done, DEPTH);

	for (unsigned i = 0; i < n; i++) {
		unsigned slot = (unsigned)(uintptr_t)done[i].tag;

		assert_int_equal(done[i].error, 0);
		assert_true(l->busy[slot]);
		l->busy[slot] = false;
		l->in_flight--;
		l->completed++;
	}
}

static void run_load(struct load *l, unsigned long writes)
{
	unsigned long target = l->completed + writes;

	while (l->completed < target) {
		for (unsigned slot = 0; slot < DEPTH; slot++)
			if (!l->busy[slot])
				send_write(l, slot);
		assert_int_equal(sr_blkfront_wait(l->q, 30000), 0);
		reap(l);
	}
}

static void drain_and_verify(struct load *l)
{
	uint8_t want[BLOCK];

	while (l->in_flight) {
		assert_int_equal(sr_blkfront_wait(l->q, 30000), 0);
		reap(l);
	}
	for (unsigned block = 0; block < BLOCKS; block++) {
		uint64_t where = l->base + (uint64_t)block * BLOCK;

		if (!l->version[block])
			continue;
		assert_int_equal(sr_blkfront_io(l->q, SR_BLKFRONT_READ, where, l->pages, BLOCK), 0);
		stamp(want, where, l->version[block]);
		assert_memory_equal(l->pages, want, BLOCK);
	}
}

/* --- cases --------------------------------------------------------------------------------------
 */

static void kill_and_go_on(struct sr_blkfront_options opt, int signal, unsigned times)
{
	static struct supervisor s;
	static struct load l[2];
	unsigned queues;

	start(&s, opt);
	queues = sr_blkfront_info(s.front)->queues;
	memset(l, 0, sizeof(l));
	for (unsigned i = 0; i < queues; i++) {
		l[i].q = sr_blkfront_queue(s.front, i);
		l[i].pages = s.pages[i];
		l[i].base = (uint64_t)i * BLOCK * BLOCKS;
	}
	for (unsigned k = 0; k < times; k++) {
		int status;

		for (unsigned i = 0; i < queues; i++)
			run_load(&l[i], 100 + k * 7);
		/* Requests are in flight now, on each queue. */
		status = end_child(&s, signal);
		if (signal == SIGKILL)
			assert_true(WIFSIGNALED(status));
		else
			assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		assert_int_equal(harness_back_number(&s.h, &s.disk, "state"), 4);
		assert_int_equal(sr_keeper_count(s.keeper), 1);
		spawn(&s);
	}
	for (unsigned i = 0; i < queues; i++) {
		run_load(&l[i], 300);
		drain_and_verify(&l[i]);
	}
	stop(&s);
}

static void test_killed(void **state)
{
	struct sr_blkfront_options opt = SR_BLKFRONT_DEFAULTS;

	kill_and_go_on(opt, SIGKILL, 10);
}

static void test_killed_with_queues(void **state)
{
	struct sr_blkfront_options opt = SR_BLKFRONT_DEFAULTS;

	opt.queues = 2;
	opt.ring_order = 1;
	opt.persistent = false;
	kill_and_go_on(opt, SIGKILL, 5);
}

static void test_handed_over(void **state)
{
	struct sr_blkfront_options opt = SR_BLKFRONT_DEFAULTS;

	kill_and_go_on(opt, SIGTERM, 5);
}

/* While nobody serves it the guest goes, and then the device, and another one comes. */
static void test_changes_meanwhile(void **state)
{
	struct sr_blkfront_options opt = SR_BLKFRONT_DEFAULTS;
	static struct supervisor s;

	/* For its good-bye to nobody; long enough for a backend that starts on a busy machine. */
	opt.timeout_ms = 5000;
	start(&s, opt);
	end_child(&s, SIGKILL);
	assert_int_equal(sr_blkfront_close(s.front), -ETIMEDOUT);
	spawn(&s);
	harness_await_back(&s.h, &s.disk, "state", 6);
	opt.device = "xvda";
	assert_int_equal(sr_blkfront_open(s.guest, &opt, &s.front), 0);
	end_child(&s, SIGKILL);
	harness_remove(&s.h, &s.disk);
	spawn(&s);
	harness_attach(&s.h, &s.disk);
	harness_await_back(&s.h, &s.disk, "state", 2);
	sr_blkfront_close(s.front);
	assert_int_equal(sr_blkfront_open(s.guest, &opt, &s.front), 0);
	stop(&s);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_killed_with_queues),
		cmocka_unit_test(test_handed_over),
		cmocka_unit_test(test_changes_meanwhile),
	};

	if (argc == 3)
		return be_the_backend(argv[1], atoi(argv[2]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
