/* SPDX-License-Identifier: MIT */
/* gnttab of trusted domains: the core's operations, in this process. */
#include <embedded/notify.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "provider_impl.h"

#define COPY_BATCH 32u

struct em_gnttab {
	struct sr_gnttab base;
	struct sr_em_hv *hv;
	struct sr_em_client client;
	struct sr_conn *conn;
};

static int em_map(struct sr_gnttab *base, uint16_t domid, const uint32_t *refs, unsigned count,
		  int prot, void **addr)
{
	struct em_gnttab *gt = (struct em_gnttab *)base;
	uint32_t flags = gt->hv->strict ? SR_MAP_STRICT : 0;
	int err;

	if (prot == PROT_READ)
		flags |= SR_MAP_READONLY;
	else if (prot != (PROT_READ | PROT_WRITE))
		return -EINVAL;
	err = sr_conn_map(gt->conn, sr_em_domid(gt->hv, domid), refs, count, flags, NULL, addr);
	if (err)
		sr_conn_settle(gt->conn);
	return err;
}

static int em_unmap(struct sr_gnttab *base, void *addr, unsigned count)
{
	struct em_gnttab *gt = (struct em_gnttab *)base;
	int err = sr_conn_unmap(gt->conn, addr, count);

	/* Whoever is done with a domain may not hold its memory: it may die unnoticed. */
	if (!err)
		sr_conn_settle(gt->conn);
	return err;
}

_Static_assert(sizeof(struct sr_grant_copy) == sizeof(struct sr_copy_segment), "one layout");
_Static_assert(offsetof(struct sr_grant_copy, dest) == offsetof(struct sr_copy_segment, dest) &&
		   offsetof(struct sr_grant_copy, source.grant.domid) ==
		       offsetof(struct sr_copy_segment, source.foreign.domid) &&
		   offsetof(struct sr_grant_copy, flags) ==
		       offsetof(struct sr_copy_segment, flags) &&
		   (int)SR_COPY_SOURCE_GRANT == (int)SR_COPY_SOURCE_GREF &&
		   (int)SR_COPY_DEST_GRANT == (int)SR_COPY_DEST_GREF,
	       "one layout");

static int em_copy(struct sr_gnttab *base, struct sr_copy_segment *segs, unsigned count)
{
	struct em_gnttab *gt = (struct em_gnttab *)base;
	struct sr_grant_copy ops[COPY_BATCH];

	for (unsigned done = 0; done < count;) {
		unsigned n = count - done < COPY_BATCH ? count - done : COPY_BATCH;

		memcpy(ops, segs + done, n * sizeof(*ops));
		for (unsigned i = 0; i < n; i++) {
			if (ops[i].flags & SR_COPY_SOURCE_GRANT)
				ops[i].source.grant.domid =
				    sr_em_domid(gt->hv, ops[i].source.grant.domid);
			if (ops[i].flags & SR_COPY_DEST_GRANT)
				ops[i].dest.grant.domid =
				    sr_em_domid(gt->hv, ops[i].dest.grant.domid);
		}
		sr_grant_copy(gt->conn, ops, n);
		for (unsigned i = 0; i < n; i++)
			segs[done + i].status = ops[i].status;
		done += n;
	}
	return 0;
}

static int em_region(struct sr_gnttab *base, uint16_t domid, void **addr, size_t *len)
{
	struct em_gnttab *gt = (struct em_gnttab *)base;

	if (gt->hv->strict)
		return -ENOTSUP;
	return sr_conn_region(gt->conn, sr_em_domid(gt->hv, domid), addr, len);
}

int sr_em_gnttab_notify(struct sr_gnttab *base, uint16_t domid, uint32_t ref, uint32_t offset,
			uint32_t port, uint32_t *id)
{
	struct em_gnttab *gt = (struct em_gnttab *)base;
	struct sr_em_request req = { .op = SR_EM_NOTICE,
				     .notice = { .domid = sr_em_domid(gt->hv, domid),
						 .ref = ref,
						 .offset = offset,
						 .port = port } };
	struct sr_em_reply reply;
	int err = sr_em_call(&gt->client, &req, &reply, NULL, 0);

	if (!err)
		*id = reply.notice;
	return err;
}

int sr_em_gnttab_fire(struct sr_gnttab *base, uint32_t id)
{
	struct em_gnttab *gt = (struct em_gnttab *)base;
	struct sr_em_request req = { .op = SR_EM_FIRE, .notice = { .id = id } };
	struct sr_em_reply reply;

	return sr_em_call(&gt->client, &req, &reply, NULL, 0);
}

static void em_close(struct sr_gnttab *base)
{
	struct em_gnttab *gt = (struct em_gnttab *)base;

	sr_conn_close(gt->conn);
	sr_em_disconnect(&gt->client);
	free(gt);
}

static const struct sr_gnttab_ops ops = {
	.close = em_close,
	.map = em_map,
	.unmap = em_unmap,
	.copy = em_copy,
	.region = em_region,
};

int sr_em_gnttab_open(struct sr_hypervisor *base, struct sr_gnttab **out)
{
	struct sr_em_hv *hv = (struct sr_em_hv *)base;
	struct em_gnttab *gt = calloc(1, sizeof(*gt));
	struct sr_conn_params params;
	struct sr_em_reply reply;
	int fd, err;

	if (!gt)
		return -ENOMEM;
	gt->base.ops = &ops;
	gt->hv = hv;
	err = sr_em_hv_connect(hv, SR_EM_GNTTAB, &gt->client, &reply, &fd, 1);
	if (err) {
		free(gt);
		return err;
	}
	params = (struct sr_conn_params){ .id = reply.hello.conn,
					  .domid = hv->base.domid,
					  .maptrack_fd = fd,
					  .foreigns = hv->foreigns };
	err = sr_conn_open(&params, &gt->conn);
	close(fd);
	if (err) {
		sr_em_disconnect(&gt->client);
		free(gt);
		return err;
	}
	*out = &gt->base;
	return 0;
}
