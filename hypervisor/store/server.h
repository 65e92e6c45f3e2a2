/* SPDX-License-Identifier: MIT */
/* The sockets and the poll set. */
#ifndef STORE_SERVER_H
#define STORE_SERVER_H

#include "internal.h"

enum sr_source_kind { SR_SOURCE_LISTENER, SR_SOURCE_CLIENT };

/* The first member of what the poll set points to. */
struct sr_source {
	enum sr_source_kind kind;
};

int sr_server_init(struct sr_store *store);
void sr_server_free(struct sr_store *store);

/* Puts a source into the poll set, or changes what it waits for. */
int sr_server_watch(struct sr_store *store, int fd, uint32_t events, struct sr_source *source);
int sr_server_rewatch(struct sr_store *store, int fd, uint32_t events, struct sr_source *source);
/* Takes it out again and closes it. */
void sr_server_close(struct sr_store *store, int fd);

/* Removes the socket file. NULL is fine. */
void sr_listener_close(struct sr_listener *listener);

/* The end of every call into the store: output goes out, the dead are freed. */
void sr_server_settle(struct sr_store *store);

#endif
