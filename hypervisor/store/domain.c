// SPDX-License-Identifier: MIT
#include "change.h"
#include "client.h"
#include "server.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xen/xen.h>

struct sr_domain *sr_domain_find(const struct sr_store *store, uint16_t domid)
{
	struct sr_domain *domain;

	LIST_FOREACH(domain, &store->domains[domid % SR_DOMAIN_BUCKETS], bucket) {
		if (domain->domid == domid)
			return domain;
	}
	return NULL;
}

struct sr_domain *sr_domain_get(struct sr_store *store, uint16_t domid)
{
	struct sr_domain *domain = sr_domain_find(store, domid);

	if (domain)
		return domain;
	domain = calloc(1, sizeof(*domain));
	if (!domain)
		return NULL;
	domain->store = store;
	domain->domid = domid;
	domain->target = domid;
	LIST_INIT(&domain->clients);
	LIST_INSERT_HEAD(&store->domains[domid % SR_DOMAIN_BUCKETS], domain, bucket);
	return domain;
}

void sr_domains_free(struct sr_store *store)
{
	struct sr_domain *domain;

	for (size_t i = 0; i < SR_DOMAIN_BUCKETS; i++) {
		while ((domain = LIST_FIRST(&store->domains[i]))) {
			LIST_REMOVE(domain, bucket);
			free(domain);
		}
	}
}

unsigned sr_domain_access(const struct sr_domain *domain, const struct sr_perms *perms)
{
	return sr_perms_access(perms, domain->domid, domain->target);
}

int sr_domain_introduce(struct sr_domain *domain)
{
	struct sr_store *store = domain->store;

	if (domain->domid >= DOMID_FIRST_RESERVED)
		return -EINVAL;
	if (domain->introduced)
		return -EEXIST;
	domain->introduced = true;
	sr_watches_fire_special(store, &store->specials[SR_INTRODUCE_DOMAIN]);
	return 0;
}

/* A node that a released domain leaves its mark on, to be dealt with after the walk. */
struct trace {
	STAILQ_ENTRY(trace) link;
	struct sr_perms *perms; /* what remains of the permissions; NULL: the node goes */
	struct sr_path path;
};

struct traces {
	uint16_t domid;
	size_t len;
	char path[SR_PATH_MAX + 1];
	STAILQ_HEAD(, trace) found;
};

/* What becomes of the node's permissions; NULL with 0 where the node itself is to go. */
static int perms_after(const struct sr_node *node, uint16_t domid, struct sr_perms **perms)
{
	static const struct sr_store_perm closed = { .domid = 0, .access = 'n' };
	bool owned = sr_perms_owner(node->perms) == domid;

	*perms = NULL;
	if (owned && node->name_len)
		return 0;
	/* The root cannot go, whoever it was given to. */
	if (owned)
		return sr_perms_new(&closed, 1, perms);
	*perms = sr_perms_without(node->perms, domid);
	return *perms ? 0 : -ENOMEM;
}

static int trace_add(struct traces *traces, const struct sr_node *node)
{
	struct trace *trace = calloc(1, sizeof(*trace));

	if (!trace)
		return -ENOMEM;
	trace->path.len = traces->len ? traces->len : 1;
	memcpy(trace->path.text, traces->len ? traces->path : "/", trace->path.len + 1);
	STAILQ_INSERT_TAIL(&traces->found, trace, link);
	return perms_after(node, traces->domid, &trace->perms);
}

static int trace_node(const struct sr_node *node, void *context)
{
	struct traces *traces = context;
	bool owned = sr_perms_owner(node->perms) == traces->domid;
	size_t len = traces->len;
	int ret = 0;

	if (node->name_len) {
		traces->path[traces->len++] = '/';
		memcpy(traces->path + traces->len, node->name, node->name_len);
		traces->len += node->name_len;
		traces->path[traces->len] = '\0';
	}
	if (owned || sr_perms_name(node->perms, traces->domid))
		ret = trace_add(traces, node);
	/* What is below a node of its own goes with it. */
	if (!ret && !(owned && node->name_len))
		ret = sr_tree_each(node->children, trace_node, traces);
	traces->len = len;
	return ret;
}

static int trace_erase(struct sr_store *store, const struct trace *trace)
{
	struct sr_change change = {
		.kind = trace->perms ? SR_CHANGE_SET_PERMS : SR_CHANGE_RM,
		.path = &trace->path,
		.perms = trace->perms,
	};

	return sr_store_change(store, sr_domain_find(store, 0), &change);
}

static int erase_from_special(struct sr_special *special, uint16_t domid)
{
	struct sr_perms *perms;

	if (!sr_perms_name(special->perms, domid))
		return 0;
	perms = sr_perms_without(special->perms, domid);
	if (!perms)
		return -ENOMEM;
	sr_perms_put(special->perms);
	special->perms = perms;
	return 0;
}

/*
 * Removes the domain's nodes and its name from all others: the next domain of that number is
 * another one.
 */
static int erase_traces(struct sr_store *store, uint16_t domid)
{
	struct traces traces = { .domid = domid, .found = STAILQ_HEAD_INITIALIZER(traces.found) };
	struct trace *trace;
	int ret = trace_node(store->root, &traces);

	for (size_t i = 0; i < SR_SPECIALS && !ret; i++)
		ret = erase_from_special(&store->specials[i], domid);
	while ((trace = STAILQ_FIRST(&traces.found))) {
		STAILQ_REMOVE_HEAD(&traces.found, link);
		if (!ret)
			ret = trace_erase(store, trace);
		sr_perms_put(trace->perms);
		free(trace);
	}
	return ret;
}

static void forget_target(struct sr_store *store, uint16_t domid)
{
	struct sr_domain *domain;

	for (size_t i = 0; i < SR_DOMAIN_BUCKETS; i++) {
		LIST_FOREACH(domain, &store->domains[i], bucket) {
			if (domain->target == domid)
				domain->target = domain->domid;
		}
	}
}

int sr_domain_release(struct sr_domain *domain)
{
	struct sr_store *store = domain->store;
	struct sr_client *client;
	bool introduced = domain->introduced;
	int ret;

	if (domain->domid == 0)
		return -EINVAL;
	sr_listener_close(domain->listener);
	while ((client = LIST_FIRST(&domain->clients)))
		sr_client_kill(client);
	forget_target(store, domain->domid);
	domain->target = domain->domid;
	ret = erase_traces(store, domain->domid);
	domain->introduced = false;
	if (introduced)
		sr_watches_fire_special(store, &store->specials[SR_RELEASE_DOMAIN]);
	return ret;
}
