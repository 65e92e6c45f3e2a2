/* SPDX-License-Identifier: MIT */
/* Mappings by address, direct and strict; the death of domains that others have mapped. */
#include "harness.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	struct machine *m;
	uint16_t dom0, guest, id;
	struct sr_conn *conn;
	struct sr_grant_table *tab;
};

static struct fixture open_fixture(void **state)
{
	struct fixture f = { .m = *state };

	f.dom0 = make_domain(f.m, SR_ROLE_DOM0);
	f.guest = make_domain(f.m, SR_ROLE_GUEST);
	f.tab = table_of(f.m, f.guest);
	f.conn = connect_as(f.m, f.dom0, 64, &f.id);
	return f;
}

static void close_fixture(struct fixture *f)
{
	disconnect(f->m, f->conn, f->id);
	sr_grant_table_destroy(f->tab);
}

static sigjmp_buf fault;

static void on_fault(int sig)
{
	siglongjmp(fault, sig);
}

/* Does writing (or reading) the byte fault? */
static bool faults(volatile uint8_t *p, bool write)
{
	struct sigaction act = { .sa_handler = on_fault, .sa_flags = SA_NODEFER }, old_segv,
			 old_bus;
	volatile bool faulted = false;

	sigaction(SIGSEGV, &act, &old_segv);
	sigaction(SIGBUS, &act, &old_bus);
	if (sigsetjmp(fault, 1))
		faulted = true;
	else if (write)
		*p = 1;
	else
		(void)*p;
	sigaction(SIGSEGV, &old_segv, NULL);
	sigaction(SIGBUS, &old_bus, NULL);
	return faulted;
}

static void test_direct(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t refs[3] = { grant(f.tab, f.dom0, 4, false), grant(f.tab, f.dom0, 5, false),
			     grant(f.tab, f.dom0, 6, false) };
	void *one, *three, *base;
	size_t len;

	assert_int_equal(sr_conn_map(f.conn, f.guest, refs, 3, 0, NULL, &three), 0);
	assert_int_equal(sr_conn_region(f.conn, f.guest, &base, &len), 0);
	assert_ptr_equal(three, (uint8_t *)base + 4 * 4096);
	assert_int_equal(len, 64 * 4096);
	memset(three, 'z', 3 * 4096);
	assert_int_equal(page_of(f.m, f.guest, 6)[4095], 'z');
	/* A frame that is mapped directly already gets another address, so that unmaps differ. */
	assert_int_equal(sr_conn_map(f.conn, f.guest, &refs[1], 1, SR_MAP_READONLY, NULL, &one), 0);
	assert_ptr_not_equal(one, (uint8_t *)three + 4096);
	assert_int_equal(*(uint8_t *)one, 'z');
	assert_true(faults(one, true));
	assert_int_equal(sr_conn_unmap(f.conn, three, 2), -EINVAL);
	assert_int_equal(sr_conn_unmap(f.conn, (uint8_t *)three + 4096, 1), -EINVAL);
	assert_int_equal(sr_conn_unmap(f.conn, (uint8_t *)three + 1, 3), -EINVAL);
	assert_int_equal(sr_conn_unmap(f.conn, three, 3), 0);
	assert_int_equal(sr_conn_unmap(f.conn, three, 3), -EINVAL);
	assert_int_equal(sr_grant_table_in_use(f.tab, refs[0]), 0);
	assert_int_equal(sr_grant_table_in_use(f.tab, refs[1]), GTF_reading);
	assert_int_equal(sr_conn_unmap(f.conn, one, 1), 0);
	assert_int_equal(sr_grant_table_in_use(f.tab, refs[1]), 0);
	/* Now the frame is free for a direct map again. */
	assert_int_equal(sr_conn_map(f.conn, f.guest, &refs[1], 1, 0, NULL, &one), 0);
	assert_ptr_equal(one, (uint8_t *)base + 5 * 4096);
	close_fixture(&f);
}

