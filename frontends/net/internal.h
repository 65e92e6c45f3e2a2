/* SPDX-License-Identifier: MIT */
#ifndef SR_NETFRONT_INTERNAL_H
#define SR_NETFRONT_INTERNAL_H

/* Shared by the files of netfront; nobody else's. The contract is <netfront/netfront.h>. */

#include <pthread.h>
#include <stdatomic.h>

#include <frontbus/frontbus.h>
#include <hypervisor.h>
#include <ring/netif.h>

#include <netfront/netfront.h>

/* A run of pages that the backend was granted. Regions are only ever added while the front lives.
 */
struct sr_net_region {
	struct sr_net_region *next;
	uint8_t *base;
	size_t bytes;   /* whole pages */
	uint32_t *refs; /* a page */
	bool by_page;   /* granted one by one, so that they can be granted anew */
};

/*
 * A TX slot that is out; its index is the id on the ring. The first slot of a packet, its head,
 * stands for the whole of it, and stays taken until all are answered. Extra infos have none.
 */
struct sr_net_tx_slot {
	void *tag;      /* of a head */
	uint32_t bytes; /* of a head: of the packet */
	uint16_t left;  /* of a head: slots not answered; 0 in all others */
	uint16_t head;  /* index */
	int16_t status; /* of a head: NETIF_RSP_OKAY, or the first other one */
	bool out;
	bool lost; /* a head that only waits to be given back */
};

/* A received packet of which more is to come. */
struct sr_net_partial {
	struct sr_netfront_rx packet;
	bool active;
	bool extras; /* the next response is one */
	bool more;   /* data follow, after the extras */
	bool bad;    /* will be dropped */
	unsigned extra_count;
	struct sr_netfront_buffer buffers[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_rx_segment segments[SR_NETFRONT_MAX_SEGMENTS];
};

struct sr_netfront_queue {
	struct sr_netif_front tx, rx;
	struct sr_netfront *front;
	struct sr_net_region *region; /* the last one that was hit */
	bool connected;
	uint16_t free_ids_count;
	uint16_t extras_out; /* TX slots that hold extra infos */
	uint16_t tx_lost;    /* packets that only wait to be given back */
	int lost_error;      /* with this error */
	struct sr_netfront_stats stats;

	struct sr_net_tx_slot slots[SR_NETFRONT_RING_SIZE];
	uint16_t
	    free_ids[SR_NETFRONT_RING_SIZE]; /* a stack, so that the same few stay in the cache */
	/* By slot of the RX ring: responses stand in the slots of their requests. */
	struct sr_netfront_buffer posted[SR_NETFRONT_RING_SIZE];
	struct sr_net_partial partial;
	/* Posted buffers that are in no ring. */
	struct sr_netfront_buffer kept[SR_NETFRONT_RING_SIZE];
	unsigned kept_count;

	struct sr_net_region *bounce; /* a page a slot, made at its first use */
	struct sr_evtchn *ev;
	uint32_t tx_port, rx_port; /* the same one, unless split */
	void *tx_page, *rx_page;
	uint32_t tx_ref, rx_ref;
};

/* Pages that a backend maps for a queue. */
struct sr_net_static {
	struct sr_net_static *next;
	unsigned queue;
	uint8_t *addr;
	size_t pages;
};

struct sr_net_ctrl {
	pthread_mutex_t lock;
	bool usable;
	struct sr_netif_front ring;
	struct sr_evtchn *ev;
	uint32_t port, ref, scratch_ref;
	void *page;
	void *scratch; /* what a message refers to */
	uint16_t next_id;
};

/* How hashing was configured, for the next backend. */
struct sr_net_hash {
	bool set;
	uint32_t types;
	unsigned key_length, mapping_length;
	uint8_t *key;
	uint32_t *mapping;
};

struct sr_netfront {
	struct sr_frontbus bus;
	struct sr_netfront_options options;
	struct sr_netfront_info info;
	struct sr_netfront_queue *queues; /* options.queues */
	_Atomic int status;
	_Atomic bool carrier;
	_Atomic(const char *) reason;
	_Atomic(struct sr_net_region *) regions;
	pthread_mutex_t memory_lock; /* over gs */
	struct sr_gntshr *gs;
	uint16_t granted_to; /* whom all regions are granted to */
	int wake_fd;
	struct sr_net_ctrl ctrl;
	struct sr_net_static *statics; /* under ctrl.lock, as hash */
	struct sr_net_hash hash;

