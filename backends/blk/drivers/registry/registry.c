/* SPDX-License-Identifier: MIT */
#include "registry.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

extern const struct sr_blk_driver sr_blk_driver_null, sr_blk_driver_ram, sr_blk_driver_uring,
    sr_blk_driver_aio;

static const struct sr_blk_driver *const builtin[] = {
	&sr_blk_driver_null,
	&sr_blk_driver_ram,
	&sr_blk_driver_uring,
	&sr_blk_driver_aio,
};

int sr_blk_registry_new(struct sr_blk_registry **out)
{
	struct sr_blk_registry *registry = calloc(1, sizeof(*registry));
	int err = registry ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < sizeof(builtin) / sizeof(builtin[0]); i++)
		err = sr_blk_registry_add(registry, builtin[i], NULL, 0);
	if (err) {
		sr_blk_registry_free(registry);
		return err;
	}
	*out = registry;
	return 0;
}

void sr_blk_registry_free(struct sr_blk_registry *registry)
{
	if (!registry)
		return;
	for (size_t i = 0; i < registry->count; i++)
		if (registry->entries[i].library)
			dlclose(registry->entries[i].library);
	free(registry->entries);
	free(registry);
}

/* What every driver must have, in words an author of one can act on. NULL: all is there. */
static const char *missing(const struct sr_blk_driver *driver)
{
	if (!driver->name || !sr_plugin_name_ok(driver->name, strlen(driver->name)))
		return "its name is not made of a-z, 0-9, _ and -";
	if (!driver->open || !driver->submit)
		return "it has no open() or no submit()";
	if (!driver->queue_open != !driver->queue_close)
		return "queue_open() and queue_close() go together";
	if (!driver->memory_add != !driver->memory_remove)
		return "memory_add() and memory_remove() go together";
	if (!driver->reap != !driver->fd)
		return "reap() and fd() go together";
	if (driver->scratch_size > SR_BLK_SCRATCH_MAX)
		return "its scratch_size is above 4096 bytes";
	return NULL;
}

int sr_blk_registry_add_library(struct sr_blk_registry *registry,
				const struct sr_blk_driver *driver, void *library, char *error,
				size_t size)
{
	struct sr_blk_entry *entries;
	const char *why;

	/* Nothing else of the structure may be read before the version is known to be ours. */
	if (driver->abi != SR_BLK_DRIVER_ABI)
		return sr_plugin_error(error, size, -EINVAL,
				       "it is built for driver ABI %u, this splitring has ABI %u: "
				       "compile it against the headers of this version",
				       driver->abi, SR_BLK_DRIVER_ABI);
	why = missing(driver);
	if (why)
		return sr_plugin_error(error, size, -EINVAL, "%s", why);
	if (sr_blk_driver_find(registry, driver->name))
		return sr_plugin_error(error, size, -EEXIST, "there is a driver named '%s' already",
				       driver->name);
	entries = realloc(registry->entries, (registry->count + 1) * sizeof(*entries));
	if (!entries)
		return sr_plugin_error(error, size, -ENOMEM, "out of memory");
	entries[registry->count++] = (struct sr_blk_entry){ driver, library };
	registry->entries = entries;
	return 0;
}

int sr_blk_registry_add(struct sr_blk_registry *registry, const struct sr_blk_driver *driver,
			char *error, size_t error_size)
{
	return sr_blk_registry_add_library(registry, driver, NULL, error, error_size);
}

const struct sr_blk_driver *sr_blk_driver_find(const struct sr_blk_registry *registry,
					       const char *name)
{
	for (size_t i = 0; i < registry->count; i++)
		if (strcmp(registry->entries[i].driver->name, name) == 0)
			return registry->entries[i].driver;
	return NULL;
}

const struct sr_blk_driver *sr_blk_driver_at(const struct sr_blk_registry *registry, size_t index)
{
	return index < registry->count ? registry->entries[index].driver : NULL;
}
