/* SPDX-License-Identifier: MIT */
/*
 * gnttab over libxengnttab: /dev/xen/gntdev on Linux. Nothing limits there what one handle maps
 * (xengnttab_set_max_grants() is for kernels of long ago); one call takes up to 65536 references.
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xengnttab.h>

#include "copy.h"
#include "spans.h"
#include "xen_impl.h"

#define PROBE_BATCH 32u
#define COPY_BATCH  256u

struct xen_gnttab {
	struct sr_gnttab base;
	const struct sr_xen_own *own;
	struct sr_xen_copier *copier; /* NULL: not yet, or it can't be had */
	bool no_copier;
	xengnttab_handle *lib;
	struct sr_spans mapped;
};

_Static_assert(sizeof(struct sr_copy_segment) == sizeof(xengnttab_grant_copy_segment_t) &&
		   offsetof(struct sr_copy_segment, dest) ==
		       offsetof(xengnttab_grant_copy_segment_t, dest) &&
		   offsetof(struct sr_copy_segment, source.foreign.ref) ==
		       offsetof(xengnttab_grant_copy_segment_t, source.foreign.ref) &&
		   offsetof(struct sr_copy_segment, source.foreign.offset) ==
		       offsetof(xengnttab_grant_copy_segment_t, source.foreign.offset) &&
		   offsetof(struct sr_copy_segment, source.foreign.domid) ==
		       offsetof(xengnttab_grant_copy_segment_t, source.foreign.domid) &&
		   offsetof(struct sr_copy_segment, len) ==
		       offsetof(xengnttab_grant_copy_segment_t, len) &&
		   offsetof(struct sr_copy_segment, flags) ==
		       offsetof(xengnttab_grant_copy_segment_t, flags) &&
		   offsetof(struct sr_copy_segment, status) ==
		       offsetof(xengnttab_grant_copy_segment_t, status) &&
		   (int)SR_COPY_SOURCE_GREF == GNTCOPY_source_gref &&
		   (int)SR_COPY_DEST_GREF == GNTCOPY_dest_gref,
	       "sr_copy_segment is the library's segment");

static int copy_run(struct xen_gnttab *gt, struct sr_copy_segment *segs, unsigned count)
{
	if (!count)
		return 0;
	if (xengnttab_grant_copy(gt->lib, count, (xengnttab_grant_copy_segment_t *)segs))
		return -errno;
	return 0;
}

/* What the kernel refuses with the whole batch, where Xen itself would mark the segment. */
static bool refused(const struct sr_copy_segment *s)
{
	bool from = s->flags & SR_COPY_SOURCE_GREF, to = s->flags & SR_COPY_DEST_GREF;

	return (!from && !to) || (from && s->source.foreign.offset + s->len > SR_PAGE_SIZE) ||
	       (to && s->dest.foreign.offset + s->len > SR_PAGE_SIZE);
}

/* By the kernel, which finds out where our memory is. */
static int copy_any(struct xen_gnttab *gt, struct sr_copy_segment *segs, unsigned count)
{
	unsigned start = 0;

	for (unsigned i = 0; i < count; i++) {
		int err;

		/* Nothing is asked about a segment of no bytes. */
		segs[i].status = GNTST_okay;
		if (!refused(&segs[i]))
			continue;
		err = copy_run(gt, segs + start, i - start);
		if (err)
			return err;
		segs[i].status = GNTST_bad_copy_arg;
		start = i + 1;
	}
	return copy_run(gt, segs + start, count - start);
}

/* By Xen itself. 1: it can't be asked. */
static int copy_own(struct xen_gnttab *gt, struct sr_copy_segment *segs, unsigned count)
{
	uint16_t rest[COPY_BATCH];
	int n = sr_xen_copier_run(gt->copier, gt->own, segs, count, rest), err = 0;

	/* A kernel that lets nobody ask: so it is for the first copy as for all. */
	if (n == -EPERM || n == -ENOSYS) {
		gt->no_copier = true;
		return 1;
	}
	for (int i = 0; i < n && !err; i++)
		err = copy_any(gt, &segs[rest[i]], 1);
	return n < 0 ? n : err;
}

static int xen_copy(struct sr_gnttab *base, struct sr_copy_segment *segs, unsigned count)
{
	struct xen_gnttab *gt = (struct xen_gnttab *)base;
	int err = 0;

	if (!gt->copier && !gt->no_copier && sr_xen_own_any(gt->own)) {
		gt->copier = sr_xen_copier_new();
		gt->no_copier = !gt->copier;
	}
	while (count && !err) {
		unsigned n = count < COPY_BATCH ? count : COPY_BATCH;

		err = 1;
		if (gt->copier && !gt->no_copier)
			err = copy_own(gt, segs, n);
		if (err > 0)
			err = copy_any(gt, segs, n);
		segs += n;
		count -= n;
	}
	return err;
}

