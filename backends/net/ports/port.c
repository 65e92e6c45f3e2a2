/* SPDX-License-Identifier: MIT */
#include "port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <common/plugin.h>
#include <common/stats.h>
#include <ports/eal.h>
#include <ports/offload.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

/*
 * How often a device that can't wake us is looked at when it is quiet, and one that is full, of
 * which none says when it has room: at once after traffic, then half as often each time, down to
 * 500 times a second.
 */
#define WAIT_MIN_NS 50000u
#define WAIT_MAX_NS 2000000u

/* A device that takes nothing for so long won't get what waits. */
#define STUCK_MS 1000u

/* Ethernet header and two VLAN tags on top of the MTU. */
#define FRAME_EXTRA 22u

/*
 * Segments that are smaller are cut here: NICs have a least size of their own, and one guest's
 * packet would keep them busy with tens of thousands of segments. Here there are as many as
 * SR_OFFLOAD_MAX_SEGMENTS.
 */
#define SEGMENT_MIN 64u

struct port_queue {
	struct sr_port *port;
	unsigned index;
	int fd;       /* what the thread sleeps on: the timer, or that and the device's */
	int timer;    /* for what the device doesn't tell */
	bool quiet;   /* it tells nothing at all */
	bool timed;   /* the timer is set */
	bool blocked; /* packets wait for it: sr_port_await_room() */
	uint32_t wait_ns, room_ns;
	/* What one packet has become, and is not with the device yet. */
	unsigned waiting, waiting_at;
	uint64_t stuck_since; /* ms; 0: not */
	struct rte_mbuf *wait[SR_OFFLOAD_MAX_SEGMENTS];
	struct sr_port_counters counters;
} __attribute__((aligned(64)));

struct sr_port {
	const struct sr_net_port_driver *driver;
	void *device;
	char *name;
	struct rte_mempool *pool;
	struct sr_net_port_info info;
	uint32_t frame_max;
	uint64_t lacks; /* RTE_MBUF_F_TX_...: flags that need work here */
	struct port_queue *queues;
	unsigned ready; /* queues that are set up */
};

const struct sr_net_port_info *sr_port_info(const struct sr_port *port)
{
	return &port->info;
}

const char *sr_port_name(const struct sr_port *port)
{
	return port->name;
}

const struct sr_port_counters *sr_port_counters(const struct sr_port *port, unsigned queue)
{
	return &port->queues[queue].counters;
}

/* --- open and close -----------------------------------------------------------------------------
 */

