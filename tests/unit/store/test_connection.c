// SPDX-License-Identifier: MIT
/* Clients that are slow, greedy, broken or hostile: what they cost is theirs alone. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void test_message_in_single_bytes(void **state)
{
	struct xsd_sockmsg header = { .type = XS_MKDIR, .req_id = 77, .len = 3 };
	char bytes[sizeof(header) + 3];
	struct answer answer;
	struct peer dom0;

	memcpy(bytes, &header, sizeof(header));
	memcpy(bytes + sizeof(header), "/a", 3);
	peer_open(&dom0, *state, 0);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		assert_false(peer_receive(&dom0, &answer));
		peer_send_bytes(&dom0, bytes + i, 1);
	}
	assert_true(peer_receive(&dom0, &answer));
	assert_int_equal(answer.header.req_id, 77);
	assert_string_equal(answer.payload, "OK");
	peer_close(&dom0);
}

static void test_many_requests_at_once(void **state)
{
	struct answer answer;
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	for (int i = 0; i < 100; i++)
		peer_send(&dom0, XS_MKDIR, 0, "/a", 3);
	for (uint32_t i = 1; i <= 100; i++) {
		assert_true(peer_receive(&dom0, &answer));
		assert_int_equal(answer.header.req_id, i);
		assert_int_equal(answer.header.type, XS_MKDIR);
	}
	assert_false(peer_receive(&dom0, &answer));
	peer_close(&dom0);
}

static void test_too_long_a_payload_costs_the_connection(void **state)
{
	static const uint32_t lengths[] = { XENSTORE_PAYLOAD_MAX + 1, 0x80000000u, 0xffffffffu };
	struct peer dom0;
	struct peer bad;

	peer_open(&dom0, *state, 0);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct xsd_sockmsg header = { .type = XS_READ, .len = lengths[i] };

		peer_open(&bad, *state, 5);
		peer_send_bytes(&bad, &header, sizeof(header));
		assert_true(peer_is_closed(&bad));
		peer_close(&bad);
		assert_string_equal(peer_write(&dom0, 0, "/a", "x"), "OK");
	}
	peer_close(&dom0);
}

static void test_unknown_types(void **state)
{
	static const uint32_t types[] = { XS_WATCH_EVENT, XS_ERROR,          XS_SET_TARGET + 1,
					  XS_TYPE_COUNT,  XS_TYPE_COUNT + 1, XS_INVALID,
					  0x80000000u,    0xffffffffu };
	struct peer guest;

	peer_open(&guest, *state, 5);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		ASK_ERROR(&guest, types[i], 0, "/a", "ENOSYS");
	peer_close(&guest);
}

static void test_empty_and_unfinished_payloads(void **state)
{
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	for (uint32_t type = 0; type < XS_TYPE_COUNT; type++) {
		/* These take no payload. */
		if (type == XS_TRANSACTION_START || type == XS_RESET_WATCHES)
			continue;
		assert_int_equal(peer_ask(&dom0, type, 0, "", 0)->header.type, XS_ERROR);
		assert_int_equal(peer_ask(&dom0, type, 0, "/", 1)->header.type, XS_ERROR);
		assert_int_equal(peer_ask(&dom0, type, 0, "5", 1)->header.type, XS_ERROR);
	}
	peer_close(&dom0);
}

static void test_replies_after_half_close(void **state)
{
	struct answer answer;
	struct peer dom0;

	peer_open(&dom0, *state, 0);
	for (int i = 0; i < 5; i++)
		peer_send(&dom0, XS_MKDIR, 0, "/a", 3);
	assert_int_equal(shutdown(dom0.fd, SHUT_WR), 0);
	for (int i = 0; i < 5; i++)
		assert_true(peer_receive(&dom0, &answer));
	assert_true(peer_is_closed(&dom0));
	peer_close(&dom0);
}

static void test_gone_in_mid_message(void **state)
{
	struct sr_store_usage usage;
	struct xsd_sockmsg header = { .type = XS_WRITE, .len = 100 };
	struct peer guest;

	peer_open(&guest, *state, 5);
	peer_send_bytes(&guest, &header, sizeof(header));
	peer_send_bytes(&guest, "/a", 2);
	peer_close(&guest);
	sr_store_total_usage(*state, &usage);
	assert_int_equal(usage.connections, 0);
}

