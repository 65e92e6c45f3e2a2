/* SPDX-License-Identifier: MIT */
/*
 * Whatever clients send, in whatever order: the store answers in whole, well-formed messages,
 * keeps to its limits, and its accounts agree with its tree.
 *
 * The input is a script. Each step names a client and what happens to it: bytes as they are, a
 * message put together from words that mean something, a reconnection, a pause in reading, or
 * something that the store's owner does meanwhile.
 */
#include "fuzz_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <store/store.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xen/io/xs_wire.h>

#define CLIENTS       4
#define WATCHES       5
#define TRANSACTIONS  3
#define STEPS_MAX     400
#define TURNS_PER_END 1000

static const uint16_t domids[CLIENTS] = { 0, 5, 5, 6 };

static const char *const words[] = {
	"/",
	"/a",
	"/a/b",
	"/a/b/c",
	"a",
	"a/b",
	"a/b/c",
	"/local/domain/5",
	"/local/domain/5/a",
	"/local/domain/5/a/b",
	"/local/domain/6",
	"/local",
	"x",
	"y",
	"z",
	"@releaseDomain",
	"@introduceDomain",
	"T",
	"F",
	"0",
	"5",
	"6",
	"7",
	"n0",
	"b0",
	"n5",
	"b5",
	"r6",
	"w5",
	"token",
	"",
	"32752",
	"65535",
	"65536",
	"4294967295",
	"check",
	"quota",
	"//",
	"/a/",
	"a b",
};

struct input {
	const uint8_t *data;
	size_t size;
};

struct client {
	int fd;
	bool paused; /* takes no output */
	uint32_t last_id;
	uint32_t tx_ids[2]; /* of the transactions that it began last */
	size_t have;
	struct {
		struct xsd_sockmsg header;
		char payload[XENSTORE_PAYLOAD_MAX];
	} in;
};

struct world {
	struct sr_store *store;
	struct client clients[CLIENTS];
};

static void require(bool held)
{
	if (!held)
		abort();
}

static uint8_t take(struct input *input)
{
	if (input->size == 0)
		return 0;
	input->size--;
	return *input->data++;
}

static size_t take_bytes(struct input *input, size_t want, char *to)
{
	size_t len = want < input->size ? want : input->size;

	memcpy(to, input->data, len);
	input->data += len;
	input->size -= len;
	return len;
}

static void client_open(struct world *world, int i)
{
	struct client *client = &world->clients[i];
	const int small = 1; /* the kernel makes it a few KiB: so that output has to wait */
	int fds[2];

	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	require(setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
	require(sr_store_add_client(world->store, fds[1], domids[i]) == 0);
	client->fd = fds[0];
	client->paused = false;
	client->have = 0;
	memset(client->tx_ids, 0, sizeof(client->tx_ids));
}

static bool known_error(const char *name)
{
	for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++) {
		if (strcmp(xsd_errors[i].errstring, name) == 0)
			return true;
	}
	return false;
}

static size_t count_nuls(const char *text, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++)
		count += text[i] == '\0';
	return count;
}

static void check_message(const struct xsd_sockmsg *header, const char *payload)
{
	require(header->type < XS_TYPE_COUNT);
	switch (header->type) {
	case XS_ERROR:
		require(header->len > 0 && payload[header->len - 1] == '\0');
		require(known_error(payload));
		break;
	case XS_WATCH_EVENT:
		require(header->req_id == 0 && header->tx_id == 0);
		require(count_nuls(payload, header->len) == 2);
		require(payload[header->len - 1] == '\0');
		break;
	case XS_READ:
		break;
	default:
		require(header->len == 0 || payload[header->len - 1] == '\0');
	}
}

static void note_transaction(struct client *client)
{
	if (client->in.header.type != XS_TRANSACTION_START)
		return;
	client->tx_ids[1] = client->tx_ids[0];
	client->tx_ids[0] = (uint32_t)strtoul(client->in.payload, NULL, 10);
}

