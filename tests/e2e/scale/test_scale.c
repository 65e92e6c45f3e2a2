/* SPDX-License-Identifier: MIT */
/*
 * 256 vbds of 16 guests on one backend: all work at the same time, rest without a turn of a queue
 * thread's loop, cost little, and leave nothing behind.
 */
#include "server.h"

#include <dirent.h>
#include <fcntl.h>
#include <fleet/fleet.h>
#include <hypervisor.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness.h"

#define GUESTS      16u
#define DISKS       16u
#define VBDS        (GUESTS * DISKS)
#define GUEST_PAGES 8192u
#define IMAGE_MIB   4u
#define BLOCK       4096u
#define DEPTH       16u
#define PATIENCE_MS 30000

/* The claim: a connected vbd of one queue, beside its ring and its persistent grants. */
#define MOST_BYTES_A_VBD (256u * 1024)
/* A leak is at least this much a vbd. */
#define LEAST_LEAK 64u

struct world {
	struct harness h;
	struct server s;
	struct sr_fleet *fleet;
	unsigned kind; /* of the disks */
	uint8_t *pages[VBDS];
};

/* --- disks of every kind ------------------------------------------------------------------------
 */

enum kind {
	KIND_NULL, /* its data are nowhere */
	KIND_RAM,
	KIND_FILE,
	KINDS,
	KIND_MIXED = KINDS,
};

static enum kind kind_of(const struct world *w, unsigned disk)
{
	return w->kind == KIND_MIXED ? disk % KINDS : w->kind;
}

static void image_path(const struct world *w, unsigned disk, char path[128])
{
	snprintf(path, 128, "%s/disk%u.img", w->h.parent, disk);
}

static void params_of(const struct world *w, unsigned disk, char params[160])
{
	char path[128];
	int fd;

	if (kind_of(w, disk) == KIND_NULL) {
		snprintf(params, 160, "null:size=%uM", IMAGE_MIB);
		return;
	}
	if (kind_of(w, disk) == KIND_RAM) {
		snprintf(params, 160, "ram:size=%uM", IMAGE_MIB);
		return;
	}
	image_path(w, disk, path);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)IMAGE_MIB << 20), 0);
	close(fd);
	snprintf(params, 160, "%s", path);
}

static void must(const struct world *w, int rc)
{
	if (rc)
		fail_msg("%s", sr_fleet_error(w->fleet));
}

static struct sr_blkfront_queue *queue_of(const struct world *w, unsigned disk)
{
	return sr_blkfront_queue(sr_fleet_front(w->fleet, disk), 0);
}

static void attach(struct world *w, unsigned first, unsigned end)
{
	char params[160];

	for (unsigned i = first; i < end; i++) {
		params_of(w, i, params);
		must(w, sr_fleet_attach(w->fleet, i, params, NULL));
		assert_int_equal(
		    sr_blkfront_alloc(queue_of(w, i), DEPTH * BLOCK, (void **)&w->pages[i]), 0);
	}
}

static void detach(struct world *w, unsigned first, unsigned end, enum sr_fleet_order order)
{
	char path[128];

	for (unsigned i = first; i < end; i++) {
		must(w, sr_fleet_detach(w->fleet, i, order));
		image_path(w, i, path);
		unlink(path);
	}
}

/* --- I/O on many disks at once ------------------------------------------------------------------
 */

static void stamp(uint8_t *page, unsigned disk, unsigned block, unsigned round)
{
	const uint32_t words[4] = { disk, block, round, disk * 2654435761u ^ block };

	for (unsigned i = 0; i < BLOCK; i += sizeof(words))
		memcpy(page + i, words, sizeof(words));
}

static void submit(const struct world *w, unsigned disk, enum sr_blkfront_op op, unsigned round)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		struct iovec iov = { w->pages[disk] + i * BLOCK, BLOCK };
		struct sr_blkfront_request req = {
			.op = op,
			/* Another place in each round, and on each disk. */
			.offset = (uint64_t)(round * DEPTH + (i + disk) % DEPTH) * BLOCK,
			.iov = &iov,
			.iov_count = 1,
		};

		if (op == SR_BLKFRONT_WRITE)
			stamp(iov.iov_base, disk, i, round);
		else
			memset(iov.iov_base, 0xee, BLOCK);
		assert_int_equal(sr_blkfront_submit(queue_of(w, disk), &req), 0);
	}
	assert_int_equal(sr_blkfront_kick(queue_of(w, disk)), 0);
}

