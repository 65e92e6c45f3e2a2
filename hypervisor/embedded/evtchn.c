/* SPDX-License-Identifier: MIT */
/*
 * evtchn: what a process does with its ports (ports.c says what a port is made of).
 *
 * A bell is watched edge-triggered and never read: each ring is one edge. So a wake-up costs one
 * epoll_wait(), for many ports at once, and nobody else can make us block on a descriptor.
 *
 * Masked is what this handle says in its own memory; the line's word is shared with a peer and
 * only says whom to wake. A peer that rings a masked port wakes us for nothing, so after a few
 * times its bell is not watched any more until the port is unmasked.
 */
#include <core/channel.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "provider_impl.h"

#define BATCH    64
#define MAX_IDLE 8 /* rings of a masked port that are put up with */
/* epoll's data for `self` and `bell`; no port has such a number. */
#define SELF UINT32_MAX
#define BELL (UINT32_MAX - 1)

struct port {
	uint32_t number;
	bool masked;
	bool queued;  /* in the ready list */
	bool watched; /* its bell is in the epoll set */
	unsigned idle_rings;
	int bell;
	int ringer;                   /* the peer's; -1 */
	struct sr_channel_line *line; /* ours */
	struct sr_channel_line *peer; /* NULL: not known, ask */
	struct port *next_ready;
};

struct em_evtchn {
	struct sr_evtchn base;
	struct sr_em_hv *hv;
	struct sr_em_client client;
	int epfd; /* the handle's pollable descriptor */
	int self; /* see tell_pollers() */
	bool self_set;
	int bell;            /* the machine has sent us an event, somewhere */
	struct port **ports; /* by number */
	uint32_t nr_ports;
	struct port *ready, **ready_end;
	struct epoll_event events[BATCH]; /* taken from the kernel and not looked at yet */
	int next_event, nr_events;
};

/* --- ports ----------------------------------------------------------------------------------- */

static struct port *find(const struct em_evtchn *ev, uint32_t number)
{
	return number < ev->nr_ports ? ev->ports[number] : NULL;
}

static int map_line(int fd, struct sr_channel_line **line)
{
	void *p = mmap(NULL, SR_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	if (p == MAP_FAILED)
		return -ENOMEM;
	*line = p;
	return 0;
}

static void forget_peer(struct port *p)
{
	if (p->peer)
		munmap(p->peer, SR_PAGE_SIZE);
	if (p->ringer >= 0)
		close(p->ringer);
	p->peer = NULL;
	p->ringer = -1;
}

/* Takes over both descriptors. */
static int learn_peer(struct port *p, int line_fd, int ringer)
{
	int err;

	forget_peer(p);
	err = map_line(line_fd, &p->peer);
	if (err)
		close(ringer);
	else
		p->ringer = ringer;
	return err;
}

static int make_room(struct em_evtchn *ev, uint32_t number)
{
	uint32_t slots = ev->nr_ports ? ev->nr_ports : 16;
	struct port **ports;

	while (slots <= number)
		slots *= 2;
	if (slots == ev->nr_ports)
		return 0;
	ports = realloc(ev->ports, slots * sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	for (uint32_t i = ev->nr_ports; i < slots; i++)
		ports[i] = NULL;
	ev->ports = ports;
	ev->nr_ports = slots;
	return 0;
}

static int watch(struct em_evtchn *ev, struct port *p)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.u32 = p->number };

	if (epoll_ctl(ev->epfd, EPOLL_CTL_ADD, p->bell, &e))
		return -errno;
	p->watched = true;
	return 0;
}

static void unwatch(struct em_evtchn *ev, struct port *p)
{
	epoll_ctl(ev->epfd, EPOLL_CTL_DEL, p->bell, NULL);
	p->watched = false;
}

static void drop(struct em_evtchn *ev, struct port *p)
{
	for (struct port **at = &ev->ready; p->queued && *at; at = &(*at)->next_ready) {
		if (*at != p)
			continue;
		*at = p->next_ready;
		if (!*at)
			ev->ready_end = at;
		break;
	}
	forget_peer(p);
	if (p->watched)
		unwatch(ev, p);
	if (p->bell >= 0)
		close(p->bell);
	if (p->line)
		munmap(p->line, SR_PAGE_SIZE);
	if (p->number < ev->nr_ports)
		ev->ports[p->number] = NULL;
	free(p);
}

/* fds: line, bell, and where there is a peer its line and ringer. All are taken over. */
static int adopt(struct em_evtchn *ev, uint32_t number, const int *fds, unsigned nr_fds)
{
	struct sr_em_request req = { .op = SR_EM_UNBIND, .arg = { .port = number } };
	struct port *p = calloc(1, sizeof(*p));
	struct sr_em_reply reply;
	unsigned used = 0;
	int err = p ? make_room(ev, number) : -ENOMEM;

	if (!err) {
		p->number = number;
		p->ringer = -1;
		p->bell = fds[1];
		err = map_line(fds[0], &p->line);
		used = 2;
	}
	if (!err && nr_fds == 4) {
		err = learn_peer(p, fds[2], fds[3]);
		used = 4;
	}
	if (!err)
		err = watch(ev, p);
	if (!err) {
		ev->ports[number] = p;
		return 0;
	}
	for (; used < nr_fds; used++)
		close(fds[used]);
	if (p && p->bell >= 0 && p->number == number)
		drop(ev, p);
	else
		free(p);
	sr_em_call(&ev->client, &req, &reply, NULL, 0);
	return err;
}

