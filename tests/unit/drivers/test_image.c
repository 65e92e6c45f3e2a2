/* SPDX-License-Identifier: MIT */

/* Images as they should not be, locks, and images that change under a disk. */

#include "image.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint8_t memory[2 * 65536] __attribute__((aligned(4096)));

static void test_no_image(void **state)
{
	char path[256], fifo[300];

	image_make(path, WHERE, MIB);
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		const char *driver = image_drivers[i];

		image_refused(driver, "/nowhere/a.img", "", false, -ENOENT, "no such file");
		image_refused(driver, WHERE, "", false, -EISDIR, "is a directory");
		image_refused(driver, "/dev/zero", "", false, -ENOTBLK,
			      "neither a file nor a block");
		image_refused(driver, fifo, "", false, -ENOTBLK, "neither a file nor a block");
		image_refused(driver, path, "cache=on", false, -EINVAL,
			      "unknown option 'cache'; known are: direct, discard, lock");
		image_refused(driver, path, "direct=maybe", false, -EINVAL,
			      "direct=maybe: it is one of: auto on off");
		assert_int_equal(truncate(path, 0), 0);
		image_refused(driver, path, "", false, -EINVAL, "is empty");
		assert_int_equal(truncate(path, 10000), 0);
		image_refused(driver, path, "", false, -EINVAL,
			      "10000 bytes, is no multiple of the sector of 512");
		assert_int_equal(truncate(path, (off_t)MIB), 0);
	}
	unlink(fifo);
	unlink(path);
}

static void test_no_permission(void **state)
{
	char path[256];

	image_make(path, WHERE, MIB);
	assert_int_equal(chmod(path, 0), 0);
	/* Root may open anything, so it is somebody else for a while. */
	if (geteuid() == 0)
		assert_int_equal(seteuid(65534), 0);
	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		image_refused(image_drivers[i], path, "", false, -EACCES, "opened for writing");
		image_refused(image_drivers[i], path, "", true, -EACCES, "opened for reading");
	}
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
	unlink(path);
}

static void test_direct(void **state)
{
	struct rig rig;
	char path[256];

	image_make(path, "/dev/shm", MIB);
	image_refused("uring", path, "direct=on", false, -EOPNOTSUPP, "no O_DIRECT");
	assert_int_equal(image_open(&rig, "uring", path, "", false), 0);
	assert_true(rig.info.memory_alignment <= 1);
	assert_int_equal(rig.info.logical_block_size, 512);
	rig_close(&rig);
	unlink(path);

	/* What O_DIRECT can't reach to the last sector goes through the page cache instead. */
	image_make(path, WHERE, MIB + 512);
	assert_int_equal(image_open(&rig, "uring", path, "", false), 0);
	assert_int_equal(rig.info.size, MIB + 512);
	rig_close(&rig);
	unlink(path);
}

static void test_second_writer_in_this_process(void **state)
{
	struct rig rig, second;
	char path[256];

	image_make(path, WHERE, MIB);
	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		const char *driver = image_drivers[i], *other = image_drivers[1 - i];

		assert_int_equal(image_open(&rig, driver, path, "", false), 0);
		image_refused(other, path, "", false, -EBUSY, "another disk of this process");
		image_refused(other, path, "", true, -EBUSY, "another disk of this process");
		assert_int_equal(image_open(&second, other, path, "lock=off", false), 0);
		rig_close(&second);
		rig_close(&rig);

		assert_int_equal(image_open(&rig, driver, path, "", true), 0);
		assert_int_equal(image_open(&second, other, path, "", true), 0);
		image_refused(driver, path, "", false, -EBUSY, "has one writer");
		rig_close(&second);
		rig_close(&rig);
	}
	unlink(path);
}

/* A child that opens the image, tells so, and stays until it is killed. */
static pid_t holder(const char *driver, const char *path, bool working)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct rig_queue queue;
		struct rig rig;

		if (!image_open(&rig, driver, path, "", false)) {
			rig_queue_open(&rig, &queue, 1, 0, 1);
			if (write(ready[1], "x", 1) == 1)
				while (working)
					rig_do(&queue, SR_BLK_WRITE, 0, memory, 65536, 0);
		}
		pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_second_writer_in_another_process(void **state)
{
	char path[256], name[64];
	struct rig rig;
	pid_t pid;

	image_make(path, WHERE, MIB);
	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		pid = holder(image_drivers[i], path, false);
		snprintf(name, sizeof(name), "locked by test_image (pid %d)", pid);
		image_refused(image_drivers[1 - i], path, "", false, -EBUSY, name);
		end(pid);
		/* Killed in the middle of its writes: its successor gets the image at once. */
		pid = holder(image_drivers[i], path, true);
		end(pid);
		assert_int_equal(image_open(&rig, image_drivers[i], path, "", false), 0);
		rig_close(&rig);
	}
	unlink(path);
}

