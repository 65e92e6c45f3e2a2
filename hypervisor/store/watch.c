// SPDX-License-Identifier: MIT
#include "watch.h"
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A power of two; enough for thousands of devices with a watch or two each. */
#define BUCKETS 4096u

#define HASH_START 2166136261u

static uint32_t hash_more(uint32_t hash, char c)
{
	return (hash ^ (unsigned char)c) * 16777619u;
}

static uint32_t hash_path(const char *path, size_t len)
{
	uint32_t hash = HASH_START;

	for (size_t i = 0; i < len; i++)
		hash = hash_more(hash, path[i]);
	return hash;
}

static struct sr_watch_bucket *bucket_of(const struct sr_store *store, uint32_t hash)
{
	return &store->watch_buckets[(hash ^ hash >> 16) & (BUCKETS - 1)];
}

int sr_watches_init(struct sr_store *store)
{
	store->watch_buckets = calloc(BUCKETS, sizeof(store->watch_buckets[0]));
	return store->watch_buckets ? 0 : -ENOMEM;
}

void sr_watches_free(struct sr_store *store)
{
	free(store->watch_buckets);
}

static struct sr_watch *watch_find(const struct sr_client *client, const struct sr_path *path,
				   const char *token)
{
	uint32_t hash = hash_path(path->text, path->len);
	struct sr_watch *watch;

	LIST_FOREACH(watch, bucket_of(client->store, hash), bucket) {
		if (watch->client == client && watch->hash == hash &&
		    watch->relative == path->relative && strcmp(watch->path, path->text) == 0 &&
		    strcmp(watch->token, token) == 0)
			return watch;
	}
	return NULL;
}

int sr_watch_add(struct sr_client *client, const struct sr_path *path, const char *token,
		 struct sr_watch **watch)
{
	struct sr_domain *domain = client->domain;
	struct sr_store *store = client->store;
	size_t token_len = strlen(token);
	struct sr_watch *new;

	if (token_len > SR_TOKEN_MAX)
		return -EINVAL;
	if (watch_find(client, path, token))
		return -EEXIST;
	if (!sr_domain_privileged(domain) && domain->watches >= store->limits.watches)
		return -E2BIG;
	new = calloc(1, sizeof(*new) + path->len + 1 + token_len + 1);
	if (!new)
		return -ENOMEM;
	new->client = client;
	new->hash = hash_path(path->text, path->len);
	new->path_len = path->len;
	new->relative = path->relative;
	memcpy(new->path, path->text, path->len + 1);
	memcpy(new->path + path->len + 1, token, token_len + 1);
	new->token = new->path + path->len + 1;
	LIST_INSERT_HEAD(bucket_of(store, new->hash), new, bucket);
	TAILQ_INSERT_TAIL(&client->watches, new, link);
	domain->watches++;
	store->watches++;
	*watch = new;
	return 0;
}

void sr_watch_free(struct sr_watch *watch)
{
	struct sr_client *client = watch->client;

	LIST_REMOVE(watch, bucket);
	TAILQ_REMOVE(&client->watches, watch, link);
	if (watch->owed)
		client->owed--;
	client->domain->watches--;
	client->store->watches--;
	free(watch);
}

int sr_watch_remove(struct sr_client *client, const struct sr_path *path, const char *token)
{
	struct sr_watch *watch = watch_find(client, path, token);

	if (!watch)
		return -ENOENT;
	sr_watch_free(watch);
	return 0;
}

/* The permissions that decide who hears of an event: one that lets him read is enough. */
struct audience {
	const struct sr_perms *perms;
	const struct sr_perms *old_perms;
	const struct sr_perms *parent_perms;
};

static bool may_hear(const struct sr_domain *domain, const struct audience *audience)
{
	const struct sr_perms *perms[] = { audience->perms, audience->old_perms,
					   audience->parent_perms };

	for (size_t i = 0; i < sizeof(perms) / sizeof(perms[0]); i++) {
		if (perms[i] && (sr_domain_access(domain, perms[i]) & SR_MAY_READ))
			return true;
	}
	return false;
}

/* Fires the watches of the first 'len' bytes of the path for an event on the whole of it. */
static void fire_at(struct sr_store *store, const char *path, size_t len, uint32_t hash,
		    const struct audience *audience)
{
	struct sr_watch *watch;

	LIST_FOREACH(watch, bucket_of(store, hash), bucket) {
		if (watch->hash == hash && watch->path_len == len &&
		    memcmp(watch->path, path, len) == 0 &&
		    may_hear(watch->client->domain, audience))
			sr_client_event(watch->client, watch, path);
	}
}

static void fire_upwards(struct sr_store *store, const struct sr_event *event,
			 const struct audience *audience)
{
	const char *path = event->path;
	size_t len = event->path_len;
	uint32_t hash = hash_more(HASH_START, '/');

	fire_at(store, path, 1, hash, audience);
	for (size_t i = 1; i < len; i++) {
		hash = hash_more(hash, path[i]);
		if (i + 1 == len || path[i + 1] == '/')
			fire_at(store, path, i + 1, hash, audience);
	}
}

struct removal {
	struct sr_store *store;
	const struct sr_perms *parent_perms;
	uint32_t hash;
	size_t len;
	char path[SR_PATH_MAX + 1];
};

static int fire_removed(const struct sr_node *node, void *context)
{
	struct removal *removal = context;
	const struct sr_perms *parent_perms = removal->parent_perms;
	struct audience audience = { .perms = node->perms, .parent_perms = parent_perms };
	uint32_t hash = removal->hash;
	size_t len = removal->len;

	removal->path[removal->len++] = '/';
	memcpy(removal->path + removal->len, node->name, node->name_len);
	removal->len += node->name_len;
	removal->path[removal->len] = '\0';
	for (size_t i = len; i < removal->len; i++)
		removal->hash = hash_more(removal->hash, removal->path[i]);
	fire_at(removal->store, removal->path, removal->len, removal->hash, &audience);
	removal->parent_perms = node->perms;
	sr_tree_each(node->children, fire_removed, removal);
	removal->parent_perms = parent_perms;
	removal->hash = hash;
	removal->len = len;
	return 0;
}

/* Watches below a removed node fire once each, with their own path. */
static void fire_downwards(struct sr_store *store, const struct sr_event *event)
{
	struct removal removal = {
		.store = store,
		.parent_perms = event->removed->perms,
		.hash = hash_path(event->path, event->path_len),
		.len = event->path_len,
	};

	memcpy(removal.path, event->path, event->path_len + 1);
	sr_tree_each(event->removed->children, fire_removed, &removal);
}

void sr_watches_fire(struct sr_store *store, const struct sr_event *event)
{
	struct audience audience = { .perms = event->perms, .old_perms = event->old_perms };
	const struct sr_node *parent;

	if (store->watches == 0)
		return;
	parent = sr_tree_find(store->root, event->path,
			      sr_path_parent_len(event->path, event->path_len));
	if (parent)
		audience.parent_perms = parent->perms;
	fire_upwards(store, event, &audience);
	if (event->removed)
		fire_downwards(store, event);
}

void sr_watches_fire_special(struct sr_store *store, const struct sr_special *special)
{
	struct audience audience = { .perms = special->perms };
	size_t len = strlen(special->name);

	fire_at(store, special->name, len, hash_path(special->name, len), &audience);
}
