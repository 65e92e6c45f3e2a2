/* SPDX-License-Identifier: MIT */
/* Event channels: states, codes, who may; delivery is in test_events. */
#include "harness.h"

#include <errno.h>
#include <string.h>

struct fixture {
	struct machine *m;
	uint16_t dom0, a, b;
};

static struct fixture open_fixture(void **state)
{
	struct fixture f = { .m = *state };

	f.dom0 = make_domain(f.m, SR_ROLE_DOM0);
	f.a = make_domain_with(
	    f.m, (struct sr_domain_config){
		     .domid = SR_DOMID_ANY, .role = SR_ROLE_GUEST, .nr_pages = 64, .nr_vcpus = 4 });
	f.b = make_domain(f.m, SR_ROLE_GUEST);
	return f;
}

static uint32_t unbound(struct fixture *f, uint16_t caller, uint16_t dom, uint16_t remote)
{
	struct evtchn_alloc_unbound op = { .dom = dom, .remote_dom = remote };

	assert_int_equal(sr_core_evtchn_op(f->m->core, caller, EVTCHNOP_alloc_unbound, &op), 0);
	return op.port;
}

static int bind(struct fixture *f, uint16_t caller, uint16_t remote, uint32_t remote_port,
		uint32_t *port)
{
	struct evtchn_bind_interdomain op = { .remote_dom = remote, .remote_port = remote_port };
	int ret = sr_core_evtchn_op(f->m->core, caller, EVTCHNOP_bind_interdomain, &op);

	*port = op.local_port;
	return ret;
}

static struct evtchn_status status(struct fixture *f, uint16_t caller, uint16_t dom, uint32_t port)
{
	struct evtchn_status op = { .dom = dom, .port = port };

	assert_int_equal(sr_core_evtchn_op(f->m->core, caller, EVTCHNOP_status, &op), 0);
	return op;
}

static void test_life_of_a_channel(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t pa = unbound(&f, f.a, DOMID_SELF, f.b), pb, again;
	struct evtchn_status st = status(&f, f.a, DOMID_SELF, pa);
	struct evtchn_close close = { .port = pa };
	struct evtchn_send send = { .port = pa };

	assert_int_equal(st.status, EVTCHNSTAT_unbound);
	assert_int_equal(st.u.unbound.dom, f.b);
	/* To an unbound port one may send, and nothing comes of it. */
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_send, &send), 0);
	assert_int_equal(f.m->nr_delivered, 0);

	assert_int_equal(bind(&f, f.b, f.a, pa, &pb), 0);
	st = status(&f, f.dom0, f.b, pb);
	assert_int_equal(st.status, EVTCHNSTAT_interdomain);
	assert_int_equal(st.u.interdomain.dom, f.a);
	assert_int_equal(st.u.interdomain.port, pa);
	/* Who binds finds its port pending. */
	assert_int_equal(f.m->nr_delivered, 1);
	assert_int_equal(f.m->delivered[0].domid, f.b);
	assert_int_equal(f.m->delivered[0].port, pb);
	assert_int_equal(bind(&f, f.b, f.a, pa, &again), -EINVAL);

	assert_int_equal(sr_core_evtchn_send(f.m->core, f.b, pb), 0);
	assert_int_equal(f.m->nr_delivered, 2);
	assert_int_equal(f.m->delivered[1].domid, f.a);
	assert_int_equal(f.m->delivered[1].port, pa);

	/* The other end is unbound again, for the same domain. */
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_close, &close), 0);
	assert_int_equal(status(&f, f.a, DOMID_SELF, pa).status, EVTCHNSTAT_closed);
	st = status(&f, f.b, DOMID_SELF, pb);
	assert_int_equal(st.status, EVTCHNSTAT_unbound);
	assert_int_equal(st.u.unbound.dom, f.a);
	assert_int_equal(f.m->nr_unbound, 1);
	assert_int_equal(f.m->unbound[0].domid, f.b);
	assert_int_equal(sr_core_evtchn_send(f.m->core, f.b, pb), 0);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_close, &close), -EINVAL);
	assert_int_equal(bind(&f, f.a, f.b, pb, &again), 0);
	assert_int_equal(sr_core_evtchn_send(f.m->core, f.b, pb), 0);
}

