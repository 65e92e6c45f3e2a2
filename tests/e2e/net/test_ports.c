/* SPDX-License-Identifier: MIT */
/*
 * A vif between two DPDK ports: net_xenback and net_xenfront, each as an application uses it. The
 * packets that one sends are those that the other receives, every byte of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ports/eal.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "packets.h"
#include "vifs.h"

#define QUEUES 2u
#define MBUFS  1023u /* a guest grants all of its pool */

static struct vifs w;
static struct vif v;
static struct rte_mempool *pools[2]; /* of the backend's port, of the guest's */
static uint16_t back, front;

static void set_up_port(uint16_t port, struct rte_mempool *pool)
{
	const struct rte_eth_conf conf = { .rxmode.mq_mode = RTE_ETH_MQ_RX_NONE };

	assert_int_equal(rte_eth_dev_configure(port, QUEUES, QUEUES, &conf), 0);
	for (uint16_t q = 0; q < QUEUES; q++) {
		assert_int_equal(rte_eth_rx_queue_setup(port, q, 256, SOCKET_ID_ANY, NULL, pool),
				 0);
		assert_int_equal(rte_eth_tx_queue_setup(port, q, 256, SOCKET_ID_ANY, NULL), 0);
	}
	assert_int_equal(rte_eth_dev_start(port), 0);
}

static void plug_front(void)
{
	char words[256], error[256];

	/* net_xenfront makes a pool its own, for as long as it lives. */
	assert_int_equal(sr_mbuf_pool_new("guest", MBUFS, &pools[1], error, sizeof(error)), 0);
	snprintf(words, sizeof(words), "hypervisor=%s,device=0,queues=%u", v.address, QUEUES);
	assert_int_equal(rte_eal_hotplug_add("vdev", "net_xenfront0", words), 0);
	assert_int_equal(rte_eth_dev_get_port_by_name("net_xenfront0", &front), 0);
	set_up_port(front, pools[1]);
}

static void unplug_front(void)
{
	rte_eth_dev_stop(front);
	rte_eth_dev_close(front);
	assert_true(rte_mempool_full(pools[1]));
	assert_int_equal(rte_eal_hotplug_remove("vdev", "net_xenfront0"), 0);
	rte_mempool_free(pools[1]);
}

static void await_link(bool up)
{
	struct rte_eth_link link;

	for (unsigned i = 0; i < 5000; i++) {
		assert_int_equal(rte_eth_link_get_nowait(back, &link), 0);
		if (link.link_status == (up ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN))
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
	}
	fail_msg("the link is %s", up ? "down" : "up");
}

/*
 * As guests come and go they ask things by the control ring, and wait up to 10 s for each answer:
 * an application gives it by receiving.
 */
static bool served;

static void *serve(void *arg)
{
	struct rte_mbuf *none;

	while (__atomic_load_n(&served, __ATOMIC_RELAXED)) {
		for (uint16_t q = 0; q < QUEUES; q++)
			if (rte_eth_rx_burst(back, q, &none, 1))
				rte_pktmbuf_free(none);
		sched_yield();
	}
	return NULL;
}