/* Frames in any order are contiguous in our address space. */
static void scattered(void **state, uint32_t flags)
{
	static const uint64_t gfns[5] = { 9, 3, 3, 40, 41 };
	struct fixture f = open_fixture(state);
	uint32_t refs[5];
	uint8_t *p;

	for (int i = 0; i < 5; i++) {
		refs[i] = grant(f.tab, f.dom0, gfns[i], false);
		page_of(f.m, f.guest, gfns[i])[7] = (uint8_t)gfns[i];
	}
	assert_int_equal(sr_conn_map(f.conn, f.guest, refs, 5, flags, NULL, (void **)&p), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(p[i * 4096 + 7], gfns[i]);
	p[0] = 77;
	assert_int_equal(page_of(f.m, f.guest, 9)[0], 77);
	assert_int_equal(sr_conn_unmap(f.conn, p, 4), -EINVAL);
	assert_int_equal(sr_conn_unmap(f.conn, p, 5), 0);
	assert_true(faults(p, false));
	assert_int_equal(pins_of(f.m, f.guest), 0);
	close_fixture(&f);
}

static void test_scattered_direct(void **state)
{
	scattered(state, 0);
}

static void test_scattered_strict(void **state)
{
	scattered(state, SR_MAP_STRICT);
}

static void test_strict_protection(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t ro = grant(f.tab, f.dom0, 4, true);
	void *p;

	assert_int_equal(sr_conn_map(f.conn, f.guest, &ro, 1, SR_MAP_STRICT, NULL, &p), -EINVAL);
	assert_int_equal(
	    sr_conn_map(f.conn, f.guest, &ro, 1, SR_MAP_STRICT | SR_MAP_READONLY, NULL, &p), 0);
	assert_false(faults(p, false));
	assert_true(faults(p, true));
	assert_int_equal(sr_conn_unmap(f.conn, p, 1), 0);
	assert_true(faults(p, false));
	close_fixture(&f);
}

static void test_all_or_nothing(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t refs[3] = { grant(f.tab, f.dom0, 4, false), 400, grant(f.tab, f.dom0, 6, false) };
	int16_t status[3];
	void *p;

	assert_int_equal(sr_conn_map(f.conn, f.guest, refs, 3, 0, status, &p), -EINVAL);
	assert_int_equal(status[0], GNTST_okay);
	assert_int_equal(status[1], GNTST_general_error);
	assert_int_equal(status[2], GNTST_okay);
	assert_int_equal(sr_conn_map(f.conn, f.guest, refs, 3, 0, NULL, &p), -EINVAL);
	assert_int_equal(sr_conn_map(f.conn, f.guest, refs, 0, 0, NULL, &p), -EINVAL);
	assert_int_equal(sr_conn_map(f.conn, 99, refs, 1, 0, NULL, &p), -ESRCH);
	assert_int_equal(sr_conn_map(f.conn, f.guest, refs, 65, 0, NULL, &p), -ENOSPC);
	assert_int_equal(pins_of(f.m, f.guest), 0);
	assert_int_equal(sr_conn_mapped(f.conn), 0);
	close_fixture(&f);
}

/* More pages than fit the small array. */
static void test_many_pages(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t refs[50];
	void *p;

	for (unsigned i = 0; i < 50; i++)
		refs[i] = grant(f.tab, f.dom0, i, false);
	for (unsigned flags = 0; flags <= SR_MAP_STRICT; flags += SR_MAP_STRICT) {
		assert_int_equal(sr_conn_map(f.conn, f.guest, refs, 50, flags, NULL, &p), 0);
		assert_int_equal(pins_of(f.m, f.guest), 50);
		assert_int_equal(sr_conn_unmap(f.conn, p, 50), 0);
		assert_int_equal(pins_of(f.m, f.guest), 0);
	}
	assert_int_equal(sr_conn_map(f.conn, f.guest, refs, 50, 0, NULL, &p), 0);
	close_fixture(&f);
}

/* Death of the granter: what is mapped stays, nothing new, the number is free after the last unmap.
 */
static void test_granter_dies(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t ref = grant(f.tab, f.dom0, 4, false), two = grant(f.tab, f.dom0, 5, false);
	struct sr_domain_info info;
	struct sr_grant_map op;
	struct sr_grant_copy copy = { .source.grant = { .ref = ref, .domid = f.guest },
				      .dest.virt = &info,
				      .len = 8,
				      .flags = SR_COPY_SOURCE_GRANT };
	struct sr_domain_config again = { .domid = f.guest, .role = SR_ROLE_GUEST, .nr_pages = 1 };
	uint16_t domid;
	void *p;

	assert_int_equal(sr_conn_map(f.conn, f.guest, &ref, 1, 0, NULL, &p), 0);
	memset(p, 1, 4096);
	assert_int_equal(sr_core_domain_destroy(f.m->core, f.guest), 0);
	assert_int_equal(sr_core_domain_destroy(f.m->core, f.guest), -ESRCH);
	memset(p, 2, 4096);
	assert_int_equal(map_ref(f.conn, f.guest, two, 0, &op), GNTST_bad_domain);
	sr_grant_copy(f.conn, &copy, 1);
	assert_int_equal(copy.status, GNTST_bad_domain);
	assert_int_equal(sr_core_domain_info(f.m->core, f.guest, &info), 0);
	assert_int_equal(info.state, SR_DOMAIN_ZOMBIE);
	assert_int_equal(info.pins, 1);
	assert_int_equal(sr_core_domain_create(f.m->core, &again, &domid), -EEXIST);
	sr_conn_reap(f.conn);
	assert_int_equal(*(uint8_t *)p, 2);
	assert_int_equal(sr_conn_unmap(f.conn, p, 1), 0);
	sr_conn_reap(f.conn);
	assert_int_equal(sr_core_domain_info(f.m->core, f.guest, &info), -ESRCH);

	/* The number's next owner is another domain, also for a connection that knew the first. */
	assert_int_equal(sr_core_domain_create(f.m->core, &again, &domid), 0);
	sr_grant_table_destroy(f.tab);
	f.tab = table_of(f.m, f.guest);
	ref = grant(f.tab, f.dom0, 0, false);
	strcpy((char *)page_of(f.m, f.guest, 0), "new");
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &op), GNTST_okay);
	assert_string_equal((char *)op.page, "new");
	close_fixture(&f);
}

