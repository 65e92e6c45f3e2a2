/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

/* Looks at the rings before going to sleep: many waits end within them. */
#define SPINS 64u

void sr_netfront_kick_lazy(struct sr_netfront_queue *q)
{
	if (!q->connected)
		return;
	sr_ring_front_publish(&q->tx.ring);
	sr_ring_front_publish(&q->rx.ring);
}

int sr_netfront_kick(struct sr_netfront_queue *q)
{
	bool tx, rx;
	int rc = 0;

	if (!q->connected)
		return -ENOTCONN;
	tx = sr_ring_front_publish_and_check(&q->tx.ring);
	rx = sr_ring_front_publish_and_check(&q->rx.ring) && !q->front->options.quiet_rx;
	if (tx || (rx && q->rx_port == q->tx_port)) {
		q->stats.notifications++;
		rc = sr_evtchn_notify(q->ev, q->tx_port);
	}
	if (rx && !rc && q->rx_port != q->tx_port) {
		q->stats.notifications++;
		rc = sr_evtchn_notify(q->ev, q->rx_port);
	}
	return rc;
}

int sr_netfront_fd(const struct sr_netfront_queue *q)
{
	return q->ev ? sr_evtchn_fd(q->ev) : -1;
}

/* Something for reap() to look at; `ahead` responses are worth being woken for. */
static bool arm_tx(struct sr_netfront_queue *q)
{
	struct sr_ring_front *r = &q->tx.ring;
	uint32_t out = sr_ring_front_in_flight(r), ahead = (out + 1) / 2;

	/* Nothing is out, so nothing will come. */
	return !out || (uint32_t)sr_ring_front_arm(r, ahead) >= ahead;
}

unsigned sr_netfront_arm(struct sr_netfront_queue *q, unsigned what)
{
	unsigned there = 0;

	if (sr_netfront_kick(q) || sr_net_status(q->front))
		return what;
	/* An impossible index is there too: receive() and reap() tell. */
	if ((what & SR_NETFRONT_RX) && sr_ring_front_arm(&q->rx.ring, 1) != 0)
		there |= SR_NETFRONT_RX;
	if ((what & SR_NETFRONT_TX) && (q->tx_lost || arm_tx(q)))
		there |= SR_NETFRONT_TX;
	return there;
}

int sr_netfront_ack(struct sr_netfront_queue *q)
{
	uint32_t port;
	int rc;

	if (!q->ev)
		return -ENOTCONN;
	while (!(rc = sr_evtchn_pending(q->ev, &port))) {
		q->stats.events++;
		rc = sr_evtchn_unmask(q->ev, port);
		if (rc)
			break;
	}
	return rc == -EAGAIN ? 0 : rc;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	__asm__ volatile("" ::: "memory");
#endif
}

static bool news(struct sr_netfront_queue *q, unsigned what)
{
	return sr_net_status(q->front) ||
	       ((what & SR_NETFRONT_RX) && sr_ring_front_pending(&q->rx.ring) != 0) ||
	       ((what & SR_NETFRONT_TX) && sr_ring_front_pending(&q->tx.ring) != 0);
}

int sr_netfront_wait(struct sr_netfront_queue *q, unsigned what, int timeout_ms)
{
	uint64_t deadline = timeout_ms < 0 ? UINT64_MAX : now_ms() + (uint64_t)timeout_ms, now;
	struct pollfd fds[2] = {
		{ .fd = sr_netfront_fd(q), .events = POLLIN },
		{ .fd = q->front->wake_fd, .events = POLLIN },
	};
	int rc = sr_netfront_kick(q);

	for (unsigned i = 0; !rc && i < SPINS; i++) {
		if (news(q, what))
			return 0;
		relax();
	}
	while (!rc && !sr_netfront_arm(q, what)) {
		int timeout = -1;

		if (deadline != UINT64_MAX) {
			now = now_ms();
			if (now >= deadline)
				return -ETIMEDOUT;
			timeout = (int)(deadline - now);
		}
		q->stats.sleeps++;
		if (poll(fds, 2, timeout) < 0 && errno != EINTR)
			return -errno;
		rc = sr_netfront_ack(q);
	}
	return rc;
}

void sr_netfront_stats(const struct sr_netfront_queue *q, struct sr_netfront_stats *stats)
{
	*stats = q->stats;
}
