/* SPDX-License-Identifier: MIT */

/* A file or block device through Linux's native AIO. See docs/drivers/aio.md. */

#include <aio/queue.h>

struct aio_disk {
	struct sr_file file;
	struct sr_slow slow;
};

extern const struct sr_blk_driver sr_blk_driver_aio;

static int aio_open(const struct sr_blk_open *args, void **out, struct sr_blk_info *info)
{
	struct sr_blk_option known[SR_FILE_OPTIONS];
	struct sr_file_options options;
	struct aio_disk *disk;
	int err;

	sr_file_options_table(&options, known);
	err = sr_blk_options_read(args, args->options, known, SR_FILE_OPTIONS);
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
	sr_slow_init(&disk->slow, &disk->file);
	*out = disk;
	return 0;
}

static void aio_close(void *arg)
{
	struct aio_disk *disk = arg;

	sr_slow_fini(&disk->slow);
	sr_file_close(&disk->file);
	free(disk);
}

static int aio_refresh(void *arg, struct sr_blk_info *info)
{
	struct aio_disk *disk = arg;

	return sr_file_refresh(&disk->file, info);
}

static int aio_queue_open(void *arg, const struct sr_blk_queue_params *params, void **out)
{
	struct aio_disk *disk = arg;
	struct sr_aio_queue *queue;
	int err = sr_aio_queue_open(&disk->file, &disk->slow, params->depth, &queue);

	if (!err)
		*out = queue;
	return err;
}

const struct sr_blk_driver sr_blk_driver_aio = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "aio",
	.description = "files and block devices through Linux AIO",
	.scratch_size = sizeof(struct sr_aio_io),
	.open = aio_open,
	.close = aio_close,
	.refresh = aio_refresh,
	.queue_open = aio_queue_open,
	.queue_close = sr_aio_queue_close,
	.submit = sr_aio_submit,
	.kick = sr_aio_kick,
	.reap = sr_aio_reap,
	.fd = sr_aio_fd,
};
