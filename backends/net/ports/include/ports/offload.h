/* SPDX-License-Identifier: MIT */
#ifndef PORTS_OFFLOAD_H
#define PORTS_OFFLOAD_H

/*
 * What a packet asks for and a device lacks, done in software: checksums, and segments of TCP for
 * IPv4 and IPv6 (librte_gso has no IPv6). The flags and lengths are those of rte_mbuf; the packet
 * may be a chain. Headers are the guest's and are not trusted: whatever they say, nothing outside
 * of the packet is read.
 */

#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

/* The most segments that one packet is cut into: 64 KiB at 512 bytes each. */
#define SR_OFFLOAD_MAX_SEGMENTS 128u

/*
 * Fills in the checksum of a packet with RTE_MBUF_F_TX_TCP_CKSUM or _UDP_CKSUM, from the
 * pseudo-header's sum that stands in its place, and clears the flags. The packet must be the
 * caller's alone. -EINVAL: the lengths do not fit the packet.
 */
int sr_offload_checksum(struct rte_mbuf *m);

/*
 * Cuts a packet with RTE_MBUF_F_TX_TCP_SEG into packets of at most tso_segsz bytes of payload. They
 * are copies, out of `pool`, and ask for RTE_MBUF_F_TX_TCP_CKSUM still. *count of them in out[],
 * which has room for SR_OFFLOAD_MAX_SEGMENTS; `m` stays as it is. -EINVAL: the lengths do not fit
 * the packet; -E2BIG: too many segments; -ENOMEM: the pool is empty. On failure there are none.
 */
int sr_offload_segment(const struct rte_mbuf *m, struct rte_mempool *pool, struct rte_mbuf **out,
		       unsigned *count);

/* Is any part of the packet somebody else's too, so that it may not be written? */
int sr_offload_shared(const struct rte_mbuf *m);

#endif
