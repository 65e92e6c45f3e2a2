/* SPDX-License-Identifier: MIT */
/* Grant copy: bounds, both directions, both sides foreign, sub-page and transitive grants. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* dom0 copies; guests a and b grant. Tables of version 2, unless a test says otherwise. */
struct fixture {
	struct machine *m;
	uint16_t dom0, a, b, id;
	struct sr_conn *conn;
	struct sr_grant_table *tab_a, *tab_b;
	uint8_t buf[8192];
};

static struct fixture *open_fixture(void **state, uint32_t version)
{
	struct fixture *f = calloc(1, sizeof(*f));
	uint32_t v = version;

	f->m = *state;
	f->dom0 = make_domain(f->m, SR_ROLE_DOM0);
	f->a = make_domain(f->m, SR_ROLE_GUEST);
	f->b = make_domain(f->m, SR_ROLE_GUEST);
	assert_int_equal(sr_core_set_version(f->m->core, f->a, &v), 0);
	assert_int_equal(sr_core_set_version(f->m->core, f->b, &v), 0);
	f->tab_a = table_of(f->m, f->a);
	f->tab_b = table_of(f->m, f->b);
	f->conn = connect_as(f->m, f->dom0, 16, &f->id);
	return f;
}

/* Whatever was copied, nothing stays behind. */
static void close_fixture(struct fixture *f)
{
	assert_int_equal(pins_of(f->m, f->a), 0);
	assert_int_equal(pins_of(f->m, f->b), 0);
	for (uint32_t ref = 0; ref < 256; ref++) {
		assert_int_equal(sr_grant_table_in_use(f->tab_a, ref), 0);
		assert_int_equal(sr_grant_table_in_use(f->tab_b, ref), 0);
	}
	disconnect(f->m, f->conn, f->id);
	sr_grant_table_destroy(f->tab_a);
	sr_grant_table_destroy(f->tab_b);
	free(f);
}

static int16_t read_from(struct fixture *f, uint16_t dom, uint32_t ref, uint16_t off, uint16_t len)
{
	struct sr_grant_copy s = { .source.grant = { .ref = ref, .domid = dom, .offset = off },
				   .dest.virt = f->buf,
				   .len = len,
				   .flags = SR_COPY_SOURCE_GRANT };

	sr_grant_copy(f->conn, &s, 1);
	return s.status;
}

static int16_t write_to(struct fixture *f, uint16_t dom, uint32_t ref, uint16_t off, uint16_t len)
{
	struct sr_grant_copy s = { .dest.grant = { .ref = ref, .domid = dom, .offset = off },
				   .source.virt = f->buf,
				   .len = len,
				   .flags = SR_COPY_DEST_GRANT };

	sr_grant_copy(f->conn, &s, 1);
	return s.status;
}

static int16_t between(struct fixture *f, uint32_t ref_a, uint16_t off_a, uint32_t ref_b,
		       uint16_t off_b, uint16_t len)
{
	struct sr_grant_copy s = { .source.grant = { .ref = ref_a, .domid = f->a, .offset = off_a },
				   .dest.grant = { .ref = ref_b, .domid = f->b, .offset = off_b },
				   .len = len,
				   .flags = SR_COPY_SOURCE_GRANT | SR_COPY_DEST_GRANT };

	sr_grant_copy(f->conn, &s, 1);
	return s.status;
}

static void both_ways(void **state, uint32_t version)
{
	struct fixture *f = open_fixture(state, version);
	uint32_t ro = grant(f->tab_a, f->dom0, 1, true), rw = grant(f->tab_a, f->dom0, 2, false);

	memset(page_of(f->m, f->a, 1), 'x', 4096);
	assert_int_equal(read_from(f, f->a, ro, 100, 50), GNTST_okay);
	assert_memory_equal(f->buf, page_of(f->m, f->a, 1), 50);
	assert_int_equal(f->buf[50], 0);
	assert_int_equal(write_to(f, f->a, ro, 0, 1), GNTST_general_error);
	memset(f->buf, 'y', 4096);
	assert_int_equal(write_to(f, f->a, rw, 4000, 96), GNTST_okay);
	assert_int_equal(page_of(f->m, f->a, 2)[3999], 0);
	assert_int_equal(page_of(f->m, f->a, 2)[4000], 'y');
	assert_int_equal(page_of(f->m, f->a, 2)[4095], 'y');
	close_fixture(f);
}

