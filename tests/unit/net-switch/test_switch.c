/* SPDX-License-Identifier: MIT */

/* What the switch does with packets, with lanes that the test runs by hand. */

#include "rig.h"

#include <errno.h>
#include <string.h>

#include <rte_ip.h>

static const uint8_t unknown[6] = { 2, 9, 9, 9, 9, 9 };

static void uplink(struct sr_member_config *config)
{
	config->uplink = true;
	memset(config->mac, 0, sizeof(config->mac));
}

/* --- learning -----------------------------------------------------------------------------------
 */

static void test_learns(void **state)
{
	struct rig_member *up = rig_vif(1, uplink), *other = rig_vif(2, uplink),
			  *vif = rig_vif(3, NULL);
	uint8_t station[6] = { 2, 1, 1, 1, 1, 1 };

	/* Nobody knows it: to all but the sender. */
	rig_send(vif, station, vif->mac);
	rig_run();
	assert_int_equal(rig_take(up), 1);
	assert_int_equal(rig_take(other), 1);
	assert_int_equal(rig_take(vif), 0);
	/* It speaks, and is known from then on. */
	rig_send(up, vif->mac, station);
	rig_send(vif, station, vif->mac);
	rig_run();
	rig_send(vif, station, vif->mac);
	rig_run();
	assert_int_equal(rig_take(vif), 1);
	assert_int_equal(rig_take(up), 2);
	assert_int_equal(rig_take(other), 0);
	/* It moves. */
	rig_send(other, vif->mac, station);
	rig_run();
	rig_send(vif, station, vif->mac);
	rig_run();
	assert_int_equal(rig_take(up), 0);
	assert_int_equal(rig_take(other), 1);
	/* It goes with its member. */
	rig_remove(other);
	rig_send(vif, station, vif->mac);
	rig_run();
	assert_int_equal(rig_take(up), 1);
}

static void test_ages(void **state)
{
	struct rig_member *a = rig_vif(1, uplink), *b = rig_vif(2, uplink), *vif = rig_vif(3, NULL);

	rig_send(a, vif->mac, unknown);
	rig_run();
	rig_now += UINT64_C(300000000000);
	rig_send(vif, unknown, vif->mac);
	rig_run();
	assert_int_equal(rig_take(a), 1);
	assert_int_equal(rig_take(b), 0);
	rig_now += UINT64_C(1000000000);
	rig_send(vif, unknown, vif->mac);
	rig_run();
	assert_int_equal(rig_take(a), 1);
	assert_int_equal(rig_take(b), 1);
	/* A vif's own address is known for good. */
	rig_send(a, vif->mac, unknown);
	rig_run();
	assert_int_equal(rig_take(b), 0);
	assert_int_equal(rig_take(vif), 2);
}

/* A guest can't take what belongs to another: neither its packets nor room for its addresses. */
static void test_takes_no_address_of_another(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL), *thief = rig_vif(3, NULL);

	rig_send(thief, rig_broadcast, a->mac);
	rig_run();
	assert_int_equal(rig_take(a) + rig_take(b), 2);
	rig_send(b, a->mac, b->mac);
	rig_run();
	assert_int_equal(rig_take(a), 1);
	assert_int_equal(rig_take(thief), 0);
}

static void test_learns_so_many_of_a_guest(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, uplink);
	struct sr_switch_address list[1000];
	uint8_t station[6] = { 2, 1 };

	for (unsigned i = 0; i < 2000; i++) {
		station[4] = (uint8_t)(i >> 8);
		station[5] = (uint8_t)i;
		rig_send(a, b->mac, station);
		if (i % 32 == 31)
			rig_run();
	}
	rig_run();
	assert_int_equal(sr_switch_addresses(rig_switch, list, 1000), SR_FDB_GUEST_MAX + 1);
	/* The uplink learns all the same. */
	rig_send(b, a->mac, unknown);
	rig_run();
	assert_int_equal(sr_switch_addresses(rig_switch, list, 1000), SR_FDB_GUEST_MAX + 2);
	/* And when they are old there is room for new ones. */
	rig_now += UINT64_C(400000000000);
	station[3] = 1;
	rig_send(a, b->mac, station);
	rig_run();
	assert_int_equal(rig_fabric->switches[0]->fdb->entries[1], 1);
	rig_take(a);
	rig_take(b);
}

/* --- flooding -----------------------------------------------------------------------------------
 */

static void test_multicast_filter(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL), *c = rig_vif(3, NULL);
	static const uint8_t group[6] = { 1, 0, 0x5e, 1, 2, 3 };

	b->deaf = true;
	rig_send(a, group, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 0);
	assert_int_equal(rig_take(c), 1);
	rig_send(a, rig_broadcast, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 1);
	assert_int_equal(rig_take(c), 1);
	c->deaf = true;
	rig_send(a, group, a->mac);
	rig_run();
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_NO_PORT), 1);
}

