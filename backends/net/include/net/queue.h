/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_QUEUE_H
#define SR_NET_QUEUE_H

/*
 * One queue of a vif: a tx and an rx ring, to bursts of rte_mbuf and back. Whoever owns it (the
 * daemon's switch, the DPDK port net_xenback, a test) calls it; it has no thread and no timer.
 *
 * What a packet says of itself
 * ----------------------------
 * - pkt_len, data_len, nb_segs: an Ethernet frame without FCS, VLAN tags in place. Headers lie in
 *   the first segment of what the engine made.
 * - Blank checksum: RTE_MBUF_F_TX_TCP_CKSUM or _UDP_CKSUM, with RTE_MBUF_F_TX_IPV4 or _IPV6,
 *   l2_len (VLAN tags included) and l3_len (extension headers included). The field holds the
 *   pseudo-header's sum, length included. For IPv4 the header's own checksum is right.
 * - To be segmented: RTE_MBUF_F_TX_TCP_SEG as well, l4_len, tso_segsz (payload bytes a segment).
 * - Checksum known to be good: RTE_MBUF_F_RX_L4_CKSUM_GOOD.
 * - Hash: RTE_MBUF_F_RX_RSS_HASH and hash.rss.
 * sr_netq_receive() makes all of these from the guest's flags and extra info and checks them
 * against the headers; sr_netq_send() passes them to the guest, and besides takes RTE_MBUF_F_RX_LRO
 * with tso_segsz for segmentation. What a guest did not agree to is done in software; a packet
 * that others hold too is never written to.
 *
 * What a guest can do wrong
 * -------------------------
 * A packet that makes no sense is dropped, answered with NETIF_RSP_ERROR and counted
 * (enum sr_net_drop): a size below 14, fragments larger than the packet, bytes beyond a page, 19 or
 * 20 slots, extra info that nobody knows, headers or segmentation that contradict themselves,
 * grants that can't be used. A guest that breaks the framing is not served any more, -EPROTO: an
 * impossible index, a packet that ends beyond what was published, more than 20 slots, more than
 * SR_NET_MAX_EXTRAS extra infos. The queue stays as it is until sr_netq_detach().
 *
 * Events: the engine asks for them only by sr_netq_arm_*(), and sends at most one a flush.
 *
 * Threads: a queue belongs to one thread at a time. No call allocates (but mbufs), locks, or does a
 * system call a packet. Errors: 0 or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/limits.h>
#include <net/stats.h>

struct rte_mbuf;
struct rte_mempool;
struct sr_evtchn;
struct sr_gnttab;
struct sr_log_source;
struct sr_netif;
struct sr_netq;
struct sr_netq_record;

/* What the guest can receive. */
enum sr_net_feature {
	SR_NET_SG = 1u << 0,    /* packets of several slots */
	SR_NET_GSO4 = 1u << 1,  /* TCP over IPv4 to be segmented; needs SG */
	SR_NET_GSO6 = 1u << 2,  /* TCP over IPv6 */
	SR_NET_CSUM4 = 1u << 3, /* blank checksums of TCP and UDP over IPv4: unless it refused */
	SR_NET_CSUM6 = 1u << 4,
};

struct sr_netq_setup {
	struct sr_netif *netif; /* the vif's shared part, <net/netif.h>; outlives the queue */
	unsigned index;         /* which of its queues */
	struct sr_gnttab *gt;   /* of the thread that will call; outlives the queue */
	struct sr_evtchn *ev;
	uint16_t domid;
	uint32_t tx_ref, rx_ref;   /* the rings' grant references */
	uint32_t tx_port, rx_port; /* the frontend's ports; the same: not split */
	/*
	 * Where packets come from: of sr_netq_pool_create()'s kind, that is data rooms of 2048
	 * bytes and headroom at least.
	 */
	struct rte_mempool *pool;
	unsigned features; /* enum sr_net_feature */
	/* The record of this queue, zeroed unless `resume`. NULL: it is not to survive. */
	struct sr_netq_record *record;
	bool resume;                     /* goes on after a process that was killed */
	const struct sr_log_source *log; /* copied; NULL: silent */
};

