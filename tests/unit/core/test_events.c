/* SPDX-License-Identifier: MIT */
/* Delivery of events: the 2-level and the FIFO ABI, from hypervisor to consumer. */
#include "harness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NR_PORTS  200
#define FIRST_GFN 16 /* control blocks at 8 + vcpu, array pages from here */

/* A guest with 2 vcpus whose ports are IPIs, so that it can raise them itself. */
struct guest {
	struct machine *m;
	uint16_t domid;
	struct sr_evtchn_consumer con[2];
	uint64_t gfns[8];
	uint32_t port[NR_PORTS];
	/* What came, in order. */
	uint32_t got[4 * NR_PORTS];
	uint32_t nr_got;
};

static void handle(void *ctx, uint32_t port)
{
	struct guest *g = ctx;

	assert_true(g->nr_got < 4 * NR_PORTS);
	g->got[g->nr_got++] = port;
}

static uint32_t consume(struct guest *g, int vcpu)
{
	g->nr_got = 0;
	return sr_evtchn_consume(&g->con[vcpu], handle, g);
}

static void start_fifo(struct guest *g)
{
	for (uint32_t v = 0; v < 2; v++) {
		struct evtchn_init_control op = { .control_gfn = 8 + v,
						  .offset = 64 * v,
						  .vcpu = v };

		assert_int_equal(
		    sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_init_control, &op), 0);
		assert_int_equal(op.link_bits, EVTCHN_FIFO_LINK_BITS);
		g->con[v].control =
		    (struct evtchn_fifo_control_block *)(page_of(g->m, g->domid, 8 + v) + 64 * v);
	}
}

static void expand(struct guest *g)
{
	uint32_t n = g->con[0].nr_array_pages;
	struct evtchn_expand_array op = { .array_gfn = FIRST_GFN + n };

	g->gfns[n] = FIRST_GFN + n;
	g->con[0].nr_array_pages = g->con[1].nr_array_pages = n + 1;
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_expand_array, &op), 0);
}

static struct guest *make_guest(struct machine *m, bool fifo, uint32_t nr_ports)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct sr_foreign *view;

	g->m = m;
	g->domid = make_domain_with(
	    m, (struct sr_domain_config){
		   .domid = SR_DOMID_ANY, .role = SR_ROLE_GUEST, .nr_pages = 64, .nr_vcpus = 2 });
	view = sr_core_domain_view(m->core, g->domid);
	for (uint32_t v = 0; v < 2; v++)
		g->con[v] = (struct sr_evtchn_consumer){ .info = (struct shared_info *)view->table,
							 .vcpu = v,
							 .mem = view->mem,
							 .array_gfns = g->gfns };
	if (fifo) {
		start_fifo(g);
		expand(g);
	}
	for (uint32_t i = 0; i < nr_ports; i++) {
		struct evtchn_bind_ipi op = { .vcpu = 0 };

		assert_int_equal(sr_core_evtchn_bind_ipi(m->core, g->domid, &op), 0);
		g->port[i] = op.port;
	}
	return g;
}

static void send(struct guest *g, uint32_t i)
{
	assert_int_equal(sr_core_evtchn_send(g->m->core, g->domid, g->port[i]), 0);
}

static void basic(void **state, bool fifo)
{
	struct guest *g = make_guest(*state, fifo, 100);

	assert_int_equal(consume(g, 0), 0);
	send(g, 3);
	send(g, 3);
	send(g, 70);
	assert_int_equal(g->m->nr_delivered, 2);
	assert_int_equal(consume(g, 0), 2);
	assert_int_equal(g->got[0], g->port[3]);
	assert_int_equal(g->got[1], g->port[70]);
	assert_int_equal(consume(g, 0), 0);
	assert_int_equal(consume(g, 1), 0);
	free(g);
}

static void test_basic_2l(void **state)
{
	basic(state, false);
}

static void test_basic_fifo(void **state)
{
	basic(state, true);
}

