/* SPDX-License-Identifier: MIT */
/* What the guest sends: slots, fragments, extra info, grants, events. */
#include "rig.h"

#include <errno.h>
#include <string.h>

#include <rte_ether.h>

static uint8_t bytes[70000];

static void fill_bytes(void)
{
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + i / 251);
}

static void one_slot(void **state)
{
	struct rte_mbuf *m;
	uint16_t id;

	fill_bytes();
	memcpy(rig.pages + 5 * SR_PAGE_SIZE + 100, bytes, 60);
	rig_tx(5, 100, 0, 0xbeef, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	assert_int_equal(m->nb_segs, 1);
	assert_int_equal(m->ol_flags, 0);
	rig_check_bytes(m, bytes, 60);
	rte_pktmbuf_free(m);
	assert_int_equal(rig_tx_response(&id), NETIF_RSP_OKAY);
	assert_int_equal(id, 0xbeef);
	assert_int_equal(rig_tx_responses(), 0);
	assert_int_equal(rig_receive(&m, 1), 0);
	assert_int_equal(sr_netq_stats(rig.q)->tx.packets, 1);
	assert_int_equal(sr_netq_stats(rig.q)->tx.bytes, 60);
}

/* The smaller burst of two leaves the rest in the ring; many laps of it. */
static void bursts_and_laps(void **state)
{
	struct rte_mbuf *m[256];

	for (unsigned lap = 0; lap < 20; lap++) {
		unsigned n = 1 + lap * 13 % 256, got = 0;

		for (unsigned i = 0; i < n; i++) {
			rig.pages[i * SR_PAGE_SIZE] = (uint8_t)(lap + i);
			rig_tx(i, 0, 0, (uint16_t)i, 64);
		}
		rig_tx_publish();
		while (got < n) {
			int k = rig_receive(m + got, 100);

			assert_true(k > 0 && k <= 100);
			got += (unsigned)k;
		}
		for (unsigned i = 0; i < n; i++) {
			uint16_t id;

			assert_int_equal(*rte_pktmbuf_mtod(m[i], uint8_t *), (uint8_t)(lap + i));
			assert_int_equal(rig_tx_response(&id), NETIF_RSP_OKAY);
			assert_int_equal(id, i);
			rte_pktmbuf_free(m[i]);
		}
	}
}

/* A packet of `slots` slots and `size` bytes, the later slots of `each`; what becomes of it. */
static void matrix_case(unsigned slots, unsigned size, unsigned each)
{
	unsigned rest = (slots - 1) * each;
	bool good = size >= SR_NET_MIN_PACKET && rest <= size && size - rest <= SR_PAGE_SIZE &&
		    slots <= SR_NET_MAX_SLOTS;
	struct rte_mbuf *m[2];
	unsigned at;
	int n;

	for (unsigned i = 0; i < slots; i++)
		rig_tx(i, 0, i + 1 < slots ? NETTXF_more_data : 0, (uint16_t)i,
		       (uint16_t)(i ? each : size));
	rig_tx_publish();
	n = rig_receive(m, 2);
	if (slots > SR_NET_FATAL_SLOTS) {
		assert_int_equal(n, -EPROTO);
		assert_true(sr_netq_broken(rig.q));
		assert_int_equal(rig_tx_responses(), 0);
		rig_disconnect();
		rig_setup(NULL);
		return;
	}
	assert_int_equal(n, good);
	assert_int_equal(rig_tx_all(good ? NETIF_RSP_OKAY : NETIF_RSP_ERROR), slots);
	if (!good)
		return;
	assert_int_equal(m[0]->pkt_len, size);
	at = size - rest;
	memcpy(bytes, rig.pages, at);
	for (unsigned i = 1; i < slots; i++)
		memcpy(bytes + at + (i - 1) * each, rig.pages + i * SR_PAGE_SIZE, each);
	rig_check_bytes(m[0], bytes, size);
	rte_pktmbuf_free(m[0]);
}

static void slots_by_sizes(void **state)
{
	static const unsigned sizes[] = { 0,   1,    13,   14,   127,   128,
					  129, 2048, 4095, 4096, 40960, 65535 };
	static const unsigned eaches[] = { 0, 1, 13, 128, 2047, 4095, 4096 };

	fill_bytes();
	for (unsigned i = 0; i < RIG_PAGES; i++)
		memcpy(rig.pages + i * SR_PAGE_SIZE, bytes + i * 7, SR_PAGE_SIZE);
	for (unsigned slots = 1; slots <= 21; slots++)
		for (unsigned s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			for (unsigned e = 0; e < sizeof(eaches) / sizeof(eaches[0]); e++)
				matrix_case(slots, sizes[s], eaches[e]);
}

static void zero_length_fragments(void **state)
{
	static const unsigned sizes[][3] = { { 0, 30, 40 }, { 30, 0, 40 }, { 30, 40, 0 } };

	fill_bytes();
	for (unsigned c = 0; c < 3; c++) {
		unsigned at = 0;
		struct rte_mbuf *m;

		for (unsigned i = 0; i < 3; i++) {
			memcpy(rig.pages + i * SR_PAGE_SIZE + 9, bytes + at, sizes[c][i]);
			at += sizes[c][i];
			rig_tx(i, 9, i < 2 ? NETTXF_more_data : 0, 1,
			       (uint16_t)(i ? sizes[c][i] : 70));
		}
		rig_tx_publish();
		assert_int_equal(rig_receive(&m, 1), 1);
		rig_check_bytes(m, bytes, 70);
		rte_pktmbuf_free(m);
		assert_int_equal(rig_tx_all(NETIF_RSP_OKAY), 3);
	}
}

/* The packet's size is smaller than its fragments' sum, and bytes beyond the page. */
static void sizes_that_lie(void **state)
{
	struct rte_mbuf *m;

	rig_tx(0, 0, NETTXF_more_data, 0, 100);
	rig_tx(1, 0, 0, 1, 101);
	rig_tx(2, 4000, 0, 2, 97);
	rig_tx(3, 65535, 0, 3, 60);
	rig_tx(4, 1, NETTXF_more_data, 4, 4096);
	rig_tx(5, 0, 0, 5, 0);
	rig_tx(6, 4036, 0, 6, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	rte_pktmbuf_free(m);
	assert_int_equal(rig_tx_responses(), 7);
	for (unsigned i = 0; i < 7; i++)
		assert_int_equal(rig_tx_response(NULL), i < 6 ? NETIF_RSP_ERROR : NETIF_RSP_OKAY);
	assert_int_equal(rig_tx_drops(SR_NET_DROP_MALFORMED), 4);
}

static void more_data_at_the_end(void **state)
{
	struct rte_mbuf *m[4];

	/* The packet before it is still passed on. */
	rig_tx(0, 0, 0, 0, 60);
	rig_tx(1, 0, NETTXF_more_data, 1, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(m, 4), 1);
	rte_pktmbuf_free(m[0]);
	assert_true(sr_netq_broken(rig.q));
	assert_int_equal(rig_receive(m, 4), -EPROTO);
	assert_int_equal(sr_netq_send(rig.q, m, 0), -EPROTO);
	assert_int_equal(sr_netq_stats(rig.q)->broken, 1);
	assert_int_equal(rig_tx_responses(), 1);
}

static void impossible_index(void **state)
{
	struct sr_ring_indices *shared = (struct sr_ring_indices *)(void *)rig.tx_page;
	struct rte_mbuf *m;

	shared->req_prod = 257;
	assert_int_equal(rig_receive(&m, 1), -EPROTO);
	assert_false(sr_netq_arm_receive(rig.q));
}

/* --- extra info ---------------------------------------------------------------------------------
 */

static const struct netif_extra_info unknown = { .type = 77 };

static void unknown_extra(void **state)
{
	static const uint8_t types[] = { 0, 5, 6, 255 };
	struct rte_mbuf *m;

	for (unsigned i = 0; i < sizeof(types); i++) {
		struct netif_extra_info extra = { .type = types[i] };

		rig_tx(0, 0, NETTXF_extra_info, 3, 60);
		rig_tx_extra(&extra);
		rig_tx_publish();
		assert_int_equal(rig_receive(&m, 1), 0);
		assert_int_equal(rig_tx_response(NULL), NETIF_RSP_ERROR);
		assert_int_equal(rig_tx_response(NULL), NETIF_RSP_NULL);
	}
	assert_int_equal(rig_tx_drops(SR_NET_DROP_MALFORMED), sizeof(types));
}

static void endless_extra(void **state)
{
	struct netif_extra_info extra = { .type = XEN_NETIF_EXTRA_TYPE_HASH,
					  .flags = XEN_NETIF_EXTRA_FLAG_MORE };
	struct rte_mbuf *m;

	rig_tx(0, 0, NETTXF_extra_info, 3, 60);
	for (unsigned i = 0; i < 255; i++)
		rig_tx_extra(&extra);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), -EPROTO);
}

static void extra_at_the_end(void **state)
{
	struct rte_mbuf *m;

	rig_tx(0, 0, NETTXF_extra_info, 3, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), -EPROTO);
}

