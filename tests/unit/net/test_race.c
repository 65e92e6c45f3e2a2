/* SPDX-License-Identifier: MIT */
/* A guest that changes what is being read, takes grants back, and asks two threads at once. */
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

#define put(to, what) __atomic_store_n(to, what, __ATOMIC_RELAXED)

/* Slots of the ring and the headers behind them, as fast as it goes. */
static void *scribble(void *arg)
{
	uint32_t *slots = (uint32_t *)(void *)(rig.tx_page + 64);
	uint8_t *data = rig.pages;
	uint32_t random = 12345;

	while (!stopped()) {
		random = random * 1664525u + 1013904223u;
		put(&slots[random >> 8 & 15], random >> 4);
		put(&data[random >> 20 & 63], (uint8_t)random);
		put(&data[12], 8);
		put(&data[13], 0);
		put(&data[14], 0x45);
	}
	return NULL;
}

/* What is passed on is what was checked: in our copy the headers still say what the flags say. */
static void check(const struct rte_mbuf *m)
{
	struct sr_net_headers h;
	const char *why;

	assert_int_equal(rte_mbuf_check(m, 1, &why), 0);
	assert_true(m->pkt_len >= SR_NET_MIN_PACKET && m->pkt_len <= SR_NET_MAX_PACKET);
	if (!(m->ol_flags & RTE_MBUF_F_TX_L4_MASK))
		return;
	assert_int_equal(sr_net_parse_packet(m, &h), 0);
	assert_true(h.l4_complete);
	assert_int_equal(m->l2_len, h.l2_len);
	assert_int_equal(m->l3_len, h.l3_len);
	assert_int_equal(m->l4_len, h.l4_len);
}

static void changed_while_read(void **state)
{
	const struct rig_spec spec = { .payload = 400 };
	unsigned len = rig_build(rig.pages, &spec);
	struct rte_mbuf *m[16];
	pthread_t thread;

	stop = false;
	assert_int_equal(pthread_create(&thread, NULL, scribble, NULL), 0);
	for (unsigned i = 0; i < 20000 && !sr_netq_broken(rig.q); i++) {
		int n;

		for (unsigned k = 0; k < 8 && sr_ring_front_free(&rig.tx.ring); k++)
			rig_tx(0, 0, NETTXF_csum_blank, 0, (uint16_t)len);
		rig_tx_publish();
		n = rig_receive(m, 16);
		for (int k = 0; k < n; k++)
			check(m[k]);
		if (n > 0)
			rte_pktmbuf_free_bulk(m, (unsigned)n);
		/* The responses are scribbled over like all else. */
		rig.tx.ring.rsp_cons += rig_tx_responses();
		if (sr_netq_broken(rig.q)) {
			__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
			pthread_join(thread, NULL);
			rig_disconnect();
			rig_setup(NULL);
			rig_build(rig.pages, &spec);
			stop = false;
			assert_int_equal(pthread_create(&thread, NULL, scribble, NULL), 0);
		}
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/* --- grants taken back --------------------------------------------------------------------------
 */

static void revoked(void **state)
{
	struct netif_tx_request req = { .size = 60, .id = 1 };
	struct rte_mbuf *m;
	void *page;

	assert_int_equal(sr_gntshr_alloc(rig.gs, 1, &page), 0);
	assert_int_equal(sr_gntshr_grant(rig.gs, 0, page, true, &req.gref), 0);
	sr_netif_tx_front_put(&rig.tx, &req);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	assert_int_equal(sr_gntshr_end(rig.gs, req.gref), 0);
	sr_netif_tx_front_put(&rig.tx, &req);
	sr_netif_rx_front_put(&rig.rx, 0, req.gref);
	rig_tx_publish();
	sr_ring_front_publish(&rig.rx.ring);
	assert_int_equal(rig_give(m), 1);
	assert_int_equal(rig_receive(&m, 1), 0);
	assert_int_equal(rig_tx_drops(SR_NET_DROP_GRANT), 1);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_GRANT), 1);
	assert_int_equal(sr_gntshr_free(rig.gs, page, 1), 0);
}

/* What the detached queue did not take, the next one does; mbufs passed on stay good. */
static void detached_in_mid_burst(void **state)
{
	struct rte_mbuf *m[64];

	for (unsigned i = 0; i < 60; i++)
		rig_tx(i, 0, 0, (uint16_t)i, 60);
	rig_tx_publish();
	rig_post(100, 10);
	assert_int_equal(rig_receive(m, 10), 10);
	assert_int_equal(rig_give(m[0]), 1);
	rig_detach();
	assert_int_equal(*rte_pktmbuf_mtod(m[1], uint8_t *), RIG_STALE);
	assert_int_equal(rig_attach(&(struct rig_options){ .features = RIG_ALL }, false), 0);
	assert_int_equal(rig_receive(m + 10, 54), 50);
	assert_int_equal(rig_tx_all(NETIF_RSP_OKAY), 60);
	rte_pktmbuf_free_bulk(m + 1, 59);
}

/* --- messages while packets flow ----------------------------------------------------------------
 */

/* The control ring's thread: maps and unmaps a page again and again. */
static void *control(void *arg)
{
	struct xen_netif_gref *list = (struct xen_netif_gref *)(void *)(rig.pages + SR_PAGE_SIZE);
	unsigned *done = arg;

	list[0] = (struct xen_netif_gref){ .ref = rig.refs[0] };
	for (unsigned i = 0; i < 400; i++) {
		struct xen_netif_ctrl_request req = {
			.type = i & 1 ? XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING
				      : XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING,
			.data = { 0, rig.refs[1], 1 },
		};
		struct xen_netif_ctrl_response rsp;

		sr_netif_ctrl_front_put(&rig.ctrl, &req);
		sr_ring_front_publish(&rig.ctrl.ring);
		while (sr_ring_front_pending(&rig.ctrl.ring) == 0)
			sr_netif_ctrl_poll(rig.netif);
		sr_netif_ctrl_front_take(&rig.ctrl, &rsp);
		if (rsp.status == XEN_NETIF_CTRL_STATUS_SUCCESS)
			++*done;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	return NULL;
}

static void messages_while_packets_flow(void **state)
{
	struct rte_mbuf *m;
	unsigned done = 0, packets = 0;
	pthread_t thread;

	rig_disconnect();
	rig_connect(&(struct rig_options){ .features = RIG_ALL, .ctrl = true });
	stop = false;
	assert_int_equal(pthread_create(&thread, NULL, control, &done), 0);
	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		rig_tx(0, 0, 0, 0, 60);
		rig_tx_publish();
		assert_int_equal(rig_receive(&m, 1), 1);
		rte_pktmbuf_free(m);
		assert_int_equal(rig_tx_all(NETIF_RSP_OKAY), 1);
		packets++;
	}
	pthread_join(thread, NULL);
	assert_int_equal(done, 400);
	assert_true(packets >= 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(changed_while_read),
		RIG_TEST(revoked),
		RIG_TEST(detached_in_mid_burst),
		RIG_TEST(messages_while_packets_flow),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