static void while_served(void (*fn)(void))
{
	pthread_t thread;

	served = true;
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	fn();
	__atomic_store_n(&served, false, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

static int set_up(void **state)
{
	char words[256], error[256];

	harness_start(&w.h, "embedded:");
	assert_int_equal(
	    sr_eal_start(&(struct sr_eal_options){ .huge = SR_EAL_HUGE_OFF }, error, sizeof(error)),
	    0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(sr_mbuf_pool_new("ports", MBUFS, &pools[i], error, sizeof(error)),
				 0);
	vifs_attach(&w, &v, "none", 7);
	snprintf(words, sizeof(words), "hypervisor=%s,domid=%u,device=0,queues=%u", w.h.dom0,
		 v.domid, QUEUES);
	assert_int_equal(rte_eal_hotplug_add("vdev", "net_xenback0", words), 0);
	assert_int_equal(rte_eth_dev_get_port_by_name("net_xenback0", &back), 0);
	set_up_port(back, pools[0]);
	while_served(plug_front);
	await_link(true);
	return 0;
}

static int tear_down(void **state)
{
	while_served(unplug_front);
	await_link(false);
	rte_eth_dev_stop(back);
	rte_eth_dev_close(back);
	assert_int_equal(rte_eal_hotplug_remove("vdev", "net_xenback0"), 0);
	assert_true(rte_mempool_full(pools[0]));
	rte_mempool_free(pools[0]);
	sr_hv_close(v.guest);
	harness_stop(&w.h);
	return 0;
}

/* The next packet that a port receives, on any queue. Both ends are polled: each awaits the other.
 */
static struct rte_mbuf *next(uint16_t from, uint16_t port)
{
	struct rte_mbuf *m, *none;

	for (unsigned i = 0; i < 1000000; i++) {
		if (rte_eth_rx_burst(port, i % QUEUES, &m, 1))
			return m;
		rte_eth_tx_burst(from, i % QUEUES, NULL, 0);
		if (rte_eth_rx_burst(from, i % QUEUES, &none, 1))
			rte_pktmbuf_free(none);
	}
	fail_msg("nothing came");
	return NULL;
}

static void expect_same(const uint8_t *sent, uint32_t len, struct rte_mbuf *m)
{
	static uint8_t room[70000];

	assert_int_equal(m->pkt_len, len);
	assert_memory_equal(rte_pktmbuf_read(m, 0, len, room), sent, len);
}

/* Sends one and looks at what comes out at the other end. */
static void pass(uint16_t from, uint16_t to, uint16_t queue, const struct packet *p)
{
	static uint8_t sent[70000];
	struct rte_mbuf *m = packet_new(pools[from == front], p), *got;
	const void *bytes = rte_pktmbuf_read(m, 0, m->pkt_len, sent);
	uint32_t len = m->pkt_len;

	if (bytes != sent)
		memcpy(sent, bytes, len);
	/* A guest gives room as it is polled. */
	for (unsigned i = 0; i < 1000 && !rte_eth_tx_burst(from, queue, &m, 1); i++)
		for (uint16_t q = 0; q < QUEUES; q++)
			assert_int_equal(rte_eth_rx_burst(to, q, &got, 1), 0);
	got = next(from, to);
	expect_same(sent, len, got);
	if (p->segsz) {
		assert_true(got->ol_flags & RTE_MBUF_F_RX_LRO);
		assert_int_equal(got->tso_segsz, p->segsz);
	}
	if (p->blank && to == back)
		assert_int_equal(got->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK,
				 RTE_MBUF_F_RX_L4_CKSUM_NONE);
	rte_pktmbuf_free(got);
}

static void pass_all(uint16_t from, uint16_t to)
{
	static const struct packet kinds[] = {
		{ .payload = 6 },
		{ .payload = 1446, .udp = true },
		{ .payload = 1460, .blank = true },
		{ .payload = 700, .udp = true, .blank = true, .v6 = true, .tags = 1 },
		{ .payload = 8960, .blank = true },
		{ .payload = 60000, .segsz = 1448 },
		{ .payload = 30000, .segsz = 1428, .v6 = true },
	};

	for (unsigned i = 0; i < RTE_DIM(kinds); i++)
		for (uint16_t queue = 0; queue < QUEUES; queue++)
			pass(from, to, queue, &kinds[i]);
}

static uint64_t xstat(const char *name)
{
	uint64_t id, value;

	assert_int_equal(rte_eth_xstats_get_id_by_name(back, name, &id), 0);
	assert_int_equal(rte_eth_xstats_get_by_id(back, &id, &value, 1), 1);
	return value;
}

static void test_from_guest(void **state)
{
	struct rte_eth_stats stats;

	assert_int_equal(rte_eth_stats_reset(back), 0);
	pass_all(front, back);
	assert_int_equal(rte_eth_stats_get(back, &stats), 0);
	assert_int_equal(stats.ipackets, 7 * QUEUES);
	assert_int_equal(stats.ierrors, 0);
	assert_int_equal(xstat("rx_gso_packets"), 2 * QUEUES);
	assert_true(xstat("rx_blank_checksum_packets") > 0);
}

static void test_to_guest(void **state)
{
	struct rte_eth_stats stats;

	assert_int_equal(rte_eth_stats_reset(back), 0);
	pass_all(back, front);
	assert_int_equal(rte_eth_stats_get(back, &stats), 0);
	assert_int_equal(stats.opackets, 7 * QUEUES);
	assert_int_equal(stats.oerrors, 0);
}

/* The guest goes and comes back, while packets wait for it. */
static void test_comes_back(void **state)
{
	struct rte_mbuf *m = packet_new(pools[0], &(struct packet){ .payload = 100 });

	while_served(unplug_front);
	await_link(false);
	assert_int_equal(rte_eth_tx_burst(back, 1, &m, 1), 0);
	rte_pktmbuf_free(m);
	while_served(plug_front);
	await_link(true);
	pass(front, back, 1, &(struct packet){ .payload = 100 });
	pass(back, front, 0, &(struct packet){ .payload = 100 });
}

static bool over;

/* Has packets for the guest, whether it is there or not; what it asks is answered by receiving. */
static void *send_on(void *arg)
{
	struct rte_mbuf *m = NULL, *none;

	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		if (!m)
			m = packet_new(pools[0], &(struct packet){ .payload = 100 });
		if (m && rte_eth_tx_burst(back, 1, &m, 1))
			m = NULL;
		for (uint16_t q = 0; q < QUEUES; q++)
			if (rte_eth_rx_burst(back, q, &none, 1))
				rte_pktmbuf_free(none);
	}
	rte_pktmbuf_free(m);
	return NULL;
}

static void test_comes_and_goes_under_traffic(void **state)
{
	struct rte_mbuf *m;
	pthread_t thread;

	over = false;
	assert_int_equal(pthread_create(&thread, NULL, send_on, NULL), 0);
	for (unsigned i = 0; i < 20; i++) {
		unplug_front();
		await_link(false);
		plug_front();
		await_link(true);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	for (unsigned i = 0; i < 1000; i++)
		if (rte_eth_rx_burst(front, i % QUEUES, &m, 1))
			rte_pktmbuf_free(m);
	pass(back, front, 0, &(struct packet){ .payload = 100 });
}

/* A guest that gives no room for a second has no link, until it does again. */
static void test_stalled_guest(void **state)
{
	struct rte_eth_link link;
	struct rte_mbuf *m;

	for (unsigned q = 0; q < QUEUES; q++) {
		do {
			m = packet_new(pools[0], &(struct packet){ .payload = 100 });
			/* The hash says which of the guest's queues it is for. */
			m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
			m->hash.rss = q;
		} while (rte_eth_tx_burst(back, (uint16_t)q, &m, 1));
		rte_pktmbuf_free(m);
		/* One queue without room is not all of them. */
		assert_int_equal(rte_eth_link_get_nowait(back, &link), 0);
		assert_int_equal(link.link_status, RTE_ETH_LINK_UP);
	}
	await_link(false);
	for (unsigned i = 0; i < 4096; i++)
		if (rte_eth_rx_burst(front, i % QUEUES, &m, 1))
			rte_pktmbuf_free(m);
	await_link(true);
	pass(back, front, 0, &(struct packet){ .payload = 100 });
	pass(back, front, 1, &(struct packet){ .payload = 100 });
}

static void test_prepare_of_small_udp(void **state)
{
	struct rte_mbuf *m =
	    packet_new(pools[0], &(struct packet){ .udp = true, .blank = true, .payload = 4 });
	uint16_t *sum = rte_pktmbuf_mtod_offset(m, uint16_t *, 14 + 20 + 6), right = *sum;

	*sum = 0;
	assert_int_equal(rte_eth_tx_prepare(back, 0, &m, 1), 1);
	assert_int_equal(*sum, right);
	/* Without all of its header it is left alone. */
	*sum = 0;
	m->data_len = m->pkt_len = 14 + 20 + 7;
	assert_int_equal(rte_eth_tx_prepare(back, 0, &m, 1), 1);
	assert_int_equal(*sum, 0);
	rte_pktmbuf_free(m);
}

/* DPDK's headers of segments lack the length; those of netif have it. */
static void test_prepare(void **state)
{
	struct rte_mbuf *m =
	    packet_new(pools[0], &(struct packet){ .payload = 9000, .segsz = 1000 });
	uint16_t *sum = rte_pktmbuf_mtod_offset(m, uint16_t *, 14 + 20 + 16), right = *sum;

	*sum = 0;
	assert_int_equal(rte_eth_tx_prepare(back, 0, &m, 1), 1);
	assert_int_equal(*sum, right);
	m->l3_len = 511;
	m->l2_len = 127;
	m->data_len = 100;
	assert_int_equal(rte_eth_tx_prepare(back, 0, &m, 1), 0);
	m->data_len = m->pkt_len > 2048 ? 2048 : (uint16_t)m->pkt_len;
	rte_pktmbuf_free(m);
}

static void test_refuses(void **state)
{
	char words[256];

	assert_true(rte_eal_hotplug_add("vdev", "net_xenback1", "device=0") < 0);
	assert_true(rte_eal_hotplug_add("vdev", "net_xenback1", "domid=1,queues=17") < 0);
	assert_true(rte_eal_hotplug_add("vdev", "net_xenback1", "domid=1,hypervisor=none:") < 0);
	snprintf(words, sizeof(words), "hypervisor=%s,domid=x", w.h.dom0);
	assert_true(rte_eal_hotplug_add("vdev", "net_xenback1", words) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_guest),
		cmocka_unit_test(test_to_guest),
		cmocka_unit_test(test_comes_back),
		cmocka_unit_test(test_comes_and_goes_under_traffic),
		cmocka_unit_test(test_stalled_guest),
		cmocka_unit_test(test_prepare),
		cmocka_unit_test(test_prepare_of_small_udp),
		cmocka_unit_test(test_refuses),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
