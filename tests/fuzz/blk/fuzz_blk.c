/* SPDX-License-Identifier: MIT */
/*
 * What a guest writes and the backend believes only after a check: its nodes and its requests.
 * Whatever is accepted is within the bounds that the rest of the engine relies on.
 */
#include "../input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "negotiate.h"
#include "request.h"

#define NODE_SIZE 24u

/* --- nodes --------------------------------------------------------------------------------------
 */

struct nodes {
	struct input in;
	char value[NODE_SIZE];
};

/* Each node is missing, a small number, or whatever the input has. */
static const char *node(void *ctx, const char *key)
{
	struct nodes *n = ctx;
	unsigned kind = (unsigned)take(&n->in, 1);

	if (kind < 40)
		return NULL;
	if (kind < 200) {
		snprintf(n->value, sizeof(n->value), "%u", (unsigned)take(&n->in, 1) % 40);
		return n->value;
	}
	for (size_t i = 0; i < sizeof(n->value) - 1; i++)
		n->value[i] = (char)take(&n->in, 1);
	n->value[sizeof(n->value) - 1] = 0;
	return n->value;
}

static void fuzz_nodes(struct input in)
{
	struct sr_blk_offer offer = {
		.max_queues = 1 + (unsigned)take(&in, 1) % SR_RECORD_QUEUES,
		.max_order = (unsigned)take(&in, 1) % (SR_BLKIF_MAX_RING_ORDER + 1),
		.persistent = true,
	};
	struct sr_blk_connection conn;
	struct nodes nodes = { .in = in };
	char error[160] = "";

	if (sr_blk_negotiate(&offer, node, &nodes, &conn, error, sizeof(error))) {
		must(error[0] != 0, "refused without a word");
		must(memchr(error, 0, sizeof(error)) != NULL, "an endless error");
		return;
	}
	must(conn.queues >= 1 && conn.queues <= offer.max_queues, "queues");
	must(conn.order <= offer.max_order, "order");
	must(conn.abi <= SR_BLKIF_ABI_ARM, "abi");
	for (unsigned i = 0; i < conn.queues; i++)
		must(conn.setup[i].port <= 131071, "port");
}

/* --- requests -----------------------------------------------------------------------------------
 */

static void fuzz_request(struct input in)
{
	struct blkif_request_segment segs[256];
	struct sr_blkif_request req = { 0 };
	struct sr_blk_disk disk = {
		.sectors = take(&in, 1) & 1 ? take(&in, 8) >> 9 : take(&in, 2),
		.unit = take(&in, 1) & 1 ? 8 : 1,
		.max_segments = 256,
		.barrier = true,
		.flush_feature = true,
		.discard = true,
		.block = 512,
	};
	uint8_t slot[112];
	struct sr_blk_job job;
	uint64_t sum = 0;

	for (size_t i = 0; i < sizeof(slot); i++)
		slot[i] = (uint8_t)take(&in, 1);
	slot[0] %= 8;
	sr_blkif_decode(slot, 8, &req);
	if (sr_blk_check_operation(&disk, &req, &job).status)
		return;
	if (job.op != SR_STAT_DISCARD) {
		bool indirect = req.operation == BLKIF_OP_INDIRECT;
		unsigned max = indirect ? disk.max_segments : BLKIF_MAX_SEGMENTS_PER_REQUEST;

		must(req.nr_segments <= max, "segments");
		for (unsigned i = 0; i < req.nr_segments; i++) {
			segs[i] = req.segs[i % BLKIF_MAX_SEGMENTS_PER_REQUEST];
			segs[i].first_sect &= take(&in, 1) & 1 ? 7 : 255;
			segs[i].last_sect |= segs[i].first_sect;
		}
		if (sr_blk_check_segments(&disk, req.sector, segs, req.nr_segments, &job).status)
			return;
		for (unsigned i = 0; i < req.nr_segments; i++) {
			must(segs[i].first_sect <= segs[i].last_sect && segs[i].last_sect < 8,
			     "a segment leaves its page");
			sum += segs[i].last_sect - segs[i].first_sect + 1u;
		}
		must(job.length == sum << 9, "the sum");
	}
	must(job.length >> 9 <= disk.sectors && job.offset >> 9 <= disk.sectors - (job.length >> 9),
	     "beyond the disk");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };

	if (take(&in, 1) & 1)
		fuzz_nodes(in);
	else
		fuzz_request(in);
	return 0;
}
