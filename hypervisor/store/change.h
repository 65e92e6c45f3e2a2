/* SPDX-License-Identifier: MIT */
/*
 * Reading and changing the tree with the permissions and quotas of a domain.
 *
 * All of it works on a view: a root, and what a change to it would do to the accounts and the
 * watches. A request outside of a transaction works on a view of the live tree; a transaction has
 * one of its own, and when it is committed its changes are done again on a view of the live tree.
 */
#ifndef STORE_CHANGE_H
#define STORE_CHANGE_H

#include "internal.h"

struct sr_transaction;

/* Something that watches may fire for. */
struct sr_event {
	STAILQ_ENTRY(sr_event) link;
	struct sr_perms *perms;     /* of the node then: after the change, or when it was removed */
	struct sr_perms *old_perms; /* before a change of permissions, else NULL */
	struct sr_node *removed;    /* a removed node with all that was below it, else NULL */
	size_t path_len;
	char path[];
};

STAILQ_HEAD(sr_events, sr_event);

/* NULL is fine. */
void sr_event_free(struct sr_event *event);

struct sr_count {
	struct sr_domain *domain;
	long nodes; /* gained or lost in this view */
};

struct sr_view {
	struct sr_store *store;
	struct sr_node *root;               /* one reference of its own */
	struct sr_transaction *transaction; /* it is told what is looked at; or NULL */
	struct sr_count *counts;
	size_t count_len;
	size_t count_size;
	struct sr_events events;
};

enum sr_change_kind { SR_CHANGE_WRITE, SR_CHANGE_MKDIR, SR_CHANGE_RM, SR_CHANGE_SET_PERMS };

struct sr_change {
	enum sr_change_kind kind;
	const struct sr_path *path;
	struct sr_value *value; /* SR_CHANGE_WRITE; NULL: empty */
	struct sr_perms *perms; /* SR_CHANGE_SET_PERMS */
};

/* Takes a reference to 'root'. */
void sr_view_open(struct sr_view *view, struct sr_store *store, struct sr_node *root);
void sr_view_close(struct sr_view *view);

/* Makes the view the live tree: accounts, then watches. The view is to be closed afterwards. */
void sr_view_publish(struct sr_view *view);

/*
 * The node as 'who' may see it; it stays valid until the view changes. 'want' is SR_MAY_*. -EACCES,
 * -ENOENT (only to those who may know), -ENOMEM, -ENOSPC (a transaction that remembers too much).
 */
int sr_view_find(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path,
		 unsigned want, const struct sr_node **node);

/* As above, to list the children. */
int sr_view_list(struct sr_view *view, const struct sr_domain *who, const struct sr_path *path,
		 const struct sr_node **node);

/* Does all of the change, or nothing. */
int sr_view_change(struct sr_view *view, const struct sr_domain *who,
		   const struct sr_change *change);

/* The change on the live tree, at once. */
int sr_store_change(struct sr_store *store, const struct sr_domain *who,
		    const struct sr_change *change);

#endif
