/* SPDX-License-Identifier: MIT */
/* The rules for paths, from docs/misc/xenstore.txt in Xen and <xen/io/xs_wire.h>. */
#ifndef STORE_PATH_H
#define STORE_PATH_H

#include <errno.h> /* before xs_wire.h, which leaves out its table of errors without it */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/io/xs_wire.h>

#define SR_PATH_MAX XENSTORE_ABS_PATH_MAX

/* A checked, absolute path. */
struct sr_path {
	size_t len;
	size_t relative; /* bytes put before it where the client named it relative, else 0 */
	char text[SR_PATH_MAX + 1];
};

/*
 * Makes 'name' absolute and checks it: -EINVAL. A name without a leading '/' is relative to
 * /local/domain/<domid>. Names that begin with '@' (special watches) are not taken here.
 */
int sr_path_parse(const char *name, uint16_t domid, struct sr_path *path);

/* As above for what may be watched: '@' and legal characters are fine as well. */
int sr_path_parse_watch(const char *name, uint16_t domid, struct sr_path *path);

/* Length of the parent's path: 1 for "/a". Only for paths other than "/". */
size_t sr_path_parent_len(const char *path, size_t len);

/*
 * Steps through the names of a path: 'cursor' starts at the path and is moved. False at the end.
 * The name is not followed by a nul.
 */
static inline bool sr_path_next(const char **cursor, const char *end, const char **name,
				size_t *name_len)
{
	const char *p = *cursor;

	while (p < end && *p == '/')
		p++;
	*name = p;
	while (p < end && *p != '/')
		p++;
	*name_len = (size_t)(p - *name);
	*cursor = p;
	return *name_len > 0;
}

#endif