/* One packet with several owners, the same for each, and chains of segments too. */
static void test_flooded_packets_are_shared(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL), *c = rig_vif(3, NULL);
	struct packet p = { .udp = true, .blank = true, .payload = 1000, .piece = 300 };
	struct rte_mbuf *pkt;

	memset(p.dst, 0xff, 6);
	memcpy(p.src, a->mac, 6);
	pkt = packet_new(rig_pool, &p);
	rig_give(a, 0, pkt);
	rig_run();
	assert_ptr_equal(b->queue[0].out[0], pkt);
	assert_ptr_equal(c->queue[0].out[0], pkt);
	for (struct rte_mbuf *seg = pkt; seg; seg = seg->next)
		assert_int_equal(rte_mbuf_refcnt_read(seg), 2);
	assert_int_equal(sr_member_stats(a->member, 0)->flooded, 1);
}

static void test_not_forwarded(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL);
	static const uint8_t stp[6] = { 1, 0x80, 0xc2, 0, 0, 0 };
	struct rte_mbuf *runt = rte_pktmbuf_alloc(rig_pool);

	rig_send(a, stp, a->mac);
	rig_send(a, b->mac, rig_broadcast);
	rig_send(a, b->mac, (const uint8_t[6]){ 0 });
	rte_pktmbuf_append(runt, 13);
	rig_give(a, 0, runt);
	rig_send(a, a->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(a) + rig_take(b), 0);
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_FILTER), 3);
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_MALFORMED), 1);
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_NO_PORT), 1);
	/* A link that is down. */
	sr_member_set_link(b->member, false);
	rig_send(a, b->mac, a->mac);
	rig_send(b, a->mac, b->mac);
	rig_run();
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_NO_PORT), 2);
	assert_int_equal(rig_drops(b, true, SR_NET_DROP_NO_PORT), 1);
	sr_member_set_link(b->member, true);
	rig_send(a, b->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 1);
}

/* --- what a packet is ---------------------------------------------------------------------------
 */

/* From guest to guest nothing is computed, and tags stay where they are. */
static void test_offloads_survive(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL);
	struct packet p = { .v6 = true, .segsz = 1400, .payload = 60000, .tags = 1, .piece = 2000 };
	struct rte_mbuf *pkt;
	uint64_t flags;

	memcpy(p.dst, b->mac, 6);
	memcpy(p.src, a->mac, 6);
	pkt = packet_new(rig_pool, &p);
	flags = pkt->ol_flags;
	rig_give(a, 0, pkt);
	rig_run();
	assert_int_equal(b->queue[0].out_count, 1);
	assert_ptr_equal(b->queue[0].out[0], pkt);
	assert_int_equal(pkt->ol_flags, flags);
	assert_int_equal(pkt->tso_segsz, 1400);
	assert_int_equal(pkt->l2_len, 18);
	assert_memory_equal(rte_pktmbuf_mtod_offset(pkt, void *, 12), "\x81\0\0\5\x86\xdd", 6);
}

static void test_too_big(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL);
	struct packet p = { .payload = 1600 };

	memcpy(p.dst, b->mac, 6);
	memcpy(p.src, a->mac, 6);
	rig_give(a, 0, packet_new(rig_pool, &p));
	rig_run();
	assert_int_equal(rig_take(b), 0);
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_TOO_BIG), 1);
}

/* --- anti-spoofing ------------------------------------------------------------------------------
 */

static void check_mac(struct sr_member_config *config)
{
	config->check_mac = true;
}

static void test_spoofed_mac(void **state)
{
	struct rig_member *a = rig_vif(1, check_mac), *b = rig_vif(2, NULL);

	rig_send(a, b->mac, unknown);
	rig_send(a, b->mac, a->mac);
	rig_send(a, rig_broadcast, b->mac);
	rig_run();
	assert_int_equal(rig_take(b), 1);
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_FILTER), 2);
}

static const struct sr_member_address own[] = {
	{ false, { 10, 0, 0, 1 } },
	{ true, { 0xfd, [15] = 1 } },
};

static void check_ip(struct sr_member_config *config)
{
	config->addresses = own;
	config->address_count = 2;
}

/* What packet_new() makes has these addresses; with a byte changed it has others. */
static void test_spoofed_ip(void **state)
{
	struct rig_member *a = rig_vif(1, check_ip), *b = rig_vif(2, NULL);
	uint64_t dropped = 0;

	for (unsigned i = 0; i < 8; i++) {
		struct packet p = {
			.udp = true, .payload = 20, .v6 = i & 1, .tags = i & 2 ? 2 : 0
		};
		struct rte_mbuf *pkt;

		memcpy(p.dst, b->mac, 6);
		memcpy(p.src, a->mac, 6);
		pkt = packet_new(rig_pool, &p);
		if (i & 4) {
			++*rte_pktmbuf_mtod_offset(pkt, uint8_t *,
						   14 + (p.tags ? 8 : 0) + (p.v6 ? 23 : 15));
			dropped++;
		}
		rig_give(a, 0, pkt);
		rig_run();
		assert_int_equal(rig_take(b), i & 4 ? 0 : 1);
		assert_int_equal(rig_drops(a, true, SR_NET_DROP_FILTER), dropped);
	}
}

