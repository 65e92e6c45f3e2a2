/* SPDX-License-Identifier: MIT */
#ifndef SR_RING_NETIF_H
#define SR_RING_NETIF_H

/*
 * The three rings of a vif (<xen/io/netif.h>), each of one page, both ends:
 *
 *            slots  bytes  request carries                     response carries
 *   tx       256    12     gref, offset, flags, id, size       id, status
 *   rx       256    8      id, gref                            id, offset, flags, status
 *   control  128    16     id, type, data[3]                   id, type, status, data
 *
 * Extra info stands in tx in place of a request, in rx in place of a response. A slot does not say
 * what it is: the flags of the slot before it do. So the caller says which it expects
 * (sr_netif_tx_back_take() or _take_extra()), and the words are decoded as that.
 *
 * Nothing here hands out a pointer into a slot: it is copied by value, each 32-bit word of it read
 * exactly once. What is written is zero-padded to the slot's end. Every layout is the same on every
 * architecture: there is no other ABI.
 *
 * A back answers requests in the order in which it took them, as frontends expect an rx response
 * (which may be overlaid by extra info and then has no id) in its request's slot. Each taken slot
 * gets exactly one response.
 *
 * Threads and errors: as in <ring/index.h>. The page is page-aligned and stays the caller's.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <xen/xen.h>

#include <xen/grant_table.h>
#include <xen/io/netif.h>

#include <ring/index.h>

#define SR_NETIF_TX_SLOTS   256u
#define SR_NETIF_RX_SLOTS   256u
#define SR_NETIF_CTRL_SLOTS 128u

/* Bytes of a slot: the larger of request and response. */
#define SR_NETIF_TX_SLOT   12u
#define SR_NETIF_RX_SLOT   8u
#define SR_NETIF_CTRL_SLOT 16u

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "netif is little-endian");
_Static_assert(sizeof(union netif_tx_sring_entry) == SR_NETIF_TX_SLOT &&
		   sizeof(union netif_rx_sring_entry) == SR_NETIF_RX_SLOT &&
		   sizeof(union xen_netif_ctrl_sring_entry) == SR_NETIF_CTRL_SLOT,
	       "slots are Xen's");
_Static_assert(offsetof(struct netif_tx_sring, ring) == sizeof(struct sr_ring_indices) &&
		   offsetof(struct netif_rx_sring, ring) == sizeof(struct sr_ring_indices) &&
		   offsetof(struct xen_netif_ctrl_sring, ring) == sizeof(struct sr_ring_indices),
	       "slots begin behind the indices");
_Static_assert(offsetof(struct netif_tx_request, offset) == 4 &&
		   offsetof(struct netif_tx_request, flags) == 6 &&
		   offsetof(struct netif_tx_request, id) == 8 &&
		   offsetof(struct netif_tx_request, size) == 10 &&
		   offsetof(struct netif_rx_request, gref) == 4 &&
		   offsetof(struct netif_rx_response, flags) == 4 &&
		   sizeof(struct netif_extra_info) == 8,
	       "words are decoded by hand");

/* One end each; which of the rings it is only the functions know. */
struct sr_netif_back {
	struct sr_ring_back ring;
	uint8_t *slots;
};

struct sr_netif_front {
	struct sr_ring_front ring;
	uint8_t *slots;
};

/* --- slots ------------------------------------------------------------------------------------ */

static inline uint32_t *sr_netif_tx_slot(uint8_t *slots, uint32_t i)
{
	return (uint32_t *)(void *)(slots + (i & (SR_NETIF_TX_SLOTS - 1)) * SR_NETIF_TX_SLOT);
}

static inline uint32_t *sr_netif_rx_slot(uint8_t *slots, uint32_t i)
{
	return (uint32_t *)(void *)(slots + (i & (SR_NETIF_RX_SLOTS - 1)) * SR_NETIF_RX_SLOT);
}

static inline uint32_t *sr_netif_ctrl_slot(uint8_t *slots, uint32_t i)
{
	return (uint32_t *)(void *)(slots + (i & (SR_NETIF_CTRL_SLOTS - 1)) * SR_NETIF_CTRL_SLOT);
}

