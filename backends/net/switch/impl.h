/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_SWITCH_IMPL_H
#define SR_NET_SWITCH_IMPL_H

/*
 * What the files of the switch share.
 *
 *   run.c      the threads: sources of the reactor, events, timers (the only file that knows them)
 *   switch.c   control: switches, members, their coming and going
 *   forward.c  a burst from a member, to where its packets go
 *   lane.c     output queues, and queues from lane to lane
 *   tap.c      copies for captures
 */

#include <common/stats.h>
#include <net/switch.h>
#include <rte_mbuf.h>

#include "fdb.h"
#include "rate.h"
#include "tap.h"

#define SR_LANE_RING  1024u /* packets from one lane to another; a power of two */
#define SR_LANE_BURST 64u   /* of them that are taken at once, from each lane */
#define SR_LANE_STAGE 32u
#define SR_BURST      32u
#define SR_NO_QUEUE   0xffu

struct sr_member_port;
struct sr_lane_source;

/* --- lanes --------------------------------------------------------------------------------------
 */

struct sr_lane_packet {
	struct rte_mbuf *pkt;
	struct sr_outlet *to;
};

/* One lane writes, one reads. */
struct sr_lane_ring {
	uint32_t head __attribute__((aligned(64))); /* the writer's */
	uint32_t tail __attribute__((aligned(64))); /* the reader's */
	struct sr_lane_packet packets[SR_LANE_RING] __attribute__((aligned(64)));
};

struct sr_lane {
	struct sr_fabric *fabric;
	unsigned index, load;      /* load: queues that it serves */
	uint64_t now;              /* ns, of the round */
	struct sr_outlet *touched; /* have packets to send, until sr_lane_flush() */
	struct sr_tap *taps;       /* NULL: nobody captures */
	struct {
		unsigned count;
		struct sr_lane_packet packets[SR_LANE_STAGE];
	} stage[SR_FABRIC_MAX_LANES];                   /* for the other lanes */
	struct sr_lane_ring *from[SR_FABRIC_MAX_LANES]; /* from the other lanes */
	uint32_t asleep;
	struct sr_lane_source *source; /* run.c's */
} __attribute__((aligned(64)));

/* Whoever runs the lanes: run.c, or a test. */
struct sr_fabric_host {
	uint64_t (*now)(const struct sr_fabric *fabric); /* ns, of the lanes' clock */
	/* Runs fn(arg) in the lane's thread and waits for it. */
	void (*call)(struct sr_lane *lane, void (*fn)(void *arg), void *arg);
	/* From any thread: the lane sleeps and should not. */
	void (*wake)(struct sr_lane *lane);
	/* In the lane: this queue holds packets that the member had no room for. */
	void (*blocked)(struct sr_outlet *out);
	/* In the lane: begin and end to serve the queue. */
	int (*start)(struct sr_member_port *port);
	void (*stop)(struct sr_member_port *port);
	/* In the control thread, when nobody has the queue any more, started or not. */
	void (*free)(struct sr_member_port *port);
};

struct sr_fabric {
	const struct sr_fabric_host *host;
	unsigned count;
	unsigned queue_size, age_s;
	uint64_t stall_ns;
	struct sr_lane *lanes;
	struct sr_switch **switches;
	size_t switch_count;
};

int sr_fabric_create(const struct sr_fabric_host *host, unsigned lanes,
		     const struct sr_fabric_options *options, struct sr_fabric **fabric);
void sr_fabric_destroy(struct sr_fabric *fabric);

/* --- members ------------------------------------------------------------------------------------
 */

/* Packets that wait for one queue of a member. Its lane's, but for what is marked. */
struct sr_outlet {
	struct sr_member_port *port;
	struct sr_lane *lane;
	struct sr_outlet *next_touched;
	bool touched;
	bool stalled; /* atomic, its lane writes: it keeps nothing until there is room */
	uint32_t head, count, mask;
	uint64_t progress; /* ns: when the member last took one, or the first began to wait */
	uint16_t held[SR_SWITCH_MAX_MEMBERS + 1]; /* how many of them, by source */
	struct rte_mbuf *packets[];
};

/* One queue of a member, both ways. */
struct sr_member_port {
	struct sr_member *member;
	unsigned index;
	struct sr_lane *lane;
	unsigned burst; /* packets to take at once: fewer while they are flooded */
	bool broken, limited;
	bool drained; /* the last receive() gave less than it was asked for */
	bool started; /* the control thread's */
	struct sr_outlet *out;
	void *source; /* run.c's */
	struct sr_member_queue config;
	struct sr_member_stats stats; /* the lane writes */
} __attribute__((aligned(64)));

struct sr_member {
	struct sr_switch *sw;
	struct sr_member_ops ops;
	void *arg;
	char *name;
	uint16_t id;
	bool up; /* atomic */
	bool uplink, check_mac, no_send_events;
	uint64_t address; /* sr_fdb_address(); 0: none */
	uint64_t capture_id;
	uint32_t learn_max, frame_max;
	struct sr_member_address *addresses;
	unsigned address_count;
	struct sr_rate rate;
	uint8_t local[SR_FABRIC_MAX_LANES]; /* its queue in each lane, or SR_NO_QUEUE */
	unsigned queue_count;
	struct sr_member_port *ports;
};

/* A list that is replaced as a whole; lanes see one or the other. */
struct sr_members {
	unsigned count;
	struct sr_member *list[];
};

struct sr_switch {
	struct sr_fabric *fabric;
	char *name;
	struct sr_fdb *fdb;
	struct sr_members *members;                         /* atomic */
	struct sr_member *by_id[SR_SWITCH_MAX_MEMBERS + 1]; /* atomic */
};

/* --- in the lane --------------------------------------------------------------------------------
 */

/* Takes a burst from the member and passes it on. Returns how much was done. */
unsigned sr_port_poll(struct sr_member_port *port, uint64_t now);

/* For a member, by the queue it picks; takes the packet. */
void sr_lane_deliver(struct sr_lane *lane, struct sr_member *to, struct rte_mbuf *pkt);
/* Sends what the calls before have left: to members of this lane, and to other lanes. */
void sr_lane_flush(struct sr_lane *lane);
/* Takes what other lanes have sent. Returns how many. */
unsigned sr_lane_poll(struct sr_lane *lane, uint64_t now);
/* Says that the lane is going to sleep. True: there is something already. */
bool sr_lane_arm(struct sr_lane *lane);

/* Is there something to send, or to wait for? */
static inline bool sr_outlet_busy(const struct sr_outlet *out)
{
	return out->count || unlikely(__atomic_load_n(&out->stalled, __ATOMIC_RELAXED));
}
/*
 * Sends what waits, as far as there is room. Returns how many went. Only if sr_outlet_busy(): also
 * ends a stall.
 */
unsigned sr_outlet_drain(struct sr_outlet *out, uint64_t now);
/* The member's queue has failed. */
void sr_port_break(struct sr_member_port *port);

static inline void sr_port_drop(struct sr_member_port *port, bool in, enum sr_net_drop reason,
				struct rte_mbuf *pkt)
{
	sr_stat_add(in ? &port->stats.in.drops[reason] : &port->stats.out.drops[reason], 1);
	if (unlikely(port->lane->taps))
		sr_tap_drop(port->lane, port, in, reason, pkt);
	rte_pktmbuf_free(pkt);
}

#endif
