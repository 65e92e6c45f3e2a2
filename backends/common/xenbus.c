/* SPDX-License-Identifier: MIT */
#include <common/xenbus.h>

#include <stddef.h>
#include <string.h>

#define D SR_XB_DETACH
#define O SR_XB_OPEN
#define N SR_XB_CONNECT
#define W SR_XB_WRITE
#define C SR_XB_CLOSE
#define R SR_XB_REMOVE
#define A SR_XB_AGAIN
#define G SR_XB_RECONFIGURE

#define INITIALISING XenbusStateInitialising
#define INITWAIT     XenbusStateInitWait
#define CONNECTED    XenbusStateConnected
#define CLOSING      XenbusStateClosing
#define CLOSED       XenbusStateClosed
#define RECONFIGURED XenbusStateReconfigured

/* D in an entry: only without queues; they are detached first. All zero: nothing to do. */
static const struct sr_xenbus_step table[XenbusStateReconfigured + 1][SR_XB_EVENTS] = {
	[INITIALISING] = {
		/* Whatever the frontend is at: the toolstack waits for us to be in InitWait. */
		[SR_XB_FRONT_INITIALISING] = { INITWAIT, O | W | A },
		[SR_XB_FRONT_READY] = { INITWAIT, O | W | A },
		[SR_XB_FRONT_RECONFIGURING] = { INITWAIT, O | W | A },
		[SR_XB_FRONT_CLOSING] = { INITWAIT, O | W | A },
		[SR_XB_FRONT_CLOSED] = { INITWAIT, O | W | A },
		[SR_XB_TOOLSTACK_CLOSING] = { CLOSED, W | R },
		[SR_XB_TOOLSTACK_CLOSED] = { CLOSED, W | R },
		[SR_XB_FAILED] = { CLOSED, W | R },
	},
	[INITWAIT] = {
		[SR_XB_FRONT_GONE] = { CLOSED, W | C | R },
		[SR_XB_FRONT_READY] = { CONNECTED, N | W },
		[SR_XB_FRONT_CLOSING] = { CLOSING, W },
		[SR_XB_FRONT_CLOSED] = { CLOSED, W | C | R },
		/* No queue yet, so there is nothing that the frontend would have to finish. */
		[SR_XB_TOOLSTACK_CLOSING] = { CLOSED, W | C | R },
		[SR_XB_TOOLSTACK_CLOSED] = { CLOSED, W | C | R },
		[SR_XB_FAILED] = { CLOSED, W | C | R },
	},
	[CONNECTED] = {
		[SR_XB_FRONT_GONE] = { CLOSED, D | W | C | R },
		/* It has begun anew without taking leave (a crash kernel). */
		[SR_XB_FRONT_INITIALISING] = { CLOSED, D | W | C | R | A },
		[SR_XB_FRONT_CLOSING] = { CLOSING, D | W },
		[SR_XB_FRONT_CLOSED] = { CLOSED, D | W | C | R },
		[SR_XB_FRONT_RECONFIGURING] = { RECONFIGURED, G | W },
		/* The frontend sees it too; its last requests are served until it closes. */
		[SR_XB_TOOLSTACK_CLOSING] = { CLOSING, A },
		[SR_XB_TOOLSTACK_CLOSED] = { CLOSED, D | W | C | R },
		[SR_XB_FAILED] = { CLOSING, D | W | A },
	},
	[CLOSING] = {
		[SR_XB_FRONT_GONE] = { CLOSED, D | W | C | R },
		[SR_XB_FRONT_INITIALISING] = { CLOSED, D | W | C | R | A },
		[SR_XB_FRONT_CLOSING] = { CLOSING, D },
		[SR_XB_FRONT_CLOSED] = { CLOSED, D | W | C | R },
		[SR_XB_TOOLSTACK_CLOSED] = { CLOSED, D | W | C | R },
		[SR_XB_FAILED] = { CLOSING, D },
	},
	[CLOSED] = {
		[SR_XB_FRONT_GONE] = { CLOSED, R },
		[SR_XB_FRONT_INITIALISING] = { INITWAIT, O | W | A },
		[SR_XB_FRONT_CLOSING] = { CLOSED, R },
		[SR_XB_FRONT_CLOSED] = { CLOSED, R },
		[SR_XB_FRONT_READY] = { CLOSED, R },
		[SR_XB_FRONT_RECONFIGURING] = { CLOSED, R },
		/* It has overwritten our state. */
		[SR_XB_TOOLSTACK_CLOSING] = { CLOSED, W | R },
	},
	/* As Connected; the frontend says by its own Connected that it has seen it. */
	[RECONFIGURED] = {
		[SR_XB_FRONT_GONE] = { CLOSED, D | W | C | R },
		[SR_XB_FRONT_INITIALISING] = { CLOSED, D | W | C | R | A },
		[SR_XB_FRONT_READY] = { CONNECTED, G | W },
		[SR_XB_FRONT_CLOSING] = { CLOSING, D | W },
		[SR_XB_FRONT_CLOSED] = { CLOSED, D | W | C | R },
		[SR_XB_TOOLSTACK_CLOSING] = { CLOSING, A },
		[SR_XB_TOOLSTACK_CLOSED] = { CLOSED, D | W | C | R },
		[SR_XB_FAILED] = { CLOSING, D | W | A },
	},
};

struct sr_xenbus_step sr_xenbus_step(enum xenbus_state state, enum sr_xenbus_event event,
				     bool attached, bool online)
{
	const struct sr_xenbus_step nothing = { state, 0 };
	struct sr_xenbus_step step;

	if ((unsigned)state > RECONFIGURED || (unsigned)event >= SR_XB_EVENTS)
		return nothing;
	/* Back to where it can be connected to: not if it is to go. */
	if (state == CLOSED && event == SR_XB_FRONT_INITIALISING && !online)
		return (struct sr_xenbus_step){ CLOSED, R };
	step = table[state][event];
	if (attached && (step.actions & D))
		return (struct sr_xenbus_step){ state, D };
	step.actions &= ~D;
	if (online)
		step.actions &= ~R;
	if (!step.actions)
		return nothing;
	return step;
}

enum sr_xenbus_event sr_xenbus_front_event(const char *state)
{
	if (!state || !state[0] || state[1])
		return SR_XB_FRONT_GONE;
	switch (state[0] - '0') {
	case XenbusStateInitialising:
	case XenbusStateInitWait:
		return SR_XB_FRONT_INITIALISING;
	case XenbusStateInitialised:
	case XenbusStateConnected:
		return SR_XB_FRONT_READY;
	case XenbusStateClosing:
		return SR_XB_FRONT_CLOSING;
	case XenbusStateClosed:
		return SR_XB_FRONT_CLOSED;
	case XenbusStateReconfiguring:
		return SR_XB_FRONT_RECONFIGURING;
	}
	return SR_XB_FRONT_GONE;
}

const char *sr_xenbus_state_name(enum xenbus_state state)
{
	static const char *const names[] = {
		"Unknown", "Initialising", "InitWait",      "Initialised",  "Connected",
		"Closing", "Closed",       "Reconfiguring", "Reconfigured",
	};

	return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "Unknown";
}
