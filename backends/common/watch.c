/* SPDX-License-Identifier: MIT */
/*
 * Watching frontends. A watch covers a subtree, and events of nodes that we may not read do not
 * reach us. So there is one for each directory that holds frontends of ours: all disks of a guest
 * in one (/local/domain/7/device/vbd). An unprivileged driver domain may have 128 watches; where
 * no more are to be had, a single one on /local/domain takes the place of all. It costs events of
 * whatever else we can read there, which in a driver domain is little, and in domain 0, where it
 * would be much, there is no quota.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"

#define SR_WIDE_WATCH "/local/domain"

static struct sr_front_watch *find(struct sr_backend *b, const char *path)
{
	for (struct sr_front_watch *w = b->watches; w; w = w->next)
		if (!strcmp(w->path, path))
			return w;
	return NULL;
}

/* From now on one watch for all. What it fires for at first makes us look at every device. */
static void go_wide(struct sr_backend *b)
{
	for (struct sr_front_watch *w = b->watches; w; w = w->next)
		xs_unwatch(b->xs, w->path, SR_FRONT_TOKEN);
	b->wide_watch = true;
	if (!xs_watch(b->xs, SR_WIDE_WATCH, SR_FRONT_TOKEN))
		sr_log(&b->log, SR_LOG_ERROR,
		       "can't watch frontends: %s; changes of their state are missed",
		       strerror(errno));
}

void sr_backend_watch_front(struct sr_device *dev)
{
	struct sr_backend *b = dev->backend;
	char *slash = strrchr(dev->front, '/');
	size_t len = (size_t)(slash - dev->front);
	struct sr_front_watch *w;

	dev->front_watch = strndup(dev->front, len ? len : 1);
	if (!dev->front_watch)
		return;
	w = find(b, dev->front_watch);
	if (!w) {
		w = calloc(1, sizeof(*w) + len + 2);
		if (!w) {
			free(dev->front_watch);
			dev->front_watch = NULL;
			return;
		}
		strcpy(w->path, dev->front_watch);
		w->len = strlen(w->path);
		w->next = b->watches;
		b->watches = w;
		if (!b->wide_watch && !xs_watch(b->xs, w->path, SR_FRONT_TOKEN))
			go_wide(b);
	}
	w->refs++;
}

void sr_backend_unwatch_front(struct sr_device *dev)
{
	struct sr_backend *b = dev->backend;
	struct sr_front_watch **p = &b->watches, *w;

	if (!dev->front_watch)
		return;
	while (*p && strcmp((*p)->path, dev->front_watch))
		p = &(*p)->next;
	w = *p;
	if (w && --w->refs == 0) {
		if (!b->wide_watch)
			xs_unwatch(b->xs, w->path, SR_FRONT_TOKEN);
		*p = w->next;
		free(w);
	}
	free(dev->front_watch);
	dev->front_watch = NULL;
}
