/* SPDX-License-Identifier: MIT */
/*
 * gntshr over libxengntshr: /dev/xen/gntalloc on Linux, whose module parameter `limit` (1024 pages)
 * bounds what all of a domain's processes share.
 */
#include <errno.h>
#include <stdlib.h>
#include <xengnttab.h>

#include "spans.h"
#include "xen_impl.h"

struct xen_gntshr {
	struct sr_gntshr base;
	xengntshr_handle *lib;
	struct sr_spans shared;
};

static int xen_share(struct sr_gntshr *base, uint16_t domid, unsigned count, bool writable,
		     uint32_t *refs, void **addr)
{
	struct xen_gntshr *gs = (struct xen_gntshr *)base;
	void *p;

	if (!count || count > INT32_MAX)
		return -EINVAL;
	if (sr_spans_reserve(&gs->shared))
		return -ENOMEM;
	p = xengntshr_share_pages(gs->lib, domid, (int)count, refs, writable);
	if (!p)
		return -errno;
	sr_spans_add(&gs->shared, p, count);
	*addr = p;
	return 0;
}

static int xen_unshare(struct sr_gntshr *base, void *addr, unsigned count)
{
	struct xen_gntshr *gs = (struct xen_gntshr *)base;

	if (!count || sr_spans_find(&gs->shared, addr) != count)
		return -EINVAL;
	if (xengntshr_unshare(gs->lib, addr, count))
		return -errno;
	sr_spans_remove(&gs->shared, addr);
	return 0;
}

static void unshare_one(void *ctx, void *addr, unsigned count)
{
	xengntshr_unshare(ctx, addr, count);
}

static void xen_close(struct sr_gntshr *base)
{
	struct xen_gntshr *gs = (struct xen_gntshr *)base;

	sr_spans_drain(&gs->shared, unshare_one, gs->lib);
	xengntshr_close(gs->lib);
	free(gs);
}

static const struct sr_gntshr_ops ops = {
	.close = xen_close,
	.share = xen_share,
	.unshare = xen_unshare,
};

int sr_xen_gntshr_open(struct sr_hypervisor *hv, struct sr_gntshr **out)
{
	struct xen_gntshr *gs = calloc(1, sizeof(*gs));

	if (!gs)
		return -ENOMEM;
	gs->base.ops = &ops;
	errno = 0;
	gs->lib = xengntshr_open(sr_xen_quiet(), 0);
	if (!gs->lib) {
		free(gs);
		return sr_xen_open_error();
	}
	*out = &gs->base;
	return 0;
}