static void test_who_may(void **state)
{
	struct fixture f = open_fixture(state);
	struct evtchn_alloc_unbound alloc = { .dom = f.b, .remote_dom = f.a };
	struct evtchn_status st = { .dom = f.b, .port = 1 };
	struct evtchn_reset reset = { .dom = f.b };
	uint32_t pa = unbound(&f, f.a, DOMID_SELF, f.b), port;

	assert_int_equal(bind(&f, f.dom0, f.a, pa, &port), -EINVAL);
	assert_int_equal(bind(&f, f.a, f.a, pa, &port), -EINVAL);
	assert_int_equal(bind(&f, f.b, 99, pa, &port), -ESRCH);
	assert_int_equal(bind(&f, f.b, f.a, 0, &port), -EINVAL);
	assert_int_equal(bind(&f, f.b, f.a, pa + 1, &port), -EINVAL);
	assert_int_equal(bind(&f, f.b, f.a, UINT32_MAX, &port), -EINVAL);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_alloc_unbound, &alloc), -EPERM);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_status, &st), -EPERM);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_reset, &reset), -EPERM);
	alloc.dom = 99;
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.dom0, EVTCHNOP_alloc_unbound, &alloc),
			 -ESRCH);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_pirq, &alloc), -ENOSYS);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, 99, &alloc), -ENOSYS);
	/* dom0 may make a channel between two others. */
	port = unbound(&f, f.dom0, f.a, f.b);
	assert_int_equal(status(&f, f.a, DOMID_SELF, port).u.unbound.dom, f.b);
}

static void test_loopback(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t p = unbound(&f, f.a, DOMID_SELF, DOMID_SELF), q;

	assert_int_equal(bind(&f, f.a, DOMID_SELF, p, &q), 0);
	assert_int_equal(sr_core_evtchn_send(f.m->core, f.a, q), 0);
	assert_int_equal(f.m->delivered[1].port, p);
	assert_int_equal(sr_core_evtchn_close(f.m->core, f.a, p), 0);
	assert_int_equal(status(&f, f.a, DOMID_SELF, q).status, EVTCHNSTAT_unbound);
	/* Everything goes in one sweep, also where one end's closing changes the other. */
	assert_int_equal(bind(&f, f.a, DOMID_SELF, q, &p), 0);
	assert_int_equal(sr_core_evtchn_reset(f.m->core, f.a, DOMID_SELF), 0);
	assert_int_equal(status(&f, f.a, DOMID_SELF, q).status, EVTCHNSTAT_closed);
	assert_int_equal(status(&f, f.a, DOMID_SELF, p).status, EVTCHNSTAT_closed);
}

static void test_virq(void **state)
{
	struct fixture f = open_fixture(state);
	struct evtchn_bind_virq timer = { .virq = VIRQ_TIMER, .vcpu = 2 };
	struct evtchn_bind_virq global = { .virq = VIRQ_DOM_EXC };
	struct evtchn_bind_virq bad[] = { { .virq = VIRQ_TIMER, .vcpu = 4 },
					  { .virq = NR_VIRQS },
					  { .virq = VIRQ_DOM_EXC, .vcpu = 1 } };
	int codes[] = { -ENOENT, -EINVAL, -EINVAL };

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_virq, &bad[i]),
				 codes[i]);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_virq, &timer), 0);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_virq, &timer), -EEXIST);
	assert_int_equal(sr_core_raise_virq(f.m->core, f.a, 1, VIRQ_TIMER), 0);
	assert_int_equal(f.m->nr_delivered, 0);
	assert_int_equal(sr_core_raise_virq(f.m->core, f.a, 2, VIRQ_TIMER), 0);
	assert_int_equal(f.m->nr_delivered, 1);
	assert_int_equal(f.m->delivered[0].vcpu, 2);
	assert_int_equal(status(&f, f.a, DOMID_SELF, timer.port).status, EVTCHNSTAT_virq);
	assert_int_equal(status(&f, f.a, DOMID_SELF, timer.port).u.virq, VIRQ_TIMER);
	assert_int_equal(sr_core_evtchn_send(f.m->core, f.a, timer.port), -EINVAL);
	assert_int_equal(sr_core_evtchn_bind_vcpu(f.m->core, f.a, timer.port, 1), -EINVAL);
	assert_int_equal(sr_core_evtchn_close(f.m->core, f.a, timer.port), 0);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_virq, &timer), 0);

	/* dom0 learns of a death. */
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.dom0, EVTCHNOP_bind_virq, &global), 0);
	f.m->nr_delivered = 0;
	assert_int_equal(sr_core_domain_destroy(f.m->core, f.b), 0);
	assert_int_equal(f.m->nr_delivered, 1);
	assert_int_equal(f.m->delivered[0].domid, f.dom0);
	assert_int_equal(f.m->delivered[0].port, global.port);
	assert_int_equal(sr_core_raise_virq(f.m->core, f.b, 0, VIRQ_TIMER), -ESRCH);
	assert_int_equal(sr_core_raise_virq(f.m->core, f.a, 9, VIRQ_TIMER), -EINVAL);
}

