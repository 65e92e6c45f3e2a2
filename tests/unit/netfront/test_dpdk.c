/* SPDX-License-Identifier: MIT */
/* The DPDK driver net_xenfront as an application uses it, against the backend of the test's own. */
#include "world.h"

#include <errno.h>
#include <stdio.h>

#include <ports/eal.h>
#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#define MBUFS 1023u

static struct world w;
static struct rte_mempool *pool, *clones; /* whose packets have their data in the others' */
static uint16_t port;

static int plug(const char *more)
{
	char words[256];

	snprintf(words, sizeof(words), "hypervisor=%s,device=0%s", w.address, more);
	return rte_eal_hotplug_add("vdev", "net_xenfront0", words);
}

static int setup(void **state)
{
	const struct rte_eth_conf conf = { .rxmode.mq_mode = RTE_ETH_MQ_RX_RSS };
	char error[200];

	(void)state;
	world_start(&w, &world_full);
	assert_int_equal(sr_mbuf_pool_new("app", MBUFS, &pool, error, sizeof(error)), 0);
	assert_int_equal(plug(",queues=2"), 0);
	assert_int_equal(rte_eth_dev_get_port_by_name("net_xenfront0", &port), 0);
	assert_int_equal(rte_eth_dev_configure(port, 2, 2, &conf), 0);
	for (uint16_t q = 0; q < 2; q++) {
		assert_int_equal(rte_eth_rx_queue_setup(port, q, 256, SOCKET_ID_ANY, NULL, pool),
				 0);
		assert_int_equal(rte_eth_tx_queue_setup(port, q, 256, SOCKET_ID_ANY, NULL), 0);
	}
	assert_int_equal(rte_eth_dev_start(port), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rte_eth_dev_stop(port);
	rte_eth_dev_close(port);
	assert_int_equal(rte_mempool_avail_count(pool), MBUFS);
	assert_int_equal(rte_eal_hotplug_remove("vdev", "net_xenfront0"), 0);
	rte_mempool_free(pool);
	sr_hv_close(w.guest);
	testback_stop(&w.back);
	harness_stop(&w.h);
	return 0;
}

static struct rte_mbuf *packet(uint32_t length, unsigned seed)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

	assert_non_null(m);
	world_fill(rte_pktmbuf_append(m, (uint16_t)length), length, seed);
	return m;
}

static uint64_t xstat(const char *name)
{
	uint64_t id, value;

	assert_int_equal(rte_eth_xstats_get_id_by_name(port, name, &id), 0);
	assert_int_equal(rte_eth_xstats_get_by_id(port, &id, &value, 1), 1);
	return value;
}

static void test_sends_from_where_it_lies(void **state)
{
	struct rte_eth_stats stats;
	uint64_t bytes = 0;

	(void)state;
	for (uint32_t length = 14; length < 3000; length += 74) {
		struct rte_mbuf *m = packet(length, length);

		assert_int_equal(rte_eth_tx_burst(port, length % 2, &m, 1), 1);
		assert_true(testback_take(&w.back, length % 2, &w.packet));
		assert_int_equal(w.packet.length, length);
		assert_int_equal(w.packet.slots, 1);
		world_expect(w.packet.data, length, length);
		testback_answer(&w.back, length % 2, &w.packet, NETIF_RSP_OKAY);
		testback_publish(&w.back, length % 2);
		bytes += length;
	}
	assert_int_equal(rte_eth_stats_get(port, &stats), 0);
	assert_int_equal(stats.opackets, 41);
	assert_int_equal(stats.obytes, bytes);
	assert_int_equal(xstat("tx_copied"), 0);
}

