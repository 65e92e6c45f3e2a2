/* SPDX-License-Identifier: MIT */
/* A driver that keeps what it gets until it is told to let go: for deaths in mid-request. */
#include "held.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { DEPTH = 4096, BYTES = 16 << 20 };

/* One disk at a time is enough here, and its queue outlives no test. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct sr_blk_request *kept[DEPTH];
	unsigned count;
	bool hold;
	int fd;
	uint8_t *bytes;
	void (*on_open)(void *arg);
	void *on_open_arg;
} held = {
	.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .hold = true, .fd = -1
};

static void held_close(void *disk)
{
	pthread_mutex_lock(&held.lock);
	close(held.fd);
	held.fd = -1;
	free(held.bytes);
	held.bytes = NULL;
	pthread_mutex_unlock(&held.lock);
}

static int held_open(const struct sr_blk_open *args, void **disk, struct sr_blk_info *info)
{
	uint8_t *bytes = calloc(1, BYTES);
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (!bytes || fd < 0) {
		free(bytes);
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	if (held.on_open)
		held.on_open(held.on_open_arg);
	held.on_open = NULL;
	*info = (struct sr_blk_info){ .size = BYTES, .logical_block_size = 512, .flush = true };
	pthread_mutex_lock(&held.lock);
	held.fd = fd;
	held.bytes = bytes;
	pthread_mutex_unlock(&held.lock);
	*disk = &held;
	return 0;
}

static void ring_bell(void)
{
	if (held.fd >= 0 && eventfd_write(held.fd, 1))
		abort();
}

static enum sr_blk_submit held_submit(void *queue, struct sr_blk_request *req)
{
	enum sr_blk_submit said = SR_BLK_BUSY;

	pthread_mutex_lock(&held.lock);
	if (held.count < DEPTH) {
		held.kept[held.count++] = req;
		said = SR_BLK_QUEUED;
	}
	if (!held.hold)
		ring_bell();
	pthread_cond_broadcast(&held.more);
	pthread_mutex_unlock(&held.lock);
	return said;
}

static void transfer(struct sr_blk_request *req)
{
	uint8_t *at = held.bytes + req->offset;

	for (uint32_t i = 0; i < req->iov_count; i++) {
		const struct iovec *iov = &req->iov[i];

		if (req->op == SR_BLK_READ)
			memcpy(iov->iov_base, at, iov->iov_len);
		else if (req->op == SR_BLK_WRITE)
			memcpy(at, iov->iov_base, iov->iov_len);
		at += iov->iov_len;
	}
	req->result = 0;
}

static unsigned held_reap(void *queue, struct sr_blk_request **done, unsigned max)
{
	unsigned count = 0;
	eventfd_t rings;

	pthread_mutex_lock(&held.lock);
	if (!held.hold) {
		eventfd_read(held.fd, &rings);
		for (; count < max && held.count; count++) {
			done[count] = held.kept[--held.count];
			transfer(done[count]);
		}
		if (held.count)
			ring_bell();
	}
	pthread_mutex_unlock(&held.lock);
	return count;
}

static int held_fd(void *queue)
{
	return held.fd;
}

const struct sr_blk_driver held_driver = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "held",
	.description = "keeps requests until a test lets go",
	.open = held_open,
	.close = held_close,
	.submit = held_submit,
	.reap = held_reap,
	.fd = held_fd,
};

void held_set(bool hold)
{
	pthread_mutex_lock(&held.lock);
	held.hold = hold;
	if (!hold)
		ring_bell();
	pthread_mutex_unlock(&held.lock);
}

void held_on_open(void (*hook)(void *arg), void *arg)
{
	held.on_open_arg = arg;
	held.on_open = hook;
}

unsigned held_count(void)
{
	unsigned count;

	pthread_mutex_lock(&held.lock);
	count = held.count;
	pthread_mutex_unlock(&held.lock);
	return count;
}

bool held_await(unsigned count, const struct timespec *until)
{
	int rc = 0;

	pthread_mutex_lock(&held.lock);
	while (held.count < count && !rc)
		rc = pthread_cond_timedwait(&held.more, &held.lock, until);
	pthread_mutex_unlock(&held.lock);
	return !rc;
}
