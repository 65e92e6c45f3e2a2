// SPDX-License-Identifier: MIT
/* The library that everything else uses, against a store that runs in another thread. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

#define INCREMENTS 100

static struct xs_handle *open_as(const char *socket)
{
	struct xs_handle *xs;

	setenv("XENSTORED_PATH", socket, 1);
	xs = xs_open(0);
	assert_non_null(xs);
	return xs;
}

static struct xs_handle *open_dom0(void **state)
{
	struct server *server = *state;

	return open_as(server->socket);
}

static void assert_read(struct xs_handle *xs, xs_transaction_t t, const char *path,
			const char *value)
{
	unsigned len;
	char *got = xs_read(xs, t, path, &len);

	assert_non_null(got);
	assert_string_equal(got, value);
	assert_int_equal(len, strlen(value));
	free(got);
}

static void assert_watch(struct xs_handle *xs, const char *path, const char *token)
{
	unsigned count;
	char **event = xs_read_watch(xs, &count);

	assert_non_null(event);
	assert_int_equal(count, 2);
	assert_string_equal(event[XS_WATCH_PATH], path);
	assert_string_equal(event[XS_WATCH_TOKEN], token);
	free(event);
}

static void test_nodes(void **state)
{
	struct xs_handle *xs = open_dom0(state);
	unsigned count;
	char **names;

	assert_true(xs_write(xs, XBT_NULL, "/a/b", "value", 5));
	assert_read(xs, XBT_NULL, "/a/b", "value");
	assert_true(xs_mkdir(xs, XBT_NULL, "/a/c"));
	names = xs_directory(xs, XBT_NULL, "/a", &count);
	assert_int_equal(count, 2);
	assert_string_equal(names[0], "b");
	assert_string_equal(names[1], "c");
	free(names);
	names = xs_directory(xs, XBT_NULL, "/a/c", &count);
	assert_non_null(names);
	assert_int_equal(count, 0);
	free(names);
	assert_true(xs_rm(xs, XBT_NULL, "/a"));
	assert_null(xs_read(xs, XBT_NULL, "/a/b", &count));
	assert_int_equal(errno, ENOENT);
	xs_close(xs);
}

static void test_long_directory(void **state)
{
	struct xs_handle *xs = open_dom0(state);
	char path[64];
	unsigned count;
	char **names;

	for (int i = 0; i < 600; i++) {
		snprintf(path, sizeof(path), "/many/a-name-that-takes-room-%04d", i);
		assert_true(xs_write(xs, XBT_NULL, path, "", 0));
	}
	names = xs_directory(xs, XBT_NULL, "/many", &count);
	assert_non_null(names);
	assert_int_equal(count, 600);
	assert_string_equal(names[599], "a-name-that-takes-room-0599");
	free(names);
	xs_close(xs);
}

static void test_permissions(void **state)
{
	struct xs_permissions perms[2] = { { .id = 0, .perms = XS_PERM_NONE },
					   { .id = 5, .perms = XS_PERM_READ } };
	struct server *server = *state;
	struct xs_handle *xs = open_dom0(state);
	struct xs_handle *guest = open_as(server->socket5);
	struct xs_permissions *got;
	unsigned count;

	assert_true(xs_write(xs, XBT_NULL, "/local/domain/5/name", "guest", 5));
	assert_true(xs_set_permissions(xs, XBT_NULL, "/local/domain/5/name", perms, 2));
	got = xs_get_permissions(xs, XBT_NULL, "/local/domain/5/name", &count);
	assert_int_equal(count, 2);
	assert_int_equal(got[1].id, 5);
	assert_int_equal(got[1].perms, XS_PERM_READ);
	free(got);
	assert_read(guest, XBT_NULL, "name", "guest");
	assert_false(xs_write(guest, XBT_NULL, "name", "x", 1));
	assert_int_equal(errno, EACCES);
	xs_close(guest);
	xs_close(xs);
}

static void test_watches(void **state)
{
	struct xs_handle *xs = open_dom0(state);
	struct xs_handle *writer = open_dom0(state);

	assert_true(xs_watch(xs, "/a", "token"));
	assert_watch(xs, "/a", "token");
	assert_false(xs_watch(xs, "/a", "token"));
	assert_int_equal(errno, EEXIST);
	assert_true(xs_write(writer, XBT_NULL, "/a/b", "", 0));
	assert_watch(xs, "/a/b", "token");
	assert_true(xs_unwatch(xs, "/a", "token"));
	assert_true(xs_write(writer, XBT_NULL, "/a/b", "", 0));
	assert_null(xs_check_watch(xs));
	assert_int_equal(errno, EAGAIN);
	xs_close(xs);
	xs_close(writer);
}

static void test_transaction(void **state)
{
	struct xs_handle *xs = open_dom0(state);
	struct xs_handle *other = open_dom0(state);
	xs_transaction_t t;

	assert_true(xs_write(xs, XBT_NULL, "/n", "1", 1));
	t = xs_transaction_start(xs);
	assert_int_not_equal(t, XBT_NULL);
	assert_read(xs, t, "/n", "1");
	assert_true(xs_write(xs, t, "/n", "2", 1));
	assert_read(other, XBT_NULL, "/n", "1");
	assert_true(xs_transaction_end(xs, t, false));
	assert_read(other, XBT_NULL, "/n", "2");
	t = xs_transaction_start(xs);
	assert_read(xs, t, "/n", "2");
	assert_true(xs_write(xs, t, "/m", "", 0));
	assert_true(xs_write(other, XBT_NULL, "/n", "3", 1));
	assert_false(xs_transaction_end(xs, t, false));
	assert_int_equal(errno, EAGAIN);
	xs_close(xs);
	xs_close(other);
}

/* Failures are counted, since a thread cannot use cmocka's assertions. */
static void *increment(void *arg)
{
	struct xs_handle *xs = arg;
	size_t failures = 0;

	for (int i = 0; i < INCREMENTS; i++) {
		bool done = false;

		while (!done) {
			xs_transaction_t t = xs_transaction_start(xs);
			char *value = xs_read(xs, t, "/counter", NULL);
			char next[16];

			snprintf(next, sizeof(next), "%d", value ? atoi(value) + 1 : 0);
			free(value);
			failures += !xs_write(xs, t, "/counter", next, (unsigned)strlen(next));
			done = xs_transaction_end(xs, t, false);
			if (!done && errno != EAGAIN)
				return (void *)(failures + 1);
		}
	}
	return (void *)failures;
}