static int epoll_add(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int queue_init(struct sr_port *port, unsigned index)
{
	struct port_queue *q = &port->queues[index];
	int fd = port->driver->fd ? port->driver->fd(port->device, index) : -1;
	int rc;

	q->port = port;
	q->index = index;
	q->wait_ns = q->room_ns = WAIT_MIN_NS;
	q->quiet = fd < 0;
	q->fd = -1;
	q->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (q->timer < 0)
		return -errno;
	if (q->quiet) {
		q->fd = q->timer;
		return 0;
	}
	q->fd = epoll_create1(EPOLL_CLOEXEC);
	if (q->fd < 0)
		return -errno;
	rc = epoll_add(q->fd, q->timer);
	return rc ? rc : epoll_add(q->fd, fd);
}

static void queue_close(struct port_queue *q)
{
	rte_pktmbuf_free_bulk(q->wait + q->waiting_at, q->waiting - q->waiting_at);
	if (q->fd >= 0 && q->fd != q->timer)
		close(q->fd);
	if (q->timer >= 0)
		close(q->timer);
}

static int check_info(struct sr_port *port, const struct sr_port_config *config, char *error,
		      size_t size)
{
	struct sr_net_port_info *info = &port->info;

	if (info->queues == 0 || info->queues > config->queues)
		return sr_plugin_error(error, size, -EPROTO,
				       "it says it has %u queues, where 1 to %u were asked for",
				       info->queues, config->queues);
	if (info->mtu == 0)
		info->mtu = config->mtu;
	port->frame_max = info->mtu + FRAME_EXTRA;
	if (!(info->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_TSO))
		port->lacks |= RTE_MBUF_F_TX_TCP_SEG;
	/* The two L4 kinds are values of one field: a device has both or is taken to have none. */
	if (~info->tx_offloads & (RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM))
		port->lacks |= RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG;
	return 0;
}

static int open_device(struct sr_port *port, const char *args, const struct sr_port_config *config,
		       char *error, size_t size)
{
	char why[512] = "";
	const struct sr_net_port_open open = {
		.args = args,
		.queues = config->queues,
		.mtu = config->mtu,
		.pool = config->pool,
		.error = why,
		.error_size = sizeof(why),
	};
	void *device;
	int rc;

	rc = port->driver->open(&open, &device, &port->info);
	if (!rc) {
		port->device = device;
		rc = check_info(port, config, why, sizeof(why));
	}
	if (rc)
		sr_plugin_error(error, size, rc, "%s: %s", port->name,
				why[0] ? why : strerror(-rc));
	return rc;
}

int sr_port_open(const struct sr_port_registry *registry, const char *uplink,
		 const struct sr_port_config *config, struct sr_port **out, char *error,
		 size_t size)
{
	struct sr_port_config wanted = *config;
	struct sr_port *port;
	const char *args;
	int rc;

	if (wanted.queues > SR_NET_PORT_MAX_QUEUES)
		wanted.queues = SR_NET_PORT_MAX_QUEUES;
	port = calloc(1, sizeof(*port));
	if (!port)
		return sr_plugin_error(error, size, -ENOMEM, "out of memory");
	port->pool = wanted.pool;
	rc = sr_port_find(registry, uplink, &port->driver, &args, error, size);
	if (rc)
		goto fail;
	port->name = strdup(uplink);
	port->queues = aligned_alloc(64, wanted.queues * sizeof(port->queues[0]));
	if (!port->name || !port->queues) {
		rc = sr_plugin_error(error, size, -ENOMEM, "out of memory");
		goto fail;
	}
	memset(port->queues, 0, wanted.queues * sizeof(port->queues[0]));
	rc = open_device(port, args, &wanted, error, size);
	if (rc)
		goto fail;
	for (unsigned i = 0; i < port->info.queues; i++) {
		port->ready = i + 1;
		rc = queue_init(port, i);
		if (rc) {
			sr_plugin_error(error, size, rc, "%s: nothing to wait for it with: %s",
					uplink, strerror(-rc));
			goto fail;
		}
	}
	*out = port;
	return 0;
fail:
	sr_port_close(port);
	return rc;
}

void sr_port_close(struct sr_port *port)
{
	if (!port)
		return;
	for (unsigned i = 0; i < port->ready; i++)
		queue_close(&port->queues[i]);
	if (port->device)
		port->driver->close(port->device);
	free(port->queues);
	free(port->name);
	free(port);
}

int sr_port_link(struct sr_port *port, struct sr_net_port_link *link)
{
	*link = (struct sr_net_port_link){ .up = true };
	return port->driver->link ? port->driver->link(port->device, link) : 0;
}

int sr_port_stats(struct sr_port *port, struct sr_net_port_stats *stats)
{
	*stats = (struct sr_net_port_stats){ 0 };
	return port->driver->stats ? port->driver->stats(port->device, stats) : -EOPNOTSUPP;
}

/* --- what waits for the device ------------------------------------------------------------------
 */

/* To the device. Returns how many it took. */
static unsigned give(struct port_queue *q, struct rte_mbuf **pkts, unsigned n)
{
	unsigned sent = q->port->driver->send(q->port->device, q->index, pkts, n);

	if (sent) {
		q->stuck_since = 0;
		q->room_ns = WAIT_MIN_NS;
	}
	return sent;
}

/* True: nothing waits any more. */
static bool push(struct port_queue *q)
{
	unsigned left = q->waiting - q->waiting_at, sent;

	if (likely(!left))
		return true;
	sent = give(q, q->wait + q->waiting_at, left);
	q->waiting_at += sent;
	return sent == left;
}

static bool is_stuck(struct port_queue *q)
{
	struct timespec t;
	uint64_t now;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	if (!q->stuck_since)
		q->stuck_since = now;
	return now - q->stuck_since > STUCK_MS;
}

static void give_up(struct port_queue *q)
{
	unsigned left = q->waiting - q->waiting_at;

	sr_stat_add(&q->counters.dropped, left);
	rte_pktmbuf_free_bulk(q->wait + q->waiting_at, left);
	q->waiting_at = q->waiting;
	q->stuck_since = 0;
}

/* --- receive ------------------------------------------------------------------------------------
 */

/*
 * A device that loops, as net_ring, gives back the very packets that it was given. While others
 * have them too they can't be received: who receives a packet writes to it. True: at least one is.
 */
static bool any_shared(struct rte_mbuf *const *pkts, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (unlikely(rte_mbuf_refcnt_read(pkts[i]) > 1))
			return true;
	return false;
}

/* How many are left: those of which no copy can be had are dropped. */
static unsigned copy_shared(struct port_queue *q, struct rte_mbuf **pkts, unsigned n)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rte_mbuf *m = pkts[i];

		if (rte_mbuf_refcnt_read(m) > 1) {
			pkts[kept] = rte_pktmbuf_copy(m, q->port->pool, 0, UINT32_MAX);
			sr_stat_add(pkts[kept] ? &q->counters.copied : &q->counters.dropped, 1);
			rte_pktmbuf_free(m);
			m = pkts[kept];
		}
		if (m)
			pkts[kept++] = m;
	}
	return kept;
}

