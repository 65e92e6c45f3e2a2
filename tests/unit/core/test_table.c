/* SPDX-License-Identifier: MIT */
/* Operations on whole grant tables: size, version, swapping; who may ask. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void test_size(void **state)
{
	struct machine *m = *state;
	uint16_t dom0 = make_domain(m, SR_ROLE_DOM0);
	uint16_t a = make_domain_with(m, (struct sr_domain_config){ .domid = SR_DOMID_ANY,
								    .role = SR_ROLE_GUEST,
								    .nr_pages = 8,
								    .max_grant_frames = 3 });
	uint16_t b = make_domain(m, SR_ROLE_GUEST);
	uint32_t n, max;

	assert_int_equal(sr_core_query_size(m->core, a, DOMID_SELF, &n, &max), GNTST_okay);
	assert_int_equal(n, 1);
	assert_int_equal(max, 3);
	assert_int_equal(sr_core_setup_table(m->core, a, DOMID_SELF, 2), GNTST_okay);
	assert_int_equal(sr_core_setup_table(m->core, a, DOMID_SELF, 1), GNTST_okay);
	assert_int_equal(sr_core_query_size(m->core, dom0, a, &n, &max), GNTST_okay);
	assert_int_equal(n, 2);
	assert_int_equal(sr_core_setup_table(m->core, a, DOMID_SELF, 4), GNTST_general_error);
	assert_int_equal(sr_core_setup_table(m->core, b, a, 3), GNTST_permission_denied);
	assert_int_equal(sr_core_setup_table(m->core, dom0, a, 3), GNTST_okay);
	assert_int_equal(sr_core_query_size(m->core, a, a, &n, &max), GNTST_okay);
	assert_int_equal(n, 3);
	assert_int_equal(sr_core_query_size(m->core, b, a, &n, &max), GNTST_permission_denied);
	assert_int_equal(sr_core_query_size(m->core, dom0, 99, &n, &max), GNTST_bad_domain);
	assert_int_equal(sr_core_setup_table(m->core, dom0, 99, 1), GNTST_bad_domain);
	assert_int_equal(sr_core_get_status_frames(m->core, a, DOMID_SELF, 1), GNTST_general_error);
}

/* A reference in a frame that came later works once the frame is there, not before. */
static void test_growth_is_seen_by_mappers(void **state)
{
	struct machine *m = *state;
	uint16_t dom0 = make_domain(m, SR_ROLE_DOM0), a = make_domain(m, SR_ROLE_GUEST), id;
	struct sr_grant_table *tab = table_of(m, a);
	struct sr_conn *conn = connect_as(m, dom0, 4, &id);
	struct sr_grant_map op;

	assert_int_equal(map_ref(conn, a, 600, 0, &op), GNTST_bad_gntref);
	assert_int_equal(sr_core_setup_table(m->core, a, DOMID_SELF, 2), GNTST_okay);
	assert_int_equal(map_ref(conn, a, 600, 0, &op), GNTST_general_error);
	sr_grant_table_grant(tab, 600, dom0, 1, false);
	assert_int_equal(map_ref(conn, a, 600, 0, &op), GNTST_okay);
	disconnect(m, conn, id);
	sr_grant_table_destroy(tab);
}

static void test_version(void **state)
{
	struct machine *m = *state;
	uint16_t dom0 = make_domain(m, SR_ROLE_DOM0), a = make_domain(m, SR_ROLE_GUEST), id;
	struct sr_conn *conn = connect_as(m, dom0, 4, &id);
	struct sr_grant_table *tab = table_of(m, a), *tab2;
	struct sr_grant_map kept, op;
	uint32_t ref, v;

	/* A reserved entry lives on, even mapped; one above forbids the change while it is mapped.
	 */
	sr_grant_table_grant(tab, 1, dom0, 3, false);
	assert_int_equal(map_ref(conn, a, 1, 0, &kept), GNTST_okay);
	ref = grant(tab, dom0, 4, false);
	assert_int_equal(map_ref(conn, a, ref, 0, &op), GNTST_okay);
	v = 2;
	assert_int_equal(sr_core_set_version(m->core, a, &v), -EBUSY);
	assert_int_equal(v, 1);
	assert_int_equal(unmap_handle(conn, op.handle), GNTST_okay);
	v = 2;
	assert_int_equal(sr_core_set_version(m->core, a, &v), 0);
	assert_int_equal(sr_core_get_version(m->core, dom0, a, &v), 0);
	assert_int_equal(v, 2);
	assert_int_equal(sr_core_get_status_frames(m->core, a, DOMID_SELF, 1), GNTST_okay);
	assert_int_equal(sr_core_get_status_frames(m->core, a, DOMID_SELF, 2), GNTST_general_error);

	tab2 = table_of(m, a);
	assert_int_equal(sr_grant_table_in_use(tab2, 1), GTF_reading | GTF_writing);
	assert_int_equal(map_ref(conn, a, ref, 0, &op), GNTST_general_error);
	assert_int_equal(unmap_handle(conn, kept.handle), GNTST_okay);
	assert_int_equal(sr_grant_table_in_use(tab2, 1), 0);
	assert_int_equal(map_ref(conn, a, 1, 0, &kept), GNTST_okay);
	assert_int_equal(kept.frame, 3);

	v = 1;
	assert_int_equal(sr_core_set_version(m->core, a, &v), 0);
	assert_int_equal(sr_grant_table_in_use(tab, 1), GTF_reading | GTF_writing);
	assert_int_equal(unmap_handle(conn, kept.handle), GNTST_okay);
	assert_int_equal(sr_grant_table_in_use(tab, 1), 0);
	disconnect(m, conn, id);
	sr_grant_table_destroy(tab);
	sr_grant_table_destroy(tab2);
}

