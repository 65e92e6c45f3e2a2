/* SPDX-License-Identifier: MIT */
/* Headers that tell the truth and headers that lie, and what the engine makes of a guest's flags.
 */
#include "rig.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <rte_ip.h>

static uint8_t frame[66000];

static int parse(size_t len, struct sr_net_headers *h)
{
	return sr_net_parse(frame, len < SR_NET_HEADERS ? len : SR_NET_HEADERS, len, h);
}

static void reads_what_is_there(void **state)
{
	for (unsigned c = 0; c < 64; c++) {
		struct rig_spec s = { .v6 = c & 1,
				      .udp = c & 2,
				      .vlan = c & 4,
				      .options = c & 8 ? 16 : 0,
				      .tcp_options = c & 16 && !(c & 2) ? 12 : 0,
				      .payload = c & 32 ? 1400 : 0 };
		unsigned len = rig_build(frame, &s), l4 = s.udp ? 8 : 20 + s.tcp_options;
		struct sr_net_headers h;

		assert_int_equal(parse(len, &h), 0);
		assert_int_equal(h.l2_len, s.vlan ? 18 : 14);
		assert_int_equal(h.ip, s.v6 ? 6 : 4);
		assert_int_equal(h.l3_len, (s.v6 ? 40 : 20) + s.options);
		assert_int_equal(h.protocol, s.udp ? IPPROTO_UDP : IPPROTO_TCP);
		assert_int_equal(h.l4_len, l4);
		assert_int_equal(h.l4_size, l4 + s.payload);
		assert_true(h.l4_complete);
		assert_false(h.fragment);
	}
}

/* Cut anywhere, the parser stays within what it was given: ASan watches. */
static void every_truncation(void **state)
{
	for (unsigned c = 0; c < 4; c++) {
		struct rig_spec s = { .v6 = c & 1, .udp = c & 2, .options = 16, .vlan = true };
		unsigned len = rig_build(frame, &s);

		for (unsigned n = 0; n < len; n++) {
			uint8_t *exact = malloc(n ? n : 1);
			struct sr_net_headers h;
			int rc;

			memcpy(exact, frame, n);
			rc = sr_net_parse(exact, n, n, &h);
			assert_true(rc || !h.ip || !h.l4_complete);
			free(exact);
		}
	}
}

static void must_refuse(size_t len)
{
	struct sr_net_headers h;

	assert_true(parse(len, &h) == -EBADMSG || !h.ip || !h.l4_complete);
}

static void v4_lies(void **state)
{
	const struct rig_spec s = { .payload = 100 };
	unsigned len = rig_build(frame, &s);
	uint8_t good[200];

	memcpy(good, frame, len);
	for (unsigned ihl = 0; ihl < 16; ihl++) {
		memcpy(frame, good, len);
		frame[14] = (uint8_t)(0x40 | ihl);
		if (ihl < 5)
			must_refuse(len);
	}
	memcpy(frame, good, len);
	frame[14] = 0x65;
	must_refuse(len);
	memcpy(frame, good, len);
	frame[16] = 0; /* total length: 1 less than headers, 0, one more than there is */
	frame[17] = 39;
	must_refuse(len);
	frame[17] = 0;
	must_refuse(len);
	frame[17] = 141;
	must_refuse(len);
	frame[16] = frame[17] = 255;
	must_refuse(len);
	memcpy(frame, good, len);
	frame[20] = 0x20; /* more fragments */
	must_refuse(len);
	frame[20] = 0x00;
	frame[21] = 0x01;
	must_refuse(len);
	memcpy(frame, good, len);
	frame[14 + 20 + 12] = 0x40; /* TCP header of 16 bytes */
	must_refuse(len);
	frame[14 + 20 + 12] = 0xf0;
	frame[16] = 0;
	frame[17] = 20 + 59;
	must_refuse(len);
}

static void v6_lies(void **state)
{
	const struct rig_spec s = { .payload = 500, .v6 = true, .options = 8 };
	unsigned len = rig_build(frame, &s);
	uint8_t good[700];

	memcpy(good, frame, len);
	frame[14 + 4] = 255;
	must_refuse(len);
	memcpy(frame, good, len);
	frame[14 + 41] = 255; /* an extension header of 2048 bytes */
	must_refuse(len);
	/* Headers without end: each says that another follows. */
	for (unsigned i = 0; i < 500; i += 8) {
		frame[54 + i] = IPPROTO_HOPOPTS;
		frame[54 + i + 1] = 0;
	}
	must_refuse(len);
	memcpy(frame, good, len);
	frame[14 + 6] = IPPROTO_FRAGMENT;
	frame[14 + 40 + 2] = 0;
	frame[14 + 40 + 3] = 1;
	must_refuse(len);
	memcpy(frame, good, len);
	frame[14 + 6] = IPPROTO_AH;
	frame[14 + 41] = 200;
	must_refuse(len);
	memcpy(frame, good, len);
	frame[14 + 5] = 4; /* payload ends within the extension header */
	frame[14 + 4] = 0;
	must_refuse(len);
}