/* Takes all that the store has sent. False: it has closed the connection. */
static bool client_drain(struct client *client)
{
	for (;;) {
		size_t want = sizeof(client->in.header);
		ssize_t n;

		if (client->have >= want) {
			require(client->in.header.len <= XENSTORE_PAYLOAD_MAX);
			want += client->in.header.len;
		}
		if (client->have == want) {
			check_message(&client->in.header, client->in.payload);
			note_transaction(client);
			client->have = 0;
			continue;
		}
		n = recv(client->fd, (char *)&client->in + client->have, want - client->have, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN;
		client->have += (size_t)n;
	}
}

static void client_send(struct client *client, const void *bytes, size_t len)
{
	/* A client whose requests are not read any more has filled the socket: that is fine. */
	(void)!send(client->fd, bytes, len, MSG_NOSIGNAL);
}

static void send_raw(struct client *client, struct input *input)
{
	char bytes[256];
	size_t len = take_bytes(input, take(input), bytes);

	client_send(client, bytes, len);
}

/* One piece of a payload: a word with its nul, some bytes, or many of the same. */
static size_t put_piece(struct input *input, char *to, size_t room)
{
	uint8_t kind = take(input);
	char piece[3100];
	size_t len;

	if (kind < 200) {
		const char *word = words[kind % (sizeof(words) / sizeof(words[0]))];

		len = strlen(word) + 1;
		memcpy(piece, word, len);
	} else if (kind < 240) {
		len = take_bytes(input, kind - 200, piece);
	} else {
		len = (size_t)(kind - 239) * 193;
		memset(piece, 'x', len);
		piece[0] = kind & 1 ? '/' : 'x';
	}
	if (len > room)
		return 0;
	memcpy(to, piece, len);
	return len;
}

static void send_message(struct client *client, struct input *input)
{
	struct {
		struct xsd_sockmsg header;
		char payload[XENSTORE_PAYLOAD_MAX];
	} message;
	uint8_t shape;
	size_t len = 0;

	message.header.type = take(input) % (XS_TYPE_COUNT + 1);
	message.header.req_id = ++client->last_id;
	shape = take(input);
	/* Outside of transactions, in one of its own, or in one that need not exist. */
	message.header.tx_id = shape & 1 ? client->tx_ids[shape >> 1 & 1] : 0;
	if ((shape & 0x1c) == 0x1c)
		message.header.tx_id = shape;
	for (int pieces = shape >> 5 & 3; pieces >= 0; pieces--)
		len += put_piece(input, message.payload + len, sizeof(message.payload) - len);
	message.header.len = (uint32_t)len;
	client_send(client, &message, sizeof(message.header) + len);
}

static void send_plain(struct client *client, uint32_t type, uint32_t tx_id, const char *payload,
		       size_t len)
{
	struct {
		struct xsd_sockmsg header;
		char payload[16];
	} message = { .header = { .type = type, .req_id = ++client->last_id, .tx_id = tx_id } };

	message.header.len = (uint32_t)len;
	memcpy(message.payload, payload, len);
	client_send(client, &message, sizeof(message.header) + len);
}

/* More than a client that does not read can be told one by one. */
static void write_much(struct sr_store *store)
{
	char path[1000];

	memset(path, 'p', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	for (char c = 'a'; c < 'z'; c++) {
		path[1] = c;
		require(sr_store_write(store, path, "value", 5) == 0);
	}
}

static void owner_acts(struct world *world, struct input *input)
{
	static const struct sr_store_perm own = { .domid = 5, .access = 'n' };
	uint8_t what = take(input);
	uint16_t domid = what & 8 ? 5 : 6;
	const char *path = words[(what >> 4) % 12];

	switch (what & 7) {
	case 0:
		(void)sr_store_introduce(world->store, domid);
		break;
	case 1:
		require(sr_store_release(world->store, domid) == 0);
		break;
	case 2:
		(void)sr_store_rm(world->store, path);
		break;
	case 3:
		(void)sr_store_set_perms(world->store, path, &own, 1);
		break;
	case 4:
		write_much(world->store);
		break;
	default:
		(void)sr_store_write(world->store, path, "value", 5);
	}
}

static void step(struct world *world, struct input *input)
{
	uint8_t op = take(input);
	int i = op % CLIENTS;
	struct client *client = &world->clients[i];

	switch (op / CLIENTS % 16) {
	case 0:
		send_raw(client, input);
		break;
	case 1:
		close(client->fd);
		client_open(world, i);
		break;
	case 2:
		client->paused = !client->paused;
		break;
	case 3:
	case 4:
		owner_acts(world, input);
		break;
	/* What random bytes would seldom come to. */
	case 5:
		send_plain(client, XS_TRANSACTION_START, 0, "", 1);
		break;
	case 6:
		send_plain(client, XS_TRANSACTION_END, client->tx_ids[0], "T", 2);
		break;
	case 7:
		send_plain(client, XS_WATCH, 0, "/\0t", 4);
		break;
	case 8:
		send_plain(client, XS_WRITE, client->tx_ids[0], "/a/b\0v", 6);
		break;
	case 9:
		send_plain(client, XS_READ, client->tx_ids[0], "/a/b", 5);
		break;
	default:
		send_message(client, input);
	}
}

static void settle(struct world *world, int turns)
{
	while (turns-- > 0)
		require(sr_store_process(world->store) == 0);
	for (int i = 0; i < CLIENTS; i++) {
		if (!world->clients[i].paused && !client_drain(&world->clients[i])) {
			close(world->clients[i].fd);
			client_open(world, i);
		}
	}
}

static void check_limits(const struct sr_store *store)
{
	struct sr_store_usage usage;

	for (int i = 1; i < CLIENTS; i++) {
		sr_store_domain_usage(store, domids[i], &usage);
		require(usage.watches <= WATCHES);
		require(usage.transactions <= TRANSACTIONS);
	}
}

/* A home for domain 5, so that it may do something as well. */
static void world_init(struct world *world)
{
	const struct sr_store_limits limits = {
		.nodes = 12,
		.watches = WATCHES,
		.transactions = TRANSACTIONS,
		.transaction_bytes = 8192,
		.node_size = 1000,
		.permissions = 3,
		.output_bytes = 1,
	};
	const struct sr_store_perm own = { .domid = 5, .access = 'r' };

	memset(world, 0, sizeof(*world));
	require(sr_store_new(&limits, &world->store) == 0);
	require(sr_store_introduce(world->store, 5) == 0);
	require(sr_store_mkdir(world->store, "/local/domain/5") == 0);
	require(sr_store_set_perms(world->store, "/local/domain/5", &own, 1) == 0);
	for (int i = 0; i < CLIENTS; i++)
		client_open(world, i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { .data = data, .size = size };
	struct sr_store_usage usage;
	struct world world;

	world_init(&world);
	for (int steps = 0; input.size > 0 && steps < STEPS_MAX; steps++) {
		step(&world, &input);
		settle(&world, 1);
		check_limits(world.store);
	}
	require(sr_store_check(world.store) == 0);
	for (int i = 0; i < CLIENTS; i++)
		close(world.clients[i].fd);
	/* Once all are gone only nodes are left. */
	for (int turns = 0; turns < TURNS_PER_END; turns++) {
		require(sr_store_process(world.store) == 0);
		sr_store_total_usage(world.store, &usage);
		if (usage.connections == 0)
			break;
	}
	require(usage.connections == 0 && usage.watches == 0 && usage.transactions == 0);
	require(sr_store_check(world.store) == 0);
	sr_store_free(world.store);
	return 0;
}