static void test_version_refusals(void **state)
{
	struct machine *m = *state;
	uint16_t dom0 = make_domain(m, SR_ROLE_DOM0), a = make_domain(m, SR_ROLE_GUEST);
	struct sr_grant_table *tab;
	uint32_t v;

	for (uint32_t bad = 0; bad < 5; bad += bad == 0 ? 3 : 1) {
		v = bad;
		assert_int_equal(sr_core_set_version(m->core, a, &v), -EINVAL);
	}
	assert_int_equal(sr_core_get_version(m->core, a, dom0, &v), -EPERM);
	assert_int_equal(sr_core_get_version(m->core, dom0, 99, &v), -ESRCH);
	v = 2;
	assert_int_equal(sr_core_set_version(m->core, a, &v), 0);
	assert_int_equal(sr_core_set_version(m->core, a, &v), 0);
	tab = table_of(m, a);
	/* What v1 cannot say. */
	sr_grant_table_grant_sub_page(tab, 2, dom0, 1, 0, 16, true);
	v = 1;
	assert_int_equal(sr_core_set_version(m->core, a, &v), -ERANGE);
	sr_grant_table_grant_transitive(tab, 2, dom0, dom0, 8, true);
	v = 1;
	assert_int_equal(sr_core_set_version(m->core, a, &v), -ERANGE);
	sr_grant_table_grant(tab, 2, dom0, 1ull << 32, true);
	v = 1;
	assert_int_equal(sr_core_set_version(m->core, a, &v), -ERANGE);
	assert_int_equal(v, 2);
	assert_int_equal(sr_grant_table_end(tab, 2), 0);
	v = 1;
	assert_int_equal(sr_core_set_version(m->core, a, &v), 0);
	sr_grant_table_destroy(tab);
}

static void swap(void **state, uint32_t version)
{
	struct machine *m = *state;
	uint16_t dom0 = make_domain(m, SR_ROLE_DOM0), a = make_domain(m, SR_ROLE_GUEST), id;
	struct sr_conn *conn = connect_as(m, dom0, 4, &id);
	struct sr_grant_table *tab;
	struct sr_grant_map op;
	uint32_t x, y, v = version;

	assert_int_equal(sr_core_set_version(m->core, a, &v), 0);
	tab = table_of(m, a);
	x = grant(tab, dom0, 10, false);
	y = grant(tab, dom0, 20, true);
	assert_int_equal(sr_core_swap_grant_ref(m->core, a, x, y), GNTST_okay);
	assert_int_equal(map_ref(conn, a, x, 0, &op), GNTST_general_error);
	assert_int_equal(map_ref(conn, a, y, 0, &op), GNTST_okay);
	assert_int_equal(op.frame, 10);
	assert_int_equal(sr_core_swap_grant_ref(m->core, a, x, y), GNTST_eagain);
	assert_int_equal(sr_core_swap_grant_ref(m->core, a, y, x), GNTST_eagain);
	assert_int_equal(sr_core_swap_grant_ref(m->core, a, x, x), GNTST_okay);
	assert_int_equal(sr_core_swap_grant_ref(m->core, a, x, 5000), GNTST_bad_gntref);
	assert_int_equal(sr_core_swap_grant_ref(m->core, a, UINT32_MAX, x), GNTST_bad_gntref);
	assert_int_equal(sr_core_swap_grant_ref(m->core, 99, x, x), GNTST_bad_domain);
	disconnect(m, conn, id);
	assert_int_equal(sr_core_swap_grant_ref(m->core, a, x, y), GNTST_okay);
	sr_grant_table_destroy(tab);
}

static void test_swap_v1(void **state)
{
	swap(state, 1);
}

static void test_swap_v2(void **state)
{
	swap(state, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)
		T(test_size),    T(test_growth_is_seen_by_mappers),
		T(test_version), T(test_version_refusals),
		T(test_swap_v1), T(test_swap_v2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
