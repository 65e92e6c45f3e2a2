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

#include "vbd.h"

#define SR_WIDE_WATCH "/local/domain"

static struct sr_front_watch *find(struct sr_blkback *bb, const char *path)
{
	for (struct sr_front_watch *w = bb->watches; w; w = w->next)
		if (!strcmp(w->path, path))
			return w;
	return NULL;
}

/* From now on one watch for all. What it fires for at first makes us look at every device. */
static void go_wide(struct sr_blkback *bb)
{
	for (struct sr_front_watch *w = bb->watches; w; w = w->next)
		xs_unwatch(bb->xs, w->path, "front");
	bb->wide_watch = true;
	if (!xs_watch(bb->xs, SR_WIDE_WATCH, "front"))
		sr_log(&bb->log, SR_LOG_ERROR,
		       "can't watch frontends: %s; changes of their state are missed",
		       strerror(errno));
}

void sr_blkback_watch_front(struct sr_vbd *v)
{
	struct sr_blkback *bb = v->bb;
	char *slash = strrchr(v->front, '/');
	size_t len = (size_t)(slash - v->front);
	struct sr_front_watch *w;

	v->front_watch = strndup(v->front, len ? len : 1);
	if (!v->front_watch)
		return;
	w = find(bb, v->front_watch);
	if (!w) {
		w = calloc(1, sizeof(*w) + len + 2);
		if (!w) {
			free(v->front_watch);
			v->front_watch = NULL;
			return;
		}
		strcpy(w->path, v->front_watch);
		w->len = strlen(w->path);
		w->next = bb->watches;
		bb->watches = w;
		if (!bb->wide_watch && !xs_watch(bb->xs, w->path, "front"))
			go_wide(bb);
	}
	w->refs++;
}

void sr_blkback_unwatch_front(struct sr_vbd *v)
{
	struct sr_blkback *bb = v->bb;
	struct sr_front_watch **p = &bb->watches, *w;

	if (!v->front_watch)
		return;
	while (*p && strcmp((*p)->path, v->front_watch))
		p = &(*p)->next;
	w = *p;
	if (w && --w->refs == 0) {
		if (!bb->wide_watch)
			xs_unwatch(bb->xs, w->path, "front");
		*p = w->next;
		free(w);
	}
	free(v->front_watch);
	v->front_watch = NULL;
}
