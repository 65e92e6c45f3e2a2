/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_PCAPNG_H
#define SPLITRING_PCAPNG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Blocks of a pcapng file, the format of draft-ietf-opsawg-pcapng. Times are ns since 1970. Each
 * function writes one block; whether that went well ferror() says. DPDK's rte_pcapng knows only
 * ports of its own as interfaces, and in DPDK 22.11 no comments on packets.
 */

/* Begins the file. */
void pcapng_section(FILE *out, const char *application);

/* `mac` may be NULL. Interfaces are numbered from 0 as they come. */
void pcapng_interface(FILE *out, const char *name, const char *description, const uint8_t mac[6],
		      uint32_t snaplen);

struct pcapng_packet {
	uint32_t interface, queue;
	uint64_t time;
	uint32_t captured, length;
	bool inbound;
	const char *comment; /* NULL: none */
	const uint8_t *data;
};

void pcapng_packet(FILE *out, const struct pcapng_packet *packet);

/* received: of which `dropped` are not in the file. */
void pcapng_statistics(FILE *out, uint32_t interface, uint64_t start, uint64_t end,
		       uint64_t received, uint64_t dropped);

#endif
