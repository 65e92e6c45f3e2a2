/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <blkfront/vdev.h>

/* The frontend's half of xenbus: <xen/io/blkif.h>, "STATE DIAGRAMS". */

#define STATE(s) (1u << XenbusState##s)
#define GONE     STATE(Unknown)

int sr_front_fail(struct sr_blkfront *f, int rc, const char *format, ...)
{
	va_list args;

	if (f->error && f->error_size && !f->error[0]) {
		va_start(args, format);
		vsnprintf(f->error, f->error_size, format, args);
		va_end(args);
	}
	return rc;
}

int sr_front_read_string(struct sr_blkfront *f, const char *dir, const char *node, char *value,
			 size_t size)
{
	char path[512];
	unsigned len;
	char *text;

	if (snprintf(path, sizeof(path), "%s/%s", dir, node) >= (int)sizeof(path))
		return -EMSGSIZE;
	text = xs_read(f->xs, XBT_NULL, path, &len);
	if (!text)
		return errno ? -errno : -EIO;
	if (len >= size) {
		free(text);
		return -EMSGSIZE;
	}
	memcpy(value, text, len);
	value[len] = '\0';
	free(text);
	return 0;
}

int sr_front_read(struct sr_blkfront *f, const char *dir, const char *node, uint64_t *value)
{
	char text[32], *end;
	int rc = sr_front_read_string(f, dir, node, text, sizeof(text));

	if (rc)
		return rc == -EMSGSIZE ? -EINVAL : rc;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno || end == text || *end || text[0] == '-' ? -EINVAL : 0;
}

uint64_t sr_front_read_or(struct sr_blkfront *f, const char *dir, const char *node, uint64_t max,
			  uint64_t fallback)
{
	uint64_t value;

	if (sr_front_read(f, dir, node, &value) || value > max)
		return fallback;
	return value;
}

int sr_front_find(struct sr_blkfront *f)
{
	char path[272], name[SR_VDEV_NAME_SIZE];
	uint64_t domid;
	int rc;

	sr_vdev_name(f->info.vdev, name, sizeof(name));
	snprintf(f->path, sizeof(f->path), "/local/domain/%u/device/vbd/%u", sr_hv_domid(f->hv),
		 f->info.vdev);
	rc = sr_front_read_string(f, f->path, "backend", f->backend, sizeof(f->backend));
	if (!rc)
		rc = sr_front_read(f, f->path, "backend-id", &domid);
	if (rc == -ENOENT)
		return sr_front_fail(f, -ENODEV, "domain %u has no disk %s (no backend in %s)",
				     sr_hv_domid(f->hv), name, f->path);
	if (rc || domid > UINT16_MAX)
		return sr_front_fail(f, rc ? rc : -EINVAL, "%s/backend-id can't be used: %s",
				     f->path, strerror(rc ? -rc : EINVAL));
	f->info.backend_domid = (uint16_t)domid;
	snprintf(path, sizeof(path), "%s/state", f->backend);
	if (!xs_watch(f->xs, path, "state"))
		return sr_front_fail(f, -errno, "can't watch %s: %s", path, strerror(errno));
	return 0;
}

XenbusState sr_front_backend_state(struct sr_blkfront *f)
{
	return (XenbusState)sr_front_read_or(f, f->backend, "state", XenbusStateReconfigured,
					     XenbusStateUnknown);
}

int sr_front_set_state(struct sr_blkfront *f, XenbusState state)
{
	char path[80], text[4];
	int len = snprintf(text, sizeof(text), "%d", (int)state % 10);

	snprintf(path, sizeof(path), "%s/state", f->path);
	if (!xs_write(f->xs, XBT_NULL, path, text, (unsigned)len))
		return sr_front_fail(f, -errno, "can't write %s: %s", path, strerror(errno));
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static void drain_watches(struct sr_blkfront *f)
{
	char **event;

	while ((event = xs_check_watch(f->xs)))
		free(event);
}

int sr_front_await(struct sr_blkfront *f, unsigned states, XenbusState *state)
{
	uint64_t deadline = now_ms() + f->options.timeout_ms, now;
	struct pollfd fd = { .fd = xs_fileno(f->xs), .events = POLLIN };

	for (;;) {
		/* First the event, then the state: a change after this read fires again. */
		drain_watches(f);
		*state = sr_front_backend_state(f);
		if (states & (1u << *state))
			return 0;
		now = now_ms();
		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(&fd, 1, (int)(deadline - now)) < 0 && errno != EINTR)
			return -errno;
	}
}

int sr_front_say_goodbye(struct sr_blkfront *f)
{
	XenbusState state;
	int rc;

	rc = sr_front_set_state(f, XenbusStateClosing);
	/* One that was never connected may not follow to Closing. */
	if (!rc)
		rc = sr_front_await(f, STATE(Closing) | STATE(Closed) | GONE | STATE(InitWait),
				    &state);
	if (!rc || rc == -ETIMEDOUT) {
		int closed = sr_front_set_state(f, XenbusStateClosed);

		rc = rc ? rc : closed;
	}
	if (!rc)
		rc = sr_front_await(f, STATE(Closed) | GONE, &state);
	return rc;
}

int sr_front_begin(struct sr_blkfront *f)
{
	uint64_t own =
	    sr_front_read_or(f, f->path, "state", XenbusStateReconfigured, XenbusStateInitialising);
	XenbusState state;
	char error[256];
	int rc;

	if (own > XenbusStateInitialising && own < XenbusStateClosed) {
		rc = sr_front_say_goodbye(f);
		if (rc)
			return sr_front_fail(f, rc,
					     "%s: the backend doesn't close what an earlier "
					     "frontend left connected",
					     f->backend);
	}
	/* A backend that is still closing would miss that we begin again. */
	if (own == XenbusStateClosed) {
		rc = sr_front_await(f, STATE(Closed) | STATE(Initialising) | STATE(InitWait) | GONE,
				    &state);
		if (rc)
			return sr_front_fail(f, rc,
					     "%s: the backend doesn't close the device (its "
					     "state is %d)",
					     f->backend, (int)state);
	}
	rc = sr_front_set_state(f, XenbusStateInitialising);
	if (rc)
		return rc;
	rc = sr_front_await(f, STATE(InitWait) | STATE(Initialised), &state);
	if (rc == -ETIMEDOUT) {
		if (!sr_front_read_string(f, f->backend, "hotplug-error", error, sizeof(error)))
			return sr_front_fail(f, rc, "%s: %s", f->backend, error);
		return sr_front_fail(f, rc,
				     "%s: no backend offers the device (its state is %d, "
				     "not 2); is its daemon running?",
				     f->backend, (int)state);
	}
	return rc ? sr_front_fail(f, rc, "%s/state: %s", f->backend, strerror(-rc)) : 0;
}

int sr_front_read_size(struct sr_blkfront *f, bool *changed)
{
	uint64_t sectors, bytes;
	int rc = sr_front_read(f, f->backend, "sectors", &sectors);

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

	switch (sr_front_backend_state(f)) {
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
		{ .fd = xs_fileno(f->xs), .events = POLLIN },
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
			drain_watches(f);
			backend_moved(f);
		}
	}
}

int sr_front_follow(struct sr_blkfront *f)
{
	int rc;

	rc = -pthread_create(&f->thread, NULL, follow, f);
	if (rc)
		return sr_front_fail(f, rc, "can't start a thread: %s", strerror(-rc));
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
