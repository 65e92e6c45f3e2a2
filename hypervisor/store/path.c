// SPDX-License-Identifier: MIT
#include "path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool legal_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '/' || c == '_' || c == '@';
}

static bool legal_chars(const char *text)
{
	while (legal_char(*text))
		text++;
	return *text == '\0';
}

static bool legal_path(const char *text, size_t len)
{
	if (!legal_chars(text) || strstr(text, "//"))
		return false;
	return len == 1 || text[len - 1] != '/';
}

int sr_path_parse(const char *name, uint16_t domid, struct sr_path *path)
{
	size_t len = strnlen(name, SR_PATH_MAX + 1);

	if (len == 0 || name[0] == '@')
		return -EINVAL;
	path->relative = 0;
	if (name[0] != '/') {
		if (len > XENSTORE_REL_PATH_MAX)
			return -EINVAL;
		path->relative =
		    (size_t)snprintf(path->text, sizeof(path->text), "/local/domain/%u/", domid);
	}
	if (path->relative + len > SR_PATH_MAX)
		return -EINVAL;
	memcpy(path->text + path->relative, name, len + 1);
	path->len = path->relative + len;
	return legal_path(path->text, path->len) ? 0 : -EINVAL;
}

int sr_path_parse_watch(const char *name, uint16_t domid, struct sr_path *path)
{
	size_t len = strnlen(name, XENSTORE_REL_PATH_MAX + 1);

	if (name[0] != '@')
		return sr_path_parse(name, domid, path);
	if (len > XENSTORE_REL_PATH_MAX || !legal_chars(name))
		return -EINVAL;
	memcpy(path->text, name, len + 1);
	path->len = len;
	path->relative = 0;
	return 0;
}

size_t sr_path_parent_len(const char *path, size_t len)
{
	while (len > 1 && path[len - 1] != '/')
		len--;
	return len > 1 ? len - 1 : 1;
}
