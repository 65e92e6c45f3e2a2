/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

/* Responses whose lines are asked for at once: about what a core can have under way. */
#define PREFETCH 16u
/* Looks at the ring before the clock is looked at: many waits end within them. */
#define BLIND_SPINS 32u
/*
 * Waits that last longer on average than this are slept through; see spin_budget(). A fast disk's are
 * shorter: being woken for each of its batches would cost more than the wait.
 */
#define SPIN_WORTH_NS 400000u
#define SPIN_LEAST_NS 5000u
#define SPIN_MOST_NS  300000u

bool sr_front_head_done(struct sr_blkfront_queue *q, uint32_t head, int error,
			struct sr_blkfront_done *done)
{
	struct sr_front_piece *h = &q->pieces[head];

	if (error && !h->error)
		h->error = error;
	if (--h->left)
		return false;
	done->tag = h->tag;
	done->error = h->error;
	q->free_ids[q->free_count++] = (uint16_t)head;
	q->requests_out--;
	return true;
}

/* The rare half of sr_front_piece_done(): returns the error to go on with. */
static int settle(struct sr_blkfront_queue *q, uint32_t id, unsigned flags, int error)
{
	const struct sr_front_piece *p = &q->pieces[id];

	if ((flags & PIECE_BOUNCED) && p->operation == BLKIF_OP_READ && !error) {
		struct sr_front_bounce b = q->bounces[id];
		const uint32_t *pages = q->pool_used + (size_t)id * q->front->info.max_segments;

		for (unsigned i = 0; b.bytes; i++) {
			uint32_t n = b.bytes < SR_PAGE_SIZE ? b.bytes : SR_PAGE_SIZE;

			sr_front_copy(&b.at, q->pool->base + ((size_t)pages[i] << SR_PAGE_SHIFT), n,
				      false);
			b.bytes -= n;
		}
	}
	if (sr_front_piece_release(q, id, flags)) {
		/* It answered, yet holds our page: it may write there whatever comes to lie in it.
		 */
		sr_front_break(q->front,
			       "the backend keeps the pages of a request it has answered");
		return -EIO;
	}
	return error;
}

bool sr_front_piece_done(struct sr_blkfront_queue *q, uint32_t id, int error,
			 struct sr_blkfront_done *done)
{
	struct sr_front_piece *p = &q->pieces[id];
	unsigned flags = p->flags;
	uint32_t head = p->head;

	p->flags = 0;
	if (flags & (PIECE_GRANTED | PIECE_BOUNCED))
		error = settle(q, id, flags, error);
	if (head != id)
		q->free_ids[q->free_count++] = (uint16_t)id;
	return sr_front_head_done(q, head, error, done);
}

static int error_of(int16_t status)
{
	if (status == BLKIF_RSP_OKAY)
		return 0;
	return status == BLKIF_RSP_EOPNOTSUPP ? -EOPNOTSUPP : -EIO;
}

/* A broken device gives nothing any more: all that is out ends here. */
static unsigned fail_all(struct sr_blkfront_queue *q, struct sr_blkfront_done *done, unsigned max)
{
	unsigned n = 0;

	if (!q->requests_out)
		return 0;
	if (q->split.active && max) {
		q->split.active = false;
		n += sr_front_head_done(q, q->split.head, -EIO, done);
	}
	for (uint32_t id = 0; id < q->front->info.ring_size && n < max; id++) {
		if (q->pieces[id].flags & PIECE_OUT)
			n += sr_front_piece_done(q, id, -EIO, done + n);
	}
	return n;
}

/* Is a response there to be taken? Breaks the device where their count can't be. */
static bool responses(struct sr_blkfront_queue *q)
{
	int pending;

	if (q->ready)
		return true;
	pending = sr_ring_front_pending(&q->ring.ring);
	if (pending < 0) {
		sr_front_break(q->front, "the backend's index of responses is impossible");
		return false;
	}
	q->ready = (uint32_t)pending;
	q->prefetched = 0;
	return pending > 0;
}

/* Takes one response. True if that ends a request. */
static bool take(struct sr_blkfront_queue *q, struct sr_blkfront_done *done)
{
	struct blkif_response rsp;
	const struct sr_front_piece *p;

	if (!q->prefetched) {
		q->prefetched = q->ready < PREFETCH ? q->ready : PREFETCH;
		sr_blkif_front_prefetch(&q->ring, q->prefetched);
	}
	sr_blkif_front_take(&q->ring, &rsp);
	q->ready--;
	q->prefetched--;
	p = &q->pieces[rsp.id < q->front->info.ring_size ? rsp.id : 0];
	if (rsp.id >= q->front->info.ring_size || !(p->flags & PIECE_OUT)) {
		sr_front_break(q->front, "the backend answered a request that isn't out");
		return false;
	}
	if (rsp.operation != p->operation) {
		sr_front_break(q->front, "the backend answered another operation than it was sent");
		return false;
	}
	return sr_front_piece_done(q, (uint32_t)rsp.id, error_of(rsp.status), done);
}

