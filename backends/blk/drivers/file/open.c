/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

void sr_file_options_table(struct sr_file_options *options, struct sr_blk_option *rows)
{
	*options = (struct sr_file_options){ .discard = true, .lock = true };
	rows[0] = (struct sr_blk_option){ "direct", SR_BLK_OPTION_CHOICE, &options->direct,
					  "auto on off" };
	rows[1] = (struct sr_blk_option){ "discard", SR_BLK_OPTION_BOOL, &options->discard, NULL };
	rows[2] = (struct sr_blk_option){ "lock", SR_BLK_OPTION_BOOL, &options->lock, NULL };
}

static int open_failed(const struct sr_blk_open *args, int err)
{
	const char *what = args->read_only ? "reading" : "writing";

	switch (err) {
	case -ENOENT:
		return sr_blk_fail(args, err, "there is no such file");
	case -EBUSY:
		return sr_blk_fail(
		    args, err,
		    "the block device is in use: mounted, part of an array or volume "
		    "group, or another disk's (lsblk shows it)");
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return sr_blk_fail(args, err, "can't be opened for %s: %s%s", what, strerror(-err),
				   args->read_only ? "" : "; a disk of mode r is only read");
	default:
		return sr_blk_fail(args, err, "can't be opened for %s: %s", what, strerror(-err));
	}
}

/* Opens what is an image, and waits for nothing: a FIFO is refused before open() could hang on it.
 */
static int open_image(const struct sr_blk_open *args, struct sr_file *file)
{
	int flags = (args->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
	struct stat st;
	int only = 0;

	if (stat(args->target, &st))
		return open_failed(args, -errno);
	if (S_ISDIR(st.st_mode))
		return sr_blk_fail(args, -EISDIR, "is a directory, not an image");
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return sr_blk_fail(args, -ENOTBLK, "is neither a file nor a block device");
	/* O_EXCL keeps a block device from being mounted, and from other such openers. */
	if (S_ISBLK(st.st_mode) && !args->read_only)
		flags |= O_EXCL;
	/* A device lets go a moment after its last user did. */
	for (int tries = 0;; tries++) {
		file->fd = open(args->target, flags);
		if (file->fd >= 0)
			break;
		if (errno != EBUSY || tries == 10)
			return open_failed(args, -errno);
		usleep(50 * 1000);
	}
	if (fstat(file->fd, &st)) {
		close(file->fd);
		return open_failed(args, -errno);
	}
	file->block = S_ISBLK(st.st_mode);
	/* Newer kernels let a read-only device be opened for writing, and fail the writes. */
	if (file->block && !args->read_only && !ioctl(file->fd, BLKROGET, &only) && only) {
		close(file->fd);
		return open_failed(args, -EROFS);
	}
	return 0;
}

/* The raw size in bytes. */
static int image_size(const struct sr_file *file, uint64_t *size)
{
	struct stat st;

	if (file->block)
		return ioctl(file->fd, BLKGETSIZE64, size) ? -errno : 0;
	if (fstat(file->fd, &st))
		return -errno;
	*size = (uint64_t)st.st_size;
	return 0;
}

static uint32_t block_ioctl(int fd, unsigned long request, uint32_t fallback)
{
	int value = 0;

	return ioctl(fd, request, &value) || value < 512 ? fallback : (uint32_t)value;
}

/* Chooses between O_DIRECT and the page cache. */
static int choose_direct(const struct sr_blk_open *args, const struct sr_file_options *options,
			 struct sr_file *file, uint64_t size, struct sr_blk_info *info)
{
	uint32_t sector = file->block ? block_ioctl(file->fd, BLKSSZGET, 512) : 0;
	bool must = options->direct == SR_FILE_DIRECT_ON;
	struct sr_file_dio dio = { 0 };
	int flags;

	if (options->direct == SR_FILE_DIRECT_OFF)
		return 0;
	sr_file_dio_probe(file->fd, sector, &dio);
	if (!dio.offset)
		return must
			   ? sr_blk_fail(args, -EOPNOTSUPP,
					 "direct=on: this file system has no O_DIRECT; leave it to "
					 "direct=auto")
			   : 0;
	if (size % dio.offset)
		return must ? sr_blk_fail(
				  args, -EINVAL,
				  "direct=on: the size, %llu bytes, is no multiple of %u; "
				  "make it one (truncate -s %%%u) or leave it to direct=auto",
				  (unsigned long long)size, dio.offset, dio.offset)
			    : 0;
	flags = fcntl(file->fd, F_GETFL);
	if (flags < 0 || fcntl(file->fd, F_SETFL, flags | O_DIRECT))
		return must ? sr_blk_fail(args, -errno, "direct=on: %s", strerror(errno)) : 0;
	file->direct = true;
	info->logical_block_size = dio.offset;
	info->memory_alignment = dio.memory;
	return 0;
}

static int describe(const struct sr_blk_open *args, const struct sr_file_options *options,
		    struct sr_file *file, struct sr_blk_info *info)
{
	uint64_t size = 0;
	struct statfs fs;
	int err = image_size(file, &size);

	if (err)
		return sr_blk_fail(args, err, "its size can't be read: %s", strerror(-err));
	if (size == 0)
		return sr_blk_fail(args, -EINVAL,
				   "is empty: an image has its size from the start "
				   "(truncate -s 10G)");
	if (size % 512)
		return sr_blk_fail(
		    args, -EINVAL,
		    "the size, %llu bytes, is no multiple of the sector of 512: is it "
		    "a raw image? (truncate -s %%512 makes it one)",
		    (unsigned long long)size);
	*info = (struct sr_blk_info){
		.size = size,
		.logical_block_size = 512,
		.flush = true,
		.read_only = args->read_only,
	};
	err = choose_direct(args, options, file, size, info);
	if (err)
		return err;
	info->physical_block_size = file->block ? block_ioctl(file->fd, BLKPBSZGET, 512) : 4096;
	if (info->physical_block_size < info->logical_block_size)
		info->physical_block_size = info->logical_block_size;
	file->logical_block_size = info->logical_block_size;
	file->memory = !file->block && !fstatfs(file->fd, &fs) && fs.f_type == TMPFS_MAGIC;
	if (options->discard && !args->read_only)
		sr_file_discard_probe(file, info);
	return 0;
}

int sr_file_open(const struct sr_blk_open *args, const struct sr_file_options *options,
		 struct sr_file *file, struct sr_blk_info *info)
{
	int err;

	*file = (struct sr_file){ .fd = -1 };
	err = open_image(args, file);
	if (err)
		return err;
	/* First the lock: an image that is another's is not even looked at. */
	if (options->lock)
		err = sr_file_lock(args, file->fd);
	if (!err)
		err = describe(args, options, file, info);
	if (err)
		sr_file_close(file);
	return err;
}

void sr_file_close(struct sr_file *file)
{
	struct flock unlock = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	/*
	 * By hand: an io_uring that had the file registered lets go of it some time after it was
	 * closed itself, and the image must be free for its next user now.
	 */
	fcntl(file->fd, F_OFD_SETLK, &unlock);
	close(file->fd);
	file->fd = -1;
}

int sr_file_refresh(const struct sr_file *file, struct sr_blk_info *info)
{
	uint64_t size = 0;
	int err = image_size(file, &size);

	if (err)
		return err;
	size -= size % file->logical_block_size;
	if (size == 0)
		return -ENODEV;
	info->size = size;
	return 0;
}