/*
 * Maps the rings and binds the ports. A message for people in `error`, nothing left behind where it
 * fails. -EPROTO: the indices in the rings, or the record, are impossible.
 */
int sr_netq_attach(const struct sr_netq_setup *setup, struct sr_netq **q, char *error,
		   size_t error_size);
/* Unmaps and unbinds. After the vif's control ring (sr_netif_ctrl_detach). NULL is allowed. */
void sr_netq_detach(struct sr_netq *q);

/*
 * Our ends of the event channels, bound and pending, as sr_evtchn_bind_interdomain() leaves them;
 * the same where they are not split. What is pending there means: receive, or send, may find more.
 */
uint32_t sr_netq_tx_port(const struct sr_netq *q);
uint32_t sr_netq_rx_port(const struct sr_netq *q);

/*
 * What the guest sent: up to `n` packets, each the caller's. Copied, answered and published when it
 * returns. 0: nothing there, or all of it was dropped; then nothing is left to be flushed either.
 * -EPROTO: see above; every time from then on.
 */
int sr_netq_receive(struct sr_netq *q, struct rte_mbuf **pkts, unsigned n);

/*
 * To the guest: how many of the packets were taken, in order; these are freed (also those that had
 * to be dropped), the rest stays the caller's, as the guest has no room for it now. -EPROTO.
 */
int sr_netq_send(struct sr_netq *q, struct rte_mbuf **pkts, unsigned n);

/*
 * For whoever wants to know which packets sr_netq_send() has taken and dropped: of each the fate of
 * the same index becomes 1 + enum sr_net_drop, the others stay as they are. Until it is called with
 * NULL; for sends of no more packets than there are fates.
 */
void sr_netq_note_drops(struct sr_netq *q, uint8_t *fates);

/* Sends the events that are due: once a round, and before any wait, of the thread. */
void sr_netq_flush(struct sr_netq *q);

/*
 * Asks for an event when the guest sends, or when it gives room for at least one packet of the
 * largest size that it takes; looks again. True: there is something already, do not wait. Includes
 * sr_netq_flush(). Broken queues: false.
 */
bool sr_netq_arm_receive(struct sr_netq *q);
bool sr_netq_arm_send(struct sr_netq *q);
/* Takes that back, where the caller looks at the ring anyway: spares the guest an event. */
void sr_netq_disarm(struct sr_netq *q);

/*
 * How many slots the guest offers for packets to it now, at most. A packet of a page or less takes
 * one, two if it has extra info.
 */
unsigned sr_netq_room(const struct sr_netq *q);
/*
 * Since when (`now` of the first send that was told so; the caller's clock) has the guest given no
 * room while something waited for it; 0: it has. To be asked after a send that left packets over.
 * The caller decides when it drops what waits (sr_netq_drop()) and takes the carrier away.
 */
uint64_t sr_netq_stalled_since(struct sr_netq *q, uint64_t now);
/* What waited for the guest was dropped: until the next send any room is worth an event. */
void sr_netq_stall(struct sr_netq *q);

/* Frees packets that were for this guest, or came from it (tx), and counts why. */
void sr_netq_drop(struct sr_netq *q, bool tx, enum sr_net_drop reason, struct rte_mbuf **pkts,
		  unsigned n);

bool sr_netq_broken(const struct sr_netq *q);
const struct sr_net_stats *sr_netq_stats(const struct sr_netq *q);

/*
 * A pool of mbufs that suits every queue. -errno of DPDK's as NULL and rte_errno. `cache`: a
 * thread's; count: all of them.
 */
struct rte_mempool *sr_netq_pool_create(const char *name, unsigned count, unsigned cache);

#endif
