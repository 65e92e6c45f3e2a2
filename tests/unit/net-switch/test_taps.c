/* SPDX-License-Identifier: MIT */

/* What captures see of the switch: each packet once a direction, what became of it, and no more. */

#include "rig.h"

#include <stdlib.h>
#include <string.h>

#define RING  65536u
#define ID(n) sr_capture_vif(1, n)

static struct sr_fabric_capture *capture;
static struct sr_capture_reader reader;
static uint8_t *memory;

static void vif_1(struct sr_member_config *config)
{
	config->capture_id = ID(1);
	config->check_mac = true;
}

static void vif_2(struct sr_member_config *config)
{
	config->capture_id = ID(2);
}

static void start_capture(uint64_t want, uint64_t mask, uint32_t snaplen)
{
	struct sr_capture_config config = {
		.ring_bytes = sr_capture_ring_bytes(RING),
		.ring_size = RING,
		.snaplen = snaplen,
		.want = want,
		.mask = mask,
	};

	memory = config.rings = aligned_alloc(4096, config.ring_bytes);
	memset(memory, 0, config.ring_bytes);
	assert_int_equal(sr_fabric_capture(rig_fabric, &config, &capture), 0);
	assert_int_equal(sr_capture_reader_init(&reader, memory, config.ring_bytes), 0);
}

static int tear_down(void **state)
{
	sr_fabric_capture_end(capture);
	capture = NULL;
	free(memory);
	memory = NULL;
	return rig_tear_down(state);
}

static bool next(struct sr_capture_record *record, uint8_t *data)
{
	const struct sr_capture_record *found;

	assert_int_equal(sr_capture_peek(&reader, &found), 0);
	if (!found)
		return false;
	*record = *found;
	memcpy(data, found->data, found->captured);
	sr_capture_next(&reader);
	return true;
}

/* The next record is of that NIC, direction and fate. */
static void expect(uint64_t id, bool from_guest, uint8_t drop)
{
	struct sr_capture_record record;
	uint8_t data[2048];

	assert_true(next(&record, data));
	assert_int_equal(record.id, id);
	assert_int_equal(record.from_guest, from_guest);
	assert_int_equal(record.drop, drop);
}

static void expect_none(void)
{
	struct sr_capture_record record;
	uint8_t data[2048];

	assert_false(next(&record, data));
}

/* How often the capture counted that NIC's packets as missed. */
static uint64_t missed(uint64_t id, uint64_t *seen)
{
	struct sr_capture_count count;

	for (unsigned i = 0; i < SR_CAPTURE_INTERFACES; i++)
		if (sr_capture_read_count(&reader, i, &count) && count.id == id) {
			*seen = count.seen;
			return count.missed;
		}
	*seen = 0;
	return 0;
}

static void test_both_ways(void **state)
{
	struct rig_member *a = rig_vif(1, vif_1), *b = rig_vif(2, vif_2);
	struct sr_capture_record record;
	uint8_t data[2048], frame[2048];
	struct rte_mbuf *pkt;
	uint32_t length;

	start_capture(0, 0, 2000);
	pkt = rig_send(a, b->mac, a->mac);
	length = pkt->pkt_len;
	memcpy(frame, rte_pktmbuf_mtod(pkt, uint8_t *), length);
	rig_run();
	for (unsigned i = 0; i < 2; i++) {
		assert_true(next(&record, data));
		assert_int_equal(record.id, i ? ID(2) : ID(1));
		assert_int_equal(record.from_guest, !i);
		assert_int_equal(record.drop, 0);
		assert_int_equal(record.length, length);
		assert_int_equal(record.captured, length);
		assert_memory_equal(data, frame, length);
	}
	expect_none();
	assert_int_equal(rig_take(b), 1);
}

/* Of several segments, and no more than asked for. */
static void test_snaplen(void **state)
{
	struct rig_member *a = rig_vif(1, vif_1), *b = rig_vif(2, vif_2);
	struct rte_mbuf *pkt, *tail = rte_pktmbuf_alloc(rig_pool);
	struct sr_capture_record record;
	uint8_t data[2048];
	uint32_t first;

	start_capture(ID(2), UINT64_MAX, 100);
	pkt = rig_send(a, b->mac, a->mac);
	first = pkt->pkt_len;
	memset(rte_pktmbuf_append(tail, 300), 0x77, 300);
	assert_int_equal(rte_pktmbuf_chain(pkt, tail), 0);
	rig_run();
	assert_true(next(&record, data));
	assert_int_equal(record.id, ID(2));
	assert_int_equal(record.length, first + 300);
	assert_int_equal(record.captured, 100);
	for (uint32_t i = first; i < 100; i++)
		assert_int_equal(data[i], 0x77);
	/* The other one is not asked for. */
	expect_none();
	rig_take(b);
}

