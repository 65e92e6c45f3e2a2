// SPDX-License-Identifier: MIT
/* Which watches fire for what, and with which path. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

static void test_fires_once_when_set(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	/* The node need not be there. The reply comes first. */
	assert_string_equal(peer_watch(&dom0, "/a", "token"), "OK");
	assert_int_equal(dom0.event_count, 0);
	expect_event(&dom0, "/a", "token");
	expect_no_event(&dom0);
	peer_close(&dom0);
}

static void test_fires_for_node_and_what_is_below(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_watch(&dom0, "/a/b", "t");
	drop_events(&dom0);
	peer_write(&dom0, 0, "/a/b", "x");
	expect_event(&dom0, "/a/b", "t");
	peer_write(&dom0, 0, "/a/b/c/d", "x");
	expect_event(&dom0, "/a/b/c/d", "t");
	ASK_OK(&dom0, XS_MKDIR, 0, "/a/b/e");
	expect_event(&dom0, "/a/b/e", "t");
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a/b/e\0r0");
	expect_event(&dom0, "/a/b/e", "t");
	ASK_OK(&dom0, XS_RM, 0, "/a/b/e");
	expect_event(&dom0, "/a/b/e", "t");
	/* Neither for what is beside or above it, nor for what changes nothing. */
	peer_write(&dom0, 0, "/a/bb", "x");
	peer_write(&dom0, 0, "/a", "x");
	ASK_OK(&dom0, XS_MKDIR, 0, "/a/b");
	ASK_OK(&dom0, XS_RM, 0, "/a/b/none");
	peer_read(&dom0, 0, "/a/b");
	expect_no_event(&dom0);
	peer_close(&dom0);
}

static void test_event_comes_before_the_reply(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_watch(&dom0, "/a", "t");
	drop_events(&dom0);
	peer_write(&dom0, 0, "/a", "x");
	assert_int_equal(dom0.event_count, 1);
	peer_close(&dom0);
}

static void test_fires_for_created_parents(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_watch(&dom0, "/a", "t");
	drop_events(&dom0);
	peer_write(&dom0, 0, "/a/b/c", "x");
	expect_event(&dom0, "/a/b/c", "t");
	expect_no_event(&dom0);
	peer_close(&dom0);
}

static void test_rm_above_fires_with_own_path(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_write(&dom0, 0, "/a/b/c", "x");
	peer_watch(&dom0, "/a/b/c", "c");
	peer_watch(&dom0, "/a", "a");
	peer_watch(&dom0, "/", "root");
	peer_watch(&dom0, "/a/b/none", "none");
	drop_events(&dom0);
	ASK_OK(&dom0, XS_RM, 0, "/a");
	expect_event(&dom0, "/a", "root");
	expect_event(&dom0, "/a", "a");
	expect_event(&dom0, "/a/b/c", "c");
	expect_no_event(&dom0);
	peer_close(&dom0);
}

static void test_root_watch_sees_all(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_watch(&dom0, "/", "t");
	drop_events(&dom0);
	peer_write(&dom0, 0, "/x", "");
	expect_event(&dom0, "/x", "t");
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/\0r0");
	expect_event(&dom0, "/", "t");
	peer_close(&dom0);
}

static void test_duplicates_and_unwatch(void **state)
{
	struct peer dom0;
	struct peer other;

	peer_open(&dom0, *state, 0);
	peer_open(&other, *state, 0);
	assert_string_equal(peer_watch(&dom0, "/a", "t"), "OK");
	assert_string_equal(peer_watch(&dom0, "/a", "t"), "EEXIST");
	assert_string_equal(peer_watch(&dom0, "/a", "u"), "OK");
	assert_string_equal(peer_watch(&other, "/a", "t"), "OK");
	drop_events(&dom0);
	drop_events(&other);
	ASK_OK(&dom0, XS_UNWATCH, 0, "/a\0t");
	ASK_ERROR(&dom0, XS_UNWATCH, 0, "/a\0t", "ENOENT");
	ASK_ERROR(&dom0, XS_UNWATCH, 0, "/b\0u", "ENOENT");
	peer_write(&dom0, 0, "/a", "");
	expect_event(&dom0, "/a", "u");
	expect_no_event(&dom0);
	expect_event(&other, "/a", "t");
	peer_close(&dom0);
	peer_close(&other);
}

static void test_malformed(void **state)
{
	struct peer dom0;
	char payload[XENSTORE_PAYLOAD_MAX] = "/a";

	peer_open(&dom0, *state, 0);
	ASK_ERROR(&dom0, XS_WATCH, 0, "/a", "EINVAL");
	ASK_ERROR(&dom0, XS_WATCH, 0, "/a/\0t", "EINVAL");
	ASK_ERROR(&dom0, XS_WATCH, 0, "\0t", "EINVAL");
	ASK_ERROR(&dom0, XS_WATCH, 0, "@a b\0t", "EINVAL");
	ASK_ERROR(&dom0, XS_UNWATCH, 0, "/a", "EINVAL");
	ASK_OK(&dom0, XS_WATCH, 0, "/a\0");
	/* Path and token of any event are to fit into one message. */
	memset(payload + 3, 't', 1023);
	assert_string_equal(peer_outcome(peer_ask(&dom0, XS_WATCH, 0, payload, 3 + 1024)),
			    "EINVAL");
	peer_close(&dom0);
}