/* Programs with locks of the classic kind are respected too, and named. */
static void test_lock_of_another_program(void **state)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 1 };
	char path[256], name[64], byte;
	int ready[2];
	pid_t pid;

	image_make(path, WHERE, MIB);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(path, O_RDWR);

		if (!fcntl(fd, F_SETLK, &lock) && write(ready[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(name, sizeof(name), "(pid %d)", pid);
	image_refused("uring", path, "", false, -EBUSY, name);
	end(pid);
	close(ready[0]);
	close(ready[1]);
	unlink(path);
}

/* The image becomes shorter under the disk. */
static void test_truncated_image(void **state)
{
	static const char *const options[] = { "", "direct=off" };
	struct rig_queue queue;
	struct sr_blk_info info;
	char path[256];
	struct rig rig;

	for (unsigned i = 0; i < 2 * IMAGE_DRIVERS; i++) {
		image_make(path, WHERE, MIB);
		assert_int_equal(
		    image_open(&rig, image_drivers[i / 2], path, options[i % 2], false), 0);
		rig_queue_open(&rig, &queue, 4, 0, 1);
		info = rig.info;
		assert_int_equal(truncate(path, (off_t)(MIB / 2 + 4096)), 0);
		assert_int_equal(rig_do(&queue, SR_BLK_READ, MIB / 2, memory, 4096, 0), 0);
		assert_int_equal(rig_do(&queue, SR_BLK_READ, MIB / 2, memory, 65536, 0), -EIO);
		assert_int_equal(rig_do(&queue, SR_BLK_READ, MIB - 4096, memory, 4096, 0), -EIO);
		assert_int_equal(rig.driver->refresh(rig.disk, &info), 0);
		assert_int_equal(info.size, MIB / 2 + 4096);
		assert_int_equal(truncate(path, 0), 0);
		assert_int_equal(rig.driver->refresh(rig.disk, &info), -ENODEV);
		rig_queue_close(&queue);
		rig_close(&rig);
		unlink(path);
	}
}

static void test_growing_image(void **state)
{
	struct rig_queue queue;
	struct sr_blk_info info;
	char path[256];
	struct rig rig;

	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		image_make(path, WHERE, MIB);
		assert_int_equal(image_open(&rig, image_drivers[i], path, "", false), 0);
		rig_queue_open(&rig, &queue, 4, 0, 1);
		info = rig.info;
		/* An odd tail is no block, and left out. */
		assert_int_equal(truncate(path, (off_t)(2 * MIB + 100)), 0);
		assert_int_equal(rig.driver->refresh(rig.disk, &info), 0);
		assert_int_equal(info.size, 2 * MIB);
		assert_int_equal(rig_do(&queue, SR_BLK_WRITE, 2 * MIB - 4096, memory, 4096, 0), 0);
		rig_queue_close(&queue);
		rig_close(&rig);
		unlink(path);
	}
}

static void test_sparse_image(void **state)
{
	struct rig_queue queue;
	char path[256];
	struct rig rig;

	for (unsigned i = 0; i < IMAGE_DRIVERS; i++) {
		image_make(path, WHERE, 4096 * MIB);
		assert_int_equal(image_open(&rig, image_drivers[i], path, "", false), 0);
		rig_queue_open(&rig, &queue, 4, 0, 1);
		assert_int_equal(rig_do(&queue, SR_BLK_WRITE, 3000 * MIB, memory, 65536, 0), 0);
		assert_int_equal(rig_do(&queue, SR_BLK_FLUSH, 0, NULL, 0, 0), 0);
		assert_true(image_allocated(path) >= 65536 && image_allocated(path) < MIB);
		assert_int_equal(rig_do(&queue, SR_BLK_DISCARD, 3000 * MIB, NULL, 65536, 0), 0);
		assert_true(image_allocated(path) < 65536);
		assert_int_equal(rig_do(&queue, SR_BLK_DISCARD, 0, NULL, 4096, SR_BLK_SECURE),
				 -EOPNOTSUPP);
		rig_queue_close(&queue);
		rig_close(&rig);

		assert_int_equal(image_open(&rig, image_drivers[i], path, "discard=off", false), 0);
		assert_int_equal(rig.info.discard_granularity, 0);
		rig_close(&rig);
		unlink(path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_image),
		cmocka_unit_test(test_no_permission),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_second_writer_in_this_process),
		cmocka_unit_test(test_second_writer_in_another_process),
		cmocka_unit_test(test_lock_of_another_program),
		cmocka_unit_test(test_truncated_image),
		cmocka_unit_test(test_growing_image),
		cmocka_unit_test(test_sparse_image),
	};

	return cmocka_run_group_tests_name("drivers-image", tests, NULL, NULL);
}
