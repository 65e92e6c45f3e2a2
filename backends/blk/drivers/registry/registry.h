/* SPDX-License-Identifier: MIT */
#ifndef DRIVERS_REGISTRY_INTERNAL_H
#define DRIVERS_REGISTRY_INTERNAL_H

/* What the files of the registry share. */

#include <common/plugin.h>
#include <drivers/registry.h>

#define SR_BLK_SCRATCH_MAX 4096u

struct sr_blk_entry {
	const struct sr_blk_driver *driver;
	void *library; /* what dlopen() gave, or NULL */
};

struct sr_blk_registry {
	struct sr_blk_entry *entries;
	size_t count;
};

/* sr_blk_registry_add(); on success `library` is the registry's. */
int sr_blk_registry_add_library(struct sr_blk_registry *registry,
				const struct sr_blk_driver *driver, void *library, char *error,
				size_t size);

#endif
