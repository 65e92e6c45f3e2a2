/* SPDX-License-Identifier: MIT */
/* A guest that does anything, at any time. */
#include <hostile/hostile.h>

#include <stdio.h>
#include <string.h>

#include <xen/io/xenbus.h>

#include <hypervisor.h>

#include "internal.h"

struct dice {
	struct sr_hostile *h;
	uint64_t random;
	struct sr_hostile_flipper *flipper;
};

static uint64_t any(struct dice *d)
{
	return sr_hostile_next(&d->random);
}

static unsigned below(struct dice *d, unsigned limit)
{
	return (unsigned)((any(d) >> 16) % limit);
}

/* A number that somebody may have forgotten to think of. */
static uint64_t odd_number(struct dice *d)
{
	static const uint64_t odd[] = {
		0,          1,
		2,          7,
		8,          11,
		12,         31,
		32,         33,
		255,        256,
		257,        511,
		512,        513,
		4095,       4096,
		4097,       65535,
		65536,      0x7fffffff,
		0x80000000, 0xffffffff,
		1 << 30,    1ull << 32,
		1ull << 54, 1ull << 55,
		1ull << 63, INT64_MAX,
		UINT64_MAX, 1 << 10,
		1ull << 53, UINT64_MAX - 7,
	};

	if (below(d, 4) == 0)
		return any(d) >> below(d, 64);
	return odd[below(d, sizeof(odd) / sizeof(odd[0]))];
}

static void odd_text(struct dice *d, char *text, size_t size)
{
	static const char *const odd[] = {
		"",
		" ",
		"-1",
		"+1",
		"1 ",
		"0x10",
		"010",
		"1e3",
		"abc",
		"\xff\xfe",
		"%s%n",
		"/",
		"..",
		"18446744073709551616",
		"99999999999999999999999999",
		"x86_64-abi",
		"x86_32-abi",
		"arm-abi",
		"sparc-abi",
		"1,2",
		"\n",
		"4294967296",
		"2147483648",
	};

	switch (below(d, 3)) {
	case 0:
		snprintf(text, size, "%s", odd[below(d, sizeof(odd) / sizeof(odd[0]))]);
		break;
	case 1:
		snprintf(text, size, "%llu", (unsigned long long)odd_number(d));
		break;
	default:
		memset(text, 'a' + (int)below(d, 26), size - 1);
		text[below(d, (unsigned)size)] = '\0';
		text[size - 1] = '\0';
		break;
	}
}

static void write_odd_node(struct dice *d)
{
	static const char *const nodes[] = {
		"state",
		"ring-ref",
		"ring-ref0",
		"ring-ref1",
		"ring-page-order",
		"event-channel",
		"protocol",
		"multi-queue-num-queues",
		"feature-persistent",
		"queue-0/ring-ref",
		"queue-0/event-channel",
		"queue-1/ring-ref",
		"virtual-device",
		"device-type",
		"trusted",
		"feature-persistent",
		"some-other",
		"backend-state",
	};
	const char *node = nodes[below(d, sizeof(nodes) / sizeof(nodes[0]))];
	char text[512];

	odd_text(d, text, sizeof(text));
	sr_hostile_set(d->h, node, below(d, 8) ? text : NULL);
}

static void random_state(struct dice *d)
{
	sr_hostile_setf(d->h, "state", "%u", below(d, 10));
}

static void stop_flipping(struct dice *d)
{
	sr_hostile_flip_stop(d->flipper);
	d->flipper = NULL;
}

static void connect(struct dice *d)
{
	enum sr_blkif_abi abi = below(d, SR_BLKIF_ABI_ARM + 1);
	unsigned order = below(d, 3);

	stop_flipping(d);
	d->h->persistent = below(d, 2);
	if (sr_hostile_reset(d->h, d->h->patience_ms))
		return;
	if (below(d, 3)) {
		sr_hostile_connect(d->h, order, abi, d->h->patience_ms);
		return;
	}
	if (sr_hostile_make_ring(d->h, order, abi))
		return;
	sr_hostile_write_nodes(d->h);
	write_odd_node(d);
	random_state(d);
}

static void disconnect(struct dice *d)
{
	stop_flipping(d);
	switch (below(d, 3)) {
	case 0:
		sr_hostile_reset(d->h, d->h->patience_ms);
		break;
	case 1:
		/* Without a word: the backend may still be at work on it. */
		sr_hostile_drop_ring(d->h);
		break;
	default:
		sr_hostile_setf(d->h, "state", "%d", XenbusStateClosing);
		break;
	}
}

static uint32_t odd_gref(struct dice *d)
{
	uint32_t odd;

	switch (below(d, 6)) {
	case 0:
		odd = (uint32_t)odd_number(d);
		/* A read to its own console or xenstore would end the guest's part in this. */
		return odd < d->h->lowest_ref ? d->h->lowest_ref : odd;
	case 1:
		return d->h->readonly_ref;
	case 2:
		return d->h->ring_refs[0];
	default:
		return d->h->data_refs[below(d, SR_HOSTILE_PAGES)];
	}
}

