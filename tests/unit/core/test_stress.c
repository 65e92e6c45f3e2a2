/* SPDX-License-Identifier: MIT */
/* Threads on the same grants: several backends, an honest guest that revokes, a hostile one that
 * scribbles. */
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NR_REFS    8
#define NR_MAPPERS 3
#define ROUNDS     4000

struct fixture {
	struct machine *m;
	uint16_t dom0, guest;
	struct sr_foreign *view; /* the mappers' own, so that the race detector sees both sides */
	struct sr_grant_table *tab;
	uint32_t ref[NR_REFS];
	_Atomic bool revoked[NR_REFS]; /* by the honest guest, as far as end has said so */
	_Atomic bool stop;
	_Atomic uint32_t okay, refused;
	_Atomic uint32_t wrong; /* broken promises */
};

struct mapper {
	struct fixture *f;
	struct sr_conn *conn;
	uint16_t id;
	unsigned seed;
	pthread_t thread;
};

static struct fixture *open_fixture(void **state, uint32_t version)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint32_t v = version;

	f->m = *state;
	f->dom0 = make_domain(f->m, SR_ROLE_DOM0);
	f->guest = make_domain(f->m, SR_ROLE_GUEST);
	assert_int_equal(sr_core_set_version(f->m->core, f->guest, &v), 0);
	assert_int_equal(sr_foreign_get(f->m->foreigns, f->guest, &f->view), 0);
	assert_int_equal(
	    sr_grant_table_create(f->view->table, f->view->max_frames, 1, version, &f->tab), 0);
	for (uint32_t i = 0; i < NR_REFS; i++)
		f->ref[i] = grant(f->tab, f->dom0, i, false);
	return f;
}

static void close_fixture(struct fixture *f)
{
	assert_int_equal(f->wrong, 0);
	assert_int_equal(pins_of(f->m, f->guest), 0);
	sr_grant_table_destroy(f->tab);
	sr_foreign_put(f->m->foreigns, f->view);
	free(f);
}

static void count(struct fixture *f, int16_t status)
{
	if (status == GNTST_okay)
		f->okay++;
	else if (status == GNTST_general_error || status == GNTST_bad_page)
		f->refused++;
	else
		f->wrong++;
}

static void map_some(struct mapper *t)
{
	struct fixture *f = t->f;
	struct sr_grant_map op[3];
	uint32_t n[3];

	for (int i = 0; i < 3; i++) {
		uint16_t flags = rand_r(&t->seed) % 2 ? GNTMAP_readonly : 0;

		n[i] = (uint32_t)rand_r(&t->seed) % NR_REFS;
		count(f, map_ref(t->conn, f->guest, f->ref[n[i]], flags, &op[i]));
		/* Whatever the guest wrote, we are in its memory. */
		if (op[i].status == GNTST_okay && op[i].frame >= 64)
			f->wrong++;
	}
	for (int i = 0; i < 3; i++) {
		if (op[i].status != GNTST_okay)
			continue;
		/* As long as it is mapped, the guest was not told that it has it back. */
		if (f->revoked[n[i]])
			f->wrong++;
		if (unmap_handle(t->conn, op[i].handle) != GNTST_okay)
			f->wrong++;
	}
}

/* One side foreign, and both. No thread writes the frames that others read (24 bytes each, apart).
 */
static void copy_some(struct mapper *t)
{
	struct fixture *f = t->f;
	char buf[24] = { 0 };
	struct sr_grant_copy s[3];

	for (int i = 0; i < 3; i++) {
		uint32_t a = f->ref[rand_r(&t->seed) % NR_REFS],
			 b = f->ref[rand_r(&t->seed) % NR_REFS];
		uint16_t mine = (uint16_t)(t->id * 64);

		s[i] = (struct sr_grant_copy){
			.source.grant = { .ref = a, .domid = f->guest, .offset = mine },
			.len = 24,
			.flags = SR_COPY_SOURCE_GRANT
		};
		if (i == 2) {
			s[i].flags |= SR_COPY_DEST_GRANT;
			s[i].dest.grant.ref = b;
			s[i].dest.grant.domid = f->guest;
			s[i].dest.grant.offset = mine;
		} else {
			s[i].dest.virt = buf;
		}
	}
	sr_grant_copy(t->conn, s, 3);
	for (int i = 0; i < 3; i++)
		count(f, s[i].status);
}

static void *mapper(void *arg)
{
	struct mapper *t = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (rand_r(&t->seed) % 2)
			map_some(t);
		else
			copy_some(t);
	}
	return NULL;
}

static void run(struct fixture *f, void *(*guest)(void *))
{
	struct mapper t[NR_MAPPERS];
	pthread_t g;

	for (int i = 0; i < NR_MAPPERS; i++) {
		t[i] = (struct mapper){ .f = f, .seed = (unsigned)i + 1 };
		t[i].conn = connect_as(f->m, f->dom0, 16, &t[i].id);
	}
	if (guest)
		assert_int_equal(pthread_create(&g, NULL, guest, f), 0);
	for (int i = 0; i < NR_MAPPERS; i++)
		assert_int_equal(pthread_create(&t[i].thread, NULL, mapper, &t[i]), 0);
	for (int i = 0; i < NR_MAPPERS; i++)
		pthread_join(t[i].thread, NULL);
	f->stop = true;
	if (guest)
		pthread_join(g, NULL);
	for (int i = 0; i < NR_MAPPERS; i++) {
		assert_int_equal(sr_conn_mapped(t[i].conn), 0);
		disconnect(f->m, t[i].conn, t[i].id);
	}
}

