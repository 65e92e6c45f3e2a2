/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
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

int loop_make(char *path, const char *image, bool read_only)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config config = { 0 };
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE), fd = -1;

	if (control >= 0)
		close(control);
	if (n >= 0) {
		snprintf(path, 32, "/dev/loop%d", n);
		fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (fd < 0) {
		print_message("skipped: no loop device can be had here\n");
		skip();
	}
	config.fd = (uint32_t)open(image, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	config.info.lo_flags = read_only ? LO_FLAGS_READ_ONLY : 0;
	n = ioctl(fd, LOOP_CONFIGURE, &config);
	close((int)config.fd);
	if (n) {
		close(fd);
		print_message("skipped: the loop device can't be configured\n");
		skip();
	}
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
	/* In a mount namespace of its own, which ends with this process however that ends. */
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", path, "tmpfs", 0, options)) {
		rmdir(path);
		print_message("skipped: no file system can be mounted here (not root?)\n");
		skip();
	}
}

void small_tmpfs_remove(const char *path)
{
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(rmdir(path), 0);
}
