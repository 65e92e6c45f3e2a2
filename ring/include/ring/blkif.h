/* SPDX-License-Identifier: MIT */
#ifndef SR_RING_BLKIF_H
#define SR_RING_BLKIF_H

/*
 * blkif rings (<xen/io/blkif.h>) of one or several pages, both ends, in any ABI.
 *
 * Nothing here hands out a pointer into a slot: a request or a response is copied by value, each
 * word of it read exactly once, and no more words than the operation and the count of segments
 * need. A count is clamped as it is read; what can't be right is marked `malformed`.
 *
 * Layouts. Xen's header has only that of the machine it is compiled for, so the other one is
 * stated here. There are two: where a 64-bit integer is aligned to 8 (x86_64, arm) four bytes of
 * padding stand before `id`, on x86_32 they don't. All else follows: fields behind `id` lie four
 * bytes lower, and a slot has 108 bytes for 112.
 *
 * Threads and errors: as in <ring/index.h>. The ring's pages are contiguous in our address space,
 * page-aligned, and stay the caller's.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>

#include <xen/grant_table.h>
#include <xen/io/blkif.h>
#include <xen/io/protocols.h>

#include <ring/index.h>

#define SR_BLKIF_MAX_RING_ORDER    4u /* 16 pages, 512 slots: as much as any frontend asks for */
#define SR_BLKIF_SEGS_PER_PAGE     512u
#define SR_BLKIF_MAX_INDIRECT_SEGS (BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST * SR_BLKIF_SEGS_PER_PAGE)

/* What a frontend says in its node `protocol`. */
enum sr_blkif_abi {
	SR_BLKIF_ABI_NATIVE, /* no such node */
	SR_BLKIF_ABI_X86_32,
	SR_BLKIF_ABI_X86_64,
	SR_BLKIF_ABI_ARM,
};

/* A request, the same for every layout. */
struct sr_blkif_request {
	uint64_t id;         /* the frontend's, echoed in the response */
	uint64_t sector;     /* first sector; BLKIF_OP_* other than INDIRECT: of 512 bytes */
	uint8_t operation;   /* BLKIF_OP_*, or whatever the frontend wrote */
	uint8_t indirect_op; /* of INDIRECT: BLKIF_OP_READ or _WRITE, unless malformed */
	uint8_t flag;        /* of DISCARD: BLKIF_DISCARD_* */
	bool malformed;      /* to be answered with BLKIF_RSP_ERROR; nr_segments is 0 */
	uint16_t handle;
	/* Never more than segs[] holds; of INDIRECT, never more than the pages of grefs[] hold. */
	uint16_t nr_segments;
	union {
		struct blkif_request_segment segs[BLKIF_MAX_SEGMENTS_PER_REQUEST];
		uint32_t grefs[BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST]; /* INDIRECT */
		uint64_t nr_sectors;                                  /* DISCARD */
	};
};

/* How a ring lies in its pages. */
struct sr_blkif_layout {
	uint8_t *slots;     /* the first one */
	uint32_t mask;      /* slots - 1 */
	uint16_t slot_size; /* bytes */
	uint16_t id_offset; /* bytes; 8, or 4 in the x86_32 layout */
};

struct sr_blkif_back {
	struct sr_ring_back ring;
	struct sr_blkif_layout layout;
};

struct sr_blkif_front {
	struct sr_ring_front ring;
	struct sr_blkif_layout layout;
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "every blkif ABI is little-endian");
_Static_assert(sizeof(struct blkif_request_segment) == 8, "one word a segment");
_Static_assert(
    offsetof(struct blkif_sring, req_prod) == offsetof(struct sr_ring_indices, req_prod) &&
	offsetof(struct blkif_sring, req_event) == offsetof(struct sr_ring_indices, req_event) &&
	offsetof(struct blkif_sring, rsp_prod) == offsetof(struct sr_ring_indices, rsp_prod) &&
	offsetof(struct blkif_sring, rsp_event) == offsetof(struct sr_ring_indices, rsp_event) &&
	offsetof(struct blkif_sring, ring) == sizeof(struct sr_ring_indices),
    "the shared words are Xen's");

