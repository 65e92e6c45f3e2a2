/* SPDX-License-Identifier: MIT */
/* With mbufs that hold a page, a guest's page is one copy each way, and its bytes stay in order. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include <rte_mempool.h>

#define MANY 16u /* slots of a packet: its headers, and 15 pages */

static struct rte_mempool *two_kib;
static uint8_t bytes[MANY * SR_PAGE_SIZE];
static struct rig_got got;

static int group_setup(void **state)
{
	rig_group_setup(state);
	two_kib = rig.pool;
	rig.pool = rte_pktmbuf_pool_create("pages", 255, 0, 0, SR_PAGE_SIZE + RTE_PKTMBUF_HEADROOM,
					   SOCKET_ID_ANY);
	assert_non_null(rig.pool);
	for (unsigned i = 0; i < RIG_PAGES * SR_PAGE_SIZE; i++)
		rig.pages[i] = (uint8_t)(i * 31 + i / 251);
	return 0;
}

static int group_teardown(void **state)
{
	rte_mempool_free(rig.pool);
	rig.pool = two_kib;
	return rig_group_teardown(state);
}

/* One packet of `slots` slots, the first of `first` bytes, each at a place of its page. */
static struct rte_mbuf *send(unsigned slots, unsigned first, const uint16_t *sizes,
			     const uint16_t *offsets)
{
	struct rte_mbuf *m;
	unsigned total = first, at = 0;

	for (unsigned i = 1; i < slots; i++)
		total += sizes[i];
	for (unsigned i = 0; i < slots; i++) {
		unsigned size = i ? sizes[i] : first;

		rig_tx(i, offsets[i], i + 1 < slots ? NETTXF_more_data : 0, (uint16_t)i,
		       (uint16_t)(i ? size : total));
		memcpy(bytes + at, rig.pages + i * SR_PAGE_SIZE + offsets[i], size);
		at += size;
	}
	rig_tx_publish();
	assert_int_equal(rig_receive(&m, 1), 1);
	assert_int_equal(rig_tx_all(NETIF_RSP_OKAY), slots);
	rig_check_bytes(m, bytes, total);
	return m;
}

/* A segment of 64 KiB as Linux sends it. */
static struct rte_mbuf *send_pages(void)
{
	uint16_t sizes[MANY], offsets[MANY] = { 0 };

	for (unsigned i = 0; i < MANY; i++)
		sizes[i] = SR_PAGE_SIZE;
	return send(MANY, 66, sizes, offsets);
}

static void a_page_is_one_copy(void **state)
{
	struct rte_mbuf *m = send_pages();

	/* The headers, what fills up the first segment, and the pages. */
	assert_int_equal(sr_netq_stats(rig.q)->tx.copies, 1 + 1 + 15);
	assert_int_equal(m->nb_segs, MANY);
	assert_int_equal(m->data_len, SR_NET_HEADERS);
	rig_post(64, 32);
	assert_int_equal(rig_give(m), 1);
	assert_true(rig_take(&got));
	assert_int_equal(got.status, 0);
	assert_int_equal(got.slots, MANY);
	assert_int_equal(got.len, 66 + 15 * SR_PAGE_SIZE);
	assert_memory_equal(got.bytes, bytes, got.len);
	assert_int_equal(sr_netq_stats(rig.q)->rx.copies, MANY);
}

/* Where its pages are not whole pages: packed, as ever. */
static void headroom(void **state)
{
	rig_disconnect();
	rig_connect(&(struct rig_options){ .features = RIG_ALL, .headroom = 256 });
	rig_post(64, 32);
	assert_int_equal(rig_give(send_pages()), 1);
	assert_true(rig_take(&got));
	assert_int_equal(got.slots, (66 + 15 * SR_PAGE_SIZE + 3839) / 3840);
	assert_memory_equal(got.bytes, bytes, got.len);
}

#define LARGE_ROOM (14u * SR_PAGE_SIZE)

static struct rte_mempool *large;

