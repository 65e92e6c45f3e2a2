/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_PACKET_H
#define SR_NET_PACKET_H

/*
 * What is done to packets in software: reading their headers, checksums, segments. For the engine,
 * and for ports that lack an offload. Packets say of themselves what <net/queue.h> has it.
 *
 * Headers are somebody else's bytes: each length in them is checked against what is there, chains
 * of extension headers are followed to a bound. Threads: any, each with its own packets.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

/* Headers beyond this are not looked at. */
#define SR_NET_HEADERS 256u

struct sr_net_headers {
	uint8_t l2_len;   /* with up to two VLAN tags */
	uint8_t ip;       /* 4, 6; 0: neither, nothing below is set */
	bool fragment;    /* not a whole packet: there may be no l4 header */
	bool l4_complete; /* the l4 header is there in full: l4_len and ports count */
	uint8_t protocol; /* IPPROTO_*: behind all extension headers that are known */
	uint8_t l4_len;   /* TCP: with options; UDP: 8; others 0 */
	uint16_t l3_len;  /* with options and extension headers */
	uint16_t l4_size; /* bytes from the l4 header to the end that the IP header states */
};

/*
 * Reads the headers of a packet of `len` bytes whose first `size` (to SR_NET_HEADERS) are at `p`.
 * 0, also for what is neither IPv4 nor IPv6; -EBADMSG: lengths that contradict each other.
 */
int sr_net_parse(const uint8_t *p, size_t size, size_t len, struct sr_net_headers *h);

/* The same of a packet in any number of segments. */
int sr_net_parse_packet(const struct rte_mbuf *pkt, struct sr_net_headers *h);

/* The sum, in the way of IP's checksums and not inverted, of `len` bytes from `at`, as far as any.
 */
uint16_t sr_net_sum(const struct rte_mbuf *pkt, uint32_t at, uint32_t len);

/*
 * Fills in the blank checksum of *pkt and takes the request for it away. A packet that others hold
 * too is replaced by a copy of `pool`'s (which may be the packet's own). 0; -ENOMEM: no copy could
 * be had; -EBADMSG: the flags contradict the packet. It stays the caller's in any case.
 */
int sr_net_finish_checksum(struct rte_mbuf **pkt, struct rte_mempool *pool);

/* How many segments RTE_MBUF_F_TX_TCP_SEG makes of it; 1: it needs none. */
unsigned sr_net_segments(const struct rte_mbuf *pkt);

/*
 * Cuts a packet with RTE_MBUF_F_TX_TCP_SEG into sr_net_segments() packets of their own with all
 * checksums in place, in out[]: at most `max`. Over IPv4 and IPv6. Returns how many; -ENOMEM;
 * -EBADMSG: the flags contradict the packet; -E2BIG: more than `max`. The packet stays as it is,
 * and the caller's.
 */
int sr_net_segment(const struct rte_mbuf *pkt, struct rte_mempool *pool, struct rte_mbuf **out,
		   unsigned max);

#endif
