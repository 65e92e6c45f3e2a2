/* SPDX-License-Identifier: MIT */
#include "copy.h"

#include <errno.h>
#include <stdlib.h>
#include <xen/xen.h>
#include <xencall.h>

#include <xen/grant_table.h>

#include "xen_impl.h"

#define OPS       256u /* of a hypercall */
#define OPS_PAGES ((OPS * sizeof(struct gnttab_copy) + SR_PAGE_SIZE - 1) / SR_PAGE_SIZE)

struct sr_xen_copier {
	xencall_handle *call;
	struct gnttab_copy *ops; /* memory that Xen can read at any time */
	uint16_t place[OPS];     /* of the segment that an operation is for */
};

struct sr_xen_copier *sr_xen_copier_new(void)
{
	struct sr_xen_copier *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->call = xencall_open(sr_xen_quiet(), 0);
	if (c->call)
		c->ops = xencall_alloc_buffer_pages(c->call, OPS_PAGES);
	if (c->ops)
		return c;
	sr_xen_copier_free(c);
	return NULL;
}

void sr_xen_copier_free(struct sr_xen_copier *c)
{
	if (!c)
		return;
	if (c->ops)
		xencall_free_buffer_pages(c->call, c->ops, OPS_PAGES);
	if (c->call)
		xencall_close(c->call);
	free(c);
}

/*
 * Names bytes of ours in an operation whose flags say that both sides are references, and has it
 * say that this one is a frame if it is. False: the bytes are none of `own`.
 */
static inline bool name_ours(const struct sr_xen_own *own, const void *mine, uint16_t len,
			     struct gnttab_copy_ptr *ours, uint16_t by_ref, uint16_t *flags)
{
	size_t page;

	if (!sr_xen_own_find(own, mine, len, &page, &ours->offset))
		return false;
	ours->domid = DOMID_SELF;
	if (own->frames) {
		ours->u.gmfn = own->frames[page];
		*flags &= (uint16_t)~by_ref;
	} else {
		ours->u.ref = own->refs[page];
	}
	return true;
}

static inline void name_theirs(const union sr_copy_ptr *other, struct gnttab_copy_ptr *theirs)
{
	theirs->u.ref = other->foreign.ref;
	theirs->domid = other->foreign.domid;
	theirs->offset = other->foreign.offset;
}

/* The operation for a segment, field by field. False: it is none of those that are done here. */
static inline bool make(const struct sr_xen_own *own, const struct sr_copy_segment *s,
			struct gnttab_copy *op)
{
	uint16_t flags = GNTCOPY_source_gref | GNTCOPY_dest_gref, way = s->flags;

	if (!s->len)
		return false;
	if (way == SR_COPY_DEST_GREF) {
		if (!name_ours(own, s->source.virt, s->len, &op->source, GNTCOPY_source_gref,
			       &flags))
			return false;
		name_theirs(&s->dest, &op->dest);
	} else if (way == SR_COPY_SOURCE_GREF) {
		if (!name_ours(own, s->dest.virt, s->len, &op->dest, GNTCOPY_dest_gref, &flags))
			return false;
		name_theirs(&s->source, &op->source);
	} else {
		return false;
	}
	op->len = s->len;
	op->flags = flags;
	op->status = GNTST_general_error;
	return true;
}

/* Done, but for what has to be tried again later, which the kernel knows how to. */
static unsigned note(const struct sr_xen_copier *c, unsigned count, struct sr_copy_segment *segs,
		     uint16_t *rest)
{
	unsigned again = 0;

	for (unsigned i = 0; i < count; i++) {
		segs[c->place[i]].status = c->ops[i].status;
		if (c->ops[i].status == GNTST_eagain)
			rest[again++] = c->place[i];
	}
	return again;
}

int sr_xen_copier_run(struct sr_xen_copier *c, const struct sr_xen_own *own,
		      struct sr_copy_segment *segs, unsigned count, uint16_t *rest)
{
	unsigned others = 0;

	for (unsigned i = 0; i < count;) {
		unsigned n = 0;

		for (; i < count && n < OPS; i++) {
			if (make(own, &segs[i], &c->ops[n]))
				c->place[n++] = (uint16_t)i;
			else
				rest[others++] = (uint16_t)i;
		}
		if (n && xencall3(c->call, __HYPERVISOR_grant_table_op, GNTTABOP_copy,
				  (uintptr_t)c->ops, n) < 0)
			return -errno;
		others += note(c, n, segs, rest + others);
	}
	return (int)others;
}
