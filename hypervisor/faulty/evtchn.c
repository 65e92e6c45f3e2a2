/* SPDX-License-Identifier: MIT */
/*
 * Events that get lost, come late, or come twice. What is held back waits in a list; a timer makes
 * the handle's descriptor readable when the first of it is due.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "faulty_impl.h"

#define LATE_NS INT64_C(5000000)
/* Lost events that one call of pending() swallows, so that it returns under a storm. */
#define MAX_LOST 64

struct held {
	struct held *next;
	uint32_t port;
	int64_t due; /* CLOCK_MONOTONIC, ns; 0: when the port is unmasked */
};

struct faulty_evtchn {
	struct sr_evtchn base;
	struct sr_faulty *hv;
	struct sr_evtchn *inner;
	int epfd, timer;
	struct held *held; /* sorted by `due` */
};

static int64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* Until the first event that has a time; setting it anew also clears what has expired. */
static void set_timer(struct faulty_evtchn *ev)
{
	struct itimerspec its = { 0 };
	const struct held *h = ev->held;

	while (h && !h->due)
		h = h->next;
	if (h) {
		its.it_value.tv_sec = (time_t)(h->due / 1000000000);
		its.it_value.tv_nsec = (long)(h->due % 1000000000);
	}
	timerfd_settime(ev->timer, TFD_TIMER_ABSTIME, &its, NULL);
}

/* Without memory the event is simply reported as it came. */
static bool hold(struct faulty_evtchn *ev, uint32_t port, int64_t due)
{
	struct held *h = malloc(sizeof(*h)), **at = &ev->held;

	if (!h)
		return false;
	while (*at && (*at)->due <= due)
		at = &(*at)->next;
	*h = (struct held){ .next = *at, .port = port, .due = due };
	*at = h;
	set_timer(ev);
	return true;
}

/* Takes the first held event that `when` and `port` (0: any) fit. */
static bool release(struct faulty_evtchn *ev, bool waiting, int64_t now, uint32_t port,
		    uint32_t *out)
{
	for (struct held **at = &ev->held; *at; at = &(*at)->next) {
		struct held *h = *at;

		if ((port && h->port != port) || (waiting ? h->due != 0 : !h->due || h->due > now))
			continue;
		*out = h->port;
		*at = h->next;
		free(h);
		return true;
	}
	return false;
}

static int faulty_pending(struct sr_evtchn *base, uint32_t *port)
{
	struct faulty_evtchn *ev = (struct faulty_evtchn *)base;

	if (ev->held && release(ev, false, now_ns(), 0, port)) {
		set_timer(ev);
		return 0;
	}
	for (int lost = 0; lost < MAX_LOST; lost++) {
		int err = sr_evtchn_pending(ev->inner, port);

		if (err)
			return err;
		if (sr_faulty_strikes(ev->hv, SR_FAULT_EVTCHN_LOST)) {
			sr_evtchn_unmask(ev->inner, *port);
			continue;
		}
		if (sr_faulty_strikes(ev->hv, SR_FAULT_EVTCHN_LATE) &&
		    hold(ev, *port, now_ns() + LATE_NS))
			continue;
		if (sr_faulty_strikes(ev->hv, SR_FAULT_EVTCHN_DOUBLE))
			hold(ev, *port, 0);
		return 0;
	}
	return -EAGAIN;
}

static int faulty_unmask(struct sr_evtchn *base, uint32_t port)
{
	struct faulty_evtchn *ev = (struct faulty_evtchn *)base;
	uint32_t same;

	/* To be reported once more: it stays masked below until the next unmask. */
	if (ev->held && release(ev, true, 0, port, &same))
		return hold(ev, port, 1) ? 0 : sr_evtchn_unmask(ev->inner, port);
	return sr_evtchn_unmask(ev->inner, port);
}

static int faulty_unbind(struct sr_evtchn *base, uint32_t port)
{
	struct faulty_evtchn *ev = (struct faulty_evtchn *)base;
	uint32_t same;

	while (release(ev, true, 0, port, &same) || release(ev, false, INT64_MAX, port, &same))
		set_timer(ev);
	return sr_evtchn_unbind(ev->inner, port);
}

static int faulty_notify(struct sr_evtchn *base, uint32_t port)
{
	struct faulty_evtchn *ev = (struct faulty_evtchn *)base;

	if (sr_faulty_strikes(ev->hv, SR_FAULT_NOTIFY_LOST))
		return 0;
	if (sr_faulty_strikes(ev->hv, SR_FAULT_NOTIFY_DIES))
		raise(SIGKILL);
	return sr_evtchn_notify(ev->inner, port);
}

static int faulty_bind_interdomain(struct sr_evtchn *base, uint16_t domid, uint32_t remote_port,
				   uint32_t *port)
{
	struct faulty_evtchn *ev = (struct faulty_evtchn *)base;

	if (sr_faulty_strikes(ev->hv, SR_FAULT_BIND))
		return -EIO;
	return sr_evtchn_bind_interdomain(ev->inner, domid, remote_port, port);
}

static int faulty_alloc_unbound(struct sr_evtchn *base, uint16_t domid, uint32_t *port)
{
	return sr_evtchn_alloc_unbound(((struct faulty_evtchn *)base)->inner, domid, port);
}

static int faulty_bind_virq(struct sr_evtchn *base, unsigned virq, uint32_t *port)
{
	return sr_evtchn_bind_virq(((struct faulty_evtchn *)base)->inner, virq, port);
}

static int faulty_fd(struct sr_evtchn *base)
{
	return ((struct faulty_evtchn *)base)->epfd;
}

static void faulty_close(struct sr_evtchn *base)
{
	struct faulty_evtchn *ev = (struct faulty_evtchn *)base;

	sr_evtchn_close(ev->inner);
	while (ev->held) {
		struct held *h = ev->held;

		ev->held = h->next;
		free(h);
	}
	if (ev->epfd >= 0)
		close(ev->epfd);
	if (ev->timer >= 0)
		close(ev->timer);
	free(ev);
}

static const struct sr_evtchn_ops ops = {
	.close = faulty_close,
	.fd = faulty_fd,
	.alloc_unbound = faulty_alloc_unbound,
	.bind_interdomain = faulty_bind_interdomain,
	.bind_virq = faulty_bind_virq,
	.unbind = faulty_unbind,
	.notify = faulty_notify,
	.pending = faulty_pending,
	.unmask = faulty_unmask,
};

static int watch(int epfd, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e) ? -errno : 0;
}

int sr_faulty_evtchn_open(struct sr_hypervisor *base, struct sr_evtchn **out)
{
	struct sr_faulty *hv = (struct sr_faulty *)base;
	struct faulty_evtchn *ev = calloc(1, sizeof(*ev));
	int err;

	if (!ev)
		return -ENOMEM;
	ev->base.ops = &ops;
	ev->hv = hv;
	ev->epfd = epoll_create1(EPOLL_CLOEXEC);
	ev->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	err = ev->epfd < 0 || ev->timer < 0 ? -errno : sr_evtchn_open(hv->inner, &ev->inner);
	if (!err)
		err = watch(ev->epfd, ev->timer);
	if (!err)
		err = watch(ev->epfd, sr_evtchn_fd(ev->inner));
	if (err) {
		faulty_close(&ev->base);
		return err;
	}
	*out = &ev->base;
	return 0;
}
