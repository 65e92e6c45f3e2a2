/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <poll.h>
#include <stdlib.h>

int rig_open(struct rig *rig, const char *library, const char *target, bool read_only)
{
	int err;

	*rig = (struct rig){ 0 };
	assert_int_equal(sr_blk_registry_new(&rig->registry), 0);
	if (library &&
	    sr_blk_registry_load(rig->registry, library, NULL, rig->error, sizeof(rig->error)))
		fail_msg("%s", rig->error);
	if (sr_blk_target_parse(rig->registry, target, &rig->target, rig->error,
				sizeof(rig->error)))
		fail_msg("%s", rig->error);
	rig->driver = rig->target.driver;
	err = sr_blk_target_open(&rig->target, read_only, &rig->disk, &rig->info, rig->error,
				 sizeof(rig->error));
	if (err) {
		sr_blk_target_clear(&rig->target);
		sr_blk_registry_free(rig->registry);
	}
	return err;
}

void rig_close(struct rig *rig)
{
	if (rig->driver->close)
		rig->driver->close(rig->disk);
	sr_blk_target_clear(&rig->target);
	sr_blk_registry_free(rig->registry);
}

void rig_queue_open(struct rig *rig, struct rig_queue *queue, unsigned depth, unsigned index,
		    unsigned count)
{
	const struct sr_blk_queue_params params = { .depth = depth,
						    .index = index,
						    .count = count };
	size_t stride = (rig->driver->scratch_size + 15) & ~(size_t)15;

	*queue = (struct rig_queue){ .rig = rig, .depth = depth, .queue = rig->disk };
	if (rig->driver->queue_open)
		assert_int_equal(rig->driver->queue_open(rig->disk, &params, &queue->queue), 0);
	queue->requests = calloc(depth, sizeof(*queue->requests));
	queue->scratch = aligned_alloc(16, depth * stride + 16);
	assert_true(queue->requests && queue->scratch);
	memset(queue->scratch, 0, depth * stride + 16);
	for (unsigned i = 0; i < depth; i++) {
		queue->requests[i].index = i;
		queue->requests[i].req.scratch = queue->scratch + i * stride;
	}
}

void rig_queue_close(struct rig_queue *queue)
{
	assert_int_equal(queue->inflight, 0);
	if (queue->rig->driver->queue_close)
		queue->rig->driver->queue_close(queue->queue);
	free(queue->requests);
	free(queue->scratch);
}

struct rig_request *rig_take(struct rig_queue *queue)
{
	for (unsigned i = 0; i < queue->depth; i++)
		if (!queue->requests[i].busy)
			return &queue->requests[i];
	return NULL;
}

bool rig_submit(struct rig_queue *queue, struct rig_request *request, bool *done)
{
	assert_false(request->busy);
	*done = false;
	request->req.result = -ENODATA;
	switch (queue->rig->driver->submit(queue->queue, &request->req)) {
	case SR_BLK_DONE:
		*done = true;
		return true;
	case SR_BLK_QUEUED:
		request->busy = true;
		queue->inflight++;
		return true;
	case SR_BLK_BUSY:
		/* A driver with nothing of ours that is busy would never be less so. */
		assert_true(queue->inflight > 0);
		return false;
	}
	fail_msg("submit() gave an answer that the contract does not know");
	return false;
}

void rig_kick(struct rig_queue *queue)
{
	if (queue->rig->driver->kick)
		queue->rig->driver->kick(queue->queue);
}

unsigned rig_reap(struct rig_queue *queue, struct rig_request **done, unsigned max, bool wait)
{
	const struct sr_blk_driver *driver = queue->rig->driver;
	struct sr_blk_request *finished[64];
	struct pollfd fd;
	unsigned n;

	if (!queue->inflight)
		return 0;
	assert_true(max <= 64);
	for (;;) {
		n = driver->reap(queue->queue, finished, max);
		if (n || !wait)
			break;
		fd = (struct pollfd){ .fd = driver->fd(queue->queue), .events = POLLIN };
		if (poll(&fd, 1, 20000) != 1)
			fail_msg("%u requests are with the driver, and no wake-up came in 20 s",
				 queue->inflight);
	}
	for (unsigned i = 0; i < n; i++) {
		done[i] = (struct rig_request *)finished[i];
		assert_true(done[i]->busy);
		done[i]->busy = false;
		queue->inflight--;
	}
	return n;
}

int64_t rig_do(struct rig_queue *queue, enum sr_blk_op op, uint64_t offset, void *base, size_t len,
	       uint8_t flags)
{
	struct rig_request *request = rig_take(queue), *back;
	bool done;

	assert_int_equal(queue->inflight, 0);
	request->iov[0] = (struct iovec){ base, len };
	request->req.op = (uint8_t)op;
	request->req.flags = flags;
	request->req.offset = offset;
	request->req.length = len;
	request->req.iov = request->iov;
	request->req.iov_count = op == SR_BLK_READ || op == SR_BLK_WRITE;
	assert_true(rig_submit(queue, request, &done));
	rig_kick(queue);
	if (!done) {
		assert_int_equal(rig_reap(queue, &back, 1, true), 1);
		assert_ptr_equal(back, request);
	}
	return request->req.result;
}

uint64_t rig_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

void rig_fill(void *base, size_t len, uint64_t *state)
{
	uint64_t *words = base;

	for (size_t i = 0; i < len / sizeof(*words); i++)
		words[i] = rig_random(state);
}
