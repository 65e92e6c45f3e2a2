// SPDX-License-Identifier: MIT
/* Who may do what with a node, and what he is told where he may not. */
#include "harness.h"

#include <stdio.h>
#include <string.h>

struct peers {
	struct peer dom0;
	struct peer five;
	struct peer six;
};

static void open_peers(struct peers *peers, void **state)
{
	peer_open(&peers->dom0, *state, 0);
	peer_open(&peers->five, *state, 5);
	peer_open(&peers->six, *state, 6);
}

static void close_peers(struct peers *peers)
{
	peer_close(&peers->dom0);
	peer_close(&peers->five);
	peer_close(&peers->six);
}

static void test_new_store_is_closed(void **state)
{
	struct peers p;

	open_peers(&p, state);
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "/", "n0");
	ASK_ERROR(&p.five, XS_DIRECTORY, 0, "/", "EACCES");
	ASK_ERROR(&p.five, XS_MKDIR, 0, "/x", "EACCES");
	ASK_ERROR(&p.five, XS_GET_PERMS, 0, "/", "EACCES");
	close_peers(&p);
}

static void test_default_entry_goes_for_others(void **state)
{
	struct peers p;

	open_peers(&p, state);
	peer_write(&p.dom0, 0, "/a", "v");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0r0");
	assert_string_equal(peer_read(&p.five, 0, "/a"), "v");
	assert_string_equal(peer_write(&p.five, 0, "/a", "w"), "EACCES");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0w0");
	assert_string_equal(peer_write(&p.five, 0, "/a", "w"), "OK");
	assert_string_equal(peer_read(&p.five, 0, "/a"), "EACCES");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0b0");
	assert_string_equal(peer_write(&p.five, 0, "/a", "x"), "OK");
	assert_string_equal(peer_read(&p.five, 0, "/a"), "x");
	close_peers(&p);
}

static void test_entries_for_one_domain(void **state)
{
	struct peers p;

	open_peers(&p, state);
	peer_write(&p.dom0, 0, "/a", "v");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0r0\0b5\0n6");
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "/a", "r0\0b5\0n6");
	assert_string_equal(peer_write(&p.five, 0, "/a", "w"), "OK");
	assert_string_equal(peer_read(&p.six, 0, "/a"), "EACCES");
	/* An entry that comes first hides one that follows it. */
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0n0\0n6\0b6");
	assert_string_equal(peer_read(&p.six, 0, "/a"), "EACCES");
	close_peers(&p);
}

static void test_owner_may_do_all(void **state)
{
	struct peers p;

	open_peers(&p, state);
	peer_write(&p.dom0, 0, "/a", "v");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0n5");
	assert_string_equal(peer_write(&p.five, 0, "/a", "w"), "OK");
	assert_string_equal(peer_read(&p.five, 0, "/a"), "w");
	ASK_OK(&p.five, XS_SET_PERMS, 0, "/a\0r5\0b6");
	assert_string_equal(peer_write(&p.six, 0, "/a", "x"), "OK");
	/* Writing is not owning. */
	ASK_ERROR(&p.six, XS_SET_PERMS, 0, "/a\0b6", "EACCES");
	close_peers(&p);
}

static void test_only_dom0_changes_the_owner(void **state)
{
	struct peers p;

	open_peers(&p, state);
	peer_write(&p.dom0, 0, "/a", "v");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0n5");
	ASK_ERROR(&p.five, XS_SET_PERMS, 0, "/a\0n6", "EPERM");
	ASK_ERROR(&p.five, XS_SET_PERMS, 0, "/a\0n0", "EPERM");
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "/a", "n5");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0n6");
	assert_string_equal(peer_read(&p.six, 0, "/a"), "v");
	close_peers(&p);
}

static void test_children_inherit(void **state)
{
	struct peers p;

	open_peers(&p, state);
	peer_write(&p.dom0, 0, "/a", "");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0n5\0r6");
	/* Made by domain 0: as the parent is. Made by another: its own. */
	peer_write(&p.dom0, 0, "/a/by0/x", "");
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "/a/by0", "n5\0r6");
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "/a/by0/x", "n5\0r6");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0b0\0r6");
	peer_write(&p.five, 0, "/a/by5/x", "");
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "/a/by5", "b5\0r6");
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "/a/by5/x", "b5\0r6");
	close_peers(&p);
}

static void test_missing_nodes_do_not_show(void **state)
{
	struct peers p;

	open_peers(&p, state);
	peer_write(&p.dom0, 0, "/open/a", "");
	peer_write(&p.dom0, 0, "/shut/a", "");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/open\0r0");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/open/a\0n0");
	/* Where he may read the directory he is told that there is nothing; elsewhere not. */
	assert_string_equal(peer_read(&p.five, 0, "/open/none"), "ENOENT");
	assert_string_equal(peer_read(&p.five, 0, "/open/none/deeper"), "ENOENT");
	assert_string_equal(peer_read(&p.five, 0, "/open/a"), "EACCES");
	assert_string_equal(peer_read(&p.five, 0, "/shut/none"), "EACCES");
	assert_string_equal(peer_read(&p.five, 0, "/shut/a"), "EACCES");
	assert_string_equal(peer_write(&p.five, 0, "/open/none", "x"), "EACCES");
	ASK_ERROR(&p.five, XS_RM, 0, "/open/none", "EACCES");
	close_peers(&p);
}

