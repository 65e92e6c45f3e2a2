/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xen/xen.h>

#include <xen/grant_table.h>

#include "faulty_impl.h"

/* --- gnttab ---------------------------------------------------------------------------------- */

struct faulty_gnttab {
	struct sr_gnttab base;
	struct sr_faulty *hv;
	struct sr_gnttab *inner;
};

static void gnttab_close(struct sr_gnttab *base)
{
	struct faulty_gnttab *gt = (struct faulty_gnttab *)base;

	sr_gnttab_close(gt->inner);
	free(gt);
}

static int gnttab_map(struct sr_gnttab *base, uint16_t domid, const uint32_t *refs, unsigned count,
		      int prot, void **addr)
{
	struct faulty_gnttab *gt = (struct faulty_gnttab *)base;

	if (sr_faulty_strikes(gt->hv, SR_FAULT_MAP))
		return -EIO;
	return sr_gnttab_map(gt->inner, domid, refs, count, prot, addr);
}

static int gnttab_unmap(struct sr_gnttab *base, void *addr, unsigned count)
{
	return sr_gnttab_unmap(((struct faulty_gnttab *)base)->inner, addr, count);
}

static int gnttab_copy(struct sr_gnttab *base, struct sr_copy_segment *segs, unsigned count)
{
	struct faulty_gnttab *gt = (struct faulty_gnttab *)base;
	unsigned start = 0;

	if (sr_faulty_strikes(gt->hv, SR_FAULT_COPY))
		return -EIO;
	/* The runs of segments between those that fail. */
	for (unsigned i = 0; i <= count; i++) {
		bool end = i == count,
		     bad = !end && sr_faulty_strikes(gt->hv, SR_FAULT_COPY_SEGMENT);
		int err;

		if (!end && !bad)
			continue;
		err = i > start ? sr_gnttab_copy(gt->inner, segs + start, i - start) : 0;
		if (err && !start)
			return err;
		for (unsigned n = start; err && n < i; n++)
			segs[n].status = GNTST_general_error;
		if (bad)
			segs[i].status = GNTST_general_error;
		start = i + 1;
	}
	return 0;
}

static int gnttab_region(struct sr_gnttab *base, uint16_t domid, void **addr, size_t *len)
{
	return sr_gnttab_region(((struct faulty_gnttab *)base)->inner, domid, addr, len);
}

static const struct sr_gnttab_ops gnttab_ops = {
	.close = gnttab_close,
	.map = gnttab_map,
	.unmap = gnttab_unmap,
	.copy = gnttab_copy,
	.region = gnttab_region,
};

static int gnttab_open(struct sr_hypervisor *base, struct sr_gnttab **out)
{
	struct sr_faulty *hv = (struct sr_faulty *)base;
	struct faulty_gnttab *gt = calloc(1, sizeof(*gt));
	int err;

	if (!gt)
		return -ENOMEM;
	gt->base.ops = &gnttab_ops;
	gt->hv = hv;
	err = sr_gnttab_open(hv->inner, &gt->inner);
	if (err)
		free(gt);
	else
		*out = &gt->base;
	return err;
}

/* --- gntshr ---------------------------------------------------------------------------------- */

struct faulty_gntshr {
	struct sr_gntshr base;
	struct sr_faulty *hv;
	struct sr_gntshr *inner;
};

static void gntshr_close(struct sr_gntshr *base)
{
	struct faulty_gntshr *gs = (struct faulty_gntshr *)base;

	sr_gntshr_close(gs->inner);
	free(gs);
}

static int gntshr_share(struct sr_gntshr *base, uint16_t domid, unsigned count, bool writable,
			uint32_t *refs, void **addr)
{
	struct faulty_gntshr *gs = (struct faulty_gntshr *)base;

	if (sr_faulty_strikes(gs->hv, SR_FAULT_SHARE))
		return -ENOSPC;
	return sr_gntshr_share(gs->inner, domid, count, writable, refs, addr);
}

static int gntshr_unshare(struct sr_gntshr *base, void *addr, unsigned count)
{
	return sr_gntshr_unshare(((struct faulty_gntshr *)base)->inner, addr, count);
}

