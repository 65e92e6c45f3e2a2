/* SPDX-License-Identifier: MIT */
#include "guest_net.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* One queue of the vif and one of the TAP, in a thread of their own. */

#define BURST 32u
/* To send from, each for a packet of any length. With RX_PAGES, as much as a backend keeps mapped.
 */
#define BUFFERS     40u
#define BUFFER_SIZE 65536u
#define RX_PAGES    SR_NETFRONT_RING_SIZE
#define HEAD        256u /* bytes of a packet that are looked at */
#define PAGE        SR_NETFRONT_BUFFER_SIZE
#define RX_SEGMENTS (BURST + SR_NETFRONT_MAX_SEGMENTS)

size_t guest_net_pump_bytes(void)
{
	return (size_t)BUFFERS * BUFFER_SIZE + (size_t)RX_PAGES * PAGE;
}

int guest_net_pump_init(struct guest_net_pump *p)
{
	void *memory;
	int rc;

	p->free = calloc(BUFFERS, sizeof(*p->free));
	if (!p->free)
		return -ENOMEM;
	rc = sr_netfront_memory(p->front, guest_net_pump_bytes(), &memory);
	if (rc)
		return rc;
	p->buffers = memory;
	for (unsigned i = 0; i < RX_PAGES; i++)
		p->spare[i] = p->buffers + (size_t)BUFFERS * BUFFER_SIZE + (size_t)i * PAGE;
	p->spare_count = RX_PAGES;
	for (unsigned i = 0; i < BUFFERS; i++)
		p->free[i] = BUFFERS - 1 - i;
	p->free_count = BUFFERS;
	return 0;
}

void guest_net_pump_free(struct guest_net_pump *p)
{
	free(p->free);
}

static void post(struct guest_net_pump *p, const struct sr_netfront_rx_segment *segments,
		 unsigned count)
{
	struct sr_netfront_buffer buffers[RX_SEGMENTS];
	int n;

	for (unsigned i = 0; i < count; i++)
		buffers[i] = (struct sr_netfront_buffer){ segments[i].tag, segments[i].tag };
	n = sr_netfront_post(p->queue, buffers, count);
	/* There is room, as they have just come from there; but the front may have closed since. */
	for (unsigned i = n > 0 ? (unsigned)n : 0; i < count; i++)
		p->spare[p->spare_count++] = segments[i].tag;
}

/* One packet to the kernel, which copies it at once. */
static void deliver(struct guest_net_pump *p, const struct sr_netfront_rx *packet,
		    const struct sr_netfront_rx_segment *segments)
{
	struct iovec iov[SR_NETFRONT_MAX_SEGMENTS + 1];
	struct virtio_net_hdr hdr;
	uint8_t head[HEAD];
	uint32_t got = 0;

	iov[0] = (struct iovec){ &hdr, sizeof(hdr) };
	for (unsigned i = 0; i < packet->count; i++) {
		uint8_t *data = (uint8_t *)segments[i].tag + segments[i].offset;
		uint32_t n = HEAD - got < segments[i].length ? HEAD - got : segments[i].length;

		iov[i + 1] = (struct iovec){ data, segments[i].length };
		if (packet->flags & SR_NETFRONT_CSUM_BLANK)
			memcpy(head + got, data, n);
		got += n;
	}
	guest_net_from_netif(packet, head, got, &hdr);
	/* A full queue or a bad packet: lost, as on any wire. */
	if (writev(p->tap, iov, packet->count + 1) < 0)
		p->rx_refused++;
}

/* From the vif to the TAP. */
static unsigned receive(struct guest_net_pump *p)
{
	struct sr_netfront_rx_segment segments[RX_SEGMENTS];
	struct sr_netfront_rx packets[BURST];
	unsigned used = 0;
	int n = sr_netfront_receive(p->queue, packets, BURST, segments, RX_SEGMENTS);

	for (int i = 0; i < n; i++) {
		deliver(p, &packets[i], segments + packets[i].first);
		used += packets[i].count;
	}
	if (used)
		post(p, segments, used);
	return n > 0 ? (unsigned)n : 0;
}

