/* SPDX-License-Identifier: MIT */
/* Hundreds of disks on one daemon: they all work, idle ones sleep, none costs too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

#define DISKS  256u
#define GUESTS 16u /* a guest may have so many store connections, and so much memory is cheap */

static struct harness_disk disks[DISKS];
static struct sr_blkfront *fronts[DISKS];
static struct sr_hypervisor *guests[GUESTS];
static uint16_t domids[GUESTS];

static void open_disk(struct world *w, unsigned i)
{
	struct sr_blkfront_options opt = world_front;
	char error[256] = "", name[16];

	disks[i] = (struct harness_disk){
		/* The extended numbering: xvda is d0. */
		.domid = domids[i % GUESTS],
		.vdev = (1u << 28) | i << 8,
		.params = "ram:size=1M",
	};
	harness_attach(&w->h, &disks[i]);
	snprintf(name, sizeof(name), "%u", disks[i].vdev);
	opt.device = name;
	opt.error = error;
	opt.error_size = sizeof(error);
	opt.indirect_segments = 0;
	if (sr_blkfront_open(guests[i % GUESTS], &opt, &fronts[i]))
		fail_msg("disk %u: %s", i, error);
}

/* Bytes that the process has for good, without files and what is shared. */
static size_t resident(void)
{
	unsigned long total, pages, shared;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu %lu", &total, &pages, &shared), 3);
	fclose(f);
	return (size_t)pages * 4096;
}

static uint64_t cpu_of_threads(struct world *w)
{
	struct sr_blkback_thread t[4];
	uint64_t sum = 0;
	size_t n = sr_blkback_threads(w->b.bb, t, 4);

	for (size_t i = 0; i < n && i < 4; i++)
		sum += t[i].cpu_ns;
	return sum;
}

static void test_many_disks(void **state)
{
	struct sr_blkback_options opt = { .threads = 2 };
	struct sr_blkback_thread t[2];
	struct world w;
	uint8_t out[512], in[512];
	uint64_t cpu;
	size_t before;

	world_start(&w, "embedded:", "", &opt);
	for (unsigned i = 0; i < GUESTS; i++) {
		domids[i] = harness_guest(&w.h, 65536, w.address);
		assert_int_equal(sr_hv_open(w.address, &guests[i]), 0);
	}
	before = resident();
	for (unsigned i = 0; i < DISKS; i++)
		open_disk(&w, i);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < DISKS; i++) {
			struct sr_blkfront_queue *q = sr_blkfront_queue(fronts[i], 0);

			world_fill(out, sizeof(out), i + round);
			assert_int_equal(sr_blkfront_io(q, SR_BLKFRONT_WRITE, 512 * i, out, 512),
					 0);
			memset(in, 0, sizeof(in));
			assert_int_equal(sr_blkfront_io(q, SR_BLKFRONT_READ, 512 * i, in, 512), 0);
			assert_memory_equal(in, out, sizeof(in));
		}
	/* Both ends of them are in this process, and their sanitizer too: only a note. */
	print_message("# %zu KiB a disk, backend and frontend\n",
		      (resident() - before) / DISKS / 1024);
	assert_int_equal(sr_blkback_threads(w.b.bb, t, 2), 2);
	assert_int_equal(t[0].queues, DISKS / 2);
	assert_int_equal(t[1].queues, DISKS / 2);
	/* With nothing to do for any of them, nothing is done. */
	usleep(50000);
	cpu = cpu_of_threads(&w);
	usleep(300000);
	assert_true(cpu_of_threads(&w) - cpu < 20000000);
	for (unsigned i = 0; i < DISKS; i++) {
		assert_int_equal(sr_blkfront_close(fronts[i]), 0);
		harness_detach(&w.h, &disks[i]);
	}
	for (unsigned i = 0; i < GUESTS; i++)
		sr_hv_close(guests[i]);
	sr_hv_close(w.guest);
	backend_stop(&w.b, SR_BLKBACK_CLOSE);
	harness_stop(&w.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_disks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
