/* SPDX-License-Identifier: MIT */

/* Media that are full, fail or go away, and block devices. Needs to mount and to make loop devices.
 */

#include "image.h"

#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static uint8_t memory[2 * 65536] __attribute__((aligned(4096)));

static void test_full_file_system(void **state)
{
	char dir[64], path[256];
	struct rig_queue queue;
	unsigned failed;
	struct rig rig;

	small_tmpfs(dir, "1m");
	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		image_make(path, dir, 4 * MIB);
		assert_int_equal(image_open(&rig, image_drivers[i], path, "", false), 0);
		rig_queue_open(&rig, &queue, 4, 0, 1);
		failed = 0;
		for (uint64_t at = 0; at < 4 * MIB; at += 65536) {
			int64_t err = rig_do(&queue, SR_BLK_WRITE, at, memory, 65536, 0);

			assert_true(err == 0 || err == -ENOSPC);
			failed += err != 0;
		}
		assert_true(failed >= 48 && failed < 64);
		/* What was there stays readable, and what is discarded makes room. */
		assert_int_equal(rig_do(&queue, SR_BLK_READ, 0, memory, 65536, 0), 0);
		assert_int_equal(rig_do(&queue, SR_BLK_DISCARD, 0, NULL, MIB, 0), 0);
		assert_int_equal(rig_do(&queue, SR_BLK_WRITE, 3 * MIB, memory, 65536, 0), 0);
		rig_queue_close(&queue);
		rig_close(&rig);
		unlink(path);
	}
	small_tmpfs_remove(dir);
}

static void test_block_device(void **state)
{
	char image[256], path[32], link[64];
	struct rig_queue queue;
	struct rig rig;
	int loop;

	image_make(image, WHERE, 16 * MIB);
	loop = loop_make(path, image, false);
	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		assert_int_equal(image_open(&rig, image_drivers[i], path, "", false), 0);
		assert_int_equal(rig.info.size, 16 * MIB);
		assert_true(rig.info.discard_granularity > 0);
		image_refused(image_drivers[i], path, "", false, -EBUSY,
			      "the block device is in use");
		rig_queue_open(&rig, &queue, 4, 0, 1);
		memset(memory, 0x5a, 65536);
		assert_int_equal(rig_do(&queue, SR_BLK_WRITE, 8 * MIB, memory, 65536, 0), 0);
		assert_int_equal(rig_do(&queue, SR_BLK_READ, 8 * MIB, memory + 65536, 65536, 0), 0);
		assert_memory_equal(memory, memory + 65536, 65536);
		assert_int_equal(rig_do(&queue, SR_BLK_FLUSH, 0, NULL, 0, 0), 0);
		assert_true(image_allocated(image) > 0);
		/* Through the slow lane, several at a time. */
		for (unsigned n = 0; n < 20; n++)
			assert_int_equal(rig_do(&queue, SR_BLK_DISCARD, n * MIB / 2, NULL, MIB, 0),
					 0);
		assert_int_equal(image_allocated(image), 0);
		rig_queue_close(&queue);
		rig_close(&rig);
	}
	snprintf(link, sizeof(link), "uring:%s", path);
	assert_int_equal(rig_open(&rig, NULL, link, true), 0);
	assert_int_equal(rig.info.discard_granularity, 0);
	rig_close(&rig);
	loop_remove(loop);
	loop = loop_make(path, image, true);
	/* -EACCES or -EROFS, as the kernel's version has it. */
	assert_int_not_equal(image_open(&rig, "uring", path, "", false), 0);
	assert_non_null(strstr(rig.error, "a disk of mode r is only read"));
	loop_remove(loop);
	unlink(image);
}

/* The medium fails writes: a loop device whose file system is full answers EIO. */
static void test_failing_device(void **state)
{
	char dir[64], image[256], path[32];
	struct rig_queue queue;
	struct rig rig;
	int loop;

	small_tmpfs(dir, "1m");
	image_make(image, dir, 4 * MIB);
	loop = loop_make(path, image, false);
	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		int64_t err = 0;

		assert_int_equal(image_open(&rig, image_drivers[i], path, "direct=on", false), 0);
		rig_queue_open(&rig, &queue, 4, 0, 1);
		for (uint64_t at = 0; at < 4 * MIB && !err; at += 65536)
			err = rig_do(&queue, SR_BLK_WRITE, at, memory, 65536, 0);
		assert_true(err == -EIO || err == -ENOSPC);
		assert_int_equal(rig_do(&queue, SR_BLK_READ, 0, memory, 65536, 0), 0);
		rig_queue_close(&queue);
		rig_close(&rig);
	}
	loop_remove(loop);
	unlink(image);
	small_tmpfs_remove(dir);
}

/* The device loses all its sectors while requests are on their way, as one that is unplugged does.
 */
static void test_vanishing_device(void **state)
{
	struct rig_request *done[64], *request;
	char image[256], path[32];
	struct rig_queue queue;
	struct sr_blk_info info;
	struct rig rig;
	bool now;
	int loop;

	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		unsigned failed = 0, taken = 0;

		image_make(image, WHERE, 16 * MIB);
		loop = loop_make(path, image, false);
		assert_int_equal(image_open(&rig, image_drivers[i], path, "", false), 0);
		rig_queue_open(&rig, &queue, 16, 0, 1);
		info = rig.info;
		while (taken < 200) {
			while ((request = rig_take(&queue))) {
				request->iov[0] = (struct iovec){ memory, 4096 };
				request->req.op = SR_BLK_READ;
				request->req.offset = (taken++ * 4096) % (16 * MIB);
				request->req.length = 4096;
				request->req.iov = request->iov;
				request->req.iov_count = 1;
				assert_true(rig_submit(&queue, request, &now));
				assert_false(now);
			}
			rig_kick(&queue);
			if (taken == 112) {
				assert_int_equal(truncate(image, 0), 0);
				assert_int_equal(ioctl(loop, LOOP_SET_CAPACITY, 0), 0);
			}
			for (unsigned n = rig_reap(&queue, done, 16, true); n--;)
				failed += done[n]->req.result != 0;
		}
		while (queue.inflight)
			for (unsigned n = rig_reap(&queue, done, 16, true); n--;)
				failed += done[n]->req.result != 0;
		assert_true(failed > 0);
		assert_int_equal(rig.driver->refresh(rig.disk, &info), -ENODEV);
		rig_queue_close(&queue);
		rig_close(&rig);
		loop_remove(loop);
		unlink(image);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_file_system),
		cmocka_unit_test(test_block_device),
		cmocka_unit_test(test_failing_device),
		cmocka_unit_test(test_vanishing_device),
	};
	const char *why = media_missing();

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return 0;
	}
	return cmocka_run_group_tests_name("drivers-media", tests, NULL, NULL);
}
