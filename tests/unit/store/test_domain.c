// SPDX-License-Identifier: MIT
/* Domains come, go, and come back under the same number as somebody else; and XS_CONTROL. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static void test_introduce(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	ASK_STRINGS(&dom0, XS_IS_DOMAIN_INTRODUCED, 0, "0", "T");
	ASK_STRINGS(&dom0, XS_IS_DOMAIN_INTRODUCED, 0, "5", "F");
	assert_int_equal(sr_store_introduce(*state, 5), 0);
	assert_int_equal(sr_store_introduce(*state, 5), -EEXIST);
	assert_int_equal(sr_store_introduce(*state, 0), -EEXIST);
	assert_int_equal(sr_store_introduce(*state, 0x7ff0), -EINVAL);
	ASK_STRINGS(&dom0, XS_IS_DOMAIN_INTRODUCED, 0, "5", "T");
	ASK_STRINGS(&dom0, XS_IS_DOMAIN_INTRODUCED, 0, "32752", "T"); /* DOMID_SELF */
	assert_int_equal(sr_store_release(*state, 5), 0);
	ASK_STRINGS(&dom0, XS_IS_DOMAIN_INTRODUCED, 0, "5", "F");
	peer_close(&dom0);
}

static void test_over_the_wire(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	peer_watch(&dom0, "@introduceDomain", "in");
	peer_watch(&dom0, "@releaseDomain", "out");
	drop_events(&dom0);
	ASK_OK(&dom0, XS_INTRODUCE, 0,
	       "5\0"
	       "1234\0"
	       "3");
	expect_event(&dom0, "@introduceDomain", "in");
	ASK_OK(&dom0, XS_INTRODUCE, 0,
	       "5\0"
	       "1234\0"
	       "3");
	expect_no_event(&dom0);
	ASK_OK(&dom0, XS_RESUME, 0, "5");
	ASK_OK(&dom0, XS_RELEASE, 0, "5");
	expect_event(&dom0, "@releaseDomain", "out");
	ASK_ERROR(&dom0, XS_RELEASE, 0, "5", "ENOENT");
	ASK_ERROR(&dom0, XS_RESUME, 0, "5", "ENOENT");
	ASK_ERROR(&dom0, XS_RELEASE, 0, "0", "EINVAL");
	ASK_ERROR(&dom0, XS_INTRODUCE, 0,
		  "5\0"
		  "1234",
		  "EINVAL");
	ASK_ERROR(&dom0, XS_INTRODUCE, 0,
		  "x\0"
		  "1234\0"
		  "3",
		  "EINVAL");
	ASK_ERROR(&dom0, XS_INTRODUCE, 0,
		  "32752\0"
		  "1234\0"
		  "3",
		  "EINVAL");
	ASK_ERROR(&dom0, XS_RELEASE, 0, "65536", "EINVAL");
	ASK_ERROR(&dom0, XS_RELEASE, 0, "", "EINVAL");
	expect_no_event(&dom0);
	peer_close(&dom0);
}

static void test_targets(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	sr_store_introduce(*state, 5);
	sr_store_introduce(*state, 6);
	ASK_OK(&dom0, XS_SET_TARGET, 0,
	       "5\0"
	       "6");
	ASK_ERROR(&dom0, XS_SET_TARGET, 0,
		  "5\0"
		  "0",
		  "EINVAL");
	ASK_ERROR(&dom0, XS_SET_TARGET, 0,
		  "0\0"
		  "5",
		  "EINVAL");
	ASK_ERROR(&dom0, XS_SET_TARGET, 0,
		  "5\0"
		  "7",
		  "ENOENT");
	ASK_ERROR(&dom0, XS_SET_TARGET, 0,
		  "7\0"
		  "5",
		  "ENOENT");
	ASK_ERROR(&dom0, XS_SET_TARGET, 0, "5", "EINVAL");
	peer_close(&dom0);
}

static void test_domain_path(void **state)
{
	struct peer guest;

	peer_open(&guest, *state, 5);
	ASK_STRINGS(&guest, XS_GET_DOMAIN_PATH, 0, "5", "/local/domain/5");
	ASK_STRINGS(&guest, XS_GET_DOMAIN_PATH, 0, "007", "/local/domain/7");
	ASK_ERROR(&guest, XS_GET_DOMAIN_PATH, 0, "5x", "EINVAL");
	peer_close(&guest);
}

static void test_what_only_dom0_may(void **state)
{
	struct peer guest;

	peer_open(&guest, *state, 5);
	ASK_ERROR(&guest, XS_INTRODUCE, 0,
		  "6\0"
		  "1\0"
		  "1",
		  "EACCES");
	ASK_ERROR(&guest, XS_RELEASE, 0, "6", "EACCES");
	ASK_ERROR(&guest, XS_RESUME, 0, "5", "EACCES");
	ASK_ERROR(&guest, XS_SET_TARGET, 0,
		  "5\0"
		  "6",
		  "EACCES");
	ASK_ERROR(&guest, XS_CONTROL, 0, "check", "EACCES");
	peer_close(&guest);
}

