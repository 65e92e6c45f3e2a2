// SPDX-License-Identifier: MIT
/* Reading, writing, listing and removing nodes over the wire, and the rules for paths. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_write_then_read(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	assert_string_equal(peer_write(&dom0, 0, "/a/b", "value"), "OK");
	assert_string_equal(peer_read(&dom0, 0, "/a/b"), "value");
	assert_string_equal(peer_write(&dom0, 0, "/a/b", ""), "OK");
	assert_int_equal(ASK(&dom0, XS_READ, 0, "/a/b")->header.len, 0);
	assert_string_equal(peer_read(&dom0, 0, "/a/none"), "ENOENT");
	peer_close(&dom0);
}

static void test_write_creates_empty_parents(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	assert_string_equal(peer_write(&dom0, 0, "/a/b/c", "x"), "OK");
	assert_int_equal(ASK(&dom0, XS_READ, 0, "/a")->header.len, 0);
	assert_int_equal(ASK(&dom0, XS_READ, 0, "/a/b")->header.len, 0);
	ASK_STRINGS(&dom0, XS_DIRECTORY, 0, "/a", "b");
	peer_close(&dom0);
}

static void test_value_may_hold_any_bytes(void **state)
{
	struct peer dom0;
	char payload[3 + 256] = "/a";
	const struct answer *answer;

	for (int i = 0; i < 256; i++)
		payload[3 + i] = (char)i;
	peer_open(&dom0, *state, 0);
	peer_ask(&dom0, XS_WRITE, 0, payload, sizeof(payload));
	answer = ASK(&dom0, XS_READ, 0, "/a");
	assert_int_equal(answer->header.len, 256);
	assert_memory_equal(answer->payload, payload + 3, 256);
	peer_close(&dom0);
}

static void test_longest_value(void **state)
{
	struct peer dom0;
	char payload[XENSTORE_PAYLOAD_MAX] = "/a";

	peer_open(&dom0, *state, 0);
	memset(payload + 3, 'x', sizeof(payload) - 3);
	peer_ask(&dom0, XS_WRITE, 0, payload, sizeof(payload));
	assert_int_equal(ASK(&dom0, XS_READ, 0, "/a")->header.len, sizeof(payload) - 3);
	peer_close(&dom0);
}

static void test_mkdir_keeps_what_is_there(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_write(&dom0, 0, "/a", "value");
	ASK_OK(&dom0, XS_MKDIR, 0, "/a");
	assert_string_equal(peer_read(&dom0, 0, "/a"), "value");
	ASK_OK(&dom0, XS_MKDIR, 0, "/b/c");
	assert_int_equal(ASK(&dom0, XS_READ, 0, "/b/c")->header.len, 0);
	ASK_OK(&dom0, XS_MKDIR, 0, "/");
	peer_close(&dom0);
}

static void test_directory_is_sorted_and_complete(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_write(&dom0, 0, "/d/b", "");
	peer_write(&dom0, 0, "/d/a/x", "");
	peer_write(&dom0, 0, "/d/ab", "");
	ASK_STRINGS(&dom0, XS_DIRECTORY, 0, "/d", "a\0ab\0b");
	ASK_STRINGS(&dom0, XS_DIRECTORY, 0, "/", "d");
	assert_int_equal(ASK(&dom0, XS_DIRECTORY, 0, "/d/b")->header.len, 0);
	ASK_ERROR(&dom0, XS_DIRECTORY, 0, "/e", "ENOENT");
	peer_close(&dom0);
}

static void test_rm(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_write(&dom0, 0, "/a/b/c", "x");
	ASK_OK(&dom0, XS_RM, 0, "/a/b");
	assert_string_equal(peer_read(&dom0, 0, "/a/b/c"), "ENOENT");
	assert_string_equal(peer_outcome(ASK(&dom0, XS_READ, 0, "/a")), "OK");
	/* Gone already is fine, gone with its parent is not. */
	ASK_OK(&dom0, XS_RM, 0, "/a/b");
	ASK_ERROR(&dom0, XS_RM, 0, "/a/b/c", "ENOENT");
	ASK_ERROR(&dom0, XS_RM, 0, "/", "EINVAL");
	peer_close(&dom0);
}

