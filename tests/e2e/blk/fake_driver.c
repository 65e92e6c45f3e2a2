/* SPDX-License-Identifier: MIT */
#include "fake_driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_HELD 512u

struct fake_disk fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct fake_queue {
	unsigned held, kicked; /* the first `kicked` of those held are at work */
	struct sr_blk_request *requests[MAX_HELD];
	int fd;
	struct fake_queue *next;
};

static struct fake_queue *queues;

void fake_reset(uint64_t size)
{
	free(fake.data);
	memset(&fake.info, 0, sizeof(fake) - offsetof(struct fake_disk, info));
	pthread_mutex_init(&fake.lock, NULL);
	fake.data = calloc(1, size ? size : 1);
	fake.fail_op = -1;
	fake.info = (struct sr_blk_info){
		.size = size,
		.logical_block_size = 512,
		.discard_granularity = 512,
		.secure_discard = true,
		.flush = true,
	};
}

static void wake_all(void)
{
	uint64_t one = 1;

	for (struct fake_queue *q = queues; q; q = q->next)
		if (q->fd >= 0 && write(q->fd, &one, sizeof(one)) < 0)
			return;
}

void fake_hold(bool hold)
{
	pthread_mutex_lock(&fake.lock);
	fake.hold = hold;
	wake_all();
	pthread_mutex_unlock(&fake.lock);
}

void fake_lock(void)
{
	pthread_mutex_lock(&fake.lock);
}

void fake_unlock(void)
{
	pthread_mutex_unlock(&fake.lock);
}

void fake_fail(int op, int error)
{
	fake_lock();
	fake.fail_op = op;
	fake.fail_error = error;
	fake_unlock();
}

void fake_resize(uint64_t size)
{
	fake_lock();
	fake.info.size = size;
	fake_unlock();
}

unsigned fake_count(int op)
{
	unsigned n;

	fake_lock();
	n = fake.count[op];
	fake_unlock();
	return n;
}

unsigned fake_in_flight(void)
{
	unsigned n;

	pthread_mutex_lock(&fake.lock);
	n = fake.in_flight;
	pthread_mutex_unlock(&fake.lock);
	return n;
}

static int fake_open(const struct sr_blk_open *args, void **disk, struct sr_blk_info *info)
{
	fake.opened++;
	*disk = &fake;
	*info = fake.info;
	return 0;
}

static int fake_refresh(void *disk, struct sr_blk_info *info)
{
	fake_lock();
	*info = fake.info;
	fake_unlock();
	return 0;
}

static int fake_queue_open(void *disk, const struct sr_blk_queue_params *params, void **queue)
{
	struct fake_queue *q = calloc(1, sizeof(*q));

	q->fd = fake.no_fd ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	pthread_mutex_lock(&fake.lock);
	q->next = queues;
	queues = q;
	fake.queues++;
	pthread_mutex_unlock(&fake.lock);
	*queue = q;
	return 0;
}

static void fake_queue_close(void *queue)
{
	struct fake_queue *q = queue, **p;

	pthread_mutex_lock(&fake.lock);
	if (q->held)
		fake.complaint = "a queue is closed with requests in flight";
	for (p = &queues; *p != q; p = &(*p)->next)
		;
	*p = q->next;
	pthread_mutex_unlock(&fake.lock);
	if (q->fd >= 0)
		close(q->fd);
	free(q);
}

static void check(const struct sr_blk_request *req)
{
	uint64_t sum = 0, mask = fake.info.logical_block_size - 1;

	if (req->op == SR_BLK_FLUSH)
		return;
	if (((req->offset | req->length) & mask) || !req->length)
		fake.complaint = "not in whole blocks";
	if (req->offset > fake.info.size || req->length > fake.info.size - req->offset)
		fake.complaint = "beyond the disk";
	if (req->op == SR_BLK_WRITE && fake.info.read_only)
		fake.complaint = "a write to a read-only disk";
	if (req->op == SR_BLK_DISCARD)
		return;
	for (uint32_t i = 0; i < req->iov_count; i++) {
		sum += req->iov[i].iov_len;
		if (req->iov[i].iov_len & mask)
			fake.complaint = "a piece not in whole blocks";
		if (fake.info.memory_alignment &&
		    (uintptr_t)req->iov[i].iov_base & (fake.info.memory_alignment - 1))
			fake.complaint = "a piece not aligned";
	}
	if (sum != req->length)
		fake.complaint = "the pieces are not the whole";
}

