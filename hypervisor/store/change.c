// SPDX-License-Identifier: MIT
#include "change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * Every change below first gets all that it needs (memory for its event and its counts, the way to
 * the node) and then does its work without a step that can fail.
 */

static struct sr_event *event_new(const struct sr_path *path, struct sr_perms *perms)
{
	struct sr_event *event = calloc(1, sizeof(*event) + path->len + 1);

	if (!event)
		return NULL;
	event->perms = sr_perms_get(perms);
	event->path_len = path->len;
	memcpy(event->path, path->text, path->len + 1);
	return event;
}

/* Takes the event. In a transaction nobody hears of it until its changes are done again. */
static void view_event(struct sr_view *view, struct sr_event *event)
{
	if (view->transaction)
		sr_event_free(event);
	else
		STAILQ_INSERT_TAIL(&view->events, event, link);
}

/* The view's count of the domain's nodes; NULL where memory is short. */
static struct sr_count *view_count(struct sr_view *view, uint16_t domid)
{
	struct sr_domain *domain = sr_domain_get(view->store, domid);

	if (!domain)
		return NULL;
	for (size_t i = 0; i < view->count_len; i++) {
		if (view->counts[i].domain == domain)
			return &view->counts[i];
	}
	if (view->count_len == view->count_size) {
		size_t size = view->count_size ? 2 * view->count_size : 4;
		struct sr_count *counts = realloc(view->counts, size * sizeof(*counts));

		if (!counts)
			return NULL;
		view->counts = counts;
		view->count_size = size;
	}
	view->counts[view->count_len] = (struct sr_count){ .domain = domain };
	return &view->counts[view->count_len++];
}

static bool quota_allows(const struct sr_view *view, const struct sr_domain *who,
			 const struct sr_count *count, size_t more)
{
	if (sr_domain_privileged(who))
		return true;
	return (long)count->domain->nodes + count->nodes + (long)more <=
	       (long)view->store->limits.nodes;
}

static size_t count_names(const char *rest, const char *end)
{
	const char *name;
	size_t name_len;
	size_t count = 0;

	while (sr_path_next(&rest, end, &name, &name_len))
		count++;
	return count;
}

/* A node for each name in 'rest', one below the other. NULL where memory is short. */
static struct sr_node *new_branch(struct sr_store *store, const char *rest, const char *end,
				  struct sr_perms *perms, struct sr_value *value)
{
	uint64_t generation = ++store->generation;
	struct sr_node *top = NULL;
	struct sr_node *last = NULL;
	const char *name;
	size_t name_len;

	while (sr_path_next(&rest, end, &name, &name_len)) {
		struct sr_node *node =
		    sr_node_new(name, name_len, perms, sr_store_random(store), generation);

		if (!node) {
			sr_node_put(top);
			return NULL;
		}
		if (last) {
			last->children = node;
			last->child_bytes = node->name_len + 1;
		} else {
			top = node;
		}
		last = node;
	}
	last->value = sr_value_get(value);
	return top;
}

static int graft(struct sr_view *view, const struct sr_path *path, const char *rest,
		 struct sr_node *branch)
{
	struct sr_node *dir;
	int ret = sr_tree_own(&view->root, path->text, (size_t)(rest - path->text), &dir);

	return ret ? ret : sr_tree_insert(dir, branch, ++view->store->generation);
}

/* Creates the node and the missing ones above it. They inherit the permissions of the nearest. */
static int create(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path,
		  struct sr_value *value)
{
	const char *rest;
	const struct sr_node *near = sr_tree_nearest(view->root, path->text, path->len, &rest);
	const char *end = path->text + path->len;
	size_t names = count_names(rest, end);
	struct sr_node *branch = NULL;
	struct sr_event *event = NULL;
	struct sr_count *count;
	struct sr_perms *perms;
	int ret = -ENOMEM;

	/* What an unprivileged domain creates is its own: it pays for it. */
	perms = sr_domain_privileged(who) ? sr_perms_get(near->perms)
					  : sr_perms_owned_by(near->perms, who->domid);
	if (!perms)
		return -ENOMEM;
	count = view_count(view, sr_perms_owner(perms));
	event = event_new(path, perms);
	if (!count || !event)
		goto out;
	ret = -ENOSPC;
	if (!quota_allows(view, who, count, names))
		goto out;
	ret = -ENOMEM;
	branch = new_branch(view->store, rest, end, perms, value);
	if (!branch)
		goto out;
	ret = graft(view, path, rest, branch);
	if (ret)
		goto out;
	count->nodes += (long)names;
	view_event(view, event);
	branch = NULL;
	event = NULL;
out:
	sr_node_put(branch);
	sr_event_free(event);
	sr_perms_put(perms);
	return ret;
}

static int overwrite(struct sr_view *view, const struct sr_path *path, struct sr_perms *perms,
		     struct sr_value *value)
{
	struct sr_event *event = event_new(path, perms);
	struct sr_node *node;
	int ret;

