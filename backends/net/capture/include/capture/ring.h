/* SPDX-License-Identifier: MIT */
#ifndef SR_CAPTURE_RING_H
#define SR_CAPTURE_RING_H

/*
 * Copies of packets, from a thread that moves them to a process that writes them down: a ring in
 * memory that the two share, one a thread. The writer never waits: where there is no room a packet
 * is counted as missed. It believes nothing that the reader writes, so a reader that stops, dies or
 * goes wild costs the capture alone.
 *
 * A record is a header and the packet's first bytes, padded to SR_CAPTURE_ALIGN, in one piece. What
 * the writer has begun is seen only when it is published, and may be taken back until then.
 *
 * Threads: one writes, another one (of any process) reads; nothing blocks, allocates or does a
 * system call. Errors: 0 or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SR_CAPTURE_ALIGN      32u
#define SR_CAPTURE_INTERFACES 1024u /* NICs that are counted one by one */

/* A NIC's name for a capture: any number but 0. */
static inline uint64_t sr_capture_vif(uint16_t domid, uint32_t devid)
{
	return UINT64_C(1) << 63 | (uint64_t)domid << 32 | devid;
}

struct sr_capture_record {
	uint32_t size;     /* of all of it; a multiple of SR_CAPTURE_ALIGN */
	uint32_t captured; /* bytes that follow */
	uint32_t length;   /* of the packet */
	uint16_t queue;
	uint8_t from_guest;
	uint8_t drop;  /* 0: passed on; otherwise 1 + enum sr_net_drop of <net/stats.h> */
	uint64_t id;   /* the NIC; 0: a gap before the ring's end */
	uint64_t time; /* ns since 1970 */
	uint8_t data[];
};

/* What went by of one NIC; both directions. */
struct sr_capture_count {
	uint64_t id;     /* 0: unused */
	uint64_t seen;   /* packets, recorded or missed */
	uint64_t missed; /* because the ring was full */
};

struct sr_capture_ring {
	uint32_t magic;
	uint32_t snaplen;                           /* bytes of a packet, at most */
	uint64_t size;                              /* of the data; a power of two */
	uint64_t total;                             /* of the ring and all in it */
	uint64_t head __attribute__((aligned(64))); /* the writer's: bytes published so far */
	uint64_t tail __attribute__((aligned(64))); /* the reader's: bytes done with */
	/* Looked up by id from a place that it says. The last one: all that found no place. */
	struct sr_capture_count counts[SR_CAPTURE_INTERFACES + 1] __attribute__((aligned(64)));
	uint8_t data[] __attribute__((aligned(64)));
};

/* Bytes that a ring with so many bytes of data takes: whole pages. */
size_t sr_capture_ring_bytes(uint64_t size);

/* --- writing ------------------------------------------------------------------------------------
 */

struct sr_capture_writer {
	struct sr_capture_ring *ring;
	uint64_t size, published;
	uint64_t head;  /* of what was begun */
	uint64_t limit; /* there is room up to here */
	uint32_t snaplen;
	struct sr_capture_count *last; /* what was counted last */
};

/* Makes a ring in `memory`, which is zeroed. `size`: a power of two, 4096 at least. */
void sr_capture_writer_init(struct sr_capture_writer *w, void *memory, uint64_t size,
			    uint32_t snaplen);

/*
 * Begins a record for a packet of `length` bytes: size, captured and length are set, the rest is
 * the caller's. NULL: no room.
 */
struct sr_capture_record *sr_capture_begin(struct sr_capture_writer *w, uint32_t length);
/* Takes back what was begun since w->head was `head`. */
void sr_capture_rewind(struct sr_capture_writer *w, uint64_t head);
void sr_capture_publish(struct sr_capture_writer *w);
void sr_capture_count(struct sr_capture_writer *w, uint64_t id, uint64_t seen, uint64_t missed);

/* --- reading ------------------------------------------------------------------------------------
 */

struct sr_capture_reader {
	struct sr_capture_ring *ring;
	uint64_t size, tail, head;
};

/* `bytes`: of the mapping. -EPROTO: there is no ring in it. */
int sr_capture_reader_init(struct sr_capture_reader *r, void *memory, size_t bytes);
/* The next record, NULL: none yet. -EPROTO: the ring makes no sense. */
int sr_capture_peek(struct sr_capture_reader *r, const struct sr_capture_record **record);
/* Done with what peek gave. */
void sr_capture_next(struct sr_capture_reader *r);
/* The counts at `index`, below SR_CAPTURE_INTERFACES + 1. False: unused. */
bool sr_capture_read_count(const struct sr_capture_reader *r, unsigned index,
			   struct sr_capture_count *count);

#endif