static void move(const struct sr_blk_request *req)
{
	uint64_t at = req->offset;

	if (req->op == SR_BLK_DISCARD)
		memset(fake.data + at, 0, req->length);
	for (uint32_t i = 0; i < req->iov_count; i++) {
		if (req->op == SR_BLK_READ)
			memcpy(req->iov[i].iov_base, fake.data + at, req->iov[i].iov_len);
		else if (req->op == SR_BLK_WRITE)
			memcpy(fake.data + at, req->iov[i].iov_base, req->iov[i].iov_len);
		at += req->iov[i].iov_len;
	}
}

static void execute(struct sr_blk_request *req)
{
	fake.count[req->op]++;
	fake.secure += (req->flags & SR_BLK_SECURE) != 0;
	if (fake.log_count < FAKE_LOG) {
		fake.log[fake.log_count].op = req->op;
		fake.log[fake.log_count].offset = req->offset;
		fake.log[fake.log_count++].length = req->length;
	}
	check(req);
	req->result = 0;
	if (fake.fail_op == req->op)
		req->result = fake.fail_error;
	else if (!fake.complaint)
		move(req);
}

static enum sr_blk_submit fake_submit(void *queue, struct sr_blk_request *req)
{
	struct fake_queue *q = queue;
	enum sr_blk_submit rc = SR_BLK_QUEUED;

	pthread_mutex_lock(&fake.lock);
	if (!fake.room) {
		execute(req);
		rc = SR_BLK_DONE;
	} else if (q->held >= fake.room) {
		rc = SR_BLK_BUSY;
	} else {
		q->requests[q->held++] = req;
		if (++fake.in_flight > fake.most_in_flight)
			fake.most_in_flight = fake.in_flight;
	}
	pthread_mutex_unlock(&fake.lock);
	return rc;
}

/* Nothing is done before it, and what it does at once rings no bell: the contract allows both. */
static void fake_kick(void *queue)
{
	struct fake_queue *q = queue;

	pthread_mutex_lock(&fake.lock);
	q->kicked = q->held;
	pthread_mutex_unlock(&fake.lock);
}

static unsigned fake_reap(void *queue, struct sr_blk_request **done, unsigned max)
{
	struct fake_queue *q = queue;
	uint64_t count;
	unsigned n = 0;

	pthread_mutex_lock(&fake.lock);
	if (q->fd >= 0 && read(q->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		fake.complaint = "no event";
	while (!fake.hold && q->kicked && n < max) {
		unsigned k = fake.backwards ? q->kicked - 1 : 0;

		done[n++] = q->requests[k];
		execute(q->requests[k]);
		memmove(&q->requests[k], &q->requests[k + 1],
			(q->held - k - 1) * sizeof(q->requests[0]));
		q->held--;
		q->kicked--;
		fake.in_flight--;
	}
	if (q->kicked && !fake.hold)
		wake_all();
	pthread_mutex_unlock(&fake.lock);
	return n;
}

static int fake_fd(void *queue)
{
	return ((struct fake_queue *)queue)->fd;
}

const struct sr_blk_driver fake_driver = {
	.abi = SR_BLK_DRIVER_ABI,
	.name = "fake",
	.description = "the test's own",
	.scratch_size = 24,
	.open = fake_open,
	.refresh = fake_refresh,
	.queue_open = fake_queue_open,
	.queue_close = fake_queue_close,
	.submit = fake_submit,
	.kick = fake_kick,
	.reap = fake_reap,
	.fd = fake_fd,
};