/* --- through the engine -------------------------------------------------------------------------
 */

static void blank_checksum_is_described(void **state)
{
	for (unsigned c = 0; c < 4; c++) {
		struct rig_spec s = { .v6 = c & 1, .udp = c & 2, .payload = 900, .vlan = true };
		unsigned len = rig_build(frame, &s);
		struct rte_mbuf *m = rig_send(frame, (uint16_t)len, NETTXF_csum_blank, NULL);

		assert_non_null(m);
		assert_int_equal(m->ol_flags,
				 (s.v6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4) |
				     (s.udp ? RTE_MBUF_F_TX_UDP_CKSUM : RTE_MBUF_F_TX_TCP_CKSUM));
		assert_int_equal(m->l2_len, 18);
		assert_int_equal(m->l3_len, s.v6 ? 40 : 20);
		assert_int_equal(sr_net_finish_checksum(&m, rig.pool), 0);
		assert_true(rig_checksum_good(rte_pktmbuf_mtod(m, uint8_t *), len));
		rte_pktmbuf_free(m);
	}
}

static void validated_is_kept(void **state)
{
	const struct rig_spec s = { .payload = 9 };
	struct rte_mbuf *m =
	    rig_send(frame, (uint16_t)rig_build(frame, &s), NETTXF_data_validated, NULL);

	assert_int_equal(m->ol_flags, RTE_MBUF_F_RX_L4_CKSUM_GOOD);
	rte_pktmbuf_free(m);
}

/* What no checksum can be found in is dropped, and answered. */
static void blank_in_nonsense(void **state)
{
	const struct rig_spec s = { .payload = 100 };
	unsigned len = rig_build(frame, &s), before = 0;

	static const struct {
		unsigned at;
		uint8_t value;
	} changes[] = { { 12, 0x12 }, { 14, 0x4f }, { 17, 200 }, { 23, 89 }, { 20, 0x20 } };

	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint8_t old = frame[changes[i].at];

		/* With IHL 15 the TCP header begins in the payload: its length is no length. */
		frame[changes[i].at] = changes[i].value;
		memset(frame + 14 + 60, 0, 40);
		assert_null(rig_send(frame, (uint16_t)len, NETTXF_csum_blank, NULL));
		rig_tx_all(NETIF_RSP_ERROR);
		assert_int_equal(rig_tx_drops(SR_NET_DROP_CHECKSUM), ++before);
		frame[changes[i].at] = old;
	}
	/* The packet ends before, or in, its headers. */
	for (uint16_t n = SR_NET_MIN_PACKET; n < 14 + 20 + 20; n++) {
		assert_null(rig_send(frame, n, NETTXF_csum_blank, NULL));
		assert_int_equal(rig_tx_drops(SR_NET_DROP_CHECKSUM), ++before);
		rig_tx_all(NETIF_RSP_ERROR);
	}
}

static struct rte_mbuf *send_gso(const struct rig_spec *s, uint8_t type, unsigned size,
				 uint16_t flags)
{
	struct netif_extra_info extra = { .type = XEN_NETIF_EXTRA_TYPE_GSO };

	extra.u.gso.size = (uint16_t)size;
	extra.u.gso.type = type;
	return rig_send(frame, (uint16_t)rig_build(frame, s), flags, &extra);
}

static void segmentation_is_described(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct rig_spec s = { .v6 = v6, .payload = 60000, .tcp_options = 12 };
		struct rte_mbuf *m =
		    send_gso(&s, v6 ? XEN_NETIF_GSO_TYPE_TCPV6 : XEN_NETIF_GSO_TYPE_TCPV4, 1436,
			     NETTXF_csum_blank | NETTXF_data_validated);

		assert_non_null(m);
		assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
		assert_int_equal(m->tso_segsz, 1436);
		assert_int_equal(m->l4_len, 32);
		assert_int_equal(sr_net_segments(m), 42);
		rig_check_bytes(m, frame, m->pkt_len);
		rte_pktmbuf_free(m);
		rig_tx_all(NETIF_RSP_OKAY);
	}
}

