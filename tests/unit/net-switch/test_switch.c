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

/* --- queues, rate, fairness ---------------------------------------------------------------------
 */

static void test_slow_member(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL), *c = rig_vif(3, NULL);

	b->queue[0].room = 0;
	for (unsigned i = 0; i < 100; i++)
		rig_send(a, b->mac, a->mac);
	rig_run();
	/* Half of 64: one source gets no more than it leaves. */
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_BUSY), 100 - 32);
	rig_send(c, b->mac, c->mac);
	rig_run();
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_BUSY), 100 - 32);
	/* Others are served. */
	rig_send(a, c->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(c), 1);
	b->queue[0].room = 100;
	rig_run();
	assert_int_equal(rig_take(b), 33);
	assert_int_equal(sr_member_stats(b->member, 0)->out.packets, 33);
}

/* One that takes nothing for long loses what waits, and nothing more is kept for it until it does.
 */
static void test_stalled_member(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL), *c = rig_vif(3, NULL);

	b->queue[0].room = 0;
	for (unsigned i = 0; i < 10; i++)
		rig_send(a, b->mac, a->mac);
	rig_run();
	assert_true(sr_member_carrier(b->member));
	rig_now += UINT64_C(900000000);
	rig_run();
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 0);
	/* Nobody sends to it any more: it is over all the same. */
	rig_now += UINT64_C(200000000);
	rig_run();
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 10);
	assert_int_equal(b->stalls, 1);
	assert_false(sr_member_carrier(b->member));
	assert_int_equal(sr_member_stats(b->member, 0)->stalls, 1);
	/* What comes now is lost at once, of a flood too, and others have all of theirs. */
	rig_send(a, b->mac, a->mac);
	rig_send(a, rig_broadcast, a->mac);
	rig_send(a, c->mac, a->mac);
	rig_run();
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 12);
	assert_int_equal(rig_take(c), 2);
	/* There is room again. */
	assert_int_equal(b->revivals, 0);
	b->queue[0].room = 100;
	rig_run();
	assert_int_equal(b->revivals, 1);
	assert_true(sr_member_carrier(b->member));
	rig_send(a, b->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 1);
	/* A little room now and then, and always too late, is no stall. */
	b->queue[0].room = 0;
	for (unsigned i = 0; i < 30; i++) {
		rig_send(a, b->mac, a->mac);
		rig_run();
		rig_now += UINT64_C(900000000);
		b->queue[0].room = 1;
	}
	assert_int_equal(b->stalls, 1);
	assert_int_equal(rig_drops(b, false, SR_NET_DROP_NO_SLOTS), 12);
}

static void down(struct sr_member_config *config)
{
	config->down = true;
}

static void test_link_down_at_first(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, down);

	rig_send(a, b->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 0);
	assert_false(sr_member_carrier(b->member));
	sr_member_set_link(b->member, true);
	rig_send(a, b->mac, a->mac);
	rig_run();
	assert_int_equal(rig_take(b), 1);
	assert_true(sr_member_carrier(b->member));
}

/* A guest that floods broadcast: another's packets get through, all of them. */
static void test_fairness_under_flood(void **state)
{
	struct rig_member *flooder = rig_vif(1, NULL), *quiet = rig_vif(2, NULL),
			  *victim = rig_vif(3, NULL);
	struct rig_member *more[20];
	unsigned sent = 0, got = 0;

	for (unsigned i = 0; i < 20; i++)
		more[i] = rig_vif(10 + i, NULL);
	for (unsigned round = 0; round < 200; round++) {
		while (flooder->queue[0].in_count < 64)
			rig_send(flooder, rig_broadcast, flooder->mac);
		rig_send(quiet, victim->mac, quiet->mac);
		sent++;
		victim->queue[0].room = 4; /* slower than what the flood brings */
		rig_round();
		for (unsigned i = 0; i < victim->queue[0].out_count; i++)
			got +=
			    *rte_pktmbuf_mtod_offset(victim->queue[0].out[i], uint8_t *, 11) == 2;
		rig_take(victim);
		for (unsigned i = 0; i < 20; i++)
			rig_take(more[i]);
		rig_take(quiet);
	}
	assert_int_equal(rig_drops(victim, false, SR_NET_DROP_NO_SLOTS), 0);
	assert_true(rig_drops(victim, false, SR_NET_DROP_BUSY) > 0);
	/* None was dropped; what is not there yet waits. */
	assert_true(got + 32 >= sent);
	assert_true(flooder->asked <= 32);
	/* A burst that is copied 22 times is a smaller burst. */
	assert_true(flooder->member->ports[0].burst < 16);
}

