/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <fcntl.h>
#include <linux/magic.h>
/* The kernel's struct statx, not libc's: older libcs have no stx_dio_*. So no <sys/stat.h> here. */
#include <linux/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Does a read of `size` bytes into well-aligned memory work with O_DIRECT? */
static bool read_works(int fd, size_t size)
{
	void *buffer;
	bool works;

	if (posix_memalign(&buffer, 4096, size))
		return false;
	works = pread(fd, buffer, size, 0) >= 0 || errno != EINVAL;
	free(buffer);
	return works;
}

/* Kernels before 6.1 say nothing, so it is tried: memory at a page, offsets at 512 or 4096. */
static void probe_by_reading(int fd, struct sr_file_dio *dio)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT))
		return;
	for (uint32_t size = 512; !dio->offset && size <= 4096; size *= 8)
		if (read_works(fd, size))
			*dio = (struct sr_file_dio){ .memory = size, .offset = size };
	fcntl(fd, F_SETFL, flags);
}

void sr_file_dio_probe(int fd, uint32_t block_size, struct sr_file_dio *dio)
{
	struct statx stx = { 0 };
	struct statfs fs;

	*dio = (struct sr_file_dio){ 0 };
	if (!syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) &&
	    stx.stx_mask & STATX_DIOALIGN) {
		dio->memory = stx.stx_dio_mem_align;
		dio->offset = stx.stx_dio_offset_align;
	} else if (block_size) {
		*dio = (struct sr_file_dio){ .memory = block_size, .offset = block_size };
	} else if (fstatfs(fd, &fs) || fs.f_type != TMPFS_MAGIC) {
		/* tmpfs takes O_DIRECT on newer kernels, but only pretends: it has no device. */
		probe_by_reading(fd, dio);
	}
	if (dio->memory == 0 || dio->memory > 4096 || dio->offset == 0 || dio->offset > 4096)
		*dio = (struct sr_file_dio){ 0 };
	else if (dio->offset < 512)
		dio->offset = 512;
}
