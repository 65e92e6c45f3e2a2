// SPDX-License-Identifier: MIT
#include "client.h"
#include "request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define REQUESTS_PER_TURN 8
#define MESSAGES_PER_SEND 32

int sr_client_new(struct sr_domain *domain, int fd)
{
	struct sr_store *store = domain->store;
	struct sr_client *client;
	int ret;

	if (!sr_domain_privileged(domain) && domain->connections >= store->limits.connections)
		return -EMFILE;
	client = calloc(1, sizeof(*client));
	if (!client)
		return -ENOMEM;
	client->source.kind = SR_SOURCE_CLIENT;
	client->store = store;
	client->domain = domain;
	client->fd = fd;
	client->epoll_events = EPOLLIN;
	TAILQ_INIT(&client->out);
	TAILQ_INIT(&client->watches);
	LIST_INIT(&client->transactions);
	ret = sr_server_watch(store, fd, EPOLLIN, &client->source);
	if (ret) {
		free(client);
		return ret;
	}
	LIST_INSERT_HEAD(&domain->clients, client, link);
	domain->connections++;
	store->connections++;
	return 0;
}

void sr_client_reset(struct sr_client *client)
{
	struct sr_transaction *transaction;
	struct sr_watch *watch;

	while ((watch = TAILQ_FIRST(&client->watches)))
		sr_watch_free(watch);
	while ((transaction = LIST_FIRST(&client->transactions))) {
		LIST_REMOVE(transaction, link);
		sr_transaction_free(transaction);
	}
}

void sr_client_kill(struct sr_client *client)
{
	struct sr_message *message;

	if (client->fd < 0)
		return;
	sr_client_reset(client);
	while ((message = TAILQ_FIRST(&client->out))) {
		TAILQ_REMOVE(&client->out, message, link);
		free(message);
	}
	if (client->unflushed)
		LIST_REMOVE(client, unflushed_link);
	client->unflushed = false;
	sr_server_close(client->store, client->fd);
	client->fd = -1;
	client->domain->connections--;
	client->store->connections--;
	LIST_REMOVE(client, link);
	LIST_INSERT_HEAD(&client->store->dead, client, link);
}

void sr_clients_bury(struct sr_store *store)
{
	struct sr_client *client;

	while ((client = LIST_FIRST(&store->dead))) {
		LIST_REMOVE(client, link);
		free(client);
	}
}

/* Whether the client takes its replies; a privileged one is only asked to take them some day. */
static bool wants_requests(const struct sr_client *client)
{
	const struct sr_store_limits *limits = &client->store->limits;

	if (client->out_bytes >= limits->output_bytes)
		return false;
	return sr_domain_privileged(client->domain) || client->out_replies < limits->requests;
}

static void update_poll(struct sr_client *client)
{
	uint32_t events = 0;

	if (wants_requests(client))
		events |= EPOLLIN;
	if (!TAILQ_EMPTY(&client->out))
		events |= EPOLLOUT;
	if (events == client->epoll_events)
		return;
	client->epoll_events = events;
	if (sr_server_rewatch(client->store, client->fd, events, &client->source))
		sr_client_kill(client);
}

static void mark_unflushed(struct sr_client *client)
{
	if (!client->unflushed)
		LIST_INSERT_HEAD(&client->store->unflushed, client, unflushed_link);
	client->unflushed = true;
}

static void queue(struct sr_client *client, struct sr_message *message)
{
	TAILQ_INSERT_TAIL(&client->out, message, link);
	client->out_bytes += sizeof(message->header) + message->header.len;
	if (message->reply)
		client->out_replies++;
	mark_unflushed(client);
}

void sr_client_reply(struct sr_client *client, const struct xsd_sockmsg *request, uint32_t type,
		     const void *payload, size_t len)
{
	struct sr_message *message;

	if (client->fd < 0)
		return;
	message = malloc(sizeof(*message) + len);
	if (!message) {
		/* Without its reply the client would wait for ever. */
		sr_client_kill(client);
		return;
	}
	message->reply = true;
	message->header = *request;
	message->header.type = type;
	message->header.len = (uint32_t)len;
	memcpy(message->payload, payload, len);
	queue(client, message);
}

/* An event like the last one in the queue, which the client has seen nothing of, adds nothing. */
static bool repeats(const struct sr_client *client, const char *path, size_t path_len,
		    const char *token, size_t token_len)
{
	const struct sr_message *last = TAILQ_LAST(&client->out, sr_messages);

	if (!last || last->reply || last->header.len != path_len + token_len)
		return false;
	if (last == TAILQ_FIRST(&client->out) && client->out_sent > 0)
		return false;
	return memcmp(last->payload, path, path_len) == 0 &&
	       memcmp(last->payload + path_len, token, token_len) == 0;
}

static void owe(struct sr_client *client, struct sr_watch *watch)
{
	watch->owed = true;
	client->owed++;
	mark_unflushed(client);
}