/* A page, and a segment of 13 pages or so that begins `off` bytes into a page of ours. */
static struct rte_mbuf *in_large(uint16_t off, uint16_t len)
{
	struct rte_mbuf *m = rig_packet(bytes, SR_PAGE_SIZE, SR_PAGE_SIZE);
	struct rte_mbuf *more = rte_pktmbuf_alloc(large);
	uint8_t *data;

	assert_non_null(more);
	off = (uint16_t)(off + SR_PAGE_SIZE - rte_pktmbuf_mtod(more, uintptr_t) % SR_PAGE_SIZE);
	data = (uint8_t *)rte_pktmbuf_append(more, (uint16_t)(off + len)) + off;
	rte_pktmbuf_adj(more, off);
	memcpy(data, bytes + SR_PAGE_SIZE, len);
	rte_pktmbuf_chain(m, more);
	return m;
}

static void give_large(uint16_t off, uint16_t len, unsigned slots, unsigned copies)
{
	rig_post(64, 32);
	assert_int_equal(rig_give(in_large(off, len)), 1);
	assert_true(rig_take(&got));
	assert_int_equal(got.status, 0);
	assert_int_equal(got.slots, slots);
	assert_int_equal(got.len, SR_PAGE_SIZE + len);
	assert_memory_equal(got.bytes, bytes, got.len);
	assert_int_equal(sr_netq_stats(rig.q)->rx.copies, copies);
}

/* No copy goes beyond a page of ours, wherever a large segment begins. */
static void large_segments(void **state)
{
	large = rte_pktmbuf_pool_create("large", 3, 0, 0, LARGE_ROOM + RTE_PKTMBUF_HEADROOM,
					SOCKET_ID_ANY);
	assert_non_null(large);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 13 + i / 509);
	give_large(0, 12 * SR_PAGE_SIZE, 13, 13);
	give_large(100, 12 * SR_PAGE_SIZE, 13, 13 + 1 + 2 * 12);
	rig_disconnect();
	rig_connect(&(struct rig_options){ .features = RIG_ALL, .headroom = 256 });
	/* Slots of 3840 bytes and pages of 4096: the borders of both cut it. */
	give_large(0, 10 * SR_PAGE_SIZE, 12, 12 + 10);
	rte_mempool_free(large);
}

/* Any sizes at any places: the same bytes come out. */
static void any_fragments(void **state)
{
	srand(1);
	for (unsigned n = 0; n < 400; n++) {
		unsigned slots = 1 + (unsigned)rand() % SR_NET_MAX_SLOTS;
		unsigned first = 14 + (unsigned)rand() % 2000, total = first;
		uint16_t sizes[SR_NET_MAX_SLOTS], offsets[SR_NET_MAX_SLOTS];

		for (unsigned i = 0; i < slots; i++) {
			unsigned most = i % 3 ? SR_PAGE_SIZE : 200;

			offsets[i] = (uint16_t)(rand() % 2000);
			sizes[i] = (uint16_t)((unsigned)rand() % (most + 1));
			if (n % 2 && i % 3)
				sizes[i] = SR_PAGE_SIZE;
			if (offsets[i] + sizes[i] > SR_PAGE_SIZE)
				offsets[i] = (uint16_t)(SR_PAGE_SIZE - sizes[i]);
			total += i ? sizes[i] : 0;
		}
		if (total > SR_NET_MAX_PACKET)
			continue;
		rig_post(64, SR_NET_MAX_SLOTS);
		assert_int_equal(rig_give(send(slots, first, sizes, offsets)), 1);
		assert_true(rig_take(&got));
		assert_int_equal(got.status, 0);
		assert_in_range(got.slots, 1, SR_NET_MAX_SLOTS - 1);
		assert_int_equal(got.len, total);
		assert_memory_equal(got.bytes, bytes, total);
		rig_disconnect();
		rig_setup(NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RIG_TEST(a_page_is_one_copy),
		RIG_TEST(headroom),
		RIG_TEST(large_segments),
		RIG_TEST(any_fragments),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
