/* SPDX-License-Identifier: MIT */
/*
 * The driver that holds requests, for a daemon: `splitringd --driver held.so`. The disk
 * "held:disk" keeps what it gets while it is told to, and the disk "held:switch" is what a guest
 * tells it by: the first byte of what is written to it, 1 or 0, is whether to hold, and what is
 * read from it begins with the number of requests that are held now, in the order of the machine.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "held.h"

static char lever; /* the switch, as a disk */

static int module_open(const struct sr_blk_open *args, void **disk, struct sr_blk_info *info)
{
	if (!strcmp(args->target, "disk"))
		return held_driver.open(args, disk, info);
	if (strcmp(args->target, "switch")) {
		snprintf(args->error, args->error_size, "held: it is held:disk or held:switch");
		return -EINVAL;
	}
	*info = (struct sr_blk_info){ .size = 1 << 20, .logical_block_size = 512 };
	*disk = &lever;
	return 0;
}

static void module_close(void *disk)
{
	if (disk != &lever)
		held_driver.close(disk);
}

static enum sr_blk_submit use_switch(struct sr_blk_request *req)
{
	unsigned count = held_count();

	req->result = req->iov_count && req->iov[0].iov_len >= sizeof(count) ? 0 : -EINVAL;
	if (req->result)
		return SR_BLK_DONE;
	if (req->op == SR_BLK_WRITE)
		held_set(*(const char *)req->iov[0].iov_base == 1);
	else
		memcpy(req->iov[0].iov_base, &count, sizeof(count));
	return SR_BLK_DONE;
}

static enum sr_blk_submit module_submit(void *queue, struct sr_blk_request *req)
{
	return queue == &lever ? use_switch(req) : held_driver.submit(queue, req);
}

static unsigned module_reap(void *queue, struct sr_blk_request **done, unsigned max)
{
	return queue == &lever ? 0 : held_driver.reap(queue, done, max);
}

static int module_fd(void *queue)
{
	return queue == &lever ? -1 : held_driver.fd(queue);
}

const struct sr_blk_driver sr_blk_driver = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "held",
	.description = "keeps requests until a guest lets go",
	.open = module_open,
	.close = module_close,
	.submit = module_submit,
	.reap = module_reap,
	.fd = module_fd,
};
