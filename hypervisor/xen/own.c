/* SPDX-License-Identifier: MIT */
#include "own.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "frames.h"
#include "xen_impl.h"

/* The pages that all processes of this domain together may share by gntalloc. */
#define LIMIT "/sys/module/xen_gntalloc/parameters/limit"

/* Makes room for `count` pages more. False: it is not for us to. */
static bool raise_limit(unsigned count)
{
	FILE *file = fopen(LIMIT, "r+e");
	long limit;
	bool done;

	if (!file)
		return false;
	done = fscanf(file, "%ld", &limit) == 1 && limit >= 0;
	rewind(file);
	done = done && fprintf(file, "%ld\n", limit + (long)count) > 0;
	return fclose(file) == 0 && done;
}

/* Without them the pages are named by their references. */
static void find_frames(struct sr_xen_own *own, uint16_t domid, unsigned count)
{
	own->frames = calloc(count, sizeof(*own->frames));
	if (!own->frames || !sr_xen_frames(domid, own->refs, count, own->frames))
		return;
	free(own->frames);
	own->frames = NULL;
}

int sr_xen_own_alloc(struct sr_xen_own *own, uint16_t domid, unsigned count, void **addr)
{
	void *p = NULL;
	int rc = 0;

	if (own->base)
		return -EBUSY;
	if (!count || count > INT32_MAX / SR_PAGE_SIZE)
		return -EINVAL;
	own->refs = calloc(count, sizeof(*own->refs));
	if (!own->refs)
		return -ENOMEM;
	errno = 0;
	own->lib = xengntshr_open(sr_xen_quiet(), 0);
	if (!own->lib)
		rc = sr_xen_open_error();
	if (!rc)
		p = xengntshr_share_pages(own->lib, domid, (int)count, own->refs, 1);
	if (!rc && !p && errno == ENOSPC && raise_limit(count))
		p = xengntshr_share_pages(own->lib, domid, (int)count, own->refs, 1);
	if (!rc && !p)
		rc = errno ? -errno : -ENOMEM;
	if (rc) {
		sr_xen_own_free(own);
		return rc;
	}
	find_frames(own, domid, count);
	own->size = (size_t)count * SR_PAGE_SIZE;
	/* Release: references and frames are there (sr_xen_own_find). */
	__atomic_store_n(&own->base, p, __ATOMIC_RELEASE);
	*addr = p;
	return 0;
}

void sr_xen_own_free(struct sr_xen_own *own)
{
	if (own->base)
		xengntshr_unshare(own->lib, own->base, (uint32_t)(own->size / SR_PAGE_SIZE));
	if (own->lib)
		xengntshr_close(own->lib);
	free(own->frames);
	free(own->refs);
	*own = (struct sr_xen_own){ 0 };
}