/* A view that nobody uses any more does not keep a dead domain's memory in use. */
static void test_memory_of_the_dead(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t refs[2] = { grant(f.tab, f.dom0, 4, false), grant(f.tab, f.dom0, 5, false) };
	struct sr_domain_info info;
	struct sr_domain_fds fds;
	struct stat st;
	void *p, *q;
	int fd;

	assert_int_equal(sr_core_domain_fds(f.m->core, f.guest, &fds), 0);
	fd = dup(fds.mem);
	for (uint64_t gfn = 0; gfn < 64; gfn++)
		memset(page_of(f.m, f.guest, gfn), 1, 4096);
	assert_int_equal(sr_conn_map(f.conn, f.guest, &refs[0], 1, 0, NULL, &p), 0);
	assert_int_equal(sr_conn_map(f.conn, f.guest, &refs[1], 1, 0, NULL, &q), 0);
	assert_int_equal(sr_conn_unmap(f.conn, q, 1), 0);
	assert_int_equal(sr_core_domain_destroy(f.m->core, f.guest), 0);
	assert_int_equal(*(uint8_t *)p, 1);
	assert_int_equal(sr_conn_unmap(f.conn, p, 1), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks > 0);
	/* Looking is what buries it. */
	assert_int_equal(sr_core_domain_info(f.m->core, f.guest, &info), -ESRCH);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	close(fd);
	close_fixture(&f);
}

