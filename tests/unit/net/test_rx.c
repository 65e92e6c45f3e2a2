/* SPDX-License-Identifier: MIT */
/* What the guest receives: slots, what it agreed to, grants, room, a backend that dies. */
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static uint8_t bytes[70000];
static struct rig_got got;

static void fill_bytes(void)
{
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 29 + i / 253);
}

/* What is not used up stays posted: the next posts follow. */
static void reconnect(const struct rig_options *options)
{
	rig_disconnect();
	rig_connect(options);
}

static void one_slot(void **state)
{
	fill_bytes();
	rig_post(3, 2);
	assert_int_equal(sr_netq_room(rig.q), 2);
	assert_int_equal(rig_give(rig_packet(bytes, 60, 60)), 1);
	assert_true(rig_take(&got));
	assert_int_equal(got.slots, 1);
	assert_int_equal(got.flags, 0);
	assert_int_equal(got.len, 60);
	assert_memory_equal(got.bytes, bytes, 60);
	assert_false(rig_take(&got));
	assert_int_equal(sr_netq_room(rig.q), 1);
	assert_int_equal(sr_netq_stats(rig.q)->rx.packets, 1);
	assert_int_equal(sr_netq_stats(rig.q)->rx.bytes, 60);
}

/* Every size around the edges of pages, in segments of every kind; no stale byte, none beyond. */
static void sizes_by_segments(void **state)
{
	static const unsigned sizes[] = { 14,   127,  128,  1514, 2048,  4095,
					  4096, 4097, 8192, 9014, 40000, 65535 };
	static const unsigned segments[] = { 14, 1000, 2048 };

	fill_bytes();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (unsigned s = 0; s < sizeof(segments) / sizeof(segments[0]); s++) {
			unsigned pages = (sizes[i] + SR_PAGE_SIZE - 1) / SR_PAGE_SIZE;

			if (sizes[i] / segments[s] > 900)
				continue;
			reconnect(&(struct rig_options){ .features = RIG_ALL });
			rig_post(0, 18);
			assert_int_equal(rig_give(rig_packet(bytes, sizes[i], segments[s])), 1);
			assert_true(rig_take(&got));
			assert_int_equal(got.slots, pages);
			assert_int_equal(got.len, sizes[i]);
			assert_memory_equal(got.bytes, bytes, sizes[i]);
			assert_false(rig_take(&got));
		}
}

static void too_small_too_big(void **state)
{
	fill_bytes();
	rig_post(0, 40);
	assert_int_equal(rig_give(rig_packet(bytes, 13, 13)), 1);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_MALFORMED), 1);
	assert_int_equal(rig_give(rig_packet(bytes, 65536, 2048)), 1);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_TOO_BIG), 1);
	assert_false(rig_take(&got));
	assert_int_equal(sr_netq_room(rig.q), 40);
	/* Who takes no fragments gets one page. */
	reconnect(&(struct rig_options){ 0 });
	rig_post(0, 40);
	assert_int_equal(rig_give(rig_packet(bytes, 4096, 2048)), 1);
	assert_true(rig_take(&got));
	assert_int_equal(rig_give(rig_packet(bytes, 4097, 2048)), 1);
	assert_false(rig_take(&got));
	assert_int_equal(rig_rx_drops(SR_NET_DROP_TOO_BIG), 1);
}

static void headroom(void **state)
{
	fill_bytes();
	reconnect(&(struct rig_options){ .features = RIG_ALL, .headroom = 256 });
	rig_post(0, 20);
	assert_int_equal(rig_give(rig_packet(bytes, 65535, 2048)), 1);
	assert_true(rig_take(&got));
	assert_int_equal(got.slots, (65535 + 3839) / 3840);
	assert_memory_equal(got.bytes, bytes, 65535);
	assert_int_equal(got.len, 65535);
	assert_int_equal(sr_netif_set_headroom(rig.netif, 0x7fff), -EINVAL);
	assert_int_equal(sr_netif_set_headroom(rig.netif, SR_NET_MAX_HEADROOM + 1), -EINVAL);
	assert_int_equal(sr_netif_headroom(rig.netif), 256);
	assert_int_equal(sr_netif_set_headroom(rig.netif, 0), 0);
	assert_int_equal(rig_give(rig_packet(bytes, 60, 60)), 1);
	assert_true(rig_take(&got));
	assert_memory_equal(got.bytes, bytes, 60);
}