static void test_illegal_paths(void **state)
{
	static const char *const illegal[] = { "",       "//",    "/a/", "/a//b", "/a b", "/a.b",
					       "/a\x7f", "/\xc3", "/a*", "a/",    "@x",   "/a:b" };
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	for (size_t i = 0; i < sizeof(illegal) / sizeof(illegal[0]); i++) {
		assert_string_equal(peer_path(&dom0, XS_READ, 0, illegal[i]), "EINVAL");
		assert_string_equal(peer_path(&dom0, XS_MKDIR, 0, illegal[i]), "EINVAL");
		assert_string_equal(peer_path(&dom0, XS_RM, 0, illegal[i]), "EINVAL");
		assert_string_equal(peer_path(&dom0, XS_DIRECTORY, 0, illegal[i]), "EINVAL");
		assert_string_equal(peer_path(&dom0, XS_GET_PERMS, 0, illegal[i]), "EINVAL");
		assert_string_equal(peer_write(&dom0, 0, illegal[i], "x"), "EINVAL");
	}
	assert_string_equal(peer_path(&dom0, XS_MKDIR, 0, "/aZ09-_@/@"), "OK");
	peer_close(&dom0);
}

static void test_path_lengths(void **state)
{
	struct peer dom0;
	char path[XENSTORE_ABS_PATH_MAX + 2];

	peer_open(&dom0, *state, 0);
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[XENSTORE_ABS_PATH_MAX] = '\0';
	assert_string_equal(peer_path(&dom0, XS_MKDIR, 0, path), "OK");
	path[XENSTORE_ABS_PATH_MAX] = 'x';
	path[XENSTORE_ABS_PATH_MAX + 1] = '\0';
	assert_string_equal(peer_path(&dom0, XS_MKDIR, 0, path), "EINVAL");
	path[0] = 'x';
	path[XENSTORE_REL_PATH_MAX] = '\0';
	assert_string_equal(peer_path(&dom0, XS_MKDIR, 0, path), "OK");
	path[XENSTORE_REL_PATH_MAX] = 'x';
	path[XENSTORE_REL_PATH_MAX + 1] = '\0';
	assert_string_equal(peer_path(&dom0, XS_MKDIR, 0, path), "EINVAL");
	peer_close(&dom0);
}

static void test_deepest_path(void **state)
{
	struct peer dom0;
	char path[XENSTORE_ABS_PATH_MAX + 1];

	peer_open(&dom0, *state, 0);
	for (size_t i = 0; i < XENSTORE_ABS_PATH_MAX; i += 2)
		memcpy(path + i, "/x", 2);
	path[XENSTORE_ABS_PATH_MAX] = '\0';
	assert_string_equal(peer_watch(&dom0, path, "deep"), "OK");
	expect_event(&dom0, path, "deep");
	assert_string_equal(peer_write(&dom0, 0, path, "v"), "OK");
	expect_event(&dom0, path, "deep");
	assert_int_equal(sr_store_check(*state), 0);
	ASK_OK(&dom0, XS_RM, 0, "/x");
	expect_event(&dom0, path, "deep");
	assert_string_equal(peer_read(&dom0, 0, path), "ENOENT");
	peer_close(&dom0);
}

static void test_relative_paths(void **state)
{
	static const struct sr_store_perm own = { .domid = 7, .access = 'n' };
	struct peer guest;

	sr_store_mkdir(*state, "/local/domain/7");
	sr_store_set_perms(*state, "/local/domain/7", &own, 1);
	peer_open(&guest, *state, 7);
	assert_string_equal(peer_write(&guest, 0, "data/x", "1"), "OK");
	assert_string_equal(peer_read(&guest, 0, "data/x"), "1");
	assert_string_equal(peer_read(&guest, 0, "/local/domain/7/data/x"), "1");
	ASK_STRINGS(&guest, XS_DIRECTORY, 0, "data", "x");
	ASK_ERROR(&guest, XS_READ, 0, "../0", "EINVAL");
	peer_close(&guest);
}

static void fill_directory(struct sr_store *store, int count)
{
	char path[64];

	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "/many/child-number-%05d", i);
		assert_int_equal(sr_store_write(store, path, "", 0), 0);
	}
}