static void masking(void **state, bool fifo)
{
	struct guest *g = make_guest(*state, fifo, 100);
	uint32_t p;

	p = g->port[9];
	sr_evtchn_consumer_mask(&g->con[0], p);
	send(g, 9);
	assert_int_equal(g->m->nr_delivered, 0);
	assert_int_equal(consume(g, 0), 0);
	assert_true(sr_evtchn_consumer_unmask(&g->con[0], p));
	assert_int_equal(sr_core_evtchn_unmask(g->m->core, g->domid, p), 0);
	assert_int_equal(g->m->nr_delivered, 1);
	assert_int_equal(consume(g, 0), 1);
	/* Nothing pending: no need to ask, and it works after. */
	sr_evtchn_consumer_mask(&g->con[0], p);
	assert_false(sr_evtchn_consumer_unmask(&g->con[0], p));
	assert_int_equal(sr_core_evtchn_unmask(g->m->core, g->domid, p), 0);
	assert_int_equal(g->m->nr_delivered, 1);
	send(g, 9);
	assert_int_equal(consume(g, 0), 1);
	assert_int_equal(sr_core_evtchn_unmask(g->m->core, g->domid, 4000), -EINVAL);
	/* Queued, then masked before the guest looks. */
	send(g, 9);
	sr_evtchn_consumer_mask(&g->con[0], p);
	assert_int_equal(consume(g, 0), 0);
	assert_true(sr_evtchn_consumer_unmask(&g->con[0], p));
	assert_int_equal(sr_core_evtchn_unmask(g->m->core, g->domid, p), 0);
	assert_int_equal(consume(g, 0), 1);
	assert_false(sr_evtchn_consumer_unmask(&g->con[0], 200000));
	sr_evtchn_consumer_mask(&g->con[0], 200000);
	free(g);
}

static void test_masking_2l(void **state)
{
	masking(state, false);
}

static void test_masking_fifo(void **state)
{
	masking(state, true);
}

/* A port closed while pending does not haunt its next owner. */
static void closing(void **state, bool fifo)
{
	struct guest *g = make_guest(*state, fifo, 10);
	struct evtchn_bind_ipi op = { .vcpu = 0 };

	send(g, 4);
	send(g, 5);
	assert_int_equal(sr_core_evtchn_close(g->m->core, g->domid, g->port[4]), 0);
	assert_int_equal(consume(g, 0), 1);
	assert_int_equal(g->got[0], g->port[5]);
	assert_int_equal(sr_core_evtchn_bind_ipi(g->m->core, g->domid, &op), 0);
	assert_int_equal(op.port, g->port[4]);
	assert_int_equal(consume(g, 0), 0);
	send(g, 4);
	assert_int_equal(consume(g, 0), 1);
	/* Closed and used again while still linked. */
	send(g, 4);
	assert_int_equal(sr_core_evtchn_close(g->m->core, g->domid, g->port[4]), 0);
	assert_int_equal(sr_core_evtchn_bind_ipi(g->m->core, g->domid, &op), 0);
	send(g, 4);
	assert_int_equal(consume(g, 0), 1);
	assert_int_equal(consume(g, 0), 0);
	free(g);
}

static void test_closing_2l(void **state)
{
	closing(state, false);
}

static void test_closing_fifo(void **state)
{
	closing(state, true);
}

static void test_own_words_2l(void **state)
{
	struct guest *g = make_guest(*state, false, 100);
	xen_ulong_t own[64] = { 0 };

	own[0] = 1ul << g->port[3];
	g->con[0].own = own;
	send(g, 3);
	send(g, 4);
	assert_int_equal(consume(g, 0), 1);
	assert_int_equal(g->got[0], g->port[3]);
	free(g);
}

static void test_priorities(void **state)
{
	struct guest *g = make_guest(*state, true, 20);
	struct evtchn_set_priority op = { .port = g->port[2],
					  .priority = EVTCHN_FIFO_PRIORITY_MAX };

	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_set_priority, &op), 0);
	op = (struct evtchn_set_priority){ .port = g->port[1],
					   .priority = EVTCHN_FIFO_PRIORITY_MIN };
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_set_priority, &op), 0);
	op.priority = EVTCHN_FIFO_PRIORITY_MIN + 1;
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_set_priority, &op),
			 -EINVAL);
	op.port = 1000;
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_set_priority, &op),
			 -EINVAL);
	for (uint32_t i = 0; i < 4; i++)
		send(g, i);
	assert_int_equal(consume(g, 0), 4);
	assert_int_equal(g->got[0], g->port[2]);
	assert_int_equal(g->got[1], g->port[0]);
	assert_int_equal(g->got[2], g->port[3]);
	assert_int_equal(g->got[3], g->port[1]);
	free(g);
}

