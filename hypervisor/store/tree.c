// SPDX-License-Identifier: MIT
#include "tree.h"
#include "path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct sr_value *sr_value_new(const void *data, size_t len)
{
	struct sr_value *value = malloc(sizeof(*value) + len);

	if (!value)
		return NULL;
	value->refs = 1;
	value->len = (uint32_t)len;
	memcpy(value->data, data, len);
	return value;
}

void sr_value_put(struct sr_value *value)
{
	if (value && --value->refs == 0)
		free(value);
}

struct sr_node *sr_node_new(const char *name, size_t name_len, struct sr_perms *perms,
			    uint32_t priority, uint64_t generation)
{
	struct sr_node *node = calloc(1, sizeof(*node) + name_len + 1);

	if (!node)
		return NULL;
	node->refs = 1;
	node->priority = priority;
	node->perms = sr_perms_get(perms);
	node->generation = generation;
	node->child_generation = generation;
	node->name_len = (uint32_t)name_len;
	memcpy(node->name, name, name_len);
	return node;
}

/* Recursion ends: a path has at most SR_PATH_MAX / 2 names, and a treap is flat. */
void sr_node_put(struct sr_node *node)
{
	if (!node || --node->refs > 0)
		return;
	sr_node_put(node->left);
	sr_node_put(node->right);
	sr_node_put(node->children);
	sr_value_put(node->value);
	sr_perms_put(node->perms);
	free(node);
}

static int name_compare(const char *name, size_t len, const struct sr_node *node)
{
	size_t common = len < node->name_len ? len : node->name_len;
	int order = memcmp(name, node->name, common);

	if (order != 0)
		return order;
	return len < node->name_len ? -1 : len > node->name_len;
}

static const struct sr_node *find_child(const struct sr_node *dir, const char *name, size_t len)
{
	const struct sr_node *node = dir->children;

	while (node) {
		int order = name_compare(name, len, node);

		if (order == 0)
			return node;
		node = order < 0 ? node->left : node->right;
	}
	return NULL;
}

const struct sr_node *sr_tree_nearest(const struct sr_node *root, const char *path, size_t len,
				      const char **rest)
{
	const struct sr_node *node = root;
	const char *end = path + len;
	const char *name;
	size_t name_len;

	while (sr_path_next(&path, end, &name, &name_len)) {
		const struct sr_node *child = find_child(node, name, name_len);

		if (!child) {
			*rest = name;
			return node;
		}
		node = child;
	}
	*rest = NULL;
	return node;
}

const struct sr_node *sr_tree_find(const struct sr_node *root, const char *path, size_t len)
{
	const char *rest;
	const struct sr_node *node = sr_tree_nearest(root, path, len, &rest);

	return rest ? NULL : node;
}

/* What an owned node points to and nobody else does is owned as well: go from the root down. */
static int own(struct sr_node **slot)
{
	struct sr_node *node = *slot;
	size_t size = sizeof(*node) + node->name_len + 1;
	struct sr_node *copy;

	if (node->refs == 1)
		return 0;
	copy = malloc(size);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, node, size);
	copy->refs = 1;
	if (copy->left)
		sr_node_get(copy->left);
	if (copy->right)
		sr_node_get(copy->right);
	if (copy->children)
		sr_node_get(copy->children);
	sr_value_get(copy->value);
	sr_perms_get(copy->perms);
	sr_node_put(node);
	*slot = copy;
	return 0;
}

/* Owns all siblings that a search for the name meets; 'slot' ends where the name is or belongs. */
static int own_search(struct sr_node ***slot, const char *name, size_t len)
{
	while (**slot) {
		int order = name_compare(name, len, **slot);
		int ret = own(*slot);

		if (ret || order == 0)
			return ret;
		*slot = order < 0 ? &(**slot)->left : &(**slot)->right;
	}
	return 0;
}

int sr_tree_own(struct sr_node **root, const char *path, size_t len, struct sr_node **node)
{
	struct sr_node **slot = root;
	const char *end = path + len;
	const char *name;
	size_t name_len;
	int ret = own(slot);

	while (!ret && sr_path_next(&path, end, &name, &name_len)) {
		slot = &(*slot)->children;
		ret = own_search(&slot, name, name_len);
	}
	*node = ret ? NULL : *slot;
	return ret;
}

/* Parts owned siblings into those before and those after the name. */
static void split(struct sr_node *node, const struct sr_node *at, struct sr_node **before,
		  struct sr_node **after)
{
	while (node) {
		if (name_compare(at->name, at->name_len, node) < 0) {
			*after = node;
			after = &node->left;
			node = node->left;
		} else {
			*before = node;
			before = &node->right;
			node = node->right;
		}
	}
	*before = NULL;
	*after = NULL;
}

int sr_tree_insert(struct sr_node *dir, struct sr_node *child, uint64_t generation)
{
	struct sr_node **slot = &dir->children;
	int ret = own_search(&slot, child->name, child->name_len);

	if (ret)
		return ret;
	/* The split only visits what the search owned: from here on nothing can fail. */
	slot = &dir->children;
	while (*slot && (*slot)->priority >= child->priority) {
		int order = name_compare(child->name, child->name_len, *slot);

		slot = order < 0 ? &(*slot)->left : &(*slot)->right;
	}
	split(*slot, child, &child->left, &child->right);
	*slot = child;
	dir->child_bytes += child->name_len + 1;
	dir->child_generation = generation;
	return 0;
}

/* Joins owned siblings of which all in 'before' come first. */
static void merge(struct sr_node *before, struct sr_node *after, struct sr_node **slot)
{
	while (before && after) {
		if (before->priority >= after->priority) {
			*slot = before;
			slot = &before->right;
			before = before->right;
		} else {
			*slot = after;
			slot = &after->left;
			after = after->left;
		}
	}
	*slot = before ? before : after;
}

int sr_tree_remove(struct sr_node *dir, const char *name, size_t name_len, uint64_t generation,
		   struct sr_node **child)
{
	struct sr_node **slot = &dir->children;
	struct sr_node *node;
	int ret = own_search(&slot, name, name_len);

	if (ret)
		return ret;
	node = *slot;
	/* Own what the merge will change, so that it cannot fail half-way. */
	for (struct sr_node **s = &node->left; !ret && *s; s = &(*s)->right)
		ret = own(s);
	for (struct sr_node **s = &node->right; !ret && *s; s = &(*s)->left)
		ret = own(s);
	if (ret)
		return ret;
	merge(node->left, node->right, slot);
	node->left = NULL;
	node->right = NULL;
	dir->child_bytes -= node->name_len + 1;
	dir->child_generation = generation;
	*child = node;
	return 0;
}

int sr_tree_each(const struct sr_node *siblings,
		 int (*visit)(const struct sr_node *node, void *context), void *context)
{
	int ret = 0;

	while (siblings && !ret) {
		ret = sr_tree_each(siblings->left, visit, context);
		if (!ret)
			ret = visit(siblings, context);
		siblings = siblings->right;
	}
	return ret;
}
