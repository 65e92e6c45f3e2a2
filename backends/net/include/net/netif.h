/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_NETIF_H
#define SR_NET_NETIF_H

/*
 * What the queues of one vif share: the control ring with the hash and its mapping to queues and
 * the static grant mappings, the multicast list, the headroom.
 *
 * Threads: sr_netif_new(), _free() when nobody else uses it. The control ring (sr_netif_ctrl_*)
 * belongs to one thread at a time, that of one of the queues or another. Everything below "from any
 * thread" may be called from any, while the others are at work: single words change atomically, and
 * a hash made while its key changes is one of neither, which matters to nobody.
 *
 * A static mapping belongs to its queue's thread, as grant handles do. So ADD and DEL are handed
 * over: the queue does them when it is called (sr_netq_receive(), _send() or _arm_*()), a few
 * entries a call, and the control ring answers when that is over. sr_netif_setup.wake makes that
 * queue's thread call, and ctrl_wake the control ring's; both may be NULL where everything is
 * polled. What is handed over when the control ring is detached gets no answer: the queue's
 * detaching ends it, and wakes nobody.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/limits.h>

struct rte_ether_addr;
struct rte_mbuf;
struct sr_evtchn;
struct sr_gnttab;
struct sr_log_source;
struct sr_netif;
struct sr_netif_record;

struct sr_netif_setup {
	unsigned queues; /* that the guest has: 1 to SR_NET_MAX_QUEUES */
	uint16_t domid;
	bool multicast_filter;          /* request-multicast-control */
	unsigned headroom;              /* xdp-headroom; up to SR_NET_MAX_HEADROOM */
	struct sr_netif_record *record; /* zeroed unless `resume`. NULL: not to survive */
	bool resume;
	void (*wake)(void *ctx, unsigned queue); /* from the control ring's thread */
	void (*ctrl_wake)(void *ctx);            /* from a queue's thread */
	void *ctx;
	const struct sr_log_source *log; /* copied; NULL: silent */
};

/* -EINVAL: queues or headroom are out of range; a record that contradicts itself; -ENOMEM. */
int sr_netif_new(const struct sr_netif_setup *setup, struct sr_netif **netif);
/* After all queues and the control ring are detached. NULL is allowed. */
void sr_netif_free(struct sr_netif *netif);

/* --- the control ring ------------------------------------------------------------------------- */

/* Maps it and binds the port. After the queues were attached. `gt`, `ev`: the thread's. */
int sr_netif_ctrl_attach(struct sr_netif *netif, struct sr_gnttab *gt, struct sr_evtchn *ev,
			 uint32_t ref, uint32_t port, bool resume, char *error, size_t error_size);
/* Before any queue is detached. Without a control ring: nothing. */
void sr_netif_ctrl_detach(struct sr_netif *netif);
uint32_t sr_netif_ctrl_port(const struct sr_netif *netif);
/*
 * Does and answers what the guest asks, a bounded number of messages. Returns how many; -EPROTO: an
 * impossible index, disconnect.
 */
int sr_netif_ctrl_poll(struct sr_netif *netif);
/* Asks for an event with the next message; true: there is one already. */
bool sr_netif_ctrl_arm(struct sr_netif *netif);

/* --- from any thread -------------------------------------------------------------------------- */

/*
 * The queue that a packet to the guest should take, below `queues`: by the guest's hash and mapping
 * if it set them, else by the packet's own hash or its addresses. The packet isn't written.
 */
unsigned sr_netif_pick_queue(const struct sr_netif *netif, const struct rte_mbuf *pkt);

/* Does the guest want a frame for this address? Of multicast only what its list has; else true. */
bool sr_netif_wants(const struct sr_netif *netif, const struct rte_ether_addr *to);
void sr_netif_set_multicast_filter(struct sr_netif *netif, bool on);

/* -EINVAL: above SR_NET_MAX_HEADROOM; nothing changes. */
int sr_netif_set_headroom(struct sr_netif *netif, unsigned headroom);
unsigned sr_netif_headroom(const struct sr_netif *netif);

#endif
