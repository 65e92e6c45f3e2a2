/* SPDX-License-Identifier: MIT */

/*
 * A disk without a medium: writes go nowhere, reads leave the memory as it is or fill it with
 * zeroes. What remains is the cost of the rings and of the engine. See docs/drivers/null.md.
 */

#include <splitring/blk_options.h>

struct null_disk {
	bool zeroes;
};

extern const struct sr_blk_driver sr_blk_driver_null;

static int null_open(const struct sr_blk_open *args, void **disk, struct sr_blk_info *info)
{
	uint64_t size = 0, block = 512;
	bool zeroes = false;
	const struct sr_blk_option known[] = {
		{ "size", SR_BLK_OPTION_SIZE, &size, NULL },
		{ "block", SR_BLK_OPTION_SIZE, &block, NULL },
		{ "zeroes", SR_BLK_OPTION_BOOL, &zeroes, NULL },
	};
	struct null_disk *null;
	int err;

	err = sr_blk_options_read(args, args->target, known, 1);
	if (!err)
		err = sr_blk_options_read(args, args->options, known + 1, 2);
	if (err)
		return err;
	if (block != 512 && block != 4096)
		return sr_blk_fail(args, -EINVAL, "block=: the sector is of 512 or 4096 bytes");
	if (size == 0 || size % block)
		return sr_blk_fail(args, -EINVAL, "size=: it is a multiple of %u bytes, above 0",
				   (unsigned)block);
	null = malloc(sizeof(*null));
	if (!null)
		return sr_blk_fail(args, -ENOMEM, "out of memory");
	null->zeroes = zeroes;
	*info = (struct sr_blk_info){
		.size = size,
		.logical_block_size = (uint32_t)block,
		.discard_granularity = (uint32_t)block,
		.secure_discard = true,
		.flush = true,
		.read_only = args->read_only,
	};
	*disk = null;
	return 0;
}

static void null_close(void *disk)
{
	free(disk);
}

static enum sr_blk_submit null_submit(void *queue, struct sr_blk_request *req)
{
	const struct null_disk *null = queue;

	if (null->zeroes && req->op == SR_BLK_READ)
		for (uint32_t i = 0; i < req->iov_count; i++)
			memset(req->iov[i].iov_base, 0, req->iov[i].iov_len);
	req->result = 0;
	return SR_BLK_DONE;
}

const struct sr_blk_driver sr_blk_driver_null = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "null",
	.description = "no medium: measures everything but the disk",
	.open = null_open,
	.close = null_close,
	.submit = null_submit,
};
