/* SPDX-License-Identifier: MIT */
/* Mapping and unmapping of grants: every status, every count, both table versions. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* dom0 maps from guest 1, in a table of the version under test. */
struct fixture {
	struct machine *m;
	uint16_t dom0, guest, id;
	struct sr_conn *conn;
	struct sr_grant_table *tab;
};

static struct fixture open_fixture(void **state, uint32_t version, uint32_t capacity)
{
	struct fixture f = { .m = *state };
	uint32_t v = version;

	f.dom0 = make_domain(f.m, SR_ROLE_DOM0);
	f.guest = make_domain(f.m, SR_ROLE_GUEST);
	assert_int_equal(sr_core_set_version(f.m->core, f.guest, &v), 0);
	f.tab = table_of(f.m, f.guest);
	f.conn = connect_as(f.m, f.dom0, capacity, &f.id);
	return f;
}

static void close_fixture(struct fixture *f)
{
	disconnect(f->m, f->conn, f->id);
	sr_grant_table_destroy(f->tab);
}

static void map_and_unmap(void **state, uint32_t version)
{
	struct fixture f = open_fixture(state, version, 16);
	uint32_t ref = grant(f.tab, f.dom0, 5, false);
	struct sr_grant_map a, b;

	strcpy((char *)page_of(f.m, f.guest, 5), "hello");
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &a), GNTST_okay);
	assert_string_equal((char *)a.page, "hello");
	assert_int_equal(a.frame, 5);
	assert_int_equal(sr_grant_table_in_use(f.tab, ref), GTF_reading | GTF_writing);
	assert_int_equal(sr_grant_table_end(f.tab, ref), -EBUSY);

	assert_int_equal(map_ref(f.conn, f.guest, ref, GNTMAP_readonly, &b), GNTST_okay);
	assert_int_not_equal(a.handle, b.handle);
	assert_int_equal(pins_of(f.m, f.guest), 2);
	assert_int_equal(unmap_handle(f.conn, a.handle), GNTST_okay);
	assert_int_equal(sr_grant_table_in_use(f.tab, ref), GTF_reading);
	assert_int_equal(sr_grant_table_end(f.tab, ref), -EBUSY);
	assert_int_equal(unmap_handle(f.conn, a.handle), GNTST_bad_handle);
	assert_int_equal(unmap_handle(f.conn, b.handle), GNTST_okay);
	assert_int_equal(sr_grant_table_in_use(f.tab, ref), 0);
	assert_int_equal(pins_of(f.m, f.guest), 0);

	assert_int_equal(sr_grant_table_end(f.tab, ref), 0);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &a), GNTST_general_error);
	close_fixture(&f);
}

static void test_map_v1(void **state)
{
	map_and_unmap(state, 1);
}

static void test_map_v2(void **state)
{
	map_and_unmap(state, 2);
}

/* Each way to be refused, with its code; a refusal leaves no mark and no pin. */
static void refusals(void **state, uint32_t version)
{
	struct fixture f = open_fixture(state, version, 16);
	uint16_t other = make_domain(f.m, SR_ROLE_GUEST);
	uint32_t entries = sr_grant_entries(version, 1);
	struct {
		const char *what;
		uint16_t dom;
		uint32_t ref;
		uint16_t flags;
		int16_t status;
	} cases[] = {
		{ "no such domain", 77, 8, 0, GNTST_bad_domain },
		{ "DOMID_SELF is no granter", DOMID_SELF, 8, 0, GNTST_bad_domain },
		{ "number out of range", 0xffff, 8, 0, GNTST_bad_domain },
		{ "first reference behind the table", f.guest, entries, 0, GNTST_bad_gntref },
		{ "reference far out", f.guest, UINT32_MAX, 0, GNTST_bad_gntref },
		{ "granted to nobody", f.guest, entries - 1, 0, GNTST_general_error },
		{ "granted to another", f.guest, grant(f.tab, other, 3, false), 0,
		  GNTST_general_error },
		{ "read-only", f.guest, grant(f.tab, f.dom0, 3, true), 0, GNTST_general_error },
		{ "read-only, for reading", f.guest, grant(f.tab, f.dom0, 3, true), GNTMAP_readonly,
		  GNTST_okay },
		{ "frame behind memory", f.guest, grant(f.tab, f.dom0, 64, false), 0,
		  GNTST_bad_page },
		{ "last frame", f.guest, grant(f.tab, f.dom0, 63, false), 0, GNTST_okay },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sr_grant_map op;
		int16_t st = map_ref(f.conn, cases[i].dom, cases[i].ref, cases[i].flags, &op);

		if (st != cases[i].status)
			fail_msg("%s: status %d, not %d", cases[i].what, st, cases[i].status);
		if (st == GNTST_okay)
			assert_int_equal(unmap_handle(f.conn, op.handle), GNTST_okay);
		if (cases[i].dom == f.guest && cases[i].ref < entries)
			assert_int_equal(sr_grant_table_in_use(f.tab, cases[i].ref), 0);
	}
	assert_int_equal(pins_of(f.m, f.guest), 0);
	assert_int_equal(sr_conn_mapped(f.conn), 0);
	close_fixture(&f);
}

