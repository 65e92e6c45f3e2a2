/* SPDX-License-Identifier: MIT */
#include "impl.h"

#include <string.h>

#include <rte_ether.h>

#include "guard.h"

/* Copies that one burst may make of its packets before the next source has its turn. */
#define DELIVERIES 128u

/* With a rate a burst is cut to what it allows, by the size of a full packet. */
#define FULL_PACKET 1514u

struct round {
	struct sr_lane *lane;
	struct sr_switch *sw;
	struct sr_member *from;
	struct sr_member_port *port;
	const struct sr_members *members;
	uint32_t second;
	unsigned delivered;
	/* What the packet before had, and where it went: most have the same. */
	uint8_t addresses[12];
	struct sr_member *to; /* NULL: not known, or none had */
};

/* Is it for a bridge itself (802.1D: spanning tree, pause, LACP, LLDP)? */
static bool reserved(const uint8_t *to)
{
	return to[0] == 0x01 && to[1] == 0x80 && to[2] == 0xc2 && to[3] == 0 && to[4] == 0 &&
	       to[5] < 16;
}

/* May the member send this? */
static bool allowed(const struct sr_member *from, const struct rte_mbuf *pkt, const uint8_t *frame)
{
	uint64_t source = sr_fdb_address(frame + 6);

	if (frame[6] & 1 || source == 0 || reserved(frame))
		return false;
	if (from->check_mac && source != from->address)
		return false;
	return !from->address_count ||
	       sr_guard_allows(from->addresses, from->address_count, frame, pkt->data_len);
}

static bool fits(const struct sr_member *to, const struct rte_mbuf *pkt)
{
	return pkt->pkt_len <= to->frame_max || pkt->ol_flags & RTE_MBUF_F_TX_TCP_SEG ||
	       pkt->ol_flags & RTE_MBUF_F_RX_LRO;
}

static bool wanted(const struct sr_member *to, const uint8_t *frame)
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (!(frame[0] & 1) || !to->ops.wants || memcmp(frame, broadcast, 6) == 0)
		return true;
	return to->ops.wants(to->arg, (const struct rte_ether_addr *)frame);
}

/*
 * To everybody but its source. One packet, with as many owners as it has receivers: each but the
 * first is added before it is handed over, and the round's own is given up last.
 */
static void flood(struct round *r, struct rte_mbuf *pkt, const uint8_t *frame)
{
	unsigned copies = 0;

	for (unsigned i = 0; i < r->members->count; i++) {
		struct sr_member *to = r->members->list[i];

		if (to == r->from || !__atomic_load_n(&to->up, __ATOMIC_RELAXED) ||
		    !wanted(to, frame) || !fits(to, pkt))
			continue;
		for (struct rte_mbuf *seg = pkt; seg; seg = seg->next)
			rte_mbuf_refcnt_update(seg, 1);
		sr_lane_deliver(r->lane, to, pkt);
		copies++;
	}
	r->delivered += copies;
	if (copies) {
		sr_stat_add(&r->port->stats.flooded, 1);
		rte_pktmbuf_free(pkt);
	} else {
		sr_port_drop(r->port, true, SR_NET_DROP_NO_PORT, pkt);
	}
}

/* Where a unicast frame goes: NULL if nobody knows. */
static struct sr_member *look_up(const struct round *r, const uint8_t *frame)
{
	uint16_t id = sr_fdb_lookup(r->sw->fdb, sr_fdb_address(frame), r->second);

	/* Acquire: the member is complete (sr_member_add). */
	return id ? __atomic_load_n(&r->sw->by_id[id], __ATOMIC_ACQUIRE) : NULL;
}

