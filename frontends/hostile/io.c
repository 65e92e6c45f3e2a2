/* SPDX-License-Identifier: MIT */
/* Requests, honest or as they come; and a thread that rewrites them meanwhile. */
#include <hostile/hostile.h>

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include <hypervisor.h>

#include "internal.h"

#define SECTORS_PER_PAGE (SR_PAGE_SIZE / 512)

struct sr_blkif_request sr_hostile_request(struct sr_hostile *h, uint8_t operation, uint64_t sector,
					   unsigned segments)
{
	struct sr_blkif_request req = { .operation = operation,
					.id = h->next_id++,
					.sector = sector,
					.nr_segments = (uint16_t)segments };

	for (unsigned i = 0; i < segments && i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++)
		req.segs[i] = (struct blkif_request_segment){
			.gref = h->data_refs[i % SR_HOSTILE_PAGES],
			.last_sect = SECTORS_PER_PAGE - 1,
		};
	return req;
}

struct sr_blkif_request sr_hostile_indirect(struct sr_hostile *h, uint8_t operation,
					    uint64_t sector, unsigned segments)
{
	struct sr_blkif_request req = { .operation = BLKIF_OP_INDIRECT,
					.indirect_op = operation,
					.id = h->next_id++,
					.sector = sector,
					.nr_segments = (uint16_t)segments };
	uint8_t *page = h->data + (SR_HOSTILE_PAGES - 1) * SR_PAGE_SIZE;
	struct blkif_request_segment segs[SR_BLKIF_SEGS_PER_PAGE];

	for (unsigned i = 0; i < SR_BLKIF_SEGS_PER_PAGE; i++)
		segs[i] = (struct blkif_request_segment){
			.gref = h->data_refs[i % (SR_HOSTILE_PAGES - 1)],
			.last_sect = SECTORS_PER_PAGE - 1,
		};
	sr_blkif_put_segments(page, segs, SR_BLKIF_SEGS_PER_PAGE);
	for (unsigned i = 0; i < BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST; i++)
		req.grefs[i] = h->data_refs[SR_HOSTILE_PAGES - 1];
	return req;
}

void sr_hostile_put(struct sr_hostile *h, const struct sr_blkif_request *req)
{
	sr_blkif_front_put(&h->io, req);
}

void sr_hostile_put_head(struct sr_hostile *h, const struct sr_blkif_request *req, uint32_t head)
{
	const struct sr_blkif_layout *l = &h->io.layout;
	uint8_t *slot = l->slots + sr_blkif_slot_offset(l, h->io.ring.req_prod_pvt);

	sr_blkif_front_put(&h->io, req);
	sr_ring_store((uint32_t *)(void *)slot, head);
}

int sr_hostile_kick(struct sr_hostile *h)
{
	sr_ring_front_publish_and_check(&h->io.ring);
	return sr_evtchn_notify(h->ev, h->port);
}

/* Waits for an event, whichever; what was pending is unmasked. */
static int wait_event(struct sr_hostile *h, int64_t end)
{
	struct pollfd p = { .fd = sr_evtchn_fd(h->ev), .events = POLLIN };
	int64_t left = end - sr_hostile_now_ms();
	uint32_t port;

	if (left <= 0 || poll(&p, 1, (int)left) == 0)
		return -ETIMEDOUT;
	while (!sr_evtchn_pending(h->ev, &port))
		sr_evtchn_unmask(h->ev, port);
	return 0;
}

int sr_hostile_response(struct sr_hostile *h, int timeout_ms, struct blkif_response *rsp)
{
	int64_t end = sr_hostile_now_ms() + timeout_ms;
	int count;

	for (;;) {
		count = sr_ring_front_pending(&h->io.ring);
		if (count == 0)
			count = sr_ring_front_arm(&h->io.ring, 1);
		if (count < 0)
			return count;
		if (count > 0)
			break;
		if (wait_event(h, end))
			return -ETIMEDOUT;
	}
	sr_blkif_front_take(&h->io, rsp);
	return 0;
}

uint8_t sr_hostile_response_operation(const struct sr_blkif_request *req)
{
	return req->operation == BLKIF_OP_INDIRECT ? req->indirect_op : req->operation;
}

int sr_hostile_io(struct sr_hostile *h, const struct sr_blkif_request *req, int timeout_ms,
		  int *status)
{
	struct blkif_response rsp;
	int rc;

	sr_hostile_put(h, req);
	rc = sr_hostile_kick(h);
	if (!rc)
		rc = sr_hostile_response(h, timeout_ms, &rsp);
	if (rc)
		return rc;
	if (rsp.id != req->id || rsp.operation != sr_hostile_response_operation(req))
		return -EBADMSG;
	*status = rsp.status;
	return 0;
}

struct sr_hostile_flipper {
	pthread_t thread;
	uint32_t *at;
	size_t words;
	uint64_t random;
	uint32_t stop;
};

static void *flip(void *arg)
{
	struct sr_hostile_flipper *f = arg;

	while (!sr_ring_load(&f->stop)) {
		uint64_t r = sr_hostile_next(&f->random);
		uint32_t *word = f->at + (r >> 32) % f->words;

		/* Small changes as well as any: a bit more, a bit less, is what slips through. */
		if (r & 1)
			sr_ring_store(word, (uint32_t)sr_hostile_next(&f->random));
		else
			sr_ring_store(word, sr_ring_load(word) ^ 1u << (r >> 1 & 31));
	}
	return NULL;
}

int sr_hostile_flip(void *at, size_t words, uint64_t seed, struct sr_hostile_flipper **flipper)
{
	struct sr_hostile_flipper *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return -ENOMEM;
	f->at = at;
	f->words = words;
	f->random = seed | 1;
	rc = pthread_create(&f->thread, NULL, flip, f);
	if (rc) {
		free(f);
		return -rc;
	}
	*flipper = f;
	return 0;
}

void sr_hostile_flip_stop(struct sr_hostile_flipper *f)
{
	if (!f)
		return;
	sr_ring_store(&f->stop, 1);
	pthread_join(f->thread, NULL);
	free(f);
}