static int gntshr_alloc(struct sr_gntshr *base, unsigned count, void **addr)
{
	struct faulty_gntshr *gs = (struct faulty_gntshr *)base;

	if (sr_faulty_strikes(gs->hv, SR_FAULT_SHARE))
		return -ENOSPC;
	return sr_gntshr_alloc(gs->inner, count, addr);
}

static int gntshr_free(struct sr_gntshr *base, void *addr, unsigned count)
{
	return sr_gntshr_free(((struct faulty_gntshr *)base)->inner, addr, count);
}

static int gntshr_grant(struct sr_gntshr *base, uint16_t domid, void *addr, bool writable,
			uint32_t *ref)
{
	struct faulty_gntshr *gs = (struct faulty_gntshr *)base;

	if (sr_faulty_strikes(gs->hv, SR_FAULT_SHARE))
		return -ENOSPC;
	return sr_gntshr_grant(gs->inner, domid, addr, writable, ref);
}

static int gntshr_end(struct sr_gntshr *base, uint32_t ref)
{
	return sr_gntshr_end(((struct faulty_gntshr *)base)->inner, ref);
}

static const struct sr_gntshr_ops gntshr_ops = {
	.close = gntshr_close,
	.share = gntshr_share,
	.unshare = gntshr_unshare,
	.alloc = gntshr_alloc,
	.free = gntshr_free,
	.grant = gntshr_grant,
	.end = gntshr_end,
};

static int gntshr_open(struct sr_hypervisor *base, struct sr_gntshr **out)
{
	struct sr_faulty *hv = (struct sr_faulty *)base;
	struct faulty_gntshr *gs = calloc(1, sizeof(*gs));
	int err;

	if (!gs)
		return -ENOMEM;
	gs->base.ops = &gntshr_ops;
	gs->hv = hv;
	err = sr_gntshr_open(hv->inner, &gs->inner);
	if (err)
		free(gs);
	else
		*out = &gs->base;
	return err;
}

/* --- the instance ---------------------------------------------------------------------------- */

static int faulty_store_path(struct sr_hypervisor *base, char *path, size_t size)
{
	return sr_hv_store_path(((struct sr_faulty *)base)->inner, path, size);
}

static int faulty_grant_entries(struct sr_hypervisor *base, uint16_t domid, unsigned *entries)
{
	return sr_hv_grant_entries(((struct sr_faulty *)base)->inner, domid, entries);
}

static void faulty_close(struct sr_hypervisor *base)
{
	struct sr_faulty *hv = (struct sr_faulty *)base;

	sr_faulty_join_proxies(hv);
	pthread_mutex_destroy(&hv->lock);
	sr_hv_close(hv->inner);
	free(hv);
}

static const struct sr_hypervisor_ops faulty_ops = {
	.close = faulty_close,
	.xenstore = sr_faulty_xenstore,
	.store_path = faulty_store_path,
	.grant_entries = faulty_grant_entries,
	.gnttab_open = gnttab_open,
	.gntshr_open = gntshr_open,
	.evtchn_open = sr_faulty_evtchn_open,
};

int sr_faulty_count(struct sr_hypervisor *base, enum sr_fault kind, uint64_t *count)
{
	if (base->ops != &faulty_ops || kind >= SR_FAULTS)
		return -EINVAL;
	*count = atomic_load(&((struct sr_faulty *)base)->plans[kind].faults);
	return 0;
}

static int faulty_open(const char *rest, struct sr_hypervisor **out)
{
	const char *colon = strchr(rest, ':');
	struct sr_faulty *hv;
	int err;

	if (!colon)
		return -EINVAL;
	hv = calloc(1, sizeof(*hv));
	if (!hv)
		return -ENOMEM;
	pthread_mutex_init(&hv->lock, NULL);
	err = sr_faulty_parse(rest, (size_t)(colon - rest), hv);
	if (!err)
		err = sr_hv_open(colon + 1, &hv->inner);
	if (err) {
		pthread_mutex_destroy(&hv->lock);
		free(hv);
		return err;
	}
	hv->base.ops = &faulty_ops;
	hv->base.caps = sr_hv_caps(hv->inner);
	hv->base.domid = sr_hv_domid(hv->inner);
	*out = &hv->base;
	return 0;
}

const struct sr_provider sr_provider_faulty = { .scheme = "faulty", .open = faulty_open };