static void test_longest_event(void **state)
{
	struct answer answer;
	struct peer dom0;
	char payload[XENSTORE_PAYLOAD_MAX];

	peer_open(&dom0, *state, 0);
	memset(payload, 'x', sizeof(payload));
	payload[0] = '/';
	payload[XENSTORE_ABS_PATH_MAX] = '\0';
	payload[sizeof(payload) - 1] = '\0';
	peer_send(&dom0, XS_WATCH, 0, payload, sizeof(payload));
	assert_true(peer_receive(&dom0, &answer));
	assert_string_equal(answer.payload, "OK");
	assert_true(peer_receive(&dom0, &answer));
	assert_int_equal(answer.header.type, XS_WATCH_EVENT);
	assert_int_equal(answer.header.len, sizeof(payload));
	assert_memory_equal(answer.payload, payload, sizeof(payload));
	peer_close(&dom0);
}

static void test_relative_watch_reports_relative(void **state)
{
	const struct sr_store_perm own = { .domid = 7, .access = 'n' };
	struct peer guest;

	sr_store_mkdir(*state, "/local/domain/7");
	sr_store_set_perms(*state, "/local/domain/7", &own, 1);
	peer_open(&guest, *state, 7);
	assert_string_equal(peer_watch(&guest, "device", "rel"), "OK");
	expect_event(&guest, "device", "rel");
	/* The same node named absolutely is another watch. */
	assert_string_equal(peer_watch(&guest, "/local/domain/7/device", "rel"), "OK");
	expect_event(&guest, "/local/domain/7/device", "rel");
	ASK_OK(&guest, XS_UNWATCH, 0, "/local/domain/7/device\0rel");
	sr_store_write(*state, "/local/domain/7/device/vbd/0/state", "1", 1);
	expect_event(&guest, "device/vbd/0/state", "rel");
	sr_store_rm(*state, "/local/domain/7");
	expect_event(&guest, "device", "rel");
	expect_no_event(&guest);
	peer_close(&guest);
}

static void test_only_readers_are_told(void **state)
{
	struct peer dom0;
	struct peer guest;

	peer_open(&dom0, *state, 0);
	peer_open(&guest, *state, 5);
	peer_write(&dom0, 0, "/a/open", "");
	peer_write(&dom0, 0, "/a/shut/x", "");
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a/open\0n0\0r5");
	peer_watch(&guest, "/a", "t");
	expect_event(&guest, "/a", "t");
	peer_write(&dom0, 0, "/a/open", "1");
	expect_event(&guest, "/a/open", "t");
	peer_write(&dom0, 0, "/a/shut", "1");
	peer_write(&dom0, 0, "/a/shut/x", "1");
	expect_no_event(&guest);
	/* He hears that a node he could read was closed to him, and then nothing. */
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a/open\0n0");
	expect_event(&guest, "/a/open", "t");
	peer_write(&dom0, 0, "/a/open", "2");
	expect_no_event(&guest);
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a/open\0r0");
	expect_event(&guest, "/a/open", "t");
	ASK_OK(&dom0, XS_RM, 0, "/a/open");
	expect_event(&guest, "/a/open", "t");
	ASK_OK(&dom0, XS_RM, 0, "/a/shut");
	expect_no_event(&guest);
	peer_close(&dom0);
	peer_close(&guest);
}

static void test_reader_of_the_directory_is_told(void **state)
{
	struct peer dom0;
	struct peer guest;

	peer_open(&dom0, *state, 0);
	peer_open(&guest, *state, 5);
	ASK_OK(&dom0, XS_MKDIR, 0, "/a");
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a\0r0");
	peer_watch(&guest, "/a", "t");
	drop_events(&guest);
	peer_write(&dom0, 0, "/a/x", "");
	expect_event(&guest, "/a/x", "t");
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a/x\0n0");
	expect_event(&guest, "/a/x", "t");
	ASK_OK(&dom0, XS_RM, 0, "/a/x");
	expect_event(&guest, "/a/x", "t");
	peer_close(&dom0);
	peer_close(&guest);
}

