/* SPDX-License-Identifier: MIT */
/*
 * Watches, found by the hash of their path: a change looks up the path and each path above it, so
 * that it costs the path's depth and not the number of watches.
 */
#ifndef STORE_WATCH_H
#define STORE_WATCH_H

#include "change.h"

/* With it, the longest path and their two nuls fit into one event. */
#define SR_TOKEN_MAX (XENSTORE_PAYLOAD_MAX - SR_PATH_MAX - 2)

struct sr_watch {
	LIST_ENTRY(sr_watch) bucket;
	TAILQ_ENTRY(sr_watch) link; /* in its client */
	struct sr_client *client;
	bool owed; /* events were merged: it is to fire once, with its own path */
	uint32_t hash;
	size_t path_len;
	size_t relative; /* bytes to leave out of the paths that it reports */
	const char *token;
	char path[]; /* and the token */
};

TAILQ_HEAD(sr_watch_list, sr_watch);

int sr_watches_init(struct sr_store *store);
void sr_watches_free(struct sr_store *store);

/* -EEXIST, -E2BIG (quota), -EINVAL (token too long), -ENOMEM. It does not fire yet. */
int sr_watch_add(struct sr_client *client, const struct sr_path *path, const char *token,
		 struct sr_watch **watch);

/* -ENOENT. */
int sr_watch_remove(struct sr_client *client, const struct sr_path *path, const char *token);
void sr_watch_free(struct sr_watch *watch);

/* Tells all that watch the node, something above it, or what was removed with it. */
void sr_watches_fire(struct sr_store *store, const struct sr_event *event);
void sr_watches_fire_special(struct sr_store *store, const struct sr_special *special);

#endif
