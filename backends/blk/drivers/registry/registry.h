/* SPDX-License-Identifier: MIT */
#ifndef DRIVERS_REGISTRY_INTERNAL_H
#define DRIVERS_REGISTRY_INTERNAL_H

/* What the files of the registry share. */

#include <drivers/registry.h>

#define SR_BLK_NAME_MAX    31u
#define SR_BLK_SCRATCH_MAX 4096u

struct sr_blk_entry {
	const struct sr_blk_driver *driver;
	void *library; /* what dlopen() gave, or NULL */
};

struct sr_blk_registry {
	struct sr_blk_entry *entries;
	size_t count;
};

/* Writes the line (where there is room for one) and returns `err`. */
__attribute__((format(printf, 4, 5))) int sr_blk_error(char *error, size_t error_size, int err,
						       const char *format, ...);

/* Could the `len` characters be a driver's name? */
bool sr_blk_name_ok(const char *name, size_t len);

/* sr_blk_registry_add(); on success `library` is the registry's. */
int sr_blk_registry_add_library(struct sr_blk_registry *registry,
				const struct sr_blk_driver *driver, void *library, char *error,
				size_t size);

#endif