static void test_both_ways_v1(void **state)
{
	both_ways(state, 1);
}

static void test_both_ways_v2(void **state)
{
	both_ways(state, 2);
}

static void test_bounds(void **state)
{
	struct fixture *f = open_fixture(state, 2);
	uint32_t ref = grant(f->tab_a, f->dom0, 1, false),
		 out = grant(f->tab_a, f->dom0, 64, false);
	struct {
		uint16_t off, len;
		int16_t status;
	} cases[] = {
		{ 0, 4096, GNTST_okay },         { 4095, 1, GNTST_okay },
		{ 4096, 0, GNTST_okay },         { 0, 0, GNTST_okay },
		{ 1, 4096, GNTST_bad_copy_arg }, { 4096, 1, GNTST_bad_copy_arg },
		{ 0, 4097, GNTST_bad_copy_arg }, { 65535, 65535, GNTST_bad_copy_arg },
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_from(f, f->a, ref, cases[i].off, cases[i].len),
				 cases[i].status);
		assert_int_equal(write_to(f, f->a, ref, cases[i].off, cases[i].len),
				 cases[i].status);
	}
	assert_int_equal(read_from(f, f->a, out, 0, 1), GNTST_bad_page);
	assert_int_equal(read_from(f, 99, ref, 0, 1), GNTST_bad_domain);
	assert_int_equal(read_from(f, f->a, 256, 0, 1), GNTST_bad_gntref);
	assert_int_equal(read_from(f, f->a, UINT32_MAX, 0, 1), GNTST_bad_gntref);
	assert_int_equal(read_from(f, f->a, 200, 0, 1), GNTST_general_error);
	assert_int_equal(read_from(f, f->b, ref, 0, 1), GNTST_general_error);
	close_fixture(f);
}

/* Every segment has its own status, and a bad one does not keep the next from being done. */
static void test_status_per_segment(void **state)
{
	struct fixture *f = open_fixture(state, 1);
	uint32_t ref = grant(f->tab_a, f->dom0, 1, true);
	struct sr_grant_copy s[40];

	for (unsigned i = 0; i < 40; i++)
		s[i] = (struct sr_grant_copy){ .source.grant = { .ref = i % 4 == 3 ? 400 : ref,
								 .domid = f->a,
								 .offset = (uint16_t)i },
					       .dest.virt = f->buf + i,
					       .len = 1,
					       .flags = i % 8 == 6 ? 0 : SR_COPY_SOURCE_GRANT };
	for (unsigned i = 0; i < 40; i++)
		page_of(f->m, f->a, 1)[i] = (uint8_t)(i + 1);
	sr_grant_copy(f->conn, s, 40);
	for (unsigned i = 0; i < 40; i++) {
		int16_t want = i % 4 == 3   ? GNTST_general_error
			       : i % 8 == 6 ? GNTST_bad_copy_arg
					    : 0;

		assert_int_equal(s[i].status, want);
		assert_int_equal(f->buf[i], want ? 0 : i + 1);
	}
	close_fixture(f);
}

static void test_both_sides_foreign(void **state)
{
	struct fixture *f = open_fixture(state, 1);
	uint32_t from = grant(f->tab_a, f->dom0, 1, true), to = grant(f->tab_b, f->dom0, 2, false);
	uint32_t to_ro = grant(f->tab_b, f->dom0, 3, true);

	strcpy((char *)page_of(f->m, f->a, 1) + 10, "across");
	assert_int_equal(between(f, from, 10, to, 20, 7), GNTST_okay);
	assert_string_equal((char *)page_of(f->m, f->b, 2) + 20, "across");
	assert_int_equal(between(f, from, 10, to_ro, 20, 7), GNTST_general_error);
	assert_int_equal(between(f, 300, 10, to, 20, 7), GNTST_general_error);
	close_fixture(f);
}

