/* SPDX-License-Identifier: MIT */
/*
 * Whatever the other end writes into the shared pages, and whenever: the indices are disbelieved
 * or within bounds, a request or response stays within its structure, nothing outside of the pages
 * is touched, and an honest request comes through as it was sent.
 */
#include "../fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <ring/blkif.h>

enum { PAGE = 4096, MAX_BYTES = PAGE << SR_BLKIF_MAX_RING_ORDER };

struct input {
	const uint8_t *data;
	size_t size;
};

static uint8_t byte(struct input *in)
{
	if (!in->size)
		return 0;
	in->size--;
	return *in->data++;
}

static uint32_t word(struct input *in)
{
	uint32_t v = byte(in);

	v |= (uint32_t)byte(in) << 8;
	v |= (uint32_t)byte(in) << 16;
	return v | (uint32_t)byte(in) << 24;
}

static void must(int good)
{
	if (!good)
		abort();
}

/* As much room as the largest ring needs, between pages that nobody may touch. */
static uint8_t *guarded_pages(void)
{
	static uint8_t *all;

	if (!all) {
		all =
		    mmap(NULL, MAX_BYTES + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must(all != MAP_FAILED);
		must(!mprotect(all + PAGE, MAX_BYTES, PROT_READ | PROT_WRITE));
	}
	return all + PAGE;
}

/* An index near where it could be, so that not every input ends in -EPROTO at once. */
static uint32_t near(struct input *in, uint32_t index)
{
	uint8_t how = byte(in);

	return how < 224 ? index + how % 40 : word(in);
}

static void check_request(const struct sr_blkif_request *req)
{
	must(!(req->malformed && req->nr_segments));
	if (req->operation == BLKIF_OP_INDIRECT)
		must(req->nr_segments <= SR_BLKIF_MAX_INDIRECT_SEGS &&
		     (req->malformed || req->indirect_op <= BLKIF_OP_WRITE));
	else
		must(req->nr_segments <= BLKIF_MAX_SEGMENTS_PER_REQUEST);
}

/* Puts what was read back into a slot of its own: the two must say the same. */
static void check_round_trip(const struct sr_blkif_request *req, uint16_t id_offset)
{
	uint64_t slot[14];
	struct sr_blkif_request again;

	if (req->malformed)
		return;
	memset(slot, 0xee, sizeof(slot));
	sr_blkif_encode((uint8_t *)slot, id_offset, req);
	sr_blkif_decode((const uint8_t *)slot, id_offset, &again);
	must(again.id == req->id && again.sector == req->sector &&
	     again.operation == req->operation && again.handle == req->handle &&
	     again.nr_segments == req->nr_segments && again.flag == req->flag && !again.malformed);
	if (req->operation == BLKIF_OP_DISCARD)
		must(again.nr_sectors == req->nr_sectors);
	else if (req->operation == BLKIF_OP_INDIRECT)
		must(!memcmp(again.grefs, req->grefs,
			     4 * sr_blkif_indirect_pages(req->nr_segments)));
	else
		for (unsigned i = 0; i < req->nr_segments; i++)
			must(again.segs[i].gref == req->segs[i].gref &&
			     again.segs[i].first_sect == req->segs[i].first_sect &&
			     again.segs[i].last_sect == req->segs[i].last_sect);
}

/* A hostile front: one step of the back's loop over what it wrote. */
static void back_step(struct input *in, struct sr_blkif_back *b)
{
	int count = sr_ring_back_pending(&b->ring);

	must(count == -EPROTO || (count >= 0 && (uint32_t)count <= b->ring.size));
	if (count > 0)
		sr_blkif_back_prefetch(b, 0, (uint32_t)count);
	for (int take = byte(in); take > 0 && count > 0; take--, count--) {
		struct sr_blkif_request req;

		sr_blkif_back_take(b, &req);
		check_request(&req);
		check_round_trip(&req, b->layout.id_offset);
	}
	must(sr_ring_back_in_flight(&b->ring) <= b->ring.size);
	for (int put = byte(in); put > 0 && sr_ring_back_in_flight(&b->ring); put--)
		sr_blkif_back_put(b, word(in), byte(in), BLKIF_RSP_ERROR);
	sr_ring_back_publish(&b->ring);
	sr_ring_back_notify_needed(&b->ring);
	count = sr_ring_back_arm(&b->ring);
	must(count == -EPROTO || (count >= 0 && (uint32_t)count <= b->ring.size));
}

/* A hostile back: one step of the front's loop. */
static void front_step(struct input *in, struct sr_blkif_front *f)
{
	struct sr_blkif_request req = { .operation = BLKIF_OP_READ, .nr_segments = 11 };
	struct blkif_response rsp;
	int count;

	for (int put = byte(in); put > 0 && sr_ring_front_free(&f->ring); put--)
		sr_blkif_front_put(f, &req);
	if (byte(in) & 1)
		sr_ring_front_publish_and_check(&f->ring);
	count = sr_ring_front_pending(&f->ring);
	must(count == -EPROTO || (count >= 0 && (uint32_t)count <= f->ring.size));
	for (int take = byte(in); take > 0 && count > 0; take--, count--)
		sr_blkif_front_take(f, &rsp);
	must(sr_ring_front_free(&f->ring) <= f->ring.size);
	count = sr_ring_front_arm(&f->ring, 1);
	must(count == -EPROTO || (count >= 0 && (uint32_t)count <= f->ring.size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint8_t *pages = guarded_pages();
	struct sr_ring_indices *shared = (void *)pages;
	uint8_t how = byte(&in);
	unsigned order = how >> 5;
	enum sr_blkif_abi abi = how & 3;
	uint32_t rsp_prod = word(&in), req_cons = near(&in, rsp_prod);
	struct sr_blkif_front front;
	struct sr_blkif_back back;

	memset(pages, 0, PAGE);
	if (sr_blkif_front_init(&front, pages, order, abi)) {
		must(order > SR_BLKIF_MAX_RING_ORDER);
		return 0;
	}
	if (sr_blkif_back_attach(&back, pages, order, abi, rsp_prod, req_cons)) {
		must(req_cons - rsp_prod > front.ring.size);
		return 0;
	}
	while (in.size) {
		/* The ring's last slot matters too: its end is where the room ends. */
		uint32_t at = word(&in) % (uint32_t)(PAGE << order);

		for (uint8_t n = byte(&in) % 32; n && at < (uint32_t)(PAGE << order); n--)
			pages[at++] = byte(&in);
		if (how & 16) {
			shared->rsp_prod = near(&in, front.ring.rsp_cons);
			front_step(&in, &front);
		} else {
			shared->req_prod = near(&in, back.ring.req_cons);
			shared->rsp_event = near(&in, back.ring.rsp_prod_pvt);
			back_step(&in, &back);
		}
	}
	return 0;
}
