/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_ENGINE_H
#define SR_NET_ENGINE_H

/*
 * The engine's insides. The way of a packet from the guest:
 *
 *   tx.c       decode   slots copied out of the ring, a batch of packets, each with its pieces
 *   tx.c       fill     mbufs; pieces of static mappings copied at once, others listed
 *   copy.c     flush    one grant copy for what was listed
 *   finish.c            flags and extra info held up to the headers, in our copy
 *   tx.c       answer   a response in each slot, published once a batch
 *
 * and to it:
 *
 *   rx.c       stock    requests copied out of the ring, into the record
 *   rx.c       prepare  what the guest did not agree to is done in software
 *   rx.c       place    pieces to pages, as above
 *   rx.c       answer   a response in each request's slot, published once a batch
 *
 * Threads: all of it the queue's, but where a comment says otherwise.
 */

#include <rte_mbuf.h>

#include <common/log.h>
#include <hypervisor.h>
#include <net/limits.h>
#include <net/netif.h>
#include <net/queue.h>
#include <net/record.h>
#include <net/stats.h>
#include <ring/netif.h>

#define SR_NET_BATCH     32u  /* packets that are published together */
#define SR_NET_COPIES    256u /* pieces of one grant copy */
#define SR_NET_STASH     64u  /* mbufs at hand */
#define SR_NET_STASH_MIN 4u   /* after a rest */
#define SR_NET_SEGMENTS  128u /* that one packet is cut into, at most */

/* --- grefs.c: static mappings -----------------------------------------------------------------
 */

/* The guest chooses the keys: a look-up looks at that many places, however it has chosen. */
#define SR_NET_GREF_PROBES 16u
/* Entries of a list that are done in one call. */
#define SR_NET_GREF_BUDGET 32u
#define SR_NET_GREF_LIST   (SR_PAGE_SIZE / sizeof(struct xen_netif_gref))

struct sr_gref_place {
	uint32_t ref;
	uint32_t flags; /* SR_NETQ_GREF_*; 0: free */
	uint8_t *page;
};

struct sr_grefs {
	struct sr_gref_place places[SR_NET_GREF_TABLE];
	unsigned count;
};

/* A message of the control ring to a queue: its list is done in the queue's thread. */
struct sr_gref_op {
	bool add;
	unsigned count;
	struct xen_netif_gref list[SR_NET_GREF_LIST];
	unsigned next; /* how far it is done */
	bool undo;     /* what was added goes again */
	bool added[SR_NET_GREF_LIST];
	uint32_t status; /* out: XEN_NETIF_CTRL_STATUS_* */
	uint32_t done;   /* out: entries that were unmapped */
	bool finished;   /* atomic */
};

struct sr_netq;

static inline struct sr_gref_place *sr_grefs_find(struct sr_grefs *g, uint32_t ref)
{
	if (!g->count)
		return NULL;
	/* References that a guest hands out in a row lie in a row. */
	for (unsigned n = 0; n < SR_NET_GREF_PROBES; n++) {
		struct sr_gref_place *p = &g->places[(ref + n) & (SR_NET_GREF_TABLE - 1)];

		if (p->ref == ref && p->flags)
			return p;
	}
	return NULL;
}

void sr_grefs_do(struct sr_netq *q, struct sr_gref_op *op);
/* After a process that was killed: maps what the record has. What can't be mapped is forgotten. */
void sr_grefs_resume(struct sr_netq *q);
void sr_grefs_unmap_all(struct sr_netq *q);

/* --- a vif's shared part (netif.c, hash.c, ctrl.c) --------------------------------------------
 */

struct sr_netif_ctrl {
	struct sr_netif_back back;
	struct sr_gnttab *gt;
	struct sr_evtchn *ev;
	void *page;
	uint32_t port;
	bool attached;        /* atomic: queues' threads ask */
	bool broken, waiting; /* waiting: `op` is with a queue */
	bool notify_always;
	struct xen_netif_ctrl_request request; /* the one that waits */
	uint32_t list_ref;
	struct sr_gref_op op;
};

/*
 * A table a nibble of the hashed bytes: what the key contributes. 36 bytes are the longest input.
 */
#define SR_NET_HASH_INPUT 36u

struct sr_netif {
	struct sr_netif_setup set;
	struct sr_log_source log;
	struct sr_netif_record *rec, own;
	unsigned headroom;     /* atomic */
	bool multicast_filter; /* atomic */
	uint32_t change_lock;  /* of the multicast list: held for a few instructions */
	struct sr_gref_op *mail[SR_NET_MAX_QUEUES]; /* atomic */
	bool present[SR_NET_MAX_QUEUES];            /* atomic: queue is attached */
	uint32_t hash_tables[SR_NET_HASH_INPUT * 2][16];
	struct sr_netif_ctrl ctrl;
};

/* -ENOSPC: the list is full, or the address is not a multicast one. Any thread. */
int sr_netif_multicast_add(struct sr_netif *n, const uint8_t addr[6]);
int sr_netif_multicast_del(struct sr_netif *n, const uint8_t addr[6]);

static inline bool sr_netif_hashes(const struct sr_netif *n)
{
	return __atomic_load_n(&n->rec->hash_algorithm, __ATOMIC_RELAXED) !=
	       XEN_NETIF_CTRL_HASH_ALGORITHM_NONE;
}

/* From rec->hash_key. */
void sr_hash_build(struct sr_netif *n);
uint32_t sr_hash_bytes(const struct sr_netif *n, const uint8_t *p, unsigned len);
/*
 * The guest's hash of a packet, and of which type it is (_XEN_NETIF_CTRL_HASH_TYPE_*). False: it
 * wants none of that kind of packet; *hash is 0. Any thread.
 */