/* Extra info is two words; a tx slot's third is padding, and not read. */
static inline void sr_netif_load_extra(const uint32_t *slot, struct netif_extra_info *extra)
{
	uint32_t words[2] = { sr_ring_load(slot), sr_ring_load(slot + 1) };

	memcpy(extra, words, sizeof(words));
}

static inline void sr_netif_store_extra(uint32_t *slot, const struct netif_extra_info *extra)
{
	uint32_t words[2];

	memcpy(words, extra, sizeof(words));
	sr_ring_store(slot, words[0]);
	sr_ring_store(slot + 1, words[1]);
}

static inline int sr_netif_back_attach(struct sr_netif_back *b, void *page, uint32_t size,
				       uint32_t rsp_prod, uint32_t req_cons)
{
	b->slots = (uint8_t *)page + sizeof(struct sr_ring_indices);
	return sr_ring_back_attach(&b->ring, page, size, rsp_prod, req_cons);
}

/* An empty ring that nobody uses yet, so there is nothing that could be wrong with it. */
static inline void sr_netif_front_init(struct sr_netif_front *f, void *page, uint32_t size)
{
	f->slots = (uint8_t *)page + sizeof(struct sr_ring_indices);
	sr_ring_init_shared(page);
	(void)sr_ring_front_attach(&f->ring, page, size, 0, 0);
}

/* --- tx: the guest sends ---------------------------------------------------------------------- */

/* Begins on the ring at `page`; for positions and errors see sr_ring_back_attach(). */
static inline int sr_netif_tx_back_attach(struct sr_netif_back *b, void *page, uint32_t rsp_prod,
					  uint32_t req_cons)
{
	return sr_netif_back_attach(b, page, SR_NETIF_TX_SLOTS, rsp_prod, req_cons);
}

/* Takes the next slot as a request; sr_ring_back_pending() must have promised it. */
static inline void sr_netif_tx_back_take(struct sr_netif_back *b, struct netif_tx_request *req)
{
	const uint32_t *slot = sr_netif_tx_slot(b->slots, b->ring.req_cons);
	uint32_t w1 = sr_ring_load(slot + 1), w2 = sr_ring_load(slot + 2);

	req->gref = sr_ring_load(slot);
	req->offset = (uint16_t)w1;
	req->flags = (uint16_t)(w1 >> 16);
	req->id = (uint16_t)w2;
	req->size = (uint16_t)(w2 >> 16);
	b->ring.req_cons++;
}

/* Takes the next slot as extra info. The same promise; what it holds is the guest's, unchecked. */
static inline void sr_netif_tx_back_take_extra(struct sr_netif_back *b,
					       struct netif_extra_info *extra)
{
	sr_netif_load_extra(sr_netif_tx_slot(b->slots, b->ring.req_cons), extra);
	b->ring.req_cons++;
}

/*
 * Writes a response in the next slot. status: NETIF_RSP_*, of a slot of extra info NETIF_RSP_NULL
 * with id 0. Not visible before sr_ring_back_publish().
 */
static inline void sr_netif_tx_back_put(struct sr_netif_back *b, uint16_t id, int16_t status)
{
	uint32_t *slot = sr_netif_tx_slot(b->slots, b->ring.rsp_prod_pvt);

	sr_ring_store(slot, id | (uint32_t)(uint16_t)status << 16);
	sr_ring_store(slot + 1, 0);
	sr_ring_store(slot + 2, 0);
	b->ring.rsp_prod_pvt++;
}

/* Asks for the line of the slot that is `ahead` of the next, to read it and to answer in it. */
static inline void sr_netif_tx_back_prefetch(const struct sr_netif_back *b, uint32_t ahead)
{
	sr_ring_prefetch_write(sr_netif_tx_slot(b->slots, b->ring.req_cons + ahead));
}

/* Makes a new, empty ring of the page. */
static inline void sr_netif_tx_front_init(struct sr_netif_front *f, void *page)
{
	sr_netif_front_init(f, page, SR_NETIF_TX_SLOTS);
}

/*
 * Writes a request in the next slot; sr_ring_front_free() must have promised it. Not visible
 * before sr_ring_front_publish(): a packet's slots are to be published together.
 */
