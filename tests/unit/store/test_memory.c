// SPDX-License-Identifier: MIT
/*
 * Memory runs out at each allocation in turn: what was asked for is done or not done, the store
 * stays consistent, and goes on once there is memory again.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Allocations to go until one fails; negative: none does. */
static long countdown = -1;
static bool failed;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool fail_now(void)
{
	if (countdown < 0 || countdown-- > 0)
		return false;
	failed = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fail_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fail_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fail_now() ? NULL : __real_realloc(old, size);
}

/* How often a scenario may be tried: each time the next allocation fails, until none does. */
#define ATTEMPTS_MAX 2000

struct scene {
	struct sr_store *store;
	struct peer dom0;
	struct peer guest;
};

static void scene_open(struct scene *scene)
{
	const struct sr_store_perm own = { .domid = 5, .access = 'n' };

	assert_int_equal(sr_store_new(NULL, &scene->store), 0);
	assert_int_equal(sr_store_introduce(scene->store, 5), 0);
	assert_int_equal(sr_store_mkdir(scene->store, "/local/domain/5"), 0);
	assert_int_equal(sr_store_set_perms(scene->store, "/local/domain/5", &own, 1), 0);
	assert_int_equal(sr_store_write(scene->store, "/local/domain/5/a/b", "x", 1), 0);
	peer_open(&scene->dom0, scene->store, 0);
	peer_open(&scene->guest, scene->store, 5);
	assert_string_equal(peer_watch(&scene->dom0, "/", "t"), "OK");
	drop_events(&scene->dom0);
}

static void scene_close(struct scene *scene)
{
	countdown = -1;
	assert_int_equal(sr_store_check(scene->store), 0);
	free(scene->dom0.events);
	free(scene->guest.events);
	close(scene->dom0.fd);
	close(scene->guest.fd);
	sr_store_free(scene->store);
}

/* Runs the scenario, with the first, second, ... allocation in it failing, until none fails. */
static void each_allocation(void (*scenario)(struct scene *scene))
{
	for (long n = 0; n < ATTEMPTS_MAX; n++) {
		struct scene scene;

		scene_open(&scene);
		countdown = n;
		failed = false;
		scenario(&scene);
		scene_close(&scene);
		if (!failed) {
			assert_true(n > 0);
			return;
		}
	}
	fail_msg("it never came through");
}

static void assert_done_or_enomem(int ret)
{
	assert_true(ret == (failed ? -ENOMEM : 0));
}

static bool is_there(struct scene *scene, const char *path)
{
	char *value;
	int ret;

	countdown = -1;
	ret = sr_store_read(scene->store, path, &value, NULL);
	if (ret == 0)
		free(value);
	return ret == 0;
}

static void create_deep(struct scene *scene)
{
	int ret = sr_store_write(scene->store, "/new/b/c/d", "value", 5);

	/* Where only the event found no memory, the change is made and the watcher is cut off. */
	if (ret)
		assert_int_equal(ret, -ENOMEM);
	assert_int_equal(is_there(scene, "/new/b/c/d"), ret == 0);
	assert_int_equal(is_there(scene, "/new"), ret == 0);
}

static void remove_tree(struct scene *scene)
{
	int ret = sr_store_rm(scene->store, "/local/domain/5");

	if (ret)
		assert_int_equal(ret, -ENOMEM);
	assert_int_equal(is_there(scene, "/local/domain/5/a/b"), ret != 0);
}

static void change_owner(struct scene *scene)
{
	const struct sr_store_perm other[] = { { 77, 'n' }, { 5, 'r' } };
	struct sr_store_usage usage;
	int ret = sr_store_set_perms(scene->store, "/local/domain/5", other, 2);

	if (ret)
		assert_int_equal(ret, -ENOMEM);
	sr_store_domain_usage(scene->store, 77, &usage);
	assert_int_equal(usage.nodes, ret ? 0 : 1);
}

static void introduce_another(struct scene *scene)
{
	int ret = sr_store_introduce(scene->store, 9);

	assert_done_or_enomem(ret);
}

