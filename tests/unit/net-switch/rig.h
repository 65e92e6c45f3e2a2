/* SPDX-License-Identifier: MIT */
#ifndef TESTS_NET_SWITCH_RIG_H
#define TESTS_NET_SWITCH_RIG_H

/*
 * A fabric whose lanes are run by the test, and members in memory. A member gives the switch what
 * the test has put into it, and keeps what it is given, up to its room.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "impl.h"
#include "packets.h"

#define RIG_DEPTH 4096u

struct rig_queue {
	struct rte_mbuf *in[RIG_DEPTH], *out[RIG_DEPTH];
	unsigned in_count, out_count, room;
};

struct rig_member {
	struct sr_member *member;
	uint8_t mac[6];
	unsigned queues;
	struct rig_queue *queue;
	unsigned calls; /* of receive() */
	unsigned asked; /* the most that one receive() asked for */
	int fails;      /* what receive() returns, where it is below 0 */
	unsigned broken;
	bool deaf; /* wants no multicast */
	uint8_t *fates;
	unsigned drops; /* 1 + why every other packet of a burst is dropped, 0: none is */
	unsigned stalls, revivals;
};

extern struct rte_mempool *rig_pool;
extern struct sr_fabric *rig_fabric;
extern struct sr_switch *rig_switch;
extern uint64_t rig_now; /* ns */

/* If set: called when a member was given packets. */
extern void (*rig_sent)(struct rig_member *to);

/* Group set-up: EAL and the pool. */
int rig_start(void **state);
/* A test's set-up and tear-down: a fabric of one lane (or rig_lanes) and a switch; at the end every
 * packet must be back. */
extern unsigned rig_lanes;
int rig_set_up(void **state);
int rig_tear_down(void **state);

/* A vif with the address 02:00:00:00:00:`number`, with `room` for all; `change` may be NULL. */
struct rig_member *rig_vif(unsigned number, void (*change)(struct sr_member_config *config));
struct rig_member *rig_add(unsigned number, const struct sr_member_config *config);
void rig_remove(struct rig_member *m);

/* A packet that the member is going to send. */
struct rte_mbuf *rig_send(struct rig_member *from, const uint8_t dst[6], const uint8_t src[6]);
void rig_give(struct rig_member *from, unsigned queue, struct rte_mbuf *pkt);

/* One round of all queues and lanes; until nothing moves. */
unsigned rig_round(void);
void rig_run(void);

/* Frees what the member has got; how many there were. */
unsigned rig_take(struct rig_member *m);
uint64_t rig_drops(const struct rig_member *m, bool in, enum sr_net_drop reason);

extern const uint8_t rig_broadcast[6];

#endif
