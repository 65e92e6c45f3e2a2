/* SPDX-License-Identifier: MIT */
/* What the store tells: of backend directories, and of frontends. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"

/* Events of one turn: then whoever waits for the control thread has it. */
#define EVENTS 256u

/* --- backend directories ------------------------------------------------------------------------
 */

int sr_backend_watch_types(struct sr_backend *b)
{
	for (unsigned i = 0; i < b->type_count; i++)
		if (!xs_watch(b->xs, b->types[i].dir, b->types[i].name)) {
			sr_log(&b->log, SR_LOG_ERROR, "can't watch %s: %s", b->types[i].dir,
			       strerror(errno));
			return -errno;
		}
	return 0;
}

static struct sr_device *find_device(struct sr_backend *b, const char *type, uint16_t domid,
				     uint32_t devid)
{
	struct sr_device *dev = b->by_id[sr_hash_id(type, domid, devid)];

	while (dev && (strcmp(dev->type, type) || dev->domid != domid || dev->devid != devid))
		dev = dev->next_id;
	return dev;
}

/* Cuts the next part off a path: "7/51712/state" -> 7, "51712/state". */
static bool next_number(const char **path, uint64_t max, uint64_t *value)
{
	char text[24];
	size_t len = strcspn(*path, "/");

	if (len >= sizeof(text))
		return false;
	memcpy(text, *path, len);
	text[len] = 0;
	if (sr_parse_u64(text, max, value))
		return false;
	*path += len;
	if (**path == '/')
		(*path)++;
	return true;
}

static bool is_one_of(const char *key, const char *const *keys)
{
	for (; keys && *keys; keys++)
		if (!strcmp(key, *keys))
			return true;
	return false;
}

static void scan_later(struct sr_backend *b, int rc)
{
	if (b->scan_at)
		return;
	if (!b->scan_ms)
		sr_log(&b->log, SR_LOG_WARNING,
		       "can't read what devices there are, trying again: %s", strerror(-rc));
	b->scan_ms = sr_backoff_ms(b->scan_ms);
	b->scan_at = sr_now_ms() + b->scan_ms;
}

/* Those below a directory; NULL: none, or nobody can say now. The caller frees them. */
static char **list(struct sr_backend *b, const char *path, unsigned *count)
{
	char **names = xs_directory(b->xs, XBT_NULL, path, count);

	if (!names)
		*count = 0;
	if (!names && sr_is_store_trouble(-errno))
		scan_later(b, -errno);
	return names;
}

static void make_device(struct sr_backend *b, const struct sr_backend_type *type, uint16_t domid,
			uint32_t devid)
{
	int rc = sr_device_new(b, type, domid, devid);

	if (sr_is_store_trouble(rc))
		scan_later(b, rc);
	/* Not complete yet: there will be another event. */
	else if (rc && rc != -ENOENT)
		sr_log(&b->log, SR_LOG_ERROR, "%s-%u-%u: can't read its nodes: %s", type->name,
		       domid, devid, strerror(-rc));
}

void sr_backend_scan(struct sr_backend *b, const struct sr_backend_type *type)
{
	unsigned domains = 0, devices;
	char **domain = list(b, type->dir, &domains), path[128];

	for (unsigned i = 0; i < domains; i++) {
		uint64_t domid, devid;
		char **device;

		if (sr_parse_u64(domain[i], UINT16_MAX, &domid))
			continue;
		snprintf(path, sizeof(path), "%s/%s", type->dir, domain[i]);
		device = list(b, path, &devices);
		for (unsigned k = 0; k < devices; k++)
			if (!sr_parse_u64(device[k], UINT32_MAX, &devid) &&
			    !find_device(b, type->name, (uint16_t)domid, (uint32_t)devid))
				make_device(b, type, (uint16_t)domid, (uint32_t)devid);
		free(device);
	}
	free(domain);
	for (struct sr_device *dev = b->devices; dev; dev = dev->next)
		dev->dirty = true;
}

static void on_back_event(struct sr_backend *b, const struct sr_backend_type *type,
			  const char *rest)
{
	static const char *const common[] = {
		"", "state", "online", "frontend", "frontend-id", NULL
	};
	uint64_t domid, devid;
	struct sr_device *dev;

	if (*rest == '/')
		rest++;
	if (!*rest) {
		/* The watch itself, which is also what many missed events come as. */
		sr_backend_scan(b, type);
		return;
	}
	if (!next_number(&rest, UINT16_MAX, &domid) || !*rest) {
		for (dev = b->devices; dev; dev = dev->next)
			dev->dirty = dev->dirty || dev->domid == domid;
		return;
	}
	if (!next_number(&rest, UINT32_MAX, &devid) ||
	    !(is_one_of(rest, common) || is_one_of(rest, type->class->keys)))
		return;
	dev = find_device(b, type->name, (uint16_t)domid, (uint32_t)devid);
	if (!dev) {
		make_device(b, type, (uint16_t)domid, (uint32_t)devid);
		return;
	}
	dev->dirty = true;
	if (dev->class->written && is_one_of(rest, type->class->keys))
		dev->class->written(dev, rest);
}

/* --- frontends ----------------------------------------------------------------------------------
 */

/* A node of a frontend's directory. */
static void on_front_node(struct sr_backend *b, const char *dir, const char *key)
{
	struct sr_device *dev = b->by_front[sr_hash_path(dir)];

	for (; dev; dev = dev->next_front)
		if (!strcmp(dev->front, dir) &&
		    (!strcmp(key, "state") || is_one_of(key, dev->class->front_keys)))
			dev->dirty = true;
}

static void on_front_event(struct sr_backend *b, char *path)
{
	char *slash = strrchr(path, '/');
	size_t len;

	if (slash) {
		*slash = 0;
		on_front_node(b, path, slash + 1);
		if (!strcmp(slash + 1, "state"))
			return;
		*slash = '/';
	}
	for (struct sr_device *dev = b->by_front[sr_hash_path(path)]; dev; dev = dev->next_front)
		if (!strcmp(dev->front, path))
			dev->dirty = true;
	/*
	 * Mostly a node that is of no interest, which a guest may write as often as it likes. Else
	 * a directory above: it was removed, or events were merged.
	 */
	len = strlen(path);
	for (struct sr_front_watch *w = b->watches; w; w = w->next)
		if (len <= w->len && !memcmp(w->path, path, len))
			for (struct sr_device *dev = b->devices; dev; dev = dev->next)
				dev->dirty = dev->dirty || (dev->front_watch &&
							    !strcmp(dev->front_watch, w->path));
}

static void on_event(struct sr_backend *b, char *path, const char *token)
{
	if (!strcmp(token, SR_FRONT_TOKEN))
		on_front_event(b, path);
	for (unsigned i = 0; i < b->type_count; i++) {
		const struct sr_backend_type *type = &b->types[i];
		size_t len = strlen(type->dir);

		/* It also fires for what lies above: then path is the shorter one. */
		if (!strcmp(token, type->name))
			on_back_event(b, type, strlen(path) > len ? path + len : "");
	}
}

void sr_backend_take_events(struct sr_backend *b)
{
	char **event;

	for (unsigned i = 0; i < EVENTS && (event = xs_check_watch(b->xs)); i++) {
		on_event(b, event[XS_WATCH_PATH], event[XS_WATCH_TOKEN]);
		free(event);
	}
}
