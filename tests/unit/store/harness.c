// SPDX-License-Identifier: MIT
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* More than any test needs; a store that is never done would fail here and not hang. */
#define TURNS_MAX 100000

int store_setup(void **state)
{
	struct sr_store *store;

	if (sr_store_new(NULL, &store))
		return -1;
	*state = store;
	return 0;
}

int store_teardown(void **state)
{
	struct sr_store *store = *state;
	int ret = sr_store_check(store);

	sr_store_free(store);
	return ret;
}

void store_run(struct sr_store *store)
{
	struct pollfd pollfd = { .fd = sr_store_fd(store), .events = POLLIN };
	int turns = 0;

	while (poll(&pollfd, 1, 0) > 0) {
		assert_true(turns++ < TURNS_MAX);
		assert_int_equal(sr_store_process(store), 0);
	}
}

void peer_open(struct peer *peer, struct sr_store *store, uint16_t domid)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(sr_store_add_client(store, fds[1], domid), 0);
	*peer = (struct peer){ .store = store, .fd = fds[0] };
	assert_int_equal(fcntl(peer->fd, F_SETFL, O_NONBLOCK), 0);
	peer->events = calloc(PEER_EVENTS, sizeof(*peer->events));
	assert_non_null(peer->events);
}

void peer_close(struct peer *peer)
{
	close(peer->fd);
	free(peer->events);
	store_run(peer->store);
}

void peer_send_bytes(struct peer *peer, const void *bytes, size_t len)
{
	assert_int_equal(send(peer->fd, bytes, len, MSG_NOSIGNAL), len);
}

void peer_send(struct peer *peer, uint32_t type, uint32_t tx_id, const void *payload, size_t len)
{
	struct xsd_sockmsg header = {
		.type = type,
		.req_id = ++peer->last_id,
		.tx_id = tx_id,
		.len = (uint32_t)len,
	};

	peer_send_bytes(peer, &header, sizeof(header));
	if (len)
		peer_send_bytes(peer, payload, len);
}

static bool receive_bytes(struct peer *peer, void *to, size_t len)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = recv(peer->fd, (char *)to + have, len - have, 0);

		if (n <= 0)
			return false;
		have += (size_t)n;
		/* A long message may need several turns of the store. */
		if (have < len)
			store_run(peer->store);
	}
	return true;
}

bool peer_receive(struct peer *peer, struct answer *answer)
{
	store_run(peer->store);
	if (!receive_bytes(peer, &answer->header, sizeof(answer->header)))
		return false;
	assert_true(answer->header.len <= XENSTORE_PAYLOAD_MAX);
	assert_true(receive_bytes(peer, answer->payload, answer->header.len));
	answer->payload[answer->header.len] = '\0';
	return true;
}

bool peer_is_closed(struct peer *peer)
{
	char byte;

	store_run(peer->store);
	return recv(peer->fd, &byte, 1, MSG_PEEK) == 0 || errno == ECONNRESET || errno == EPIPE;
}

static void keep_event(struct peer *peer, const struct answer *answer)
{
	struct event *event = &peer->events[peer->event_count];
	size_t path_len = strlen(answer->payload) + 1;

	assert_true(peer->event_count < PEER_EVENTS);
	assert_int_equal(answer->header.req_id, 0);
	assert_int_equal(answer->header.tx_id, 0);
	assert_int_equal(answer->header.len, path_len + strlen(answer->payload + path_len) + 1);
	snprintf(event->path, sizeof(event->path), "%s", answer->payload);
	snprintf(event->token, sizeof(event->token), "%s", answer->payload + path_len);
	peer->event_count++;
}

const struct answer *peer_ask(struct peer *peer, uint32_t type, uint32_t tx_id, const void *payload,
			      size_t len)
{
	static struct answer answer;

	peer_send(peer, type, tx_id, payload, len);
	do {
		assert_true(peer_receive(peer, &answer));
		if (answer.header.type == XS_WATCH_EVENT)
			keep_event(peer, &answer);
	} while (answer.header.type == XS_WATCH_EVENT);
	assert_int_equal(answer.header.req_id, peer->last_id);
	assert_int_equal(answer.header.tx_id, tx_id);
	if (answer.header.type != XS_ERROR)
		assert_int_equal(answer.header.type, type);
	return &answer;
}

const char *peer_outcome(const struct answer *answer)
{
	return answer->header.type == XS_ERROR ? answer->payload : "OK";
}

void expect_bytes(const struct answer *answer, const void *bytes, size_t len)
{
	assert_int_not_equal(answer->header.type, XS_ERROR);
	assert_int_equal(answer->header.len, len);
	assert_memory_equal(answer->payload, bytes, len);
}