/* Extra info that nobody announced is a request, of nonsense. */
static void extra_in_place_of_a_request(void **state)
{
	struct netif_extra_info extra = { .type = XEN_NETIF_EXTRA_TYPE_GSO, .flags = 0 };
	struct rte_mbuf *m;

	extra.u.gso.size = 1448;
	rig_tx_extra(&extra);
	rig_tx_extra(&unknown);
	rig_tx(1, 0, 0, 9, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	rte_pktmbuf_free(m);
	assert_int_equal(rig_tx_response(NULL), NETIF_RSP_ERROR);
	assert_int_equal(rig_tx_response(NULL), NETIF_RSP_ERROR);
	assert_int_equal(rig_tx_response(NULL), NETIF_RSP_OKAY);
}

static void hash_of_the_guest(void **state)
{
	struct netif_extra_info extra = { .type = XEN_NETIF_EXTRA_TYPE_HASH };
	struct rte_mbuf *m;

	extra.u.hash.algorithm = XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ;
	memcpy(extra.u.hash.value, "\x78\x56\x34\x12", 4);
	m = rig_send(bytes, 60, 0, &extra);
	assert_non_null(m);
	assert_true(m->ol_flags & RTE_MBUF_F_RX_RSS_HASH);
	assert_int_equal(m->hash.rss, 0x12345678);
	rte_pktmbuf_free(m);
}

static void multicast_message(uint8_t type, const uint8_t addr[6], int16_t status)
{
	struct netif_extra_info extra = { .type = type };
	struct rte_mbuf *m;

	memcpy(extra.u.mcast.addr, addr, 6);
	rig_tx(0, 0, NETTXF_extra_info, 1, 0);
	rig_tx_extra(&extra);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 0);
	assert_int_equal(rig_tx_response(NULL), status);
	assert_int_equal(rig_tx_response(NULL), NETIF_RSP_NULL);
}

