/* SPDX-License-Identifier: MIT */
#include "impl.h"

#include <string.h>

#include <rte_ether.h>
#include <rte_hash_crc.h>

/* --- output queues ------------------------------------------------------------------------------
 */

static bool port_served(const struct sr_member_port *port)
{
	return !port->broken && __atomic_load_n(&port->member->up, __ATOMIC_RELAXED);
}

static void discard(struct sr_outlet *out, enum sr_net_drop reason)
{
	while (out->count) {
		struct rte_mbuf *pkt = out->packets[out->head++ & out->mask];

		out->count--;
		out->held[pkt->port]--;
		sr_port_drop(out->port, false, reason, pkt);
	}
}

/*
 * The guest takes nothing: what waits would only be memory that it holds. From now on its link is
 * as good as down.
 */
static void stall(struct sr_outlet *out)
{
	struct sr_member_port *port = out->port;

	discard(out, SR_NET_DROP_NO_SLOTS);
	if (!port->member->ops.stalled || out->stalled)
		return;
	__atomic_store_n(&out->stalled, true, __ATOMIC_RELAXED);
	sr_stat_add(&port->stats.stalls, 1);
	port->member->ops.stalled(port->member->arg, port->index, true);
	/* So that it asks for room. */
	out->lane->fabric->host->blocked(out);
}

/* Is there room again? */
static bool revive(struct sr_outlet *out)
{
	struct sr_member_port *port = out->port;

	if (!port->member->ops.arm_send(port->member->arg, port->index))
		return false;
	__atomic_store_n(&out->stalled, false, __ATOMIC_RELAXED);
	port->member->ops.stalled(port->member->arg, port->index, false);
	return true;
}

/*
 * A source gets no more of the queue than is free: alone it may fill half, two a third each, and
 * there is always room for one that comes late.
 */
static void put(struct sr_outlet *out, struct rte_mbuf *pkt)
{
	struct sr_member_port *port = out->port;
	struct sr_lane *lane = out->lane;

	if (unlikely(!port_served(port))) {
		sr_port_drop(port, false, SR_NET_DROP_NO_PORT, pkt);
		return;
	}
	if (out->count && lane->now - out->progress > lane->fabric->stall_ns)
		stall(out);
	if (unlikely(out->stalled)) {
		sr_port_drop(port, false, SR_NET_DROP_NO_SLOTS, pkt);
		return;
	}
	if (out->count == 0)
		out->progress = lane->now;
	if (out->held[pkt->port] >= out->mask + 1 - out->count) {
		sr_port_drop(port, false, SR_NET_DROP_BUSY, pkt);
		return;
	}
	out->held[pkt->port]++;
	out->packets[(out->head + out->count++) & out->mask] = pkt;
	if (!out->touched) {
		out->touched = true;
		out->next_touched = lane->touched;
		lane->touched = out;
	}
}

/* send() while somebody captures: what the member takes and drops is told apart. */
static int send_tapped(struct sr_member_port *port, struct rte_mbuf **pkts, unsigned n)
{
	const struct sr_member_ops *ops = &port->member->ops;
	uint8_t fates[SR_BURST] = { 0 };
	int sent;

	sr_tap_offer(port, pkts, n);
	if (ops->note_drops)
		ops->note_drops(port->member->arg, port->index, fates);
	sent = ops->send(port->member->arg, port->index, pkts, n);
	if (ops->note_drops)
		ops->note_drops(port->member->arg, port->index, NULL);
	sr_tap_took(port, sent > 0 ? (unsigned)sent : 0, fates);
	return sent;
}

