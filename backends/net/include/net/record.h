/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_RECORD_H
#define SR_NET_RECORD_H

/*
 * What a vif needs to go on after its process was killed, in memory that outlives it
 * (<common/keep.h>). Whoever connects a vif keeps one sr_netif_record and one sr_netq_record a
 * queue, zeroed for a new connection, together with the negotiated nodes, which are not here.
 *
 * tx needs nothing: a request without a published response is taken again, where a kill came
 * between passing a packet on and answering it the packet is sent twice, as a network may.
 *
 * rx: a response overwrites its request, so requests are copied here before the first of their
 * batch is answered:
 *
 *	1. rx[i % 256] := the request with index i    for each of the batch
 *	2. rx_taken := behind the last of them        from now on the ring's copy isn't needed
 *	3. responses into ring slots below rx_taken
 *	4. shared rsp_prod                            the one store by which the guest learns
 *
 *	The next process begins at the shared rsp_prod. Requests from there to rx_taken are taken
 *	from here, later ones from the ring. An rsp_prod that a guest faked only changes which of
 *	its own requests get an answer; a distance to rx_taken above the ring's size is refused.
 *	A process that is killed has done a prefix of its stores: only the compiler must keep order.
 *
 * The rest is configuration that the guest set by messages, which can't be asked for again.
 */

#include <stdint.h>

#include <net/limits.h>

struct sr_netq_gref {
	uint32_t ref;
	uint32_t flags; /* SR_NETQ_GREF_* */
};

enum {
	SR_NETQ_GREF_USED = 1u << 0,
	SR_NETQ_GREF_READ_ONLY = 1u << 1,
};

struct sr_netq_record {
	uint32_t rx_valid; /* 1: rx_taken counts */
	uint32_t rx_taken;
	struct {
		uint32_t id, gref;
	} rx[256];
	/* Static mappings, in the places that the queue's table has them; changed entry by entry.
	 */
	struct sr_netq_gref grefs[SR_NET_GREF_TABLE];
};

struct sr_netif_record {
	uint32_t hash_algorithm, hash_flags; /* XEN_NETIF_CTRL_HASH_* */
	uint8_t hash_key[SR_NET_HASH_KEY];
	uint32_t hash_mapping_size;
	uint32_t hash_mapping[SR_NET_HASH_MAPPING];
	uint64_t multicast[SR_NET_MULTICAST]; /* 1 << 48 | address, 0: free */
};

#endif
