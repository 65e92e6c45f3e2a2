/* SPDX-License-Identifier: MIT */
#include <frontbus/frontbus.h>

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hypervisor.h>

#define STATE(s) SR_FRONTBUS_STATE(s)
#define GONE     STATE(Unknown)

int sr_frontbus_open(struct sr_frontbus *bus)
{
	int rc = sr_hv_xenstore(bus->hv, &bus->xs);

	if (rc) {
		bus->xs = NULL;
		return sr_frontbus_fail(bus, rc, "no connection to xenstore: %s", strerror(-rc));
	}
	return 0;
}

void sr_frontbus_close(struct sr_frontbus *bus)
{
	if (bus->xs)
		xs_close(bus->xs);
	bus->xs = NULL;
}

int sr_frontbus_fail(struct sr_frontbus *bus, int rc, const char *format, ...)
{
	va_list args;

	if (bus->error && bus->error_size && !bus->error[0]) {
		va_start(args, format);
		vsnprintf(bus->error, bus->error_size, format, args);
		va_end(args);
	}
	return rc;
}

int sr_frontbus_read_string(struct sr_frontbus *bus, const char *dir, const char *node, char *value,
			    size_t size)
{
	char path[512];
	unsigned len;
	char *text;

	if (snprintf(path, sizeof(path), "%s/%s", dir, node) >= (int)sizeof(path))
		return -EMSGSIZE;
	text = xs_read(bus->xs, XBT_NULL, path, &len);
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

int sr_frontbus_read(struct sr_frontbus *bus, const char *dir, const char *node, uint64_t *value)
{
	char text[32], *end;
	int rc = sr_frontbus_read_string(bus, dir, node, text, sizeof(text));

	if (rc)
		return rc == -EMSGSIZE ? -EINVAL : rc;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return errno || end == text || *end || text[0] == '-' ? -EINVAL : 0;
}

uint64_t sr_frontbus_read_or(struct sr_frontbus *bus, const char *dir, const char *node,
			     uint64_t max, uint64_t fallback)
{
	uint64_t value;

	if (sr_frontbus_read(bus, dir, node, &value) || value > max)
		return fallback;
	return value;
}

int sr_frontbus_write(struct sr_frontbus *bus, xs_transaction_t t, const char *dir,
		      const char *node, const char *format, ...)
{
	char path[512], text[64];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0 || len >= (int)sizeof(text) ||
	    snprintf(path, sizeof(path), "%s/%s", dir, node) >= (int)sizeof(path))
		return -EMSGSIZE;
	return xs_write(bus->xs, t, path, text, (unsigned)len) ? 0 : -errno;
}

static int no_device(struct sr_frontbus *bus)
{
	char number[24] = "";

	if (!bus->title)
		snprintf(number, sizeof(number), " %u", bus->device);
	return sr_frontbus_fail(bus, -ENODEV, "domain %u has no %s%s (no backend in %s)",
				sr_hv_domid(bus->hv), bus->title ? bus->title : bus->class, number,
				bus->path);
}

int sr_frontbus_find(struct sr_frontbus *bus)
{
	uint16_t own = sr_hv_domid(bus->hv);
	uint64_t domid;
	int rc;

	snprintf(bus->path, sizeof(bus->path), "/local/domain/%u/device/%s/%u", own, bus->class,
		 bus->device);
	rc = sr_frontbus_read_string(bus, bus->path, "backend", bus->backend, sizeof(bus->backend));
	if (!rc)
		rc = sr_frontbus_read(bus, bus->path, "backend-id", &domid);
	if (rc == -ENOENT)
		return no_device(bus);
	if (!rc && domid > UINT16_MAX)
		rc = -EINVAL;
	if (rc)
		return sr_frontbus_fail(bus, rc, "%s/backend-id can't be used: %s", bus->path,
					strerror(-rc));
	bus->backend_domid = (uint16_t)domid;
	return 0;
}

int sr_frontbus_watch(struct sr_frontbus *bus, const char *dir, const char *node)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	if (!xs_watch(bus->xs, path, node))
		return sr_frontbus_fail(bus, -errno, "can't watch %s: %s", path, strerror(errno));
	return 0;
}

void sr_frontbus_unwatch(struct sr_frontbus *bus, const char *dir, const char *node)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	(void)xs_unwatch(bus->xs, path, node);
}

void sr_frontbus_drain(struct sr_frontbus *bus)
{
	char **event;

	while ((event = xs_check_watch(bus->xs)))
		free(event);
}

XenbusState sr_frontbus_backend_state(struct sr_frontbus *bus)
{
	return (XenbusState)sr_frontbus_read_or(bus, bus->backend, "state", XenbusStateReconfigured,
						XenbusStateUnknown);
}

int sr_frontbus_set_state(struct sr_frontbus *bus, XenbusState state)
{
	int rc = sr_frontbus_write(bus, XBT_NULL, bus->path, "state", "%d", (int)state);

	return rc ? sr_frontbus_fail(bus, rc, "can't write %s/state: %s", bus->path, strerror(-rc))
		  : 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

int sr_frontbus_await(struct sr_frontbus *bus, unsigned states, XenbusState *state)
{
	uint64_t deadline = now_ms() + bus->timeout_ms, now;
	struct pollfd fd = { .fd = xs_fileno(bus->xs), .events = POLLIN };

	for (;;) {
		/* First the event, then the state: a change after this read fires again. */
		sr_frontbus_drain(bus);
		*state = sr_frontbus_backend_state(bus);
		if (states & (1u << *state))
			return 0;
		now = now_ms();
		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(&fd, 1, (int)(deadline - now)) < 0 && errno != EINTR)
			return -errno;
	}
}