/* A domain with a home, a frontend of its own, a grant elsewhere, a watch and a transaction. */
static void populate(struct sr_store *store, struct peer *guest)
{
	const struct sr_store_perm own = { .domid = 5, .access = 'n' };
	const struct sr_store_perm granted[] = { { 0, 'n' }, { 6, 'r' }, { 5, 'b' } };

	sr_store_introduce(store, 5);
	sr_store_mkdir(store, "/local/domain/5/device");
	sr_store_set_perms(store, "/local/domain/5/device", &own, 1);
	sr_store_write(store, "/backend/5", "x", 1);
	sr_store_set_perms(store, "/backend/5", granted, 3);
	peer_open(guest, store, 5);
	assert_string_equal(peer_write(guest, 0, "device/vbd/0/state", "1"), "OK");
	assert_string_equal(peer_watch(guest, "device", "t"), "OK");
	peer_start(guest);
}

static void test_release_leaves_nothing(void **state)
{
	struct sr_store_usage usage;
	struct peer dom0;
	struct peer guest;

	peer_open(&dom0, *state, 0);
	populate(*state, &guest);
	peer_watch(&dom0, "/local/domain/5/device/vbd/0/state", "state");
	peer_watch(&dom0, "@releaseDomain", "out");
	drop_events(&dom0);
	assert_int_equal(sr_store_release(*state, 5), 0);
	expect_event(&dom0, "/local/domain/5/device/vbd/0/state", "state");
	expect_event(&dom0, "@releaseDomain", "out");
	expect_no_event(&dom0);
	drop_events(&guest);
	assert_true(peer_is_closed(&guest));
	sr_store_domain_usage(*state, 5, &usage);
	assert_int_equal(usage.nodes, 0);
	assert_int_equal(usage.watches, 0);
	assert_int_equal(usage.transactions, 0);
	assert_int_equal(usage.connections, 0);
	/* What domain 0 made stays, without the grant to the one that is gone. */
	ASK_STRINGS(&dom0, XS_GET_PERMS, 0, "/backend/5", "n0\0r6");
	assert_string_equal(peer_read(&dom0, 0, "/local/domain/5"), "");
	assert_string_equal(peer_read(&dom0, 0, "/local/domain/5/device"), "ENOENT");
	peer_close(&dom0);
	peer_close(&guest);
}

static void test_next_domain_of_that_number(void **state)
{
	struct peer old;
	struct peer new;

	populate(*state, &old);
	assert_int_equal(sr_store_release(*state, 5), 0);
	assert_int_equal(sr_store_introduce(*state, 5), 0);
	peer_open(&new, *state, 5);
	assert_string_equal(peer_read(&new, 0, "/backend/5"), "EACCES");
	assert_string_equal(peer_read(&new, 0, "device/vbd/0/state"), "EACCES");
	peer_close(&old);
	peer_close(&new);
}

static void test_release_of_the_owner_of_the_root(void **state)
{
	const struct sr_store_perm own = { .domid = 5, .access = 'b' };
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	sr_store_set_perms(*state, "/", &own, 1);
	sr_store_introduce(*state, 5);
	peer_write(&dom0, 0, "/x", "");
	assert_int_equal(sr_store_release(*state, 5), 0);
	ASK_STRINGS(&dom0, XS_GET_PERMS, 0, "/", "n0");
	assert_int_equal(ASK(&dom0, XS_DIRECTORY, 0, "/")->header.len, 0);
	peer_close(&dom0);
}

static void test_release_of_who_was_never_introduced(void **state)
{
	struct peer dom0;
	struct peer guest;

	peer_open(&dom0, *state, 0);
	peer_open(&guest, *state, 5);
	peer_watch(&dom0, "@releaseDomain", "out");
	drop_events(&dom0);
	assert_int_equal(sr_store_release(*state, 5), 0);
	assert_int_equal(sr_store_release(*state, 5), 0);
	assert_int_equal(sr_store_release(*state, 0), -EINVAL);
	expect_no_event(&dom0);
	assert_true(peer_is_closed(&guest));
	peer_close(&dom0);
	peer_close(&guest);
}

static void test_release_meets_open_transactions(void **state)
{
	struct peer dom0;
	struct peer guest;
	uint32_t tx_id;

	peer_open(&dom0, *state, 0);
	populate(*state, &guest);
	tx_id = peer_start(&dom0);
	assert_string_equal(peer_write(&dom0, tx_id, "/local/domain/5/device/vbd/0/x", ""), "OK");
	assert_int_equal(sr_store_release(*state, 5), 0);
	assert_string_equal(peer_commit(&dom0, tx_id), "EAGAIN");
	peer_close(&dom0);
	peer_close(&guest);
}