static void finish(const struct world *w, unsigned disk)
{
	struct sr_blkfront_queue *q = queue_of(w, disk);
	struct sr_blkfront_done done[DEPTH];

	while (sr_blkfront_in_flight(q)) {
		unsigned n;

		assert_int_equal(sr_blkfront_wait(q, PATIENCE_MS), 0);
		n = sr_blkfront_reap(q, done, DEPTH);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(done[i].error, 0);
	}
}

static void verify(const struct world *w, unsigned disk, unsigned round)
{
	uint8_t want[BLOCK];

	for (unsigned i = 0; i < DEPTH && kind_of(w, disk) != KIND_NULL; i++) {
		stamp(want, disk, i, round);
		assert_memory_equal(w->pages[disk] + i * BLOCK, want, BLOCK);
	}
}

/* All have requests in flight before the first one is asked for answers. */
static void exercise(const struct world *w, unsigned first, unsigned end, unsigned rounds)
{
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = first; i < end; i++)
			submit(w, i, SR_BLKFRONT_WRITE, round);
		for (unsigned i = first; i < end; i++)
			finish(w, i);
		for (unsigned i = first; i < end; i++)
			submit(w, i, SR_BLKFRONT_READ, round);
		for (unsigned i = first; i < end; i++) {
			finish(w, i);
			verify(w, i, round);
		}
	}
}

/* --- the world ----------------------------------------------------------------------------------
 */

static void world_start(struct world *w, unsigned kind)
{
	struct sr_fleet_spec spec = { .guests = GUESTS,
				      .disks = DISKS,
				      .guest_pages = GUEST_PAGES };

	memset(w, 0, sizeof(*w));
	w->kind = kind;
	harness_start(&w->h, "embedded:");
	server_start(&w->s, w->h.dom0);
	spec.dir = w->h.dir;
	assert_int_equal(sr_fleet_new(&spec, &w->fleet), 0);
}

static void world_stop(struct world *w)
{
	sr_fleet_free(w->fleet);
	server_stop(&w->s);
	harness_stop(&w->h);
}

static unsigned own_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	return n;
}

/* Two looks between which no queue thread has moved; there have to be such, as nobody asks. */
static void settle(struct world *w, struct server_look *l)
{
	struct timespec nap = { .tv_nsec = 20000000 };
	struct server_look before;

	server_look(&w->s, l);
	for (unsigned i = 0; i < 500; i++) {
		before = *l;
		nanosleep(&nap, NULL);
		server_look(&w->s, l);
		if (l->loops == before.loops)
			return;
	}
	fail_msg("the queue threads do not come to rest");
}

/* --- tests --------------------------------------------------------------------------------------
 */

static void test_life(void **state)
{
	struct harness_usage before, after;
	struct server_look first, l, later;
	struct timespec while_idle = { .tv_nsec = 300000000 };
	struct world w;
	unsigned fds;

	world_start(&w, KIND_MIXED);
	/* One disk of each guest and kind, and gone again: what a guest costs is there now. */
	attach(&w, 0, GUESTS);
	exercise(&w, 0, GUESTS, 1);
	detach(&w, 0, GUESTS, SR_FLEET_GUEST_FIRST);
	settle(&w, &first);
	harness_usage(&w.h, &before);
	fds = own_fds();
	assert_int_equal(before.pinned, 0);
	assert_int_equal(first.vbds, 0);

	for (unsigned cycle = 0; cycle < 2; cycle++) {
		attach(&w, 0, VBDS);
		exercise(&w, 0, VBDS, 2);
		settle(&w, &l);
		assert_int_equal(l.vbds, VBDS);
		nanosleep(&while_idle, NULL);
		server_look(&w.s, &later);
		assert_int_equal(later.loops, l.loops);
		assert_int_equal(later.sleeps, l.sleeps);
		detach(&w, 0, VBDS, cycle ? SR_FLEET_TOOLS_FIRST : SR_FLEET_GUEST_FIRST);

		settle(&w, &l);
		harness_usage(&w.h, &after);
		assert_memory_equal(&after, &before, sizeof(after));
		assert_int_equal(l.vbds, 0);
		assert_int_equal(l.fds, first.fds);
		assert_int_equal(own_fds(), fds);
		/* The first time that there are so many, tables grow to what they need. */
		if (cycle == 0)
			first.memory = l.memory;
		assert_true(l.memory < first.memory + VBDS * LEAST_LEAK);
	}
	world_stop(&w);
}