unsigned sr_blkfront_reap(struct sr_blkfront_queue *q, struct sr_blkfront_done *done, unsigned max)
{
	unsigned n = 0;

	while (n < max && sr_front_status(q->front) != -EIO && responses(q))
		n += take(q, done + n);
	if (__builtin_expect(sr_front_status(q->front) == -EIO, 0))
		return n + fail_all(q, done + n, max - n);
	if (q->split.active && n < max) {
		n += sr_front_split_more(q, done + n);
		(void)sr_blkfront_kick(q);
	} else if (!n) {
		(void)sr_blkfront_kick(q);
	}
	return n;
}

void sr_blkfront_kick_lazy(struct sr_blkfront_queue *q)
{
	sr_ring_front_publish(&q->ring.ring);
}

int sr_blkfront_kick(struct sr_blkfront_queue *q)
{
	if (!sr_ring_front_publish_and_check(&q->ring.ring))
		return 0;
	q->stats.notifications++;
	return sr_evtchn_notify(q->ev, q->port);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("" ::: "memory");
#endif
}

static bool broken(const struct sr_blkfront_queue *q)
{
	return sr_front_status(q->front) == -EIO;
}

/* Something for reap() to look at. */
static bool news(struct sr_blkfront_queue *q)
{
	return responses(q) || broken(q);
}

/* How long to spin. Where responses take long, a sleep costs little beside them. */
static uint64_t spin_budget(const struct sr_blkfront_queue *q)
{
	uint64_t budget;

	if (q->front->options.poll)
		return UINT64_MAX;
	if (q->wait_ns > SPIN_WORTH_NS)
		return SPIN_LEAST_NS;
	budget = SPIN_LEAST_NS + 2 * q->wait_ns;
	return budget < SPIN_MOST_NS ? budget : SPIN_MOST_NS;
}

static bool spin(struct sr_blkfront_queue *q, uint64_t start, uint64_t deadline)
{
	uint64_t budget = spin_budget(q), now;

	do {
		for (unsigned i = 0; i < BLIND_SPINS; i++) {
			if (news(q))
				return true;
			relax();
		}
		now = now_ns();
	} while (now - start < budget && now < deadline);
	return false;
}

/* Takes the event, if it is there. The port is unmasked after, so that the next one wakes us. */
static int drain_events(struct sr_blkfront_queue *q)
{
	uint32_t port;
	int rc;

	while (!(rc = sr_evtchn_pending(q->ev, &port))) {
		q->stats.events++;
		rc = sr_evtchn_unmask(q->ev, port);
		if (rc)
			break;
	}
	return rc == -EAGAIN ? 0 : rc;
}

static int sleep_until(struct sr_blkfront_queue *q, uint64_t deadline)
{
	struct pollfd fds[2] = {
		{ .fd = sr_evtchn_fd(q->ev), .events = POLLIN },
		{ .fd = q->front->wake_fd, .events = POLLIN },
	};
	int rc, timeout = -1;

	for (;;) {
		/* Something was there all along, or the index is impossible: news() tells. */
		if (sr_ring_front_arm(&q->ring.ring, 1) != 0 || broken(q)) {
			(void)news(q);
			return 0;
		}
		if (deadline != UINT64_MAX) {
			uint64_t now = now_ns();

			if (now >= deadline)
				return -ETIMEDOUT;
			timeout = (int)((deadline - now) / 1000000u) + 1;
		}
		q->stats.sleeps++;
		if (poll(fds, 2, timeout) < 0 && errno != EINTR)
			return -errno;
		rc = drain_events(q);
		if (rc)
			return rc;
	}
}

int sr_blkfront_wait(struct sr_blkfront_queue *q, int timeout_ms)
{
	uint64_t start, took, deadline;
	int rc;

	rc = sr_blkfront_kick(q);
	if (rc)
		return rc;
	if (!q->requests_out)
		return -EAGAIN;
	for (unsigned i = 0; i < BLIND_SPINS; i++) {
		if (news(q))
			return 0;
		relax();
	}
	start = now_ns();
	deadline = timeout_ms < 0 ? UINT64_MAX : start + (uint64_t)timeout_ms * 1000000u;
	if (!spin(q, start, deadline))
		rc = sleep_until(q, deadline);
	took = now_ns() - start;
	/* A long pause says nothing about the next wait. */
	if (took > 4 * SPIN_WORTH_NS)
		took = 4 * SPIN_WORTH_NS;
	q->wait_ns = (q->wait_ns * 7 + took) / 8;
	return rc;
}

unsigned sr_blkfront_in_flight(const struct sr_blkfront_queue *q)
{
	return q->requests_out;
}

void sr_blkfront_stats(const struct sr_blkfront_queue *q, struct sr_blkfront_stats *stats)
{
	*stats = q->stats;
}

int sr_blkfront_io(struct sr_blkfront_queue *q, enum sr_blkfront_op op, uint64_t offset,
		   void *buffer, size_t length)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = length };
	struct sr_blkfront_request req = {
		.op = op,
		.offset = offset,
		.length = length,
		.iov = &iov,
		.iov_count = length ? 1 : 0,
	};
	struct sr_blkfront_done done;
	int rc;

	if (q->requests_out)
		return -EBUSY;
	rc = sr_blkfront_submit(q, &req);
	if (rc)
		return rc;
	while (!sr_blkfront_reap(q, &done, 1)) {
		rc = sr_blkfront_wait(q, -1);
		/* The buffer is on our stack: what can't be waited for must not come later. */
		if (rc)
			sr_front_break(q->front, "event channels have failed");
	}
	return done.error;
}