const char *peer_write(struct peer *peer, uint32_t tx_id, const char *path, const char *value)
{
	char payload[XENSTORE_PAYLOAD_MAX];
	size_t path_len = strlen(path) + 1;
	size_t value_len = strlen(value);

	assert_true(path_len + value_len <= sizeof(payload));
	memcpy(payload, path, path_len);
	memcpy(payload + path_len, value, value_len);
	return peer_outcome(peer_ask(peer, XS_WRITE, tx_id, payload, path_len + value_len));
}

const char *peer_path(struct peer *peer, uint32_t type, uint32_t tx_id, const char *path)
{
	return peer_outcome(peer_ask(peer, type, tx_id, path, strlen(path) + 1));
}

static const char *ask_two(struct peer *peer, uint32_t type, uint32_t tx_id, const char *first,
			   const char *second)
{
	char payload[XENSTORE_PAYLOAD_MAX];
	size_t first_len = strlen(first) + 1;
	size_t second_len = strlen(second) + 1;

	assert_true(first_len + second_len <= sizeof(payload));
	memcpy(payload, first, first_len);
	memcpy(payload + first_len, second, second_len);
	return peer_outcome(peer_ask(peer, type, tx_id, payload, first_len + second_len));
}

const char *peer_set_perms(struct peer *peer, uint32_t tx_id, const char *path, const char *perm)
{
	return ask_two(peer, XS_SET_PERMS, tx_id, path, perm);
}

const char *peer_watch(struct peer *peer, const char *path, const char *token)
{
	return ask_two(peer, XS_WATCH, 0, path, token);
}

const char *peer_read(struct peer *peer, uint32_t tx_id, const char *path)
{
	return peer_ask(peer, XS_READ, tx_id, path, strlen(path) + 1)->payload;
}

uint32_t peer_start(struct peer *peer)
{
	const struct answer *answer = ASK(peer, XS_TRANSACTION_START, 0, "");
	uint32_t tx_id = (uint32_t)strtoul(answer->payload, NULL, 10);

	assert_string_equal(peer_outcome(answer), "OK");
	assert_int_not_equal(tx_id, 0);
	return tx_id;
}

const char *peer_commit(struct peer *peer, uint32_t tx_id)
{
	return peer_outcome(ASK(peer, XS_TRANSACTION_END, tx_id, "T"));
}

static void take_events(struct peer *peer)
{
	struct answer answer;

	while (peer_receive(peer, &answer)) {
		assert_int_equal(answer.header.type, XS_WATCH_EVENT);
		keep_event(peer, &answer);
	}
}

void expect_event(struct peer *peer, const char *path, const char *token)
{
	take_events(peer);
	assert_true(peer->event_count > 0);
	assert_string_equal(peer->events[0].path, path);
	assert_string_equal(peer->events[0].token, token);
	peer->event_count--;
	memmove(peer->events, peer->events + 1, peer->event_count * sizeof(*peer->events));
}

void expect_no_event(struct peer *peer)
{
	take_events(peer);
	if (peer->event_count)
		fail_msg("unexpected event: %s %s", peer->events[0].path, peer->events[0].token);
}

size_t drop_events(struct peer *peer)
{
	size_t count;

	take_events(peer);
	count = peer->event_count;
	peer->event_count = 0;
	return count;
}

static void *server_main(void *arg)
{
	struct server *server = arg;
	struct pollfd pollfds[2] = {
		{ .fd = sr_store_fd(server->store), .events = POLLIN },
		{ .fd = server->stop_fd, .events = POLLIN },
	};

	while (poll(pollfds, 2, -1) > 0 && !pollfds[1].revents) {
		pthread_mutex_lock(&server->lock);
		sr_store_process(server->store);
		pthread_mutex_unlock(&server->lock);
	}
	return NULL;
}

int server_setup(void **state)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server || sr_store_new(NULL, &server->store))
		return -1;
	*state = server;
	strcpy(server->dir, "/tmp/sr-store-XXXXXX");
	if (!mkdtemp(server->dir))
		return -1;
	snprintf(server->socket, sizeof(server->socket), "%s/socket", server->dir);
	snprintf(server->socket5, sizeof(server->socket5), "%s/socket5", server->dir);
	if (sr_store_listen(server->store, server->socket, 0) ||
	    sr_store_listen(server->store, server->socket5, 5))
		return -1;
	pthread_mutex_init(&server->lock, NULL);
	server->stop_fd = eventfd(0, EFD_CLOEXEC);
	return pthread_create(&server->thread, NULL, server_main, server);
}

int server_teardown(void **state)
{
	struct server *server = *state;
	uint64_t one = 1;
	int ret;

	if (write(server->stop_fd, &one, sizeof(one)) != sizeof(one))
		return -1;
	pthread_join(server->thread, NULL);
	ret = sr_store_check(server->store);
	sr_store_free(server->store);
	close(server->stop_fd);
	/* Only an empty directory can be removed: the sockets have to be gone. */
	if (rmdir(server->dir))
		ret = -errno;
	free(server);
	return ret;
}
