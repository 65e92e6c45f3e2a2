/* SPDX-License-Identifier: MIT */
#include "tap.h"

#include <errno.h>
#include <stdlib.h>

#include "impl.h"

static bool wants(const struct sr_tap *tap, const struct sr_member_port *port)
{
	uint64_t id = port->member->capture_id;

	return id && (id & tap->mask) == tap->want;
}

static void copy(uint8_t *to, const struct rte_mbuf *pkt, uint32_t left)
{
	for (; left; pkt = pkt->next) {
		uint32_t n = RTE_MIN(left, (uint32_t)pkt->data_len);

		memcpy(to, rte_pktmbuf_mtod(pkt, const uint8_t *), n);
		to += n;
		left -= n;
	}
}

static struct sr_capture_record *add(struct sr_tap *tap, uint64_t now,
				     const struct sr_member_port *port, bool in,
				     const struct rte_mbuf *pkt)
{
	struct sr_capture_record *record = sr_capture_begin(&tap->w, pkt->pkt_len);

	if (!record)
		return NULL;
	record->queue = (uint16_t)port->index;
	record->from_guest = in;
	record->drop = 0;
	record->id = port->member->capture_id;
	record->time = now + tap->realtime;
	copy(record->data, pkt, record->captured);
	return record;
}

void sr_tap_in(const struct sr_member_port *port, const struct rte_mbuf *pkt)
{
	for (struct sr_tap *tap = port->lane->taps; tap; tap = tap->next) {
		if (!wants(tap, port))
			continue;
		tap->fate = add(tap, port->lane->now, port, true, pkt);
		sr_capture_count(&tap->w, port->member->capture_id, 1, !tap->fate);
	}
}

void sr_tap_publish(struct sr_lane *lane)
{
	for (struct sr_tap *tap = lane->taps; tap; tap = tap->next)
		sr_capture_publish(&tap->w);
}

/*
 * Once they are sent they are gone, and before that nobody knows how many will be: all are copied,
 * and what the member did not take is taken back.
 */
void sr_tap_offer(const struct sr_member_port *port, struct rte_mbuf *const *pkts, unsigned n)
{
	for (struct sr_tap *tap = port->lane->taps; tap; tap = tap->next) {
		if (!wants(tap, port))
			continue;
		tap->start = tap->w.head;
		for (unsigned i = 0; i < n; i++) {
			tap->records[i] = add(tap, port->lane->now, port, false, pkts[i]);
			tap->ends[i] = tap->w.head;
		}
	}
}

void sr_tap_took(const struct sr_member_port *port, unsigned n, const uint8_t *fates)
{
	for (struct sr_tap *tap = port->lane->taps; tap; tap = tap->next) {
		uint64_t missed = 0;

		if (!wants(tap, port))
			continue;
		sr_capture_rewind(&tap->w, n ? tap->ends[n - 1] : tap->start);
		if (!n)
			continue;
		for (unsigned i = 0; i < n; i++) {
			if (tap->records[i])
				tap->records[i]->drop = fates[i];
			else
				missed++;
		}
		sr_capture_count(&tap->w, port->member->capture_id, n, missed);
		sr_capture_publish(&tap->w);
	}
}

void sr_tap_drop(struct sr_lane *lane, const struct sr_member_port *port, bool in,
		 enum sr_net_drop reason, const struct rte_mbuf *pkt)
{
	for (struct sr_tap *tap = lane->taps; tap; tap = tap->next) {
		struct sr_capture_record *record;

		if (!wants(tap, port))
			continue;
		/* Of what a member sent there is a record already, or it is missed. */
		record = in ? tap->fate : add(tap, lane->now, port, false, pkt);
		if (record)
			record->drop = (uint8_t)(1 + reason);
		if (in)
			continue;
		sr_capture_count(&tap->w, port->member->capture_id, 1, !record);
		sr_capture_publish(&tap->w);
	}
}

/* --- coming and going ---------------------------------------------------------------------------
 */

struct sr_fabric_capture {
	struct sr_fabric *fabric;
	struct sr_tap taps[];
};

struct tap_call {
	struct sr_lane *lane;
	struct sr_tap *tap;
};

static void tap_lane(void *arg)
{
	struct tap_call *call = arg;

	call->tap->next = call->lane->taps;
	call->lane->taps = call->tap;
}

static void untap_lane(void *arg)
{
	struct tap_call *call = arg;
	struct sr_tap **at = &call->lane->taps;

	while (*at != call->tap)
		at = &(*at)->next;
	*at = call->tap->next;
	sr_capture_publish(&call->tap->w);
}

static void call_lanes(struct sr_fabric_capture *c, void (*fn)(void *arg))
{
	for (unsigned i = 0; i < c->fabric->count; i++) {
		struct tap_call call = { .lane = &c->fabric->lanes[i], .tap = &c->taps[i] };

		c->fabric->host->call(call.lane, fn, &call);
	}
}

int sr_fabric_capture(struct sr_fabric *fabric, const struct sr_capture_config *config,
		      struct sr_fabric_capture **out)
{
	struct sr_fabric_capture *c = calloc(1, sizeof(*c) + fabric->count * sizeof(c->taps[0]));
	struct timespec now;

	if (!c)
		return -ENOMEM;
	clock_gettime(CLOCK_REALTIME, &now);
	c->fabric = fabric;
	for (unsigned i = 0; i < fabric->count; i++) {
		struct sr_tap *tap = &c->taps[i];

		sr_capture_writer_init(&tap->w, config->rings + i * config->ring_bytes,
				       config->ring_size, config->snaplen);
		tap->want = config->want;
		tap->mask = config->mask;
		tap->realtime = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec -
				fabric->host->now(fabric);
	}
	call_lanes(c, tap_lane);
	*out = c;
	return 0;
}

void sr_fabric_capture_end(struct sr_fabric_capture *c)
{
	if (!c)
		return;
	call_lanes(c, untap_lane);
	free(c);
}