static void test_flood_lets_others_through(void **state)
{
	struct answer answer;
	struct peer flood;
	struct peer quiet;
	int replies = 0;

	peer_open(&flood, *state, 5);
	peer_open(&quiet, *state, 0);
	for (int i = 0; i < 50; i++)
		peer_send(&flood, XS_GET_DOMAIN_PATH, 0, "5", 2);
	peer_send(&quiet, XS_GET_DOMAIN_PATH, 0, "7", 2);
	/* One turn only: the quiet one is served, the other had no more than a share. */
	assert_int_equal(sr_store_process(*state), 0);
	assert_true(recv(quiet.fd, &answer.header, sizeof(answer.header), 0) > 0);
	while (recv(flood.fd, &answer, sizeof(struct xsd_sockmsg) + 16, MSG_DONTWAIT) > 0)
		replies++;
	assert_in_range(replies, 1, 20);
	peer_close(&flood);
	peer_close(&quiet);
}

/* Sends requests until the store takes no more; how many. */
static uint32_t send_until_full(struct peer *peer, const void *payload, size_t len)
{
	struct {
		struct xsd_sockmsg header;
		char payload[16];
	} message = { .header = { .type = XS_READ, .len = (uint32_t)len } };
	size_t size = sizeof(message.header) + len;
	uint32_t count = 0;

	memcpy(message.payload, payload, len);
	for (;;) {
		message.header.req_id = count + 1;
		if (send(peer->fd, &message, size, MSG_NOSIGNAL) != (ssize_t)size) {
			store_run(peer->store);
			if (send(peer->fd, &message, size, MSG_NOSIGNAL) != (ssize_t)size)
				return count;
		}
		assert_true(count++ < 1000000);
	}
}

static void test_client_that_takes_no_replies(void **state)
{
	static const uint16_t domids[] = { 0, 5 };
	const struct sr_store_perm all = { .domid = 0, .access = 'b' };
	char value[2000];
	struct answer answer;
	struct peer peer;

	memset(value, 'x', sizeof(value));
	sr_store_write(*state, "/big", value, sizeof(value));
	sr_store_set_perms(*state, "/big", &all, 1);
	for (size_t i = 0; i < 2; i++) {
		uint32_t count;

		peer_open(&peer, *state, domids[i]);
		count = send_until_full(&peer, "/big", 5);
		assert_true(count > 20);
		/* The store is idle meanwhile, and once he reads he gets all, in order. */
		for (uint32_t id = 1; id <= count; id++) {
			assert_true(peer_receive(&peer, &answer));
			assert_int_equal(answer.header.req_id, id);
			assert_int_equal(answer.header.len, sizeof(value));
		}
		assert_false(peer_receive(&peer, &answer));
		peer_close(&peer);
	}
}

static void test_client_that_takes_no_events(void **state)
{
	const int writes = 3000;
	struct answer answer;
	struct peer dom0;
	char last[XENSTORE_PAYLOAD_MAX + 1] = "";
	char path[300];
	int events = 0;

	peer_open(&dom0, *state, 0);
	peer_watch(&dom0, "/x", "t");
	peer_watch(&dom0, "/y", "t");
	drop_events(&dom0);
	memset(path, 'p', sizeof(path));
	for (int i = 0; i < writes; i++) {
		snprintf(path + 200, 100, "%d", i);
		memcpy(path, "/x/", 3);
		assert_int_equal(sr_store_write(*state, path, "", 0), 0);
	}
	assert_int_equal(sr_store_check(*state), 0);
	while (peer_receive(&dom0, &answer)) {
		assert_int_equal(answer.header.type, XS_WATCH_EVENT);
		snprintf(last, sizeof(last), "%s", answer.payload);
		events++;
	}
	/* Some were merged into one that tells to look at all of it; none is lost. */
	assert_in_range(events, 1, writes - 1);
	assert_string_equal(last, "/x");
	/* From then on each comes as it is. */
	sr_store_write(*state, "/x/again", "", 0);
	expect_event(&dom0, "/x/again", "t");
	sr_store_write(*state, "/y/again", "", 0);
	expect_event(&dom0, "/y/again", "t");
	peer_close(&dom0);
}