/* --- checksums and segments ---------------------------------------------------------------------
 */

static struct rte_mbuf *blank_packet(const struct rig_spec *spec, unsigned mss)
{
	unsigned len = rig_build(bytes, spec);
	struct rte_mbuf *m = rig_packet(bytes, len, 1800);
	struct sr_net_headers h;

	assert_int_equal(sr_net_parse(bytes, len < 256 ? len : 256, len, &h), 0);
	m->l2_len = h.l2_len;
	m->l3_len = h.l3_len;
	m->l4_len = h.l4_len;
	m->ol_flags = (spec->v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) |
		      (spec->udp ? RTE_MBUF_F_TX_UDP_CKSUM : RTE_MBUF_F_TX_TCP_CKSUM);
	if (mss) {
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		m->tso_segsz = (uint16_t)mss;
	}
	return m;
}

static void blank_checksums_pass(void **state)
{
	for (unsigned c = 0; c < 4; c++) {
		struct rig_spec spec = { .v6 = c & 1, .udp = c & 2, .payload = 100 };

		rig_post(10 * c, 1);
		assert_int_equal(rig_give(blank_packet(&spec, 0)), 1);
		assert_true(rig_take(&got));
		assert_int_equal(got.flags, NETRXF_csum_blank | NETRXF_data_validated);
		assert_memory_equal(got.bytes, bytes, got.len);
	}
	assert_int_equal(sr_netq_stats(rig.q)->rx.software, 0);
	assert_int_equal(sr_netq_stats(rig.q)->rx.checksums, 4);
}

static void blank_checksums_are_filled_in(void **state)
{
	unsigned page = 0;

	reconnect(&(struct rig_options){ .features = SR_NET_SG });
	for (unsigned c = 0; c < 4; c++)
		for (unsigned payload = 0; payload < 5000; payload = payload * 3 + 1) {
			struct rig_spec spec = { .v6 = c & 1,
						 .udp = c & 2,
						 .payload = payload,
						 .options = 8,
						 .vlan = payload & 1 };
			struct rte_mbuf *m = blank_packet(&spec, 0), *other = NULL;
			uint64_t flags = m->ol_flags;

			/* Another holds it too, and sees no change. */
			if (payload & 2) {
				rte_mbuf_refcnt_update(m, 1);
				other = m;
			}
			rig_post(page, 3);
			page += 3;
			if (other && m->nb_segs > 1)
				for (struct rte_mbuf *s = m->next; s; s = s->next)
					rte_mbuf_refcnt_update(s, 1);
			assert_int_equal(rig_give(m), 1);
			if (other) {
				assert_int_equal(other->ol_flags, flags);
				rig_check_bytes(other, bytes, other->pkt_len);
				rte_pktmbuf_free(other);
			}
			assert_true(rig_take(&got));
			assert_int_equal(got.flags & ~NETRXF_more_data, NETRXF_data_validated);
			assert_true(rig_checksum_good(got.bytes, got.len));
			/* What is left over of the three. */
			for (unsigned i = got.slots; i < 3; i++) {
				assert_int_equal(rig_give(rig_packet(bytes, 14, 14)), 1);
				assert_true(rig_take(&got));
			}
		}
}

static void validated(void **state)
{
	struct rte_mbuf *m = rig_packet(bytes, 60, 60);

	m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	rig_post(0, 1);
	assert_int_equal(rig_give(m), 1);
	assert_true(rig_take(&got));
	assert_int_equal(got.flags, NETRXF_data_validated);
}

static void segmentation_passes(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct rig_spec spec = { .v6 = v6, .payload = 60000 };

		rig_post(100 * v6, 17);
		assert_int_equal(rig_give(blank_packet(&spec, 1448)), 1);
		assert_true(rig_take(&got));
		assert_int_equal(got.flags, NETRXF_csum_blank | NETRXF_data_validated |
						NETRXF_extra_info | NETRXF_more_data);
		assert_int_equal(got.gso.type, XEN_NETIF_EXTRA_TYPE_GSO);
		assert_int_equal(got.gso.u.gso.size, 1448);
		assert_int_equal(got.gso.u.gso.type,
				 v6 ? XEN_NETIF_GSO_TYPE_TCPV6 : XEN_NETIF_GSO_TYPE_TCPV4);
		assert_int_equal(got.slots, (got.len + 4095) / 4096 + 1);
		assert_memory_equal(got.bytes, bytes, got.len);
	}
	assert_int_equal(sr_netq_stats(rig.q)->rx.gso, 2);
}