/* One send(), of what lies in one piece. Returns how many went. */
static unsigned send_some(struct sr_outlet *out)
{
	struct sr_member_port *port = out->port;
	uint16_t sources[SR_BURST];
	uint64_t bytes[SR_BURST], sum = 0;
	uint32_t at = out->head & out->mask;
	unsigned n = RTE_MIN(RTE_MIN(out->count, out->mask + 1 - at), SR_BURST);
	int sent;

	/* Whose they are: of those that are sent nothing is left to ask. */
	for (unsigned i = 0; i < n; i++) {
		sources[i] = out->packets[at + i]->port;
		bytes[i] = out->packets[at + i]->pkt_len;
	}
	sent = likely(!out->lane->taps)
		   ? port->member->ops.send(port->member->arg, port->index, out->packets + at, n)
		   : send_tapped(port, out->packets + at, n);
	if (unlikely(sent < 0)) {
		sr_port_break(port);
		return 0;
	}
	for (int i = 0; i < sent; i++) {
		out->held[sources[i]]--;
		sum += bytes[i];
	}
	out->head += (unsigned)sent;
	out->count -= (unsigned)sent;
	sr_stat_add(&port->stats.out.packets, (uint64_t)sent);
	sr_stat_add(&port->stats.out.bytes, sum);
	return (unsigned)sent;
}

unsigned sr_outlet_drain(struct sr_outlet *out, uint64_t now)
{
	struct sr_member_port *port = out->port;
	unsigned sent, total = 0;

	/* put() compares: what it does next may be by mail, which has no clock of its own. */
	out->lane->now = now;
	if (unlikely(out->stalled))
		return !port->broken && revive(out);
	while (out->count && !port->broken) {
		sent = send_some(out);
		total += sent;
		if (!sent)
			break;
	}
	/* Nobody may ever ask again for a queue that takes nothing: what waits is not kept. */
	if (!total && out->count && now - out->progress > out->lane->fabric->stall_ns)
		stall(out);
	if (total) {
		out->progress = now;
		if (port->member->ops.flush)
			port->member->ops.flush(port->member->arg, port->index);
	}
	return total;
}

void sr_port_break(struct sr_member_port *port)
{
	if (port->broken)
		return;
	port->broken = true;
	if (port->out)
		discard(port->out, SR_NET_DROP_NO_PORT);
	if (port->member->ops.broken)
		port->member->ops.broken(port->member->arg, port->index);
}

/* --- from lane to lane --------------------------------------------------------------------------
 */

/* Hands over what was staged for another lane; what finds no room is dropped. */
static void push(struct sr_lane *lane, unsigned to)
{
	struct sr_lane *other = &lane->fabric->lanes[to];
	struct sr_lane_ring *ring = other->from[lane->index];
	/* Acquire: the reader has done with the slots (sr_lane_poll). */
	uint32_t head = ring->head, tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
	unsigned count = lane->stage[to].count, i;

	for (i = 0; i < count && head - tail < SR_LANE_RING; i++)
		ring->packets[head++ % SR_LANE_RING] = lane->stage[to].packets[i];
	/* Release: the slots are written before the reader looks (sr_lane_poll). */
	__atomic_store_n(&ring->head, head, __ATOMIC_RELEASE);
	for (; i < count; i++) {
		struct sr_lane_packet *p = &lane->stage[to].packets[i];

		/* The one counter that is not its lane's alone. */
		__atomic_add_fetch(&p->to->port->stats.crowded, 1, __ATOMIC_RELAXED);
		if (unlikely(lane->taps))
			sr_tap_drop(lane, p->to->port, false, SR_NET_DROP_BUSY, p->pkt);
		rte_pktmbuf_free(p->pkt);
	}
	lane->stage[to].count = 0;
	/* Pairs with the one in sr_lane_arm(): it sees the packets, or we see it sleep. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&other->asleep, __ATOMIC_RELAXED) &&
	    __atomic_exchange_n(&other->asleep, 0, __ATOMIC_RELAXED))
		lane->fabric->host->wake(other);
}

static void stage(struct sr_lane *lane, struct sr_outlet *out, struct rte_mbuf *pkt)
{
	unsigned to = out->lane->index;

	lane->stage[to].packets[lane->stage[to].count++] = (struct sr_lane_packet){ pkt, out };
	if (lane->stage[to].count == SR_LANE_STAGE)
		push(lane, to);
}

void sr_lane_flush(struct sr_lane *lane)
{
	while (lane->touched) {
		struct sr_outlet *out = lane->touched;

		lane->touched = out->next_touched;
		out->touched = false;
		sr_outlet_drain(out, lane->now);
		if (out->count)
			lane->fabric->host->blocked(out);
	}
	for (unsigned i = 0; i < lane->fabric->count; i++)
		if (lane->stage[i].count)
			push(lane, i);
}

unsigned sr_lane_poll(struct sr_lane *lane, uint64_t now)
{
	unsigned total = 0;

	lane->now = now;
	for (unsigned i = 0; i < lane->fabric->count; i++) {
		struct sr_lane_ring *ring = lane->from[i];
		uint32_t tail, head;

		if (!ring)
			continue;
		tail = ring->tail;
		/* Acquire and release: the writer's counterparts are in push(). */
		head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE);
		if (head - tail > SR_LANE_BURST)
			head = tail + SR_LANE_BURST;
		for (; tail != head; tail++, total++) {
			struct sr_lane_packet *p = &ring->packets[tail % SR_LANE_RING];

			put(p->to, p->pkt);
		}
		__atomic_store_n(&ring->tail, tail, __ATOMIC_RELEASE);
	}
	if (total)
		sr_lane_flush(lane);
	return total;
}

