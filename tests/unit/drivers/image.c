/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const image_drivers[IMAGE_DRIVERS] = { "uring", "aio" };

void image_make(char *path, const char *dir, uint64_t size)
{
	int fd;

	snprintf(path, 256, "%s/splitring-image-XXXXXX", dir);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

int image_open(struct rig *rig, const char *driver, const char *path, const char *options,
	       bool read_only)
{
	char target[512];

	snprintf(target, sizeof(target), "%s:%s%s%s", driver, path, options[0] ? "," : "", options);
	return rig_open(rig, NULL, target, read_only);
}

void image_refused(const char *driver, const char *path, const char *options, bool read_only,
		   int err, const char *part)
{
	struct rig rig;
	int got = image_open(&rig, driver, path, options, read_only);

	if (got != err)
		fail_msg("%s:%s,%s: %d, not %d (%s)", driver, path, options, got, err, rig.error);
	if (!strstr(rig.error, part) || !strstr(rig.error, path))
		fail_msg("'%s' does not say '%s' and '%s'", rig.error, part, path);
}

uint64_t image_allocated(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

const char *media_missing(void)
{
	char path[32];
	int control, n;

	/* In a mount namespace of its own, which ends with this process however that ends. */
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return "no file system can be mounted here (not root?)";
	/* A container may have the control node and no others. */
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	if (control >= 0)
		close(control);
	snprintf(path, sizeof(path), "/dev/loop%d", n);
	return n < 0 || access(path, R_OK | W_OK) ? "there are no loop devices here" : NULL;
}

int loop_make(char *path, const char *image, bool read_only)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = { 0 };
	int fd = -1, err = -1;

	assert_true(control >= 0);
	config.fd = (uint32_t)open(image, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	config.info.lo_flags = read_only ? LO_FLAGS_READ_ONLY : 0;
	/* Somebody else may take the same free one. */
	for (unsigned tries = 0; err && tries < 20; tries++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		assert_true(n >= 0);
		snprintf(path, 32, "/dev/loop%d", n);
		fd = open(path, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		err = ioctl(fd, LOOP_CONFIGURE, &config);
		if (err)
			close(fd);
	}
	assert_int_equal(err, 0);
	close((int)config.fd);
	close(control);
	return fd;
}

void loop_remove(int fd)
{
	assert_int_equal(ioctl(fd, LOOP_CLR_FD), 0);
	close(fd);
}

void small_tmpfs(char *path, const char *size)
{
	char options[32];

	snprintf(path, 64, "/tmp/splitring-full-XXXXXX");
	assert_non_null(mkdtemp(path));
	snprintf(options, sizeof(options), "size=%s", size);
	assert_int_equal(mount("none", path, "tmpfs", 0, options), 0);
}

void small_tmpfs_remove(const char *path)
{
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(rmdir(path), 0);
}