/* One reference as source and destination: read-only is enough for neither. */
static void test_same_reference_twice(void **state)
{
	for (uint32_t version = 1; version <= 2; version++) {
		struct fixture *f;
		struct sr_grant_copy s;
		uint32_t rw, ro;

		machine_teardown(state);
		machine_setup(state);
		f = open_fixture(state, version);
		rw = grant(f->tab_a, f->dom0, 1, false);
		ro = grant(f->tab_a, f->dom0, 2, true);
		strcpy((char *)page_of(f->m, f->a, 1), "twice");
		s = (struct sr_grant_copy){
			.source.grant = { .ref = rw, .domid = f->a },
			.dest.grant = { .ref = rw, .domid = f->a, .offset = 3000 },
			.len = 6,
			.flags = SR_COPY_SOURCE_GRANT | SR_COPY_DEST_GRANT
		};
		sr_grant_copy(f->conn, &s, 1);
		assert_int_equal(s.status, GNTST_okay);
		assert_string_equal((char *)page_of(f->m, f->a, 1) + 3000, "twice");
		s.source.grant.ref = s.dest.grant.ref = ro;
		sr_grant_copy(f->conn, &s, 1);
		assert_int_equal(s.status, GNTST_general_error);
		close_fixture(f);
	}
}

static void test_sub_page(void **state)
{
	struct fixture *f = open_fixture(state, 2);
	uint32_t ref, wild;

	assert_int_equal(sr_grant_table_alloc(f->tab_a, &ref), 0);
	assert_int_equal(sr_grant_table_grant_sub_page(f->tab_a, ref, f->dom0, 1, 100, 50, false),
			 0);
	assert_int_equal(read_from(f, f->a, ref, 100, 50), GNTST_okay);
	assert_int_equal(write_to(f, f->a, ref, 149, 1), GNTST_okay);
	assert_int_equal(read_from(f, f->a, ref, 99, 2), GNTST_general_error);
	assert_int_equal(read_from(f, f->a, ref, 149, 2), GNTST_general_error);
	assert_int_equal(write_to(f, f->a, ref, 0, 1), GNTST_general_error);
	/* A guest that grants more than a page gives no more than a page. */
	assert_int_equal(sr_grant_table_alloc(f->tab_a, &wild), 0);
	assert_int_equal(
	    sr_grant_table_grant_sub_page(f->tab_a, wild, f->dom0, 1, 65535, 65535, false), 0);
	assert_int_equal(read_from(f, f->a, wild, 0, 1), GNTST_general_error);
	assert_int_equal(
	    sr_grant_table_grant_sub_page(f->tab_a, wild, f->dom0, 1, 4000, 65535, false), 0);
	assert_int_equal(read_from(f, f->a, wild, 4000, 96), GNTST_okay);
	assert_int_equal(read_from(f, f->a, wild, 4000, 97), GNTST_bad_copy_arg);
	close_fixture(f);
}

/* a grants a page to b, b passes it on to dom0. */
static void test_transitive(void **state)
{
	struct fixture *f = open_fixture(state, 2);
	uint32_t base = grant(f->tab_a, f->b, 7, true), via, sub, via_sub;

	strcpy((char *)page_of(f->m, f->a, 7), "from far");
	assert_int_equal(sr_grant_table_alloc(f->tab_b, &via), 0);
	assert_int_equal(sr_grant_table_grant_transitive(f->tab_b, via, f->dom0, f->a, base, false),
			 0);
	assert_int_equal(read_from(f, f->b, via, 0, 9), GNTST_okay);
	assert_string_equal((char *)f->buf, "from far");
	/* No way to more than the first granter gave, */
	assert_int_equal(write_to(f, f->b, via, 0, 9), GNTST_general_error);
	/* nor round the middle. */
	assert_int_equal(read_from(f, f->a, base, 0, 9), GNTST_general_error);
	assert_int_equal(sr_grant_table_alloc(f->tab_a, &sub), 0);
	assert_int_equal(sr_grant_table_grant_sub_page(f->tab_a, sub, f->b, 7, 0, 4, true), 0);
	assert_int_equal(sr_grant_table_alloc(f->tab_b, &via_sub), 0);
	assert_int_equal(
	    sr_grant_table_grant_transitive(f->tab_b, via_sub, f->dom0, f->a, sub, true), 0);
	assert_int_equal(read_from(f, f->b, via_sub, 0, 4), GNTST_okay);
	assert_int_equal(read_from(f, f->b, via_sub, 0, 5), GNTST_general_error);
	close_fixture(f);
}

