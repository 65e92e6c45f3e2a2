/* SPDX-License-Identifier: MIT */

/* Checksums and segments in software, of good packets and of packets that lie. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ports/eal.h>
#include <ports/offload.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>

#include "packets.h"

static struct rte_mempool *pool;

static int set_up(void **state)
{
	char error[256];

	if (sr_eal_start(&(struct sr_eal_options){ .huge = SR_EAL_HUGE_OFF, .memory_mb = 64 },
			 error, sizeof(error)) ||
	    sr_mbuf_pool_new("test", 1023, &pool, error, sizeof(error))) {
		print_error("%s\n", error);
		return -1;
	}
	return 0;
}

/* Every test gives back all that it took. */
static int all_back(void **state)
{
	return rte_mempool_full(pool) ? 0 : -1;
}

static void test_checksums(void **state)
{
	static const unsigned payloads[] = { 0, 1, 2, 17, 18, 100, 1461, 1999, 9000 };
	static const unsigned pieces[] = { 0, 1, 13, 53, 54, 55, 1000 };

	for (unsigned kind = 0; kind < 8; kind++)
		for (unsigned i = 0; i < RTE_DIM(payloads); i++)
			for (unsigned j = 0; j < RTE_DIM(pieces); j++) {
				const struct packet p = {
					.v6 = kind & 1,
					.udp = kind & 2,
					.tags = kind & 4 ? 2 : 0,
					.blank = true,
					.payload = payloads[i],
					.piece =
					    pieces[j] == 1 && payloads[i] > 500 ? 0 : pieces[j],
				};
				struct rte_mbuf *m = packet_new(pool, &p);

				assert_non_null(m);
				assert_int_equal(sr_offload_checksum(m), 0);
				assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_L4_MASK, 0);
				if (rte_pktmbuf_linearize(m))
					assert_true(m->pkt_len > 2000);
				else if (!packet_checksum_ok(m))
					fail_msg("kind %u, %u bytes in pieces of %u", kind,
						 payloads[i], p.piece);
				rte_pktmbuf_free(m);
			}
}

/* A short frame is padded with whatever the sender likes: that is no part of the datagram. */
static void test_padding_is_not_summed(void **state)
{
	const struct packet p = { .udp = true, .blank = true, .payload = 3 };
	struct rte_mbuf *m = packet_new(pool, &p);

	memset(rte_pktmbuf_append(m, 15), 0xa5, 15);
	assert_int_equal(sr_offload_checksum(m), 0);
	assert_true(packet_checksum_ok(m));
	rte_pktmbuf_free(m);
}

static void test_checksum_lies(void **state)
{
	const struct packet p = { .blank = true, .payload = 100 };

	for (unsigned i = 0; i < 5; i++) {
		struct rte_mbuf *m = packet_new(pool, &p);
		struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, void *, 14);

		if (i == 0)
			m->l3_len = 511;
		else if (i == 1)
			m->l2_len = 127;
		else if (i == 2)
			ip->total_length = 0xffff;
		else if (i == 3)
			ip->total_length = 0;
		else
			rte_pktmbuf_trim(m, 101);
		assert_int_equal(sr_offload_checksum(m), -EINVAL);
		rte_pktmbuf_free(m);
	}
}

static void check_segments(const struct packet *p, struct rte_mbuf **segs, unsigned count)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < count; i++) {
		struct rte_mbuf *m = segs[i];
		uint32_t header = m->l2_len + m->l3_len + m->l4_len;
		uint32_t len = m->pkt_len - header;
		const struct rte_tcp_hdr *tcp;
		const uint8_t *bytes;

		assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG, 0);
		assert_int_equal(sr_offload_checksum(m), 0);
		assert_int_equal(rte_pktmbuf_linearize(m), 0);
		assert_true(packet_checksum_ok(m));
		bytes = rte_pktmbuf_mtod(m, uint8_t *);
		tcp = (const void *)(bytes + header - sizeof(*tcp));
		assert_int_equal(rte_be_to_cpu_32(tcp->sent_seq), 0xfffffff0u + at);
		assert_int_equal(!!(tcp->tcp_flags & RTE_TCP_CWR_FLAG), i == 0);
		assert_int_equal(!!(tcp->tcp_flags & RTE_TCP_FIN_FLAG), i == count - 1);
		assert_int_equal(!!(tcp->tcp_flags & RTE_TCP_PSH_FLAG), i == count - 1);
		assert_true(tcp->tcp_flags & RTE_TCP_ACK_FLAG);
		assert_int_equal(len, i < count - 1 ? p->segsz : p->payload - at);
		for (uint32_t j = 0; j < len; j++)
			assert_int_equal(bytes[header + j], packet_byte(at + j));
		at += len;
	}
	assert_int_equal(at, p->payload);
}

