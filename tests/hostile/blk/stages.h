/* SPDX-License-Identifier: MIT */
#ifndef HOSTILE_STAGES_H
#define HOSTILE_STAGES_H

#include <hostile/hostile.h>

/* How far a guest gets. */
enum stage {
	CREATED, /* the domain and its device, no process */
	OPENED,
	INITWAIT,    /* the backend is ready for it */
	RING,        /* granted, and written to xenstore */
	INITIALISED, /* its state says so; the backend connects at this moment */
	CONNECTED,
	BUSY,     /* requests are with the disk */
	ANSWERED, /* responses lie in the ring, unread */
	CLOSING,
	CLOSED,
	STAGES,
};

extern const char *const stage_names[STAGES];

/* From OPENED to a later stage. For BUSY a disk has to be held, see rig.h. Asserts on failure. */
void stage_go_to(struct sr_hostile *h, enum stage stage);

#endif
