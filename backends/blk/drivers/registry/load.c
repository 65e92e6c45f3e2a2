/* SPDX-License-Identifier: MIT */
#include "registry.h"

#include <dlfcn.h>

int sr_blk_registry_load(struct sr_blk_registry *registry, const char *path,
			 const struct sr_blk_driver **driver, char *error, size_t size)
{
	char why[256] = "";
	const void *found;
	void *library;
	int err;

	err = sr_plugin_load(path, "driver", "sr_blk_driver", &library, &found, error, size);
	if (err)
		return err;
	err = sr_blk_registry_add_library(registry, found, library, why, sizeof(why));
	if (err) {
		dlclose(library);
		return sr_plugin_error(error, size, err, "driver %s: %s", path, why);
	}
	if (driver)
		*driver = found;
	return 0;
}