static void test_refusals_v1(void **state)
{
	refusals(state, 1);
}

static void test_refusals_v2(void **state)
{
	refusals(state, 2);
}

static void test_sub_page_and_transitive_are_not_mapped(void **state)
{
	struct fixture f = open_fixture(state, 2, 16);
	struct sr_grant_map op;
	uint32_t ref;

	assert_int_equal(sr_grant_table_alloc(f.tab, &ref), 0);
	assert_int_equal(sr_grant_table_grant_sub_page(f.tab, ref, f.dom0, 3, 16, 32, false), 0);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &op), GNTST_general_error);
	assert_int_equal(sr_grant_table_grant_transitive(f.tab, ref, f.dom0, f.dom0, 8, false), 0);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &op), GNTST_general_error);
	assert_int_equal(sr_grant_table_in_use(f.tab, ref), 0);
	close_fixture(&f);
}

static void test_no_space(void **state)
{
	struct fixture f = open_fixture(state, 1, 2);
	uint32_t ref = grant(f.tab, f.dom0, 5, false);
	struct sr_grant_map a, b, c;

	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &a), GNTST_okay);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &b), GNTST_okay);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &c), GNTST_no_space);
	assert_int_equal(unmap_handle(f.conn, a.handle), GNTST_okay);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &c), GNTST_okay);
	assert_int_equal(c.handle, a.handle);
	/* The rest goes with the connection. */
	close_fixture(&f);
	assert_int_equal(pins_of(f.m, f.guest), 0);
}

static void test_maptrack_limit(void **state)
{
	struct machine *m = *state;
	uint16_t dom0 =
	    make_domain_with(m, (struct sr_domain_config){ .nr_pages = 1, .max_maptrack = 10 });
	uint16_t a, b;

	assert_int_equal(sr_core_connection_create(m->core, dom0, 8, &a), 0);
	assert_int_equal(sr_core_connection_create(m->core, dom0, 3, &b), -ENOSPC);
	assert_int_equal(sr_core_connection_create(m->core, dom0, 2, &b), 0);
	assert_int_equal(sr_core_connection_dead(m->core, a), 0);
	assert_int_equal(sr_core_connection_dead(m->core, a), -ENOENT);
	assert_int_equal(sr_core_connection_create(m->core, dom0, 8, &a), 0);
	assert_int_equal(sr_core_connection_create(m->core, 5, 8, &a), -ESRCH);
}

static void test_pin_overflow(void **state)
{
	struct fixture f = open_fixture(state, 1, SR_ACTIVE_PIN_MAX + 8);
	uint32_t ref = grant(f.tab, f.dom0, 5, false);
	struct sr_grant_map op;

	for (uint32_t i = 0; i < SR_ACTIVE_PIN_MAX; i++)
		assert_int_equal(map_ref(f.conn, f.guest, ref, GNTMAP_readonly, &op), GNTST_okay);
	assert_int_equal(map_ref(f.conn, f.guest, ref, GNTMAP_readonly, &op), GNTST_general_error);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &op), GNTST_okay);
	assert_int_equal(pins_of(f.m, f.guest), SR_ACTIVE_PIN_MAX + 1);
	close_fixture(&f);
	assert_int_equal(pins_of(f.m, f.guest), 0);
}

/* A second domain cannot join a pin, whatever the guest writes into the entry meanwhile. */
static void test_entry_rewritten_while_mapped(void **state)
{
	struct fixture f = open_fixture(state, 1, 16);
	uint16_t driver = make_domain(f.m, SR_ROLE_DRIVER), id;
	struct sr_conn *second = connect_as(f.m, driver, 16, &id);
	uint32_t ref = grant(f.tab, f.dom0, 5, false);
	struct sr_grant_map a, b, c;

	assert_int_equal(map_ref(f.conn, f.guest, ref, GNTMAP_readonly, &a), GNTST_okay);
	sr_grant_table_grant(f.tab, ref, driver, 9, false);
	assert_int_equal(map_ref(second, f.guest, ref, 0, &b), GNTST_general_error);
	/* Who has it pinned stays with the frame that was granted first. */
	assert_int_equal(map_ref(f.conn, f.guest, ref, GNTMAP_readonly, &c), GNTST_okay);
	assert_int_equal(c.frame, 5);
	assert_int_equal(unmap_handle(f.conn, a.handle), GNTST_okay);
	assert_int_equal(unmap_handle(f.conn, c.handle), GNTST_okay);
	assert_int_equal(map_ref(second, f.guest, ref, 0, &b), GNTST_okay);
	assert_int_equal(b.frame, 9);
	disconnect(f.m, second, id);
	close_fixture(&f);
}