static void test_ipi_and_vcpu(void **state)
{
	struct fixture f = open_fixture(state);
	struct evtchn_bind_ipi ipi = { .vcpu = 3 }, bad = { .vcpu = 4 };
	struct evtchn_bind_vcpu to = { .vcpu = 2 };
	uint32_t pa = unbound(&f, f.a, DOMID_SELF, f.b), pb;

	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_ipi, &bad), -ENOENT);
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_ipi, &ipi), 0);
	assert_int_equal(sr_core_evtchn_send(f.m->core, f.a, ipi.port), 0);
	assert_int_equal(f.m->delivered[0].vcpu, 3);
	to.port = ipi.port;
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_vcpu, &to), -EINVAL);
	to.port = pa;
	assert_int_equal(sr_core_evtchn_op(f.m->core, f.a, EVTCHNOP_bind_vcpu, &to), 0);
	assert_int_equal(sr_core_evtchn_bind_vcpu(f.m->core, f.a, pa, 4), -ENOENT);
	assert_int_equal(sr_core_evtchn_bind_vcpu(f.m->core, f.a, 999, 1), -EINVAL);
	assert_int_equal(bind(&f, f.b, f.a, pa, &pb), 0);
	assert_int_equal(sr_core_evtchn_send(f.m->core, f.b, pb), 0);
	assert_int_equal(f.m->delivered[f.m->nr_delivered - 1].vcpu, 2);
	assert_int_equal(status(&f, f.a, DOMID_SELF, pa).vcpu, 2);
}

static void test_port_limits(void **state)
{
	struct fixture f = open_fixture(state);
	uint16_t small = make_domain_with(
	    f.m, (struct sr_domain_config){
		     .domid = SR_DOMID_ANY, .role = SR_ROLE_GUEST, .nr_pages = 1, .max_ports = 4 });
	struct evtchn_alloc_unbound op = { .dom = DOMID_SELF, .remote_dom = 0 };

	for (int i = 1; i < 4; i++)
		assert_int_equal(unbound(&f, small, DOMID_SELF, 0), i);
	assert_int_equal(sr_core_evtchn_alloc_unbound(f.m->core, small, &op), -ENOSPC);
	assert_int_equal(sr_core_evtchn_close(f.m->core, small, 2), 0);
	assert_int_equal(unbound(&f, small, DOMID_SELF, 0), 2);
	assert_int_equal(sr_core_evtchn_alloc_unbound(f.m->core, small, &op), -ENOSPC);
	for (uint32_t i = 1; i < 4096; i++)
		assert_int_equal(unbound(&f, f.a, DOMID_SELF, 0), i);
	assert_int_equal(sr_core_evtchn_alloc_unbound(f.m->core, f.a, &op), -ENOSPC);
	assert_int_equal(sr_core_evtchn_close(f.m->core, f.a, 4096), -EINVAL);
	assert_int_equal(sr_core_evtchn_send(f.m->core, f.a, 0), -EINVAL);
}

