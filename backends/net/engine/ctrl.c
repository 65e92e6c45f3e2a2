/* SPDX-License-Identifier: MIT */
/* The control ring: messages of <xen/io/netif.h>, each checked in our copy and then done. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "engine.h"

#define SR_CTRL_BUDGET 16u /* messages of one call: a key costs a table */

#define HASH_TYPES                                                                                 \
	((uint32_t)(XEN_NETIF_CTRL_HASH_TYPE_IPV4 | XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP |            \
		    XEN_NETIF_CTRL_HASH_TYPE_IPV6 | XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP))

#define INVALID XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER

/* Between the start of a page that the guest granted and our memory, one way or the other. */
static bool copy_page(struct sr_netif *n, uint32_t ref, void *ours, size_t len, bool in)
{
	struct sr_copy_segment s = { .len = (uint16_t)len };

	s.flags = in ? SR_COPY_SOURCE_GREF : SR_COPY_DEST_GREF;
	(in ? &s.source : &s.dest)->foreign.ref = ref;
	(in ? &s.source : &s.dest)->foreign.domid = n->set.domid;
	(in ? &s.dest : &s.source)->virt = ours;
	return sr_gnttab_copy(n->ctrl.gt, &s, 1) == 0 && s.status == GNTST_okay;
}

/* --- hash ---------------------------------------------------------------------------------------
 */