static void test_unwatch_while_events_are_merged(void **state)
{
	struct peer dom0;
	char path[300];

	peer_open(&dom0, *state, 0);
	peer_watch(&dom0, "/x", "t");
	drop_events(&dom0);
	memset(path, 'p', sizeof(path));
	for (int i = 0; i < 3000; i++) {
		snprintf(path + 200, 100, "%d", i);
		memcpy(path, "/x/", 3);
		assert_int_equal(sr_store_write(*state, path, "", 0), 0);
	}
	/* It is not asked for what it owes for a watch that is gone. */
	peer_send(&dom0, XS_RESET_WATCHES, 0, "", 1);
	store_run(*state);
	assert_int_equal(sr_store_check(*state), 0);
	free(dom0.events);
	close(dom0.fd);
	store_run(*state);
}

static void test_same_event_again_adds_nothing(void **state)
{
	struct peer reader;
	struct peer writer;

	peer_open(&reader, *state, 0);
	peer_open(&writer, *state, 0);
	peer_watch(&reader, "/a", "t");
	drop_events(&reader);
	/* All in one turn, before the reader could see any of it. */
	for (int i = 0; i < 5; i++)
		peer_send(&writer, XS_WRITE, 0, "/a", 3);
	expect_event(&reader, "/a", "t");
	expect_no_event(&reader);
	peer_close(&reader);
	peer_close(&writer);
}

static void test_two_clients_that_close_each_other(void **state)
{
	struct peer dom0;
	struct peer guest;

	/* Both are ready in the same turn, and the first one's request kills the second. */
	peer_open(&dom0, *state, 0);
	peer_open(&guest, *state, 5);
	sr_store_introduce(*state, 5);
	peer_send(&dom0, XS_RELEASE, 0, "5", 2);
	peer_send(&guest, XS_READ, 0, "/a", 3);
	peer_send(&dom0, XS_READ, 0, "/a", 3);
	store_run(*state);
	peer_close(&dom0);
	peer_close(&guest);
}

static void test_fds_run_out(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/sr-store-XXXXXX";
	struct rlimit old;
	struct rlimit low;
	int fds[4];
	char byte;

	assert_non_null(mkdtemp(dir));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	assert_int_equal(sr_store_listen(*state, address.sun_path, 0), 0);
	for (int i = 0; i < 4; i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fds[i], (struct sockaddr *)&address, sizeof(address)), 0);
	}
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)fds[3] + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	/* They are refused, instead of keeping the store busy for ever. */
	store_run(*state);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(recv(fds[i], &byte, 1, MSG_DONTWAIT), 0);
		close(fds[i]);
	}
	assert_int_equal(sr_store_unlisten(*state, 0), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void test_socket_that_a_child_holds_too(void **state)
{
	static const struct xsd_sockmsg bad = { .type = XS_READ, .len = 0xffffffffu };
	struct sr_store_usage usage;
	int held;
	int fds[2];

	/* As a process does between fork() and exec(). */
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	held = dup(fds[1]);
	assert_int_equal(sr_store_add_client(*state, fds[1], 5), 0);
	assert_int_equal(send(fds[0], &bad, sizeof(bad), 0), sizeof(bad));
	store_run(*state);
	sr_store_total_usage(*state, &usage);
	assert_int_equal(usage.connections, 0);
	assert_int_equal(send(fds[0], &bad, sizeof(bad), MSG_NOSIGNAL), -1);
	store_run(*state);
	close(fds[0]);
	close(held);
}

static void test_fd_that_cannot_be_served(void **state)
{
	struct sr_store_usage usage;

	assert_int_equal(sr_store_add_client(*state, 12345, 5), -EBADF);
	sr_store_total_usage(*state, &usage);
	assert_int_equal(usage.connections, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_setup, store_teardown)
		TEST(test_message_in_single_bytes),
		TEST(test_many_requests_at_once),
		TEST(test_too_long_a_payload_costs_the_connection),
		TEST(test_unknown_types),
		TEST(test_empty_and_unfinished_payloads),
		TEST(test_replies_after_half_close),
		TEST(test_gone_in_mid_message),
		TEST(test_flood_lets_others_through),
		TEST(test_client_that_takes_no_replies),
		TEST(test_client_that_takes_no_events),
		TEST(test_unwatch_while_events_are_merged),
		TEST(test_same_event_again_adds_nothing),
		TEST(test_two_clients_that_close_each_other),
		TEST(test_fds_run_out),
		TEST(test_socket_that_a_child_holds_too),
		TEST(test_fd_that_cannot_be_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
