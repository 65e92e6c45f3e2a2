// SPDX-License-Identifier: MIT
/* What a transaction sees, what it conflicts with, and that it happens at once or not at all. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

static void test_sees_a_snapshot_and_itself(void **state)
{
	struct peer a;
	struct peer b;
	uint32_t tx_id;

	peer_open(&a, *state, 0);
	peer_open(&b, *state, 0);
	peer_write(&b, 0, "/x", "old");
	tx_id = peer_start(&a);
	peer_write(&b, 0, "/x", "new");
	peer_write(&b, 0, "/y", "new");
	/* Also what it looks at for the first time is as it was. */
	assert_string_equal(peer_read(&a, tx_id, "/x"), "old");
	assert_string_equal(peer_read(&a, tx_id, "/y"), "ENOENT");
	peer_write(&a, tx_id, "/z", "mine");
	assert_string_equal(peer_read(&a, tx_id, "/z"), "mine");
	assert_string_equal(peer_read(&a, 0, "/z"), "ENOENT");
	assert_string_equal(peer_read(&b, 0, "/z"), "ENOENT");
	ASK_STRINGS(&a, XS_DIRECTORY, tx_id, "/", "x\0z");
	peer_close(&a);
	peer_close(&b);
}

static void test_commit_and_abort(void **state)
{
	struct peer a;
	uint32_t tx_id;

	peer_open(&a, *state, 0);
	peer_write(&a, 0, "/gone", "");
	tx_id = peer_start(&a);
	peer_write(&a, tx_id, "/x/y", "1");
	ASK_OK(&a, XS_RM, tx_id, "/gone");
	ASK_OK(&a, XS_SET_PERMS, tx_id, "/x\0r3");
	ASK_OK(&a, XS_MKDIR, tx_id, "/m");
	assert_string_equal(peer_commit(&a, tx_id), "OK");
	assert_string_equal(peer_read(&a, 0, "/x/y"), "1");
	assert_string_equal(peer_read(&a, 0, "/gone"), "ENOENT");
	ASK_STRINGS(&a, XS_GET_PERMS, 0, "/x", "r3");
	assert_string_equal(peer_read(&a, 0, "/m"), "");
	assert_string_equal(peer_commit(&a, tx_id), "ENOENT");

	tx_id = peer_start(&a);
	peer_write(&a, tx_id, "/x/y", "2");
	ASK_OK(&a, XS_TRANSACTION_END, tx_id, "F");
	assert_string_equal(peer_read(&a, 0, "/x/y"), "1");
	peer_close(&a);
}

/* 'mine' is done in a transaction after which 'theirs' is done outside. */
static const char *race(struct sr_store *store, void (*mine)(struct peer *, uint32_t),
			void (*theirs)(struct peer *, uint32_t))
{
	static char outcome[32];
	struct peer a;
	struct peer b;
	uint32_t tx_id;

	peer_open(&a, store, 0);
	peer_open(&b, store, 0);
	peer_write(&b, 0, "/d/x", "0");
	peer_write(&b, 0, "/d/y", "0");
	peer_write(&b, 0, "/e", "0");
	tx_id = peer_start(&a);
	mine(&a, tx_id);
	peer_write(&a, tx_id, "/mine", "done");
	theirs(&b, 0);
	snprintf(outcome, sizeof(outcome), "%s", peer_commit(&a, tx_id));
	assert_string_equal(peer_read(&a, 0, "/mine"),
			    strcmp(outcome, "OK") == 0 ? "done" : "ENOENT");
	ASK_OK(&b, XS_RM, 0, "/d");
	ASK_OK(&b, XS_RM, 0, "/mine");
	peer_close(&a);
	peer_close(&b);
	return outcome;
}

static void read_x(struct peer *peer, uint32_t tx_id)
{
	peer_read(peer, tx_id, "/d/x");
}

static void write_x(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_write(peer, tx_id, "/d/x", "1"), "OK");
}

static void write_y(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_write(peer, tx_id, "/d/y", "1"), "OK");
}

static void list_d(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_path(peer, XS_DIRECTORY, tx_id, "/d"), "OK");
}

static void add_n(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_write(peer, tx_id, "/d/n", "1"), "OK");
}

static void add_m(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_write(peer, tx_id, "/d/m", "1"), "OK");
}

static void add_n_below(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_write(peer, tx_id, "/d/n/below", "1"), "OK");
}

static void look_for_n(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_read(peer, tx_id, "/d/n"), "ENOENT");
}

static void remove_d(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_path(peer, XS_RM, tx_id, "/d"), "OK");
}

static void remove_x(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_path(peer, XS_RM, tx_id, "/d/x"), "OK");
}

