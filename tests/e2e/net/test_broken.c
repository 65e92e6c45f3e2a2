/* SPDX-License-Identifier: MIT */
/* Guests that break their vif in several ways at once, and what becomes of the others'. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The rings' pages, to write what no frontend writes. */
#include <internal.h>

#include "vifs.h"

#define TIMES 30u

static void break_ring(void *page)
{
	struct sr_ring_indices *shared = page;

	__atomic_store_n(&shared->req_prod, 0x40000000u, __ATOMIC_RELEASE);
}

/* The queue and the control ring, which one thread serves: each says for itself that it broke. */
static void test_all_rings_at_once(void **state)
{
	struct vif a, b, c;
	struct vifs w;

	vifs_start(&w);
	vifs_attach(&w, &b, "xenbr0", 2);
	vifs_open(&b, NULL);
	for (unsigned i = 0; i < TIMES; i++) {
		vifs_attach(&w, &a, "xenbr0", 1);
		vifs_open(&a, NULL);
		break_ring(a.q->tx_page);
		break_ring(a.q->rx_page);
		break_ring(a.front->ctrl.page);
		sr_evtchn_notify(a.q->ev, a.q->tx_port);
		sr_evtchn_notify(a.front->ctrl.ev, a.front->ctrl.port);
		vifs_await_error(&w, &a, "broke the protocol");
		vifs_close(&a);
		vifs_detach(&w, &a);
	}
	/* Others are served, and new ones are. */
	vifs_attach(&w, &c, "xenbr0", 3);
	vifs_open(&c, NULL);
	vifs_send(&b, c.mac, 1514, 1);
	vifs_expect(&c, &b, 1514, 1);
	vifs_close(&c);
	vifs_detach(&w, &c);
	vifs_close(&b);
	vifs_detach(&w, &b);
	vifs_stop(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_rings_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