static void test_transitive_refusals(void **state)
{
	struct fixture *f = open_fixture(state, 2);
	uint32_t direct = grant(f->tab_a, f->dom0, 7, true), mine = grant(f->tab_b, f->b, 3, true);
	uint32_t via, chain;

	assert_int_equal(sr_grant_table_alloc(f->tab_b, &via), 0);
	assert_int_equal(sr_grant_table_alloc(f->tab_a, &chain), 0);
	/* The far grant is to dom0, not to b. */
	sr_grant_table_grant_transitive(f->tab_b, via, f->dom0, f->a, direct, true);
	assert_int_equal(read_from(f, f->b, via, 0, 1), GNTST_general_error);
	/* Through itself. */
	sr_grant_table_grant_transitive(f->tab_b, via, f->dom0, f->b, mine, true);
	assert_int_equal(read_from(f, f->b, via, 0, 1), GNTST_general_error);
	/* Nobody there. */
	sr_grant_table_grant_transitive(f->tab_b, via, f->dom0, 99, 8, true);
	assert_int_equal(read_from(f, f->b, via, 0, 1), GNTST_general_error);
	/* Out of the far table. */
	sr_grant_table_grant_transitive(f->tab_b, via, f->dom0, f->a, 9999999, true);
	assert_int_equal(read_from(f, f->b, via, 0, 1), GNTST_bad_gntref);
	/* Two steps, and round in a circle. */
	sr_grant_table_grant_transitive(f->tab_a, chain, f->b, f->b, via, true);
	sr_grant_table_grant_transitive(f->tab_b, via, f->dom0, f->a, chain, true);
	assert_int_equal(read_from(f, f->b, via, 0, 1), GNTST_general_error);
	/* For writing through a middle that says read-only. */
	sr_grant_table_grant(f->tab_a, direct, f->b, 7, false);
	sr_grant_table_grant_transitive(f->tab_b, via, f->dom0, f->a, direct, true);
	assert_int_equal(write_to(f, f->b, via, 0, 1), GNTST_general_error);
	assert_int_equal(read_from(f, f->b, via, 0, 1), GNTST_okay);
	close_fixture(f);
}

/* Both sides transitive and leading to one page: four locks, of which two are one. */
static void test_transitive_both_sides(void **state)
{
	struct fixture *f = open_fixture(state, 2);
	uint32_t base = grant(f->tab_a, f->b, 7, false), via1, via2;
	struct sr_grant_copy s = { .len = 5, .flags = SR_COPY_SOURCE_GRANT | SR_COPY_DEST_GRANT };

	sr_grant_table_alloc(f->tab_b, &via1);
	sr_grant_table_alloc(f->tab_b, &via2);
	sr_grant_table_grant_transitive(f->tab_b, via1, f->dom0, f->a, base, true);
	sr_grant_table_grant_transitive(f->tab_b, via2, f->dom0, f->a, base, false);
	s.source.grant.ref = via1;
	s.dest.grant.ref = via2;
	s.source.grant.domid = s.dest.grant.domid = f->b;
	s.dest.grant.offset = 50;
	strcpy((char *)page_of(f->m, f->a, 7), "four");
	sr_grant_copy(f->conn, &s, 1);
	assert_int_equal(s.status, GNTST_okay);
	assert_string_equal((char *)page_of(f->m, f->a, 7) + 50, "four");
	close_fixture(f);
}