static int ask(struct em_evtchn *ev, const struct sr_em_request *req, unsigned nr_fds,
	       uint32_t *port)
{
	struct sr_em_reply reply;
	int fds[SR_EM_MAX_FDS];
	int err = sr_em_call(&ev->client, req, &reply, fds, nr_fds);

	if (!err)
		err = adopt(ev, reply.ret.port, fds, nr_fds);
	if (!err)
		*port = reply.ret.port;
	return err;
}

static int em_alloc_unbound(struct sr_evtchn *base, uint16_t domid, uint32_t *port)
{
	struct em_evtchn *ev = (struct em_evtchn *)base;
	struct sr_em_request req = { .op = SR_EM_ALLOC,
				     .arg = { .domid = sr_em_domid(ev->hv, domid) } };

	return ask(ev, &req, 2, port);
}

static int em_bind_interdomain(struct sr_evtchn *base, uint16_t domid, uint32_t remote_port,
			       uint32_t *port)
{
	struct em_evtchn *ev = (struct em_evtchn *)base;
	struct sr_em_request req = { .op = SR_EM_BIND,
				     .arg = { .domid = sr_em_domid(ev->hv, domid),
					      .port = remote_port } };

	return ask(ev, &req, 4, port);
}

static int em_bind_virq(struct sr_evtchn *base, unsigned virq, uint32_t *port)
{
	struct em_evtchn *ev = (struct em_evtchn *)base;
	struct sr_em_request req = { .op = SR_EM_VIRQ, .arg = { .virq = virq } };

	return ask(ev, &req, 2, port);
}

static int em_unbind(struct sr_evtchn *base, uint32_t number)
{
	struct em_evtchn *ev = (struct em_evtchn *)base;
	struct sr_em_request req = { .op = SR_EM_UNBIND, .arg = { .port = number } };
	struct port *p = find(ev, number);
	struct sr_em_reply reply;

	if (!p)
		return -EINVAL;
	drop(ev, p);
	/* An event of it that was taken already must not be taken for one of a later port. */
	for (int i = ev->next_event; i < ev->nr_events; i++)
		if (ev->events[i].data.u32 == number)
			ev->events[i].data.u32 = SELF;
	return sr_em_call(&ev->client, &req, &reply, NULL, 0);
}

/* --- sending --------------------------------------------------------------------------------- */

static int send_now(struct port *p, bool *stale)
{
	uint64_t one = 1;
	ssize_t n;

	switch (sr_channel_send(p->peer)) {
	case SR_CHANNEL_SLOW:
		*stale = true;
		return 0;
	case SR_CHANNEL_RING:
		n = write(p->ringer, &one, sizeof(one));
		(void)n; /* EAGAIN: it rings already */
		return 0;
	default:
		return 0;
	}
}

/* The peer is not known, or not any more. There may be none, or a new one. */
static int send_slowly(struct em_evtchn *ev, struct port *p)
{
	struct sr_em_request req = { .op = SR_EM_PEER, .arg = { .port = p->number } };
	struct sr_em_reply reply;
	bool stale = false;
	int fds[2], err;

	err = sr_em_call(&ev->client, &req, &reply, fds, 2);
	if (err) {
		forget_peer(p);
		return err == -ENOTCONN ? 0 : err;
	}
	err = learn_peer(p, fds[0], fds[1]);
	/* Stale again: it has gone since, and the event with it. */
	return err ? err : send_now(p, &stale);
}

static int em_notify(struct sr_evtchn *base, uint32_t number)
{
	struct em_evtchn *ev = (struct em_evtchn *)base;
	struct port *p = find(ev, number);
	bool stale = false;
	int err;

	if (!p)
		return -EINVAL;
	if (!p->peer)
		return send_slowly(ev, p);
	err = send_now(p, &stale);
	return stale ? send_slowly(ev, p) : err;
}

/* --- receiving ------------------------------------------------------------------------------- */

/*
 * Who polls before asking has to see what the kernel does not know of: ports in the ready list, and
 * events that were taken from it in one go with the one just returned.
 */
static void tell_pollers(struct em_evtchn *ev)
{
	bool more = ev->ready || ev->next_event < ev->nr_events;
	uint64_t value = 1;
	ssize_t n;

	if (more == ev->self_set)
		return;
	n = more ? write(ev->self, &value, sizeof(value)) : read(ev->self, &value, sizeof(value));
	if (n == sizeof(value))
		ev->self_set = more;
}

static void queue(struct em_evtchn *ev, struct port *p)
{
	p->queued = true;
	p->next_ready = NULL;
	*ev->ready_end = p;
	ev->ready_end = &p->next_ready;
}

