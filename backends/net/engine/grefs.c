/* SPDX-License-Identifier: MIT */
/* Static grant mappings of a queue: mapped once by message, used without any grant operation. */
#include <errno.h>
#include <sys/mman.h>

#include "engine.h"

_Static_assert((SR_NET_GREF_TABLE & (SR_NET_GREF_TABLE - 1)) == 0, "a mask");
_Static_assert(SR_NET_GREFS < SR_NET_GREF_TABLE, "places stay free");

/* The record follows each change: entry by entry, flags last. */
static void note(struct sr_netq *q, const struct sr_gref_place *p)
{
	struct sr_netq_gref *r = &q->rec->grefs[p - q->grefs.places];

	if (p->flags)
		r->ref = p->ref;
	__atomic_store_n(&r->flags, p->flags, __ATOMIC_RELEASE);
}

static struct sr_gref_place *free_place(struct sr_grefs *g, uint32_t ref)
{
	for (unsigned n = 0; n < SR_NET_GREF_PROBES; n++) {
		struct sr_gref_place *p = &g->places[(ref + n) & (SR_NET_GREF_TABLE - 1)];

		if (!p->flags)
			return p;
	}
	return NULL;
}

static int map(struct sr_netq *q, struct sr_gref_place *p, uint32_t ref, uint32_t flags)
{
	int prot = flags & SR_NETQ_GREF_READ_ONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	void *page;
	int rc = sr_gnttab_map(q->gt, q->domid, &ref, 1, prot, &page);

	if (rc)
		return rc;
	p->ref = ref;
	p->flags = flags;
	p->page = page;
	q->grefs.count++;
	note(q, p);
	return 0;
}

static void unmap(struct sr_netq *q, struct sr_gref_place *p)
{
	sr_gnttab_unmap(q->gt, p->page, 1);
	p->flags = 0;
	p->page = NULL;
	q->grefs.count--;
	note(q, p);
}

/* -EEXIST: it is there already, as it is after a message that a killed process had half done. */
static int add(struct sr_netq *q, const struct xen_netif_gref *entry)
{
	uint32_t flags = SR_NETQ_GREF_USED;
	struct sr_gref_place *p;

	if (entry->flags & ~XEN_NETIF_CTRLF_GREF_readonly)
		return -EINVAL;
	if (entry->flags)
		flags |= SR_NETQ_GREF_READ_ONLY;
	p = sr_grefs_find(&q->grefs, entry->ref);
	if (p)
		return p->flags == flags ? -EEXIST : -EINVAL;
	p = q->grefs.count < SR_NET_GREFS ? free_place(&q->grefs, entry->ref) : NULL;
	return p ? map(q, p, entry->ref, flags) : -ENOSPC;
}

/* One entry of the list; whether there are more to do. All of the list is added or nothing. */
static bool add_next(struct sr_netq *q, struct sr_gref_op *op)
{
	int rc;

	if (op->undo) {
		if (op->next == 0)
			return false;
		op->next--;
		if (op->added[op->next])
			unmap(q, sr_grefs_find(&q->grefs, op->list[op->next].ref));
		return true;
	}
	if (op->next == op->count)
		return false;
	rc = add(q, &op->list[op->next]);
	op->added[op->next] = rc == 0;
	if (rc && rc != -EEXIST) {
		op->status = XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
		op->undo = true;
		return true;
	}
	op->next++;
	return true;
}

static bool del_next(struct sr_netq *q, struct sr_gref_op *op)
{
	struct xen_netif_gref *entry = &op->list[op->next];
	struct sr_gref_place *p;

	if (op->next == op->count)
		return false;
	op->next++;
	p = sr_grefs_find(&q->grefs, entry->ref);
	entry->status = XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
	if (!p)
		return true;
	unmap(q, p);
	entry->status = XEN_NETIF_CTRL_STATUS_SUCCESS;
	op->done++;
	return true;
}

void sr_grefs_do(struct sr_netq *q, struct sr_gref_op *op)
{
	struct sr_netif *n = q->netif;

	/* A few a call: a map may cost system calls, and other guests share the thread. */
	for (unsigned i = 0; i < SR_NET_GREF_BUDGET; i++) {
		if (op->add ? add_next(q, op) : del_next(q, op))
			continue;
		__atomic_store_n(&n->mail[q->set.index], NULL, __ATOMIC_RELAXED);
		__atomic_store_n(&op->finished, true, __ATOMIC_RELEASE);
		/* Detached: there is nobody to answer it. */
		if (n->set.ctrl_wake && __atomic_load_n(&n->ctrl.attached, __ATOMIC_RELAXED))
			n->set.ctrl_wake(n->set.ctx);
		return;
	}
}

void sr_grefs_resume(struct sr_netq *q)
{
	const uint32_t known = SR_NETQ_GREF_USED | SR_NETQ_GREF_READ_ONLY;

	for (unsigned i = 0; i < SR_NET_GREF_TABLE; i++) {
		struct sr_gref_place *p = &q->grefs.places[i];
		struct sr_netq_gref *r = &q->rec->grefs[i];
		uint32_t distance = (i - r->ref) & (SR_NET_GREF_TABLE - 1);

		if (!r->flags)
			continue;
		/* What stands where no look-up finds it is no entry of ours. */
		if (!(r->flags & SR_NETQ_GREF_USED) || (r->flags & ~known) ||
		    distance >= SR_NET_GREF_PROBES || q->grefs.count == SR_NET_GREFS ||
		    map(q, p, r->ref, r->flags))
			r->flags = 0;
	}
}

/* The record keeps them: a connection that goes on maps them again. */
void sr_grefs_unmap_all(struct sr_netq *q)
{
	for (unsigned i = 0; i < SR_NET_GREF_TABLE && q->grefs.count; i++) {
		struct sr_gref_place *p = &q->grefs.places[i];

		if (!p->flags)
			continue;
		sr_gnttab_unmap(q->gt, p->page, 1);
		p->flags = 0;
		q->grefs.count--;
	}
}
