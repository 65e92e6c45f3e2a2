/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include <stdlib.h>

#include <hypervisor.h>

#include "vbd.h"

/* Where nobody says: half of what Xen gives by default, for a guest may have the larger entries. */
#define SR_ASSUMED_ENTRIES 16384u
/* A NIC takes 512 for good. The rest is for rings, the console, and a request that finds no other.
 */
#define SR_OTHER_NEEDS 768u

/*
 * Half of what is left: after our restart a frontend still holds the grants that the last process
 * kept, and other ones may get kept in this one.
 */
unsigned sr_guest_share(unsigned entries)
{
	return entries > SR_OTHER_NEEDS ? (entries - SR_OTHER_NEEDS) / 2 : 0;
}

struct sr_guest *sr_guest_get(struct sr_blkback *bb, uint16_t domid)
{
	unsigned entries = SR_ASSUMED_ENTRIES;
	struct sr_guest *g = bb->guests;

	while (g && g->domid != domid)
		g = g->next;
	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return NULL;
		/* A driver domain is not told, and a guest may be gone: then nothing changes
		 * entries. */
		sr_hv_grant_entries(bb->hv, domid, &entries);
		g->domid = domid;
		g->budget.limit = sr_guest_share(entries);
		g->next = bb->guests;
		bb->guests = g;
		if (!sr_guest_has_room(g))
			sr_log(&bb->log, SR_LOG_WARNING,
			       "domain %u can grant %u pages (max_grant_frames): too few for "
			       "persistent grants, its disks go without",
			       domid, entries);
	}
	g->refs++;
	return g;
}

void sr_guest_put(struct sr_blkback *bb, struct sr_guest *guest)
{
	struct sr_guest **p = &bb->guests;

	if (!guest || --guest->refs)
		return;
	while (*p != guest)
		p = &(*p)->next;
	*p = guest->next;
	free(guest);
}