static bool wants(const uint8_t addr[6])
{
	struct rte_ether_addr to;

	memcpy(&to, addr, 6);
	return sr_netif_wants(rig.netif, &to);
}

static void multicast_list(void **state)
{
	uint8_t group[6] = { 1, 0, 0x5e, 0, 0, 0 }, unicast[6] = { 2, 0, 0, 0, 0, 1 };
	uint8_t everybody[6] = { 255, 255, 255, 255, 255, 255 };

	assert_true(wants(group));
	sr_netif_set_multicast_filter(rig.netif, true);
	assert_false(wants(group));
	assert_true(wants(unicast));
	assert_true(wants(everybody));
	multicast_message(XEN_NETIF_EXTRA_TYPE_MCAST_ADD, unicast, NETIF_RSP_ERROR);
	for (unsigned i = 0; i < SR_NET_MULTICAST; i++) {
		group[5] = (uint8_t)i;
		multicast_message(XEN_NETIF_EXTRA_TYPE_MCAST_ADD, group, NETIF_RSP_OKAY);
		assert_true(wants(group));
	}
	multicast_message(XEN_NETIF_EXTRA_TYPE_MCAST_ADD, group, NETIF_RSP_OKAY);
	group[5] = 200;
	multicast_message(XEN_NETIF_EXTRA_TYPE_MCAST_ADD, group, NETIF_RSP_ERROR);
	multicast_message(XEN_NETIF_EXTRA_TYPE_MCAST_DEL, group, NETIF_RSP_ERROR);
	group[5] = 7;
	multicast_message(XEN_NETIF_EXTRA_TYPE_MCAST_DEL, group, NETIF_RSP_OKAY);
	assert_false(wants(group));
	group[5] = 200;
	multicast_message(XEN_NETIF_EXTRA_TYPE_MCAST_ADD, group, NETIF_RSP_OKAY);
	assert_true(wants(group));
	/* It outlives the backend. */
	rig_resume(&(struct rig_options){ .multicast_filter = true });
	assert_true(wants(group));
	group[5] = 7;
	assert_false(wants(group));
}

/* --- grants -------------------------------------------------------------------------------------
 */