/* Of a kind whose disks themselves hold nothing in memory. */
static void measure(unsigned kind, const char *name)
{
	struct server_look few, many;
	struct world w;
	uint64_t each;

	world_start(&w, kind);
	attach(&w, 0, GUESTS);
	exercise(&w, 0, GUESTS, 2);
	settle(&w, &few);
	attach(&w, GUESTS, VBDS);
	exercise(&w, GUESTS, VBDS, 2);
	settle(&w, &many);
	each = (many.memory - few.memory) / (VBDS - GUESTS);
	print_message("# %s: %llu bytes and %llu descriptors a vbd\n", name,
		      (unsigned long long)each,
		      (unsigned long long)((many.fds - few.fds) / (VBDS - GUESTS)));
	assert_true(each < MOST_BYTES_A_VBD);
	detach(&w, 0, VBDS, SR_FLEET_GUEST_FIRST);
	world_stop(&w);
}

static void test_memory_null(void **state)
{
	measure(KIND_NULL, "null");
}

static void test_memory_file(void **state)
{
	measure(KIND_FILE, "uring");
}

/* A disk must not fill its guest with pages, nor take the longer the larger the guest is. */
static void test_large_guest(void **state)
{
	struct sr_fleet_spec spec = { .guests = 1, .disks = 1, .guest_pages = 1u << 17 };
	struct server_look before, l;
	struct world w;

	memset(&w, 0, sizeof(w));
	w.kind = KIND_FILE;
	harness_start(&w.h, "embedded:");
	server_start(&w.s, w.h.dom0);
	spec.dir = w.h.dir;
	assert_int_equal(sr_fleet_new(&spec, &w.fleet), 0);
	server_look(&w.s, &before);
	attach(&w, 0, 1);
	exercise(&w, 0, 1, 2);
	server_look(&w.s, &l);
	assert_true(l.guest_memory - before.guest_memory < 32u << 20);
	detach(&w, 0, 1, SR_FLEET_GUEST_FIRST);
	world_stop(&w);
}

/* No guest may use up the handles that the others' disks need. */
static void test_persistent_limit(void **state)
{
	enum { PAGES = 64, A_VBD = 1056 };
	const unsigned maps = (VBDS * A_VBD + PAGES - 1) / PAGES;
	struct sr_hypervisor *back, *front;
	struct sr_gnttab *gt;
	struct sr_gntshr *gs;
	struct harness h;
	uint32_t refs[PAGES];
	char address[128];
	void *pages, **mapped = calloc(maps, sizeof(*mapped));
	uint16_t domid;

	assert_non_null(mapped);
	harness_start(&h, "embedded:");
	domid = harness_guest(&h, GUEST_PAGES, address);
	assert_int_equal(sr_hv_open(address, &front), 0);
	assert_int_equal(sr_hv_open(h.dom0, &back), 0);
	assert_int_equal(sr_gntshr_open(front, &gs), 0);
	assert_int_equal(sr_gntshr_share(gs, 0, PAGES, true, refs, &pages), 0);
	assert_int_equal(sr_gnttab_open(back, &gt), 0);
	for (unsigned i = 0; i < maps; i++)
		assert_int_equal(
		    sr_gnttab_map(gt, domid, refs, PAGES, PROT_READ | PROT_WRITE, &mapped[i]), 0);
	for (unsigned i = 0; i < maps; i++)
		assert_int_equal(sr_gnttab_unmap(gt, mapped[i], PAGES), 0);
	sr_gnttab_close(gt);
	sr_gntshr_close(gs);
	sr_hv_close(front);
	sr_hv_close(back);
	harness_stop(&h);
	free(mapped);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_memory_null),
		cmocka_unit_test(test_memory_file),
		cmocka_unit_test(test_large_guest),
		cmocka_unit_test(test_persistent_limit),
	};
	int status;

	if (server_main(argc, argv, &status))
		return status;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