unsigned sr_port_receive(struct sr_port *port, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct port_queue *q = &port->queues[queue];

	/* Those count as sent: nobody else comes back for them before the next packet. */
	(void)push(q);
	n = port->driver->receive(port->device, queue, pkts, n);
	if (n)
		q->wait_ns = WAIT_MIN_NS;
	return unlikely(any_shared(pkts, n)) ? copy_shared(q, pkts, n) : n;
}

int sr_port_fd(const struct sr_port *port, unsigned queue)
{
	return port->queues[queue].fd;
}

void sr_port_await_room(struct sr_port *port, unsigned queue)
{
	port->queues[queue].blocked = true;
}

/* How long to wait; longer the next time. */
static uint32_t wait_longer(uint32_t *ns)
{
	uint32_t now = *ns;

	*ns = RTE_MIN(now * 2, WAIT_MAX_NS);
	return now;
}

/* 0: not at all. False: it can't be set. */
static bool set_timer(struct port_queue *q, uint32_t ns)
{
	const struct itimerspec when = { .it_value.tv_nsec = ns };

	if (!ns && !q->timed)
		return true;
	q->timed = ns;
	/* Setting it takes back what it has to say, too. */
	return timerfd_settime(q->timer, 0, &when, NULL) == 0;
}

bool sr_port_arm(struct sr_port *port, unsigned queue)
{
	struct port_queue *q = &port->queues[queue];
	uint32_t ns = q->quiet ? wait_longer(&q->wait_ns) : 0, room;

	if (unlikely(!push(q))) {
		if (is_stuck(q))
			give_up(q);
		else
			q->blocked = true;
	}
	if (unlikely(q->blocked)) {
		q->blocked = false;
		room = wait_longer(&q->room_ns);
		ns = ns ? RTE_MIN(ns, room) : room;
	}
	if (!set_timer(q, ns))
		return true;
	return !q->quiet && port->driver->arm && port->driver->arm(port->device, queue);
}

/* --- send ---------------------------------------------------------------------------------------
 */

