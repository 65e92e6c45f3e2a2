/* SPDX-License-Identifier: MIT */
/* gnttab of guests: the machine process copies for them, and they map nothing. */
#include <errno.h>
#include <stdlib.h>

#include "provider_impl.h"

struct guest_gnttab {
	struct sr_gnttab base;
	struct sr_em_hv *hv;
	struct sr_em_client client;
};

static int guest_map(struct sr_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		     int prot, void **addr)
{
	return -EPERM;
}

static int guest_unmap(struct sr_gnttab *gt, void *addr, unsigned count)
{
	return -EINVAL;
}

static int copy_one(struct guest_gnttab *gt, struct sr_copy_segment *s)
{
	const union sr_copy_ptr *grant = s->flags & SR_COPY_SOURCE_GREF ? &s->source : &s->dest;
	bool to_grant = s->flags & SR_COPY_DEST_GREF;
	bool both = to_grant && s->flags & SR_COPY_SOURCE_GREF;
	bool send = to_grant && !both;
	struct sr_em_request req = { .op = SR_EM_COPY };
	struct sr_em_reply reply;
	int err;

	if (s->len > SR_EM_COPY_MAX || !(s->flags & (SR_COPY_SOURCE_GREF | SR_COPY_DEST_GREF))) {
		s->status = GNTST_bad_copy_arg;
		return 0;
	}
	req.copy = (struct sr_em_copy){ .ref = grant->foreign.ref,
					.domid = sr_em_domid(gt->hv, grant->foreign.domid),
					.offset = grant->foreign.offset,
					.len = s->len,
					.write = to_grant,
					.both = both };
	if (both) {
		req.copy.to_ref = s->dest.foreign.ref;
		req.copy.to_domid = sr_em_domid(gt->hv, s->dest.foreign.domid);
		req.copy.to_offset = s->dest.foreign.offset;
	}
	err = sr_em_call_data(&gt->client, &req, send ? s->source.virt : NULL, send ? s->len : 0,
			      &reply, to_grant ? NULL : s->dest.virt, to_grant ? 0 : s->len);
	if (!err)
		s->status = (int16_t)reply.grant_status;
	return err;
}

static int guest_copy(struct sr_gnttab *base, struct sr_copy_segment *segs, unsigned count)
{
	struct guest_gnttab *gt = (struct guest_gnttab *)base;

	for (unsigned i = 0; i < count; i++) {
		int err = copy_one(gt, &segs[i]);

		/* Once something is copied the caller has to look at each status. */
		if (err && !i)
			return err;
		if (err)
			segs[i].status = GNTST_general_error;
	}
	return 0;
}

static void guest_close(struct sr_gnttab *base)
{
	struct guest_gnttab *gt = (struct guest_gnttab *)base;

	sr_em_disconnect(&gt->client);
	free(gt);
}

static const struct sr_gnttab_ops ops = {
	.close = guest_close,
	.map = guest_map,
	.unmap = guest_unmap,
	.copy = guest_copy,
};

int sr_em_guest_gnttab_open(struct sr_hypervisor *base, struct sr_gnttab **out)
{
	struct sr_em_hv *hv = (struct sr_em_hv *)base;
	struct guest_gnttab *gt = calloc(1, sizeof(*gt));
	struct sr_em_reply reply;
	int err;

	if (!gt)
		return -ENOMEM;
	gt->base.ops = &ops;
	gt->hv = hv;
	err = sr_em_hv_connect(hv, SR_EM_GNTTAB, &gt->client, &reply, NULL, 0);
	if (err) {
		free(gt);
		return err;
	}
	*out = &gt->base;
	return 0;
}