/*
 * The status of the first reference that cannot be read, GNTST_okay if there is none: each gives
 * one byte.
 */
static int probe(struct xen_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count)
{
	struct sr_copy_segment segs[PROBE_BATCH];
	uint8_t byte;

	for (unsigned done = 0; done < count;) {
		unsigned n = count - done < PROBE_BATCH ? count - done : PROBE_BATCH;

		for (unsigned i = 0; i < n; i++) {
			segs[i] =
			    (struct sr_copy_segment){ .len = 1, .flags = SR_COPY_SOURCE_GREF };
			segs[i].source.foreign.ref = refs[done + i];
			segs[i].source.foreign.domid = domid;
			segs[i].dest.virt = &byte;
		}
		if (copy_run(gt, segs, n))
			return GNTST_general_error;
		for (unsigned i = 0; i < n; i++)
			if (segs[i].status != GNTST_okay)
				return segs[i].status;
		done += n;
	}
	return GNTST_okay;
}

/*
 * The kernel says EINVAL whatever it was. A reference that can be read, by copy, and does not map
 * for reading either lacks nothing but room in our maptrack table.
 */
static int why_not(struct xen_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		   int prot, int err)
{
	void *again;

	if (err == ENOMEM)
		return -ENOSPC;
	if (err != EINVAL)
		return -err;
	switch (probe(gt, domid, refs, count)) {
	case GNTST_okay:
		break;
	case GNTST_bad_domain:
		return -ESRCH;
	default:
		return -EINVAL;
	}
	if (!(prot & PROT_WRITE))
		return -ENOSPC;
	again = xengnttab_map_domain_grant_refs(gt->lib, count, domid, (uint32_t *)refs, PROT_READ);
	if (!again)
		return -ENOSPC;
	xengnttab_unmap(gt->lib, again, count);
	return -EINVAL;
}

static int xen_map(struct sr_gnttab *base, uint16_t domid, const uint32_t *refs, unsigned count,
		   int prot, void **addr)
{
	struct xen_gnttab *gt = (struct xen_gnttab *)base;
	void *p;

	if (!count || (prot != PROT_READ && prot != (PROT_READ | PROT_WRITE)))
		return -EINVAL;
	if (sr_spans_reserve(&gt->mapped))
		return -ENOMEM;
	/* The library does not write to the references. */
	p = xengnttab_map_domain_grant_refs(gt->lib, count, domid, (uint32_t *)refs, prot);
	if (!p)
		return why_not(gt, domid, refs, count, prot, errno);
	sr_spans_add(&gt->mapped, p, count);
	*addr = p;
	return 0;
}

static int xen_unmap(struct sr_gnttab *base, void *addr, unsigned count)
{
	struct xen_gnttab *gt = (struct xen_gnttab *)base;

	if (!count || sr_spans_find(&gt->mapped, addr) != count)
		return -EINVAL;
	if (xengnttab_unmap(gt->lib, addr, count))
		return -errno;
	sr_spans_remove(&gt->mapped, addr);
	return 0;
}

static void unmap_one(void *ctx, void *addr, unsigned count)
{
	xengnttab_unmap(ctx, addr, count);
}

static void xen_close(struct sr_gnttab *base)
{
	struct xen_gnttab *gt = (struct xen_gnttab *)base;

	sr_spans_drain(&gt->mapped, unmap_one, gt->lib);
	xengnttab_close(gt->lib);
	sr_xen_copier_free(gt->copier);
	free(gt);
}

static const struct sr_gnttab_ops ops = {
	.close = xen_close,
	.map = xen_map,
	.unmap = xen_unmap,
	.copy = xen_copy,
};

int sr_xen_gnttab_open(struct sr_hypervisor *hv, struct sr_gnttab **out)
{
	struct xen_gnttab *gt = calloc(1, sizeof(*gt));

	if (!gt)
		return -ENOMEM;
	gt->base.ops = &ops;
	gt->own = sr_xen_own(hv);
	errno = 0;
	gt->lib = xengnttab_open(sr_xen_quiet(), 0);
	if (!gt->lib) {
		free(gt);
		return sr_xen_open_error();
	}
	*out = &gt->base;
	return 0;
}
