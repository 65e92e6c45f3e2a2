/* SPDX-License-Identifier: MIT */
/*
 * Not linked into anything: compiled once for this machine and once with -m32, it compares
 * mirror.h with what <xen/io/blkif.h> means on each.
 */
#include <stddef.h>
#include <stdint.h>

/* Only prototypes that the Xen header's inline functions want; a freestanding build has no libc. */
void *memcpy(void *to, const void *from, size_t size);

#include <xen/xen.h>

#include <xen/grant_table.h>
#include <xen/io/blkif.h>

#include "mirror.h"

#ifdef __i386__
#define MIRROR(kind) struct mirror_x86_32_##kind
#else
#define MIRROR(kind) struct mirror_x86_64_##kind
#endif

#define SAME(xen, field, kind, ours)                                                               \
	_Static_assert(offsetof(struct xen, field) == offsetof(MIRROR(kind), ours), #field);       \
	_Static_assert(sizeof(((struct xen *)0)->field) == sizeof(((MIRROR(kind) *)0)->ours),      \
		       #field " size")

SAME(blkif_request, operation, rw, operation);
SAME(blkif_request, nr_segments, rw, nr_segments);
SAME(blkif_request, handle, rw, handle);
SAME(blkif_request, id, rw, id);
SAME(blkif_request, sector_number, rw, sector);
SAME(blkif_request, seg, rw, seg);
SAME(blkif_request_discard, operation, discard, operation);
SAME(blkif_request_discard, flag, discard, flag);
SAME(blkif_request_discard, handle, discard, handle);
SAME(blkif_request_discard, id, discard, id);
SAME(blkif_request_discard, sector_number, discard, sector);
SAME(blkif_request_discard, nr_sectors, discard, nr_sectors);
SAME(blkif_request_indirect, operation, indirect, operation);
SAME(blkif_request_indirect, indirect_op, indirect, indirect_op);
SAME(blkif_request_indirect, nr_segments, indirect, nr_segments);
SAME(blkif_request_indirect, id, indirect, id);
SAME(blkif_request_indirect, sector_number, indirect, sector);
SAME(blkif_request_indirect, handle, indirect, handle);
SAME(blkif_request_indirect, indirect_grefs, indirect, grefs);
SAME(blkif_response, id, response, id);
SAME(blkif_response, operation, response, operation);
SAME(blkif_response, status, response, status);
SAME(blkif_sring, req_prod, sring, req_prod);
SAME(blkif_sring, req_event, sring, req_event);
SAME(blkif_sring, rsp_prod, sring, rsp_prod);
SAME(blkif_sring, rsp_event, sring, rsp_event);
SAME(blkif_sring, ring, sring, ring);

_Static_assert(sizeof(struct blkif_response) == sizeof(MIRROR(response)), "size of a response");
_Static_assert(offsetof(struct blkif_request_segment, first_sect) ==
		       offsetof(struct mirror_seg, first_sect) &&
		   offsetof(struct blkif_request_segment, last_sect) ==
		       offsetof(struct mirror_seg, last_sect) &&
		   sizeof(struct blkif_request_segment) == sizeof(struct mirror_seg),
	       "a segment");
