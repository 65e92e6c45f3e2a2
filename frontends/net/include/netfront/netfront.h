/* SPDX-License-Identifier: MIT */
#ifndef SR_NETFRONT_H
#define SR_NETFRONT_H

/*
 * A PV network interface from the guest's side: <xen/io/netif.h> over any hypervisor behind the
 * seam. Bursts in and out; nothing is allocated, locked or asked of the kernel a packet.
 *
 *     sr_netfront_open(hv, &options, &front);
 *     sr_netfront_memory(front, bytes, &memory);          granted memory: nothing in it is copied
 *     queue = sr_netfront_queue(front, 0);
 *
 *     sr_netfront_post(queue, buffers, n);                pages to receive into
 *     n = sr_netfront_receive(queue, packets, max, segments, room);
 *     n = sr_netfront_transmit(queue, packets, n);        writes packets to the ring
 *     n = sr_netfront_reap(queue, done, max);             which of them have been sent
 *     sr_netfront_kick(queue);                            shows all of it to the backend, once a
 * batch sr_netfront_wait(queue, SR_NETFRONT_RX, timeout);   or arm(), and poll the descriptor
 * oneself
 *
 *     sr_netfront_close(front);
 *
 * Trust. The backend sees and may change all of the memory that it was granted, as long as the
 * front is open; it is trusted with nothing else. Who decides by a packet's bytes copies them
 * first. A response to a packet that isn't out, or an index that can't be: the front is broken from
 * then on. A received packet that makes no sense is dropped here and counted; its buffers go back
 * to the ring.
 *
 * Threads. A queue belongs to one thread at a time; the queues of a front are independent of each
 * other. open(), connect(), disconnect() and close() belong to one thread, and no queue is in
 * use then. What is said to be of any thread is. A front has a thread of its own for xenstore; the
 * event callback runs there. Nothing survives fork().
 *
 * Errors: 0 or -errno. Hash types, algorithms and control messages are those of <xen/io/netif.h>.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SR_NETFRONT_MAX_QUEUES   64u
#define SR_NETFRONT_RING_SIZE    256u   /* slots, of the TX and of the RX ring */
#define SR_NETFRONT_MAX_SEGMENTS 18u    /* of a packet, either way */
#define SR_NETFRONT_MAX_PACKET   65535u /* bytes */
#define SR_NETFRONT_BUFFER_SIZE                                                                    \
	4096u /* bytes: netif names a page to receive into, no part of it                          \
	       */

struct sr_hypervisor;
struct sr_netfront;
struct sr_netfront_queue;

enum sr_netfront_event {
	SR_NETFRONT_CARRIER, /* sr_netfront_carrier() has changed */
	/* The backend wants the device back, or has left: disconnect(), and connect() or close().
	 */
	SR_NETFRONT_CLOSING,
	SR_NETFRONT_BROKEN, /* the backend is unsound */
};

/* Fill with SR_NETFRONT_DEFAULTS first. What the backend doesn't offer is done without. */
struct sr_netfront_options {
	unsigned device;        /* N of device/vif/N */
	unsigned queues;        /* wanted; the backend's limit holds */
	bool split;             /* an event channel for each direction */
	bool sg;                /* receive packets of several buffers */
	bool gso4, gso6;        /* receive TCP packets of many segments in one; need sg and csum */
	bool csum4, csum6;      /* receive packets whose checksum is blank */
	bool control;           /* a control ring: hashing, static maps */
	bool multicast_control; /* from the start: only groups that were added are received */
	uint16_t headroom;      /* bytes left free before received data, up to 0x7fff */
	bool quiet_rx;          /* as old frontends: doesn't tell of buffers that it has posted */
	unsigned timeout_ms;    /* for each step of the backend */
	void (*event)(void *arg, enum sr_netfront_event event); /* optional */
	void *event_arg;
	/* Optional: where open() and connect() put one line about what failed. Outlives the front.
	 */
	char *error;
	size_t error_size;
};

#define SR_NETFRONT_DEFAULTS                                                                       \
	{                                                                                          \
		.queues = 1, .split = true, .sg = true, .gso4 = true, .gso6 = true, .csum4 = true, \
		.csum6 = true, .control = true, .timeout_ms = 20000                                \
	}

