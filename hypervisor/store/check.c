// SPDX-License-Identifier: MIT
/* sr_store_check(): what is kept twice, counted again. */
#include "client.h"

#include <errno.h>
#include <string.h>

struct check {
	struct sr_store *store;
	const struct sr_node *previous; /* the sibling before */
	uint32_t child_bytes;
	size_t nodes;
};

static int check_node(const struct sr_node *node, void *context);

static int check_children(const struct sr_node *node, struct check *outer)
{
	struct check check = { .store = outer->store };
	int ret = sr_tree_each(node->children, check_node, &check);

	outer->nodes += check.nodes;
	if (ret)
		return ret;
	return check.child_bytes == node->child_bytes ? 0 : -EUCLEAN;
}

static int check_node(const struct sr_node *node, void *context)
{
	struct check *check = context;
	struct sr_domain *owner = sr_domain_find(check->store, sr_perms_owner(node->perms));

	if (!owner)
		return -EUCLEAN;
	if (check->previous && strcmp(check->previous->name, node->name) >= 0)
		return -EUCLEAN;
	if ((node->left && node->left->priority > node->priority) ||
	    (node->right && node->right->priority > node->priority))
		return -EUCLEAN;
	check->previous = node;
	check->child_bytes += node->name_len + 1;
	check->nodes++;
	owner->counted++;
	return check_children(node, check);
}

static int check_domain(const struct sr_domain *domain)
{
	const struct sr_transaction *transaction;
	const struct sr_client *client;
	const struct sr_watch *watch;
	size_t connections = 0;
	size_t transactions = 0;
	size_t watches = 0;

	LIST_FOREACH(client, &domain->clients, link) {
		size_t owed = 0;

		connections++;
		LIST_FOREACH(transaction, &client->transactions, link)
			transactions++;
		TAILQ_FOREACH(watch, &client->watches, link) {
			watches++;
			owed += watch->owed;
		}
		if (owed != client->owed)
			return -EUCLEAN;
	}
	if (domain->nodes != domain->counted || domain->connections != connections ||
	    domain->transactions != transactions || domain->watches != watches)
		return -EUCLEAN;
	return 0;
}

int sr_store_check(struct sr_store *store)
{
	struct check check = { .store = store };
	struct sr_domain *domain;
	int ret;

	for (size_t i = 0; i < SR_DOMAIN_BUCKETS; i++) {
		LIST_FOREACH(domain, &store->domains[i], bucket)
			domain->counted = 0;
	}
	ret = check_node(store->root, &check);
	if (!ret && check.nodes != store->nodes)
		ret = -EUCLEAN;
	for (size_t i = 0; i < SR_DOMAIN_BUCKETS && !ret; i++) {
		LIST_FOREACH(domain, &store->domains[i], bucket) {
			ret = check_domain(domain);
			if (ret)
				break;
		}
	}
	return ret;
}