static void test_sends_chains_and_strangers(void **state)
{
	struct rte_mbuf *m, *tail, *stranger;
	struct rte_mempool *other;
	char error[100];

	(void)state;
	m = packet(1000, 1);
	tail = packet(2000, 2);
	assert_int_equal(rte_pktmbuf_chain(m, tail), 0);
	assert_int_equal(rte_eth_tx_burst(port, 0, &m, 1), 1);
	assert_true(testback_take(&w.back, 0, &w.packet));
	assert_int_equal(w.packet.length, 3000);
	world_expect(w.packet.data, 1000, 1);
	world_expect(w.packet.data + 1000, 2000, 2);
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);

	assert_int_equal(sr_mbuf_pool_new("other", 7, &other, error, sizeof(error)), 0);
	stranger = rte_pktmbuf_alloc(other);
	world_fill(rte_pktmbuf_append(stranger, 1500), 1500, 3);
	assert_int_equal(rte_eth_tx_burst(port, 0, &stranger, 1), 1);
	assert_true(testback_take(&w.back, 0, &w.packet));
	world_expect(w.packet.data, 1500, 3);
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, 0);
	rte_eth_tx_burst(port, 0, NULL, 0);
	assert_int_equal(xstat("tx_copied"), 1);
	assert_int_equal(rte_mempool_avail_count(other), 7);
	rte_mempool_free(other);
}

static void send_and_answer(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *m = packet(60, i);

		assert_int_equal(rte_eth_tx_burst(port, 0, &m, 1), 1);
		assert_true(testback_take(&w.back, 0, &w.packet));
		testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
		testback_publish(&w.back, 0);
	}
}

/* Packets that are done with are freed when slots grow few, or when the application asks. */
static void test_frees_by_the_threshold(void **state)
{
	unsigned free_at_first = rte_mempool_avail_count(pool), thresh;
	struct rte_eth_dev_info info;

	(void)state;
	assert_int_equal(rte_eth_dev_info_get(port, &info), 0);
	thresh = info.default_txconf.tx_free_thresh;
	send_and_answer(256 - thresh + 1);
	assert_int_equal(rte_mempool_avail_count(pool), free_at_first - (256 - thresh + 1));
	send_and_answer(1);
	assert_int_equal(rte_mempool_avail_count(pool), free_at_first - 1);
	send_and_answer(9);
	assert_int_equal(rte_eth_tx_done_cleanup(port, 0, 3), 3);
	assert_int_equal(rte_mempool_avail_count(pool), free_at_first - 7);
	assert_int_equal(rte_eth_tx_done_cleanup(port, 0, 0), 7);
	assert_int_equal(rte_eth_tx_done_cleanup(port, 0, 0), 0);
	assert_int_equal(rte_mempool_avail_count(pool), free_at_first);
}

static unsigned line(const struct rte_mbuf *m)
{
	return (unsigned)((uintptr_t)m->buf_addr % 4096 / 64);
}

/* Buffers begin at 16 places of their pages, so that they don't share a few sets of a cache. */
static void test_buffers_have_colours(void **state)
{
	struct rte_mbuf *m[64], *got;
	unsigned seen = 0;

	(void)state;
	for (unsigned i = 0; i < RTE_DIM(m); i++) {
		m[i] = rte_pktmbuf_alloc(pool);
		assert_non_null(m[i]);
		seen |= 1u << line(m[i]);
		assert_true(rte_pktmbuf_tailroom(m[i]) >= 2048);
	}
	assert_int_equal(seen, 0xffff);
	rte_pktmbuf_free_bulk(m, RTE_DIM(m));
	/* One that was received begins where its page does, until it has been sent. */
	assert_int_equal(rte_eth_rx_burst(port, 0, &got, 1), 0);
	for (unsigned i = 0; i < 2; i++) {
		memset(&w.packet, 0, sizeof(w.packet));
		w.packet.length = 60;
		assert_true(testback_send(&w.back, 0, &w.packet, 4096));
	}
	testback_publish(&w.back, 0);
	assert_int_equal(rte_eth_rx_burst(port, 0, m, 2), 2);
	assert_int_equal(line(m[0]) + line(m[1]), 0);
	assert_int_equal(rte_eth_tx_burst(port, 0, m, 2), 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(testback_take(&w.back, 0, &w.packet));
		testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	}
	testback_publish(&w.back, 0);
	assert_int_equal(rte_eth_tx_done_cleanup(port, 0, 0), 2);
	/* Pages in a row have colours in a row. */
	assert_int_equal(line(m[0]), (uintptr_t)m[0]->buf_addr / 4096 % 16);
	assert_int_equal(line(m[1]), (uintptr_t)m[1]->buf_addr / 4096 % 16);
}

