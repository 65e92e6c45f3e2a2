/* SPDX-License-Identifier: MIT */
/*
 * evtchn over libxenevtchn: /dev/xen/evtchn on Linux. Its driver refuses neither a port of somebody
 * else's nor one that is gone in each call, and reports a port that was pending when it was
 * unbound; so the handle knows its ports. That also spares system calls: a port that nobody masked
 * needs no unmask, and where all ports are held nothing can be pending.
 *
 * A wait is a read of the device that blocks, which its descriptor has to allow. So once there was
 * one, pending() asks poll() first, until that finds an event: then more come than a wait takes,
 * and reads don't block any more until the next wait. What ends a wait from outside is an event as
 * well, on a channel of which both ends are ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <xenevtchn.h>

#include "xen_impl.h"

#define MAX_PORTS      (1u << 17) /* EVTCHN_FIFO_NR_CHANNELS */
#define FIRST_EVENT_MS 1000

enum {
	BOUND = 1u << 0,
	HELD = 1u << 1, /* reported by pending, not unmasked since */
};

struct xen_evtchn {
	struct sr_evtchn base;
	xenevtchn_handle *lib;
	unsigned ready; /* ports that are bound and not held */
	/* A port was unbound that may be in the driver's queue still. */
	bool leftovers;
	bool blocking; /* a read of the device waits */
	int flags;     /* the descriptor's, when it does */
	uint16_t domid;
	uint32_t ringer, bell;    /* the channel that ends a wait; 0: none */
	uint8_t ports[MAX_PORTS]; /* mostly untouched, so mostly no memory */
};

static bool ours(const struct xen_evtchn *ev, uint32_t port)
{
	return port < MAX_PORTS && (ev->ports[port] & BOUND);
}

static int bound(struct xen_evtchn *ev, xenevtchn_port_or_error_t got, uint32_t *port)
{
	if (got < 0)
		return -errno;
	if ((unsigned)got >= MAX_PORTS) {
		xenevtchn_unbind(ev->lib, (evtchn_port_t)got);
		return -ENOSPC;
	}
	ev->ports[got] = BOUND;
	ev->ready++;
	*port = (uint32_t)got;
	return 0;
}

static int xen_fd(struct sr_evtchn *base)
{
	return xenevtchn_fd(((struct xen_evtchn *)base)->lib);
}

static int xen_alloc_unbound(struct sr_evtchn *base, uint16_t domid, uint32_t *port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	return bound(ev, xenevtchn_bind_unbound_port(ev->lib, domid), port);
}

static int xen_bind_interdomain(struct sr_evtchn *base, uint16_t domid, uint32_t remote_port,
				uint32_t *port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	return bound(ev, xenevtchn_bind_interdomain(ev->lib, domid, remote_port), port);
}

static int xen_bind_virq(struct sr_evtchn *base, unsigned virq, uint32_t *port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	return bound(ev, xenevtchn_bind_virq(ev->lib, virq), port);
}

static int xen_unbind(struct sr_evtchn *base, uint32_t port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	if (!ours(ev, port))
		return -EINVAL;
	if (xenevtchn_unbind(ev->lib, port))
		return -errno;
	if (!(ev->ports[port] & HELD)) {
		ev->ready--;
		ev->leftovers = true;
	}
	ev->ports[port] = 0;
	return 0;
}

static int xen_notify(struct sr_evtchn *base, uint32_t port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	if (!ours(ev, port))
		return -EINVAL;
	return xenevtchn_notify(ev->lib, port) ? -errno : 0;
}

static int set_blocking(struct xen_evtchn *ev, bool blocking)
{
	int flags = blocking ? ev->flags : ev->flags | O_NONBLOCK;

	if (fcntl(xenevtchn_fd(ev->lib), F_SETFL, flags))
		return -errno;
	ev->blocking = blocking;
	return 0;
}

static void hold(struct xen_evtchn *ev, uint32_t port)
{
	if (ev->ports[port] & HELD)
		return;
	ev->ports[port] |= HELD;
	ev->ready--;
}

/* The next port, whosever it is, without waiting for it. */
static xenevtchn_port_or_error_t next_port(struct xen_evtchn *ev)
{
	struct pollfd pfd = { .fd = xenevtchn_fd(ev->lib), .events = POLLIN };
	int n = ev->blocking ? poll(&pfd, 1, 0) : 1;

	if (n == 0)
		errno = EAGAIN;
	if (n <= 0 || (ev->blocking && set_blocking(ev, false)))
		return -1;
	return xenevtchn_pending(ev->lib);
}

