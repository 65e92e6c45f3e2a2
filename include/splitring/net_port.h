/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_NET_PORT_H
#define SPLITRING_NET_PORT_H

/*
 * How to put an uplink of your own under the guests' NICs.
 *
 * The netif engine speaks the protocol, checks every request and copies each packet into an
 * rte_mbuf of DPDK's; the switch decides where it goes. A port moves bursts of such packets from
 * and to somewhere else. Any device that DPDK has a driver for needs no code: that is the built-in
 * port "dpdk". The smallest port has a name, open(), close(), receive() and send(); see
 * docs/ports/writing-a-port.md. A port in a shared object exports one symbol:
 *
 *     const struct sr_net_port_driver sr_net_port_driver = { .abi = SR_NET_PORT_ABI, ... };
 *
 * and is compiled with what pkg-config says of `splitring` and `libdpdk`.
 *
 * Packets: whole Ethernet frames without FCS, VLAN tags in place, in chains of mbufs. A packet that
 * send() gets may ask for what is missing in it, in DPDK's words (RTE_MBUF_F_TX_TCP_CKSUM and
 * _UDP_CKSUM with l2_len and l3_len, RTE_MBUF_F_TX_TCP_SEG with l4_len and tso_segsz), but only for
 * what info.tx_offloads has named: the rest is done before. It may be shared with other ports and
 * guests (refcnt above 1), and is then not to be written to. A checksum that receive() knows to be
 * good is said by RTE_MBUF_F_RX_L4_CKSUM_GOOD; what receive() gives may ask for the same things, in
 * the same words, where its headers bear them out.
 *
 * Threads: open(), close(), link() and stats() run in the control thread, the latter two beside the
 * queues; all that takes a queue runs in the one thread that owns that queue, which is registered
 * with EAL. Several queues of a port run at the same time.
 * Errors: 0 or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct rte_mbuf;
struct rte_mempool;

/* Goes up with every change that an old port would not survive. */
#define SR_NET_PORT_ABI 1u

#define SR_NET_PORT_MAX_QUEUES 64u

/* What open() gets. The strings live until open() returns. */
struct sr_net_port_open {
	const char *args; /* what stands behind "driver:" */
	unsigned queues;  /* how many could be used: one a thread; at least 1 */
	uint16_t mtu;     /* of the guests that will use it: the largest payload of a frame */
	/* Where receive() takes its packets from. It outlives the port. */
	struct rte_mempool *pool;
	/* Where to put one clear line that says what failed, where, and what to do. */
	char *error;
	size_t error_size;
};

/* What the port is. Filled by open(). */
struct sr_net_port_info {
	uint8_t mac[6];       /* its own address, or zeroes: it has none */
	uint16_t mtu;         /* 0: as asked for; larger packets are not given to send() */
	unsigned queues;      /* 1 to what was asked for */
	uint64_t tx_offloads; /* RTE_ETH_TX_OFFLOAD_{TCP_CKSUM,UDP_CKSUM,TCP_TSO,MULTI_SEGS} */
};

struct sr_net_port_link {
	bool up;
	uint32_t speed; /* Mbit/s; 0: unknown */
};

struct sr_net_port_stats {
	uint64_t rx_packets, rx_bytes, rx_dropped;
	uint64_t tx_packets, tx_bytes, tx_dropped;
};

struct sr_net_port_driver {
	uint32_t abi;            /* SR_NET_PORT_ABI */
	const char *name;        /* "dpdk": what stands before the colon in an uplink's name */
	const char *description; /* one line */

	/* On failure nothing is left behind, and args->error holds a line for the operator. */
	int (*open)(const struct sr_net_port_open *args, void **port,
		    struct sr_net_port_info *info);
	/* No queue is in use any more. */
	void (*close)(void *port);

	/* Up to `n` packets, which are the caller's from then on. Never blocks. */
	unsigned (*receive)(void *port, unsigned queue, struct rte_mbuf **pkts, unsigned n);
	/* How many of the `n` it took, from the first on: those are the port's to free. Never
	 * blocks. */
	unsigned (*send)(void *port, unsigned queue, struct rte_mbuf **pkts, unsigned n);

	/* The rest is optional. */
	/*
	 * Readable while there may be something to receive, or -1: this queue has none. Looked at
	 * only while the thread sleeps. Without one the queue is looked at again and again, less
	 * often the longer it is quiet.
	 */
	int (*fd)(void *port, unsigned queue);
	/*
	 * Before the thread sleeps: the fd is to become readable from now on. True: there is
	 * something to receive already.
	 */
	bool (*arm)(void *port, unsigned queue);

	/* Without it the link is up. */
	int (*link)(void *port, struct sr_net_port_link *link);
	int (*stats)(void *port, struct sr_net_port_stats *stats);
};

#ifdef __cplusplus
}
#endif

#endif