static inline void sr_netif_tx_front_put(struct sr_netif_front *f,
					 const struct netif_tx_request *req)
{
	uint32_t *slot = sr_netif_tx_slot(f->slots, f->ring.req_prod_pvt);

	sr_ring_store(slot, req->gref);
	sr_ring_store(slot + 1, req->offset | (uint32_t)req->flags << 16);
	sr_ring_store(slot + 2, req->id | (uint32_t)req->size << 16);
	f->ring.req_prod_pvt++;
}

/* The same for extra info. */
static inline void sr_netif_tx_front_put_extra(struct sr_netif_front *f,
					       const struct netif_extra_info *extra)
{
	uint32_t *slot = sr_netif_tx_slot(f->slots, f->ring.req_prod_pvt);

	sr_netif_store_extra(slot, extra);
	sr_ring_store(slot + 2, 0);
	f->ring.req_prod_pvt++;
}

/*
 * Takes the next response, which sr_ring_front_pending() must have promised. NETIF_RSP_NULL: of a
 * slot of extra info, the id means nothing. Else the id is whatever the back wrote: check it.
 */
static inline void sr_netif_tx_front_take(struct sr_netif_front *f, struct netif_tx_response *rsp)
{
	uint32_t w = sr_ring_load(sr_netif_tx_slot(f->slots, f->ring.rsp_cons));

	rsp->id = (uint16_t)w;
	rsp->status = (int16_t)(w >> 16);
	f->ring.rsp_cons++;
}

/*
 * Asks for the lines of the next `count` responses, of which sr_ring_front_pending() has told, to
 * read them and to write requests there later.
 */
static inline void sr_netif_tx_front_prefetch(const struct sr_netif_front *f, uint32_t count)
{
	/* Five slots make a line, nearly. */
	for (uint32_t i = 0; i < count; i += 5)
		sr_ring_prefetch_write(sr_netif_tx_slot(f->slots, f->ring.rsp_cons + i));
}

/* --- rx: the guest receives ------------------------------------------------------------------- */

static inline int sr_netif_rx_back_attach(struct sr_netif_back *b, void *page, uint32_t rsp_prod,
					  uint32_t req_cons)
{
	return sr_netif_back_attach(b, page, SR_NETIF_RX_SLOTS, rsp_prod, req_cons);
}

static inline void sr_netif_rx_back_take(struct sr_netif_back *b, struct netif_rx_request *req)
{
	const uint32_t *slot = sr_netif_rx_slot(b->slots, b->ring.req_cons);
	uint32_t w0 = sr_ring_load(slot);

	req->id = (uint16_t)w0;
	req->pad = 0;
	req->gref = sr_ring_load(slot + 1);
	b->ring.req_cons++;
}

/* Writes a response in the next slot: that of the oldest request without one. */
static inline void sr_netif_rx_back_put(struct sr_netif_back *b,
					const struct netif_rx_response *rsp)
{
	uint32_t *slot = sr_netif_rx_slot(b->slots, b->ring.rsp_prod_pvt);

	sr_ring_store(slot, rsp->id | (uint32_t)rsp->offset << 16);
	sr_ring_store(slot + 1, rsp->flags | (uint32_t)(uint16_t)rsp->status << 16);
	b->ring.rsp_prod_pvt++;
}

/* Writes extra info in the next slot: it uses up a request, whose id the front knows by the slot.
 */
static inline void sr_netif_rx_back_put_extra(struct sr_netif_back *b,
					      const struct netif_extra_info *extra)
{
	sr_netif_store_extra(sr_netif_rx_slot(b->slots, b->ring.rsp_prod_pvt), extra);
	b->ring.rsp_prod_pvt++;
}

static inline void sr_netif_rx_back_prefetch(const struct sr_netif_back *b, uint32_t ahead)
{
	sr_ring_prefetch_write(sr_netif_rx_slot(b->slots, b->ring.req_cons + ahead));
}

static inline void sr_netif_rx_front_init(struct sr_netif_front *f, void *page)
{
	sr_netif_front_init(f, page, SR_NETIF_RX_SLOTS);
}

static inline void sr_netif_rx_front_put(struct sr_netif_front *f, uint16_t id, uint32_t gref)
{
	uint32_t *slot = sr_netif_rx_slot(f->slots, f->ring.req_prod_pvt);

	sr_ring_store(slot, id);
	sr_ring_store(slot + 1, gref);
	f->ring.req_prod_pvt++;
}

