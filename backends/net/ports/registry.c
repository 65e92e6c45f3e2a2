/* SPDX-License-Identifier: MIT */
#include "port.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <common/plugin.h>

static const struct sr_net_port_driver *const built_in[] = { &sr_net_port_driver_dpdk,
							     &sr_net_port_driver_tap };

struct entry {
	const struct sr_net_port_driver *driver;
	void *library; /* what dlopen() gave, or NULL */
};

struct sr_port_registry {
	struct entry *entries;
	size_t count;
};

int sr_port_registry_new(struct sr_port_registry **out)
{
	struct sr_port_registry *registry = calloc(1, sizeof(*registry));
	int rc = registry ? 0 : -ENOMEM;

	for (size_t i = 0; i < sizeof(built_in) / sizeof(built_in[0]) && !rc; i++)
		rc = sr_port_registry_add(registry, built_in[i], NULL, 0);
	if (rc) {
		sr_port_registry_free(registry);
		return rc;
	}
	*out = registry;
	return 0;
}

void sr_port_registry_free(struct sr_port_registry *registry)
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
static const char *missing(const struct sr_net_port_driver *driver)
{
	if (!driver->name || !sr_plugin_name_ok(driver->name, strlen(driver->name)))
		return "its name is not made of a-z, 0-9, _ and -";
	if (!driver->open || !driver->close || !driver->receive || !driver->send)
		return "it lacks one of open(), close(), receive() and send()";
	if (driver->arm && !driver->fd)
		return "it has arm() but no fd()";
	return NULL;
}

static const struct sr_net_port_driver *find(const struct sr_port_registry *registry,
					     const char *name, size_t len)
{
	for (size_t i = 0; i < registry->count; i++) {
		const struct sr_net_port_driver *driver = registry->entries[i].driver;

		if (strlen(driver->name) == len && memcmp(driver->name, name, len) == 0)
			return driver;
	}
	return NULL;
}

static int add(struct sr_port_registry *registry, const struct sr_net_port_driver *driver,
	       void *library, char *error, size_t size)
{
	struct entry *entries;
	const char *why;

	/* Nothing else of the structure may be read before the version is known to be ours. */
	if (driver->abi != SR_NET_PORT_ABI)
		return sr_plugin_error(error, size, -EINVAL,
				       "it is built for port ABI %u, this splitring has ABI %u: "
				       "compile it against the headers of this version",
				       driver->abi, SR_NET_PORT_ABI);
	why = missing(driver);
	if (why)
		return sr_plugin_error(error, size, -EINVAL, "%s", why);
	if (find(registry, driver->name, strlen(driver->name)))
		return sr_plugin_error(error, size, -EEXIST, "there is a port named '%s' already",
				       driver->name);
	entries = realloc(registry->entries, (registry->count + 1) * sizeof(*entries));
	if (!entries)
		return sr_plugin_error(error, size, -ENOMEM, "out of memory");
	entries[registry->count++] = (struct entry){ driver, library };
	registry->entries = entries;
	return 0;
}

int sr_port_registry_add(struct sr_port_registry *registry, const struct sr_net_port_driver *driver,
			 char *error, size_t size)
{
	return add(registry, driver, NULL, error, size);
}

int sr_port_registry_load(struct sr_port_registry *registry, const char *path, char *error,
			  size_t size)
{
	char why[256] = "";
	const void *found;
	void *library;
	int rc;

	rc = sr_plugin_load(path, "port", "sr_net_port_driver", &library, &found, error, size);
	if (rc)
		return rc;
	rc = add(registry, found, library, why, sizeof(why));
	if (rc) {
		dlclose(library);
		return sr_plugin_error(error, size, rc, "port %s: %s", path, why);
	}
	return 0;
}

const struct sr_net_port_driver *sr_port_driver_at(const struct sr_port_registry *registry,
						   size_t index)
{
	return index < registry->count ? registry->entries[index].driver : NULL;
}

int sr_port_find(const struct sr_port_registry *registry, const char *uplink,
		 const struct sr_net_port_driver **driver, const char **args, char *error,
		 size_t size)
{
	size_t len = strcspn(uplink, ":"), at = 0;
	char known[256] = "";

	if (uplink[len] != ':')
		return sr_plugin_error(error, size, -EINVAL,
				       "'%s' names no uplink: it is driver:args, as in "
				       "dpdk:net_tap0,iface=tap0",
				       uplink);
	*driver = find(registry, uplink, len);
	*args = uplink + len + 1;
	if (*driver)
		return 0;
	for (size_t i = 0; i < registry->count && at < sizeof(known); i++)
		at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "",
				       registry->entries[i].driver->name);
	return sr_plugin_error(error, size, -ENOENT, "%s: there is no port '%.*s'; known are: %s",
			       uplink, (int)len, uplink, known);
}
