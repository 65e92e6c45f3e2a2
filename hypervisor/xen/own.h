/* SPDX-License-Identifier: MIT */
#ifndef SR_XEN_OWN_H
#define SR_XEN_OWN_H

/*
 * Memory that this domain grants to itself. A grant copy between it and another domain's page names
 * ours by its reference, or by its frame where that is known, so nobody has to look up and pin our
 * page for it: that costs a PV domain more than the copy.
 *
 * Threads: sr_xen_own_alloc() before others look; the rest belongs to any thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <xengnttab.h>

#include <hypervisor.h>

/* Zeroed: none. */
struct sr_xen_own {
	xengntshr_handle *lib;
	uint8_t *base; /* atomic; NULL: none */
	size_t size;
	uint32_t *refs;   /* of each page */
	uint64_t *frames; /* of each page; NULL: they can't be known (frames.h) */
};

/* See sr_hv_copy_memory(). */
int sr_xen_own_alloc(struct sr_xen_own *own, uint16_t domid, unsigned count, void **addr);
void sr_xen_own_free(struct sr_xen_own *own);

static inline bool sr_xen_own_any(const struct sr_xen_own *own)
{
	return __atomic_load_n(&own->base, __ATOMIC_ACQUIRE) != NULL;
}

/* The page that holds these bytes, by its number, and where in it. False: there is not one. */
static inline bool sr_xen_own_find(const struct sr_xen_own *own, const void *p, uint16_t len,
				   size_t *page, uint16_t *offset)
{
	const uint8_t *base = __atomic_load_n(&own->base, __ATOMIC_ACQUIRE);
	uintptr_t at = (uintptr_t)p - (uintptr_t)base;

	if (!base || at >= own->size || at % SR_PAGE_SIZE + len > SR_PAGE_SIZE)
		return false;
	*page = at / SR_PAGE_SIZE;
	*offset = (uint16_t)(at % SR_PAGE_SIZE);
	return true;
}

#endif
