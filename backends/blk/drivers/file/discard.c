/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A number of /sys/dev/block/M:N/`name`; for a partition the queue is its parent's. */
static uint64_t sysfs_number(const struct stat *st, const char *name)
{
	static const char *const where[] = { "/sys/dev/block/%u:%u/%s",
					     "/sys/dev/block/%u:%u/../%s" };
	uint64_t value = 0;

	for (size_t i = 0; i < 2; i++) {
		char path[128];
		FILE *file;
		int n;

		snprintf(path, sizeof(path), where[i], major(st->st_rdev), minor(st->st_rdev),
			 name);
		file = fopen(path, "re");
		if (!file)
			continue;
		n = fscanf(file, "%lu", &value);
		fclose(file);
		if (n == 1)
			return value;
	}
	return 0;
}

/*
 * Nothing in sysfs tells about secure discard. A range behind the end can do no harm, and is
 * refused in another way where the device has the operation.
 */
static bool secure_probe(int fd)
{
	const uint64_t range[2] = { INT64_MAX & ~UINT64_C(4095), 4096 };

	return ioctl(fd, BLKSECDISCARD, range) && errno == EINVAL;
}

static void probe_block(const struct sr_file *file, const struct stat *st, struct sr_blk_info *info)
{
	uint64_t granularity = sysfs_number(st, "queue/discard_granularity");
	uint64_t alignment = sysfs_number(st, "discard_alignment");

	if (sysfs_number(st, "queue/discard_max_bytes") == 0)
		return;
	if (granularity == 0 || granularity > UINT32_MAX || granularity % info->logical_block_size)
		granularity = info->logical_block_size;
	if (alignment < granularity && alignment % info->logical_block_size == 0)
		info->discard_alignment = (uint32_t)alignment;
	info->discard_granularity = (uint32_t)granularity;
	info->secure_discard = secure_probe(file->fd);
}

void sr_file_discard_probe(const struct sr_file *file, struct sr_blk_info *info)
{
	struct stat st;

	if (fstat(file->fd, &st))
		return;
	if (file->block) {
		probe_block(file, &st, info);
		return;
	}
	/* A hole behind the end of the file changes nothing, and shows whether holes can be made.
	 */
	if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (st.st_size + 4095) & ~(off_t)4095, 4096))
		return;
	info->discard_granularity = st.st_blksize % info->logical_block_size == 0
					? (uint32_t)st.st_blksize
					: info->logical_block_size;
}

int sr_file_discard(const struct sr_file *file, const struct sr_blk_request *req)
{
	const uint64_t range[2] = { req->offset, req->length };
	bool secure = req->flags & SR_BLK_SECURE;

	if (file->block)
		return ioctl(file->fd, secure ? BLKSECDISCARD : BLKDISCARD, range) ? -errno : 0;
	/* A hole leaves the old content on the medium. */
	if (secure)
		return -EOPNOTSUPP;
	return fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)req->offset,
			 (off_t)req->length)
		   ? -errno
		   : 0;
}

int sr_file_flush(const struct sr_file *file)
{
	return fdatasync(file->fd) ? -errno : 0;
}