void sr_client_event(struct sr_client *client, struct sr_watch *watch, const char *path)
{
	const char *shown = path + watch->relative;
	size_t path_len = strlen(shown) + 1;
	size_t token_len = strlen(watch->token) + 1;
	size_t bytes = sizeof(struct xsd_sockmsg) + path_len + token_len;
	struct sr_message *message = NULL;

	if (watch->owed || repeats(client, shown, path_len, watch->token, token_len))
		return;
	if (client->out_bytes + bytes <= client->store->limits.output_bytes)
		message = malloc(sizeof(*message) + path_len + token_len);
	if (!message) {
		owe(client, watch);
		return;
	}
	message->reply = false;
	message->header = (struct xsd_sockmsg){
		.type = XS_WATCH_EVENT,
		.len = (uint32_t)(path_len + token_len),
	};
	memcpy(message->payload, shown, path_len);
	memcpy(message->payload + path_len, watch->token, token_len);
	queue(client, message);
}

/* Fires the watches that were merged, once half of the room is free again. */
static void pay_owed(struct sr_client *client)
{
	struct sr_watch *watch;

	if (client->owed == 0 || client->out_bytes > client->store->limits.output_bytes / 2)
		return;
	TAILQ_FOREACH(watch, &client->watches, link) {
		if (!watch->owed)
			continue;
		watch->owed = false;
		client->owed--;
		sr_client_event(client, watch, watch->path);
		if (watch->owed)
			return;
	}
}

static void drop_sent(struct sr_client *client, size_t sent)
{
	struct sr_message *message;

	client->out_sent += sent;
	client->out_bytes -= sent;
	while ((message = TAILQ_FIRST(&client->out))) {
		size_t size = sizeof(message->header) + message->header.len;

		if (client->out_sent < size)
			break;
		client->out_sent -= size;
		if (message->reply)
			client->out_replies--;
		TAILQ_REMOVE(&client->out, message, link);
		free(message);
	}
}

/* 1: some of it went out. 0: the socket is full. -errno: the client is gone. */
static int send_some(struct sr_client *client)
{
	struct iovec iov[MESSAGES_PER_SEND];
	struct msghdr msg = { .msg_iov = iov };
	size_t skip = client->out_sent;
	struct sr_message *message;
	ssize_t sent;

	TAILQ_FOREACH(message, &client->out, link) {
		if (msg.msg_iovlen == MESSAGES_PER_SEND)
			break;
		/* Header and payload lie side by side: one piece. */
		iov[msg.msg_iovlen].iov_base =
		    (char *)message + offsetof(struct sr_message, header) + skip;
		iov[msg.msg_iovlen].iov_len = sizeof(message->header) + message->header.len - skip;
		msg.msg_iovlen++;
		skip = 0;
	}
	sent = sendmsg(client->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	drop_sent(client, (size_t)sent);
	return 1;
}

static void flush(struct sr_client *client)
{
	int ret = 1;

	while (ret > 0 && !TAILQ_EMPTY(&client->out)) {
		ret = send_some(client);
		pay_owed(client);
	}
	/* No room is missing, so it is memory: better no connection than one that lost events. */
	if (TAILQ_EMPTY(&client->out) && client->owed > 0)
		ret = -ENOMEM;
	if (ret < 0)
		sr_client_kill(client);
	else
		update_poll(client);
}

void sr_clients_flush(struct sr_store *store)
{
	struct sr_client *client;

	while ((client = LIST_FIRST(&store->unflushed))) {
		flush(client);
		/* Queueing while it flushed has kept it on the list. */
		if (client->unflushed)
			LIST_REMOVE(client, unflushed_link);
		client->unflushed = false;
	}
}

/* Reads towards one whole request. 1: here it is. 0: not yet. -errno: the client is gone. */
static int read_request(struct sr_client *client)
{
	for (;;) {
		size_t want = sizeof(client->in_header);
		char *to = (char *)&client->in_header + client->in_len;
		ssize_t n;

		if (client->in_len >= want) {
			to = client->in_payload + (client->in_len - want);
			/* A wrong length leaves no way to find the next request. */
			if (client->in_header.len > XENSTORE_PAYLOAD_MAX)
				return -EPROTO;
			want += client->in_header.len;
		}
		if (client->in_len == want) {
			client->in_payload[client->in_header.len] = '\0';
			return 1;
		}
		n = recv(client->fd, to, want - client->in_len, MSG_DONTWAIT);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		client->in_len += (size_t)n;
	}
}

void sr_client_serve(struct sr_client *client, uint32_t epoll_events)
{
	int ret = 1;

	if (epoll_events & EPOLLOUT)
		flush(client);
	for (int i = 0; i < REQUESTS_PER_TURN && client->fd >= 0; i++) {
		if (!wants_requests(client))
			break;
		ret = read_request(client);
		if (ret <= 0)
			break;
		client->in_len = 0;
		sr_request_serve(client);
	}
	/* It has sent all that it wants to say, but may still read the replies. */
	if (ret == -ECONNRESET)
		flush(client);
	/* The other side has gone, and what it has sent is not read any more. */
	if (ret < 0 ||
	    (client->fd >= 0 && (epoll_events & (EPOLLHUP | EPOLLERR)) && !wants_requests(client)))
		sr_client_kill(client);
}

struct sr_transaction *sr_client_transaction(const struct sr_client *client, uint32_t id)
{
	struct sr_transaction *transaction;

	LIST_FOREACH(transaction, &client->transactions, link) {
		if (transaction->id == id)
			return transaction;
	}
	return NULL;
}
