/* SPDX-License-Identifier: MIT */
#include "uring.h"

void sr_uring_buffers_init(struct uring_queue *queue)
{
	queue->buffers.usable = io_uring_register_buffers_sparse(&queue->ring, URING_WINDOWS) == 0;
}

static bool holds(const struct iovec *whole, uintptr_t at, size_t len)
{
	uintptr_t first = (uintptr_t)whole->iov_base;

	return at >= first && len <= whole->iov_len && at - first <= whole->iov_len - len;
}

/* The window in which [at, at + len) lies, of the region in which it does. */
static bool window_of(const struct uring_buffers *buffers, uintptr_t at, size_t len,
		      struct iovec *window)
{
	for (unsigned i = 0; i < URING_REGIONS; i++) {
		const struct iovec *region = &buffers->regions[i];
		uintptr_t first = (uintptr_t)region->iov_base;
		size_t offset, left;

		if (!holds(region, at, len))
			continue;
		offset = (at - first) & ~(size_t)(URING_WINDOW - 1);
		left = region->iov_len - offset;
		window->iov_base = (uint8_t *)region->iov_base + offset;
		window->iov_len = left < URING_WINDOW ? left : URING_WINDOW;
		return holds(window, at, len);
	}
	return false;
}

/*
 * Nobody is told where it fails, for want of RLIMIT_MEMLOCK or because the memory is of a kind that
 * can't be pinned: the requests work all the same, and it is not tried again.
 */
static int add_window(struct uring_queue *queue, uintptr_t at, size_t len)
{
	struct uring_buffers *buffers = &queue->buffers;
	struct iovec window;
	unsigned i = 0;

	while (i < URING_WINDOWS && buffers->windows[i].iov_len)
		i++;
	if (i == URING_WINDOWS || !window_of(buffers, at, len, &window))
		return -1;
	if (io_uring_register_buffers_update_tag(&queue->ring, i, &window, NULL, 1) < 0) {
		buffers->usable = false;
		return -1;
	}
	buffers->windows[i] = window;
	if (i >= buffers->used)
		buffers->used = i + 1;
	buffers->hint = i;
	return (int)i;
}

int sr_uring_buffers_find(struct uring_queue *queue, const void *base, size_t len)
{
	struct uring_buffers *buffers = &queue->buffers;

	for (unsigned n = 0, i = buffers->hint; n < buffers->used; n++) {
		if (holds(&buffers->windows[i], (uintptr_t)base, len)) {
			buffers->hint = i;
			return (int)i;
		}
		i = i + 1 < buffers->used ? i + 1 : 0;
	}
	return buffers->usable ? add_window(queue, (uintptr_t)base, len) : -1;
}

void sr_uring_memory_add(void *arg, void *base, size_t len)
{
	struct uring_queue *queue = arg;

	if (queue->aio)
		return;
	sr_uring_start(queue);
	if (len < URING_REGION_MIN)
		return;
	for (unsigned i = 0; i < URING_REGIONS; i++)
		if (!queue->buffers.regions[i].iov_len) {
			queue->buffers.regions[i] = (struct iovec){ base, len };
			return;
		}
}

void sr_uring_memory_remove(void *arg, void *base, size_t len)
{
	struct uring_queue *queue = arg;
	struct uring_buffers *buffers = &queue->buffers;
	const struct iovec region = { base, len };
	struct iovec none = { NULL, 0 };

	for (unsigned i = 0; i < URING_REGIONS; i++)
		if (buffers->regions[i].iov_base == base && buffers->regions[i].iov_len == len)
			buffers->regions[i] = none;
	for (unsigned i = 0; i < buffers->used; i++) {
		const struct iovec *window = &buffers->windows[i];

		if (!window->iov_len ||
		    !holds(&region, (uintptr_t)window->iov_base, window->iov_len))
			continue;
		io_uring_register_buffers_update_tag(&queue->ring, i, &none, NULL, 1);
		buffers->windows[i] = none;
	}
	while (buffers->used && !buffers->windows[buffers->used - 1].iov_len)
		buffers->used--;
	buffers->hint = 0;
}
