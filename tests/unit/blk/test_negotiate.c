/* SPDX-License-Identifier: MIT */
/* A frontend's nodes: what is agreed on, and every kind of nonsense. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "negotiate.h"

static const struct sr_blk_offer offer = { .max_queues = 4, .max_order = 4, .persistent = true };

/* "key=value" strings, NULL at the end. */
static const char *get(void *ctx, const char *key)
{
	const char *const *nodes = ctx;
	size_t len = strlen(key);

	for (; *nodes; nodes++)
		if (!strncmp(*nodes, key, len) && (*nodes)[len] == '=')
			return *nodes + len + 1;
	return NULL;
}

static struct sr_blk_connection conn;
static char error[160];

static int negotiate(const char *const *nodes)
{
	error[0] = 0;
	return sr_blk_negotiate(&offer, get, (void *)(uintptr_t)nodes, &conn, error, sizeof(error));
}

#define NODES(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void test_plain(void **state)
{
	assert_int_equal(negotiate(NODES("ring-ref=8", "event-channel=3")), 0);
	assert_int_equal(conn.abi, SR_BLKIF_ABI_NATIVE);
	assert_int_equal(conn.queues, 1);
	assert_int_equal(conn.order, 0);
	assert_false(conn.persistent);
	assert_int_equal(conn.setup[0].refs[0], 8);
	assert_int_equal(conn.setup[0].port, 3);
	/* The other name that frontends use for a ring of one page. */
	assert_int_equal(negotiate(NODES("ring-ref0=9", "event-channel=3", "ring-page-order=0",
					 "protocol=x86_32-abi", "feature-persistent=1")),
			 0);
	assert_int_equal(conn.setup[0].refs[0], 9);
	assert_int_equal(conn.abi, SR_BLKIF_ABI_X86_32);
	assert_true(conn.persistent);
}

static void test_pages(void **state)
{
	assert_int_equal(negotiate(NODES("ring-page-order=1", "ring-ref0=10", "ring-ref1=11",
					 "event-channel=5")),
			 0);
	assert_int_equal(conn.order, 1);
	assert_int_equal(conn.setup[0].refs[1], 11);
	assert_int_equal(
	    negotiate(NODES("num-ring-pages=2", "ring-ref0=10", "ring-ref1=11", "event-channel=5")),
	    0);
	assert_int_equal(conn.order, 1);
}

static void test_queues(void **state)
{
	assert_int_equal(negotiate(NODES("multi-queue-num-queues=2", "queue-0/ring-ref=1",
					 "queue-0/event-channel=21", "queue-1/ring-ref=2",
					 "queue-1/event-channel=22")),
			 0);
	assert_int_equal(conn.queues, 2);
	assert_int_equal(conn.setup[1].refs[0], 2);
	assert_int_equal(conn.setup[1].port, 22);
}

static void refused(const char *const *nodes, const char *word)
{
	assert_int_equal(negotiate(nodes), -EINVAL);
	if (!strstr(error, word))
		fail_msg("\"%s\" does not speak of %s", error, word);
}

static void test_nonsense(void **state)
{
	refused(NODES("event-channel=3"), "ring-ref");
	refused(NODES("ring-ref=8"), "event-channel");
	refused(NODES("ring-ref=x", "event-channel=3"), "ring-ref");
	refused(NODES("ring-ref=-1", "event-channel=3"), "ring-ref");
	refused(NODES("ring-ref=4294967296", "event-channel=3"), "ring-ref");
	refused(NODES("ring-ref=8", "event-channel=131072"), "event-channel");
	refused(NODES("ring-ref=8", "event-channel="), "event-channel");
	refused(NODES("ring-ref=8", "event-channel=3", "protocol=sparc-abi"), "protocol");
	refused(NODES("ring-ref=8", "event-channel=3", "ring-page-order=31"), "ring-page-order");
	refused(NODES("ring-ref=8", "event-channel=3", "ring-page-order=5"), "ring-page-order");
	refused(NODES("ring-ref=8", "event-channel=3", "ring-page-order=18446744073709551615"),
		"ring-page-order");
	refused(NODES("ring-ref=8", "event-channel=3", "num-ring-pages=3"), "num-ring-pages");
	refused(NODES("ring-ref=8", "event-channel=3", "num-ring-pages=0"), "num-ring-pages");
	refused(NODES("ring-ref=8", "event-channel=3", "num-ring-pages=32"), "num-ring-pages");
	refused(NODES("ring-ref=8", "event-channel=3", "multi-queue-num-queues=0"), "queue");
	refused(NODES("ring-ref=8", "event-channel=3", "multi-queue-num-queues=5"), "queues");
	refused(NODES("ring-ref=8", "event-channel=3", "multi-queue-num-queues=2147483648"),
		"queues");
	refused(NODES("multi-queue-num-queues=2", "queue-0/ring-ref=1", "queue-0/event-channel=2",
		      "queue-1/ring-ref=1", "queue-1/event-channel=3"),
		"twice");
	refused(NODES("multi-queue-num-queues=2", "queue-0/ring-ref=1", "queue-0/event-channel=2",
		      "queue-1/ring-ref=2", "queue-1/event-channel=2"),
		"twice");
	refused(NODES("ring-page-order=1", "ring-ref0=5", "ring-ref1=5", "event-channel=2"),
		"twice");
	/* A long value is cut in the message, not in our memory. */
	char longest[4096] = "protocol=";

	memset(longest + 9, 'x', sizeof(longest) - 10);
	refused(NODES("ring-ref=8", "event-channel=3", longest), "protocol");
	assert_true(strlen(error) < 120);
}

static void test_odd_hint(void **state)
{
	assert_int_equal(
	    negotiate(NODES("ring-ref=8", "event-channel=3", "feature-persistent=maybe")), 0);
	assert_false(conn.persistent);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),    cmocka_unit_test(test_pages),
		cmocka_unit_test(test_queues),   cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_odd_hint),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
