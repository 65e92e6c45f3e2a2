/* SPDX-License-Identifier: MIT */
#include "uring.h"

void sr_uring_buffers_init(struct uring_queue *queue)
{
	queue->buffers.usable =
	    io_uring_register_buffers_sparse(&queue->ring, URING_BUFFER_SLOTS) == 0;
}

int sr_uring_buffers_find(struct uring_buffers *buffers, const void *base, size_t len)
{
	uintptr_t at = (uintptr_t)base;

	for (unsigned n = 0, i = buffers->hint; n < buffers->used; n++) {
		uintptr_t first = (uintptr_t)buffers->slots[i].iov_base;

		if (at >= first && len <= buffers->slots[i].iov_len &&
		    at - first <= buffers->slots[i].iov_len - len) {
			buffers->hint = i;
			return (int)i;
		}
		i = i + 1 < buffers->used ? i + 1 : 0;
	}
	return -1;
}

static int add_slot(struct uring_queue *queue, uint8_t *base, size_t len)
{
	struct uring_buffers *buffers = &queue->buffers;
	struct iovec iov = { base, len };
	unsigned i = 0;

	while (i < URING_BUFFER_SLOTS && buffers->slots[i].iov_len)
		i++;
	if (i == URING_BUFFER_SLOTS)
		return -ENOSPC;
	if (io_uring_register_buffers_update_tag(&queue->ring, i, &iov, NULL, 1) < 0)
		return -ENOMEM;
	buffers->slots[i] = iov;
	if (i >= buffers->used)
		buffers->used = i + 1;
	return 0;
}

/*
 * Nobody is told where it fails, for want of RLIMIT_MEMLOCK or because the memory is of a kind that
 * can't be pinned: the requests work all the same.
 */
void sr_uring_memory_add(void *arg, void *base, size_t len)
{
	struct uring_queue *queue = arg;

	if (queue->aio)
		return;
	sr_uring_start(queue);
	if (!queue->buffers.usable || len < URING_BUFFER_MIN)
		return;
	for (size_t at = 0; at < len; at += URING_BUFFER_MAX) {
		size_t part = len - at < URING_BUFFER_MAX ? len - at : URING_BUFFER_MAX;

		if (add_slot(queue, (uint8_t *)base + at, part))
			break;
	}
}

void sr_uring_memory_remove(void *arg, void *base, size_t len)
{
	struct uring_queue *queue = arg;
	struct uring_buffers *buffers = &queue->buffers;
	uintptr_t first = (uintptr_t)base;
	struct iovec none = { NULL, 0 };

	for (unsigned i = 0; i < buffers->used; i++) {
		uintptr_t at = (uintptr_t)buffers->slots[i].iov_base;

		if (!buffers->slots[i].iov_len || at < first || at - first >= len)
			continue;
		io_uring_register_buffers_update_tag(&queue->ring, i, &none, NULL, 1);
		buffers->slots[i] = none;
	}
	while (buffers->used && !buffers->slots[buffers->used - 1].iov_len)
		buffers->used--;
	buffers->hint = 0;
}