/*
 * Takes the next response. Which request it answers the slot says, f->ring.rsp_cons before the
 * call modulo SR_NETIF_RX_SLOTS; offset, status and id are the back's, unchecked.
 */
static inline void sr_netif_rx_front_take(struct sr_netif_front *f, struct netif_rx_response *rsp)
{
	const uint32_t *slot = sr_netif_rx_slot(f->slots, f->ring.rsp_cons);
	uint32_t w0 = sr_ring_load(slot), w1 = sr_ring_load(slot + 1);

	rsp->id = (uint16_t)w0;
	rsp->offset = (uint16_t)(w0 >> 16);
	rsp->flags = (uint16_t)w1;
	rsp->status = (int16_t)(w1 >> 16);
	f->ring.rsp_cons++;
}

/* The same where the response before it, or the extra info before it, announced extra info. */
static inline void sr_netif_rx_front_take_extra(struct sr_netif_front *f,
						struct netif_extra_info *extra)
{
	sr_netif_load_extra(sr_netif_rx_slot(f->slots, f->ring.rsp_cons), extra);
	f->ring.rsp_cons++;
}

/* As sr_netif_tx_front_prefetch(). */
static inline void sr_netif_rx_front_prefetch(const struct sr_netif_front *f, uint32_t count)
{
	for (uint32_t i = 0; i < count; i += 8)
		sr_ring_prefetch_write(sr_netif_rx_slot(f->slots, f->ring.rsp_cons + i));
}

/* --- control ---------------------------------------------------------------------------------- */

static inline int sr_netif_ctrl_back_attach(struct sr_netif_back *b, void *page, uint32_t rsp_prod,
					    uint32_t req_cons)
{
	return sr_netif_back_attach(b, page, SR_NETIF_CTRL_SLOTS, rsp_prod, req_cons);
}

static inline void sr_netif_ctrl_back_take(struct sr_netif_back *b,
					   struct xen_netif_ctrl_request *req)
{
	const uint32_t *slot = sr_netif_ctrl_slot(b->slots, b->ring.req_cons);
	uint32_t w0 = sr_ring_load(slot);

	req->id = (uint16_t)w0;
	req->type = (uint16_t)(w0 >> 16);
	for (unsigned i = 0; i < 3; i++)
		req->data[i] = sr_ring_load(slot + 1 + i);
	b->ring.req_cons++;
}

static inline void sr_netif_ctrl_back_put(struct sr_netif_back *b,
					  const struct xen_netif_ctrl_response *rsp)
{
	uint32_t *slot = sr_netif_ctrl_slot(b->slots, b->ring.rsp_prod_pvt);

	sr_ring_store(slot, rsp->id | (uint32_t)rsp->type << 16);
	sr_ring_store(slot + 1, rsp->status);
	sr_ring_store(slot + 2, rsp->data);
	sr_ring_store(slot + 3, 0);
	b->ring.rsp_prod_pvt++;
}

static inline void sr_netif_ctrl_front_init(struct sr_netif_front *f, void *page)
{
	sr_netif_front_init(f, page, SR_NETIF_CTRL_SLOTS);
}

static inline void sr_netif_ctrl_front_put(struct sr_netif_front *f,
					   const struct xen_netif_ctrl_request *req)
{
	uint32_t *slot = sr_netif_ctrl_slot(f->slots, f->ring.req_prod_pvt);

	sr_ring_store(slot, req->id | (uint32_t)req->type << 16);
	for (unsigned i = 0; i < 3; i++)
		sr_ring_store(slot + 1 + i, req->data[i]);
	f->ring.req_prod_pvt++;
}

static inline void sr_netif_ctrl_front_take(struct sr_netif_front *f,
					    struct xen_netif_ctrl_response *rsp)
{
	const uint32_t *slot = sr_netif_ctrl_slot(f->slots, f->ring.rsp_cons);
	uint32_t w0 = sr_ring_load(slot);

	rsp->id = (uint16_t)w0;
	rsp->type = (uint16_t)(w0 >> 16);
	rsp->status = sr_ring_load(slot + 1);
	rsp->data = sr_ring_load(slot + 2);
	f->ring.rsp_cons++;
}

#endif