/* Size 0, 1, 65535; a type that is none; not TCP; the other IP version; without blank checksum. */
static void segmentation_sizes_and_lies(void **state)
{
	const struct rig_spec tcp = { .payload = 20000 }, udp = { .payload = 2000, .udp = true };
	const struct rig_spec v6 = { .payload = 2000, .v6 = true };
	struct rte_mbuf *m, *out[40];
	int n;

	assert_null(send_gso(&tcp, XEN_NETIF_GSO_TYPE_TCPV4, 0, NETTXF_csum_blank));
	assert_null(send_gso(&tcp, XEN_NETIF_GSO_TYPE_NONE, 1448, NETTXF_csum_blank));
	assert_null(send_gso(&tcp, 3, 1448, NETTXF_csum_blank));
	assert_null(send_gso(&tcp, XEN_NETIF_GSO_TYPE_TCPV6, 1448, NETTXF_csum_blank));
	assert_null(send_gso(&v6, XEN_NETIF_GSO_TYPE_TCPV4, 1448, NETTXF_csum_blank));
	assert_null(send_gso(&udp, XEN_NETIF_GSO_TYPE_TCPV4, 1448, NETTXF_csum_blank));
	assert_int_equal(rig_tx_drops(SR_NET_DROP_GSO), 6);
	rig_tx_all(NETIF_RSP_ERROR);

	m = send_gso(&tcp, XEN_NETIF_GSO_TYPE_TCPV4, 1, NETTXF_csum_blank);
	assert_int_equal(sr_net_segments(m), 20000);
	assert_int_equal(sr_net_segment(m, rig.pool, out, 40), -E2BIG);
	rte_pktmbuf_free(m);
	/* All of it fits: nothing to be cut. */
	m = send_gso(&tcp, XEN_NETIF_GSO_TYPE_TCPV4, 65535, NETTXF_csum_blank);
	assert_false(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	rte_pktmbuf_free(m);
	/* The checksum isn't blank: it is made anew, whatever it was. */
	m = send_gso(&tcp, XEN_NETIF_GSO_TYPE_TCPV4, 1448, 0);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM);
	n = sr_net_segment(m, rig.pool, out, 40);
	assert_int_equal(n, 14);
	rte_pktmbuf_free(m);
	for (int i = 0; i < n; i++) {
		assert_true(
		    rig_checksum_good(rte_pktmbuf_mtod(out[i], uint8_t *), out[i]->pkt_len));
		rte_pktmbuf_free(out[i]);
	}
}

/* Segments of every length, odd ones too, all ones: what loses a carry somewhere. */
static void sums_over_odd_segments(void **state)
{
	const struct rig_spec s = { .payload = 3000 };
	unsigned len = rig_build(frame, &s);

	memset(frame + 54, 0xff, 3000);
	for (size_t segment = 255; segment < 600; segment += 17) {
		struct rte_mbuf *m = rig_packet(frame, len, segment);
		uint8_t copy[4096];

		m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
		assert_int_equal(sr_net_finish_checksum(&m, rig.pool), 0);
		assert_true(rig_checksum_good(rte_pktmbuf_read(m, 0, len, copy), len));
		rte_pktmbuf_free(m);
	}
	/* And an end in the middle of a segment, a start beyond the first. */
	{
		struct rte_mbuf *m = rig_packet(frame, 200, 33);

		assert_int_equal(sr_net_sum(m, 60, 101), rte_raw_cksum(frame + 60, 101));
		assert_int_equal(sr_net_sum(m, 61, 138), rte_raw_cksum(frame + 61, 138));
		assert_int_equal(sr_net_sum(m, 199, 0), 0);
		assert_int_equal(sr_net_sum(m, 500, 10), 0);
		rte_pktmbuf_free(m);
	}
}

static void no_checksum_where_the_flags_lie(void **state)
{
	const struct rig_spec s = { .payload = 100, .udp = true };
	unsigned len = rig_build(frame, &s);
	struct rte_mbuf *m = rig_packet(frame, len, len);

	m->ol_flags = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	assert_int_equal(sr_net_finish_checksum(&m, rig.pool), -EBADMSG);
	rte_pktmbuf_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(reads_what_is_there),
		RIG_TEST(every_truncation),
		RIG_TEST(v4_lies),
		RIG_TEST(v6_lies),
		RIG_TEST(blank_checksum_is_described),
		RIG_TEST(validated_is_kept),
		RIG_TEST(blank_in_nonsense),
		RIG_TEST(segmentation_is_described),
		RIG_TEST(segmentation_sizes_and_lies),
		RIG_TEST(sums_over_odd_segments),
		RIG_TEST(no_checksum_where_the_flags_lie),
	};

	return cmocka_run_group_tests(tests, rig_group_setup, rig_group_teardown);
}