static void test_fifo_set_up(void **state)
{
	struct guest *g = make_guest(*state, false, 5);
	struct evtchn_init_control bad[] = { { .control_gfn = 64 },
					     { .control_gfn = 1, .offset = 4096 - 64 },
					     { .control_gfn = 1, .offset = 12 },
					     { .control_gfn = 1, .offset = UINT32_MAX - 7 } };
	struct evtchn_init_control op = { .control_gfn = 1, .vcpu = 2 };
	struct evtchn_set_priority prio = { .port = g->port[0] };
	struct evtchn_expand_array array = { .array_gfn = FIRST_GFN };

	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_expand_array, &array),
			 -EOPNOTSUPP);
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_set_priority, &prio),
			 -ENOSYS);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(
		    sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_init_control, &bad[i]),
		    -EINVAL);
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_init_control, &op),
			 -ENOENT);
	/* What was pending by 2-level comes by FIFO, when there is a word for it. */
	send(g, 2);
	start_fifo(g);
	send(g, 3);
	assert_int_equal(consume(g, 0), 0);
	expand(g);
	assert_int_equal(consume(g, 0), 2);
	op = (struct evtchn_init_control){ .control_gfn = 1, .vcpu = 0 };
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_init_control, &op),
			 -EINVAL);
	array.array_gfn = 64;
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_expand_array, &array),
			 -EINVAL);
	/* And back: after a reset the 2-level ABI works again. */
	assert_int_equal(sr_core_evtchn_reset(g->m->core, g->domid, DOMID_SELF), 0);
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_expand_array, &array),
			 -EOPNOTSUPP);
	free(g);
}

static void test_fifo_many_ports(void **state)
{
	struct guest *g = make_guest(*state, true, 1);
	struct evtchn_bind_ipi op = { .vcpu = 0 };
	struct evtchn_expand_array array = { .array_gfn = FIRST_GFN };
	uint32_t n = 1;

	/* More than 2-level could have; the last one has no word yet. */
	while (sr_core_evtchn_bind_ipi(g->m->core, g->domid, &op) == 0)
		n++;
	assert_int_equal(n, EVTCHN_FIFO_NR_CHANNELS - 1);
	assert_int_equal(op.port, EVTCHN_FIFO_NR_CHANNELS - 1);
	assert_int_equal(sr_core_evtchn_send(g->m->core, g->domid, 1024), 0);
	assert_int_equal(consume(g, 0), 0);
	expand(g);
	assert_int_equal(consume(g, 0), 1);
	assert_int_equal(g->got[0], 1024);
	for (uint32_t pages = 2; pages < EVTCHN_FIFO_NR_CHANNELS / 1024; pages++)
		assert_int_equal(
		    sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_expand_array, &array), 0);
	assert_int_equal(sr_core_evtchn_op(g->m->core, g->domid, EVTCHNOP_expand_array, &array),
			 -ENOSPC);
	free(g);
}

/*
 * The two ABIs side by side: the same random doings on both, and on a model which knows nothing of
 * words and queues. Each consume handles exactly what the model has pending and unmasked, on its
 * vcpu.
 */
struct model {
	struct guest *g[2]; /* 2-level, FIFO */
	bool pending[NR_PORTS], masked[NR_PORTS];
	int vcpu[NR_PORTS];
	uint32_t handled;
};

/* Ports that can change their vcpu: not IPIs but the two ends of loopback channels, i and i + 1. */
static void model_ports(struct model *m, struct guest *g)
{
	struct sr_core *core = g->m->core;

	for (uint32_t i = 0; i < NR_PORTS; i += 2) {
		struct evtchn_alloc_unbound a = { .dom = DOMID_SELF, .remote_dom = DOMID_SELF };
		struct evtchn_bind_interdomain b = { .remote_dom = DOMID_SELF };

		assert_int_equal(sr_core_evtchn_alloc_unbound(core, g->domid, &a), 0);
		b.remote_port = a.port;
		assert_int_equal(sr_core_evtchn_bind_interdomain(core, g->domid, &b), 0);
		g->port[i] = a.port;
		g->port[i + 1] = b.local_port;
		m->pending[i + 1] = true;
	}
}

enum doing { SEND, MASK, UNMASK, BIND, PRIORITY, CONSUME };

static enum doing choose(void)
{
	int r = rand() % 100;

	return r < 50   ? SEND
	       : r < 60 ? MASK
	       : r < 75 ? UNMASK
	       : r < 80 ? BIND
	       : r < 85 ? PRIORITY
			: CONSUME;
}

static void do_on_guest(struct guest *g, enum doing what, uint32_t i, uint32_t arg)
{
	struct sr_core *core = g->m->core;
	uint32_t port = g->port[i];
	int ret = 0;

	if (what == SEND)
		ret = sr_core_evtchn_send(core, g->domid, port);
	else if (what == MASK)
		sr_evtchn_consumer_mask(&g->con[0], port);
	else if (what == UNMASK && sr_evtchn_consumer_unmask(&g->con[0], port))
		ret = sr_core_evtchn_unmask(core, g->domid, port);
	else if (what == BIND)
		ret = sr_core_evtchn_bind_vcpu(core, g->domid, port, arg % 2);
	else if (what == PRIORITY && g->con[0].control)
		ret = sr_core_evtchn_set_priority(core, g->domid, port, arg % 16);
	assert_int_equal(ret, 0);
}