	bool published; /* the backend may use our rings */
	pthread_t thread;
	bool running;
	int stop_fd;
};

/* --- front.c ---------------------------------------------------------------------------------- */

/* From any thread; `reason` is a constant. */
void sr_net_break(struct sr_netfront *f, const char *reason);

static inline int sr_net_status(const struct sr_netfront *f)
{
	return atomic_load_explicit(&f->status, memory_order_relaxed);
}

/* --- negotiate.c ------------------------------------------------------------------------------ */

int sr_net_check_options(struct sr_netfront *f);
/* What the backend offers and we want, into f->info. */
void sr_net_negotiate(struct sr_netfront *f);
/* Writes all that the backend has to know of our rings, and Connected. */
int sr_net_publish(struct sr_netfront *f);

/* --- follow.c: the thread that follows the backend -------------------------------------------- */

int sr_net_follow(struct sr_netfront *f);
void sr_net_unfollow(struct sr_netfront *f);

/* --- queue.c ---------------------------------------------------------------------------------- */

void sr_net_queue_init(struct sr_netfront *f, struct sr_netfront_queue *q);
/* New rings and event channels. After a failure sr_net_queue_disconnect() is due. */
int sr_net_queue_connect(struct sr_netfront_queue *q);
/* Puts what is kept into the new ring. */
int sr_net_queue_refill(struct sr_netfront_queue *q);
/* Whatever is out won't be answered: ends it with `error`. */
void sr_net_queue_lose(struct sr_netfront_queue *q, int error);
/* Keeps what was posted, marks what was sent as lost, lets go of the rings. */
void sr_net_queue_disconnect(struct sr_netfront_queue *q);
/* Takes all posted buffers out of the ring, to q->kept. */
void sr_net_queue_collect(struct sr_netfront_queue *q);

/* --- memory.c --------------------------------------------------------------------------------- */

/* A page that the backend may use, with its reference. */
int sr_net_share_page(struct sr_netfront *f, uint32_t *ref, void **page);
/* A page that the backend still maps is given a moment; after that closing the front does it. */
void sr_net_unshare_page(struct sr_netfront *f, void *page);
int sr_net_region_new(struct sr_netfront *f, size_t bytes, struct sr_net_region **region);
/* Grants all regions to the backend's domain, if that is another one now. */
int sr_net_regrant(struct sr_netfront *f);
void sr_net_memory_free(struct sr_netfront *f);
/* The region that all of [addr, addr + bytes) lies in, or NULL. */
struct sr_net_region *sr_net_region_search(struct sr_netfront *f, const void *addr, size_t bytes);

static inline bool sr_net_region_holds(const struct sr_net_region *r, const void *addr,
				       size_t bytes)
{
	size_t at = (size_t)((const uint8_t *)addr - r->base);

	return at < r->bytes && bytes <= r->bytes - at;
}

static inline struct sr_net_region *sr_net_region_find(struct sr_netfront_queue *q,
						       const void *addr, size_t bytes)
{
	struct sr_net_region *r = q->region;

	if (__builtin_expect(r && sr_net_region_holds(r, addr, bytes), 1))
		return r;
	r = sr_net_region_search(q->front, addr, bytes);
	if (r)
		q->region = r;
	return r;
}

static inline uint32_t sr_net_region_ref(const struct sr_net_region *r, const void *addr)
{
	return r->refs[(size_t)((const uint8_t *)addr - r->base) >> SR_PAGE_SHIFT];
}

/* --- ctrl.c, statics.c ------------------------------------------------------------------------ */

/* The control ring; nothing is done where it isn't agreed on. */
int sr_net_ctrl_connect(struct sr_netfront *f);
void sr_net_ctrl_disconnect(struct sr_netfront *f);
/* sr_netfront_control() under the lock. */
int sr_net_ctrl_call(struct sr_netfront *f, uint16_t type, const uint32_t args[3], uint32_t *data);
/* Hashing and static maps as they were, on a backend that knows nothing of them. */
void sr_net_ctrl_restore(struct sr_netfront *f);
void sr_net_hash_restore(struct sr_netfront *f);
void sr_net_statics_restore(struct sr_netfront *f);
void sr_net_ctrl_free(struct sr_netfront *f);
void sr_net_statics_free(struct sr_netfront *f);

/* --- rx.c ------------------------------------------------------------------------------------- */

/* Puts a request for a buffer, for which there is a slot and whose page is granted. */
void sr_net_rx_put(struct sr_netfront_queue *q, const struct sr_net_region *r,
		   const struct sr_netfront_buffer *b);

#endif