/* The guest gets segments: payload in order, headers right, checksums good. */
static void check_segments(const struct rig_spec *spec, unsigned mss)
{
	unsigned l2 = spec->vlan ? 18 : 14, l3 = (spec->v6 ? 40 : 20) + spec->options;
	unsigned headers = l2 + l3 + 20 + spec->tcp_options, at = 0, i = 0;
	uint32_t seq;

	memcpy(&seq, bytes + l2 + l3 + 4, 4);
	seq = ntohl(seq);
	while (at < spec->payload) {
		unsigned n = spec->payload - at < mss ? spec->payload - at : mss;
		bool last = at + n == spec->payload;
		uint8_t flags;
		uint32_t s;

		assert_true(rig_take(&got));
		assert_int_equal(got.flags & ~NETRXF_more_data, NETRXF_data_validated);
		assert_int_equal(got.len, headers + n);
		assert_memory_equal(got.bytes + headers, bytes + headers + at, n);
		assert_true(rig_checksum_good(got.bytes, got.len));
		memcpy(&s, got.bytes + l2 + l3 + 4, 4);
		assert_int_equal(ntohl(s), seq + at);
		flags = got.bytes[l2 + l3 + 13];
		assert_int_equal(flags, 0x10 | (last ? 0x09 : 0) | (i ? 0 : 0x80));
		at += n;
		i++;
	}
	assert_false(rig_take(&got));
}

static void segments_in_software(void **state)
{
	static const struct rig_spec specs[] = {
		{ .payload = 30000 },
		{ .payload = 30001, .v6 = true },
		{ .payload = 4000, .options = 8, .tcp_options = 12, .vlan = true },
		{ .payload = 4000, .options = 16, .tcp_options = 12, .v6 = true },
		{ .payload = 2896 },
	};

	for (unsigned i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		reconnect(&(struct rig_options){ .features = i & 1 ? SR_NET_CSUM4 : 0 });
		rig_post(0, 60);
		assert_int_equal(rig_give(blank_packet(&specs[i], 1448)), 1);
		check_segments(&specs[i], 1448);
		assert_int_equal(sr_netq_stats(rig.q)->rx.software, 1);
	}
	/* Segments of more than a page. */
	reconnect(&(struct rig_options){ .features = SR_NET_SG });
	rig_post(0, 60);
	assert_int_equal(rig_give(blank_packet(&specs[0], 9000)), 1);
	check_segments(&specs[0], 9000);
}

static void segments_that_cannot_be(void **state)
{
	struct rig_spec spec = { .payload = 30000 };
	struct rig_spec udp = { .payload = 3000, .udp = true };

	reconnect(&(struct rig_options){ .features = 0 });
	rig_post(0, 200);
	assert_int_equal(rig_give(blank_packet(&spec, 1)), 1);
	assert_int_equal(rig_give(blank_packet(&udp, 1448)), 1);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_GSO), 2);
	assert_int_equal(rig_give(blank_packet(&spec, 5000)), 1);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_TOO_BIG), 1);
}

/* --- grants and room ----------------------------------------------------------------------------
 */

static void bad_grants(void **state)
{
	fill_bytes();
	/* One is granted to nobody, one read-only. */
	sr_netif_rx_front_put(&rig.rx, 0, 0xfffffff0u);
	sr_netif_rx_front_put(&rig.rx, 1, rig.read_only_ref);
	rig_post(2, 1);
	sr_netif_rx_front_put(&rig.rx, 3, 5000);
	rig_post(4, 2);
	memset(rig.read_only_page, 0x33, SR_PAGE_SIZE);
	assert_int_equal(rig_give(rig_packet(bytes, 60, 60)), 1);
	assert_int_equal(rig_give(rig_packet(bytes, 60, 60)), 1);
	assert_int_equal(rig_give(rig_packet(bytes, 12000, 2048)), 1);
	assert_int_equal(rig_give(rig_packet(bytes, 60, 60)), 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(rig_take(&got));
		assert_int_equal(got.status, NETIF_RSP_ERROR);
		assert_int_equal(got.slots, i == 2 ? 3 : 1);
	}
	assert_true(rig_take(&got));
	assert_memory_equal(got.bytes, bytes, 60);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_GRANT), 3);
	assert_int_equal(sr_netq_stats(rig.q)->rx.packets, 1);
	for (unsigned i = 0; i < SR_PAGE_SIZE; i++)
		assert_int_equal(rig.read_only_page[i], 0x33);
}