/* --- ABIs and sizes --------------------------------------------------------------------------- */

/* From the frontend's node `protocol`; NULL: it has none. -EINVAL: an ABI that we don't know. */
static inline int sr_blkif_abi_parse(const char *protocol, enum sr_blkif_abi *abi)
{
	if (!protocol)
		*abi = SR_BLKIF_ABI_NATIVE;
	else if (!strcmp(protocol, XEN_IO_PROTO_ABI_X86_32))
		*abi = SR_BLKIF_ABI_X86_32;
	else if (!strcmp(protocol, XEN_IO_PROTO_ABI_X86_64))
		*abi = SR_BLKIF_ABI_X86_64;
	else if (!strcmp(protocol, XEN_IO_PROTO_ABI_ARM))
		*abi = SR_BLKIF_ABI_ARM;
	else
		return -EINVAL;
	return 0;
}

/* What a frontend of this ABI writes as its `protocol`. */
static inline const char *sr_blkif_abi_name(enum sr_blkif_abi abi)
{
	switch (abi) {
	case SR_BLKIF_ABI_X86_32:
		return XEN_IO_PROTO_ABI_X86_32;
	case SR_BLKIF_ABI_X86_64:
		return XEN_IO_PROTO_ABI_X86_64;
	case SR_BLKIF_ABI_ARM:
		return XEN_IO_PROTO_ABI_ARM;
	case SR_BLKIF_ABI_NATIVE:
		break;
	}
	return XEN_IO_PROTO_ABI_NATIVE;
}

/* Where `id` lies in a request of this ABI. */
static inline uint16_t sr_blkif_id_offset(enum sr_blkif_abi abi)
{
	if (abi == SR_BLKIF_ABI_NATIVE)
		return (uint16_t)offsetof(struct blkif_request, id);
	return abi == SR_BLKIF_ABI_X86_32 ? 4 : 8;
}

/* Bytes of a slot: the fields before `id`, `id`, the first sector, the segments. */
static inline uint16_t sr_blkif_slot_size(enum sr_blkif_abi abi)
{
	return (uint16_t)(sr_blkif_id_offset(abi) + 16 +
			  BLKIF_MAX_SEGMENTS_PER_REQUEST * sizeof(struct blkif_request_segment));
}

/* Slots of a ring of 2^order pages: the largest power of two that fits, Xen's __RING_SIZE(). */
static inline uint32_t sr_blkif_ring_size(enum sr_blkif_abi abi, unsigned order)
{
	uint32_t fit, size = 1;

	fit = (uint32_t)(((1u << XEN_PAGE_SHIFT) << order) - sizeof(struct sr_ring_indices)) /
	      sr_blkif_slot_size(abi);
	while (size * 2 <= fit)
		size *= 2;
	return size;
}

/* Pages of segments that an indirect request of this many segments refers to. */
static inline unsigned sr_blkif_indirect_pages(unsigned nr_segments)
{
	return (nr_segments + SR_BLKIF_SEGS_PER_PAGE - 1) / SR_BLKIF_SEGS_PER_PAGE;
}

_Static_assert(offsetof(struct blkif_request, id) == offsetof(struct blkif_request_discard, id) &&
		   offsetof(struct blkif_request, id) ==
		       offsetof(struct blkif_request_indirect, id) &&
		   offsetof(struct blkif_request, seg) == offsetof(struct blkif_request, id) + 16 &&
		   offsetof(struct blkif_request_discard, nr_sectors) ==
		       offsetof(struct blkif_request, id) + 16 &&
		   offsetof(struct blkif_request_indirect, handle) ==
		       offsetof(struct blkif_request, id) + 16 &&
		   offsetof(struct blkif_request_indirect, indirect_grefs) ==
		       offsetof(struct blkif_request, id) + 20,
	       "fields lie at fixed distances from id");
_Static_assert(offsetof(struct blkif_response, operation) == 8 &&
		   offsetof(struct blkif_response, status) == 10,
	       "the response begins alike in each layout");

/* --- single words of a slot ------------------------------------------------------------------- */

