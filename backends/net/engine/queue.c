/* SPDX-License-Identifier: MIT */
/* A queue's beginning and end, events, and what it says of itself. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine.h"

int sr_netq_break(struct sr_netq *q, const char *what)
{
	if (!q->broken) {
		sr_stat_add(&q->stats.broken, 1);
		sr_log_guest(&q->log, SR_LOG_ERROR, "queue %u: the guest broke the protocol (%s)",
			     q->set.index, what);
	}
	q->broken = true;
	return -EPROTO;
}

/*
 * Few at first, for what a queue rests with is given back: a guest that sends acknowledgements only
 * takes some between two rests.
 */
struct rte_mbuf *sr_netq_mbuf_slow(struct sr_netq *q)
{
	unsigned n = q->stash_next;

	/* All or nothing, so less is asked for where the pool runs dry. */
	while (n && rte_pktmbuf_alloc_bulk(q->set.pool, q->stash, n))
		n /= 4;
	if (!n)
		return NULL;
	if (q->stash_next < SR_NET_STASH)
		q->stash_next *= 2;
	q->stashed = n - 1;
	return q->stash[n - 1];
}

/* --- events -------------------------------------------------------------------------------------
 */

static bool due(struct sr_ring_back *ring, struct sr_net_direction *d)
{
	if (ring->rsp_notified == ring->rsp_published)
		return false;
	if (sr_ring_back_notify_needed(ring))
		return true;
	sr_stat_add(&d->events_suppressed, 1);
	return false;
}

void sr_netq_flush(struct sr_netq *q)
{
	bool tx = due(&q->tx.ring, &q->stats.tx) || q->notify_always;
	bool rx = due(&q->rx.ring, &q->stats.rx) || q->notify_always;

	q->notify_always = false;
	if (tx) {
		sr_stat_add(&q->stats.tx.events_sent, 1);
		sr_evtchn_notify(q->ev, q->tx_port);
	}
	/* Where both are one port, one event is enough. */
	if (rx && !(tx && q->rx_port == q->tx_port)) {
		sr_stat_add(&q->stats.rx.events_sent, 1);
		sr_evtchn_notify(q->ev, q->rx_port);
	}
}

bool sr_netq_arm_receive(struct sr_netq *q)
{
	bool more = sr_netq_mail(q);

	sr_netq_flush(q);
	if (more || q->broken)
		return more;
	/* An impossible index is something too: sr_netq_receive() says so. */
	if (sr_ring_back_arm(&q->tx.ring))
		return true;
	q->armed_tx = true;
	/* Of hundreds of vifs that rest, those at hand would be all that there are. */
	rte_pktmbuf_free_bulk(q->stash, q->stashed);
	q->stashed = 0;
	q->stash_next = SR_NET_STASH_MIN;
	return false;
}

bool sr_netq_arm_send(struct sr_netq *q)
{
	bool more = sr_netq_mail(q);

	sr_netq_flush(q);
	if (more || q->broken || !q->missing)
		return more;
	/* Those that are there and don't suffice are taken: the event is for one more than them. */
	if (sr_rx_stock(q, 0, q->missing))
		return true;
	/* An impossible index is something too: sr_netq_send() says so. */
	if (q->broken || sr_ring_back_arm(&q->rx.ring))
		return true;
	q->armed_rx = true;
	return false;
}

void sr_netq_disarm(struct sr_netq *q)
{
	if (q->armed_tx)
		sr_ring_back_disarm(&q->tx.ring);
	if (q->armed_rx)
		sr_ring_back_disarm(&q->rx.ring);
	q->armed_tx = q->armed_rx = false;
}

/* --- what it says of itself ---------------------------------------------------------------------
 */

uint32_t sr_netq_tx_port(const struct sr_netq *q)
{
	return q->tx_port;
}

uint32_t sr_netq_rx_port(const struct sr_netq *q)
{
	return q->rx_port;
}

unsigned sr_netq_room(const struct sr_netq *q)
{
	int pending = q->broken ? 0 : sr_ring_back_pending(&q->rx.ring);

	return sr_ring_back_in_flight(&q->rx.ring) + (pending > 0 ? (unsigned)pending : 0);
}

uint64_t sr_netq_stalled_since(struct sr_netq *q, uint64_t now)
{
	if (!q->missing || sr_netq_room(q) >= q->missing)
		q->stalled_since = 0;
	else if (!q->stalled_since)
		q->stalled_since = now;
	return q->stalled_since;
}

void sr_netq_stall(struct sr_netq *q)
{
	q->missing = 1;
	q->stalled_since = 0;
}

void sr_netq_drop(struct sr_netq *q, bool tx, enum sr_net_drop reason, struct rte_mbuf **pkts,
		  unsigned n)
{
	struct sr_net_direction *d = tx ? &q->stats.tx : &q->stats.rx;

	sr_stat_add(&d->drops[reason], n);
	rte_pktmbuf_free_bulk(pkts, n);
}

bool sr_netq_broken(const struct sr_netq *q)
{
	return q->broken;
}

const struct sr_net_stats *sr_netq_stats(const struct sr_netq *q)
{
	return &q->stats;
}

struct rte_mempool *sr_netq_pool_create(const char *name, unsigned count, unsigned cache)
{
	return rte_pktmbuf_pool_create(name, count, cache, 0, 2048 + RTE_PKTMBUF_HEADROOM,
				       SOCKET_ID_ANY);
}

