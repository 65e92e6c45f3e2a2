/* SPDX-License-Identifier: MIT */
#ifndef SR_XENBACK_H
#define SR_XENBACK_H

/*
 * net_xenback, one vif of a guest as a DPDK port: what its files share. See docs/dpdk-drivers.md.
 *
 *   net_xenback.c  the device of rte_ethdev, and its bursts
 *   xenback_vif.c  the handshake with the frontend, in a control thread of its own
 *
 * Threads: the rx and tx burst of a queue may be called by two threads at once, and the guest may
 * come and go at any time; a queue of the engine belongs to one thread at a time. So each has a
 * lock, taken once a burst; a receiver that finds it taken has nothing this time.
 */

#include <pthread.h>

#include <common/backend.h>
#include <rte_spinlock.h>

#include "../vif.h"

struct sr_xb_queue {
	rte_spinlock_t lock;
	struct sr_netq *q; /* NULL: no guest */
	struct sr_gnttab *gt;
	struct sr_evtchn *ev;
	unsigned rounds;          /* since the control ring was looked at */
	bool broken;              /* told to the control thread */
	struct sr_net_stats past; /* of connections that are over */
} __attribute__((aligned(64)));

struct sr_xb;

/* What rte_ethdev has of a queue. */
struct sr_xb_port_queue {
	struct sr_xb *xb;
	unsigned index;
};

struct sr_xb {
	struct sr_netback nb;           /* first: what a vif's nodes are read for */
	char *address;                  /* of the hypervisor */
	unsigned domid, device, wanted; /* wanted: queues, by the devargs */
	struct sr_log log;
	uint16_t port;
	struct sr_xb_port_queue *port_queues; /* SR_NET_MAX_QUEUES */
	pthread_t thread;
	bool running;
	int result;
	unsigned queues; /* that rte_ethdev has set up: offered to the guest */
	struct rte_mempool *pools[SR_NET_MAX_QUEUES];
	struct sr_netif *netif;            /* with a control ring; under the lock of queue 0 */
	const struct sr_netif *connection; /* under the lock of any queue that has a q */
	unsigned connected;                /* queues; atomic */
	struct sr_mail broken;
	struct sr_vif *vif;                          /* the control thread's; NULL: not connected */
	struct sr_net_stats base[SR_NET_MAX_QUEUES]; /* what stats_reset() takes off */
	struct sr_xb_queue queue[SR_NET_MAX_QUEUES];
};

/* Starts the control thread: from then on the guest can connect. */
int sr_xb_start(struct sr_xb *xb);
/* Asks the guest to close the device, and ends the thread. */
void sr_xb_stop(struct sr_xb *xb);
/* From a burst: the guest broke the protocol. */
void sr_xb_broken(struct sr_xb *xb, struct sr_xb_queue *queue);

#endif