static void test_segments(void **state)
{
	static const unsigned payloads[] = { 0, 1, 1447, 1448, 1449, 2896, 30001, 65000 };
	static const unsigned sizes[] = { 536, 1448, 2100 };

	for (unsigned kind = 0; kind < 4; kind++)
		for (unsigned i = 0; i < RTE_DIM(payloads); i++)
			for (unsigned j = 0; j < RTE_DIM(sizes); j++) {
				const struct packet p = {
					.v6 = kind & 1,
					.tags = kind & 2 ? 1 : 0,
					.segsz = sizes[j],
					.payload = payloads[i],
					.piece = kind & 2 ? 777 : 0,
				};
				struct rte_mbuf *segs[SR_OFFLOAD_MAX_SEGMENTS];
				struct rte_mbuf *m = packet_new(pool, &p);
				unsigned count;

				/* Above what fits a mbuf they can't be put into one piece again. */
				if (sizes[j] > 2000 && payloads[i] > 2000) {
					rte_pktmbuf_free(m);
					continue;
				}
				assert_int_equal(sr_offload_segment(m, pool, segs, &count), 0);
				check_segments(&p, segs, count);
				rte_pktmbuf_free_bulk(segs, count);
				rte_pktmbuf_free(m);
			}
}

static void test_segment_lies(void **state)
{
	const struct packet p = { .segsz = 1000, .payload = 5000 };
	struct rte_mbuf *segs[SR_OFFLOAD_MAX_SEGMENTS];
	unsigned count;

	for (unsigned i = 0; i < 6; i++) {
		struct rte_mbuf *m = packet_new(pool, &p);
		struct rte_ipv4_hdr *ip = rte_pktmbuf_mtod_offset(m, void *, 14);

		switch (i) {
		case 0:
			m->tso_segsz = 0;
			break;
		case 1:
			m->l4_len = 19;
			break;
		case 2:
			m->l3_len = 1;
			break;
		case 3:
			ip->total_length = 0xffff;
			break;
		case 4:
			ip->total_length = rte_cpu_to_be_16(39);
			break;
		case 5:
			m->l3_len = 511;
		}
		assert_int_equal(sr_offload_segment(m, pool, segs, &count), -EINVAL);
		m->l3_len = 20;
		m->l4_len = 20;
		m->tso_segsz = 1;
		ip->total_length = rte_cpu_to_be_16(5040);
		assert_int_equal(sr_offload_segment(m, pool, segs, &count), -E2BIG);
		rte_pktmbuf_free(m);
	}
}

static void test_segment_without_memory(void **state)
{
	const struct packet p = { .segsz = 1000, .payload = 20000 };
	struct rte_mbuf *segs[SR_OFFLOAD_MAX_SEGMENTS], *hog[1023];
	struct rte_mbuf *m = packet_new(pool, &p);
	unsigned n = 0, count;

	while ((hog[n] = rte_pktmbuf_alloc(pool)))
		n++;
	for (unsigned i = 0; i < 5; i++)
		rte_pktmbuf_free(hog[--n]);
	assert_int_equal(sr_offload_segment(m, pool, segs, &count), -ENOMEM);
	rte_pktmbuf_free(m);
	rte_pktmbuf_free_bulk(hog, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_checksums, all_back),
		cmocka_unit_test_teardown(test_padding_is_not_summed, all_back),
		cmocka_unit_test_teardown(test_checksum_lies, all_back),
		cmocka_unit_test_teardown(test_segments, all_back),
		cmocka_unit_test_teardown(test_segment_lies, all_back),
		cmocka_unit_test_teardown(test_segment_without_memory, all_back),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
