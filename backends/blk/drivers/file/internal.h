/* SPDX-License-Identifier: MIT */
#ifndef FILE_INTERNAL_H
#define FILE_INTERNAL_H

/* What the files of this folder share. */

#include <file/file.h>

/* What O_DIRECT asks for, in bytes; both are 0 where it can't be had. */
struct sr_file_dio {
	uint32_t memory; /* of each buffer's start */
	uint32_t offset; /* of offset and length */
};

/* `block_size` is a block device's sector, 0 for a file. */
void sr_file_dio_probe(int fd, uint32_t block_size, struct sr_file_dio *dio);

/*
 * Takes the lock. Where a process holds one against us, -EBUSY and a line that names it; where the
 * holder can't be seen it may be a process that is just dying, and is waited for, up to 2 s.
 */
int sr_file_lock(const struct sr_blk_open *args, int fd);

/* Finds a process that has the file of `fd` open and locked. -ESRCH: none that we may look at. */
int sr_file_holder(int fd, int *pid, char *name, size_t name_size);

/* What the file or device can do of discard, in *info, whose fields for it are left alone where it
 * can't. */
void sr_file_discard_probe(const struct sr_file *file, struct sr_blk_info *info);

#endif
