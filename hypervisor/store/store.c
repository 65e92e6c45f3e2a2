// SPDX-License-Identifier: MIT
#include "change.h"
#include "client.h"
#include "server.h"
#include "watch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void default_to(uint32_t *limit, uint32_t value)
{
	if (*limit == 0)
		*limit = value;
}

static void set_limits(struct sr_store *store, const struct sr_store_limits *limits)
{
	struct sr_store_limits *own = &store->limits;

	if (limits)
		*own = *limits;
	default_to(&own->nodes, 1000);
	default_to(&own->watches, 128);
	default_to(&own->transactions, 10);
	default_to(&own->transaction_bytes, 512 * 1024);
	default_to(&own->node_size, 2048);
	default_to(&own->permissions, 5);
	default_to(&own->requests, 20);
	default_to(&own->connections, 32);
	default_to(&own->output_bytes, 256 * 1024);
	/* A single message has to fit, or nothing would ever be read. */
	if (own->output_bytes < 4 * XENSTORE_PAYLOAD_MAX)
		own->output_bytes = 4 * XENSTORE_PAYLOAD_MAX;
}

uint32_t sr_store_random(struct sr_store *store)
{
	/* xorshift64*: only to balance trees, but not to be foreseen by who names the nodes. */
	store->random ^= store->random >> 12;
	store->random ^= store->random << 25;
	store->random ^= store->random >> 27;
	return (uint32_t)((store->random * 2685821657736338717ull) >> 32);
}

static void seed(struct sr_store *store)
{
	if (getrandom(&store->random, sizeof(store->random), GRND_NONBLOCK) !=
		sizeof(store->random) ||
	    store->random == 0)
		store->random = (uintptr_t)store;
}

static int plant(struct sr_store *store)
{
	static const struct sr_store_perm closed = { .domid = 0, .access = 'n' };
	struct sr_domain *dom0 = sr_domain_get(store, 0);
	struct sr_perms *perms;
	int ret;

	if (!dom0)
		return -ENOMEM;
	ret = sr_perms_new(&closed, 1, &perms);
	if (ret)
		return ret;
	store->root = sr_node_new("", 0, perms, 0, ++store->generation);
	store->specials[SR_INTRODUCE_DOMAIN] =
	    (struct sr_special){ "@introduceDomain", sr_perms_get(perms) };
	store->specials[SR_RELEASE_DOMAIN] =
	    (struct sr_special){ "@releaseDomain", sr_perms_get(perms) };
	sr_perms_put(perms);
	if (!store->root)
		return -ENOMEM;
	dom0->introduced = true;
	dom0->nodes = 1;
	store->nodes = 1;
	return 0;
}

int sr_store_new(const struct sr_store_limits *limits, struct sr_store **new)
{
	struct sr_store *store = calloc(1, sizeof(*store));
	int ret;

	if (!store)
		return -ENOMEM;
	set_limits(store, limits);
	seed(store);
	ret = sr_server_init(store);
	if (!ret)
		ret = sr_watches_init(store);
	if (!ret)
		ret = plant(store);
	if (ret) {
		sr_store_free(store);
		return ret;
	}
	*new = store;
	return 0;
}

void sr_store_free(struct sr_store *store)
{
	if (!store)
		return;
	sr_server_free(store);
	sr_node_put(store->root);
	for (size_t i = 0; i < SR_SPECIALS; i++)
		sr_perms_put(store->specials[i].perms);
	sr_watches_free(store);
	sr_domains_free(store);
	free(store);
}

int sr_store_fd(const struct sr_store *store)
{
	return store->epoll_fd;
}

struct sr_special *sr_store_special(struct sr_store *store, const char *name)
{
	for (size_t i = 0; i < SR_SPECIALS; i++) {
		if (strcmp(store->specials[i].name, name) == 0)
			return &store->specials[i];
	}
	return NULL;
}

