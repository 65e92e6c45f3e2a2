// SPDX-License-Identifier: MIT
/* The distribution's xenstore-utils, as they are. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Runs a command on the socket; what it prints. */
static const char *run(const char *socket, const char *command, int *status)
{
	static char output[8192];
	FILE *pipe;
	size_t len;

	setenv("XENSTORED_PATH", socket, 1);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	len = fread(output, 1, sizeof(output) - 1, pipe);
	output[len] = '\0';
	*status = WEXITSTATUS(pclose(pipe));
	return output;
}

static void assert_prints(void **state, const char *command, const char *wanted)
{
	struct server *server = *state;
	int status;

	assert_string_equal(run(server->socket, command, &status), wanted);
	assert_int_equal(status, 0);
}

static void assert_fails(void **state, const char *command)
{
	struct server *server = *state;
	int status;

	run(server->socket, command, &status);
	assert_int_not_equal(status, 0);
}

static void need_tools(void)
{
	if (system("command -v xenstore-ls >/dev/null 2>&1") != 0) {
		print_message("# xenstore-utils are not installed\n");
		skip();
	}
}

static void test_write_read_list(void **state)
{
	need_tools();
	assert_prints(state, "xenstore-write /a/b one /a/c two", "");
	assert_prints(state, "xenstore-read /a/b /a/c", "one\ntwo\n");
	assert_prints(state, "xenstore-read -p /a/b", "/a/b: one\n");
	assert_prints(state, "xenstore-list /a", "b\nc\n");
	assert_prints(state, "xenstore-exists /a/b", "");
	assert_fails(state, "xenstore-exists /a/none");
	assert_fails(state, "xenstore-read /a/none 2>/dev/null");
	assert_fails(state, "xenstore-write /a//b x 2>/dev/null");
}

static void test_ls(void **state)
{
	need_tools();
	assert_prints(state, "xenstore-write /a/b one /c ''", "");
	assert_prints(state, "xenstore-ls", "a = \"\"\n b = \"one\"\nc = \"\"\n");
	assert_prints(state, "xenstore-ls -f", "/a = \"\"\n/a/b = \"one\"\n/c = \"\"\n");
	assert_prints(state, "xenstore-ls -f /a", "/a/b = \"one\"\n");
}

static void test_chmod(void **state)
{
	need_tools();
	assert_prints(state, "xenstore-write /a/b one", "");
	assert_prints(state, "xenstore-chmod /a r0 b5", "");
	assert_prints(state, "xenstore-ls -fp", "/a = \"\"   (r0,b5)\n/a/b = \"one\"   (n0)\n");
	assert_prints(state, "xenstore-chmod -r /a n5", "");
	assert_prints(state, "xenstore-ls -fp", "/a = \"\"   (n5)\n/a/b = \"one\"   (n5)\n");
	assert_prints(state, "xenstore-chmod @releaseDomain n0 r5", "");
}

static void test_rm(void **state)
{
	need_tools();
	assert_prints(state, "xenstore-write /a/b/c one /a/d two", "");
	assert_prints(state, "xenstore-rm /a/d", "");
	assert_prints(state, "xenstore-ls -f", "/a = \"\"\n/a/b = \"\"\n/a/b/c = \"one\"\n");
	/* -t: parents that are left empty go as well. */
	assert_prints(state, "xenstore-rm -t /a/b/c", "");
	assert_prints(state, "xenstore-ls -f", "");
	assert_fails(state, "xenstore-rm /none/below 2>/dev/null");
}

static void test_watch(void **state)
{
	need_tools();
	/* The watch prints when it is set, so the writer waits for its first line. */
	assert_prints(state,
		      "timeout 20 xenstore-watch -n 3 /a | while read line; do"
		      " echo \"$line\"; n=$((n + 1)); [ $n -gt 2 ] || xenstore-write /a/$n x;"
		      " done",
		      "/a\n/a/1\n/a/2\n");
}

static void test_as_a_guest(void **state)
{
	struct server *server = *state;
	int status;

	need_tools();
	assert_prints(state, "xenstore-write /local/domain/5/name guest", "");
	assert_prints(state, "xenstore-chmod -r /local/domain/5 n0 r5", "");
	assert_string_equal(run(server->socket5, "xenstore-read name", &status), "guest\n");
	assert_int_equal(status, 0);
	run(server->socket5, "xenstore-write name other 2>/dev/null", &status);
	assert_int_not_equal(status, 0);
	run(server->socket5, "xenstore-ls / 2>/dev/null", &status);
	assert_int_not_equal(status, 0);
}

static void test_big_tree(void **state)
{
	struct server *server = *state;
	char command[128];
	int status;

	need_tools();
	pthread_mutex_lock(&server->lock);
	for (int i = 0; i < 400; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/backend/vbd/5/device-%d/state", i);
		assert_int_equal(sr_store_write(server->store, path, "4", 1), 0);
	}
	pthread_mutex_unlock(&server->lock);
	snprintf(command, sizeof(command), "xenstore-ls -f | grep -c '/state = \"4\"'");
	assert_string_equal(run(server->socket, command, &status), "400\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, server_setup, server_teardown)
		TEST(test_write_read_list), TEST(test_ls),
		TEST(test_chmod),           TEST(test_rm),
		TEST(test_watch),           TEST(test_as_a_guest),
		TEST(test_big_tree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
