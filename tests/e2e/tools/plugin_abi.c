/* SPDX-License-Identifier: MIT */
/* A driver of an ABI version that does not exist. */
#include <splitring/blk_driver.h>

extern const struct sr_blk_driver sr_blk_driver;

const struct sr_blk_driver sr_blk_driver = { .abi = 7, .name = "stranger" };
