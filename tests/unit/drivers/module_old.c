/* SPDX-License-Identifier: MIT */

/* A driver that was built for another version of the interface; nothing else in it may be read. */

#include <splitring/blk_driver.h>

const struct sr_blk_driver sr_blk_driver = {
	.abi = SR_BLK_DRIVER_ABI + 1,
	.name = (const char *)16,
};