static void test_directory_too_long_comes_in_parts(void **state)
{
	char payload[32] = "/many";
	char *names = calloc(1, 1 << 16);
	size_t used = 0;
	char generation[32] = "";
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	fill_directory(*state, 1000);
	ASK_ERROR(&dom0, XS_DIRECTORY, 0, "/many", "E2BIG");
	while (used < 2 || names[used - 2] != '\0') {
		int len = snprintf(payload + 6, sizeof(payload) - 6, "%zu", used);
		const struct answer *answer =
		    peer_ask(&dom0, XS_DIRECTORY_PART, 0, payload, 6 + (size_t)len + 1);
		size_t head = strlen(answer->payload) + 1;

		assert_string_equal(peer_outcome(answer), "OK");
		if (used)
			assert_string_equal(generation, answer->payload);
		snprintf(generation, sizeof(generation), "%.31s", answer->payload);
		assert_true(answer->header.len > head);
		memcpy(names + used, answer->payload + head, answer->header.len - head);
		used += answer->header.len - head;
	}
	assert_int_equal(used, 1000 * sizeof("child-number-00000") + 1);
	assert_string_equal(names + 999 * sizeof("child-number-00000"), "child-number-00999");
	free(names);
	peer_close(&dom0);
}

static void test_directory_part_generation(void **state)
{
	struct peer dom0;
	char before[32];

	peer_open(&dom0, *state, 0);
	peer_write(&dom0, 0, "/d/a", "");
	snprintf(before, sizeof(before), "%.31s",
		 ASK(&dom0, XS_DIRECTORY_PART, 0,
		     "/d\0"
		     "0")
		     ->payload);
	/* A value below changes nothing in the list, a child that comes and goes does. */
	peer_write(&dom0, 0, "/d/a", "x");
	assert_string_equal(ASK(&dom0, XS_DIRECTORY_PART, 0,
				"/d\0"
				"0")
				->payload,
			    before);
	peer_write(&dom0, 0, "/d/b", "");
	ASK_OK(&dom0, XS_RM, 0, "/d/b");
	assert_string_not_equal(ASK(&dom0, XS_DIRECTORY_PART, 0,
				    "/d\0"
				    "0")
				    ->payload,
				before);
	ASK_ERROR(&dom0, XS_DIRECTORY_PART, 0, "/d", "EINVAL");
	ASK_ERROR(&dom0, XS_DIRECTORY_PART, 0, "/d\0-1", "EINVAL");
	ASK_ERROR(&dom0, XS_DIRECTORY_PART, 0,
		  "/d\0"
		  "4294967296",
		  "EINVAL");
	ASK_OK(&dom0, XS_DIRECTORY_PART, 0,
	       "/d\0"
	       "4294967295");
	ASK_ERROR(&dom0, XS_DIRECTORY_PART, 0,
		  "/none\0"
		  "0",
		  "ENOENT");
	peer_close(&dom0);
}

static void test_direct_operations(void **state)
{
	struct sr_store *store = *state;
	char *value;
	size_t len;

	assert_int_equal(sr_store_write(store, "/a/b", "x\0y", 3), 0);
	assert_int_equal(sr_store_read(store, "/a/b", &value, &len), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(value, "x\0y", 4);
	free(value);
	assert_int_equal(sr_store_printf(store, "/n", "%d", 42), 0);
	assert_int_equal(sr_store_read(store, "/n", &value, NULL), 0);
	assert_string_equal(value, "42");
	free(value);
	assert_int_equal(sr_store_read(store, "/none", &value, NULL), -ENOENT);
	assert_int_equal(sr_store_read(store, "relative", &value, NULL), -EINVAL);
	assert_int_equal(sr_store_write(store, "relative", "", 0), -EINVAL);
	assert_int_equal(sr_store_write(store, "/big", "", XENSTORE_PAYLOAD_MAX + 1), -E2BIG);
	assert_int_equal(sr_store_mkdir(store, "/a"), 0);
	assert_int_equal(sr_store_rm(store, "/a"), 0);
	assert_int_equal(sr_store_rm(store, "/a/b"), -ENOENT);
	assert_int_equal(sr_store_rm(store, "/"), -EINVAL);
	assert_int_equal(sr_store_set_perms(store, "/n", NULL, 0), -EINVAL);
	assert_int_equal(sr_store_set_perms(store, "/n", &(struct sr_store_perm){ 1, 'x' }, 1),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
		TEST(test_write_then_read),
		TEST(test_write_creates_empty_parents),
		TEST(test_value_may_hold_any_bytes),
		TEST(test_longest_value),
		TEST(test_mkdir_keeps_what_is_there),
		TEST(test_directory_is_sorted_and_complete),
		TEST(test_rm),
		TEST(test_illegal_paths),
		TEST(test_path_lengths),
		TEST(test_deepest_path),
		TEST(test_relative_paths),
		TEST(test_directory_too_long_comes_in_parts),
		TEST(test_directory_part_generation),
		TEST(test_direct_operations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