static void test_drops(void **state)
{
	struct rig_member *a = rig_vif(1, vif_1), *b = rig_vif(2, vif_2);

	start_capture(0, 0, 2000);
	rig_send(a, b->mac, b->mac);
	rig_send(a, b->mac, a->mac);
	rig_run();
	expect(ID(1), true, 1 + SR_NET_DROP_FILTER);
	expect(ID(1), true, 0);
	expect(ID(2), false, 0);
	sr_member_set_link(a->member, false);
	rig_send(a, b->mac, a->mac);
	rig_run();
	expect(ID(1), true, 1 + SR_NET_DROP_NO_PORT);
	expect_none();
	rig_take(b);
}

/* What a member takes and drops itself wasn't sent. */
static void test_drops_of_the_member(void **state)
{
	struct rig_member *a = rig_vif(1, vif_1), *b = rig_vif(2, vif_2);

	start_capture(ID(2), UINT64_MAX, 2000);
	b->drops = 1 + SR_NET_DROP_GRANT;
	for (unsigned i = 0; i < 4; i++)
		rig_send(a, b->mac, a->mac);
	b->queue[0].room = 3;
	rig_run();
	for (unsigned i = 0; i < 3; i++)
		expect(ID(2), false, i % 2 ? 0 : 1 + SR_NET_DROP_GRANT);
	expect_none();
	assert_null(b->fates);
	b->drops = 0;
	b->queue[0].room = 1;
	rig_run();
	expect(ID(2), false, 0);
	rig_take(b);
}

/* What a guest has no room for is there when it takes it, once, or when it is given up. */
static void test_slow_member(void **state)
{
	struct rig_member *a = rig_vif(1, vif_1), *b = rig_vif(2, vif_2);
	unsigned taken = 0, busy = 0;
	struct sr_capture_record record;
	uint8_t data[2048];

	start_capture(ID(2), UINT64_MAX, 2000);
	b->queue[0].room = 0;
	for (unsigned i = 0; i < 300; i++)
		rig_send(a, b->mac, a->mac);
	rig_run();
	while (next(&record, data))
		busy += record.drop == 1 + SR_NET_DROP_BUSY;
	assert_int_equal(busy, rig_drops(b, false, SR_NET_DROP_BUSY));
	assert_true(busy > 0);
	while (taken < 20) {
		b->queue[0].room = 5;
		sr_port_poll(&b->member->ports[0], rig_now);
		assert_int_equal(rig_take(b), 5);
		for (unsigned i = 0; i < 5; i++)
			expect(ID(2), false, 0);
		expect_none();
		taken += 5;
	}
	/* It takes nothing for too long. */
	b->queue[0].room = 0;
	rig_now += UINT64_C(2000000000);
	rig_run();
	for (unsigned i = 0; i < 300 - busy - taken; i++)
		expect(ID(2), false, 1 + SR_NET_DROP_NO_SLOTS);
	expect_none();
}

/* A reader that stands still: the capture misses, and says how many; the guests lose nothing. */
static void test_full(void **state)
{
	struct rig_member *a = rig_vif(1, vif_1), *b = rig_vif(2, vif_2);
	uint64_t seen, lost, got[2] = { 0 };
	struct sr_capture_record record;
	uint8_t data[2048];

	start_capture(0, 0, 2000);
	for (unsigned i = 0; i < 2000; i++) {
		rig_send(a, b->mac, a->mac);
		rig_run();
	}
	assert_int_equal(rig_take(b), 2000);
	while (next(&record, data))
		got[record.id == ID(2)]++;
	for (unsigned i = 0; i < 2; i++) {
		lost = missed(ID(i + 1), &seen);
		assert_int_equal(seen, 2000);
		assert_int_equal(got[i] + lost, 2000);
		assert_true(lost > 0 && got[i] > 0);
	}
}

/* Two captures at once, of which one ends: each sees what it asked for, and nothing after its end.
 */
static void test_two(void **state)
{
	struct rig_member *a = rig_vif(1, vif_1), *b = rig_vif(2, vif_2);
	struct sr_fabric_capture *other;
	struct sr_capture_reader others;
	uint8_t *others_memory;

	start_capture(ID(1), UINT64_MAX, 2000);
	other = capture;
	others = reader;
	others_memory = memory;
	start_capture(ID(2), UINT64_MAX, 2000);
	rig_send(a, b->mac, a->mac);
	rig_run();
	expect(ID(2), false, 0);
	expect_none();
	sr_fabric_capture_end(other);
	rig_send(a, b->mac, a->mac);
	rig_run();
	expect(ID(2), false, 0);
	expect_none();
	reader = others;
	expect(ID(1), true, 0);
	expect_none();
	free(others_memory);
	rig_take(b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_both_ways),           TEST(test_snaplen), TEST(test_drops),
		TEST(test_slow_member),         TEST(test_full),    TEST(test_two),
		TEST(test_drops_of_the_member),
	};

	return cmocka_run_group_tests(tests, rig_start, NULL);
}