/* What can be sent, or received. */
struct sr_netfront_offloads {
	bool sg, gso4, gso6, csum4, csum6;
};

/* What has been agreed on; connect() makes it anew. */
struct sr_netfront_info {
	unsigned device;
	uint16_t backend_domid;
	uint8_t mac[6]; /* all zero where the toolstack gave none */
	uint16_t mtu;   /* bytes of payload: 1500 unless the toolstack says else */
	unsigned queues;
	bool split;
	struct sr_netfront_offloads tx, rx;
	uint16_t headroom;
	bool control;
	/* Groups can be added; filtering can be switched while connected. */
	bool multicast_control, dynamic_multicast;
};

/*
 * Finds the device in xenstore, negotiates and connects. -ENODEV: the domain has no such device;
 * -EINVAL: bad options; -ETIMEDOUT: the backend didn't come along; others from below.
 * A device that an earlier front of this domain left connected is closed and connected anew.
 * On failure nothing is left behind and the device can be opened again.
 */
int sr_netfront_open(struct sr_hypervisor *hv, const struct sr_netfront_options *options,
		     struct sr_netfront **front);
/*
 * Says good-bye (Closing, Closed) and frees all, granted memory too. -ETIMEDOUT: the backend
 * didn't answer; the front is closed nevertheless. NULL is allowed.
 */
int sr_netfront_close(struct sr_netfront *front);

/*
 * Lets go of the backend, or of what is left of it. Until connect() the queues take nothing
 * (-ENOTCONN); packets that were out are reaped with -ENETRESET. Memory stays, and posted buffers
 * stay posted. -ETIMEDOUT: the backend didn't answer; it is disconnected nevertheless.
 */
int sr_netfront_disconnect(struct sr_netfront *front);
/*
 * Connects again, be it to another backend in another domain: what was posted is posted there, what
 * was mapped is mapped there, hashing configured as it was, if that backend can. Queues may be
 * fewer; their descriptors are others. After a failure the front is still disconnected. -ENOTSUP:
 * the backend lives in another domain and the hypervisor can't grant the same memory to it (no
 * SR_CAP_GRANT_PAGES); -ENODEV: the device is gone for good.
 */
int sr_netfront_connect(struct sr_netfront *front);

const struct sr_netfront_info *sr_netfront_info(const struct sr_netfront *front);
/* Does the backend say that the link is up? Any thread. */
bool sr_netfront_carrier(const struct sr_netfront *front);
/* 0; -ESHUTDOWN: closing; -ENOTCONN: disconnected; -EIO: broken. Any thread. */
int sr_netfront_status(const struct sr_netfront *front);
/* Why it is broken, in words; "" if it isn't. Any thread. */
const char *sr_netfront_reason(const struct sr_netfront *front);
/* `index` < info->queues. Owned by the front. */
struct sr_netfront_queue *sr_netfront_queue(struct sr_netfront *front, unsigned index);

/* --- memory ----------------------------------------------------------------------------------- */

/*
 * Page-aligned, zeroed memory, granted to the backend until the front is closed: any stretch of it
 * can be sent, any page of it received into, by every queue. Any thread; costs system calls.
 */
int sr_netfront_memory(struct sr_netfront *front, size_t bytes, void **addr);

/*
 * How many pages the backend keeps mapped for a queue, 0: none. It then copies without asking the
 * hypervisor a packet. Any thread, as all that goes over the control ring; they wait for the
 * answer.
 */
unsigned sr_netfront_static_limit(struct sr_netfront *front, unsigned queue);
/*
 * Has the backend map pages of granted memory for a queue. -ENOTSUP: no control ring, or the
 * backend can't; -ENOSPC: more than its limit; -EINVAL: no granted memory, or refused; -EEXIST:
 * some of it is mapped already.
 */
int sr_netfront_static_map(struct sr_netfront *front, unsigned queue, void *addr, size_t bytes);
/* Undoes one static_map() of the same range. -EBUSY: the backend didn't let go of all of it. */
int sr_netfront_static_unmap(struct sr_netfront *front, unsigned queue, void *addr, size_t bytes);

/* --- packets ---------------------------------------------------------------------------------- */