bool sr_hash_packet(const struct sr_netif *n, const struct rte_mbuf *pkt, uint32_t *hash,
		    uint8_t *type);

/* --- one queue --------------------------------------------------------------------------------
 */

/* The grant copy at hand. Each piece belongs to a place of failed[]. */
struct sr_net_copies {
	unsigned count;
	uint16_t owner[SR_NET_COPIES];
	struct sr_copy_segment segs[SR_NET_COPIES];
};

/* A packet from the guest, as its slots describe it. */
struct sr_tx_packet {
	uint16_t flags; /* NETTXF_* */
	uint16_t slots; /* all of them, extra info too */
	uint16_t piece, pieces;
	uint16_t size;
	int16_t status;         /* NETIF_RSP_* */
	uint8_t reason;         /* enum sr_net_drop, where status is not NETIF_RSP_OKAY */
	uint8_t gso, multicast; /* types; 0: none */
	bool has_hash;
	uint16_t gso_size;
	uint32_t hash;
	uint8_t addr[6];
	struct rte_mbuf *pkt;
};

struct sr_tx_piece {
	const uint8_t *page; /* NULL: not mapped */
	uint32_t gref;
	uint16_t offset, size;
};

/* A slot that was taken, to be answered. */
struct sr_tx_slot {
	uint16_t id;
	bool extra;
};

/* A response to be: what goes into the slot of a request of the stock. */
struct sr_rx_slot {
	union {
		struct netif_rx_response rsp;
		struct netif_extra_info extra;
	};
	bool is_extra;
	uint8_t index;   /* of a packet's first slot: which of the batch it is */
	uint32_t packet; /* of a packet's first slot: its length; else 0 */
};

/* A piece that goes to a mapped page. */
struct sr_rx_move {
	uint8_t *to;
	const uint8_t *from;
	uint32_t len;
};

struct sr_netq {
	struct sr_netif_back tx, rx;
	struct sr_netif *netif;
	struct sr_netq_record *rec;
	struct sr_gnttab *gt;
	uint16_t domid;
	uint16_t room; /* of an mbuf, bytes */
	bool broken, armed_tx, armed_rx, notify_always;
	unsigned features;
	unsigned missing;       /* slots that what waits for the guest needs; 0: nothing waits */
	uint64_t stalled_since; /* 0: not, or not known yet */
	uint8_t *fates;         /* of the packets at hand; NULL: nobody asks */
	uint32_t rx_replay;     /* requests below it are taken from the record */
	unsigned stashed, stash_next; /* how many are taken at once, a power of two */
	struct rte_mbuf *stash[SR_NET_STASH];
	struct sr_net_copies copies;
	/* The batch at hand, of either direction. */
	struct sr_tx_packet packets[SR_NET_BATCH];
	struct sr_tx_piece pieces[SR_NETIF_TX_SLOTS];
	struct sr_tx_slot taken[SR_NETIF_TX_SLOTS];
	struct sr_rx_slot given[SR_NETIF_RX_SLOTS];
	struct sr_rx_move moves[SR_NET_COPIES];
	unsigned move_count;
	bool failed[SR_NETIF_RX_SLOTS]; /* tx: by packet; rx: by slot */
	struct rte_mbuf *cut[SR_NET_SEGMENTS];
	struct sr_grefs grefs;
	/* Seldom. */
	struct sr_netq_setup set;
	struct sr_log_source log;
	struct sr_evtchn *ev;
	void *tx_page, *rx_page;
	uint32_t tx_port, rx_port;
	bool tx_bound, rx_bound;
	struct sr_netq_record *own_record;
	struct sr_net_stats stats __attribute__((aligned(64)));
};

/* queue.c: the guest broke the framing; `what` for the log. Returns -EPROTO. */
int sr_netq_break(struct sr_netq *q, const char *what);

/* What the control ring wants of this queue, or some of it. Is there more? */
static inline bool sr_netq_mail(struct sr_netq *q)
{
	struct sr_gref_op *const *mail = &q->netif->mail[q->set.index];
	struct sr_gref_op *op = __atomic_load_n(mail, __ATOMIC_ACQUIRE);

	if (__builtin_expect(op == NULL, 1))
		return false;
	sr_grefs_do(q, op);
	return __atomic_load_n(mail, __ATOMIC_RELAXED) != NULL;
}

/* copy.c: adds a piece; what was listed is done if there is no room. */
void sr_copy_in(struct sr_netq *q, unsigned owner, void *to, uint32_t gref, uint16_t offset,
		uint16_t len);
void sr_copy_out(struct sr_netq *q, unsigned owner, uint32_t gref, uint16_t offset,
		 const void *from, uint16_t len);
/* Does what was listed, and counts it; failed[owner] where a piece could not be copied. */
void sr_copy_flush(struct sr_netq *q, struct sr_net_direction *d);

/* An mbuf of the stash, with nothing in it; NULL: the pool is empty. */
struct rte_mbuf *sr_netq_mbuf_slow(struct sr_netq *q);

static inline struct rte_mbuf *sr_netq_mbuf(struct sr_netq *q)
{
	if (__builtin_expect(q->stashed != 0, 1))
		return q->stash[--q->stashed];
	return sr_netq_mbuf_slow(q);
}

/*
 * rx.c: takes requests of the guest's as far as needed: are there `need` of them beyond the `used`
 * ones of a batch at hand? An impossible index breaks the queue.
 */
bool sr_rx_stock(struct sr_netq *q, unsigned used, unsigned need);

/* finish.c: flags and extra info into the packet's own words. 0, or 1 + enum sr_net_drop. */
unsigned sr_tx_finish(const struct sr_tx_packet *p, struct rte_mbuf *pkt);

#endif
