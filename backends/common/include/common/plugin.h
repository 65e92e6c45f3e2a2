/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_PLUGIN_H
#define SR_COMMON_PLUGIN_H

/*
 * What the registries of block drivers and of network ports share: names, shared objects, and the
 * line for the operator. Needs libc only.
 */

#include <stdbool.h>
#include <stddef.h>

#define SR_PLUGIN_NAME_MAX 31u

/* Writes the line (where there is room for one) and returns `err`. */
__attribute__((format(printf, 4, 5))) int sr_plugin_error(char *error, size_t error_size, int err,
							  const char *format, ...);

/* Could the `len` characters be a name: [a-z0-9_-], 1 to SR_PLUGIN_NAME_MAX of them? */
bool sr_plugin_name_ok(const char *name, size_t len);

/*
 * Loads the shared object at `path` (with a slash in it: no search path is used) and finds
 * `symbol`. `kind` is what the operator calls such a thing: "driver", "port". -EINVAL: no slash;
 * -ENOENT and the like: it can't be read; -ENOEXEC: it can't be loaded, or has no such symbol.
 * *library is for dlclose().
 */
int sr_plugin_load(const char *path, const char *kind, const char *symbol, void **library,
		   const void **found, char *error, size_t error_size);

#endif