/* In the x86_32 layout 64-bit fields are aligned to 4 only, so they are read in two halves. */
static inline uint64_t sr_blkif_load64(const uint8_t *p, bool aligned)
{
	if (aligned)
		return sr_ring_load64((const uint64_t *)(const void *)p);
	return sr_ring_load((const uint32_t *)(const void *)p) |
	       (uint64_t)sr_ring_load((const uint32_t *)(const void *)(p + 4)) << 32;
}

static inline void sr_blkif_store64(uint8_t *p, bool aligned, uint64_t v)
{
	if (aligned) {
		sr_ring_store64((uint64_t *)(void *)p, v);
		return;
	}
	sr_ring_store((uint32_t *)(void *)p, (uint32_t)v);
	sr_ring_store((uint32_t *)(void *)(p + 4), (uint32_t)(v >> 32));
}

/* A segment is one word in every layout: gref, first_sect, last_sect, two bytes of padding. */
static inline struct blkif_request_segment sr_blkif_segment(uint64_t word)
{
	return (struct blkif_request_segment){
		.gref = (uint32_t)word,
		.first_sect = (uint8_t)(word >> 32),
		.last_sect = (uint8_t)(word >> 40),
	};
}

static inline uint64_t sr_blkif_segment_word(struct blkif_request_segment seg)
{
	return seg.gref | (uint64_t)seg.first_sect << 32 | (uint64_t)seg.last_sect << 40;
}

/*
 * Copies `count` segments (to SR_BLKIF_SEGS_PER_PAGE) out of a page that an indirect request
 * refers to, beginning at the page's start. The page is aligned to 8 at least.
 */
static inline void sr_blkif_copy_segments(struct blkif_request_segment *segs, const void *page,
					  unsigned count)
{
	const uint64_t *words = page;

	for (unsigned i = 0; i < count; i++)
		segs[i] = sr_blkif_segment(sr_ring_load64(words + i));
}

/* The frontend's side of it: fills such a page. */
static inline void sr_blkif_put_segments(void *page, const struct blkif_request_segment *segs,
					 unsigned count)
{
	uint64_t *words = page;

	for (unsigned i = 0; i < count; i++)
		sr_ring_store64(words + i, sr_blkif_segment_word(segs[i]));
}

/* --- decoding and encoding a slot ------------------------------------------------------------- */

static inline void sr_blkif_decode_indirect(const uint8_t *id, uint32_t head,
					    struct sr_blkif_request *req)
{
	uint32_t count = head >> 16;

	req->indirect_op = (uint8_t)(head >> 8);
	req->handle = (uint16_t)sr_ring_load((const uint32_t *)(const void *)(id + 16));
	/* Neither an indirect request within another, nor more than its pages hold. */
	if (count > SR_BLKIF_MAX_INDIRECT_SEGS ||
	    (req->indirect_op != BLKIF_OP_READ && req->indirect_op != BLKIF_OP_WRITE)) {
		req->malformed = true;
		return;
	}
	req->nr_segments = (uint16_t)count;
	for (unsigned i = 0; i < sr_blkif_indirect_pages(count); i++)
		req->grefs[i] = sr_ring_load((const uint32_t *)(const void *)(id + 20 + 4 * i));
}

/*
 * Reads the request in the slot at `slot`, whose `id` lies at `id_offset`. What the operation has
 * no use for is not read; in *req the first 24 bytes are always set, of the union only what
 * nr_segments or the operation says.
 */
static inline void sr_blkif_decode(const uint8_t *slot, uint16_t id_offset,
				   struct sr_blkif_request *req)
{
	bool aligned = id_offset == 8;
	const uint8_t *id = slot + id_offset;
	uint32_t head = sr_ring_load((const uint32_t *)(const void *)slot);
	uint32_t count = (uint8_t)(head >> 8);

	req->operation = (uint8_t)head;
	req->indirect_op = 0;
	req->flag = 0;
	req->malformed = false;
	req->handle = (uint16_t)(head >> 16);
	req->nr_segments = 0;
	req->id = sr_blkif_load64(id, aligned);
	req->sector = sr_blkif_load64(id + 8, aligned);

