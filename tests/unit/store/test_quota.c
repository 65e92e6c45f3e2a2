// SPDX-License-Identifier: MIT
/* What an unprivileged domain may use, and that it gets it back. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

#define NODES        20
#define WATCHES      4
#define TRANSACTIONS 3

/* Small limits, so that the tests are quick; and a directory that domain 5 owns. */
static int quota_setup(void **state)
{
	const struct sr_store_limits limits = {
		.nodes = NODES,
		.watches = WATCHES,
		.transactions = TRANSACTIONS,
		.transaction_bytes = 4096,
		.node_size = 100,
		.permissions = 3,
		.connections = 2,
	};
	const struct sr_store_perm own = { .domid = 5, .access = 'n' };
	struct sr_store *store;

	if (sr_store_new(&limits, &store))
		return -1;
	*state = store;
	if (sr_store_mkdir(store, "/local/domain/5"))
		return -1;
	return sr_store_set_perms(store, "/local/domain/5", &own, 1);
}

static size_t nodes_of(void **state, uint16_t domid)
{
	struct sr_store_usage usage;

	sr_store_domain_usage(*state, domid, &usage);
	return usage.nodes;
}

/* Writes nodes until one fails; how many there are. */
static int fill(struct peer *peer, uint32_t tx_id, const char *error)
{
	const char *outcome = "OK";
	char path[32];
	int count = 0;

	while (strcmp(outcome, "OK") == 0) {
		assert_true(count < 1000);
		snprintf(path, sizeof(path), "n/%d", count++);
		outcome = peer_write(peer, tx_id, path, "");
	}
	assert_string_equal(outcome, error);
	return count - 1;
}

static void test_nodes(void **state)
{
	struct peer guest;

	peer_open(&guest, *state, 5);
	/* Its home and "n" count as well. */
	assert_int_equal(fill(&guest, 0, "ENOSPC"), NODES - 2);
	assert_int_equal(nodes_of(state, 5), NODES);
	/* A node that is there can still be written. */
	assert_string_equal(peer_write(&guest, 0, "n/0", "x"), "OK");
	ASK_ERROR(&guest, XS_MKDIR, 0, "other", "ENOSPC");
	ASK_OK(&guest, XS_RM, 0, "n");
	assert_int_equal(nodes_of(state, 5), 1);
	assert_int_equal(fill(&guest, 0, "ENOSPC"), NODES - 2);
	peer_close(&guest);
}

static void test_nodes_made_with_their_parents(void **state)
{
	struct peer guest;
	char path[2 * NODES + 1];

	peer_open(&guest, *state, 5);
	for (int i = 0; i < NODES; i++)
		memcpy(path + 2 * i, "x/", 2);
	path[2 * NODES - 1] = '\0';
	/* All or nothing. */
	assert_string_equal(peer_write(&guest, 0, path, ""), "ENOSPC");
	assert_int_equal(nodes_of(state, 5), 1);
	path[2 * NODES - 3] = '\0';
	assert_string_equal(peer_write(&guest, 0, path, ""), "OK");
	assert_int_equal(nodes_of(state, 5), NODES);
	peer_close(&guest);
}

static void test_dom0_has_no_quota(void **state)
{
	struct peer dom0;
	char path[64];

	peer_open(&dom0, *state, 0);
	for (int i = 0; i < 3 * NODES; i++) {
		/* Not even where another domain will own it. */
		snprintf(path, sizeof(path), "/local/domain/5/%d", i);
		assert_string_equal(peer_write(&dom0, 0, path, ""), "OK");
	}
	assert_int_equal(nodes_of(state, 5), 3 * NODES + 1);
	for (int i = 0; i < 3 * WATCHES; i++) {
		snprintf(path, sizeof(path), "/%d", i);
		assert_string_equal(peer_watch(&dom0, path, "t"), "OK");
	}
	for (int i = 0; i < 3 * TRANSACTIONS; i++)
		peer_start(&dom0);
	drop_events(&dom0);
	peer_close(&dom0);
}

static void test_change_of_owner_moves_the_account(void **state)
{
	struct peer dom0;
	size_t before = nodes_of(state, 0);

	peer_open(&dom0, *state, 0);
	ASK_OK(&dom0, XS_MKDIR, 0, "/a");
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a\0n9");
	assert_int_equal(nodes_of(state, 9), 1);
	assert_int_equal(nodes_of(state, 0), before);
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a\0n0");
	assert_int_equal(nodes_of(state, 9), 0);
	peer_close(&dom0);
}

static void test_rm_by_another_gives_back(void **state)
{
	struct peer guest;

	peer_open(&guest, *state, 5);
	fill(&guest, 0, "ENOSPC");
	assert_int_equal(sr_store_rm(*state, "/local/domain/5/n"), 0);
	assert_int_equal(nodes_of(state, 5), 1);
	assert_string_equal(peer_write(&guest, 0, "x", ""), "OK");
	peer_close(&guest);
}