/* --- begin and end ------------------------------------------------------------------------------
 */

void sr_netq_detach(struct sr_netq *q)
{
	if (!q)
		return;
	/* A message that waits for this queue is answered all the same. */
	while (sr_netq_mail(q))
		;
	__atomic_store_n(&q->netif->present[q->set.index], false, __ATOMIC_RELAXED);
	sr_grefs_unmap_all(q);
	if (q->rx_bound)
		sr_evtchn_unbind(q->ev, q->rx_port);
	if (q->tx_bound)
		sr_evtchn_unbind(q->ev, q->tx_port);
	if (q->rx_page)
		sr_gnttab_unmap(q->gt, q->rx_page, 1);
	if (q->tx_page)
		sr_gnttab_unmap(q->gt, q->tx_page, 1);
	rte_pktmbuf_free_bulk(q->stash, q->stashed);
	free(q->own_record);
	free(q);
}

/* Positions as in record.h. A new connection may be on rings that another backend has served. */
static int begin(struct sr_netq *q)
{
	uint32_t tx = sr_ring_shared_rsp_prod(q->tx_page);
	uint32_t rx = sr_ring_shared_rsp_prod(q->rx_page);
	int rc;

	q->rx_replay = rx;
	if (q->set.resume && q->rec->rx_valid) {
		q->rx_replay = q->rec->rx_taken;
		if (q->rx_replay - rx > SR_NETIF_RX_SLOTS)
			return -EPROTO;
	} else {
		q->rec->rx_valid = 0;
	}
	rc = sr_netif_tx_back_attach(&q->tx, q->tx_page, tx, tx);
	if (!rc)
		rc = sr_netif_rx_back_attach(&q->rx, q->rx_page, rx, rx);
	if (rc)
		return rc;
	if (sr_ring_back_pending(&q->tx.ring) < 0 || sr_ring_back_pending(&q->rx.ring) < 0)
		return -EPROTO;
	if (q->set.resume)
		sr_grefs_resume(q);
	q->notify_always = q->set.resume;
	return 0;
}

static int bind(struct sr_netq *q)
{
	const struct sr_netq_setup *s = &q->set;
	int rc = sr_evtchn_bind_interdomain(q->ev, s->domid, s->tx_port, &q->tx_port);

	if (rc)
		return rc;
	q->tx_bound = true;
	q->rx_port = q->tx_port;
	if (s->rx_port == s->tx_port)
		return 0;
	rc = sr_evtchn_bind_interdomain(q->ev, s->domid, s->rx_port, &q->rx_port);
	q->rx_bound = rc == 0;
	return rc;
}

static int map(struct sr_netq *q, uint32_t ref, void **page)
{
	int rc = sr_gnttab_map(q->gt, q->domid, &ref, 1, PROT_READ | PROT_WRITE, page);

	if (rc)
		*page = NULL;
	return rc;
}

/* Each step with what to say where it fails. */
static int attach(struct sr_netq *q, const char **what)
{
	const struct sr_netq_setup *s = &q->set;
	int rc;

	*what = "find room for packets in the pool's buffers";
	if (rte_pktmbuf_data_room_size(s->pool) < 2048 + RTE_PKTMBUF_HEADROOM)
		return -EINVAL;
	q->room = (uint16_t)(rte_pktmbuf_data_room_size(s->pool) - RTE_PKTMBUF_HEADROOM);
	*what = "allocate memory";
	if (!q->rec)
		q->rec = q->own_record = calloc(1, sizeof(*q->rec));
	if (!q->rec)
		return -ENOMEM;
	*what = "map the ring pages that the guest granted";
	rc = map(q, s->tx_ref, &q->tx_page);
	if (!rc)
		rc = map(q, s->rx_ref, &q->rx_page);
	if (rc)
		return rc;
	*what = s->resume ? "go on where the last process stopped" : "use the rings' indices";
	rc = begin(q);
	if (rc)
		return rc;
	*what = "bind the guest's event channels";
	return bind(q);
}

int sr_netq_attach(const struct sr_netq_setup *setup, struct sr_netq **out, char *error,
		   size_t error_size)
{
	size_t size = (sizeof(struct sr_netq) + 63) / 64 * 64;
	struct sr_netq *q;
	const char *what = "";
	int rc;

	if (setup->index >= setup->netif->set.queues) {
		snprintf(error, error_size, "the vif has no queue %u", setup->index);
		return -EINVAL;
	}
	q = aligned_alloc(64, size);
	if (!q)
		return -ENOMEM;
	memset(q, 0, size);
	q->set = *setup;
	q->netif = setup->netif;
	q->rec = setup->record;
	q->gt = setup->gt;
	q->ev = setup->ev;
	q->domid = setup->domid;
	q->features = setup->features;
	q->stash_next = SR_NET_STASH_MIN;
	if (setup->log)
		q->log = *setup->log;
	rc = attach(q, &what);
	if (rc) {
		snprintf(error, error_size, "queue %u: can't %s: %s", setup->index, what,
			 strerror(-rc));
		sr_netq_detach(q);
		return rc;
	}
	__atomic_store_n(&q->netif->present[setup->index], true, __ATOMIC_RELEASE);
	*out = q;
	return 0;
}
