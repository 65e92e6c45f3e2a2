/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_SWITCH_H
#define SR_NET_SWITCH_H

/*
 * The switches between vifs and uplinks: a learning Ethernet bridge for each name that a vif line
 * has in bridge=.
 *
 *   fabric   the threads that move packets (each is a lane), and the queues between them
 *   switch   one bridge: its members, and which address is behind which of them
 *   member   a vif or an uplink: its queues, each served by one lane
 *
 * Packets are what <net/queue.h> says. Nothing is computed between two members: what one leaves to
 * be done (a checksum, segments) the other passes on or finishes. VLAN tags are carried, never
 * looked into; addresses are learned without regard to them. What 802.1D reserves for bridges
 * themselves (01-80-C2-00-00-0x) is not forwarded. A packet for several members is one packet with
 * several owners, and nobody writes to it.
 *
 * Each output queue is bounded, and one source gets no more of it than is left for the others:
 * whatever one guest floods, another's packets find room. What finds none is dropped and counted at
 * the queue that it was for. Each source is polled in turn with a budget, in which each copy of a
 * flooded packet counts.
 *
 * Threads: what is marked "lane" is called by the thread of that lane alone; all else by the
 * control thread. No lane ever waits for another, or for the control thread. Errors: 0 or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/stats.h>

struct rte_ether_addr;
struct rte_mbuf;
struct rte_mempool;
struct sr_fabric;
struct sr_member;
struct sr_port;
struct sr_port_registry;
struct sr_switch;
struct sr_thread;

#define SR_FABRIC_MAX_LANES   16u
#define SR_SWITCH_MAX_MEMBERS 1023u
#define SR_MEMBER_MAX_QUEUES  64u

/* --- fabric -------------------------------------------------------------------------------------
 */

struct sr_fabric_options {
	unsigned queue_size; /* packets that wait for one queue: a power of two; 0: 512 */
	unsigned age_s;      /* how long an address is remembered; 0: 300 */
	unsigned stall_ms;   /* a queue that takes nothing for so long loses what waits; 0: 1000 */
};

/*
 * Takes the threads (<common/reactor.h>), which outlive the fabric, as its lanes, and registers
 * them with DPDK, which has been started (<ports/eal.h>). `options` may be NULL.
 */
int sr_fabric_new(struct sr_thread *const *threads, unsigned count,
		  const struct sr_fabric_options *options, struct sr_fabric **fabric);
/* After all its switches. NULL is allowed. */
void sr_fabric_free(struct sr_fabric *fabric);
unsigned sr_fabric_lanes(const struct sr_fabric *fabric);
/* The lane that serves the fewest queues now: where the next one should go. */
unsigned sr_fabric_quietest(const struct sr_fabric *fabric);
/* How many queues it serves. */
unsigned sr_fabric_load(const struct sr_fabric *fabric, unsigned lane);
struct sr_thread *sr_fabric_thread(const struct sr_fabric *fabric, unsigned lane);

/* --- switches -----------------------------------------------------------------------------------
 */

/* The switch of that name, made if there is none and `make`; or NULL (out of memory, or not there).
 */
struct sr_switch *sr_fabric_switch(struct sr_fabric *fabric, const char *name, bool make);
/* After all its members. NULL is allowed. */
void sr_switch_free(struct sr_switch *sw);
const char *sr_switch_name(const struct sr_switch *sw);
struct sr_fabric *sr_switch_fabric(const struct sr_switch *sw);

/* To list them; NULL after the last. */
struct sr_switch *sr_fabric_switch_at(const struct sr_fabric *fabric, size_t index);
struct sr_member *sr_switch_member_at(const struct sr_switch *sw, size_t index);

/* What it has learned, addresses of members included. Returns how many were written, up to max. */
struct sr_switch_address {
	uint8_t mac[6];
	bool fixed; /* a vif's own */
	unsigned age_s;
	const struct sr_member *member;
};
size_t sr_switch_addresses(struct sr_switch *sw, struct sr_switch_address *out, size_t max);

/* --- members ------------------------------------------------------------------------------------
 */

struct sr_member_ops {
	/*
	 * Lane of that queue. As sr_netq_receive() and sr_netq_send(): nobody else has what is
	 * received, since the switch notes in a packet whose it is.
	 */
	int (*receive)(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n);
	int (*send)(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n);
	/* Optional, for captures: as sr_netq_note_drops(). Around one send(). */
	void (*note_drops)(void *arg, unsigned queue, uint8_t *fates);
	/* True: there is something already, or room. As sr_netq_arm_receive(), _arm_send(). */
	bool (*arm_receive)(void *arg, unsigned queue);
	bool (*arm_send)(void *arg, unsigned queue);
	/* Optional: events that are due. Once after a batch of send() or receive(). */
	void (*flush)(void *arg, unsigned queue);
	/* Optional: receive() or send() has failed; the queue is not served any more. Once. */
	void (*broken)(void *arg, unsigned queue);

	/*
	 * Optional: the queue took nothing for sr_fabric_options.stall_ms while packets waited, so
	 * they were dropped, and later ones are until arm_send() says that there is room (`on`
	 * false). Without it only those that waited are dropped.
	 */
	void (*stalled)(void *arg, unsigned queue, bool on);