static void bad_grants(void **state)
{
	struct netif_tx_request req = { 0xfffffff0u, 0, 0, 7, 60 };
	struct rte_mbuf *m;

	sr_netif_tx_front_put(&rig.tx, &req);
	req.gref = 5000;
	req.id = 8;
	sr_netif_tx_front_put(&rig.tx, &req);
	/* One bad fragment spoils its packet only. */
	rig_tx(1, 0, NETTXF_more_data, 9, 120);
	req.id = 10;
	sr_netif_tx_front_put(&rig.tx, &req);
	rig_tx(2, 0, 0, 11, 60);
	/* Read-only will do. */
	memset(rig.read_only_page, 0x11, SR_PAGE_SIZE);
	req.gref = rig.read_only_ref;
	sr_netif_tx_front_put(&rig.tx, &req);
	rig_tx_publish();
	{
		struct rte_mbuf *got[8];

		assert_int_equal(rig_receive(got, 8), 2);
		m = got[1];
		rte_pktmbuf_free(got[0]);
	}
	assert_int_equal(*rte_pktmbuf_mtod(m, uint8_t *), 0x11);
	rte_pktmbuf_free(m);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(rig_tx_response(NULL), i < 4 ? NETIF_RSP_ERROR : NETIF_RSP_OKAY);
	assert_int_equal(rig_tx_drops(SR_NET_DROP_GRANT), 3);
}

static void no_mbufs(void **state)
{
	struct rte_mbuf *all[1024], *m[256];
	unsigned n = 0;

	/* The first lot makes the queue fill its stash. */
	while (n < 1024 && (all[n] = rte_pktmbuf_alloc(rig.pool)))
		n++;
	for (unsigned i = 0; i < 3; i++)
		rte_pktmbuf_free(all[--n]);
	for (unsigned i = 0; i < 4; i++)
		rig_tx(i, 0, i < 3 ? NETTXF_more_data : 0, 1, i ? 4096 : 16000);
	rig_tx(0, 0, 0, 1, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(m, 256), 0);
	assert_int_equal(rig_tx_all(NETIF_RSP_DROPPED), 5);
	assert_int_equal(rig_tx_drops(SR_NET_DROP_MEMORY), 2);
	rte_pktmbuf_free_bulk(all, n);
	/* And again as if nothing had been. */
	rig_tx(0, 0, 0, 1, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(m, 256), 1);
	rte_pktmbuf_free(m[0]);
}

/* Those at hand are a few for a few packets, again after a rest, and none while it rests. */
static void few_at_hand(void **state)
{
	struct rte_mbuf *m[120];

	for (unsigned round = 0; round < 2; round++) {
		rig_tx(0, 0, 0, 1, 60);
		rig_tx_publish();
		assert_int_equal(rig_receive(m, 1), 1);
		assert_in_range(rte_mempool_in_use_count(rig.pool) - rig.mbufs, 1, 4);
		for (unsigned i = 0; i < 119; i++)
			rig_tx(0, 0, 0, 1, 60);
		rig_tx_publish();
		assert_int_equal(rig_receive(m + 1, 119), 119);
		assert_false(sr_netq_arm_receive(rig.q));
		assert_int_equal(rte_mempool_in_use_count(rig.pool) - rig.mbufs, 120);
		rte_pktmbuf_free_bulk(m, 120);
		assert_int_equal(rig_tx_all(NETIF_RSP_OKAY), 120);
	}
}

/* --- events -------------------------------------------------------------------------------------
 */

static unsigned guest_events(void)
{
	uint32_t port;
	unsigned n = 0;

	while (sr_evtchn_pending(rig.guest_ev, &port) == 0) {
		n++;
		sr_evtchn_unmask(rig.guest_ev, port);
	}
	return n;
}