static void replace_x(struct peer *peer, uint32_t tx_id)
{
	remove_x(peer, tx_id);
	assert_string_equal(peer_write(peer, tx_id, "/d/x", "0"), "OK");
}

static void close_x(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_set_perms(peer, tx_id, "/d/x", "r9"), "OK");
}

static void close_d(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_set_perms(peer, tx_id, "/d", "r9"), "OK");
}

static void perms_of_x(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_path(peer, XS_GET_PERMS, tx_id, "/d/x"), "OK");
}

static void read_e(struct peer *peer, uint32_t tx_id)
{
	assert_string_equal(peer_read(peer, tx_id, "/e"), "0");
}

static void test_conflicts(void **state)
{
	struct sr_store *store = *state;

	assert_string_equal(race(store, read_x, write_x), "EAGAIN");
	assert_string_equal(race(store, write_x, write_x), "EAGAIN");
	assert_string_equal(race(store, read_x, close_x), "EAGAIN");
	assert_string_equal(race(store, perms_of_x, close_x), "EAGAIN");
	assert_string_equal(race(store, close_x, write_x), "EAGAIN");
	assert_string_equal(race(store, read_x, remove_x), "EAGAIN");
	assert_string_equal(race(store, read_x, remove_d), "EAGAIN");
	assert_string_equal(race(store, read_x, replace_x), "EAGAIN");
	assert_string_equal(race(store, list_d, add_n), "EAGAIN");
	assert_string_equal(race(store, list_d, remove_x), "EAGAIN");
	assert_string_equal(race(store, look_for_n, add_n), "EAGAIN");
	assert_string_equal(race(store, look_for_n, add_n_below), "EAGAIN");
	assert_string_equal(race(store, add_n, add_n), "EAGAIN");
	assert_string_equal(race(store, add_n_below, add_n), "EAGAIN");
	assert_string_equal(race(store, add_n, remove_d), "EAGAIN");
	/* What is created takes its permissions from there. */
	assert_string_equal(race(store, add_n, close_d), "EAGAIN");
	assert_string_equal(race(store, remove_x, write_x), "EAGAIN");
	assert_string_equal(race(store, remove_d, remove_d), "EAGAIN");
}

static void test_independent_changes_do_not_conflict(void **state)
{
	struct sr_store *store = *state;

	assert_string_equal(race(store, read_x, write_y), "OK");
	assert_string_equal(race(store, write_x, write_y), "OK");
	assert_string_equal(race(store, write_x, read_x), "OK");
	assert_string_equal(race(store, add_n, add_m), "OK");
	assert_string_equal(race(store, add_n, remove_x), "OK");
	assert_string_equal(race(store, add_n, write_x), "OK");
	assert_string_equal(race(store, list_d, write_x), "OK");
	assert_string_equal(race(store, remove_d, write_x), "OK");
	assert_string_equal(race(store, read_e, remove_d), "OK");
}

static void test_reading_alone_never_conflicts(void **state)
{
	struct peer a;
	uint32_t tx_id;

	peer_open(&a, *state, 0);
	peer_write(&a, 0, "/x", "1");
	tx_id = peer_start(&a);
	peer_read(&a, tx_id, "/x");
	peer_write(&a, 0, "/x", "2");
	assert_string_equal(peer_read(&a, tx_id, "/x"), "1");
	assert_string_equal(peer_commit(&a, tx_id), "OK");
	peer_close(&a);
}

static void test_removal_takes_what_came_later(void **state)
{
	struct peer a;
	uint32_t tx_id;

	peer_open(&a, *state, 0);
	peer_write(&a, 0, "/d/x", "");
	tx_id = peer_start(&a);
	ASK_OK(&a, XS_RM, tx_id, "/d");
	peer_write(&a, 0, "/d/y", "");
	assert_string_equal(peer_commit(&a, tx_id), "OK");
	assert_string_equal(peer_read(&a, 0, "/d/y"), "ENOENT");
	peer_close(&a);
}

static void test_watches_fire_on_commit(void **state)
{
	struct peer a;
	struct peer b;
	uint32_t tx_id;

	peer_open(&a, *state, 0);
	peer_open(&b, *state, 0);
	peer_watch(&b, "/x", "t");
	drop_events(&b);
	tx_id = peer_start(&a);
	peer_write(&a, tx_id, "/x", "1");
	peer_write(&a, tx_id, "/x/y", "1");
	peer_write(&a, tx_id, "/other", "1");
	ASK_OK(&a, XS_RM, tx_id, "/x/y");
	expect_no_event(&b);
	assert_string_equal(peer_commit(&a, tx_id), "OK");
	expect_event(&b, "/x", "t");
	expect_event(&b, "/x/y", "t");
	expect_no_event(&b);

	tx_id = peer_start(&a);
	peer_write(&a, tx_id, "/x", "2");
	ASK_OK(&a, XS_TRANSACTION_END, tx_id, "F");
	tx_id = peer_start(&a);
	peer_write(&a, tx_id, "/x", "2");
	peer_write(&b, 0, "/x", "3");
	drop_events(&b);
	assert_string_equal(peer_commit(&a, tx_id), "EAGAIN");
	expect_no_event(&b);
	peer_close(&a);
	peer_close(&b);
}

