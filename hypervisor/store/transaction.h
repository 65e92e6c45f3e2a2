/* SPDX-License-Identifier: MIT */
/*
 * A transaction sees the tree as it was when it began, and its own changes. It notes what it looked
 * at. At its end it conflicts (-EAGAIN) only if one of these nodes has changed in the live tree
 * since; otherwise its changes are done again there, all at once.
 *
 * To make a child in a directory is not to look at the directory's other children: two
 * transactions that each add a device to the same directory do not conflict.
 */
#ifndef STORE_TRANSACTION_H
#define STORE_TRANSACTION_H

#include "change.h"

/* What of a node a transaction depends on. */
#define SR_ASPECT_NODE     1u /* its value, permissions, existence */
#define SR_ASPECT_CHILDREN 2u /* which children there are */

struct sr_transaction {
	LIST_ENTRY(sr_transaction) link; /* in its client */
	uint32_t id;
	struct sr_domain *domain;
	struct sr_node *base; /* the tree when it began */
	struct sr_view view;
	struct sr_note **notes; /* hash set with open addressing */
	size_t note_count;
	size_t note_size;
	STAILQ_HEAD(, sr_log_entry) log;
	size_t bytes; /* that the notes and the log take */
};

LIST_HEAD(sr_transactions, sr_transaction);

/* -ENOSPC where the domain has too many already. */
int sr_transaction_new(struct sr_domain *domain, uint32_t id, struct sr_transaction **transaction);
void sr_transaction_free(struct sr_transaction *transaction);

/* -ENOMEM, -ENOSPC: the transaction remembers more than its domain may make it. */
int sr_transaction_note(struct sr_transaction *transaction, const char *path, size_t len,
			unsigned aspects);

/* The path is missing from the name 'rest' in it on; what is above decides who is told so. */
int sr_transaction_note_missing(struct sr_transaction *transaction, const struct sr_path *path,
				const char *rest);

/* As sr_view_change() on the transaction's view, to be done again at its end. */
int sr_transaction_change(struct sr_transaction *transaction, const struct sr_change *change);

/* -EAGAIN on conflict; or what sr_view_change() gives. The live tree has all of it or nothing. */
int sr_transaction_commit(struct sr_transaction *transaction);

#endif