static void events(void **state)
{
	struct rte_mbuf *m[16];

	guest_events();
	assert_false(sr_netq_arm_receive(rig.q));
	/* The guest sees that it has to wake us, once. */
	rig_tx(0, 0, 0, 0, 60);
	assert_true(sr_ring_front_publish_and_check(&rig.tx.ring));
	rig_tx(0, 0, 0, 1, 60);
	assert_false(sr_ring_front_publish_and_check(&rig.tx.ring));
	assert_true(sr_netq_arm_receive(rig.q));
	assert_int_equal(rig_receive(m, 16), 2);
	rte_pktmbuf_free_bulk(m, 2);
	/* It has asked for the first response: one event for the batch, and only when flushed. */
	assert_int_equal(guest_events(), 0);
	sr_netq_flush(rig.q);
	assert_int_equal(guest_events(), 1);
	sr_netq_flush(rig.q);
	assert_int_equal(guest_events(), 0);
	/* It has not asked for the next. */
	rig_tx_all(NETIF_RSP_OKAY);
	rig_tx(0, 0, 0, 1, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(m, 16), 1);
	rte_pktmbuf_free(m[0]);
	sr_netq_flush(rig.q);
	assert_int_equal(guest_events(), 0);
	assert_int_equal(sr_netq_stats(rig.q)->tx.events_sent, 1);
	assert_int_equal(sr_netq_stats(rig.q)->tx.events_suppressed, 1);
	/* Disarmed, the guest needn't tell us. */
	(void)sr_ring_front_notify_needed(&rig.tx.ring);
	assert_false(sr_netq_arm_receive(rig.q));
	sr_netq_disarm(rig.q);
	rig_tx(0, 0, 0, 1, 60);
	assert_false(sr_ring_front_publish_and_check(&rig.tx.ring));
	assert_int_equal(rig_receive(m, 16), 1);
	rte_pktmbuf_free(m[0]);
}

/* Where nothing is passed on nobody has a reason to flush: the guest is told all the same. */
static void events_of_what_is_dropped(void **state)
{
	struct rte_mbuf *m;

	guest_events();
	rig_tx(0, 0, 0, 0, 13);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 0);
	assert_int_equal(guest_events(), 1);
	assert_int_equal(rig_tx_all(NETIF_RSP_ERROR), 1);
}

/* A queue that rests holds no packet that others may need. */
static void rests_without_mbufs(void **state)
{
	unsigned before = rte_mempool_in_use_count(rig.pool);
	struct rte_mbuf *m = rig_send(bytes, 60, 0, NULL);

	assert_non_null(m);
	rte_pktmbuf_free(m);
	assert_true(rte_mempool_in_use_count(rig.pool) > before);
	assert_false(sr_netq_arm_receive(rig.q));
	assert_int_equal(rte_mempool_in_use_count(rig.pool), before);
	m = rig_send(bytes, 60, 0, NULL);
	assert_non_null(m);
	rig_check_bytes(m, bytes, 60);
	rte_pktmbuf_free(m);
}

static void split_ports(void **state)
{
	struct rte_mbuf *m;

	rig_disconnect();
	rig_connect(&(struct rig_options){ .split = true });
	assert_int_not_equal(sr_netq_tx_port(rig.q), sr_netq_rx_port(rig.q));
	guest_events();
	rig_tx(0, 0, 0, 1, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	rte_pktmbuf_free(m);
	sr_netq_flush(rig.q);
	{
		uint32_t port;

		assert_int_equal(sr_evtchn_pending(rig.guest_ev, &port), 0);
		assert_int_equal(port, rig.tx_port);
		sr_evtchn_unmask(rig.guest_ev, port);
		assert_int_equal(sr_evtchn_pending(rig.guest_ev, &port), -EAGAIN);
	}
}

static void attach_that_fails(void **state)
{
	uint32_t ref = rig.rx_ref;

	rig_detach();
	rig.rx_ref = 0xffffff;
	assert_true(rig_attach(&(struct rig_options){ 0 }, false) < 0);
	rig.rx_ref = ref;
	/* Of a served ring the next backend begins where the last one ended. */
	assert_int_equal(rig_attach(&(struct rig_options){ 0 }, false), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(one_slot),
		RIG_TEST(bursts_and_laps),
		RIG_TEST(slots_by_sizes),
		RIG_TEST(zero_length_fragments),
		RIG_TEST(sizes_that_lie),
		RIG_TEST(more_data_at_the_end),
		RIG_TEST(impossible_index),
		RIG_TEST(unknown_extra),
		RIG_TEST(endless_extra),
		RIG_TEST(extra_at_the_end),
		RIG_TEST(extra_in_place_of_a_request),
		RIG_TEST(hash_of_the_guest),
		RIG_TEST(multicast_list),
		RIG_TEST(bad_grants),
		RIG_TEST(no_mbufs),
		RIG_TEST(few_at_hand),
		RIG_TEST(events),
		RIG_TEST(events_of_what_is_dropped),
		RIG_TEST(rests_without_mbufs),
		RIG_TEST(split_ports),
		RIG_TEST(attach_that_fails),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
