/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_SWITCH_TAP_H
#define SR_NET_SWITCH_TAP_H

/*
 * Copies of packets for captures, one tap a lane and capture. A lane that has none pays a branch a
 * burst or a dropped packet. All of it is the lane's.
 */

#include <capture/ring.h>
#include <net/stats.h>
#include <stdint.h>

#define SR_TAP_BURST 32u

struct rte_mbuf;
struct sr_lane;
struct sr_member_port;

struct sr_tap {
	struct sr_tap *next;
	struct sr_capture_writer w;
	uint64_t want, mask; /* of members: (capture_id & mask) == want */
	uint64_t realtime;   /* added to the lane's clock */
	/* The packet from a member that was copied last: its fate is not known yet. */
	struct sr_capture_record *fate;
	/* A burst on its way to a member: each one's record, or NULL, and where that ended. */
	uint64_t start, ends[SR_TAP_BURST];
	struct sr_capture_record *records[SR_TAP_BURST];
};

/* A packet that a member has sent. If it is dropped sr_tap_drop() says so next. */
void sr_tap_in(const struct sr_member_port *port, const struct rte_mbuf *pkt);
/* All that was begun is seen by the readers. */
void sr_tap_publish(struct sr_lane *lane);

/*
 * Before and after a burst is offered to a member: how many of them it took, and what became of
 * each: 0, or 1 + enum sr_net_drop. n <= SR_TAP_BURST.
 */
void sr_tap_offer(const struct sr_member_port *port, struct rte_mbuf *const *pkts, unsigned n);
void sr_tap_took(const struct sr_member_port *port, unsigned n, const uint8_t *fates);

/* A packet is dropped, from (`in`) or to a member. `lane`: who does it. */
void sr_tap_drop(struct sr_lane *lane, const struct sr_member_port *port, bool in,
		 enum sr_net_drop reason, const struct rte_mbuf *pkt);

#endif