static void test_nodes_in_a_transaction(void **state)
{
	struct peer guest;
	uint32_t tx_id;

	peer_open(&guest, *state, 5);
	tx_id = peer_start(&guest);
	assert_int_equal(fill(&guest, tx_id, "ENOSPC"), NODES - 2);
	assert_int_equal(nodes_of(state, 5), 1);
	ASK_OK(&guest, XS_TRANSACTION_END, tx_id, "F");
	assert_int_equal(nodes_of(state, 5), 1);
	/* Together the two would be too many. */
	tx_id = peer_start(&guest);
	assert_string_equal(peer_write(&guest, tx_id, "t/1", ""), "OK");
	fill(&guest, 0, "ENOSPC");
	assert_string_equal(peer_commit(&guest, tx_id), "ENOSPC");
	assert_string_equal(peer_read(&guest, 0, "t/1"), "ENOENT");
	assert_int_equal(nodes_of(state, 5), NODES);
	peer_close(&guest);
}

static void test_node_size(void **state)
{
	struct peer guest;
	char value[102] = "";

	peer_open(&guest, *state, 5);
	memset(value, 'x', 101);
	assert_string_equal(peer_write(&guest, 0, "x", value), "ENOSPC");
	assert_string_equal(peer_read(&guest, 0, "x"), "ENOENT");
	value[100] = '\0';
	assert_string_equal(peer_write(&guest, 0, "x", value), "OK");
	value[100] = 'x';
	assert_string_equal(peer_write(&guest, 0, "x", value), "ENOSPC");
	peer_close(&guest);
}

static void test_permission_entries(void **state)
{
	struct peer guest;

	peer_open(&guest, *state, 5);
	peer_write(&guest, 0, "x", "");
	ASK_OK(&guest, XS_SET_PERMS, 0, "x\0n5\0r1\0r2");
	ASK_ERROR(&guest, XS_SET_PERMS, 0, "x\0n5\0r1\0r2\0r3", "ENOSPC");
	peer_close(&guest);
}

static void test_watches_over_all_connections(void **state)
{
	struct peer guest;
	struct peer other;
	char token[8];

	peer_open(&guest, *state, 5);
	peer_open(&other, *state, 5);
	for (int i = 0; i < WATCHES; i++) {
		snprintf(token, sizeof(token), "%d", i);
		assert_string_equal(peer_watch(i % 2 ? &guest : &other, "x", token), "OK");
	}
	assert_string_equal(peer_watch(&guest, "x", "more"), "E2BIG");
	ASK_OK(&other, XS_UNWATCH, 0,
	       "x\0"
	       "0");
	assert_string_equal(peer_watch(&guest, "x", "more"), "OK");
	assert_string_equal(peer_watch(&guest, "x", "more2"), "E2BIG");
	peer_close(&other);
	assert_string_equal(peer_watch(&guest, "x", "more2"), "OK");
	peer_close(&guest);
}

static void test_transactions_over_all_connections(void **state)
{
	struct peer guest;
	struct peer other;
	uint32_t tx_id;

	peer_open(&guest, *state, 5);
	peer_open(&other, *state, 5);
	tx_id = peer_start(&guest);
	for (int i = 1; i < TRANSACTIONS; i++)
		peer_start(&other);
	ASK_ERROR(&guest, XS_TRANSACTION_START, 0, "", "ENOSPC");
	ASK_OK(&guest, XS_TRANSACTION_END, tx_id, "F");
	peer_start(&guest);
	peer_close(&other);
	peer_start(&guest);
	peer_close(&guest);
}

static void test_what_a_transaction_remembers(void **state)
{
	struct peer guest;
	uint32_t tx_id;
	int count = 0;

	peer_open(&guest, *state, 5);
	tx_id = peer_start(&guest);
	/* The same node again and again: no more nodes, but a longer log. */
	while (strcmp(peer_write(&guest, tx_id, "x", "value"), "OK") == 0)
		assert_true(count++ < 100);
	assert_string_equal(peer_write(&guest, tx_id, "x", "value"), "ENOSPC");
	assert_string_equal(peer_commit(&guest, tx_id), "OK");
	/* Looking at ever more places is remembered as well. */
	tx_id = peer_start(&guest);
	for (count = 0; count < 1000; count++) {
		char path[32];

		snprintf(path, sizeof(path), "none-%d", count);
		if (strcmp(peer_read(&guest, tx_id, path), "ENOENT") != 0)
			break;
	}
	assert_true(count < 200);
	peer_close(&guest);
}

static void test_connections(void **state)
{
	struct peer first;
	struct peer second;
	struct sr_store_usage usage;

	peer_open(&first, *state, 5);
	peer_open(&second, *state, 5);
	assert_int_equal(sr_store_add_client(*state, 0, 5), -EMFILE);
	peer_close(&first);
	peer_open(&first, *state, 5);
	sr_store_domain_usage(*state, 5, &usage);
	assert_int_equal(usage.connections, 2);
	peer_close(&first);
	peer_close(&second);
	sr_store_total_usage(*state, &usage);
	assert_int_equal(usage.connections, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, quota_setup, store_teardown)
		TEST(test_nodes),
		TEST(test_nodes_made_with_their_parents),
		TEST(test_dom0_has_no_quota),
		TEST(test_change_of_owner_moves_the_account),
		TEST(test_rm_by_another_gives_back),
		TEST(test_nodes_in_a_transaction),
		TEST(test_node_size),
		TEST(test_permission_entries),
		TEST(test_watches_over_all_connections),
		TEST(test_transactions_over_all_connections),
		TEST(test_what_a_transaction_remembers),
		TEST(test_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
