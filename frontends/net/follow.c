/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>

static void tell(struct sr_netfront *f, enum sr_netfront_event event)
{
	if (f->options.event)
		f->options.event(f->options.event_arg, event);
}

static void backend_moved(struct sr_netfront *f)
{
	XenbusState state = sr_frontbus_backend_state(&f->bus);
	bool carrier = sr_frontbus_read_or(&f->bus, f->bus.backend, "carrier", UINT32_MAX, 1) != 0;
	int connected = 0;

	if (state == XenbusStateConnected || state == XenbusStateReconfiguring ||
	    state == XenbusStateReconfigured) {
		if (atomic_exchange(&f->carrier, carrier) != carrier)
			tell(f, SR_NETFRONT_CARRIER);
		return;
	}
	if (atomic_exchange(&f->carrier, false))
		tell(f, SR_NETFRONT_CARRIER);
	if (atomic_compare_exchange_strong(&f->status, &connected, -ESHUTDOWN)) {
		(void)eventfd_write(f->wake_fd, 1);
		tell(f, SR_NETFRONT_CLOSING);
	}
}

static void *follow(void *arg)
{
	struct sr_netfront *f = arg;
	struct pollfd fds[3] = {
		{ .fd = f->stop_fd, .events = POLLIN },
		{ .fd = xs_fileno(f->bus.xs), .events = POLLIN },
		{ .fd = f->wake_fd, .events = POLLIN },
	};

	/* What has happened since somebody looked last. */
	sr_frontbus_drain(&f->bus);
	backend_moved(f);
	for (;;) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		if (fds[2].revents) {
			fds[2].fd = -1; /* it stays readable */
			fds[2].revents = 0;
			if (sr_net_status(f) == -EIO)
				tell(f, SR_NETFRONT_BROKEN);
		}
		if (fds[1].revents & ~POLLIN) {
			fds[1].fd = -1; /* no more xenstore: traffic goes on */
			fds[1].revents = 0;
		} else if (fds[1].revents) {
			sr_frontbus_drain(&f->bus);
			backend_moved(f);
		}
	}
}

int sr_net_follow(struct sr_netfront *f)
{
	int rc;

	rc = -pthread_create(&f->thread, NULL, follow, f);
	if (rc)
		return sr_frontbus_fail(&f->bus, rc, "can't start a thread: %s", strerror(-rc));
	f->running = true;
	return 0;
}

void sr_net_unfollow(struct sr_netfront *f)
{
	eventfd_t n;

	if (!f->running)
		return;
	(void)eventfd_write(f->stop_fd, 1);
	pthread_join(f->thread, NULL);
	(void)eventfd_read(f->stop_fd, &n);
	f->running = false;
}