static void forward(struct round *r, struct rte_mbuf *pkt)
{
	const uint8_t *frame = rte_pktmbuf_mtod(pkt, const uint8_t *);
	bool same;

	if (unlikely(pkt->data_len < RTE_ETHER_HDR_LEN)) {
		sr_port_drop(r->port, true, SR_NET_DROP_MALFORMED, pkt);
		return;
	}
	pkt->port = r->from->id;
	same = r->to && memcmp(frame, r->addresses, sizeof(r->addresses)) == 0;
	if (!same || r->from->address_count) {
		if (!allowed(r->from, pkt, frame)) {
			sr_port_drop(r->port, true, SR_NET_DROP_FILTER, pkt);
			return;
		}
	}
	if (!same) {
		sr_fdb_learn(r->sw->fdb, sr_fdb_address(frame + 6), r->from->id, r->from->learn_max,
			     r->second);
		r->to = frame[0] & 1 ? NULL : look_up(r, frame);
		memcpy(r->addresses, frame, sizeof(r->addresses));
	}
	if (unlikely(!r->to)) {
		flood(r, pkt, frame);
		return;
	}
	r->delivered++;
	if (unlikely(r->to == r->from || !__atomic_load_n(&r->to->up, __ATOMIC_RELAXED)))
		sr_port_drop(r->port, true, SR_NET_DROP_NO_PORT, pkt);
	else if (unlikely(!fits(r->to, pkt)))
		sr_port_drop(r->port, true, SR_NET_DROP_TOO_BIG, pkt);
	else
		sr_lane_deliver(r->lane, r->to, pkt);
}

/* How many to take; 0: the rate says none. */
static unsigned budget(struct sr_member_port *port, uint64_t now)
{
	struct sr_rate *rate = &port->member->rate;
	uint64_t credit;

	if (likely(!sr_rate_on(rate))) {
		port->limited = false;
		return port->burst;
	}
	credit = sr_rate_credit(rate, now);
	if (!credit) {
		if (!port->limited)
			sr_stat_add(&port->stats.limited, 1);
		port->limited = true;
		return 0;
	}
	port->limited = false;
	return (unsigned)RTE_MIN((uint64_t)port->burst, credit / FULL_PACKET + 1);
}

static void count_in(struct sr_member_port *port, struct rte_mbuf *const *pkts, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += pkts[i]->pkt_len;
	sr_stat_add(&port->stats.in.packets, n);
	sr_stat_add(&port->stats.in.bytes, bytes);
	if (unlikely(sr_rate_on(&port->member->rate)))
		sr_rate_take(&port->member->rate, port->lane->now, bytes);
}

static void forward_burst(struct sr_member_port *port, struct rte_mbuf **pkts, unsigned n)
{
	struct sr_member *member = port->member;
	struct round round = {
		.lane = port->lane,
		.sw = member->sw,
		.from = member,
		.port = port,
		/* Acquire: the list is complete (publish()). */
		.members = __atomic_load_n(&member->sw->members, __ATOMIC_ACQUIRE),
		.second = (uint32_t)(port->lane->now / 1000000000u),
	};
	bool up;

	count_in(port, pkts, n);
	up = __atomic_load_n(&member->up, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < n; i++) {
		if (unlikely(port->lane->taps))
			sr_tap_in(port, pkts[i]);
		if (likely(up))
			forward(&round, pkts[i]);
		else
			sr_port_drop(port, true, SR_NET_DROP_NO_PORT, pkts[i]);
	}
	if (unlikely(port->lane->taps))
		sr_tap_publish(port->lane);
	/* A burst that was flooded makes the next one as much smaller. */
	if (round.delivered > DELIVERIES)
		port->burst = RTE_MAX(1u, n * DELIVERIES / round.delivered);
	else
		port->burst = RTE_MIN(SR_BURST, port->burst * 2);
}

unsigned sr_port_poll(struct sr_member_port *port, uint64_t now)
{
	struct sr_member *member = port->member;
	struct rte_mbuf *pkts[SR_BURST];
	unsigned done = 0, n;
	int got;

	if (unlikely(port->broken))
		return 0;
	port->lane->now = now;
	port->drained = false;
	n = budget(port, now);
	if (likely(n)) {
		got = member->ops.receive(member->arg, port->index, pkts, n);
		if (unlikely(got < 0)) {
			sr_port_break(port);
			return 0;
		}
		port->drained = (unsigned)got < n;
		if (got) {
			forward_burst(port, pkts, (unsigned)got);
			sr_lane_flush(port->lane);
			if (member->ops.flush)
				member->ops.flush(member->arg, port->index);
			done = (unsigned)got;
		}
	}
	if (sr_outlet_busy(port->out))
		done += sr_outlet_drain(port->out, now);
	return done;
}
