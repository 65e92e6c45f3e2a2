/* SPDX-License-Identifier: MIT */
/* The store's own structures: who holds what. One thread uses all of it. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "path.h"
#include "perms.h"
#include "tree.h"

#include <store/store.h>

#include <sys/queue.h>

#define SR_DOMAIN_BUCKETS 256u
#define SR_SPECIALS       2u

struct sr_client;
struct sr_listener;
struct sr_watch;

LIST_HEAD(sr_clients, sr_client);
LIST_HEAD(sr_listeners, sr_listener);
LIST_HEAD(sr_watch_bucket, sr_watch);

/*
 * What the store knows of a domain. It lives as long as the store, so that references to it need
 * no counting; only domain 0 and the owner of the store can make one come into being.
 */
struct sr_domain {
	LIST_ENTRY(sr_domain) bucket;
	struct sr_store *store;
	uint16_t domid;
	uint16_t target; /* the domain that it acts for (XS_SET_TARGET), or itself */
	bool introduced;
	size_t nodes;
	size_t watches;
	size_t transactions;
	size_t connections;
	size_t counted; /* sr_store_check()'s own count of the nodes */
	struct sr_listener *listener;
	struct sr_clients clients;
};

LIST_HEAD(sr_domains, sr_domain);

/* "@introduceDomain" and "@releaseDomain": no nodes, but with permissions to see them fire. */
struct sr_special {
	const char *name;
	struct sr_perms *perms;
};

enum sr_special_index { SR_INTRODUCE_DOMAIN, SR_RELEASE_DOMAIN };

struct sr_store {
	struct sr_store_limits limits;
	struct sr_node *root;
	uint64_t generation; /* the last one given out */
	uint64_t random;
	struct sr_special specials[SR_SPECIALS];
	struct sr_domains domains[SR_DOMAIN_BUCKETS];
	size_t nodes;

	/* watch.c: all watches by the hash of their path */
	struct sr_watch_bucket *watch_buckets;
	size_t watches;

	/* client.c */
	struct sr_clients unflushed; /* have output that the socket was not offered yet */
	struct sr_clients dead;      /* closed; freed at the end of the turn */
	size_t connections;
	size_t transactions;

	/* server.c */
	struct sr_listeners dead_listeners; /* closed; freed at the end of the turn */
	int epoll_fd;
	int spare_fd; /* given up to accept and close a connection when fds run out */
};

/* domain.c */
struct sr_domain *sr_domain_find(const struct sr_store *store, uint16_t domid);
/* As above, or a new one; NULL where memory is short. */
struct sr_domain *sr_domain_get(struct sr_store *store, uint16_t domid);
void sr_domains_free(struct sr_store *store);
unsigned sr_domain_access(const struct sr_domain *domain, const struct sr_perms *perms);
int sr_domain_introduce(struct sr_domain *domain);
int sr_domain_release(struct sr_domain *domain);

static inline bool sr_domain_privileged(const struct sr_domain *domain)
{
	return domain->domid == 0;
}

/* The special watch of that name, or NULL. */
struct sr_special *sr_store_special(struct sr_store *store, const char *name);

uint32_t sr_store_random(struct sr_store *store);

#endif
