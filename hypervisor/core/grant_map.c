/* SPDX-License-Identifier: MIT */
/* GNTTABOP_map_grant_ref and GNTTABOP_unmap_grant_ref. */
#include "internal.h"

#include <string.h>

#define PREFETCH_AHEAD 4

static uint64_t pin_of(uint16_t flags)
{
	return flags & GNTMAP_readonly ? SR_ACTIVE_READ_ONE : SR_ACTIVE_WRITE_ONE;
}

static bool pin_room(uint64_t pins, uint16_t flags)
{
	uint16_t n = flags & GNTMAP_readonly ? sr_active_readers(pins) : sr_active_writers(pins);

	return n < SR_ACTIVE_PIN_MAX;
}

/*
 * The order is what recover.c relies on: the handle counts as mapped before the pin is published,
 * and both lie between lock and unlock.
 */
static int16_t map_locked(struct sr_conn *conn, struct sr_entry *e, uint32_t handle,
			  struct sr_grant_map *op)
{
	struct sr_maptrack *track = &conn->track[handle];
	int16_t st;

	if (!pin_room(e->pins, op->flags))
		return GNTST_general_error;
	st = sr_entry_claim(e, conn->domid, !(op->flags & GNTMAP_readonly), SR_CLAIM_MAP);
	if (st != GNTST_okay)
		return st;
	st = sr_entry_frame(e, &op->frame);
	if (st != GNTST_okay)
		return st;
	if (!e->pins) {
		e->act->frame = op->frame;
		e->act->domid = conn->domid;
	}
	track->ref = op->ref;
	track->granter = op->dom;
	track->flags = op->flags & GNTMAP_readonly;
	track->frame = op->frame;
	atomic_store_explicit(&track->mapped, 1, memory_order_relaxed);
	sr_entry_close(e, e->pins + pin_of(op->flags));
	return GNTST_okay;
}

static int16_t map_in(struct sr_conn *conn, struct sr_foreign *view, uint32_t handle,
		      struct sr_grant_map *op)
{
	struct sr_entry e;
	int16_t st;

	sr_journal_begin(conn, SR_JOURNAL_MAP, handle);
	st = sr_entry_open(conn, view, op->ref, 0, true, &e);
	if (st != GNTST_okay)
		return st;
	st = map_locked(conn, &e, handle, op);
	if (st != GNTST_okay)
		sr_entry_close(&e, e.pins);
	return st;
}

void sr_map_one(struct sr_conn *conn, struct sr_grant_map *op)
{
	struct sr_foreign *view = sr_conn_view(conn, op->dom);
	uint32_t handle;

	op->page = NULL;
	if (!view) {
		op->status = GNTST_bad_domain;
		return;
	}
	if (sr_handle_alloc(conn, &handle) < 0) {
		op->status = GNTST_no_space;
		return;
	}
	op->status = map_in(conn, view, handle, op);
	if (op->status == GNTST_bad_domain && sr_conn_drop_dead(conn, op->dom)) {
		view = sr_conn_view(conn, op->dom);
		if (view)
			op->status = map_in(conn, view, handle, op);
	}
	if (op->status != GNTST_okay) {
		if (!conn->held[op->dom].mapped)
			conn->unsettled = true;
		sr_handle_free(conn, handle);
		return;
	}
	conn->mapped++;
	conn->held[op->dom].mapped++;
	op->handle = handle;
	op->page = view->mem + ((size_t)op->frame << SR_PAGE_SHIFT);
}

int16_t sr_unmap_one(struct sr_conn *conn, uint32_t handle)
{
	struct sr_maptrack *track;
	struct sr_held *held;
	struct sr_entry e;
	int16_t st;

	if (!sr_handle_mapped(conn, handle))
		return GNTST_bad_handle;
	track = &conn->track[handle];
	held = &conn->held[track->granter];
	sr_journal_begin(conn, SR_JOURNAL_UNMAP, handle);
	st = sr_entry_reopen(conn, held->view, track->ref, 0, &e);
	if (st != GNTST_okay)
		return st;
	atomic_store_explicit(&track->mapped, 0, memory_order_relaxed);
	sr_entry_close(&e, e.pins - pin_of(track->flags));
	sr_handle_free(conn, handle);
	conn->mapped--;
	if (!--held->mapped)
		conn->unsettled = true;
	return GNTST_okay;
}

static void prefetch(struct sr_conn *conn, uint16_t dom, uint32_t ref)
{
	if (dom < DOMID_FIRST_RESERVED && conn->held[dom].view)
		sr_entry_prefetch(conn->held[dom].view, ref);
}

void sr_grant_map(struct sr_conn *conn, struct sr_grant_map *ops, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (i + PREFETCH_AHEAD < count)
			prefetch(conn, ops[i + PREFETCH_AHEAD].dom, ops[i + PREFETCH_AHEAD].ref);
		sr_map_one(conn, &ops[i]);
	}
}

void sr_grant_unmap(struct sr_conn *conn, struct sr_grant_unmap *ops, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t ahead = i + PREFETCH_AHEAD < count ? ops[i + PREFETCH_AHEAD].handle : ~0u;

		if (sr_handle_mapped(conn, ahead))
			prefetch(conn, conn->track[ahead].granter, conn->track[ahead].ref);
		ops[i].status = sr_unmap_one(conn, ops[i].handle);
	}
}

void sr_grant_map_abi(struct sr_conn *conn, struct gnttab_map_grant_ref *ops, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct gnttab_map_grant_ref op = ops[i];
		struct sr_grant_map map = { .dom = op.dom,
					    .ref = op.ref,
					    .flags = op.flags & GNTMAP_readonly };

		if (!(op.flags & (GNTMAP_device_map | GNTMAP_host_map))) {
			ops[i].status = GNTST_bad_gntref;
			continue;
		}
		if (op.flags & (GNTMAP_contains_pte | GNTMAP_application_map)) {
			ops[i].status = GNTST_general_error;
			continue;
		}
		sr_map_one(conn, &map);
		ops[i].status = map.status;
		if (map.status == GNTST_okay) {
			ops[i].handle = map.handle;
			ops[i].dev_bus_addr = (uint64_t)map.frame << SR_PAGE_SHIFT;
		}
	}
}

void sr_grant_unmap_abi(struct sr_conn *conn, struct gnttab_unmap_grant_ref *ops, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		ops[i].status = sr_unmap_one(conn, ops[i].handle);
}
