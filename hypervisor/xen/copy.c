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

/* The operation for a segment. False: it is none of those that are done here. */
static bool make(const struct sr_xen_own *own, const struct sr_copy_segment *s,
		 struct gnttab_copy *op)
{
	bool from = s->flags & SR_COPY_SOURCE_GREF, to = s->flags & SR_COPY_DEST_GREF;
	const union sr_copy_ptr *other = from ? &s->source : &s->dest;
	const void *mine = from ? s->dest.virt : s->source.virt;
	struct gnttab_copy_ptr theirs, ours = { .domid = DOMID_SELF };

	if (from == to || !s->len || !sr_xen_own_find(own, mine, s->len, &ours.u.ref, &ours.offset))
		return false;
	theirs = (struct gnttab_copy_ptr){
		.u.ref = other->foreign.ref,
		.domid = other->foreign.domid,
		.offset = other->foreign.offset,
	};
	*op = (struct gnttab_copy){
		.source = from ? theirs : ours,
		.dest = from ? ours : theirs,
		.len = s->len,
		.flags = GNTCOPY_source_gref | GNTCOPY_dest_gref,
		.status = GNTST_general_error,
	};
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