static void test_rm_takes_write_permission(void **state)
{
	struct peers p;

	open_peers(&p, state);
	peer_write(&p.dom0, 0, "/a/b", "");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0r0");
	ASK_ERROR(&p.five, XS_RM, 0, "/a", "EACCES");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/a\0b0");
	ASK_OK(&p.five, XS_RM, 0, "/a");
	ASK_ERROR(&p.dom0, XS_READ, 0, "/a", "ENOENT");
	close_peers(&p);
}

static void test_malformed_permissions(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_write(&dom0, 0, "/a", "");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a\0", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a\0r", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a\0x0", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a\0r0x", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a\0r-1", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a\0r65536", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a\0r99999999999999999999", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/a\0r0\0", "EINVAL");
	ASK_ERROR(&dom0, XS_SET_PERMS, 0, "/none\0r0", "ENOENT");
	assert_string_equal(
	    peer_outcome(peer_ask(&dom0, XS_SET_PERMS, 0, "/a\0r0", sizeof("/a\0r0") - 1)),
	    "EINVAL");
	ASK_STRINGS(&dom0, XS_GET_PERMS, 0, "/a", "n0");
	peer_close(&dom0);
}

static void test_longest_list(void **state)
{
	char payload[XENSTORE_PAYLOAD_MAX] = "/a";
	struct peer dom0;
	size_t len = 3;

	peer_open(&dom0, *state, 0);
	peer_write(&dom0, 0, "/a", "");
	while (len + 4 <= sizeof(payload)) {
		memcpy(payload + len, "r12", 4);
		len += 4;
	}
	assert_string_equal(peer_outcome(peer_ask(&dom0, XS_SET_PERMS, 0, payload, len)), "OK");
	assert_int_equal(ASK(&dom0, XS_GET_PERMS, 0, "/a")->header.len, len - 3);
	/* A child whose owner has more digits: its list does not fit into a reply. */
	for (len = 3; len + 4 < sizeof(payload); len += 3)
		memcpy(payload + len, "b1", 3);
	memcpy(payload + len, "b12", 4);
	len += 4;
	assert_string_equal(peer_outcome(peer_ask(&dom0, XS_SET_PERMS, 0, payload, len)), "OK");
	peer_close(&dom0);
	peer_open(&dom0, *state, 10000);
	assert_string_equal(peer_write(&dom0, 0, "/a/b", ""), "OK");
	ASK_ERROR(&dom0, XS_GET_PERMS, 0, "/a/b", "E2BIG");
	peer_close(&dom0);
}

static void test_target_acts_as_its_domain(void **state)
{
	struct peers p;

	open_peers(&p, state);
	sr_store_introduce(*state, 5);
	sr_store_introduce(*state, 6);
	peer_write(&p.dom0, 0, "/owned", "v");
	peer_write(&p.dom0, 0, "/granted", "v");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/owned\0n6");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "/granted\0n0\0r6");
	assert_string_equal(peer_read(&p.five, 0, "/owned"), "EACCES");
	ASK_OK(&p.dom0, XS_SET_TARGET, 0,
	       "5\0"
	       "6");
	assert_string_equal(peer_write(&p.five, 0, "/owned", "w"), "OK");
	assert_string_equal(peer_read(&p.five, 0, "/granted"), "v");
	assert_string_equal(peer_write(&p.five, 0, "/granted", "w"), "EACCES");
	/* What it creates is its own. */
	assert_string_equal(peer_write(&p.five, 0, "/owned/x", ""), "OK");
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "/owned/x", "n5");
	assert_int_equal(sr_store_release(*state, 6), 0);
	assert_string_equal(peer_read(&p.five, 0, "/granted"), "EACCES");
	close_peers(&p);
}

static void test_special_watches_have_permissions(void **state)
{
	struct peers p;

	open_peers(&p, state);
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "@releaseDomain", "n0");
	ASK_ERROR(&p.five, XS_GET_PERMS, 0, "@releaseDomain", "EACCES");
	ASK_ERROR(&p.five, XS_SET_PERMS, 0, "@releaseDomain\0b5", "EACCES");
	ASK_ERROR(&p.dom0, XS_SET_PERMS, 0, "@releaseDomain\0x5", "EINVAL");
	ASK_ERROR(&p.dom0, XS_GET_PERMS, 0, "@other", "EINVAL");
	ASK_OK(&p.dom0, XS_SET_PERMS, 0, "@releaseDomain\0n0\0r5");
	ASK_STRINGS(&p.five, XS_GET_PERMS, 0, "@releaseDomain", "n0\0r5");
	/* The next domain 5 starts with nothing. */
	assert_int_equal(sr_store_release(*state, 5), 0);
	ASK_STRINGS(&p.dom0, XS_GET_PERMS, 0, "@releaseDomain", "n0");
	close_peers(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
		TEST(test_new_store_is_closed),         TEST(test_default_entry_goes_for_others),
		TEST(test_entries_for_one_domain),      TEST(test_owner_may_do_all),
		TEST(test_only_dom0_changes_the_owner), TEST(test_children_inherit),
		TEST(test_missing_nodes_do_not_show),   TEST(test_rm_takes_write_permission),
		TEST(test_malformed_permissions),       TEST(test_longest_list),
		TEST(test_target_acts_as_its_domain),   TEST(test_special_watches_have_permissions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
