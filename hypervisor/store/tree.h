/* SPDX-License-Identifier: MIT */
/*
 * The tree of nodes, as a persistent data structure: a root that somebody holds a reference to
 * never changes, so a transaction's snapshot is one reference. Who wants to change the tree first
 * makes the way from the root to the place his own (sr_tree_own()), which copies nodes only where
 * somebody else holds them too.
 *
 * The children of a node are a treap by name, so that all of this costs a logarithm of their
 * number: a node is at once an entry among its siblings (left, right, priority) and a directory
 * (children).
 */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include "perms.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A node's bytes: immutable, counted references. An empty value is NULL. */
struct sr_value {
	uint32_t refs;
	uint32_t len;
	char data[];
};

struct sr_node {
	uint32_t refs;
	uint32_t priority; /* random; no sibling below has a higher one */
	struct sr_node *left;
	struct sr_node *right;
	struct sr_node *children;
	struct sr_value *value;
	struct sr_perms *perms;
	/* Numbers that never come back: when value, permissions or existence changed ... */
	uint64_t generation;
	/* ... and when a child came or went. */
	uint64_t child_generation;
	uint32_t child_bytes; /* names of the children, each with its nul */
	uint32_t name_len;
	char name[];
};

struct sr_value *sr_value_new(const void *data, size_t len);
void sr_value_put(struct sr_value *value);

static inline struct sr_value *sr_value_get(struct sr_value *value)
{
	if (value)
		value->refs++;
	return value;
}

/* One reference, no siblings, no children; takes a reference to 'perms'. NULL: no memory. */
struct sr_node *sr_node_new(const char *name, size_t name_len, struct sr_perms *perms,
			    uint32_t priority, uint64_t generation);
void sr_node_put(struct sr_node *node);

static inline struct sr_node *sr_node_get(struct sr_node *node)
{
	node->refs++;
	return node;
}

/*
 * The deepest node on the way to the path that exists. 'rest' is set to the first name in 'path'
 * that does not, or to NULL where the node is what was asked for.
 */
const struct sr_node *sr_tree_nearest(const struct sr_node *root, const char *path, size_t len,
				      const char **rest);

/* The node, or NULL. */
const struct sr_node *sr_tree_find(const struct sr_node *root, const char *path, size_t len);

/*
 * Makes the way to a node that exists this root's alone, and gives the node to be changed.
 * -ENOMEM; the tree reads the same then.
 */
int sr_tree_own(struct sr_node **root, const char *path, size_t len, struct sr_node **node);

/* Puts 'child' into an owned directory that has none of its name, and keeps the reference. */
int sr_tree_insert(struct sr_node *dir, struct sr_node *child, uint64_t generation);

/* Takes the child out of an owned directory; the caller gets the reference. -ENOMEM. */
int sr_tree_remove(struct sr_node *dir, const char *name, size_t name_len, uint64_t generation,
		   struct sr_node **child);

/* Calls 'visit' for each of the siblings in order; ends early with what it returned if not 0. */
int sr_tree_each(const struct sr_node *siblings,
		 int (*visit)(const struct sr_node *node, void *context), void *context);

#endif