/* Which they were, where more than a batch is sent at once. */
static void which_are_dropped(void **state)
{
	struct rte_mbuf *pkts[40];
	uint8_t fates[40] = { 0 };

	fill_bytes();
	rig_post(0, 5);
	sr_netif_rx_front_put(&rig.rx, 5, rig.read_only_ref);
	rig_post(6, 60);
	for (unsigned i = 0; i < 40; i++)
		pkts[i] = rig_packet(bytes, i == 3 || i == 36 ? 13 : 60, 60);
	sr_netq_note_drops(rig.q, fates);
	assert_int_equal(sr_netq_send(rig.q, pkts, 40), 40);
	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(fates[i], i == 3 || i == 36 ? 1 + SR_NET_DROP_MALFORMED
					   : i == 6          ? 1 + SR_NET_DROP_GRANT
							     : 0);
	/* Nobody asks any more. */
	sr_netq_note_drops(rig.q, NULL);
	assert_int_equal(rig_give(rig_packet(bytes, 13, 13)), 1);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_MALFORMED), 3);
}

static void no_room(void **state)
{
	struct rte_mbuf *m[4];

	fill_bytes();
	for (unsigned i = 0; i < 4; i++)
		m[i] = rig_packet(bytes, 9000, 2048);
	assert_int_equal(sr_netq_send(rig.q, m, 4), 0);
	rig_post(0, 7);
	/* Two of three slots each; the rest stays ours. */
	assert_int_equal(sr_netq_send(rig.q, m, 4), 2);
	assert_true(rig_take(&got) && rig_take(&got));
	assert_false(rig_take(&got));
	assert_int_equal(sr_netq_send(rig.q, m + 2, 2), 0);
	assert_int_equal(sr_netq_stalled_since(rig.q, 1000), 1000);
	assert_int_equal(sr_netq_send(rig.q, m + 2, 2), 0);
	assert_int_equal(sr_netq_stalled_since(rig.q, 3000), 1000);
	/* Woken when there is enough. */
	assert_false(sr_netq_arm_send(rig.q));
	(void)sr_ring_front_notify_needed(&rig.rx.ring);
	sr_netif_rx_front_put(&rig.rx, 7, rig.refs[7]);
	assert_true(sr_ring_front_publish_and_check(&rig.rx.ring));
	assert_false(sr_netq_arm_send(rig.q));
	sr_netif_rx_front_put(&rig.rx, 8, rig.refs[8]);
	assert_true(sr_ring_front_publish_and_check(&rig.rx.ring));
	assert_true(sr_netq_arm_send(rig.q));
	assert_int_equal(sr_netq_stalled_since(rig.q, 4000), 0);
	assert_int_equal(sr_netq_send(rig.q, m + 2, 2), 1);
	sr_netq_drop(rig.q, false, SR_NET_DROP_NO_SLOTS, m + 3, 1);
	assert_int_equal(rig_rx_drops(SR_NET_DROP_NO_SLOTS), 1);
	/* It was given up: any room will do. */
	assert_int_equal(sr_netq_send(rig.q, m, 1), 0);
	sr_netq_stall(rig.q);
	assert_false(sr_netq_arm_send(rig.q));
	assert_int_equal(sr_netq_stalled_since(rig.q, 5000), 5000);
	rig_post(9, 1);
	assert_true(sr_ring_front_notify_needed(&rig.rx.ring));
	assert_true(sr_netq_arm_send(rig.q));
	assert_int_equal(sr_netq_stalled_since(rig.q, 6000), 0);
	/* Nothing waits: no event is asked for. */
	assert_int_equal(sr_netq_send(rig.q, m, 0), 0);
	assert_false(sr_netq_arm_send(rig.q));
	rig_post(10, 1);
	assert_false(sr_ring_front_notify_needed(&rig.rx.ring));
}

static void impossible_index(void **state)
{
	struct sr_ring_indices *shared = (struct sr_ring_indices *)(void *)rig.rx_page;

	fill_bytes();
	shared->req_prod = 300;
	assert_int_equal(rig_give(rig_packet(bytes, 60, 60)), -EPROTO);
	assert_true(sr_netq_broken(rig.q));
}

