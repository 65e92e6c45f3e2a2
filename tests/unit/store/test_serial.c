// SPDX-License-Identifier: MIT
/*
 * Transactions are as good as one after the other. Clients do random things in overlapping
 * transactions; each time one is committed, all that it did is done again, in one go and without
 * a transaction, in a second store: every answer has to be the same, and so do the trees at the
 * end.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENTS     4
#define ACTIONS_MAX 12
#define STEPS       6000

struct action {
	uint32_t type;
	char payload[48];
	size_t len;
	struct answer answer;
};

struct client {
	struct peer real;
	struct peer shadow;
	uint32_t tx_id; /* 0: none is open */
	size_t count;
	bool wrote;
	struct action actions[ACTIONS_MAX];
};

struct tally {
	int committed;
	int conflicts;
};

static const uint16_t domids[CLIENTS] = { 0, 0, 5, 6 };

static const char *const paths[] = { "/d",   "/d/a",   "/d/a/x", "/d/a/y",
				     "/d/b", "/d/b/x", "/d/c/z", "/d/c" };

static const char *const perms[] = { "b0", "r0", "n0", "b5", "n6" };

static void action_random(struct action *action)
{
	static const uint32_t types[] = { XS_READ, XS_WRITE,     XS_WRITE,     XS_MKDIR,
					  XS_RM,   XS_DIRECTORY, XS_GET_PERMS, XS_SET_PERMS };
	const char *path = paths[(size_t)rand() % (sizeof(paths) / sizeof(paths[0]))];
	size_t len = strlen(path) + 1;

	action->type = types[(size_t)rand() % (sizeof(types) / sizeof(types[0]))];
	memcpy(action->payload, path, len);
	if (action->type == XS_WRITE)
		len += (size_t)snprintf(action->payload + len, 8, "%d", rand() % 100);
	if (action->type == XS_SET_PERMS)
		len += (size_t)snprintf(action->payload + len, 8, "%s", perms[rand() % 5]) + 1;
	action->len = len;
}

static bool changes(uint32_t type)
{
	return type == XS_WRITE || type == XS_MKDIR || type == XS_RM || type == XS_SET_PERMS;
}

static bool same(const struct answer *a, const struct answer *b)
{
	return a->header.type == b->header.type && a->header.len == b->header.len &&
	       memcmp(a->payload, b->payload, a->header.len) == 0;
}

/* In the second store, the action gives what it gave in the first. */
static void repeat(struct client *client, const struct action *action)
{
	const struct answer *answer =
	    peer_ask(&client->shadow, action->type, 0, action->payload, action->len);

	if (!same(answer, &action->answer))
		fail_msg("%u %s: %s, alone %s", action->type, action->payload,
			 action->answer.payload, answer->payload);
}

static void act(struct client *client)
{
	struct action *action = &client->actions[client->count++];

	action_random(action);
	action->answer =
	    *peer_ask(&client->real, action->type, client->tx_id, action->payload, action->len);
	if (changes(action->type) && action->answer.header.type != XS_ERROR)
		client->wrote = true;
	if (client->tx_id == 0) {
		repeat(client, action);
		client->count = 0;
	}
}

static void commit(struct client *client, struct tally *tally)
{
	const char *outcome = peer_commit(&client->real, client->tx_id);

	if (strcmp(outcome, "OK") == 0) {
		tally->committed++;
		/* One that only read stands where it began, and not here. */
		for (size_t i = 0; i < client->count && client->wrote; i++)
			repeat(client, &client->actions[i]);
	} else {
		tally->conflicts++;
		assert_string_equal(outcome, "EAGAIN");
	}
	client->tx_id = 0;
	client->count = 0;
}

static void compare_trees(struct client *client, const char *path)
{
	char child[XENSTORE_PAYLOAD_MAX + 256];
	struct answer real = *peer_ask(&client->real, XS_DIRECTORY, 0, path, strlen(path) + 1);
	struct answer copy = *peer_ask(&client->shadow, XS_DIRECTORY, 0, path, strlen(path) + 1);

	assert_true(same(&real, &copy));
	assert_int_not_equal(real.header.type, XS_ERROR);
	for (const char *name = real.payload; name < real.payload + real.header.len;
	     name += strlen(name) + 1) {
		snprintf(child, sizeof(child), "%s/%s", strcmp(path, "/") ? path : "", name);
		compare_trees(client, child);
	}
}

static void test_transactions_are_serializable(void **state)
{
	struct sr_store *shadow;
	struct client *clients = calloc(CLIENTS, sizeof(*clients));
	struct tally tally = { 0 };

	assert_non_null(clients);
	assert_int_equal(sr_store_new(NULL, &shadow), 0);
	for (int i = 0; i < CLIENTS; i++) {
		peer_open(&clients[i].real, *state, domids[i]);
		peer_open(&clients[i].shadow, shadow, domids[i]);
	}
	srand(7);
	for (int i = 0; i < STEPS; i++) {
		struct client *client = &clients[rand() % CLIENTS];

		if (client->tx_id && (client->count == ACTIONS_MAX || rand() % 6 == 0)) {
			commit(client, &tally);
		} else if (!client->tx_id && rand() % 2) {
			client->tx_id = peer_start(&client->real);
			client->wrote = false;
		} else {
			act(client);
		}
	}
	/* Both must have happened often, or nothing was tested. */
	assert_true(tally.committed > 100);
	assert_true(tally.conflicts > 100);
	compare_trees(&clients[0], "/");
	for (int i = 0; i < CLIENTS; i++) {
		peer_close(&clients[i].real);
		peer_close(&clients[i].shadow);
	}
	assert_int_equal(sr_store_check(shadow), 0);
	sr_store_free(shadow);
	free(clients);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_transactions_are_serializable, store_setup,
						store_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