/* One that no ring takes is freed and counted, and those behind it go out. */
static void test_what_cant_be_sent_is_dropped(void **state)
{
	struct rte_mbuf *burst[2] = { packet(13, 1), packet(60, 2) };
	struct rte_eth_stats stats;

	(void)state;
	assert_int_equal(rte_eth_tx_burst(port, 0, burst, 2), 1);
	assert_int_equal(rte_eth_tx_burst(port, 0, burst + 1, 1), 1);
	assert_int_equal(rte_eth_stats_get(port, &stats), 0);
	assert_int_equal(stats.opackets, 1);
	assert_int_equal(stats.oerrors, 1);
	assert_true(testback_take(&w.back, 0, &w.packet));
	world_expect(w.packet.data, 60, 2);
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, 0);
	rte_eth_tx_burst(port, 0, NULL, 0);
}

static void test_receives_into_the_pool(void **state)
{
	static const uint32_t lengths[] = { 14, 60, 1514, 4096, 4097, 9014, 65535 };
	static uint8_t flat[65536];
	struct rte_mbuf *m, *clone;

	(void)state;
	assert_int_equal(rte_eth_rx_burst(port, 0, &m, 1), 0); /* posts */
	for (unsigned i = 0; i < RTE_DIM(lengths); i++) {
		uint32_t length = lengths[i];

		memset(&w.packet, 0, sizeof(w.packet));
		w.packet.length = length;
		world_fill(w.packet.data, length, length);
		assert_true(testback_send(&w.back, 0, &w.packet, 4096));
		testback_publish(&w.back, 0);
		assert_int_equal(rte_eth_rx_burst(port, 0, &m, 1), 1);
		assert_int_equal(m->pkt_len, length);
		assert_int_equal(m->nb_segs, (length + 4095) / 4096);
		/* A clone keeps the bytes when the packet itself is given back. */
		clone = rte_pktmbuf_clone(m, clones);
		assert_non_null(clone);
		rte_pktmbuf_free(m);
		world_expect(rte_pktmbuf_read(clone, 0, length, flat), length, length);
		rte_pktmbuf_free(clone);
	}
}

static void test_offloads_received(void **state)
{
	struct rte_mbuf *m;

	(void)state;
	rte_eth_rx_burst(port, 0, &m, 1);
	memset(&w.packet, 0, sizeof(w.packet));
	w.packet.length = 3000;
	w.packet.flags = NETRXF_csum_blank | NETRXF_data_validated | NETRXF_extra_info;
	w.packet.extra_count = 2;
	w.packet.extras[0].type = XEN_NETIF_EXTRA_TYPE_GSO;
	w.packet.extras[0].flags = XEN_NETIF_EXTRA_FLAG_MORE;
	w.packet.extras[0].u.gso.size = 1448;
	w.packet.extras[0].u.gso.type = XEN_NETIF_GSO_TYPE_TCPV4;
	w.packet.extras[1].type = XEN_NETIF_EXTRA_TYPE_HASH;
	w.packet.extras[1].u.hash.algorithm = XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ;
	w.packet.extras[1].u.hash.value[1] = 0x12;
	assert_true(testback_send(&w.back, 0, &w.packet, 4096));
	testback_publish(&w.back, 0);
	assert_int_equal(rte_eth_rx_burst(port, 0, &m, 1), 1);
	assert_int_equal(m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_NONE);
	assert_true(m->ol_flags & RTE_MBUF_F_RX_LRO);
	assert_int_equal(m->tso_segsz, 1448);
	assert_true(m->ol_flags & RTE_MBUF_F_RX_RSS_HASH);
	assert_int_equal(m->hash.rss, 0x1200);
	rte_pktmbuf_free(m);
}