/* A mapped grant can be copied too, and keeps its marks. */
static void test_copy_while_mapped(void **state)
{
	for (uint32_t version = 1; version <= 2; version++) {
		struct sr_grant_map map;
		struct fixture *f;
		uint32_t ref;

		machine_teardown(state);
		machine_setup(state);
		f = open_fixture(state, version);
		ref = grant(f->tab_a, f->dom0, 1, false);
		assert_int_equal(map_ref(f->conn, f->a, ref, GNTMAP_readonly, &map), GNTST_okay);
		assert_int_equal(write_to(f, f->a, ref, 0, 8), GNTST_okay);
		assert_int_equal(sr_grant_table_in_use(f->tab_a, ref), GTF_reading);
		assert_int_equal(read_from(f, f->a, ref, 0, 8), GNTST_okay);
		assert_int_equal(sr_grant_table_in_use(f->tab_a, ref), GTF_reading);
		assert_int_equal(unmap_handle(f->conn, map.handle), GNTST_okay);
		close_fixture(f);
	}
}

static void test_abi(void **state)
{
	struct fixture *f = open_fixture(state, 1);
	uint32_t ref = grant(f->tab_a, f->dom0, 1, false);
	struct gnttab_copy ops[] = {
		{ .source = { .u.ref = ref, .domid = f->a },
		  .dest = { .u.gmfn = 9, .domid = DOMID_SELF },
		  .len = 6,
		  .flags = GNTCOPY_source_gref },
		{ .source = { .u.gmfn = 9, .domid = DOMID_SELF },
		  .dest = { .u.gmfn = 10, .domid = DOMID_SELF },
		  .len = 6 },
		{ .source = { .u.gmfn = 9, .domid = f->a },
		  .dest = { .u.gmfn = 10, .domid = DOMID_SELF },
		  .len = 6 },
		{ .source = { .u.gmfn = 64, .domid = DOMID_SELF },
		  .dest = { .u.ref = ref, .domid = f->a },
		  .len = 6,
		  .flags = GNTCOPY_dest_gref },
		{ .source = { .u.gmfn = 9, .domid = DOMID_SELF, .offset = 4091 },
		  .dest = { .u.ref = ref, .domid = f->a },
		  .len = 6,
		  .flags = GNTCOPY_dest_gref },
	};

	strcpy((char *)page_of(f->m, f->a, 1), "frame");
	sr_grant_copy_abi(f->conn, ops, 5);
	assert_int_equal(ops[0].status, GNTST_okay);
	assert_int_equal(ops[1].status, GNTST_okay);
	assert_int_equal(ops[2].status, GNTST_permission_denied);
	assert_int_equal(ops[3].status, GNTST_bad_page);
	assert_int_equal(ops[4].status, GNTST_bad_copy_arg);
	assert_string_equal((char *)page_of(f->m, f->dom0, 9), "frame");
	assert_string_equal((char *)page_of(f->m, f->dom0, 10), "frame");
	close_fixture(f);
}

/* What the machine process does for a guest that has no view of others. */
static void test_on_behalf_of_a_guest(void **state)
{
	struct fixture *f = open_fixture(state, 1);
	uint32_t ref = grant(f->tab_a, f->b, 1, true);
	struct gnttab_copy op = { .source = { .u.ref = ref, .domid = f->a },
				  .dest = { .u.gmfn = 4, .domid = DOMID_SELF },
				  .len = 7,
				  .flags = GNTCOPY_source_gref };
	struct sr_conn *local;
	uint16_t id;

	strcpy((char *)page_of(f->m, f->a, 1), "for b");
	assert_int_equal(sr_core_connection_create(f->m->core, f->b, 4, &id), 0);
	assert_int_equal(sr_core_connection_local(f->m->core, id, &local), 0);
	sr_grant_copy_abi(local, &op, 1);
	assert_int_equal(op.status, GNTST_okay);
	assert_string_equal((char *)page_of(f->m, f->b, 4), "for b");
	assert_int_equal(sr_core_connection_dead(f->m->core, id), 0);
	close_fixture(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)
		T(test_both_ways_v1),
		T(test_both_ways_v2),
		T(test_bounds),
		T(test_status_per_segment),
		T(test_both_sides_foreign),
		T(test_same_reference_twice),
		T(test_sub_page),
		T(test_transitive),
		T(test_transitive_refusals),
		T(test_transitive_both_sides),
		T(test_copy_while_mapped),
		T(test_abi),
		T(test_on_behalf_of_a_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
