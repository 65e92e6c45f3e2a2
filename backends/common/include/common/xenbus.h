/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_XENBUS_H
#define SR_COMMON_XENBUS_H

/*
 * The xenbus handshake of a backend as a table: (our state, what happened) -> what to do. It knows
 * neither a store nor a device, so all of it can be tested.
 *
 * Source: the state diagrams of <xen/io/blkif.h> and <xen/io/xenbus.h>.
 */

#include <stdbool.h>

#include <xen/io/xenbus.h>

/* What can happen to a backend. The first ones are states of the frontend. */
enum sr_xenbus_event {
	SR_XB_FRONT_GONE,          /* no state, no nodes; or a state that there isn't */
	SR_XB_FRONT_INITIALISING,  /* 1, and 2 */
	SR_XB_FRONT_READY,         /* 3 or 4: its rings are published */
	SR_XB_FRONT_CLOSING,       /* 5 */
	SR_XB_FRONT_CLOSED,        /* 6 */
	SR_XB_FRONT_RECONFIGURING, /* 7: it wants something else of a connection that goes on */
	SR_XB_TOOLSTACK_CLOSING,   /* the toolstack wrote 5 into our state */
	SR_XB_TOOLSTACK_CLOSED,    /* it wrote 6: the guest is dead or never lived */
	SR_XB_FAILED,              /* the device can't go on: the guest broke the protocol */
	SR_XB_EVENTS,
};

/* What to do, in this order. */
enum {
	SR_XB_DETACH = 1u << 0,  /* let go of the queues; the event is then looked at again */
	SR_XB_OPEN = 1u << 1,    /* open the disk, write what can be negotiated */
	SR_XB_CONNECT = 1u << 2, /* map the rings, bind the event channels, write the size */
	SR_XB_WRITE = 1u << 3,   /* write the new state */
	SR_XB_CLOSE = 1u << 4,   /* close the disk */
	SR_XB_REMOVE = 1u << 5,  /* gone for good: remove the directory where that is our part */
	SR_XB_RECONFIGURE = 1u << 7, /* do what it wants; the queues stay attached */
	SR_XB_AGAIN = 1u << 6,       /* look at the frontend again in the new state */
};

/*
 * DETACH takes its time and therefore comes alone, with the state unchanged: when the queues are
 * gone, the same event is delivered again, with attached = false.
 */
struct sr_xenbus_step {
	enum xenbus_state state; /* the next one */
	unsigned actions;        /* SR_XB_*; 0: nothing happens */
};

/*
 * What to do in `state` (ours: Initialising, InitWait, Connected, Closing, Closed or Reconfigured)
 * about `event`. attached: we have queues. online: the toolstack's node, 0 where the device is to
 * go for good. If OPEN or CONNECT fails the caller goes to Closed instead.
 */
struct sr_xenbus_step sr_xenbus_step(enum xenbus_state state, enum sr_xenbus_event event,
				     bool attached, bool online);

/* The event that a frontend's node `state` stands for; NULL: there is none. */
enum sr_xenbus_event sr_xenbus_front_event(const char *state);

/* "Connected" and so on, for people. */
const char *sr_xenbus_state_name(enum xenbus_state state);

#endif
