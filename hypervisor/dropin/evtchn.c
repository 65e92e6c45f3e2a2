/* SPDX-License-Identifier: MIT */
/* libxenevtchn. Errors, and what counts as none, are those of Linux's /dev/xen/evtchn. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <xenevtchn.h>

#include "process.h"

#define UNRESTRICTED UINT32_MAX

enum {
	BOUND = 1u << 0,
	HELD = 1u << 1, /* reported by pending, not unmasked since */
};

struct xenevtchn_handle {
	struct sr_dropin_handle base;
	struct sr_evtchn *ev;
	uint32_t only; /* the domain it is restricted to */
	uint8_t *ports;
	uint32_t nr_ports;
};

/* --- open and close -------------------------------------------------------------------------- */

xenevtchn_handle *xenevtchn_open(struct xentoollog_logger *logger, unsigned int flags)
{
	xenevtchn_handle *xce;
	int err = flags & ~XENEVTCHN_NO_CLOEXEC ? -EINVAL : 0;

	xce = err ? NULL : calloc(1, sizeof(*xce));
	if (!err && !xce)
		err = -ENOMEM;
	if (err)
		goto fail;
	xce->only = UNRESTRICTED;
	err = sr_dropin_open(&xce->base, logger, false);
	if (!err)
		err = sr_evtchn_open(xce->base.hv, &xce->ev);
	if (!err && flags & XENEVTCHN_NO_CLOEXEC && fcntl(sr_evtchn_fd(xce->ev), F_SETFD, 0))
		err = -errno;
	if (!err)
		return xce;
	xenevtchn_close(xce);
fail:
	errno = -err;
	return NULL;
}

/* What a port consists of lies in the process that bound it, so no descriptor stands for it. */
xenevtchn_handle *xenevtchn_fdopen(struct xentoollog_logger *logger, int fd, unsigned open_flags)
{
	errno = open_flags ? EINVAL : EOPNOTSUPP;
	return NULL;
}

int xenevtchn_close(xenevtchn_handle *xce)
{
	if (!xce)
		return 0;
	if (!sr_dropin_inherited(&xce->base))
		sr_evtchn_close(xce->ev);
	sr_dropin_close(&xce->base);
	free(xce->ports);
	free(xce);
	return 0;
}

int xenevtchn_fd(xenevtchn_handle *xce)
{
	return sr_evtchn_fd(xce->ev);
}

int xenevtchn_restrict(xenevtchn_handle *xce, domid_t domid)
{
	int err = 0;

	pthread_mutex_lock(&xce->base.lock);
	if (xce->only != UNRESTRICTED)
		err = -EACCES;
	else if (!domid || domid >= DOMID_FIRST_RESERVED)
		err = -EINVAL;
	else
		xce->only = domid;
	pthread_mutex_unlock(&xce->base.lock);
	return err ? sr_dropin_fail(&xce->base, err, "restrict") : 0;
}

/* --- bind and unbind ------------------------------------------------------------------------- */

static bool bound(const xenevtchn_handle *xce, uint32_t port)
{
	return port < xce->nr_ports && xce->ports[port];
}

/* Who may be named: -ESRCH where there can be no such domain. */
static int check_domain(const xenevtchn_handle *xce, uint32_t domid)
{
	if (xce->only != UNRESTRICTED && xce->only != domid)
		return -EACCES;
	return domid > UINT16_MAX ? -ESRCH : 0;
}

static int remember(xenevtchn_handle *xce, uint32_t port)
{
	if (port >= xce->nr_ports) {
		uint32_t more = (port / 64 + 1) * 64;
		uint8_t *ports = realloc(xce->ports, more);

		if (!ports) {
			sr_evtchn_unbind(xce->ev, port);
			return -ENOMEM;
		}
		memset(ports + xce->nr_ports, 0, more - xce->nr_ports);
		xce->ports = ports;
		xce->nr_ports = more;
	}
	xce->ports[port] = BOUND;
	return 0;
}

