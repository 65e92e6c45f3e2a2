/* SPDX-License-Identifier: MIT */
#ifndef SR_TEST_BACK_H
#define SR_TEST_BACK_H

/*
 * A netback for tests: it walks through xenbus and answers control messages in a thread of its own;
 * its data rings are driven by hand. It believes its frontend and aborts the program where that
 * does what a frontend may not do.
 */

#include <pthread.h>
#include <stdatomic.h>

#include <hypervisor.h>
#include <ring/netif.h>
#include <xenstore.h>

#include <xen/io/xenbus.h>

#define TESTBACK_MAX_QUEUES 8u
#define TESTBACK_MAX_GREFS  4096u
#define TESTBACK_MAX_PACKET 65535u

/* What it writes into xenstore before a frontend comes. */
struct testback_offer {
	_Atomic unsigned queues;
	bool split, sg, gso, csum6, no_csum4, control, multicast, dynamic_multicast, headroom;
	/* Never goes on to Connected, as one that has crashed. */
	_Atomic bool silent;
};

struct testback_queue {
	struct sr_netif_back tx, rx;
	void *tx_page, *rx_page;
	uint32_t tx_port, rx_port;
};

/* What came over the control ring. */
struct testback_control {
	struct sr_netif_back ring;
	void *page;
	uint32_t port;
	unsigned messages;
	/* Answer the next message with this status; -1: not at all. */
	_Atomic int status;
	_Atomic bool wrong_id;
	uint32_t algorithm, types, key_length, mapping_length;
	uint8_t key[4096];
	uint32_t mapping[1024];
	_Atomic uint32_t limit;
	uint64_t grefs[TESTBACK_MAX_GREFS]; /* mapped: (queue + 1) << 32 | reference; 0: free */
	_Atomic unsigned mapped;
};

struct testback {
	struct sr_hypervisor *hv;
	struct xs_handle *xs, *toolstack;
	/* Held by the thread while it does anything; for who uses the rings meanwhile. */
	pthread_mutex_t lock;
	struct sr_gnttab *gt; /* NULL while disconnected */
	struct sr_evtchn *ev, *ctrl_ev;
	uint16_t domid; /* the guest */
	unsigned vif;
	char front[64], back[64];
	struct testback_offer offer;
	unsigned queues; /* connected */
	struct testback_queue queue[TESTBACK_MAX_QUEUES];
	struct testback_control control;
	unsigned headroom;
	_Atomic int state;       /* XenbusState* */
	_Atomic int wanted;      /* 0, or the state that the thread shall go to by itself */
	_Atomic unsigned rounds; /* connections made */
	int stop_fd;
	pthread_t thread;
};

/* A packet as it came, or as it is to go. */
struct testback_packet {
	uint32_t length;
	unsigned slots; /* of data */
	uint16_t flags; /* NETTXF_*, NETRXF_*: of the first slot */
	unsigned extra_count;
	struct netif_extra_info extras[4];
	uint16_t ids[SR_NETIF_TX_SLOTS]; /* of the data slots */
	uint8_t data[TESTBACK_MAX_PACKET + 1];
};

/*
 * `address`: the backend's domain; `toolstack`: domain 0, by which the device's nodes are made,
 * NULL if a toolstack has made them.
 */
void testback_start(struct testback *b, const char *address, const char *toolstack, uint16_t domid,
		    unsigned vif, const struct testback_offer *offer);
void testback_stop(struct testback *b);
/* Goes to a state by itself (Closing, Closed, ...), and waits until it is there. */
void testback_go(struct testback *b, XenbusState state);

/* Between b->control in the thread's hands and in the test's: rings tell no sanitizer of their
 * order. */
void testback_sync(struct testback *b);

/* A node of either side. read: free() it, NULL if there is none. */
char *testback_read(struct testback *b, const char *dir, const char *node);
long testback_number(struct testback *b, const char *dir, const char *node);
void testback_write(struct testback *b, const char *dir, const char *node, const char *value);

/* Takes one packet; false: there is none. Nothing is answered. */
bool testback_take(struct testback *b, unsigned queue, struct testback_packet *p);
/* Answers all slots of a packet, in order. */
void testback_answer(struct testback *b, unsigned queue, const struct testback_packet *p,
		     int16_t status);
/* Puts a packet into RX requests, in pieces of up to `piece` bytes. False: too few requests. */
bool testback_send(struct testback *b, unsigned queue, const struct testback_packet *p,
		   uint32_t piece);
/* Takes one RX request, and writes bytes to its page. */
struct netif_rx_request testback_rx_request(struct testback *b, unsigned queue, const void *data,
					    unsigned offset, unsigned length);
/* Shows what was answered, on both rings, and notifies. */
void testback_publish(struct testback *b, unsigned queue);

#endif