/* The same without reaping in between: the stale view is noticed. */
static void test_number_given_again(void **state)
{
	struct fixture f = open_fixture(state);
	struct sr_domain_config again = { .domid = f.guest, .role = SR_ROLE_GUEST, .nr_pages = 1 };
	uint32_t ref = grant(f.tab, f.dom0, 4, false);
	struct sr_grant_copy copy = { .source.grant = { .ref = ref, .domid = f.guest },
				      .len = 4,
				      .flags = SR_COPY_SOURCE_GRANT };
	struct sr_grant_map op;
	char buf[4] = "";
	uint16_t domid;

	for (int round = 0; round < 2; round++) {
		assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &op), GNTST_okay);
		assert_int_equal(unmap_handle(f.conn, op.handle), GNTST_okay);
		assert_int_equal(sr_core_domain_destroy(f.m->core, f.guest), 0);
		assert_int_equal(sr_core_domain_create(f.m->core, &again, &domid), 0);
		sr_grant_table_destroy(f.tab);
		f.tab = table_of(f.m, f.guest);
		ref = grant(f.tab, f.dom0, 0, false);
		strcpy((char *)page_of(f.m, f.guest, 0), "new");
	}
	copy.dest.virt = buf;
	copy.source.grant.ref = ref;
	sr_grant_copy(f.conn, &copy, 1);
	assert_int_equal(copy.status, GNTST_okay);
	assert_string_equal(buf, "new");
	close_fixture(&f);
}

/* Who is done with one domain and not with another holds the other's memory only. */
static void test_settling(void **state)
{
	struct fixture f = open_fixture(state);
	uint16_t other = make_domain(f.m, SR_ROLE_GUEST);
	struct sr_grant_table *tab = table_of(f.m, other);
	uint32_t ref = grant(f.tab, f.dom0, 4, false), theirs = grant(tab, f.dom0, 5, false);
	struct sr_grant_map one, two;
	void *base;
	size_t len;

	assert_int_equal(map_ref(f.conn, other, theirs, 0, &two), GNTST_okay);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &one), GNTST_okay);
	assert_int_equal(sr_conn_region(f.conn, f.guest, &base, &len), 0);
	sr_conn_settle(f.conn);
	assert_false(faults(one.page, true));
	assert_int_equal(unmap_handle(f.conn, one.handle), GNTST_okay);
	sr_conn_settle(f.conn);
	assert_true(faults(base, false));
	assert_false(faults(two.page, true));
	/* A map that fails leaves nothing behind either; and it can be mapped again. */
	assert_int_not_equal(map_ref(f.conn, f.guest, ref + 1, 0, &one), GNTST_okay);
	sr_conn_settle(f.conn);
	assert_int_equal(map_ref(f.conn, f.guest, ref, 0, &one), GNTST_okay);
	assert_false(faults(one.page, true));
	sr_grant_table_destroy(tab);
	close_fixture(&f);
}

/* The death of who maps: everything is given back, without its help. */
static void test_mapper_dies(void **state)
{
	struct fixture f = open_fixture(state);
	uint16_t driver = make_domain(f.m, SR_ROLE_DRIVER), id;
	struct sr_conn *conn = connect_as(f.m, driver, 8, &id);
	uint32_t ref = grant(f.tab, driver, 4, false);
	struct sr_domain_info info;
	void *p;

	assert_int_equal(sr_conn_map(conn, f.guest, &ref, 1, SR_MAP_STRICT, NULL, &p), 0);
	assert_int_equal(sr_core_domain_destroy(f.m->core, driver), 0);
	assert_int_equal(pins_of(f.m, f.guest), 0);
	assert_int_equal(sr_grant_table_end(f.tab, ref), 0);
	assert_int_equal(sr_core_domain_info(f.m->core, driver, &info), -ESRCH);
	assert_int_equal(sr_core_connection_dead(f.m->core, id), -ENOENT);
	/* Its own end comes late and finds nothing to do. */
	sr_conn_close(conn);
	assert_int_equal(pins_of(f.m, f.guest), 0);
	close_fixture(&f);
}