static bool take_ready(struct em_evtchn *ev, uint32_t *number)
{
	while (ev->ready) {
		struct port *p = ev->ready;

		ev->ready = p->next_ready;
		if (!ev->ready)
			ev->ready_end = &ev->ready;
		p->queued = false;
		if (!sr_channel_take(p->line))
			continue;
		p->masked = true;
		*number = p->number;
		return true;
	}
	return false;
}

/* A ring of a bell: is there an event behind it? */
static bool heed(struct em_evtchn *ev, uint32_t number)
{
	struct port *p = number == SELF ? NULL : find(ev, number);

	if (!p || p->queued)
		return false;
	if (p->masked) {
		/* Edges of the time before it was masked are few; more come from a bad peer. */
		if (++p->idle_rings > MAX_IDLE && p->watched)
			unwatch(ev, p);
		return false;
	}
	if (!sr_channel_take(p->line)) {
		/* Spurious; the line has to be armed again, since taking masked it. */
		if (sr_channel_arm(p->line))
			queue(ev, p);
		return false;
	}
	p->masked = true;
	return true;
}

/* The machine has rung: for which port? */
static void answer_bell(struct em_evtchn *ev)
{
	for (uint32_t i = 0; i < ev->nr_ports; i++) {
		struct port *p = ev->ports[i];

		if (p && !p->masked && !p->queued && sr_channel_belled(p->line))
			queue(ev, p);
	}
}

static bool take_event(struct em_evtchn *ev, uint32_t *number)
{
	while (ev->next_event < ev->nr_events) {
		*number = ev->events[ev->next_event++].data.u32;
		if (*number == BELL)
			answer_bell(ev);
		else if (heed(ev, *number))
			return true;
	}
	return false;
}

static int em_pending(struct sr_evtchn *base, uint32_t *number)
{
	struct em_evtchn *ev = (struct em_evtchn *)base;
	bool found = take_ready(ev, number) || take_event(ev, number);

	if (!found) {
		ev->next_event = 0;
		ev->nr_events = epoll_wait(ev->epfd, ev->events, BATCH, 0);
		if (ev->nr_events < 0)
			ev->nr_events = 0;
		found = take_event(ev, number) || take_ready(ev, number);
	}
	tell_pollers(ev);
	return found ? 0 : -EAGAIN;
}

static int em_unmask(struct sr_evtchn *base, uint32_t number)
{
	struct em_evtchn *ev = (struct em_evtchn *)base;
	struct port *p = find(ev, number);

	if (!p)
		return -EINVAL;
	p->masked = false;
	p->idle_rings = 0;
	if (!p->watched) {
		int err = watch(ev, p);

		if (err)
			return err;
	}
	if (sr_channel_arm(p->line) && !p->queued) {
		queue(ev, p);
		tell_pollers(ev);
	}
	return 0;
}

static int em_fd(struct sr_evtchn *base)
{
	return ((struct em_evtchn *)base)->epfd;
}

/* --- open and close -------------------------------------------------------------------------- */

static void em_close(struct sr_evtchn *base)
{
	struct em_evtchn *ev = (struct em_evtchn *)base;

	for (uint32_t i = 0; i < ev->nr_ports; i++)
		if (ev->ports[i])
			drop(ev, ev->ports[i]);
	sr_em_disconnect(&ev->client);
	if (ev->epfd >= 0)
		close(ev->epfd);
	if (ev->self >= 0)
		close(ev->self);
	if (ev->bell >= 0)
		close(ev->bell);
	free(ev->ports);
	free(ev);
}

static const struct sr_evtchn_ops ops = {
	.close = em_close,
	.fd = em_fd,
	.alloc_unbound = em_alloc_unbound,
	.bind_interdomain = em_bind_interdomain,
	.bind_virq = em_bind_virq,
	.unbind = em_unbind,
	.notify = em_notify,
	.pending = em_pending,
	.unmask = em_unmask,
};

int sr_em_evtchn_open(struct sr_hypervisor *base, struct sr_evtchn **out)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = SELF };
	struct sr_em_hv *hv = (struct sr_em_hv *)base;
	struct em_evtchn *ev = calloc(1, sizeof(*ev));
	struct sr_em_reply reply;
	int err;

	if (!ev)
		return -ENOMEM;
	ev->base.ops = &ops;
	ev->hv = hv;
	ev->ready_end = &ev->ready;
	ev->client.fd = ev->bell = -1;
	ev->epfd = epoll_create1(EPOLL_CLOEXEC);
	ev->self = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ev->epfd < 0 || ev->self < 0 || epoll_ctl(ev->epfd, EPOLL_CTL_ADD, ev->self, &e))
		err = -errno;
	else
		err = sr_em_hv_connect(hv, SR_EM_EVTCHN, &ev->client, &reply, &ev->bell, 1);
	if (!err) {
		e = (struct epoll_event){ .events = EPOLLIN | EPOLLET, .data.u32 = BELL };
		if (epoll_ctl(ev->epfd, EPOLL_CTL_ADD, ev->bell, &e))
			err = -errno;
	}
	if (err) {
		em_close(&ev->base);
		return err;
	}
	*out = &ev->base;
	return 0;
}