/* --- several lanes, in one thread ---------------------------------------------------------------
 */

static int three_lanes(void **state)
{
	rig_lanes = 3;
	return rig_set_up(state);
}

static void test_lanes(void **state)
{
	const struct sr_member_queue queues[] = { { .lane = 0, .fd = -1 },
						  { .lane = 1, .fd = -1 },
						  { .lane = 2, .fd = -1 } };
	struct sr_member_config config = {
		.name = "a", .queue_count = 3, .queues = queues, .mac = { 2, [5] = 1 }
	};
	struct rig_member *a = rig_add(1, &config), *b;
	struct packet p = { .udp = true, .payload = 10 };
	unsigned used = 0;

	config.name = "b";
	config.mac[5] = 2;
	b = rig_add(2, &config);
	memcpy(p.dst, b->mac, 6);
	memcpy(p.src, a->mac, 6);
	/* Each lane has a queue of b's own, which takes the packets of that lane. */
	for (unsigned i = 0; i < 30; i++)
		rig_give(a, i % 3, packet_new(rig_pool, &p));
	rig_run();
	for (unsigned i = 0; i < 3; i++)
		used += b->queue[i].out_count == 10;
	assert_int_equal(used, 3);
	rig_take(b);
	rig_remove(b);
	/* One queue only: two lanes hand over to the third. */
	config.queue_count = 1;
	config.queues = queues + 2;
	b = rig_add(2, &config);
	for (unsigned i = 0; i < 30; i++)
		rig_give(a, i % 3, packet_new(rig_pool, &p));
	rig_run();
	assert_int_equal(rig_take(b), 30);
	/* What is on its way to one that goes is freed (tear-down counts). */
	for (unsigned i = 0; i < 30; i++)
		rig_give(a, 0, packet_new(rig_pool, &p));
	sr_port_poll(&a->member->ports[0], rig_now);
	rig_remove(b);
}

static void test_crowded_lane(void **state)
{
	const struct sr_member_queue queue = { .lane = 1, .fd = -1 };
	struct rig_member *a = rig_vif(1, NULL), *b;
	struct sr_member_config config = {
		.name = "b", .queue_count = 1, .queues = &queue, .mac = { 2, [5] = 2 }
	};
	uint64_t lost;

	b = rig_add(2, &config);
	for (unsigned i = 0; i < SR_LANE_RING + 100; i++) {
		rig_send(a, b->mac, a->mac);
		sr_port_poll(&a->member->ports[0], rig_now);
	}
	lost = sr_member_stats(b->member, 0)->crowded;
	assert_int_equal(lost, 100);
	rig_run();
	assert_int_equal(rig_take(b) + rig_drops(b, false, SR_NET_DROP_BUSY), SR_LANE_RING);
}

static void test_refuses(void **state)
{
	struct sr_member_queue queue = { .lane = 0, .fd = -1 };
	struct sr_member_config config = { .name = "x", .queue_count = 1, .queues = &queue };
	struct rig_member *m = rig_add(1, &config);
	struct sr_member *member;

	config.ops = &m->member->ops;
	config.queue_count = 0;
	assert_int_equal(sr_member_add(rig_switch, &config, &member), -EINVAL);
	config.queue_count = 65;
	assert_int_equal(sr_member_add(rig_switch, &config, &member), -EINVAL);
	config.queue_count = 1;
	queue.lane = 1;
	assert_int_equal(sr_member_add(rig_switch, &config, &member), -EINVAL);
	queue.lane = 0;
	config.check_mac = true;
	assert_int_equal(sr_member_add(rig_switch, &config, &member), -EINVAL);
	assert_ptr_equal(sr_fabric_switch(rig_fabric, "xenbr0", false), rig_switch);
	assert_null(sr_fabric_switch(rig_fabric, "xenbr1", false));
}

#define TEST(f)       cmocka_unit_test_setup_teardown(f, rig_set_up, rig_tear_down)
#define TEST_LANES(f) cmocka_unit_test_setup_teardown(f, three_lanes, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_learns),
		TEST(test_ages),
		TEST(test_takes_no_address_of_another),
		TEST(test_learns_so_many_of_a_guest),
		TEST(test_multicast_filter),
		TEST(test_flooded_packets_are_shared),
		TEST(test_not_forwarded),
		TEST(test_offloads_survive),
		TEST(test_too_big),
		TEST(test_spoofed_mac),
		TEST(test_spoofed_ip),
		TEST(test_refuses),
		TEST_LANES(test_lanes),
		TEST_LANES(test_crowded_lane),
	};

	return cmocka_run_group_tests(tests, rig_start, NULL);
}