static void laps(void **state)
{
	fill_bytes();
	for (unsigned lap = 0; lap < 10; lap++) {
		struct rte_mbuf *m[200];
		unsigned sent = 0;

		memset(rig.pages, RIG_STALE, 256 * SR_PAGE_SIZE);
		rig_post(0, 200);
		for (unsigned i = 0; i < 200; i++)
			m[i] = rig_packet(bytes + i + lap, 64, 64);
		while (sent < 200) {
			int n = sr_netq_send(rig.q, m + sent, 200 - sent);

			assert_true(n > 0);
			sent += (unsigned)n;
		}
		for (unsigned i = 0; i < 200; i++) {
			assert_true(rig_take(&got));
			assert_memory_equal(got.bytes, bytes + i + lap, 64);
		}
	}
}

/* --- recovery -----------------------------------------------------------------------------------
 */

/*
 * Killed after responses were written and before they were shown: the requests in those slots are
 * gone, and still each of them gets its packet.
 */
static void killed_before_the_responses(void **state)
{
	const struct rig_options options = { .features = RIG_ALL };
	struct sr_ring_indices *shared = (struct sr_ring_indices *)(void *)rig.rx_page;

	fill_bytes();
	rig_post(0, 40);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(rig_give(rig_packet(bytes + i, 60, 60)), 1);
	for (unsigned i = 0; i < 2; i++)
		assert_true(rig_take(&got));
	/* Three responses of five were never shown. */
	shared->rsp_prod = 2;
	memset(rig.pages + 2 * SR_PAGE_SIZE, RIG_STALE, 3 * SR_PAGE_SIZE);
	rig_resume(&options);
	assert_int_equal(sr_netq_room(rig.q), 38);
	for (unsigned i = 0; i < 38; i++) {
		assert_int_equal(rig_give(rig_packet(bytes + 50 + i, 60, 60)), 1);
		assert_true(rig_take(&got));
		assert_int_equal(got.status, 0);
		assert_memory_equal(got.bytes, bytes + 50 + i, 60);
	}
	assert_true(sr_netq_stats(rig.q)->recovered > 0);
	assert_int_equal(sr_netq_room(rig.q), 0);
}

/* A guest that fakes its index gets nothing but a refusal. */
static void record_and_ring_disagree(void **state)
{
	struct sr_ring_indices *shared = (struct sr_ring_indices *)(void *)rig.rx_page;

	fill_bytes();
	rig_post(0, 5);
	assert_int_equal(rig_give(rig_packet(bytes, 60, 60)), 1);
	rig_detach();
	shared->rsp_prod = 100;
	assert_int_equal(rig_attach(&(struct rig_options){ 0 }, true), -EPROTO);
	shared->rsp_prod = 0xffffff00u;
	assert_int_equal(rig_attach(&(struct rig_options){ 0 }, true), -EPROTO);
	shared->rsp_prod = 1;
	assert_int_equal(rig_attach(&(struct rig_options){ 0 }, true), 0);
}

/* What was sent and not answered is taken again. */
static void killed_before_the_answer(void **state)
{
	struct sr_ring_indices *shared = (struct sr_ring_indices *)(void *)rig.tx_page;
	struct netif_tx_request req = { rig.refs[1], 0, 0, 42, 60 };
	struct rte_mbuf *m;

	rig_tx(1, 0, 0, 42, 60);
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	rte_pktmbuf_free(m);
	/* As if the kill had come before the response was written. */
	shared->rsp_prod = 0;
	memcpy(rig.tx_page + 64, &req, sizeof(req));
	rig_resume(&(struct rig_options){ 0 });
	assert_int_equal(rig_receive(&m, 1), 1);
	rte_pktmbuf_free(m);
	assert_int_equal(rig_tx_response(NULL), NETIF_RSP_OKAY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(one_slot),
		RIG_TEST(sizes_by_segments),
		RIG_TEST(too_small_too_big),
		RIG_TEST(headroom),
		RIG_TEST(blank_checksums_pass),
		RIG_TEST(blank_checksums_are_filled_in),
		RIG_TEST(validated),
		RIG_TEST(segmentation_passes),
		RIG_TEST(segments_in_software),
		RIG_TEST(segments_that_cannot_be),
		RIG_TEST(bad_grants),
		RIG_TEST(which_are_dropped),
		RIG_TEST(no_room),
		RIG_TEST(impossible_index),
		RIG_TEST(laps),
		RIG_TEST(killed_before_the_responses),
		RIG_TEST(record_and_ring_disagree),
		RIG_TEST(killed_before_the_answer),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