	/* Optional, any thread: the queue for a packet. Without it: the lane's own, or by hash. */
	unsigned (*pick)(const void *arg, const struct rte_mbuf *pkt);
	/* Optional, any thread: does it want multicast frames for this address? */
	bool (*wants)(const void *arg, const struct rte_ether_addr *to);
};

struct sr_member_queue {
	unsigned lane;
	/* Event channels bound at the lane's thread; the same: not split; 0: none. */
	uint32_t receive_port, send_port;
	int fd; /* readable when there is something to receive; -1: none */
};

/* An address a guest may send from. */
struct sr_member_address {
	bool v6;
	uint8_t bytes[16]; /* IPv4: the first four */
};

struct sr_member_config {
	const char *name;                /* copied */
	const struct sr_member_ops *ops; /* outlive the member, as does arg */
	void *arg;
	unsigned queue_count; /* 1 to SR_MEMBER_MAX_QUEUES */
	const struct sr_member_queue *queues;
	bool uplink;    /* may have any number of addresses behind it */
	uint8_t mac[6]; /* a vif's own: known from the start, and nobody else's; or zeroes */
	bool check_mac; /* drop what it sends from another address */
	/* Drop what it sends from another IP address (ARP and neighbour discovery included).
	 * Copied. */
	const struct sr_member_address *addresses;
	unsigned address_count; /* 0: no check */
	uint64_t capture_id;    /* of its packets in captures (<capture/ring.h>); 0: not in any */
	uint16_t mtu;           /* frames above it are not for this member; 0: any */
	/* What it may send, as xl's `rate` gives it; it is not read from beyond that. 0: any. */
	uint64_t rate_bytes;
	uint64_t rate_interval_us;
	bool down; /* its link, at first */
	/* No event tells when it has room again, so it is looked at every 10 ms while packets wait.
	 */
	bool no_send_events;
};

/* From its return on the ops are called. -EINVAL, -ENOSPC (too many members), -ENOMEM. */
int sr_member_add(struct sr_switch *sw, const struct sr_member_config *config,
		  struct sr_member **member);
/* None of the ops is called after its return. Packets on their way to it are freed. NULL: nothing.
 */
void sr_member_remove(struct sr_member *member);

const char *sr_member_name(const struct sr_member *member);
void *sr_member_arg(const struct sr_member *member); /* sr_member_config.arg */
unsigned sr_member_queue_count(const struct sr_member *member);
/* A link that is down gets nothing, and what it sends goes nowhere (counted as no-port). */
void sr_member_set_link(struct sr_member *member, bool up);
/* As sr_member_config.rate_bytes and _interval_us; begins anew. */
void sr_member_set_rate(struct sr_member *member, uint64_t bytes, uint64_t interval_us);
/* Is the link up, and at least one queue not stalled? */
bool sr_member_carrier(const struct sr_member *member);
/* Any thread, at any time: makes its lane look at the queue. */
void sr_member_wake(struct sr_member *member, unsigned queue);

/* What the switch counts at a queue. Readable from any thread; never goes down. */
struct sr_member_stats {
	struct {
		uint64_t packets, bytes;
		uint64_t drops[SR_NET_DROPS];
	} in, out;        /* from the member, to the member */
	uint64_t flooded; /* packets from it that went to more than one */
	uint64_t limited; /* times that it was not read from because of its rate */
	uint64_t stalls;  /* times that it took nothing for too long */
	uint64_t crowded; /* packets to it that found no room between two lanes */
};

const struct sr_member_stats *sr_member_stats(const struct sr_member *member, unsigned queue);

/* --- captures -----------------------------------------------------------------------------------
 */

struct sr_fabric_capture;

struct sr_capture_config {
	/* Zeroed memory for the rings of <capture/ring.h>, one a lane; it outlives the capture. */
	uint8_t *rings;
	size_t ring_bytes;  /* from one to the next; at least sr_capture_ring_bytes(ring_size) */
	uint64_t ring_size; /* of their data; a power of two, 4096 at least */
	uint32_t snaplen;
	uint64_t want, mask; /* of members with (capture_id & mask) == want */
};

/*
 * From its return on each packet from or to such a member is copied to its lane's ring, dropped
 * ones with the reason, or counted as missed where the ring is full. What the engine itself drops
 * was no packet yet, or is taken for sent.
 */
int sr_fabric_capture(struct sr_fabric *fabric, const struct sr_capture_config *config,
		      struct sr_fabric_capture **capture);
/* Nothing is written to the rings after its return. Before sr_fabric_free(). NULL is allowed. */
void sr_fabric_capture_end(struct sr_fabric_capture *capture);

/* --- uplinks ------------------------------------------------------------------------------------
 */

/*
 * Opens the uplink "driver:args" (<ports/ports.h>) with a queue for each lane, if it has so many,
 * and makes it a member. `pool` outlives it.
 */
int sr_switch_uplink(struct sr_switch *sw, const struct sr_port_registry *registry,
		     const char *uplink, uint16_t mtu, struct rte_mempool *pool,
		     struct sr_member **member, char *error, size_t error_size);
/* The port, for its link and its own counters; only of an uplink. */
struct sr_port *sr_switch_uplink_port(const struct sr_member *member);
/* Closes it: in place of sr_member_remove(). NULL is allowed. */
void sr_switch_uplink_close(struct sr_member *member);

#endif