enum {
	/* The transport checksum isn't there yet: its field has that of the pseudo-header. */
	SR_NETFRONT_CSUM_BLANK = 1u << 0,
	/* The transport checksum is known to be right. Set with CSUM_BLANK too: then the data are.
	 */
	SR_NETFRONT_CSUM_VALID = 1u << 1,
	SR_NETFRONT_GSO4 = 1u << 2, /* to be cut into TCP segments of gso_size bytes of payload */
	SR_NETFRONT_GSO6 = 1u << 3,
	SR_NETFRONT_HASH = 1u << 4, /* hash and hash_type are set */
};

struct sr_netfront_segment {
	const void
	    *addr; /* sent as it lies if it is in granted memory; else the packet is copied */
	uint32_t length;
};

struct sr_netfront_tx {
	const struct sr_netfront_segment *segments; /* an Ethernet frame without its checksum */
	uint16_t count;
	uint16_t gso_size; /* with SR_NETFRONT_GSO* */
	uint16_t flags;    /* SR_NETFRONT_* */
	uint8_t hash_type; /* with SR_NETFRONT_HASH: _XEN_NETIF_CTRL_HASH_TYPE_* */
	uint32_t hash;
	void *tag; /* the caller's */
};

/*
 * Takes packets, to be given back by sr_netfront_reap() exactly once; until then their memory stays
 * untouched, unless it isn't granted memory. How many were taken. 0: no room, reap first. Negative:
 * the first one can't be sent: -EINVAL: shorter than an Ethernet header, or gso_size 0; -EMSGSIZE:
 * too long, or more than a page without sg; -EOPNOTSUPP: an offload that isn't agreed on; others as
 * sr_netfront_status(). A packet of more than 18 pieces (by pages) is copied, and takes fewer.
 */
int sr_netfront_transmit(struct sr_netfront_queue *queue, const struct sr_netfront_tx *packets,
			 unsigned count);
/* Slots that transmit() can fill: a packet takes one a piece, one for GSO and one for a hash. */
unsigned sr_netfront_tx_room(const struct sr_netfront_queue *queue);

struct sr_netfront_done {
	void *tag;
	int error; /* 0, -EIO: refused by the backend; -ECOMM: dropped by it; -ENETRESET */
};

/* Up to `max` packets that are done with into done[]. */
unsigned sr_netfront_reap(struct sr_netfront_queue *queue, struct sr_netfront_done *done,
			  unsigned max);

struct sr_netfront_buffer {
	void *page; /* a whole page of granted memory */
	void *tag;  /* the caller's */
};

/* Posts pages to receive into. How many were taken; -EINVAL: the first is no such page. */
int sr_netfront_post(struct sr_netfront_queue *queue, const struct sr_netfront_buffer *buffers,
		     unsigned count);
/* How many post() can take. */
unsigned sr_netfront_rx_room(const struct sr_netfront_queue *queue);

struct sr_netfront_rx_segment {
	void *tag;       /* of the buffer, which is the caller's again */
	uint16_t offset; /* in the page */
	uint16_t length;
};

struct sr_netfront_rx {
	uint32_t length; /* sum of the segments': 14 to 65535 */
	uint32_t hash;
	uint16_t first;    /* index of its first segment in segments[] */
	uint16_t count;    /* of its segments */
	uint16_t gso_size; /* not 0 with SR_NETFRONT_GSO* */
	uint8_t flags;     /* SR_NETFRONT_* */
	uint8_t hash_type;
};

/*
 * Up to `max` packets, as far as their segments find room: a packet is taken while there is room
 * for SR_NETFRONT_MAX_SEGMENTS more, so `room` = max + SR_NETFRONT_MAX_SEGMENTS - 1 is always
 * enough for packets of one segment. How many; negative as sr_netfront_status().
 */
int sr_netfront_receive(struct sr_netfront_queue *queue, struct sr_netfront_rx *packets,
			unsigned max, struct sr_netfront_rx_segment *segments, unsigned room);

/* Posted buffers back to their owner: while disconnected or broken only, else 0. */
unsigned sr_netfront_take_back(struct sr_netfront_queue *queue, struct sr_netfront_buffer *buffers,
			       unsigned max);

/* --- showing and waiting ---------------------------------------------------------------------- */