static int unix_socket(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(address->sun_path, sizeof(address->sun_path), "%s", path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int try_connect(const char *path)
{
	struct sockaddr_un address;
	int fd = unix_socket(path, &address);

	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -errno;
}

static void test_listen(void **state)
{
	struct sr_store *store = *state;
	char dir[] = "/tmp/sr-store-XXXXXX";
	struct sr_store_usage usage;
	struct stat file;
	char path[64];
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	assert_int_equal(sr_store_unlisten(store, 5), -ENOENT);
	assert_int_equal(sr_store_listen(store, path, 5), 0);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode & 0777, 0600);
	assert_int_equal(sr_store_listen(store, path, 5), -EEXIST);
	fd = try_connect(path);
	assert_true(fd >= 0);
	store_run(store);
	sr_store_domain_usage(store, 5, &usage);
	assert_int_equal(usage.connections, 1);
	close(fd);
	assert_int_equal(sr_store_unlisten(store, 5), 0);
	assert_int_equal(stat(path, &file), -1);
	/* Its release takes a domain's socket away as well. */
	assert_int_equal(sr_store_listen(store, path, 5), 0);
	assert_int_equal(sr_store_release(store, 5), 0);
	assert_true(try_connect(path) < 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_release_while_somebody_connects(void **state)
{
	char dir[] = "/tmp/sr-store-XXXXXX";
	struct peer dom0;
	char path[64];
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	peer_open(&dom0, *state, 0);
	sr_store_introduce(*state, 5);
	assert_int_equal(sr_store_listen(*state, path, 5), 0);
	/* Both in one turn: what is ready next is closed by what comes first. */
	peer_send(&dom0, XS_RELEASE, 0, "5", 2);
	fd = try_connect(path);
	assert_true(fd >= 0);
	store_run(*state);
	close(fd);
	assert_int_equal(rmdir(dir), 0);
	peer_close(&dom0);
}

static void test_listen_where_there_is_a_socket(void **state)
{
	struct sr_store *store = *state;
	char dir[] = "/tmp/sr-store-XXXXXX";
	struct sockaddr_un address;
	struct sr_store *other;
	char path[64];
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	assert_int_equal(sr_store_new(NULL, &other), 0);
	assert_int_equal(sr_store_listen(other, path, 5), 0);
	assert_int_equal(sr_store_listen(store, path, 5), -EADDRINUSE);
	sr_store_free(other);
	/* One that nobody listens on is replaced. */
	fd = unix_socket(path, &address);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(sr_store_listen(store, path, 5), 0);
	assert_int_equal(sr_store_unlisten(store, 5), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_listen_where_it_cannot(void **state)
{
	char path[200];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(sr_store_listen(*state, path, 5), -ENAMETOOLONG);
	assert_int_equal(sr_store_listen(*state, "/nonexistent/socket", 5), -ENOENT);
}

static void test_control(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	ASK_STRINGS(&dom0, XS_CONTROL, 0, "check", "OK");
	assert_non_null(strstr(ASK(&dom0, XS_CONTROL, 0, "help")->payload, "check"));
	assert_non_null(strstr(ASK(&dom0, XS_CONTROL, 0, "quota")->payload, "nodes 1000\n"));
	assert_non_null(strstr(ASK(&dom0, XS_CONTROL, 0,
				   "quota\0"
				   "0")
				   ->payload,
			       "connections 1\n"));
	assert_non_null(strstr(ASK(&dom0, XS_CONTROL, 0, "usage")->payload, "nodes 1\n"));
	ASK_ERROR(&dom0, XS_CONTROL, 0, "quota\0x", "EINVAL");
	ASK_ERROR(&dom0, XS_CONTROL, 0, "unknown", "EINVAL");
	ASK_ERROR(&dom0, XS_CONTROL, 0, "", "EINVAL");
	peer_close(&dom0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
		TEST(test_introduce),
		TEST(test_over_the_wire),
		TEST(test_targets),
		TEST(test_domain_path),
		TEST(test_what_only_dom0_may),
		TEST(test_release_leaves_nothing),
		TEST(test_next_domain_of_that_number),
		TEST(test_release_of_the_owner_of_the_root),
		TEST(test_release_of_who_was_never_introduced),
		TEST(test_release_meets_open_transactions),
		TEST(test_listen),
		TEST(test_release_while_somebody_connects),
		TEST(test_listen_where_there_is_a_socket),
		TEST(test_listen_where_it_cannot),
		TEST(test_control),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
