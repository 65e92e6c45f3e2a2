/* SPDX-License-Identifier: MIT */
/*
 * One connection: its input as it arrives, its output until the socket takes it, and what it made
 * the store keep. Nothing of it waits for the other side.
 */
#ifndef STORE_CLIENT_H
#define STORE_CLIENT_H

#include "internal.h"
#include "server.h"
#include "transaction.h"
#include "watch.h"

#include <xen/io/xs_wire.h>

struct sr_message {
	TAILQ_ENTRY(sr_message) link;
	bool reply;
	struct xsd_sockmsg header;
	char payload[];
};

TAILQ_HEAD(sr_messages, sr_message);

struct sr_client {
	struct sr_source source;
	LIST_ENTRY(sr_client) link; /* in its domain, or among the dead */
	LIST_ENTRY(sr_client) unflushed_link;
	struct sr_store *store;
	struct sr_domain *domain;
	int fd; /* -1: dead */
	uint32_t epoll_events;
	bool unflushed;

	size_t in_len; /* header and payload, as far as they came */
	struct xsd_sockmsg in_header;
	char in_payload[XENSTORE_PAYLOAD_MAX + 1]; /* always followed by a nul */

	struct sr_messages out;
	size_t out_sent; /* of the first message */
	size_t out_bytes;
	uint32_t out_replies;

	struct sr_watch_list watches;
	size_t owed; /* watches that are to fire when there is room */
	struct sr_transactions transactions;
	uint32_t last_transaction;
};

/* Takes the fd, unless it fails. -EMFILE where the domain has too many. */
int sr_client_new(struct sr_domain *domain, int fd);

/*
 * Closes the connection and drops its watches and transactions. The structure itself stays until
 * sr_clients_bury(), since callers up the stack may still look at it.
 */
void sr_client_kill(struct sr_client *client);
void sr_clients_bury(struct sr_store *store);

/* The socket is ready: reads and serves a few requests. */
void sr_client_serve(struct sr_client *client, uint32_t epoll_events);

/* Offers all output that waits to the sockets. */
void sr_clients_flush(struct sr_store *store);

/* Queues a reply. Where memory is short the connection is lost. */
void sr_client_reply(struct sr_client *client, const struct xsd_sockmsg *request, uint32_t type,
		     const void *payload, size_t len);

/* Queues a watch event for the path, or merges it: see output_bytes in struct sr_store_limits. */
void sr_client_event(struct sr_client *client, struct sr_watch *watch, const char *path);

struct sr_transaction *sr_client_transaction(const struct sr_client *client, uint32_t id);
void sr_client_reset(struct sr_client *client);

#endif
