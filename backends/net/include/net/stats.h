/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_STATS_H
#define SR_NET_STATS_H

/*
 * Counters of one queue of a vif. As in <common/stats.h>: the queue's thread alone writes them, any
 * thread may read them, and they never go down while the queue lives. Directions are the guest's:
 * tx is what it sent.
 */

#include <stdint.h>

#include <common/stats.h>

/* Why a packet was not passed on. Each packet that is lost is counted in exactly one. */
enum sr_net_drop {
	SR_NET_DROP_MALFORMED, /* sizes, offsets, too many slots, unknown extra info */
	SR_NET_DROP_GRANT,     /* a reference that can't be copied */
	SR_NET_DROP_CHECKSUM,  /* blank checksum, and headers that don't say where it is */
	SR_NET_DROP_GSO,       /* segmentation asked for that makes no sense or can't be done */
	SR_NET_DROP_TOO_BIG,   /* the guest can't take a packet of that size */
	SR_NET_DROP_MEMORY,    /* no mbuf */
	SR_NET_DROP_NO_SLOTS,  /* the guest gave no room in time */
	SR_NET_DROP_FILTER,    /* by the guest's multicast list, or anti-spoofing */
	SR_NET_DROP_RATE,      /* above the vif's rate */
	SR_NET_DROP_NO_PORT,   /* nobody to pass it to: the link is down, no such member */
	SR_NET_DROP_BUSY,      /* who should take it had no room */
	SR_NET_DROPS,
};

struct sr_net_direction {
	uint64_t packets, bytes; /* passed on; bytes of Ethernet frames without FCS */
	uint64_t drops[SR_NET_DROPS];
	uint64_t requests;          /* slots of the ring used up */
	uint64_t batches;           /* times that packets were taken or given */
	uint64_t copies;            /* pieces copied by grant */
	uint64_t mapped;            /* pieces copied through static mappings */
	uint64_t gso;               /* packets that are to be segmented */
	uint64_t checksums;         /* packets whose checksum is blank */
	uint64_t software;          /* packets whose checksum or segments we made ourselves */
	uint64_t events_sent;       /* to the frontend */
	uint64_t events_suppressed; /* batches that needed none */
};

struct sr_net_stats {
	struct sr_net_direction tx, rx;
	uint64_t multicast_changes; /* additions to and removals from the guest's list */
	uint64_t broken;            /* 1: the guest broke the protocol, the vif was stopped */
	uint64_t recovered;         /* rx requests taken over from a process that died */
};

/* A short name, for tables and JSON: "malformed". */
const char *sr_net_drop_name(enum sr_net_drop reason);

/* Adds what `from` says now to `sum`. */
void sr_net_stats_add(struct sr_net_stats *sum, const struct sr_net_stats *from);

#endif