static void test_abi_calls(void **state)
{
	struct fixture f = open_fixture(state, 1, 16);
	uint32_t ref = grant(f.tab, f.dom0, 5, false);
	struct gnttab_map_grant_ref map[3] = {
		{ .flags = GNTMAP_host_map, .ref = ref, .dom = f.guest },
		{ .flags = GNTMAP_readonly, .ref = ref, .dom = f.guest },
		{ .flags = GNTMAP_host_map | GNTMAP_contains_pte, .ref = ref, .dom = f.guest },
	};
	struct gnttab_unmap_grant_ref unmap[2] = { { .handle = 0 }, { .handle = 12345 } };

	sr_grant_map_abi(f.conn, map, 3);
	assert_int_equal(map[0].status, GNTST_okay);
	assert_int_equal(map[0].dev_bus_addr, 5 * 4096);
	assert_int_equal(map[1].status, GNTST_bad_gntref);
	assert_int_equal(map[2].status, GNTST_general_error);
	unmap[0].handle = map[0].handle;
	sr_grant_unmap_abi(f.conn, unmap, 2);
	assert_int_equal(unmap[0].status, GNTST_okay);
	assert_int_equal(unmap[1].status, GNTST_bad_handle);
	close_fixture(&f);
}

static void test_batch(void **state)
{
	struct fixture f = open_fixture(state, 1, 64);
	struct sr_grant_unmap undo[40];
	struct sr_grant_map ops[40];

	for (unsigned i = 0; i < 40; i++)
		ops[i] =
		    (struct sr_grant_map){ .dom = f.guest, .ref = grant(f.tab, f.dom0, i, i % 2) };
	sr_grant_map(f.conn, ops, 40);
	for (unsigned i = 0; i < 40; i++) {
		struct sr_maptrack info;

		assert_int_equal(ops[i].status, i % 2 ? GNTST_general_error : GNTST_okay);
		undo[i].handle = i % 2 ? ~0u : ops[i].handle;
		if (i % 2)
			continue;
		assert_int_equal(sr_grant_handle_info(f.conn, ops[i].handle, &info), 0);
		assert_int_equal(info.frame, i);
		assert_int_equal(info.granter, f.guest);
	}
	sr_grant_unmap(f.conn, undo, 40);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(undo[i].status, i % 2 ? GNTST_bad_handle : GNTST_okay);
	close_fixture(&f);
}

static void test_table_allocator(void **state)
{
	struct fixture f = open_fixture(state, 1, 16);
	uint32_t ref, last = 0, n = 0;

	assert_int_equal(sr_grant_table_free_refs(f.tab), 512 - GNTTAB_NR_RESERVED_ENTRIES);
	while (sr_grant_table_alloc(f.tab, &ref) == 0) {
		assert_true(ref >= GNTTAB_NR_RESERVED_ENTRIES);
		last = ref;
		n++;
	}
	assert_int_equal(n, 512 - GNTTAB_NR_RESERVED_ENTRIES);
	assert_int_equal(sr_core_setup_table(f.m->core, f.guest, DOMID_SELF, 2), GNTST_okay);
	assert_int_equal(sr_grant_table_grown(f.tab, 2), 0);
	assert_int_equal(sr_grant_table_alloc(f.tab, &ref), 0);
	assert_int_equal(ref, 512);
	assert_int_equal(sr_grant_table_free(f.tab, last), 0);
	assert_int_equal(sr_grant_table_free(f.tab, 3), -EINVAL);
	assert_int_equal(sr_grant_table_free(f.tab, 5000), -EINVAL);
	assert_int_equal(sr_grant_table_alloc(f.tab, &ref), 0);
	assert_int_equal(ref, last);
	assert_int_equal(sr_grant_table_grown(f.tab, 65), -EINVAL);
	assert_int_equal(sr_grant_table_grant_sub_page(f.tab, ref, 0, 1, 0, 1, false), -EOPNOTSUPP);
	assert_int_equal(sr_grant_table_grant_transitive(f.tab, ref, 0, 1, 0, false), -EOPNOTSUPP);
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)
		T(test_map_v1),
		T(test_map_v2),
		T(test_refusals_v1),
		T(test_refusals_v2),
		T(test_sub_page_and_transitive_are_not_mapped),
		T(test_no_space),
		T(test_maptrack_limit),
		T(test_pin_overflow),
		T(test_entry_rewritten_while_mapped),
		T(test_abi_calls),
		T(test_batch),
		T(test_table_allocator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