static void test_numbers_and_listing(void **state)
{
	struct machine *m = *state;
	uint16_t dom0 = make_domain(m, SR_ROLE_DOM0), a, b, at = SR_DOMID_ANY;
	struct sr_domain_config bad[] = {
		{ .domid = SR_DOMID_ANY, .nr_pages = 0 },
		{ .domid = 0x7ff0, .nr_pages = 1 },
		{ .domid = SR_DOMID_ANY, .nr_pages = 1, .nr_vcpus = 33 },
		{ .domid = SR_DOMID_ANY, .nr_pages = 1, .max_grant_frames = 1025 },
		{ .domid = SR_DOMID_ANY, .nr_pages = 1, .role = (enum sr_role)7 },
		{ .domid = SR_DOMID_ANY, .nr_pages = 1ull << 40 },
	};

	assert_int_equal(dom0, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(sr_core_domain_create(m->core, &bad[i], &a), -EINVAL);
	a = make_domain(m, SR_ROLE_GUEST);
	assert_int_equal(a, 1);
	assert_int_equal(sr_core_domain_destroy(m->core, a), 0);
	b = make_domain(m, SR_ROLE_GUEST);
	assert_int_equal(b, 2);
	a = make_domain_with(
	    m, (struct sr_domain_config){ .domid = 500, .role = SR_ROLE_GUEST, .nr_pages = 1 });
	assert_int_equal(a, 500);
	assert_int_equal(sr_core_domain_next(m->core, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(sr_core_domain_next(m->core, &at), 0);
	assert_int_equal(at, 2);
	assert_int_equal(sr_core_domain_next(m->core, &at), 0);
	assert_int_equal(at, 500);
	assert_int_equal(sr_core_domain_next(m->core, &at), -ENOENT);
	assert_int_equal(sr_core_domain_fds(m->core, 1, &(struct sr_domain_fds){ 0 }), -ESRCH);
}

/* Asked for hugetlb pages it takes them or does without, and works. */
static void test_hugetlb_wish(void **state)
{
	struct machine *m = *state;
	uint16_t dom0 = make_domain(m, SR_ROLE_DOM0);
	uint16_t g = make_domain_with(m, (struct sr_domain_config){ .domid = SR_DOMID_ANY,
								    .role = SR_ROLE_GUEST,
								    .nr_pages = 512,
								    .hugetlb = true });
	struct sr_grant_table *tab = table_of(m, g);
	uint32_t ref = grant(tab, dom0, 511, false);
	struct sr_domain_info info;
	struct sr_conn *conn;
	uint16_t id;
	void *p;
	int ret;

	conn = connect_as(m, dom0, 4, &id);
	assert_int_equal(sr_conn_map(conn, g, &ref, 1, 0, NULL, &p), 0);
	memset(p, 1, 4096);
	assert_int_equal(sr_core_domain_info(m->core, g, &info), 0);
	ret = sr_conn_map(conn, g, &ref, 1, SR_MAP_STRICT, NULL, &p);
	assert_int_equal(ret, info.hugetlb ? -EOPNOTSUPP : 0);
	disconnect(m, conn, id);
	sr_grant_table_destroy(tab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)
		T(test_direct),           T(test_scattered_direct),
		T(test_scattered_strict), T(test_strict_protection),
		T(test_all_or_nothing),   T(test_many_pages),
		T(test_granter_dies),     T(test_number_given_again),
		T(test_settling),
		T(test_mapper_dies),      T(test_numbers_and_listing),
		T(test_memory_of_the_dead),
		T(test_hugetlb_wish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
