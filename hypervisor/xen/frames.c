/* SPDX-License-Identifier: MIT */
#include "frames.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <xen/xen.h>
#include <xencall.h>

#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/version.h>

#include <hypervisor.h>

#include "xen_impl.h"

#define OPS 128u /* of a hypercall */

/* Memory that Xen can read at any time. */
struct buffer {
	struct gnttab_map_grant_ref map[OPS];
	struct gnttab_unmap_grant_ref unmap[OPS];
	struct xen_feature_info features;
};

#define BUFFER_PAGES ((sizeof(struct buffer) + SR_PAGE_SIZE - 1) / SR_PAGE_SIZE)

/* Is this a domain whose frames are the machine's, and stay what they are? */
static bool are_lasting(xencall_handle *call, struct buffer *b)
{
	b->features = (struct xen_feature_info){ 0 };
	return xencall2(call, __HYPERVISOR_xen_version, XENVER_get_features,
			(uintptr_t)&b->features) >= 0 &&
	       b->features.submap & 1u << XENFEAT_dom0 &&
	       !(b->features.submap & 1u << XENFEAT_auto_translated_physmap);
}

static int grant_op(xencall_handle *call, unsigned cmd, void *ops, unsigned count)
{
	return xencall3(call, __HYPERVISOR_grant_table_op, cmd, (uintptr_t)ops, count) < 0 ? -errno
											   : 0;
}

/* Each by itself: what could not be mapped has nothing to give up. */
static int ask(xencall_handle *call, struct buffer *b, uint16_t domid, const uint32_t *refs,
	       unsigned count, uint64_t *frames)
{
	unsigned mapped = 0;
	int rc;

	for (unsigned i = 0; i < count; i++)
		b->map[i] = (struct gnttab_map_grant_ref){
			.flags = GNTMAP_device_map,
			.ref = refs[i],
			.dom = domid,
			.status = GNTST_general_error,
		};
	rc = grant_op(call, GNTTABOP_map_grant_ref, b->map, count);
	for (unsigned i = 0; i < count; i++) {
		if (b->map[i].status != GNTST_okay)
			continue;
		frames[i] = b->map[i].dev_bus_addr / SR_PAGE_SIZE;
		b->unmap[mapped++] = (struct gnttab_unmap_grant_ref){
			.dev_bus_addr = b->map[i].dev_bus_addr,
			.handle = b->map[i].handle,
		};
	}
	if (mapped && !rc)
		rc = grant_op(call, GNTTABOP_unmap_grant_ref, b->unmap, mapped);
	return rc || mapped == count ? rc : -EINVAL;
}

int sr_xen_frames(uint16_t domid, const uint32_t *refs, unsigned count, uint64_t *frames)
{
	xencall_handle *call;
	struct buffer *b;
	int rc = 0;

	errno = 0;
	call = xencall_open(sr_xen_quiet(), 0);
	if (!call)
		return sr_xen_open_error();
	b = xencall_alloc_buffer_pages(call, BUFFER_PAGES);
	if (!b)
		rc = -ENOMEM;
	else if (!are_lasting(call, b))
		rc = -ENOTSUP;
	for (unsigned done = 0; done < count && !rc;) {
		unsigned n = count - done < OPS ? count - done : OPS;

		rc = ask(call, b, domid, refs + done, n, frames + done);
		done += n;
	}
	if (b)
		xencall_free_buffer_pages(call, b, BUFFER_PAGES);
	xencall_close(call);
	return rc;
}