/* The end of each bind: unlocks. */
static xenevtchn_port_or_error_t finish(xenevtchn_handle *xce, int err, uint32_t port)
{
	if (!err)
		err = remember(xce, port);
	pthread_mutex_unlock(&xce->base.lock);
	return err ? sr_dropin_fail(&xce->base, err, "bind") : (int)port;
}

xenevtchn_port_or_error_t xenevtchn_bind_unbound_port(xenevtchn_handle *xce, uint32_t domid)
{
	uint32_t port = 0;
	int err;

	pthread_mutex_lock(&xce->base.lock);
	err = check_domain(xce, domid);
	if (!err)
		err = sr_evtchn_alloc_unbound(xce->ev, (uint16_t)domid, &port);
	return finish(xce, err, port);
}

xenevtchn_port_or_error_t xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid,
						     evtchn_port_t remote_port)
{
	uint32_t port = 0;
	int err;

	pthread_mutex_lock(&xce->base.lock);
	err = check_domain(xce, domid);
	if (!err)
		err = sr_evtchn_bind_interdomain(xce->ev, (uint16_t)domid, remote_port, &port);
	return finish(xce, err, port);
}

xenevtchn_port_or_error_t xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned int virq)
{
	uint32_t port = 0;
	int err;

	pthread_mutex_lock(&xce->base.lock);
	err = xce->only != UNRESTRICTED ? -EACCES : sr_evtchn_bind_virq(xce->ev, virq, &port);
	return finish(xce, err, port);
}

int xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
	int err = -ENOTCONN;

	pthread_mutex_lock(&xce->base.lock);
	if (bound(xce, port)) {
		xce->ports[port] = 0;
		err = sr_evtchn_unbind(xce->ev, port);
	}
	pthread_mutex_unlock(&xce->base.lock);
	return err ? sr_dropin_fail(&xce->base, err, "unbind") : 0;
}

/* --- events ---------------------------------------------------------------------------------- */

int xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
	int err;

	pthread_mutex_lock(&xce->base.lock);
	err = bound(xce, port) ? sr_evtchn_notify(xce->ev, port) : -ENOTCONN;
	pthread_mutex_unlock(&xce->base.lock);
	return err ? sr_dropin_fail(&xce->base, err, "notify") : 0;
}

static int take(xenevtchn_handle *xce, uint32_t *port)
{
	int err;

	pthread_mutex_lock(&xce->base.lock);
	err = sr_evtchn_pending(xce->ev, port);
	if (!err)
		xce->ports[*port] |= HELD;
	pthread_mutex_unlock(&xce->base.lock);
	return err;
}

/* Waits where a read of the device would: unless the descriptor says O_NONBLOCK. */
xenevtchn_port_or_error_t xenevtchn_pending(xenevtchn_handle *xce)
{
	struct pollfd pfd = { .fd = sr_evtchn_fd(xce->ev), .events = POLLIN };
	int flags = fcntl(pfd.fd, F_GETFL);
	uint32_t port;
	int err;

	while ((err = take(xce, &port)) == -EAGAIN && flags >= 0 && !(flags & O_NONBLOCK))
		if (poll(&pfd, 1, -1) < 0)
			return -1;
	return err ? sr_dropin_fail(&xce->base, err, "take an event") : (int)port;
}

/*
 * A port that is not held stays as it is: to unmask one whose event is on its way would have it
 * taken before its bell is heard, and the descriptor readable for nothing.
 */
int xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
	int err = 0;

	pthread_mutex_lock(&xce->base.lock);
	if (bound(xce, port) && xce->ports[port] & HELD) {
		err = sr_evtchn_unmask(xce->ev, port);
		if (!err)
			xce->ports[port] = BOUND;
	}
	pthread_mutex_unlock(&xce->base.lock);
	return err ? sr_dropin_fail(&xce->base, err, "unmask") : 0;
}