/*
 * Shows the backend what was put in both rings, and notifies it if it sleeps. The lazy form
 * leaves the notification to the next kick(), arm() or wait(): for callers who are sure to make
 * one soon. It saves the fences.
 */
int sr_netfront_kick(struct sr_netfront_queue *queue);
void sr_netfront_kick_lazy(struct sr_netfront_queue *queue);

/* What to wait for; a set. */
enum {
	SR_NETFRONT_RX = 1u << 0, /* something to receive() */
	SR_NETFRONT_TX = 1u << 1, /* a good part of what is out can be reaped, or the last of it */
};

/* Readable once an event has come. Poll it and sr_netfront_wake_fd(). Owned by the queue. */
int sr_netfront_fd(const struct sr_netfront_queue *queue);
/* Readable once the front is broken or closing. Owned by the front; only to be polled. */
int sr_netfront_wake_fd(const struct sr_netfront *front);
/* Kicks and asks for an event. What of `what` is there already; sleep only if it is 0. */
unsigned sr_netfront_arm(struct sr_netfront_queue *queue, unsigned what);
/* Takes the events. To be called when the work is done that they stand for: that throttles them. */
int sr_netfront_ack(struct sr_netfront_queue *queue);
/*
 * Kicks, then waits until there is something of `what`, or the front's status is another than 0.
 * 0; -ETIMEDOUT. timeout_ms < 0: as long as it takes.
 */
int sr_netfront_wait(struct sr_netfront_queue *queue, unsigned what, int timeout_ms);

/* --- hashing, multicast, headroom ------------------------------------------------------------- */

struct sr_netfront_hash {
	uint32_t types; /* XEN_NETIF_CTRL_HASH_TYPE_*; 0: no hashing */
	const uint8_t *key;
	unsigned key_length;
	const uint32_t *mapping; /* queue by hash modulo mapping_length */
	unsigned mapping_length; /* 0: the hash modulo the number of queues */
};

/*
 * Has the backend compute Toeplitz hashes, deliver them and choose queues by them. -ENOTSUP: no
 * control ring, or no such hashing; -EINVAL, -EOVERFLOW: what the backend answered; -ETIMEDOUT.
 */
int sr_netfront_hash(struct sr_netfront *front, const struct sr_netfront_hash *hash);
/* What the backend offers: hash types, and entries of the mapping. It has to be asked for. */
int sr_netfront_hash_limits(struct sr_netfront *front, uint32_t *types, unsigned *mapping_length);
/*
 * One message on the control ring. -EINVAL, -ENOTSUP, -EOVERFLOW: the answer's status; -ETIMEDOUT;
 * -EPROTO: it makes no sense, and the control ring isn't used any more. `data` may be NULL.
 */
int sr_netfront_control(struct sr_netfront *front, uint16_t type, const uint32_t args[3],
			uint32_t *data);

/* Adds a multicast group, or takes it away; a packet of its own: reap() tells how that went. */
int sr_netfront_multicast(struct sr_netfront_queue *queue, const uint8_t mac[6], bool add,
			  void *tag);
/* Filters multicast by the groups that were added, or doesn't. -ENOTSUP: not while connected. */
int sr_netfront_multicast_control(struct sr_netfront *front, bool on);

/*
 * Another headroom while connected, by way of the states Reconfiguring and Reconfigured. Packets
 * with the old one may still come. -ENOTSUP: the backend can't; -EINVAL: more than 0x7fff.
 * Belongs to the thread of open(); the queues may be in use.
 */
int sr_netfront_set_headroom(struct sr_netfront *front, uint16_t headroom);

struct sr_netfront_stats {
	uint64_t tx_packets, tx_bytes; /* reaped without an error */
	uint64_t tx_errors;            /* reaped with one */
	uint64_t tx_copied;            /* packets that weren't sent from where they lay */
	uint64_t rx_packets, rx_bytes;
	uint64_t rx_errors; /* packets dropped here: what the backend said of them makes no sense */
	uint64_t notifications; /* sent */
	uint64_t events;        /* received */
	uint64_t sleeps;
};
/* The queue's thread. */
void sr_netfront_stats(const struct sr_netfront_queue *queue, struct sr_netfront_stats *stats);

#endif