static void test_death_unbinds(void **state)
{
	struct fixture f = open_fixture(state);
	struct evtchn_status st;
	uint32_t pa[3], pb[3];
	struct sr_domain_info info;

	for (int i = 0; i < 3; i++) {
		pa[i] = unbound(&f, f.a, DOMID_SELF, f.b);
		assert_int_equal(bind(&f, f.b, f.a, pa[i], &pb[i]), 0);
	}
	assert_int_equal(sr_core_domain_destroy(f.m->core, f.b), 0);
	assert_int_equal(f.m->nr_unbound, 3);
	for (int i = 0; i < 3; i++) {
		st = status(&f, f.a, DOMID_SELF, pa[i]);
		assert_int_equal(st.status, EVTCHNSTAT_unbound);
		assert_int_equal(st.u.unbound.dom, f.b);
		assert_int_equal(sr_core_evtchn_send(f.m->core, f.a, pa[i]), 0);
	}
	assert_int_equal(sr_core_domain_info(f.m->core, f.a, &info), 0);
	assert_int_equal(info.ports, 3);
	assert_int_equal(sr_core_evtchn_send(f.m->core, f.b, pb[0]), -ESRCH);
}

/* Ports of a process go with its connection. */
static void test_owner_dies(void **state)
{
	struct fixture f = open_fixture(state);
	uint32_t p = unbound(&f, f.a, DOMID_SELF, f.b), q = unbound(&f, f.a, DOMID_SELF, f.b), pb;
	uint16_t id;

	assert_int_equal(sr_core_connection_create(f.m->core, f.a, 0, &id), 0);
	assert_int_equal(sr_core_evtchn_set_owner(f.m->core, f.a, p, id), 0);
	assert_int_equal(sr_core_evtchn_set_owner(f.m->core, f.a, 77, id), -EINVAL);
	assert_int_equal(bind(&f, f.b, f.a, p, &pb), 0);
	assert_int_equal(sr_core_connection_dead(f.m->core, id), 0);
	assert_int_equal(status(&f, f.a, DOMID_SELF, p).status, EVTCHNSTAT_closed);
	assert_int_equal(status(&f, f.a, DOMID_SELF, q).status, EVTCHNSTAT_unbound);
	assert_int_equal(status(&f, f.b, DOMID_SELF, pb).status, EVTCHNSTAT_unbound);
}

/* Where channels carry the events every one is told, and no bit of the domain's is touched. */
static void test_domain_with_channels(void **state)
{
	struct fixture f = open_fixture(state);
	uint16_t c = make_domain_with(f.m, (struct sr_domain_config){ .domid = SR_DOMID_ANY,
								      .role = SR_ROLE_DRIVER,
								      .nr_pages = 4,
								      .channels = true });
	struct shared_info *info = (struct shared_info *)sr_core_domain_view(f.m->core, c)->table;
	struct evtchn_init_control fifo = { .control_gfn = 1 };
	uint32_t pc, pa;

	for (int i = 0; i < 5000; i++)
		pc = unbound(&f, c, DOMID_SELF, f.a);
	assert_int_equal(bind(&f, f.a, c, pc, &pa), 0);
	f.m->nr_delivered = 0;
	for (int i = 0; i < 3; i++)
		assert_int_equal(sr_core_evtchn_send(f.m->core, f.a, pa), 0);
	assert_int_equal(f.m->nr_delivered, 3);
	assert_int_equal(f.m->delivered[2].port, pc);
	assert_int_equal(info->vcpu_info[0].evtchn_upcall_pending, 0);
	assert_int_equal(sr_core_evtchn_unmask(f.m->core, c, pc), 0);
	assert_int_equal(sr_core_evtchn_op(f.m->core, c, EVTCHNOP_init_control, &fifo),
			 -EOPNOTSUPP);
	assert_int_equal(sr_core_evtchn_close(f.m->core, c, pc), 0);
	assert_int_equal(status(&f, f.a, DOMID_SELF, pa).status, EVTCHNSTAT_unbound);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)
		T(test_life_of_a_channel),
		T(test_who_may),
		T(test_loopback),
		T(test_virq),
		T(test_ipi_and_vcpu),
		T(test_port_limits),
		T(test_death_unbinds),
		T(test_owner_dies),
		T(test_domain_with_channels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