int sr_store_introduce(struct sr_store *store, uint16_t domid)
{
	struct sr_domain *domain = sr_domain_get(store, domid);
	int ret = domain ? sr_domain_introduce(domain) : -ENOMEM;

	sr_server_settle(store);
	return ret;
}

int sr_store_release(struct sr_store *store, uint16_t domid)
{
	struct sr_domain *domain = sr_domain_get(store, domid);
	int ret = domain ? sr_domain_release(domain) : -ENOMEM;

	sr_server_settle(store);
	return ret;
}

/* A change by domain 0; 'change' lacks its path. */
static int change_at(struct sr_store *store, const char *name, struct sr_change *change)
{
	struct sr_path path;
	int ret = sr_path_parse(name, 0, &path);

	if (!ret && path.relative)
		ret = -EINVAL;
	if (ret)
		return ret;
	change->path = &path;
	ret = sr_store_change(store, sr_domain_find(store, 0), change);
	sr_server_settle(store);
	return ret;
}

int sr_store_write(struct sr_store *store, const char *path, const void *value, size_t len)
{
	struct sr_change change = { .kind = SR_CHANGE_WRITE };
	int ret;

	/* More could not be read over the wire. */
	if (len > XENSTORE_PAYLOAD_MAX)
		return -E2BIG;
	if (len > 0) {
		change.value = sr_value_new(value, len);
		if (!change.value)
			return -ENOMEM;
	}
	ret = change_at(store, path, &change);
	sr_value_put(change.value);
	return ret;
}

int sr_store_printf(struct sr_store *store, const char *path, const char *format, ...)
{
	char text[XENSTORE_PAYLOAD_MAX + 1];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0)
		return -EINVAL;
	return sr_store_write(store, path, text, (size_t)len);
}

int sr_store_mkdir(struct sr_store *store, const char *path)
{
	struct sr_change change = { .kind = SR_CHANGE_MKDIR };

	return change_at(store, path, &change);
}

int sr_store_rm(struct sr_store *store, const char *path)
{
	struct sr_change change = { .kind = SR_CHANGE_RM };

	return change_at(store, path, &change);
}

int sr_store_set_perms(struct sr_store *store, const char *path, const struct sr_store_perm *perms,
		       size_t count)
{
	struct sr_change change = { .kind = SR_CHANGE_SET_PERMS };
	int ret = sr_perms_new(perms, count, &change.perms);

	if (ret)
		return ret;
	ret = change_at(store, path, &change);
	sr_perms_put(change.perms);
	return ret;
}

int sr_store_read(struct sr_store *store, const char *name, char **value, size_t *len)
{
	const struct sr_node *node;
	struct sr_path path;
	size_t bytes;
	int ret = sr_path_parse(name, 0, &path);

	if (ret || path.relative)
		return -EINVAL;
	node = sr_tree_find(store->root, path.text, path.len);
	if (!node)
		return -ENOENT;
	bytes = node->value ? node->value->len : 0;
	*value = malloc(bytes + 1);
	if (!*value)
		return -ENOMEM;
	if (bytes)
		memcpy(*value, node->value->data, bytes);
	(*value)[bytes] = '\0';
	if (len)
		*len = bytes;
	return 0;
}

void sr_store_domain_usage(const struct sr_store *store, uint16_t domid,
			   struct sr_store_usage *usage)
{
	const struct sr_domain *domain = sr_domain_find(store, domid);

	*usage = (struct sr_store_usage){ 0 };
	if (!domain)
		return;
	usage->nodes = domain->nodes;
	usage->watches = domain->watches;
	usage->transactions = domain->transactions;
	usage->connections = domain->connections;
}

void sr_store_total_usage(const struct sr_store *store, struct sr_store_usage *usage)
{
	usage->nodes = store->nodes;
	usage->watches = store->watches;
	usage->transactions = store->transactions;
	usage->connections = store->connections;
}