static void test_failed_requests_change_nothing(void **state)
{
	const struct sr_store_perm own = { .domid = 5, .access = 'n' };
	struct peer guest;
	uint32_t tx_id;

	sr_store_mkdir(*state, "/local/domain/5");
	sr_store_set_perms(*state, "/local/domain/5", &own, 1);
	peer_open(&guest, *state, 5);
	tx_id = peer_start(&guest);
	assert_string_equal(peer_write(&guest, tx_id, "x", "1"), "OK");
	assert_string_equal(peer_write(&guest, tx_id, "/forbidden", "1"), "EACCES");
	ASK_ERROR(&guest, XS_SET_PERMS, tx_id, "x\0n0", "EPERM");
	assert_string_equal(peer_commit(&guest, tx_id), "OK");
	assert_string_equal(peer_read(&guest, 0, "x"), "1");
	peer_close(&guest);
}

static void test_ids(void **state)
{
	struct peer a;
	struct peer b;
	uint32_t tx_id;

	peer_open(&a, *state, 0);
	peer_open(&b, *state, 0);
	tx_id = peer_start(&a);
	assert_int_not_equal(peer_start(&a), tx_id);
	/* Another connection cannot use it, nor one that has ended. */
	assert_string_equal(peer_read(&b, tx_id, "/"), "ENOENT");
	assert_string_equal(peer_read(&a, 12345, "/"), "ENOENT");
	ASK_ERROR(&a, XS_TRANSACTION_START, tx_id, "", "EBUSY");
	ASK_ERROR(&a, XS_TRANSACTION_END, 0, "T", "ENOENT");
	ASK_ERROR(&a, XS_TRANSACTION_END, tx_id, "X", "EINVAL");
	ASK_ERROR(&a, XS_TRANSACTION_END, tx_id, "TT", "EINVAL");
	ASK_OK(&a, XS_TRANSACTION_END, tx_id, "T");
	assert_string_equal(peer_read(&a, tx_id, "/"), "ENOENT");
	/* Watches take no notice of a transaction. */
	assert_string_equal(peer_outcome(ASK(&a, XS_WATCH, 999, "/x\0t")), "OK");
	assert_string_equal(peer_outcome(ASK(&a, XS_UNWATCH, 999, "/x\0t")), "OK");
	peer_close(&a);
	peer_close(&b);
}

static void test_go_with_their_connection(void **state)
{
	struct sr_store_usage usage;
	struct peer a;
	uint32_t tx_id;

	peer_open(&a, *state, 5);
	peer_start(&a);
	peer_start(&a);
	peer_close(&a);
	peer_open(&a, *state, 0);
	tx_id = peer_start(&a);
	peer_write(&a, tx_id, "/x/y/z", "1");
	peer_close(&a);
	sr_store_total_usage(*state, &usage);
	assert_int_equal(usage.transactions, 0);
	assert_int_equal(usage.nodes, 1);
}

static void test_an_idle_one_keeps_its_snapshot(void **state)
{
	struct peer a;
	uint32_t tx_id;
	char path[32];

	peer_open(&a, *state, 0);
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "/n/%d", i);
		sr_store_write(*state, path, "old", 3);
	}
	tx_id = peer_start(&a);
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "/n/%d", i);
		if (i % 2)
			sr_store_rm(*state, path);
		else
			sr_store_write(*state, path, "new", 3);
	}
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "/n/%d", i);
		assert_string_equal(peer_read(&a, tx_id, path), "old");
		assert_string_equal(peer_read(&a, 0, path), i % 2 ? "ENOENT" : "new");
	}
	peer_write(&a, tx_id, "/n/0", "mine");
	assert_string_equal(peer_commit(&a, tx_id), "EAGAIN");
	peer_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
		TEST(test_sees_a_snapshot_and_itself),
		TEST(test_commit_and_abort),
		TEST(test_conflicts),
		TEST(test_independent_changes_do_not_conflict),
		TEST(test_reading_alone_never_conflicts),
		TEST(test_removal_takes_what_came_later),
		TEST(test_watches_fire_on_commit),
		TEST(test_failed_requests_change_nothing),
		TEST(test_ids),
		TEST(test_go_with_their_connection),
		TEST(test_an_idle_one_keeps_its_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