static void test_transactions_that_race(void **state)
{
	struct xs_handle *handles[2] = { open_dom0(state), open_dom0(state) };
	struct xs_handle *xs = open_dom0(state);
	pthread_t threads[2];
	char wanted[16];

	assert_true(xs_write(xs, XBT_NULL, "/counter", "0", 1));
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, increment, handles[i]), 0);
	for (int i = 0; i < 2; i++) {
		void *failures;

		pthread_join(threads[i], &failures);
		assert_null(failures);
		xs_close(handles[i]);
	}
	snprintf(wanted, sizeof(wanted), "%d", 2 * INCREMENTS);
	assert_read(xs, XBT_NULL, "/counter", wanted);
	xs_close(xs);
}

static void test_domains(void **state)
{
	struct xs_handle *xs = open_dom0(state);
	char *path;

	assert_true(xs_watch(xs, "@introduceDomain", "in"));
	assert_watch(xs, "@introduceDomain", "in");
	assert_true(xs_introduce_domain(xs, 5, 1234, 1));
	assert_watch(xs, "@introduceDomain", "in");
	assert_true(xs_is_domain_introduced(xs, 5));
	assert_true(xs_watch(xs, "@releaseDomain", "out"));
	assert_watch(xs, "@releaseDomain", "out");
	assert_true(xs_introduce_domain(xs, 6, 1234, 1));
	assert_watch(xs, "@introduceDomain", "in");
	assert_true(xs_set_target(xs, 5, 6));
	assert_true(xs_resume_domain(xs, 5));
	assert_true(xs_release_domain(xs, 5));
	assert_watch(xs, "@releaseDomain", "out");
	assert_false(xs_is_domain_introduced(xs, 5));
	path = xs_get_domain_path(xs, 5);
	assert_string_equal(path, "/local/domain/5");
	free(path);
	xs_close(xs);
}

static void test_control(void **state)
{
	struct xs_handle *xs = open_dom0(state);
	char *reply = xs_control_command(xs, "check", NULL, 0);

	assert_non_null(reply);
	assert_string_equal(reply, "OK");
	free(reply);
	xs_close(xs);
}

static void test_direct_change_reaches_a_watcher(void **state)
{
	struct server *server = *state;
	struct xs_handle *xs = open_dom0(state);

	assert_true(xs_watch(xs, "/direct", "t"));
	assert_watch(xs, "/direct", "t");
	pthread_mutex_lock(&server->lock);
	assert_int_equal(sr_store_printf(server->store, "/direct", "%d", 7), 0);
	pthread_mutex_unlock(&server->lock);
	assert_watch(xs, "/direct", "t");
	assert_read(xs, XBT_NULL, "/direct", "7");
	xs_close(xs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)
		TEST(test_nodes),
		TEST(test_long_directory),
		TEST(test_permissions),
		TEST(test_watches),
		TEST(test_transaction),
		TEST(test_transactions_that_race),
		TEST(test_domains),
		TEST(test_control),
		TEST(test_direct_change_reaches_a_watcher),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
