/* SPDX-License-Identifier: MIT */
/* A driver of one sector that is always zero: what it takes to be loaded. */
#include <splitring/blk_driver.h>

#include <string.h>

static int nothing_open(const struct sr_blk_open *args, void **disk, struct sr_blk_info *info)
{
	static int it;

	*disk = &it;
	info->size = 512;
	info->logical_block_size = 512;
	return 0;
}

static enum sr_blk_submit nothing_submit(void *queue, struct sr_blk_request *req)
{
	for (uint32_t i = 0; req->op == SR_BLK_READ && i < req->iov_count; i++)
		memset(req->iov[i].iov_base, 0, req->iov[i].iov_len);
	req->result = 0;
	return SR_BLK_DONE;
}

extern const struct sr_blk_driver sr_blk_driver;

const struct sr_blk_driver sr_blk_driver = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "nothing",
	.description = "a sector of zeroes",
	.open = nothing_open,
	.submit = nothing_submit,
};