static void test_offloads_sent(void **state)
{
	struct rte_mbuf *m = packet(3000, 0);
	struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, struct rte_ipv4_hdr *, 14);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(void *)(ip + 1), *sent;

	(void)state;
	memset(ip, 0, sizeof(*ip) + sizeof(*tcp));
	ip->version_ihl = 0x45;
	ip->total_length = htons(3000 - 14);
	ip->next_proto_id = IPPROTO_TCP;
	ip->src_addr = htonl(0x0a000001);
	ip->dst_addr = htonl(0x0a000002);
	m->l2_len = 14;
	m->l3_len = m->l4_len = 20;
	m->tso_segsz = 1448;
	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	assert_int_equal(rte_eth_tx_prepare(port, 0, &m, 1), 1);
	assert_int_equal(rte_eth_tx_burst(port, 0, &m, 1), 1);
	assert_true(testback_take(&w.back, 0, &w.packet));
	assert_int_equal(w.packet.flags & (NETTXF_csum_blank | NETTXF_data_validated),
			 NETTXF_csum_blank | NETTXF_data_validated);
	assert_int_equal(w.packet.extra_count, 1);
	assert_int_equal(w.packet.extras[0].u.gso.size, 1448);
	assert_int_equal(w.packet.extras[0].u.gso.type, XEN_NETIF_GSO_TYPE_TCPV4);
	sent = (struct rte_tcp_hdr *)(void *)(w.packet.data + 34);
	/* 10.0.0.1 + 10.0.0.2 + TCP + the length behind the IP header. */
	assert_int_equal(ntohs(sent->cksum), 0x0a00 + 1 + 0x0a00 + 2 + 6 + 2966);
	testback_answer(&w.back, 0, &w.packet, NETIF_RSP_OKAY);
	testback_publish(&w.back, 0);
	rte_eth_tx_burst(port, 0, NULL, 0);

	m = packet(40, 0);
	m->l2_len = 14;
	m->l3_len = 20;
	m->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	assert_int_equal(rte_eth_tx_prepare(port, 0, &m, 1), 0);
	assert_int_equal(rte_errno, EINVAL);
	rte_pktmbuf_free(m);
}

static void test_hashing(void **state)
{
	uint8_t key[40];
	struct rte_eth_rss_conf conf = { .rss_key = key,
					 .rss_key_len = sizeof(key),
					 .rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_TCP };
	struct rte_eth_rss_reta_entry64 reta[2] = { { .mask = 2 } };
	struct rte_eth_dev_info info;

	(void)state;
	assert_int_equal(rte_eth_dev_info_get(port, &info), 0);
	world_fill(key, sizeof(key), 5);
	assert_int_equal(rte_eth_dev_rss_hash_update(port, &conf), 0);
	assert_int_equal(w.back.control.types, XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP);
	assert_memory_equal(w.back.control.key, key, sizeof(key));
	assert_int_equal(info.reta_size, 128);
	reta[0].reta[1] = 1;
	assert_int_equal(rte_eth_dev_rss_reta_update(port, reta, info.reta_size), 0);
	assert_int_equal(w.back.control.mapping[1], 1);
}

static void test_the_pool_is_mapped_for_good(void **state)
{
	(void)state;
	assert_true(w.back.control.mapped >= MBUFS);
}

static void test_bad_words(void **state)
{
	static const char *const bad[] = { ",queues=0", ",queues=65", ",queues=x",
					   ",queue=1",  ",device=1",  ",static=" };

	(void)state;
	world_start(&w, &world_full);
	for (unsigned i = 0; i < RTE_DIM(bad); i++) {
		assert_true(plug(bad[i]) < 0);
		assert_int_not_equal(rte_eth_dev_get_port_by_name("net_xenfront0", &port), 0);
	}
	sr_hv_close(w.guest);
	testback_stop(&w.back);
	harness_stop(&w.h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sends_from_where_it_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_sends_chains_and_strangers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frees_by_the_threshold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_buffers_have_colours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_cant_be_sent_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receives_into_the_pool, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offloads_received, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offloads_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hashing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_pool_is_mapped_for_good, setup, teardown),
		cmocka_unit_test(test_bad_words),
	};
	char error[200];

	if (sr_eal_start(NULL, error, sizeof(error)) ||
	    sr_mbuf_pool_new("clones", 63, &clones, error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