static int xen_pending(struct sr_evtchn *base, uint32_t *port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	while (ev->ready || ev->leftovers) {
		xenevtchn_port_or_error_t got = next_port(ev);

		if (got < 0) {
			if (errno == EAGAIN)
				ev->leftovers = false;
			return -errno;
		}
		if (!ours(ev, (uint32_t)got))
			continue;
		hold(ev, (uint32_t)got);
		*port = (uint32_t)got;
		return 0;
	}
	return -EAGAIN;
}

/* A port that was just bound starts pending: that event is nobody's, and has to go. */
static int take_first(struct xen_evtchn *ev, uint32_t port)
{
	struct pollfd pfd = { .fd = xenevtchn_fd(ev->lib), .events = POLLIN };
	xenevtchn_port_or_error_t got;

	if (poll(&pfd, 1, FIRST_EVENT_MS) != 1)
		return -ETIMEDOUT;
	got = xenevtchn_pending(ev->lib);
	return got < 0 ? -errno : (uint32_t)got == port ? 0 : -EBUSY;
}

static int xen_prepare_wait(struct sr_evtchn *base)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;
	xenevtchn_port_or_error_t bell, ringer;
	int err;

	bell = xenevtchn_bind_unbound_port(ev->lib, ev->domid);
	if (bell < 0)
		return -errno;
	ringer = xenevtchn_bind_interdomain(ev->lib, ev->domid, (evtchn_port_t)bell);
	err = ringer < 0 ? -errno : take_first(ev, (uint32_t)ringer);
	if (!err) {
		ev->bell = (uint32_t)bell;
		ev->ringer = (uint32_t)ringer;
		return 0;
	}
	if (ringer >= 0)
		xenevtchn_unbind(ev->lib, (evtchn_port_t)ringer);
	xenevtchn_unbind(ev->lib, (evtchn_port_t)bell);
	return err;
}

static int xen_wait(struct sr_evtchn *base, uint32_t *port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;
	xenevtchn_port_or_error_t got;
	int err = ev->blocking ? 0 : set_blocking(ev, true);

	if (err)
		return err;
	do {
		got = xenevtchn_pending(ev->lib);
		if (got < 0)
			return -errno;
		if ((uint32_t)got == ev->bell)
			return xenevtchn_unmask(ev->lib, ev->bell) ? -errno : -ECANCELED;
	} while (!ours(ev, (uint32_t)got));
	hold(ev, (uint32_t)got);
	*port = (uint32_t)got;
	return 0;
}

static int xen_wake(struct sr_evtchn *base)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	return xenevtchn_notify(ev->lib, ev->ringer) ? -errno : 0;
}

static int xen_unmask(struct sr_evtchn *base, uint32_t port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	if (!ours(ev, port))
		return -EINVAL;
	if (!(ev->ports[port] & HELD))
		return 0;
	if (xenevtchn_unmask(ev->lib, port))
		return -errno;
	ev->ports[port] &= (uint8_t)~HELD;
	ev->ready++;
	return 0;
}

static void xen_close(struct sr_evtchn *base)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	xenevtchn_close(ev->lib);
	free(ev);
}

static const struct sr_evtchn_ops ops = {
	.close = xen_close,
	.fd = xen_fd,
	.alloc_unbound = xen_alloc_unbound,
	.bind_interdomain = xen_bind_interdomain,
	.bind_virq = xen_bind_virq,
	.unbind = xen_unbind,
	.notify = xen_notify,
	.pending = xen_pending,
	.unmask = xen_unmask,
	.prepare_wait = xen_prepare_wait,
	.wait = xen_wait,
	.wake = xen_wake,
};

/* A read of the device waits for an event unless its descriptor says not to. */
static int never_wait(struct xen_evtchn *ev)
{
	int flags = fcntl(xenevtchn_fd(ev->lib), F_GETFL);

	if (flags < 0)
		return -errno;
	ev->flags = flags & ~O_NONBLOCK;
	return set_blocking(ev, false);
}

int sr_xen_evtchn_open(struct sr_hypervisor *hv, struct sr_evtchn **out)
{
	struct xen_evtchn *ev = calloc(1, sizeof(*ev));
	int err = 0;

	if (!ev)
		return -ENOMEM;
	ev->base.ops = &ops;
	ev->domid = sr_hv_domid(hv);
	errno = 0;
	ev->lib = xenevtchn_open(sr_xen_quiet(), 0);
	if (!ev->lib)
		err = sr_xen_open_error();
	else
		err = never_wait(ev);
	if (err) {
		if (ev->lib)
			xenevtchn_close(ev->lib);
		free(ev);
		return err;
	}
	*out = &ev->base;
	return 0;
}