	switch (req->operation) {
	case BLKIF_OP_READ:
	case BLKIF_OP_WRITE:
	case BLKIF_OP_WRITE_BARRIER:
	case BLKIF_OP_FLUSH_DISKCACHE:
		if (count > BLKIF_MAX_SEGMENTS_PER_REQUEST) {
			req->malformed = true;
			break;
		}
		req->nr_segments = (uint16_t)count;
		for (unsigned i = 0; i < count; i++)
			req->segs[i] = sr_blkif_segment(sr_blkif_load64(id + 16 + 8 * i, aligned));
		break;
	case BLKIF_OP_DISCARD:
		req->flag = (uint8_t)count;
		req->nr_sectors = sr_blkif_load64(id + 16, aligned);
		break;
	case BLKIF_OP_INDIRECT:
		sr_blkif_decode_indirect(id, head, req);
		break;
	}
}

/* Writes *req into the slot; padding is zeroed. nr_segments must fit: it is our own count. */
static inline void sr_blkif_encode(uint8_t *slot, uint16_t id_offset,
				   const struct sr_blkif_request *req)
{
	bool aligned = id_offset == 8;
	uint8_t *id = slot + id_offset;
	uint32_t head = req->operation | (uint32_t)req->handle << 16;

	sr_blkif_store64(id, aligned, req->id);
	sr_blkif_store64(id + 8, aligned, req->sector);

	switch (req->operation) {
	case BLKIF_OP_DISCARD:
		head |= (uint32_t)req->flag << 8;
		sr_blkif_store64(id + 16, aligned, req->nr_sectors);
		break;
	case BLKIF_OP_INDIRECT:
		head = req->operation | (uint32_t)req->indirect_op << 8 |
		       (uint32_t)req->nr_segments << 16;
		sr_ring_store((uint32_t *)(void *)(id + 16), req->handle);
		for (unsigned i = 0; i < sr_blkif_indirect_pages(req->nr_segments); i++)
			sr_ring_store((uint32_t *)(void *)(id + 20 + 4 * i), req->grefs[i]);
		break;
	default:
		head |= (uint32_t)req->nr_segments << 8;
		for (unsigned i = 0; i < req->nr_segments; i++)
			sr_blkif_store64(id + 16 + 8 * i, aligned,
					 sr_blkif_segment_word(req->segs[i]));
		break;
	}
	if (aligned)
		sr_ring_store64((uint64_t *)(void *)slot, head);
	else
		sr_ring_store((uint32_t *)(void *)slot, head);
}

/* Bytes from the first slot to that of index `i`. */
static inline size_t sr_blkif_slot_offset(const struct sr_blkif_layout *l, uint32_t i)
{
	return (size_t)(i & l->mask) * l->slot_size;
}

static inline int sr_blkif_layout_init(struct sr_blkif_layout *l, void *pages, unsigned order,
				       enum sr_blkif_abi abi)
{
	if (order > SR_BLKIF_MAX_RING_ORDER || (unsigned)abi > SR_BLKIF_ABI_ARM)
		return -EINVAL;
	*l = (struct sr_blkif_layout){
		.slots = (uint8_t *)pages + sizeof(struct sr_ring_indices),
		.mask = sr_blkif_ring_size(abi, order) - 1,
		.slot_size = sr_blkif_slot_size(abi),
		.id_offset = sr_blkif_id_offset(abi),
	};
	return 0;
}

/* --- the back --------------------------------------------------------------------------------- */

/*
 * Begins on the ring of 2^order pages at `pages`; for the positions see sr_ring_back_attach().
 * -EINVAL: order above SR_BLKIF_MAX_RING_ORDER, unknown abi, impossible positions.
 */
static inline int sr_blkif_back_attach(struct sr_blkif_back *b, void *pages, unsigned order,
				       enum sr_blkif_abi abi, uint32_t rsp_prod, uint32_t req_cons)
{
	int rc = sr_blkif_layout_init(&b->layout, pages, order, abi);

	if (rc)
		return rc;
	return sr_ring_back_attach(&b->ring, pages, b->layout.mask + 1, rsp_prod, req_cons);
}

/*
 * Prefetches `count` requests from the one that is `ahead` of the next, as far as one segment each
 * goes. To be used for what pending() has promised only: the front still writes the slots behind
 * that.
 */
