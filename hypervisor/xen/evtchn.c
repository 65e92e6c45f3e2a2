/* SPDX-License-Identifier: MIT */
/*
 * evtchn over libxenevtchn: /dev/xen/evtchn on Linux. Its driver refuses neither a port of somebody
 * else's nor one that is gone in each call, and reports a port that was pending when it was
 * unbound; so the handle knows its ports. That also spares system calls: a port that nobody masked
 * needs no unmask, and where all ports are held nothing can be pending.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <xenevtchn.h>

#include "xen_impl.h"

#define MAX_PORTS (1u << 17) /* EVTCHN_FIFO_NR_CHANNELS */

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

static int xen_pending(struct sr_evtchn *base, uint32_t *port)
{
	struct xen_evtchn *ev = (struct xen_evtchn *)base;

	while (ev->ready || ev->leftovers) {
		xenevtchn_port_or_error_t got = xenevtchn_pending(ev->lib);

		if (got < 0) {
			if (errno == EAGAIN)
				ev->leftovers = false;
			return -errno;
		}
		if (!ours(ev, (uint32_t)got))
			continue;
		if (!(ev->ports[got] & HELD)) {
			ev->ports[got] |= HELD;
			ev->ready--;
		}
		*port = (uint32_t)got;
		return 0;
	}
	return -EAGAIN;
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
};

/* A read of the device waits for an event unless its descriptor says not to. */
static int never_wait(xenevtchn_handle *lib)
{
	int fd = xenevtchn_fd(lib), flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

int sr_xen_evtchn_open(struct sr_hypervisor *hv, struct sr_evtchn **out)
{
	struct xen_evtchn *ev = calloc(1, sizeof(*ev));
	int err = 0;

	if (!ev)
		return -ENOMEM;
	ev->base.ops = &ops;
	errno = 0;
	ev->lib = xenevtchn_open(sr_xen_quiet(), 0);
	if (!ev->lib)
		err = sr_xen_open_error();
	else
		err = never_wait(ev->lib);
	if (err) {
		if (ev->lib)
			xenevtchn_close(ev->lib);
		free(ev);
		return err;
	}
	*out = &ev->base;
	return 0;
}
