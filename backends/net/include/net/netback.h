/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_NETBACK_H
#define SR_NET_NETBACK_H

/*
 * The network backend: serves every vif that the toolstack puts below
 * /local/domain/<us>/backend/vif, each as a member of the switch that its node `bridge` names.
 *
 * A device's nodes in its backend directory, as libxl writes them:
 *   mac          "00:16:3e:12:34:56": needed, and what it sends has to come from it
 *   bridge       the switch; a missing one is "default". One that nobody has named is made: guests
 *                on it reach each other and nobody else
 *   ip           the addresses that it may send from, separated by blanks; missing: any
 *   rate         "bytes,microseconds" that it may send; may change at any time
 *   link         0: the link is down, as if the cable was out [1]; may change at any time
 *   mtu          the largest payload of frames to it [any]
 *   online       0: do not wait for a reconnect      frontend, frontend-id, handle, vifname
 * We write hotplug-status ("connected" or "error"), hotplug-error, carrier and the features.
 *
 * Threads: its control thread is that of the sr_backend that it belongs to. The threads that move
 * packets, and DPDK with them, are started with the first vif or uplink. list, bridges and captures
 * may be called from any thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <common/backend.h>
#include <net/stats.h>

struct sr_eal_options;   /* <ports/eal.h> */
struct sr_port_registry; /* <ports/ports.h> */
struct sr_netback;

#define SR_NETBACK_MAX_THREADS 16u

/* An uplink of a switch, from the start. Several may name the same switch. */
struct sr_netback_uplink {
	const char *bridge;
	const char *uplink; /* "driver:args" */
};

struct sr_netback_options {
	const struct sr_port_registry *registry; /* borrowed */
	const struct sr_log *log;                /* borrowed; NULL: silent */
	const struct sr_eal_options *eal;        /* borrowed; NULL: the defaults */
	enum sr_poll_mode mode;
	unsigned threads;     /* that move packets; 0: 1 */
	const unsigned *cpus; /* one a thread, to pin it to; NULL: not pinned */
	unsigned spin_us;     /* the longest that adaptive spins without work; 0: 50, or none on one
				 processor */
	unsigned max_queues;  /* offered to a guest; 0: as many as threads, at most 16 */
	uint16_t uplink_mtu;  /* bytes, asked of each uplink; 0: 1500 */
	unsigned packets;     /* how many may be on their way at once; 0: 16384 */
	const struct sr_netback_uplink *uplinks; /* borrowed */
	size_t uplink_count;
};

/* Adds itself to `backend`, which is borrowed. `options` is copied. */
int sr_netback_new(struct sr_hypervisor *hv, struct sr_backend *backend,
		   const struct sr_netback_options *options, struct sr_netback **nb);
/* After sr_backend_run() has returned, or never ran. NULL is allowed. */
void sr_netback_free(struct sr_netback *nb);

/* A vif, as sr_netback_list() tells it. */
struct sr_netback_device {
	uint16_t frontend; /* its domain */
	uint32_t devid;
	uint8_t mac[6];
	char bridge[64];
	unsigned mtu;    /* 0: any */
	unsigned state;  /* XenbusState* of <xen/io/xenbus.h> */
	char error[160]; /* "" or why it is not served */
	bool recovered;
	uint64_t rate_bytes, rate_interval_us; /* 0: unlimited */
	bool link;                             /* not put down by its node */
	unsigned queues;                       /* 0: not connected, the rest is 0 too */
	unsigned threads[16];                  /* of each queue, the thread it belongs to */
	bool split, ctrl_ring, multicast_filter;
	unsigned features; /* enum sr_net_feature of <net/queue.h> */
	unsigned headroom;
	bool carrier;              /* the link is up, and it takes packets */
	uint64_t stalls;           /* times that a queue gave no room for too long */
	struct sr_net_stats stats; /* the sum over its queues, of this connection */
};

/* All vifs now; *devices is freed with free(). */
int sr_netback_list(struct sr_netback *nb, struct sr_netback_device **devices, size_t *count);

/* A thread that moves packets; the counters are those of <common/reactor.h>. */
struct sr_netback_thread {
	unsigned queues; /* of vifs and uplinks */
	uint64_t loops, busy_loops, sleeps, wakeups, cpu_ns;
};

/* All of them, up to `max` in threads[]; returns how many there are: 0 before the first vif. */
size_t sr_netback_threads(struct sr_netback *nb, struct sr_netback_thread *threads, size_t max);

/* A switch, as sr_netback_bridges() tells it. */
struct sr_netback_bridge {
	char name[64];
	unsigned vifs, uplinks;
};

/* All switches now; *bridges is freed with free(). */
int sr_netback_bridges(struct sr_netback *nb, struct sr_netback_bridge **bridges, size_t *count);

/* --- captures -----------------------------------------------------------------------------------
 */

struct sr_netback_capture;

struct sr_netback_capture_options {
	bool all_domains; /* otherwise only `domid` */
	bool all_devices; /* of it; otherwise only `devid` */
	uint16_t domid;
	uint32_t devid;
	uint32_t snaplen; /* bytes of a packet, at most */
};

/*
 * Copies what goes through vifs, those that come later too, to the rings of <capture/ring.h> that
 * lie one after the other in *fd, a file in memory that is the caller's. Nobody waits for a reader.
 */
int sr_netback_capture(struct sr_netback *nb, const struct sr_netback_capture_options *options,
		       struct sr_netback_capture **capture, int *fd);
/* Before sr_netback_free(). NULL is allowed. */
void sr_netback_capture_end(struct sr_netback_capture *capture);

#endif