static void reap(struct guest_net_pump *p)
{
	struct sr_netfront_done done[BURST];
	unsigned n;

	do {
		n = sr_netfront_reap(p->queue, done, BURST);
		for (unsigned i = 0; i < n; i++) {
			size_t at = (size_t)((uint8_t *)done[i].tag - p->buffers);

			p->free[p->free_count++] = (unsigned)(at / BUFFER_SIZE);
		}
	} while (n == BURST);
}

/* Is there a buffer, and room for the largest packet? */
static bool can_send(const struct guest_net_pump *p)
{
	return p->free_count && sr_netfront_tx_room(p->queue) >= SR_NETFRONT_MAX_SEGMENTS;
}

/* One packet from the TAP, into a buffer. False: there is none. */
static bool send_one(struct guest_net_pump *p)
{
	uint8_t *buffer = p->buffers + (size_t)p->free[p->free_count - 1] * BUFFER_SIZE;
	struct sr_netfront_segment segment = { .addr = buffer };
	struct sr_netfront_tx packet = { .segments = &segment, .count = 1, .tag = buffer };
	struct virtio_net_hdr hdr;
	struct iovec iov[2] = { { &hdr, sizeof(hdr) }, { buffer, BUFFER_SIZE } };
	ssize_t n = readv(p->tap, iov, 2);

	if (n <= (ssize_t)sizeof(hdr))
		return false;
	segment.length = (uint32_t)(n - (ssize_t)sizeof(hdr));
	if (guest_net_to_netif(sr_netfront_info(p->front), &hdr, buffer, segment.length, &packet) &&
	    sr_netfront_transmit(p->queue, &packet, 1) == 1)
		p->free_count--;
	else
		p->tx_refused++;
	return true;
}

/* From the TAP to the vif. */
static unsigned transmit(struct guest_net_pump *p)
{
	unsigned n = 0;

	reap(p);
	while (n < BURST && can_send(p) && send_one(p))
		n++;
	return n;
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Somebody has deleted the interface. The vif is served on; what comes from there is refused. */
static void lose_tap(struct guest_net_pump *p)
{
	p->tap_gone = true;
	fprintf(stderr, "guest-net: queue %u: the interface is gone\n", p->index);
}

/* Until the TAP, the backend or somebody who wants us to stop says something. */
static bool sleep_now(struct guest_net_pump *p)
{
	/* With nothing to send from, the TAP has to wait. */
	bool send = can_send(p);
	struct pollfd fds[4] = {
		{ .fd = p->stop_fd, .events = POLLIN },
		{ .fd = sr_netfront_wake_fd(p->front), .events = POLLIN },
		{ .fd = sr_netfront_fd(p->queue), .events = POLLIN },
		{ .fd = send && !p->tap_gone ? p->tap : -1, .events = POLLIN },
	};

	if (sr_netfront_arm(p->queue, SR_NETFRONT_RX | (send ? 0 : SR_NETFRONT_TX)))
		return sr_netfront_status(p->front) == 0;
	if (poll(fds, 4, -1) < 0 && errno != EINTR)
		return false;
	if (fds[3].revents & (POLLERR | POLLNVAL))
		lose_tap(p);
	if (fds[2].revents)
		(void)sr_netfront_ack(p->queue);
	return !fds[0].revents && !fds[1].revents;
}

static void post_spare(struct guest_net_pump *p)
{
	struct sr_netfront_buffer b;

	while (p->spare_count) {
		b.page = b.tag = p->spare[p->spare_count - 1];
		if (sr_netfront_post(p->queue, &b, 1) != 1)
			return;
		p->spare_count--;
	}
}

void guest_net_pump_run(struct guest_net_pump *p)
{
	uint64_t idle_since = 0, now;
	unsigned moved;

	post_spare(p);
	while (sr_netfront_status(p->front) == 0) {
		moved = receive(p);
		moved += transmit(p);
		if (sr_netfront_kick(p->queue))
			return;
		if (moved) {
			idle_since = 0;
			continue;
		}
		if (p->spin_us) {
			now = now_us();
			if (!idle_since)
				idle_since = now;
			if (now - idle_since < p->spin_us)
				continue;
		}
		if (!sleep_now(p))
			return;
	}
}