bool sr_lane_arm(struct sr_lane *lane)
{
	__atomic_store_n(&lane->asleep, 1, __ATOMIC_RELAXED);
	/* Pairs with the one in push(). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < lane->fabric->count; i++) {
		struct sr_lane_ring *ring = lane->from[i];

		if (ring && __atomic_load_n(&ring->head, __ATOMIC_RELAXED) != ring->tail) {
			__atomic_store_n(&lane->asleep, 0, __ATOMIC_RELAXED);
			return true;
		}
	}
	return false;
}

/* --- to a member --------------------------------------------------------------------------------
 */

/* Packets of one flow take one queue, so that they stay in order. */
static uint32_t flow_hash(const struct rte_mbuf *pkt)
{
	uint8_t key[48] = { 0 };
	uint32_t len = RTE_MIN(pkt->data_len, (uint32_t)sizeof(key));
	const uint8_t *p = rte_pktmbuf_mtod(pkt, const uint8_t *);

	if (pkt->ol_flags & RTE_MBUF_F_RX_RSS_HASH)
		return pkt->hash.rss;
	/* Addresses and ports, of IPv4 as of IPv6; lengths, checksums and identifiers differ. */
	memcpy(key, p, RTE_MIN(len, 12u));
	if (len >= 38 && p[12] == 0x08 && p[13] == 0) {
		memcpy(key + 12, p + 26, 8);
		if ((p[14] & 15) == 5 && !((p[20] & 0x3f) | p[21]))
			memcpy(key + 20, p + 34, RTE_MIN(len - 34, 4u));
	} else if (len == sizeof(key) && p[12] == 0x86 && p[13] == 0xdd) {
		memcpy(key + 12, p + 22, 26);
	}
	return rte_hash_crc(key, sizeof(key), 0);
}

static unsigned pick(const struct sr_lane *lane, const struct sr_member *to,
		     const struct rte_mbuf *pkt)
{
	if (to->queue_count == 1)
		return 0;
	if (to->ops.pick)
		return to->ops.pick(to->arg, pkt) % to->queue_count;
	if (to->local[lane->index] != SR_NO_QUEUE)
		return to->local[lane->index];
	return flow_hash(pkt) % to->queue_count;
}

void sr_lane_deliver(struct sr_lane *lane, struct sr_member *to, struct rte_mbuf *pkt)
{
	struct sr_outlet *out = to->ports[pick(lane, to, pkt)].out;

	if (likely(out->lane == lane))
		put(out, pkt);
	else
		stage(lane, out, pkt);
}
