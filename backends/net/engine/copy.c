/* SPDX-License-Identifier: MIT */
/* Grant copies, many at once. */
#include "engine.h"

void sr_copy_flush(struct sr_netq *q, struct sr_net_direction *d)
{
	struct sr_net_copies *c = &q->copies;
	int rc;

	if (!c->count)
		return;
	rc = sr_gnttab_copy(q->gt, c->segs, c->count);
	for (unsigned i = 0; i < c->count; i++)
		if (rc || c->segs[i].status != GNTST_okay)
			q->failed[c->owner[i]] = true;
	sr_stat_add(&d->copies, c->count);
	c->count = 0;
}

static struct sr_copy_segment *next_segment(struct sr_netq *q, unsigned owner,
					    struct sr_net_direction *d)
{
	struct sr_net_copies *c = &q->copies;

	if (c->count == SR_NET_COPIES)
		sr_copy_flush(q, d);
	c->owner[c->count] = (uint16_t)owner;
	return &c->segs[c->count++];
}

void sr_copy_in(struct sr_netq *q, unsigned owner, void *to, uint32_t gref, uint16_t offset,
		uint16_t len)
{
	struct sr_copy_segment *s = next_segment(q, owner, &q->stats.tx);

	s->source.foreign.ref = gref;
	s->source.foreign.offset = offset;
	s->source.foreign.domid = q->domid;
	s->dest.virt = to;
	s->len = len;
	s->flags = SR_COPY_SOURCE_GREF;
}

void sr_copy_out(struct sr_netq *q, unsigned owner, uint32_t gref, uint16_t offset,
		 const void *from, uint16_t len)
{
	struct sr_copy_segment *s = next_segment(q, owner, &q->stats.rx);

	s->source.virt = (void *)(uintptr_t)from;
	s->dest.foreign.ref = gref;
	s->dest.foreign.offset = offset;
	s->dest.foreign.domid = q->domid;
	s->len = len;
	s->flags = SR_COPY_DEST_GREF;
}