static void test_removed_subtree_is_checked_node_by_node(void **state)
{
	struct peer dom0;
	struct peer guest;

	peer_open(&dom0, *state, 0);
	peer_open(&guest, *state, 5);
	peer_write(&dom0, 0, "/a/mine/x", "");
	peer_write(&dom0, 0, "/a/other/x", "");
	ASK_OK(&dom0, XS_SET_PERMS, 0, "/a/mine/x\0n0\0r5");
	peer_watch(&guest, "/a/mine/x", "mine");
	peer_watch(&guest, "/a/other/x", "other");
	drop_events(&guest);
	ASK_OK(&dom0, XS_RM, 0, "/a");
	expect_event(&guest, "/a/mine/x", "mine");
	expect_no_event(&guest);
	peer_close(&dom0);
	peer_close(&guest);
}

static void test_reset_watches(void **state)
{
	struct sr_store_usage usage;
	struct peer dom0;
	struct peer other;
	uint32_t tx_id;

	peer_open(&dom0, *state, 0);
	peer_open(&other, *state, 0);
	peer_watch(&dom0, "/a", "t");
	peer_watch(&other, "/a", "t");
	tx_id = peer_start(&dom0);
	drop_events(&dom0);
	drop_events(&other);
	ASK_OK(&dom0, XS_RESET_WATCHES, 0, "");
	peer_write(&dom0, 0, "/a", "");
	expect_no_event(&dom0);
	expect_event(&other, "/a", "t");
	assert_string_equal(peer_commit(&dom0, tx_id), "ENOENT");
	sr_store_total_usage(*state, &usage);
	assert_int_equal(usage.transactions, 0);
	assert_int_equal(usage.watches, 1);
	peer_close(&dom0);
	peer_close(&other);
}

static void test_special_watches(void **state)
{
	struct peer dom0;
	struct peer guest;

	peer_open(&dom0, *state, 0);
	peer_open(&guest, *state, 5);
	peer_watch(&dom0, "@introduceDomain", "in");
	peer_watch(&dom0, "@releaseDomain", "out");
	peer_watch(&dom0, "/", "root");
	peer_watch(&guest, "@introduceDomain", "in");
	assert_int_equal(drop_events(&dom0), 3);
	drop_events(&guest);
	assert_int_equal(sr_store_introduce(*state, 8), 0);
	expect_event(&dom0, "@introduceDomain", "in");
	expect_no_event(&guest);
	ASK_OK(&dom0, XS_SET_PERMS, 0, "@introduceDomain\0n0\0r5");
	assert_int_equal(sr_store_release(*state, 8), 0);
	expect_event(&dom0, "@releaseDomain", "out");
	assert_int_equal(sr_store_introduce(*state, 9), 0);
	expect_event(&guest, "@introduceDomain", "in");
	expect_event(&dom0, "@introduceDomain", "in");
	/* Nobody can fire them by a name. */
	ASK_ERROR(&dom0, XS_WRITE, 0, "@releaseDomain", "EINVAL");
	peer_write(&dom0, 0, "/@releaseDomain", "");
	expect_event(&dom0, "/@releaseDomain", "root");
	expect_no_event(&dom0);
	peer_close(&dom0);
	peer_close(&guest);
}

static void test_watches_go_with_their_connection(void **state)
{
	struct sr_store_usage usage;
	struct peer dom0;
	struct peer guest;

	peer_open(&dom0, *state, 0);
	peer_open(&guest, *state, 5);
	peer_watch(&guest, "/a", "t");
	peer_close(&guest);
	sr_store_total_usage(*state, &usage);
	assert_int_equal(usage.watches, 0);
	peer_write(&dom0, 0, "/a", "");
	peer_close(&dom0);
}

static void test_many_watches_on_many_nodes(void **state)
{
	struct peer dom0;
	char path[64];

	peer_open(&dom0, *state, 0);
	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "/backend/vbd/%d/state", i);
		assert_string_equal(peer_watch(&dom0, path, "t"), "OK");
	}
	assert_int_equal(drop_events(&dom0), 200);
	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "/backend/vbd/%d/state", i);
		assert_string_equal(peer_write(&dom0, 0, path, "1"), "OK");
		expect_event(&dom0, path, "t");
	}
	ASK_OK(&dom0, XS_RM, 0, "/backend");
	assert_int_equal(drop_events(&dom0), 200);
	peer_close(&dom0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
		TEST(test_fires_once_when_set),
		TEST(test_fires_for_node_and_what_is_below),
		TEST(test_event_comes_before_the_reply),
		TEST(test_fires_for_created_parents),
		TEST(test_rm_above_fires_with_own_path),
		TEST(test_root_watch_sees_all),
		TEST(test_duplicates_and_unwatch),
		TEST(test_malformed),
		TEST(test_longest_event),
		TEST(test_relative_watch_reports_relative),
		TEST(test_only_readers_are_told),
		TEST(test_reader_of_the_directory_is_told),
		TEST(test_removed_subtree_is_checked_node_by_node),
		TEST(test_reset_watches),
		TEST(test_special_watches),
		TEST(test_watches_go_with_their_connection),
		TEST(test_many_watches_on_many_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