static inline void sr_blkif_back_prefetch(const struct sr_blkif_back *b, uint32_t ahead,
					  uint32_t count)
{
	uint32_t first = b->ring.req_cons + ahead;

	for (uint32_t i = first; i != first + count; i++) {
		uint8_t *slot = b->layout.slots + sr_blkif_slot_offset(&b->layout, i);

		sr_ring_prefetch_write(slot); /* a response will stand there */
		sr_ring_prefetch(slot + b->layout.id_offset + 16);
	}
}

/* Takes the next request, which sr_ring_back_pending() must have promised. */
static inline void sr_blkif_back_take(struct sr_blkif_back *b, struct sr_blkif_request *req)
{
	sr_blkif_decode(b->layout.slots + sr_blkif_slot_offset(&b->layout, b->ring.req_cons),
			b->layout.id_offset, req);
	b->ring.req_cons++;
}

/*
 * Writes a response, zero-padded, in the next slot. There may be no more of them than requests
 * taken. Not visible before sr_ring_back_publish().
 */
static inline void sr_blkif_back_put(struct sr_blkif_back *b, uint64_t id, uint8_t operation,
				     int16_t status)
{
	uint8_t *slot = b->layout.slots + sr_blkif_slot_offset(&b->layout, b->ring.rsp_prod_pvt);
	uint32_t tail = operation | (uint32_t)(uint16_t)status << 16;
	bool aligned = b->layout.id_offset == 8;

	sr_blkif_store64(slot, aligned, id);
	/* Native responses have 16 bytes, those of x86_32 end here with 12. */
	if (aligned)
		sr_ring_store64((uint64_t *)(void *)(slot + 8), tail);
	else
		sr_ring_store((uint32_t *)(void *)(slot + 8), tail);
	b->ring.rsp_prod_pvt++;
}

/* --- the front -------------------------------------------------------------------------------- */

/* Makes a new, empty ring of 2^order pages. -EINVAL as for sr_blkif_back_attach(). */
static inline int sr_blkif_front_init(struct sr_blkif_front *f, void *pages, unsigned order,
				      enum sr_blkif_abi abi)
{
	int rc = sr_blkif_layout_init(&f->layout, pages, order, abi);

	if (rc)
		return rc;
	sr_ring_init_shared(pages);
	return sr_ring_front_attach(&f->ring, pages, f->layout.mask + 1, 0, 0);
}

/*
 * Prefetches up to `count` of the next responses, to read them and to put new requests of one
 * segment in their place. For what pending() has promised only.
 */
static inline void sr_blkif_front_prefetch(const struct sr_blkif_front *f, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *slot =
		    f->layout.slots + sr_blkif_slot_offset(&f->layout, f->ring.rsp_cons + i);

		sr_ring_prefetch_write(slot);
		sr_ring_prefetch_write(slot + f->layout.id_offset + 23);
	}
}

/*
 * Writes a request in the next slot; sr_ring_front_free() must have promised it. Not visible before
 * sr_ring_front_publish().
 */
static inline void sr_blkif_front_put(struct sr_blkif_front *f, const struct sr_blkif_request *req)
{
	sr_blkif_encode(f->layout.slots + sr_blkif_slot_offset(&f->layout, f->ring.req_prod_pvt),
			f->layout.id_offset, req);
	f->ring.req_prod_pvt++;
}

/*
 * Takes the next response, which sr_ring_front_pending() must have promised. Its id is whatever the
 * back wrote: check it before using it.
 */
static inline void sr_blkif_front_take(struct sr_blkif_front *f, struct blkif_response *rsp)
{
	const uint8_t *slot = f->layout.slots + sr_blkif_slot_offset(&f->layout, f->ring.rsp_cons);
	uint32_t tail = sr_ring_load((const uint32_t *)(const void *)(slot + 8));

	rsp->id = sr_blkif_load64(slot, f->layout.id_offset == 8);
	rsp->operation = (uint8_t)tail;
	rsp->status = (int16_t)(tail >> 16);
	f->ring.rsp_cons++;
}

#endif
