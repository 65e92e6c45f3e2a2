/* SPDX-License-Identifier: MIT */
/* Requests: what each type of message asks for, and the reply to it. */
#ifndef STORE_REQUEST_H
#define STORE_REQUEST_H

#include "client.h"

struct sr_request {
	struct sr_store *store;
	struct sr_client *client;
	struct sr_domain *domain;
	struct sr_transaction *transaction; /* that of its tx_id, or NULL */
	const char *payload;                /* 'len' bytes, then a nul */
	size_t len;
	struct sr_watch *new_watch; /* fires once, after the reply */
	char reply[XENSTORE_PAYLOAD_MAX];
	size_t reply_len;
};

/* Carries out the request in the client's input buffer and queues the reply to it. */
void sr_request_serve(struct sr_client *client);

/*
 * The first 'count' strings of the payload, each with its nul; what follows is reserved. -EINVAL.
 */
int sr_request_strings(const struct sr_request *request, const char **strings, size_t count);
int sr_request_domid(const struct sr_request *request, uint16_t *domid);
void sr_request_reply(struct sr_request *request, const char *text);

/* Handlers: 0 and the reply, or -errno. */
typedef int sr_request_handler(struct sr_request *request);

/* request_node.c */
sr_request_handler sr_request_directory;
sr_request_handler sr_request_directory_part;
sr_request_handler sr_request_read;
sr_request_handler sr_request_write;
sr_request_handler sr_request_mkdir;
sr_request_handler sr_request_rm;
sr_request_handler sr_request_get_perms;
sr_request_handler sr_request_set_perms;

/* request_domain.c */
sr_request_handler sr_request_introduce;
sr_request_handler sr_request_release;
sr_request_handler sr_request_resume;
sr_request_handler sr_request_set_target;
sr_request_handler sr_request_get_domain_path;
sr_request_handler sr_request_is_domain_introduced;
sr_request_handler sr_request_control;

#endif