static void do_on_model(struct model *m, enum doing what, uint32_t i, uint32_t arg)
{
	if (what == SEND)
		m->pending[i ^ 1] = true;
	else if (what == MASK || what == UNMASK)
		m->masked[i] = what == MASK;
	else if (what == BIND)
		m->vcpu[i] = (int)(arg % 2);
}

/* Which ports a guest's vcpu finds; each at most once. */
static void consume_into(struct guest *g, int v, const int *vcpu, bool *seen)
{
	/* A 2-level consumer has to be told which ports are its own. */
	xen_ulong_t own[64] = { 0 };
	uint32_t n;

	for (uint32_t p = 0; p < NR_PORTS; p++)
		if (vcpu[p] == v)
			own[g->port[p] / 64] |= 1ul << g->port[p] % 64;
	g->con[v].own = own;
	n = consume(g, v);
	g->con[v].own = NULL;
	for (uint32_t j = 0; j < n; j++)
		for (uint32_t p = 0; p < NR_PORTS; p++)
			if (g->port[p] == g->got[j]) {
				assert_false(seen[p]);
				seen[p] = true;
			}
}

static void consume_and_compare(struct model *m, int v)
{
	bool seen[2][NR_PORTS] = { 0 };

	for (int k = 0; k < 2; k++)
		consume_into(m->g[k], v, m->vcpu, seen[k]);
	for (uint32_t p = 0; p < NR_PORTS; p++) {
		bool want = m->pending[p] && !m->masked[p] && m->vcpu[p] == v;

		assert_int_equal(seen[0][p], want);
		assert_int_equal(seen[1][p], want);
		if (want) {
			m->pending[p] = false;
			m->handled++;
		}
	}
}

static void test_random_comparison(void **state)
{
	struct model m = { .g = { make_guest(*state, false, 0), make_guest(*state, true, 0) } };

	srand(20240917);
	for (int k = 0; k < 2; k++)
		model_ports(&m, m.g[k]);
	for (uint32_t step = 0; step < 60000; step++) {
		uint32_t i = (uint32_t)rand() % NR_PORTS;
		enum doing what = choose();

		/* An event that is on its way stays with the vcpu that it was raised on. */
		if (what == BIND && m.pending[i])
			continue;
		if (what == CONSUME) {
			consume_and_compare(&m, 0);
			consume_and_compare(&m, 1);
			continue;
		}
		for (int k = 0; k < 2; k++)
			do_on_guest(m.g[k], what, i, step);
		do_on_model(&m, what, i, step);
	}
	assert_true(m.handled > 10000);
	free(m.g[0]);
	free(m.g[1]);
}

/* A guest that writes nonsense over all its event words and control blocks harms nobody else. */
static void test_hostile_words(void **state)
{
	struct machine *m = *state;
	struct guest *bad = make_guest(m, true, 50), *good = make_guest(m, true, 50);
	uint32_t sent = 0;

	srand(7);
	for (int round = 0; round < 3000; round++) {
		uint32_t *words = (uint32_t *)page_of(m, bad->domid, FIRST_GFN);
		uint32_t *control = (uint32_t *)bad->con[0].control;

		for (int i = 0; i < 20; i++)
			words[rand() % 64] = (uint32_t)rand() ^ (uint32_t)rand() << 16;
		control[rand() % 18] = (uint32_t)rand();
		for (int i = 0; i < 10; i++) {
			uint32_t p = (uint32_t)rand() % 50;

			assert_int_equal(sr_core_evtchn_send(m->core, bad->domid, bad->port[p]), 0);
			sr_core_evtchn_unmask(m->core, bad->domid, bad->port[p]);
			sr_core_evtchn_set_priority(m->core, bad->domid, bad->port[p],
						    (uint32_t)rand() % 16);
		}
		if (round % 100 == 0) {
			send(good, (uint32_t)round / 100);
			sent++;
		}
	}
	assert_int_equal(consume(good, 0), sent);
	assert_int_equal(sr_core_evtchn_reset(m->core, bad->domid, DOMID_SELF), 0);
	free(bad);
	free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, machine_teardown)
		T(test_basic_2l),        T(test_basic_fifo),        T(test_masking_2l),
		T(test_masking_fifo),    T(test_closing_2l),        T(test_closing_fifo),
		T(test_own_words_2l),    T(test_priorities),        T(test_fifo_set_up),
		T(test_fifo_many_ports), T(test_random_comparison), T(test_hostile_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