static bool must_cut(const struct sr_port *port, const struct rte_mbuf *m)
{
	return m->ol_flags & RTE_MBUF_F_TX_TCP_SEG &&
	       (port->lacks & RTE_MBUF_F_TX_TCP_SEG || m->tso_segsz < SEGMENT_MIN);
}

/* Does what the device makes of it fit into its frames? The size of segments is the guest's word.
 */
static bool fits(const struct sr_port *port, const struct rte_mbuf *m)
{
	if (likely(!(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)))
		return m->pkt_len <= port->frame_max;
	return (uint32_t)(m->l2_len + m->l3_len + m->l4_len) + m->tso_segsz <= port->frame_max;
}

/* Can the device have it as it is? */
static bool plain(const struct sr_port *port, const struct rte_mbuf *m)
{
	if (unlikely(m->ol_flags & port->lacks || must_cut(port, m)))
		return false;
	if (unlikely(m->nb_segs > 1 && !(port->info.tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS)))
		return false;
	/* A device that completes a packet may have to write to its headers for that. */
	if (unlikely(m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG) &&
		     sr_offload_shared(m)))
		return false;
	return likely(fits(port, m));
}

/* A copy of one's own, of one piece if the device wants that. NULL: it can't be had. */
static struct rte_mbuf *copy(struct port_queue *q, const struct rte_mbuf *m)
{
	struct rte_mbuf *own;

	if (!(q->port->info.tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) &&
	    m->pkt_len >
		(uint32_t)(rte_pktmbuf_data_room_size(q->port->pool) - RTE_PKTMBUF_HEADROOM))
		return NULL;
	own = rte_pktmbuf_copy(m, q->port->pool, 0, UINT32_MAX);
	if (own)
		sr_stat_add(&q->counters.copied, 1);
	return own;
}

/* Does the rest of it, for a packet that needs no cutting. Takes it. NULL: dropped. */
static struct rte_mbuf *finish(struct port_queue *q, struct rte_mbuf *m)
{
	const struct sr_port *port = q->port;
	struct rte_mbuf *own;

	if (!fits(port, m))
		goto drop;
	if (sr_offload_shared(m) ||
	    (m->nb_segs > 1 && !(port->info.tx_offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS))) {
		own = copy(q, m);
		if (!own)
			goto drop;
		rte_pktmbuf_free(m);
		m = own;
	}
	if (m->ol_flags & port->lacks & RTE_MBUF_F_TX_L4_MASK) {
		if (sr_offload_checksum(m))
			goto drop;
		sr_stat_add(&q->counters.checksums, 1);
	}
	return m;
drop:
	sr_stat_add(&q->counters.dropped, 1);
	rte_pktmbuf_free(m);
	return NULL;
}

/* Turns one packet into what the device can send, in q->wait, which is empty. Takes it. */
static void work(struct port_queue *q, struct rte_mbuf *m)
{
	unsigned count;

	q->waiting = q->waiting_at = 0;
	if (!must_cut(q->port, m)) {
		m = finish(q, m);
		if (m)
			q->wait[q->waiting++] = m;
		return;
	}
	if (sr_offload_segment(m, q->port->pool, q->wait, &count)) {
		sr_stat_add(&q->counters.dropped, 1);
		rte_pktmbuf_free(m);
		return;
	}
	rte_pktmbuf_free(m);
	sr_stat_add(&q->counters.segmented, 1);
	for (unsigned i = 0; i < count; i++) {
		m = finish(q, q->wait[i]);
		if (m)
			q->wait[q->waiting++] = m;
	}
}

unsigned sr_port_send(struct sr_port *port, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct port_queue *q = &port->queues[queue];
	unsigned done = 0;

	while (push(q) && done < n) {
		unsigned run = 0, sent;

		while (done + run < n && plain(port, pkts[done + run]))
			run++;
		if (run) {
			sent = give(q, pkts + done, run);
			done += sent;
			if (sent < run)
				break;
		}
		if (done < n)
			work(q, pkts[done++]);
	}
	return done;
}
