/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>

/* A connected disk: its size, and what becomes of its backend. */

int sr_front_read_size(struct sr_blkfront *f, bool *changed)
{
	uint64_t sectors, bytes;
	int rc = sr_frontbus_read(&f->bus, f->bus.backend, "sectors", &sectors);

	if (rc)
		return rc;
	if (sectors > UINT64_MAX >> (SR_SECTOR_SHIFT + 1))
		return -EINVAL;
	bytes = sectors << SR_SECTOR_SHIFT;
	*changed = atomic_exchange(&f->size, bytes) != bytes;
	return 0;
}

static void tell(struct sr_blkfront *f, enum sr_blkfront_event event)
{
	if (f->options.event)
		f->options.event(f->options.event_arg, event);
}

static void backend_moved(struct sr_blkfront *f)
{
	int connected = 0;
	bool changed;

	switch (sr_frontbus_backend_state(&f->bus)) {
	case XenbusStateConnected:
	case XenbusStateReconfiguring:
	case XenbusStateReconfigured:
		/* Written again: the size may be another. */
		if (!sr_front_read_size(f, &changed) && changed)
			tell(f, SR_BLKFRONT_RESIZED);
		break;
	case XenbusStateClosing:
		if (atomic_compare_exchange_strong(&f->status, &connected, -ESHUTDOWN))
			tell(f, SR_BLKFRONT_CLOSING);
		break;
	default:
		sr_front_break(f, "the backend has closed the device");
		break;
	}
}

static void *follow(void *arg)
{
	struct sr_blkfront *f = arg;
	struct pollfd fds[3] = {
		{ .fd = f->stop_fd, .events = POLLIN },
		{ .fd = xs_fileno(f->bus.xs), .events = POLLIN },
		{ .fd = f->wake_fd, .events = POLLIN },
	};

	for (;;) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		if (fds[2].revents) {
			fds[2].fd = -1; /* it stays readable */
			fds[2].revents = 0;
			tell(f, SR_BLKFRONT_BROKEN);
		}
		if (fds[1].revents & ~POLLIN) {
			fds[1].fd = -1; /* no more xenstore: I/O goes on */
			fds[1].revents = 0;
		} else if (fds[1].revents) {
			sr_frontbus_drain(&f->bus);
			backend_moved(f);
		}
	}
}

int sr_front_follow(struct sr_blkfront *f)
{
	int rc;

	rc = -pthread_create(&f->thread, NULL, follow, f);
	if (rc)
		return sr_frontbus_fail(&f->bus, rc, "can't start a thread: %s", strerror(-rc));
	f->running = true;
	return 0;
}

void sr_front_unfollow(struct sr_blkfront *f)
{
	if (!f->running)
		return;
	(void)eventfd_write(f->stop_fd, 1);
	pthread_join(f->thread, NULL);
	f->running = false;
}