static void spoil(struct dice *d, struct sr_blkif_request *req)
{
	struct blkif_request_segment *seg = &req->segs[below(d, BLKIF_MAX_SEGMENTS_PER_REQUEST)];

	switch (below(d, 9)) {
	case 0:
		req->operation = (uint8_t)odd_number(d);
		if (req->nr_segments > BLKIF_MAX_SEGMENTS_PER_REQUEST)
			req->nr_segments = BLKIF_MAX_SEGMENTS_PER_REQUEST;
		break;
	case 1:
		req->sector = odd_number(d);
		break;
	case 2:
		req->sector = UINT64_MAX - below(d, 100);
		break;
	case 3:
		if (req->operation == BLKIF_OP_INDIRECT)
			req->grefs[below(d, BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST)] = odd_gref(d);
		else if (req->operation != BLKIF_OP_DISCARD)
			seg->gref = odd_gref(d);
		break;
	case 4:
		seg->first_sect = (uint8_t)odd_number(d);
		break;
	case 5:
		seg->last_sect = (uint8_t)odd_number(d);
		break;
	case 6:
		req->handle = (uint16_t)odd_number(d);
		break;
	case 7:
		req->indirect_op = (uint8_t)odd_number(d);
		break;
	default:
		req->id = odd_number(d);
		break;
	}
}

static void put_request(struct dice *d)
{
	static const uint8_t ops[] = { BLKIF_OP_READ,          BLKIF_OP_WRITE,
				       BLKIF_OP_WRITE_BARRIER, BLKIF_OP_FLUSH_DISKCACHE,
				       BLKIF_OP_READ,          BLKIF_OP_WRITE };
	struct sr_blkif_request req;
	uint64_t sector = below(d, 4096);

	switch (below(d, 4)) {
	case 0:
		req = sr_hostile_indirect(d->h, (uint8_t)below(d, 3), sector, below(d, 513));
		break;
	case 1:
		req = sr_hostile_request(d->h, BLKIF_OP_DISCARD, sector, 0);
		req.nr_sectors = odd_number(d);
		req.flag = (uint8_t)below(d, 4);
		break;
	default:
		req = sr_hostile_request(d->h, ops[below(d, sizeof(ops))], sector, below(d, 12));
		break;
	}
	if (below(d, 3) == 0)
		spoil(d, &req);
	if (below(d, 16))
		sr_hostile_put(d->h, &req);
	else
		sr_hostile_put_head(d->h, &req, req.operation | (uint32_t)any(d) << 8);
}

static void requests(struct dice *d)
{
	struct blkif_response rsp;
	const struct sr_ring_front *ring = &d->h->io.ring;
	uint32_t room = sr_ring_front_free(ring);
	/* As a rule what fits, now and then more; and then the ring's own count is wrong too. */
	unsigned count = below(d, below(d, 16) && room <= ring->size ? room + 1 : 700);

	while (count--)
		put_request(d);
	sr_hostile_kick(d->h);
	for (unsigned i = below(d, 40); i && !sr_hostile_response(d->h, 1, &rsp); i--)
		;
}

/* The shared words, or what lies in the slots. */
static void scribble(struct dice *d)
{
	uint32_t *words = (void *)d->h->ring;
	size_t count = ((size_t)SR_PAGE_SIZE << d->h->order) / 4;

	if (below(d, 4) == 0)
		sr_ring_store(words + below(d, 4), (uint32_t)odd_number(d));
	else if (below(d, 4) == 0)
		sr_ring_store(words, sr_ring_load(words) + below(d, 80));
	else
		for (unsigned i = below(d, 200); i; i--)
			sr_ring_store(words + 16 + below(d, (unsigned)count - 16),
				      (uint32_t)any(d));
	sr_evtchn_notify(d->h->ev, d->h->port);
}

static void flip_for_a_while(struct dice *d)
{
	size_t page = SR_PAGE_SIZE / 4;

	if (d->flipper) {
		stop_flipping(d);
		return;
	}
	if (below(d, 2))
		/* Behind the indices, so that the device lives to see it. */
		sr_hostile_flip(d->h->ring + 64, (page << d->h->order) - 16, any(d), &d->flipper);
	else
		sr_hostile_flip(d->h->data, page * SR_HOSTILE_PAGES, any(d), &d->flipper);
}

static void storm(struct dice *d)
{
	for (unsigned i = below(d, 500); i; i--)
		sr_evtchn_notify(d->h->ev, d->h->port);
}

int sr_hostile_random(struct sr_hostile *h, uint64_t seed, unsigned long steps)
{
	struct dice d = { .h = h, .random = seed * 0x9e3779b97f4a7c15u | 1 };

	for (unsigned long i = 0; i < steps; i++) {
		unsigned what = below(&d, 100);

		if (!h->ring || what < 4)
			connect(&d);
		else if (what < 6)
			disconnect(&d);
		else if (what < 8)
			write_odd_node(&d);
		else if (what < 9)
			random_state(&d);
		else if (what < 12)
			scribble(&d);
		else if (what < 16)
			flip_for_a_while(&d);
		else if (what < 18)
			storm(&d);
		else
			requests(&d);
	}
	stop_flipping(&d);
	return 0;
}