static uint32_t set_algorithm(struct sr_netif *n, uint32_t algorithm)
{
	if (algorithm > XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ)
		return INVALID;
	__atomic_store_n(&n->rec->hash_algorithm, algorithm, __ATOMIC_RELAXED);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static uint32_t set_flags(struct sr_netif *n, uint32_t flags)
{
	if (!sr_netif_hashes(n) || (flags & ~HASH_TYPES))
		return INVALID;
	__atomic_store_n(&n->rec->hash_flags, flags, __ATOMIC_RELAXED);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static uint32_t set_key(struct sr_netif *n, uint32_t ref, uint32_t len)
{
	uint8_t key[SR_NET_HASH_KEY] = { 0 };

	if (len > SR_NET_HASH_KEY)
		return XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW;
	if (len && !copy_page(n, ref, key, len, true))
		return INVALID;
	for (unsigned i = 0; i < SR_NET_HASH_KEY; i++)
		__atomic_store_n(&n->rec->hash_key[i], key[i], __ATOMIC_RELAXED);
	sr_hash_build(n);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static uint32_t set_mapping_size(struct sr_netif *n, uint32_t size)
{
	if (size > SR_NET_HASH_MAPPING)
		return INVALID;
	for (unsigned i = 0; i < SR_NET_HASH_MAPPING; i++)
		__atomic_store_n(&n->rec->hash_mapping[i], 0, __ATOMIC_RELAXED);
	__atomic_store_n(&n->rec->hash_mapping_size, size, __ATOMIC_RELAXED);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static uint32_t set_mapping(struct sr_netif *n, uint32_t ref, uint32_t count, uint32_t offset)
{
	uint32_t entries[SR_NET_HASH_MAPPING];

	if (count > SR_NET_HASH_MAPPING)
		return XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW;
	if ((uint64_t)offset + count > n->rec->hash_mapping_size)
		return INVALID;
	if (count && !copy_page(n, ref, entries, count * sizeof(entries[0]), true))
		return INVALID;
	for (unsigned i = 0; i < count; i++)
		if (entries[i] >= n->set.queues)
			return INVALID;
	for (unsigned i = 0; i < count; i++)
		__atomic_store_n(&n->rec->hash_mapping[offset + i], entries[i], __ATOMIC_RELAXED);
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

/* --- static mappings ----------------------------------------------------------------------------
 */

/* Reads the list and hands it over to the queue. True: it will be answered later. */
static bool begin_list(struct sr_netif *n, const struct xen_netif_ctrl_request *req,
		       uint32_t *status)
{
	struct sr_netif_ctrl *c = &n->ctrl;
	uint32_t queue = req->data[0], count = req->data[2];

	*status = INVALID;
	if (queue >= n->set.queues || !__atomic_load_n(&n->present[queue], __ATOMIC_ACQUIRE))
		return false;
	if (count > sizeof(c->op.list) / sizeof(c->op.list[0])) {
		*status = XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW;
		return false;
	}
	if (count && !copy_page(n, req->data[1], c->op.list, count * sizeof(c->op.list[0]), true))
		return false;
	c->op.add = req->type == XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING;
	c->op.count = count;
	c->op.next = c->op.done = 0;
	c->op.undo = c->op.finished = false;
	c->op.status = XEN_NETIF_CTRL_STATUS_SUCCESS;
	c->list_ref = req->data[1];
	c->request = *req;
	c->waiting = true;
	/* Release: the queue reads the list after it. Pairs with sr_netq_mail(). */
	__atomic_store_n(&n->mail[queue], &c->op, __ATOMIC_RELEASE);
	if (n->set.wake)
		n->set.wake(n->set.ctx, queue);
	return true;
}

static void put(struct sr_netif_ctrl *c, const struct xen_netif_ctrl_request *req, uint32_t status,
		uint32_t data)
{
	struct xen_netif_ctrl_response rsp = { req->id, req->type, status, data };

	sr_netif_ctrl_back_put(&c->back, &rsp);
}

/* The queue has done it. */
static void end_list(struct sr_netif *n)
{
	struct sr_netif_ctrl *c = &n->ctrl;
	uint32_t status = c->op.status;
	size_t len = c->op.count * sizeof(c->op.list[0]);

	c->waiting = false;
	if (!c->op.add && len && !copy_page(n, c->list_ref, c->op.list, len, false))
		status = INVALID;
	put(c, &c->request, status, c->op.add ? 0 : c->op.done);
}

/* --- messages -----------------------------------------------------------------------------------
 */

static uint32_t gref_mapping_size(struct sr_netif *n, uint32_t queue, uint32_t *data)
{
	if (queue >= n->set.queues)
		return INVALID;
	*data = SR_NET_GREFS;
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static uint32_t hash_flags(struct sr_netif *n, uint32_t *data)
{
	if (!sr_netif_hashes(n))
		return XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
	*data = HASH_TYPES;
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

/* Does a message, and answers it unless a queue has to do it. */
static void message(struct sr_netif *n, const struct xen_netif_ctrl_request *req)
{
	uint32_t status = XEN_NETIF_CTRL_STATUS_SUCCESS, data = 0;

	switch (req->type) {
	case XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS:
		status = hash_flags(n, &data);
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS:
		status = set_flags(n, req->data[0]);
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_KEY:
		status = set_key(n, req->data[0], req->data[1]);
		break;
	case XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE:
		data = SR_NET_HASH_MAPPING;
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE:
		status = set_mapping_size(n, req->data[0]);
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING:
		status = set_mapping(n, req->data[0], req->data[1], req->data[2]);
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM:
		status = set_algorithm(n, req->data[0]);
		break;
	case XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE:
		status = gref_mapping_size(n, req->data[0], &data);
		break;
	case XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING:
	case XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING:
		if (begin_list(n, req, &status))
			return;
		break;
	default:
		status = XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
		break;
	}
	put(&n->ctrl, req, status, data);
}

int sr_netif_ctrl_poll(struct sr_netif *n)
{
	struct sr_netif_ctrl *c = &n->ctrl;
	struct xen_netif_ctrl_request req;
	int done = 0;

	if (!c->attached)
		return 0;
	/* Acquire: the result is read after it. Pairs with sr_grefs_do(). */
	if (c->waiting && __atomic_load_n(&c->op.finished, __ATOMIC_ACQUIRE)) {
		end_list(n);
		done++;
	}
	while (!c->broken && !c->waiting && done < (int)SR_CTRL_BUDGET) {
		int pending = sr_ring_back_pending(&c->back.ring);

		if (pending < 0)
			c->broken = true;
		if (pending <= 0)
			break;
		sr_netif_ctrl_back_take(&c->back, &req);
		message(n, &req);
		done++;
	}
	if (sr_ring_back_publish_and_check(&c->back.ring) || c->notify_always)
		sr_evtchn_notify(c->ev, c->port);
	c->notify_always = false;
	return c->broken ? -EPROTO : done;
}

bool sr_netif_ctrl_arm(struct sr_netif *n)
{
	struct sr_netif_ctrl *c = &n->ctrl;

	if (!c->attached || c->broken)
		return false;
	/* Whoever has the list wakes us. */
	if (c->waiting)
		return __atomic_load_n(&c->op.finished, __ATOMIC_ACQUIRE);
	return sr_ring_back_arm(&c->back.ring) != 0;
}

/* --- begin and end ------------------------------------------------------------------------------
 */

int sr_netif_ctrl_attach(struct sr_netif *n, struct sr_gnttab *gt, struct sr_evtchn *ev,
			 uint32_t ref, uint32_t port, bool resume, char *error, size_t error_size)
{
	struct sr_netif_ctrl *c = &n->ctrl;
	const char *what = "map the page that the guest granted";
	uint32_t at;
	int rc;

	c->gt = gt;
	c->ev = ev;
	rc = sr_gnttab_map(gt, n->set.domid, &ref, 1, PROT_READ | PROT_WRITE, &c->page);
	if (rc)
		goto fail;
	what = "use the ring's indices";
	at = sr_ring_shared_rsp_prod(c->page);
	rc = sr_netif_ctrl_back_attach(&c->back, c->page, at, at);
	if (!rc && sr_ring_back_pending(&c->back.ring) < 0)
		rc = -EPROTO;
	if (!rc) {
		what = "bind the guest's event channel";
		rc = sr_evtchn_bind_interdomain(ev, n->set.domid, port, &c->port);
	}
	if (rc) {
		sr_gnttab_unmap(gt, c->page, 1);
		goto fail;
	}
	c->broken = c->waiting = false;
	c->notify_always = resume;
	__atomic_store_n(&c->attached, true, __ATOMIC_RELAXED);
	return 0;
fail:
	snprintf(error, error_size, "control ring: can't %s: %s", what, strerror(-rc));
	return rc;
}

void sr_netif_ctrl_detach(struct sr_netif *n)
{
	struct sr_netif_ctrl *c = &n->ctrl;

	if (!c->attached)
		return;
	sr_evtchn_unbind(c->ev, c->port);
	sr_gnttab_unmap(c->gt, c->page, 1);
	__atomic_store_n(&c->attached, false, __ATOMIC_RELAXED);
}

uint32_t sr_netif_ctrl_port(const struct sr_netif *n)
{
	return n->ctrl.port;
}