/* Nobody revokes: everything succeeds, and all marks go in the end. */
static void alone(void **state, uint32_t version)
{
	struct fixture *f = open_fixture(state, version);

	run(f, NULL);
	assert_int_equal(f->refused, 0);
	assert_int_equal(f->okay, NR_MAPPERS * ROUNDS * 3);
	for (uint32_t i = 0; i < NR_REFS; i++)
		assert_int_equal(sr_grant_table_in_use(f->tab, f->ref[i]), 0);
	close_fixture(f);
}

static void test_many_backends_v1(void **state)
{
	alone(state, 1);
}

static void test_many_backends_v2(void **state)
{
	alone(state, 2);
}

/*
 * An honest guest ends its grants and grants anew. What end has given back to it nobody has mapped,
 * until it grants again; and in v1, where marks and flags are one word, no mark comes up either.
 */
static void *revoker(void *arg)
{
	struct fixture *f = arg;
	unsigned seed = 99;

	while (!f->stop) {
		uint32_t n = (uint32_t)rand_r(&seed) % NR_REFS, ref = f->ref[n];

		if (sr_grant_table_end(f->tab, ref) != 0)
			continue;
		f->revoked[n] = true;
		for (int i = 0; i < 20; i++)
			if (sr_grant_table_version(f->tab) == 1 &&
			    sr_grant_table_in_use(f->tab, ref))
				f->wrong++;
		f->revoked[n] = false;
		sr_grant_table_grant(f->tab, ref, f->dom0, ref % 64, rand_r(&seed) % 4 == 0);
	}
	return NULL;
}

static void revoking(void **state, uint32_t version)
{
	struct fixture *f = open_fixture(state, version);

	run(f, revoker);
	assert_true(f->okay > 0);
	for (uint32_t i = 0; i < NR_REFS; i++)
		assert_int_equal(sr_grant_table_in_use(f->tab, f->ref[i]), 0);
	close_fixture(f);
}

static void test_revoking_guest_v1(void **state)
{
	revoking(state, 1);
}

static void test_revoking_guest_v2(void **state)
{
	revoking(state, 2);
}

/* A hostile guest writes whatever it likes over its entries and marks. We stay inside its memory,
 * our counts stay right, and nobody hangs. */
static void *scribbler(void *arg)
{
	struct fixture *f = arg;
	uint32_t *words = (uint32_t *)(f->view->table + SR_TABLE_GRANT_OFFSET);
	uint32_t *status = (uint32_t *)f->view->status_base;
	unsigned seed = 5, n = 0;

	while (!f->stop) {
		uint32_t ref = f->ref[rand_r(&seed) % NR_REFS];
		uint32_t junk = (uint32_t)rand_r(&seed) ^ (uint32_t)rand_r(&seed) << 16;

		if (++n % 4 == 0)
			sr_grant_table_grant(f->tab, ref, f->dom0, ref % 80, n % 3 == 0);
		else if (n % 4 == 1)
			__atomic_store_n(&words[rand_r(&seed) % 64], junk, __ATOMIC_RELAXED);
		else if (n % 4 == 2)
			__atomic_fetch_xor(&words[ref * 2], junk & 0x1ff, __ATOMIC_RELAXED);
		else
			__atomic_store_n(&status[rand_r(&seed) % 16], junk, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void hostile(void **state, uint32_t version)
{
	struct fixture *f = open_fixture(state, version);

	run(f, scribbler);
	assert_true(f->refused > 0);
	close_fixture(f);
}

static void test_hostile_guest_v1(void **state)
{
	hostile(state, 1);
}

static void test_hostile_guest_v2(void **state)
{
	hostile(state, 2);
}

/* The version changes under the feet of mappers of a reserved entry, which lives through it. */
static void *reserved_mapper(void *arg)
{
	struct mapper *t = arg;
	struct sr_grant_map op;

	while (!t->f->stop) {
		if (map_ref(t->conn, t->f->guest, 1, 0, &op) != GNTST_okay || op.frame != 33 ||
		    unmap_handle(t->conn, op.handle) != GNTST_okay)
			t->f->wrong++;
		t->f->okay++;
	}
	return NULL;
}

static void test_version_changes_meanwhile(void **state)
{
	struct fixture *f = open_fixture(state, 1);
	struct mapper t = { .f = f };
	uint32_t v, changed = 0;

	sr_grant_table_grant(f->tab, 1, f->dom0, 33, false);
	t.conn = connect_as(f->m, f->dom0, 4, &t.id);
	assert_int_equal(pthread_create(&t.thread, NULL, reserved_mapper, &t), 0);
	for (int i = 0; i < 300; i++) {
		v = 1 + (uint32_t)i % 2;
		if (sr_core_set_version(f->m->core, f->guest, &v) == 0)
			changed++;
	}
	f->stop = true;
	pthread_join(t.thread, NULL);
	assert_true(changed > 0);
	disconnect(f->m, t.conn, t.id);
	close_fixture(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)
		T(test_many_backends_v1),          T(test_many_backends_v2),
		T(test_revoking_guest_v1),         T(test_revoking_guest_v2),
		T(test_hostile_guest_v1),          T(test_hostile_guest_v2),
		T(test_version_changes_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
