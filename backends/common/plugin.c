/* SPDX-License-Identifier: MIT */
#include <common/plugin.h>

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int sr_plugin_error(char *error, size_t error_size, int err, const char *format, ...)
{
	va_list args;

	if (error && error_size) {
		va_start(args, format);
		vsnprintf(error, error_size, format, args);
		va_end(args);
	}
	return err;
}

bool sr_plugin_name_ok(const char *name, size_t len)
{
	return len > 0 && len <= SR_PLUGIN_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") >= len;
}

int sr_plugin_load(const char *path, const char *kind, const char *symbol, void **library,
		   const void **found, char *error, size_t size)
{
	/* Without a slash dlopen() would search the library path: never what an operator means. */
	if (!strchr(path, '/'))
		return sr_plugin_error(error, size, -EINVAL,
				       "%s '%s': give the path of the shared object, as in ./%s",
				       kind, path, path);
	if (access(path, R_OK))
		return sr_plugin_error(error, size, -errno, "%s %s: %s", kind, path,
				       strerror(errno));
	*library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!*library)
		return sr_plugin_error(error, size, -ENOEXEC, "%s %s can't be loaded: %s", kind,
				       path, dlerror());
	*found = dlsym(*library, symbol);
	if (*found)
		return 0;
	dlclose(*library);
	return sr_plugin_error(error, size, -ENOEXEC,
			       "%s %s: it exports no %s, so it is no %s of splitring", kind, path,
			       symbol, kind);
}
