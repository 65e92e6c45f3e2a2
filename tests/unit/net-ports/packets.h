/* SPDX-License-Identifier: MIT */
#ifndef TESTS_NET_PACKETS_H
#define TESTS_NET_PACKETS_H

/* Packets for tests, with headers, payload and what they ask for; and checks of what became of
 * them. */

#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;
struct rte_mempool;

struct packet {
	bool v6, udp;
	bool blank;       /* ask for the checksum */
	unsigned segsz;   /* ask for segments of that size */
	unsigned payload; /* bytes */
	unsigned tags;    /* VLAN tags */
	unsigned piece;   /* the most bytes in one mbuf; 0: one piece */
	uint8_t dst[6], src[6];
};

/* The payload's byte number `at`. */
uint8_t packet_byte(uint32_t at);

/* NULL: the pool is empty. */
struct rte_mbuf *packet_new(struct rte_mempool *pool, const struct packet *packet);

/* Is the TCP or UDP checksum right, over everything? Needs a packet in one piece. */
bool packet_checksum_ok(const struct rte_mbuf *m);

#endif
