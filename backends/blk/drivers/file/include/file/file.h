/* SPDX-License-Identifier: MIT */
#ifndef FILE_FILE_H
#define FILE_FILE_H

/*
 * An image file or a block device as a disk: what the drivers over one (uring, aio) share. Opening
 * and locking it, how large it is, what O_DIRECT asks of memory and offsets, what discard can do.
 *
 * Threads: as a driver's open(), close() and refresh(); sr_file_discard() and sr_file_flush() may
 * run anywhere, beside all of them. Errors: 0 or -errno, with a line in args->error where it is
 * given.
 */

#include <splitring/blk_options.h>

/* The options these drivers have in common, with their defaults when all is zero but `discard`,
 * `lock`. */
struct sr_file_options {
	unsigned direct; /* enum sr_file_direct */
	bool discard;
	bool lock;
};

enum sr_file_direct {
	SR_FILE_DIRECT_AUTO, /* where the file system takes it, and the image's size allows it */
	SR_FILE_DIRECT_ON,
	SR_FILE_DIRECT_OFF,
};

#define SR_FILE_OPTIONS 3u

struct sr_file {
	int fd;
	bool block;  /* a block device, else a regular file */
	bool direct; /* opened for O_DIRECT */
	bool memory; /* a file of tmpfs: there is no device to wait for */
	uint32_t logical_block_size;
};

/* The defaults in *options, and the first SR_FILE_OPTIONS rows of a table that reads into it. */
void sr_file_options_table(struct sr_file_options *options, struct sr_blk_option *rows);

/*
 * Opens args->target and locks it: one writer, or many readers, whichever process they are in.
 * Fills *info. On failure nothing stays open.
 */
int sr_file_open(const struct sr_blk_open *args, const struct sr_file_options *options,
		 struct sr_file *file, struct sr_blk_info *info);
void sr_file_close(struct sr_file *file);

/* The size as it is now, rounded down to whole blocks, in info->size. -ENODEV: the device is gone.
 */
int sr_file_refresh(const struct sr_file *file, struct sr_blk_info *info);

/* Discards a range; this may take long. Returns the request's result. */
int sr_file_discard(const struct sr_file *file, const struct sr_blk_request *req);

/* fdatasync(); this may take long. */
int sr_file_flush(const struct sr_file *file);

#endif