static void rate(struct sr_member_config *config)
{
	config->rate_bytes = 10000;
	config->rate_interval_us = 50000;
}

/* What is above the rate stays with the guest: nothing is lost. */
static void test_rate(void **state)
{
	struct rig_member *a = rig_vif(1, rate), *b = rig_vif(2, NULL);
	unsigned size = 14 + 28 + 32, got = 0;

	for (unsigned i = 0; i < 3000; i++)
		rig_send(a, b->mac, a->mac);
	for (unsigned ms = 0; ms < 1000; ms++) {
		rig_run();
		got += rig_take(b);
		rig_now += 1000000;
	}
	/* 200000 bytes a second, and the first credit on top. */
	assert_in_range(got * size, 200000, 200000 + 10000 + 32 * size);
	assert_int_equal(a->queue[0].in_count, 3000 - got);
	assert_true(sr_member_stats(a->member, 0)->limited > 0);
	assert_int_equal(rig_drops(a, true, SR_NET_DROP_RATE), 0);
}

/* What a burst takes too much is paid for before the next one. */
static void test_rate_of_big_packets(void **state)
{
	struct rig_member *a = rig_vif(1, rate), *b = rig_vif(2, NULL);
	struct packet p = { .segsz = 1400, .payload = 30000, .piece = 2000 };
	unsigned size = 14 + 20 + 20 + 30000, got = 0;

	memcpy(p.dst, b->mac, 6);
	memcpy(p.src, a->mac, 6);
	for (unsigned i = 0; i < 50; i++)
		rig_give(a, 0, packet_new(rig_pool, &p));
	for (unsigned ms = 0; ms < 4000; ms++) {
		rig_run();
		got += rig_take(b);
		rig_now += 1000000;
	}
	assert_in_range(got * size, 800000 - size, 800000 * 101 / 100 + 10000 + 7 * size);
}

/* It changes while packets flow; a clock that is read a little earlier is no gift. */
static void test_rate_changes(void **state)
{
	struct rig_member *a = rig_vif(1, rate), *b = rig_vif(2, NULL);
	unsigned got;

	for (unsigned i = 0; i < 2000; i++)
		rig_send(a, b->mac, a->mac);
	rig_run();
	got = rig_take(b);
	assert_true(got < 200);
	rig_now -= 1000;
	rig_run();
	assert_int_equal(rig_take(b), 0);
	sr_member_set_rate(a->member, 1000, 1000000);
	rig_run();
	assert_in_range(rig_take(b), 14, 14 + 32);
	sr_member_set_rate(a->member, UINT64_MAX, 1);
	rig_run();
	assert_true(rig_take(b) > 0);
	for (unsigned i = 0; i < 20; i++)
		rig_send(a, b->mac, a->mac);
	sr_member_set_rate(a->member, 1, UINT32_MAX);
	rig_run();
	/* A byte in an hour: one burst is owed for as good as ever. */
	rig_take(b);
	rig_now += UINT64_C(3600000000000);
	rig_run();
	assert_int_equal(rig_take(b), 0);
	sr_member_set_rate(a->member, 0, 0);
	rig_run();
	rig_take(b);
	assert_int_equal(a->queue[0].in_count, 0);
}

static void test_broken_member(void **state)
{
	struct rig_member *a = rig_vif(1, NULL), *b = rig_vif(2, NULL);

	a->queue[0].room = 0;
	rig_send(b, a->mac, b->mac);
	rig_run();
	a->fails = -EPROTO;
	rig_run();
	assert_int_equal(a->broken, 1);
	rig_send(b, a->mac, b->mac);
	rig_run();
	assert_int_equal(a->broken, 1);
	assert_int_equal(rig_drops(a, false, SR_NET_DROP_NO_PORT), 2);
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
		TEST(test_slow_member),
		TEST(test_stalled_member),
		TEST(test_link_down_at_first),
		TEST(test_fairness_under_flood),
		TEST(test_rate),
		TEST(test_rate_of_big_packets),
		TEST(test_rate_changes),
		TEST(test_broken_member),
		TEST(test_refuses),
		TEST_LANES(test_lanes),
		TEST_LANES(test_crowded_lane),
	};

	return cmocka_run_group_tests(tests, rig_start, NULL);
}