	if (!event)
		return -ENOMEM;
	ret = sr_tree_own(&view->root, path->text, path->len, &node);
	if (ret) {
		sr_event_free(event);
		return ret;
	}
	sr_value_put(node->value);
	node->value = sr_value_get(value);
	node->generation = ++view->store->generation;
	view_event(view, event);
	return 0;
}

static int do_write(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path,
		    struct sr_value *value)
{
	const struct sr_node *node;
	int ret = sr_view_find(view, who, path, SR_MAY_WRITE, &node);

	if (ret && ret != -ENOENT)
		return ret;
	if (!sr_domain_privileged(who) && value && value->len > view->store->limits.node_size)
		return -ENOSPC;
	return ret ? create(view, who, path, value) : overwrite(view, path, node->perms, value);
}

static int do_mkdir(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path)
{
	const struct sr_node *node;
	int ret = sr_view_find(view, who, path, SR_MAY_WRITE, &node);

	return ret == -ENOENT ? create(view, who, path, NULL) : ret;
}

struct uncount {
	struct sr_view *view;
	long sign; /* 0: only see to it that the counts are there */
};

static int uncount_node(const struct sr_node *node, void *context)
{
	struct uncount *uncount = context;
	struct sr_count *count = view_count(uncount->view, sr_perms_owner(node->perms));

	if (!count)
		return -ENOMEM;
	count->nodes += uncount->sign;
	return sr_tree_each(node->children, uncount_node, uncount);
}

/* Takes the node out, with all below it. */
static int prune(struct sr_view *view, const struct sr_path *path, const struct sr_node *node)
{
	size_t parent_len = sr_path_parent_len(path->text, path->len);
	struct uncount uncount = { .view = view, .sign = 0 };
	struct sr_event *event = event_new(path, node->perms);
	struct sr_node *dir;
	int ret = event ? uncount_node(node, &uncount) : -ENOMEM;

	if (!ret)
		ret = sr_tree_own(&view->root, path->text, parent_len, &dir);
	if (!ret)
		ret = sr_tree_remove(dir, node->name, node->name_len, ++view->store->generation,
				     &event->removed);
	if (ret) {
		sr_event_free(event);
		return ret;
	}
	uncount.sign = -1;
	(void)uncount_node(event->removed, &uncount);
	view_event(view, event);
	return 0;
}

static int do_rm(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path)
{
	const struct sr_node *node;
	const char *rest;
	int ret;

	if (path->len == 1)
		return -EINVAL;
	ret = sr_view_find(view, who, path, SR_MAY_WRITE, &node);
	if (ret == 0)
		return prune(view, path, node);
	if (ret != -ENOENT)
		return ret;
	/* It is gone already, which is fine if at least its parent is there. */
	sr_tree_nearest(view->root, path->text, path->len, &rest);
	return count_names(rest, path->text + path->len) == 1 ? 0 : -ENOENT;
}

static int replace_perms(struct sr_view *view, const struct sr_path *path,
			 struct sr_perms *old_perms, struct sr_perms *perms)
{
	struct sr_event *event = event_new(path, perms);
	struct sr_node *node;
	int ret = -ENOMEM;

	/* Each lookup may move the counts: get both to exist before one is kept. */
	if (event && view_count(view, sr_perms_owner(old_perms)) &&
	    view_count(view, sr_perms_owner(perms)))
		ret = sr_tree_own(&view->root, path->text, path->len, &node);
	if (ret) {
		sr_event_free(event);
		return ret;
	}
	view_count(view, sr_perms_owner(old_perms))->nodes--;
	view_count(view, sr_perms_owner(perms))->nodes++;
	event->old_perms = sr_perms_get(old_perms);
	sr_perms_put(node->perms);
	node->perms = sr_perms_get(perms);
	node->generation = ++view->store->generation;
	view_event(view, event);
	return 0;
}

static int do_set_perms(struct sr_view *view, const struct sr_domain *who,
			const struct sr_path *path, struct sr_perms *perms)
{
	const struct sr_node *node;
	int ret;

	if (!sr_domain_privileged(who) && perms->count > view->store->limits.permissions)
		return -ENOSPC;
	ret = sr_view_find(view, who, path, SR_MAY_WRITE | SR_MAY_OWN, &node);
	if (ret)
		return ret;
	/* Else a domain could make others pay for its nodes. */
	if (!sr_domain_privileged(who) && sr_perms_owner(perms) != sr_perms_owner(node->perms))
		return -EPERM;
	return replace_perms(view, path, node->perms, perms);
}

int sr_view_change(struct sr_view *view, const struct sr_domain *who,
		   const struct sr_change *change)
{
	switch (change->kind) {
	case SR_CHANGE_WRITE:
		return do_write(view, who, change->path, change->value);
	case SR_CHANGE_MKDIR:
		return do_mkdir(view, who, change->path);
	case SR_CHANGE_RM:
		return do_rm(view, who, change->path);
	case SR_CHANGE_SET_PERMS:
		return do_set_perms(view, who, change->path, change->perms);
	}
	return -EINVAL;
}
