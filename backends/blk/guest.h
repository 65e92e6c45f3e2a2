/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_GUEST_H
#define SR_BLK_GUEST_H

/*
 * What all disks of one guest share: the room in its grant table. Linux's frontend keeps the grants
 * that we keep mapped, until it uses them again, and when the table is full it waits for others to
 * give theirs back. So the disks of a guest keep no more between them than leaves enough for every
 * other need; else a disk that rests could make one that works wait for ever.
 */

#include <stdbool.h>
#include <stdint.h>

#include "persistent.h"

struct sr_blkback;

struct sr_guest {
	struct sr_guest *next;
	unsigned refs;
	uint16_t domid;
	struct sr_grant_budget budget;
};

/* How many persistent grants fit beside all else into a table of `entries`. */
unsigned sr_guest_share(unsigned entries);

/* The one of `domid`, with a reference more. NULL: no memory. Control thread. */
struct sr_guest *sr_guest_get(struct sr_blkback *bb, uint16_t domid);
/* NULL is allowed. Control thread. */
void sr_guest_put(struct sr_blkback *bb, struct sr_guest *guest);

/* Whether it is worth while to offer persistent grants: without them the frontend copies nothing.
 */
static inline bool sr_guest_has_room(const struct sr_guest *guest)
{
	return guest->budget.limit >= 512;
}

#endif
