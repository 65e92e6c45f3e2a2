// SPDX-License-Identifier: MIT
#include "change.h"
#include "transaction.h"
#include "watch.h"

#include <errno.h>
#include <stdlib.h>

void sr_view_open(struct sr_view *view, struct sr_store *store, struct sr_node *root)
{
	*view = (struct sr_view){
		.store = store,
		.root = sr_node_get(root),
		.events = STAILQ_HEAD_INITIALIZER(view->events),
	};
}

void sr_event_free(struct sr_event *event)
{
	if (!event)
		return;
	sr_perms_put(event->perms);
	sr_perms_put(event->old_perms);
	sr_node_put(event->removed);
	free(event);
}

void sr_view_close(struct sr_view *view)
{
	struct sr_event *event;

	while ((event = STAILQ_FIRST(&view->events))) {
		STAILQ_REMOVE_HEAD(&view->events, link);
		sr_event_free(event);
	}
	free(view->counts);
	sr_node_put(view->root);
	*view = (struct sr_view){ .store = view->store };
}

void sr_view_publish(struct sr_view *view)
{
	struct sr_store *store = view->store;
	struct sr_node *old = store->root;
	struct sr_event *event;

	store->root = sr_node_get(view->root);
	sr_node_put(old);
	for (size_t i = 0; i < view->count_len; i++) {
		view->counts[i].domain->nodes += (size_t)view->counts[i].nodes;
		store->nodes += (size_t)view->counts[i].nodes;
	}
	STAILQ_FOREACH(event, &view->events, link)
		sr_watches_fire(store, event);
}

/*
 * Somebody who may not look at the place where a missing node would be is told EACCES, so that he
 * cannot find out what is there. The nearest node above it decides.
 */
static int missing(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path,
		   const struct sr_node *nearest, const char *rest, unsigned want)
{
	int ret = 0;

	if (view->transaction)
		ret = sr_transaction_note_missing(view->transaction, path, rest);
	if (ret)
		return ret;
	return sr_domain_access(who, nearest->perms) & want ? -ENOENT : -EACCES;
}

static int find(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path,
		unsigned want, unsigned aspects, const struct sr_node **node)
{
	const char *rest;
	int ret = 0;

	*node = sr_tree_nearest(view->root, path->text, path->len, &rest);
	if (rest)
		return missing(view, who, path, *node, rest, want);
	if (view->transaction)
		ret = sr_transaction_note(view->transaction, path->text, path->len, aspects);
	if (ret)
		return ret;
	return (sr_domain_access(who, (*node)->perms) & want) == want ? 0 : -EACCES;
}

int sr_view_find(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path,
		 unsigned want, const struct sr_node **node)
{
	return find(view, who, path, want, SR_ASPECT_NODE, node);
}

int sr_view_list(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path,
		 const struct sr_node **node)
{
	return find(view, who, path, SR_MAY_READ, SR_ASPECT_NODE | SR_ASPECT_CHILDREN, node);
}

int sr_store_change(struct sr_store *store, const struct sr_domain *who,
		    const struct sr_change *change)
{
	struct sr_view view;
	int ret;

	sr_view_open(&view, store, store->root);
	/*
	 * The view gets the store's own reference for the while, so that a tree that no
	 * transaction holds is changed in place and not copied. A change that fails leaves it as
	 * it was.
	 */
	sr_node_put(store->root);
	store->root = NULL;
	ret = sr_view_change(&view, who, change);
	store->root = sr_node_get(view.root);
	if (!ret)
		sr_view_publish(&view);
	sr_view_close(&view);
	return ret;
}
