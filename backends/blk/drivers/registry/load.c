/* SPDX-License-Identifier: MIT */
#include "registry.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

int sr_blk_registry_load(struct sr_blk_registry *registry, const char *path,
			 const struct sr_blk_driver **driver, char *error, size_t size)
{
	const struct sr_blk_driver *found;
	char why[256] = "";
	void *library;
	int err;

	/* Without a slash dlopen() would search the library path: never what an operator means. */
	if (!strchr(path, '/'))
		return sr_blk_error(error, size, -EINVAL,
				    "driver '%s': give the path of the shared object, as in ./%s",
				    path, path);
	if (access(path, R_OK))
		return sr_blk_error(error, size, -errno, "driver %s: %s", path, strerror(errno));
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return sr_blk_error(error, size, -ENOEXEC, "driver %s can't be loaded: %s", path,
				    dlerror());
	found = dlsym(library, "sr_blk_driver");
	if (!found) {
		err = sr_blk_error(error, size, -ENOEXEC,
				   "driver %s: it exports no sr_blk_driver, so it is no driver of "
				   "splitring",
				   path);
		goto out;
	}
	err = sr_blk_registry_add_library(registry, found, library, why, sizeof(why));
	if (err) {
		sr_blk_error(error, size, err, "driver %s: %s", path, why);
		goto out;
	}
	if (driver)
		*driver = found;
	return 0;
out:
	dlclose(library);
	return err;
}
