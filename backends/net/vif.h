/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_VIF_H
#define SR_NET_VIF_H

/*
 * A vif: its nodes, its queues, its place in a switch. What it shares with all devices, its state
 * above all, is in <common/device.h>; all of it belongs to the control thread.
 */

#include <common/device.h>
#include <net/netback.h>
#include <net/netif.h>
#include <net/queue.h>
#include <net/record.h>
#include <net/switch.h>

#include "negotiate.h"

#define SR_VIF_RECORD_MAGIC   0x3152455346495653u /* "SVIFSER1" */
#define SR_VIF_RECORD_VERSION 1u
#define SR_VIF_ADDRESSES      16u
#define SR_VIF_DEFAULT_BRIDGE "default"

struct sr_vif;

/* What goes on after a killed process, in memory that is kept; its queues follow. */
struct sr_vif_record {
	struct sr_record_head head;
	struct sr_vif_connection conn;
	struct sr_netif_record netif;
	struct sr_netq_record queues[];
};

/* A thread that moves packets. */
struct sr_net_lane {
	struct sr_thread *thread;
	struct sr_gnttab *gt;
};

struct sr_vif_queue {
	struct sr_vif *vif;
	struct sr_netq *q; /* NULL: not attached */
	unsigned lane;
	struct sr_mail broken;
	bool told_broken;         /* atomic: it was posted, for this connection */
	struct sr_log_source log; /* its thread's */
};

struct sr_vif {
	struct sr_device dev; /* first */
	struct sr_netback *nb;

	/* From the nodes. */
	char bridge[64];
	uint8_t mac[6];
	uint16_t mtu; /* 0: any */
	uint64_t rate_bytes, rate_interval_us;
	struct sr_member_address addresses[SR_VIF_ADDRESSES];
	unsigned address_count;
	bool rate_wanted; /* its node was written: look */
	bool rate_bad;    /* and made no sense; it was said */
	bool link_down;   /* the operator's */
	bool link_wanted;
	int carrier_said; /* what its node says; -1: look */

	struct sr_switch *sw; /* while it is open */

	/* The connection. */
	struct sr_vif_connection conn;
	struct sr_netif *netif;
	struct sr_member *member;
	struct sr_vif_queue queues[SR_NET_MAX_QUEUES];
	struct sr_source ctrl; /* the control ring, on the first queue's thread */
	bool ctrl_added;
	bool ctrl_posted; /* atomic: the mail below is on its way */
	struct sr_mail ctrl_mail, detached;
};

struct sr_netback {
	struct sr_hypervisor *hv;
	struct sr_backend *backend;
	struct sr_netback_options opt;
	struct sr_log_source log;
	struct sr_net_lane lanes[SR_NETBACK_MAX_THREADS];
	struct sr_fabric *fabric; /* NULL: there was no need for it yet */
	struct rte_mempool *pool;
	struct sr_netback_capture *captures;
};

static inline struct sr_vif *sr_vif_of(struct sr_device *dev)
{
	return (struct sr_vif *)(void *)dev;
}

/* It lies in the memory that the device keeps. */
static inline struct sr_vif_record *sr_vif_record(const struct sr_vif *v)
{
	return (struct sr_vif_record *)(void *)v->dev.record;
}

/* --- vif.c --------------------------------------------------------------------------------------
 */

extern const struct sr_device_class sr_vif_class;

/* --- vif_nodes.c --------------------------------------------------------------------------------
 */

int sr_vif_read_nodes(struct sr_device *dev);
/*
 * The node `rate` or `link` alone. True: it says something else than before; with dev->trouble
 * nobody can say.
 */
bool sr_vif_read_rate(struct sr_vif *v);
bool sr_vif_read_link(struct sr_vif *v);
/* Tells the guest of its link, where that is not what its node says. */
void sr_vif_say_carrier(struct sr_vif *v);
int sr_vif_put_offer(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t);
int sr_vif_put_connected(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t);

/* --- vif_connect.c ------------------------------------------------------------------------------
 */

int sr_vif_connect(struct sr_device *dev);
void sr_vif_detach(struct sr_device *dev, bool drain);
bool sr_vif_check_record(struct sr_device *dev);
int sr_vif_resume(struct sr_device *dev);

/* --- netback.c ----------------------------------------------------------------------------------
 */

int sr_netback_start(void *netback);
void sr_netback_end(void *netback);
/* The switch of that name; what moves packets is started first, if need be. NULL and a line. */
struct sr_switch *sr_netback_switch(struct sr_netback *nb, const char *name, char *error,
				    size_t error_size);

/* --- capture.c ----------------------------------------------------------------------------------
 */

/* Under the lock: captures begin and end with the threads that they copy from. */
int sr_netback_start_captures(struct sr_netback *nb);
void sr_netback_stop_captures(struct sr_netback *nb);

#endif
