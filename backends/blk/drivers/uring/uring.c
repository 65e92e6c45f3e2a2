/* SPDX-License-Identifier: MIT */

/* A file or block device through io_uring. See docs/drivers/uring.md. */

#include "uring.h"

union scratch {
	struct uring_io ring;
	struct sr_aio_io aio;
};

extern const struct sr_blk_driver sr_blk_driver_uring;

static int uring_open(const struct sr_blk_open *args, void **out, struct sr_blk_info *info)
{
	struct sr_blk_option known[SR_FILE_OPTIONS + 1];
	struct sr_file_options options;
	struct uring_disk *disk;
	bool sqpoll = false;
	int err;

	sr_file_options_table(&options, known);
	known[SR_FILE_OPTIONS] =
	    (struct sr_blk_option){ "sqpoll", SR_BLK_OPTION_BOOL, &sqpoll, NULL };
	err = sr_blk_options_read(args, args->options, known, SR_FILE_OPTIONS + 1);
	if (err)
		return err;
	disk = calloc(1, sizeof(*disk));
	if (!disk)
		return sr_blk_fail(args, -ENOMEM, "out of memory");
	err = sr_file_open(args, &options, &disk->file, info);
	if (err) {
		free(disk);
		return err;
	}
	disk->sqpoll = sqpoll;
	sr_slow_init(&disk->slow, &disk->file);
	*out = disk;
	return 0;
}

static void uring_close(void *arg)
{
	struct uring_disk *disk = arg;

	sr_slow_fini(&disk->slow);
	sr_file_close(&disk->file);
	free(disk);
}

static int uring_refresh(void *arg, struct sr_blk_info *info)
{
	struct uring_disk *disk = arg;

	return sr_file_refresh(&disk->file, info);
}

const struct sr_blk_driver sr_blk_driver_uring = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "uring",
	.description = "files and block devices through io_uring",
	.scratch_size = sizeof(union scratch),
	.open = uring_open,
	.close = uring_close,
	.refresh = uring_refresh,
	.queue_open = sr_uring_queue_open,
	.queue_close = sr_uring_queue_close,
	.submit = sr_uring_submit,
	.kick = sr_uring_kick,
	.reap = sr_uring_reap,
	.fd = sr_uring_fd,
	.memory_add = sr_uring_memory_add,
	.memory_remove = sr_uring_memory_remove,
};
