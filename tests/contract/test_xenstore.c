/* SPDX-License-Identifier: MIT */
/* The provider's xenstore, through libxenstore: who we are there, and what reaches whom. */
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

struct stores {
	struct world *w;
	struct xs_handle *back, *front; /* front: only where it is driven from here */
	char dir[64]; /* a directory that the back domain owns and the front one reads */
};

static int setup(void **state)
{
	struct stores *s = calloc(1, sizeof(*s));
	struct xs_permissions perms[2];

	world_setup((void **)&s->w);
	assert_int_equal(sr_hv_xenstore(s->w->back, &s->back), 0);
	if (!env.remote)
		assert_int_equal(sr_hv_xenstore(s->w->front, &s->front), 0);
	snprintf(s->dir, sizeof(s->dir), "/local/domain/%u/data/contract", env.back_id);
	perms[0] = (struct xs_permissions){ .id = env.back_id, .perms = XS_PERM_NONE };
	perms[1] = (struct xs_permissions){ .id = env.front_id, .perms = XS_PERM_READ };
	assert_true(xs_mkdir(s->back, XBT_NULL, s->dir));
	assert_true(xs_set_permissions(s->back, XBT_NULL, s->dir, perms, 2));
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct stores *s = *state;

	assert_true(xs_rm(s->back, XBT_NULL, s->dir));
	xs_close(s->back);
	if (s->front)
		xs_close(s->front);
	world_teardown((void **)&s->w);
	free(s);
	return 0;
}

static const char *in(const struct stores *s, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	return path;
}

static void relative_paths_are_the_domains_own(void **state)
{
	struct stores *s = *state;
	struct xs_handle *xs = s->front ? s->front : s->back;
	uint16_t id = s->front ? env.front_id : env.back_id;
	char want[32], *path, *domid;
	unsigned len;

	path = xs_get_domain_path(xs, id);
	snprintf(want, sizeof(want), "/local/domain/%u", id);
	assert_string_equal(path, want);
	free(path);
	domid = xs_read(xs, XBT_NULL, "domid", &len);
	snprintf(want, sizeof(want), "%u", id);
	assert_non_null(domid);
	assert_string_equal(domid, want);
	free(domid);
}

static void one_writes_the_other_reads(void **state)
{
	struct stores *s = *state;
	unsigned len;
	char *value;

	world_need_front_here();
	assert_true(xs_write(s->back, XBT_NULL, in(s, "key"), "value", 5));
	value = xs_read(s->front, XBT_NULL, in(s, "key"), &len);
	assert_non_null(value);
	assert_int_equal(len, 5);
	assert_string_equal(value, "value");
	free(value);
}

static void permissions_hold(void **state)
{
	struct stores *s = *state;

	world_need_front_here();
	assert_false(xs_write(s->front, XBT_NULL, in(s, "key"), "value", 5));
	assert_int_equal(errno, EACCES);
	assert_false(xs_rm(s->front, XBT_NULL, s->dir));
	assert_int_equal(errno, EACCES);
}

static void take_watch(struct xs_handle *xs, const char *path, const char *token)
{
	struct pollfd pfd = { .fd = xs_fileno(xs), .events = POLLIN };
	unsigned n;
	char **v;

	assert_int_equal(poll(&pfd, 1, 10000), 1);
	v = xs_read_watch(xs, &n);
	assert_non_null(v);
	assert_string_equal(v[XS_WATCH_PATH], path);
	assert_string_equal(v[XS_WATCH_TOKEN], token);
	free(v);
}

static void watches_fire(void **state)
{
	struct stores *s = *state;

	world_need_front_here();
	assert_true(xs_watch(s->front, s->dir, "token"));
	take_watch(s->front, s->dir, "token");
	assert_true(xs_write(s->back, XBT_NULL, in(s, "state"), "4", 1));
	take_watch(s->front, in(s, "state"), "token");
	assert_true(xs_unwatch(s->front, s->dir, "token"));
}

static void a_conflict_ends_in_eagain(void **state)
{
	struct stores *s = *state;
	xs_transaction_t t = xs_transaction_start(s->back);
	char *value;
	unsigned len;

	assert_int_not_equal(t, XBT_NULL);
	assert_true(xs_write(s->back, XBT_NULL, in(s, "n"), "1", 1));
	value = xs_read(s->back, t, in(s, "n"), &len);
	free(value);
	assert_true(xs_write(s->back, XBT_NULL, in(s, "n"), "2", 1));
	assert_true(xs_write(s->back, t, in(s, "n"), "3", 1));
	assert_false(xs_transaction_end(s->back, t, false));
	assert_int_equal(errno, EAGAIN);
}

static void domains_come_and_go(void **state)
{
	struct stores *s = *state;
	char address[256], path[64], *value;
	uint16_t domid;
	unsigned len;

	assert_true(xs_watch(s->back, "@releaseDomain", "gone"));
	take_watch(s->back, "@releaseDomain", "gone");
	if (!env_make_guest(&domid, address))
		world_skip("no domain that may be destroyed");
	assert_true(xs_is_domain_introduced(s->back, domid));
	snprintf(path, sizeof(path), "/local/domain/%u", domid);
	value = xs_read(s->back, XBT_NULL, path, &len);
	assert_non_null(value);
	free(value);
	env_kill_guest(domid);
	take_watch(s->back, "@releaseDomain", "gone");
	assert_null(xs_read(s->back, XBT_NULL, path, &len));
	assert_int_equal(errno, ENOENT);
	assert_false(xs_is_domain_introduced(s->back, domid));
}

static void *open_and_read(void *arg)
{
	struct sr_hypervisor *hv = arg;
	uint16_t want = sr_hv_domid(hv);

	for (int i = 0; i < 20; i++) {
		struct xs_handle *xs;
		unsigned len;
		char *v;

		if (sr_hv_xenstore(hv, &xs))
			return "no xenstore";
		v = xs_read(xs, XBT_NULL, "domid", &len);
		xs_close(xs);
		if (!v || strtoul(v, NULL, 10) != want)
			return "another domain's xenstore";
		free(v);
	}
	return NULL;
}

static void threads_open_each_domains_own(void **state)
{
	struct stores *s = *state;
	pthread_t a, b;
	void *ra, *rb;

	world_need_front_here();
	pthread_create(&a, NULL, open_and_read, s->w->back);
	pthread_create(&b, NULL, open_and_read, s->w->front);
	pthread_join(a, &ra);
	pthread_join(b, &rb);
	assert_null(ra);
	assert_null(rb);
}

#define STORE_CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		STORE_CASE(relative_paths_are_the_domains_own),
		STORE_CASE(one_writes_the_other_reads),
		STORE_CASE(permissions_hold),
		STORE_CASE(watches_fire),
		STORE_CASE(a_conflict_ends_in_eagain),
		STORE_CASE(domains_come_and_go),
		STORE_CASE(threads_open_each_domains_own),
	};

	return world_main(argc, argv, "xenstore", tests, sizeof(tests) / sizeof(tests[0]));
}