int sr_frontbus_goodbye(struct sr_frontbus *bus)
{
	XenbusState state;
	int rc;

	rc = sr_frontbus_set_state(bus, XenbusStateClosing);
	/* One that was never connected may not follow to Closing. */
	if (!rc)
		rc = sr_frontbus_await(bus, STATE(Closing) | STATE(Closed) | GONE | STATE(InitWait),
				       &state);
	if (!rc || rc == -ETIMEDOUT) {
		int closed = sr_frontbus_set_state(bus, XenbusStateClosed);

		rc = rc ? rc : closed;
	}
	if (!rc)
		rc = sr_frontbus_await(bus, STATE(Closed) | GONE, &state);
	return rc;
}

/* No backend came: the toolstack's script may have said why. */
static int nobody_came(struct sr_frontbus *bus, XenbusState state)
{
	char error[256];

	if (!sr_frontbus_read_string(bus, bus->backend, "hotplug-error", error, sizeof(error)))
		return sr_frontbus_fail(bus, -ETIMEDOUT, "%s: %s", bus->backend, error);
	return sr_frontbus_fail(bus, -ETIMEDOUT,
				"%s: no backend offers the device (its state is %d, not 2); is its "
				"daemon running?",
				bus->backend, (int)state);
}

int sr_frontbus_begin(struct sr_frontbus *bus)
{
	uint64_t own = sr_frontbus_read_or(bus, bus->path, "state", XenbusStateReconfigured,
					   XenbusStateInitialising);
	XenbusState state;
	int rc;

	if (own > XenbusStateInitialising && own != XenbusStateClosed) {
		rc = sr_frontbus_goodbye(bus);
		if (rc)
			return sr_frontbus_fail(bus, rc,
						"%s: the backend doesn't close what an earlier "
						"frontend left connected",
						bus->backend);
	}
	/* A backend that is still closing would miss that we begin again. */
	if (own == XenbusStateClosed) {
		rc = sr_frontbus_await(
		    bus, STATE(Closed) | STATE(Initialising) | STATE(InitWait) | GONE, &state);
		if (rc)
			return sr_frontbus_fail(bus, rc,
						"%s: the backend doesn't close the device (its "
						"state is %d)",
						bus->backend, (int)state);
	}
	rc = sr_frontbus_set_state(bus, XenbusStateInitialising);
	if (rc)
		return rc;
	rc = sr_frontbus_await(bus, STATE(InitWait) | STATE(Initialised), &state);
	if (rc == -ETIMEDOUT)
		return nobody_came(bus, state);
	return rc ? sr_frontbus_fail(bus, rc, "%s/state: %s", bus->backend, strerror(-rc)) : 0;
}

int sr_frontbus_await_connected(struct sr_frontbus *bus)
{
	unsigned states = STATE(Connected) | STATE(Closing) | STATE(Closed) | GONE;
	XenbusState state;
	char error[256];
	int rc = sr_frontbus_await(bus, states, &state);

	if (!rc && state == XenbusStateConnected)
		return 0;
	rc = rc ? rc : -ECONNREFUSED;
	if (!sr_frontbus_read_string(bus, bus->backend, "error", error, sizeof(error)))
		(void)sr_frontbus_fail(bus, rc, "%s: %s", bus->backend, error);
	return sr_frontbus_fail(bus, rc, "%s: the backend didn't connect (its state is %d)",
				bus->backend, (int)state);
}

static int remove_old(struct sr_frontbus *bus, xs_transaction_t t,
		      const struct sr_frontbus_publication *p)
{
	char path[320], **nodes;
	unsigned count;
	int rc = 0;

	nodes = xs_directory(bus->xs, t, bus->path, &count);
	if (!nodes)
		return -errno;
	for (unsigned i = 0; i < count && !rc; i++) {
		if (!p->is_ours(nodes[i]))
			continue;
		snprintf(path, sizeof(path), "%s/%s", bus->path, nodes[i]);
		if (!xs_rm(bus->xs, t, path))
			rc = -errno;
	}
	free(nodes);
	return rc;
}

int sr_frontbus_publish(struct sr_frontbus *bus, const struct sr_frontbus_publication *p)
{
	int rc;

	do {
		xs_transaction_t t = xs_transaction_start(bus->xs);

		if (t == XBT_NULL)
			return sr_frontbus_fail(bus, -errno, "xenstore gives no transaction: %s",
						strerror(errno));
		rc = remove_old(bus, t, p);
		if (!rc)
			rc = p->put(bus, t, p->arg);
		if (rc)
			xs_transaction_end(bus->xs, t, true);
		else if (!xs_transaction_end(bus->xs, t, false))
			rc = -errno;
	} while (rc == -EAGAIN);
	return rc ? sr_frontbus_fail(bus, rc, "can't write to %s: %s", bus->path, strerror(-rc))
		  : 0;
}