static void release(struct scene *scene)
{
	struct sr_store_usage usage;
	int ret = sr_store_release(scene->store, 5);

	if (ret)
		assert_int_equal(ret, -ENOMEM);
	countdown = -1;
	/* Tried again, it is done. */
	assert_int_equal(sr_store_release(scene->store, 5), 0);
	sr_store_domain_usage(scene->store, 5, &usage);
	assert_int_equal(usage.nodes, 0);
}

/* All kinds of requests; a reply without memory costs the connection, and no more than it. */
static void requests(struct scene *scene)
{
	static const struct {
		uint32_t type;
		const char *payload;
		size_t len;
	} list[] = {
#define REQUEST(type, text) { type, text, sizeof(text) }
		REQUEST(XS_WRITE, "a/new/x\0value"),
		REQUEST(XS_READ, "a/b"),
		REQUEST(XS_SET_PERMS, "a\0n5\0r6"),
		REQUEST(XS_GET_PERMS, "a"),
		REQUEST(XS_DIRECTORY, "a"),
		REQUEST(XS_WATCH, "a\0token"),
		REQUEST(XS_MKDIR, "a/more"),
		REQUEST(XS_UNWATCH, "a\0token"),
		REQUEST(XS_DIRECTORY_PART, "a\0"
					   "0"),
		REQUEST(XS_RM, "a"),
	};
	struct answer answer;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		if (send(scene->guest.fd, "", 0, MSG_NOSIGNAL) < 0)
			return;
		peer_send(&scene->guest, list[i].type, 0, list[i].payload, list[i].len);
		while (peer_receive(&scene->guest, &answer)) {
			if (answer.header.type == XS_ERROR)
				assert_true(failed);
		}
		if (peer_is_closed(&scene->guest)) {
			assert_true(failed);
			return;
		}
	}
}

static void transaction(struct scene *scene)
{
	struct answer answer = { .header = { .type = XS_ERROR } };
	uint32_t tx_id = 1;
	bool committed = false;

	peer_send(&scene->guest, XS_TRANSACTION_START, 0, "", 1);
	peer_send(&scene->guest, XS_WRITE, tx_id, "a/one\0x", sizeof("a/one\0x"));
	peer_send(&scene->guest, XS_READ, tx_id, "a/none", sizeof("a/none"));
	peer_send(&scene->guest, XS_WRITE, tx_id, "a/two\0x", sizeof("a/two\0x"));
	peer_send(&scene->guest, XS_TRANSACTION_END, tx_id, "T", 2);
	while (peer_receive(&scene->guest, &answer)) {
		if (answer.header.type == XS_TRANSACTION_END)
			committed = true;
		if (answer.header.type == XS_ERROR && !failed)
			assert_string_equal(answer.payload, "ENOENT");
	}
	if (!failed) {
		assert_true(committed);
		assert_true(is_there(scene, "/local/domain/5/a/one"));
		assert_true(is_there(scene, "/local/domain/5/a/two"));
	}
}

static void accept_client(struct scene *scene)
{
	struct sr_store_usage usage;
	int fds[2];
	int ret;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ret = sr_store_add_client(scene->store, fds[1], 9);
	assert_done_or_enomem(ret);
	if (ret)
		close(fds[1]);
	close(fds[0]);
	store_run(scene->store);
	sr_store_domain_usage(scene->store, 9, &usage);
	assert_int_equal(usage.connections, 0);
}

#define TEST_EACH(name)                                                                            \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		each_allocation(name);                                                             \
	}

TEST_EACH(create_deep)
TEST_EACH(remove_tree)
TEST_EACH(change_owner)
TEST_EACH(introduce_another)
TEST_EACH(release)
TEST_EACH(requests)
TEST_EACH(transaction)
TEST_EACH(accept_client)

static void test_new_store(void **state)
{
	struct sr_store *store;
	long n = -1;
	int ret;

	do {
		countdown = ++n;
		failed = false;
		ret = sr_store_new(NULL, &store);
		assert_done_or_enomem(ret);
	} while (ret);
	countdown = -1;
	assert_true(n > 3);
	sr_store_free(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_store),         cmocka_unit_test(test_create_deep),
		cmocka_unit_test(test_remove_tree),       cmocka_unit_test(test_change_owner),
		cmocka_unit_test(test_introduce_another), cmocka_unit_test(test_release),
		cmocka_unit_test(test_requests),          cmocka_unit_test(test_transaction),
		cmocka_unit_test(test_accept_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
