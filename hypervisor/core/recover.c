/* SPDX-License-Identifier: MIT */
/*
 * Giving back what a connection held whose process was killed, at whatever instruction.
 *
 * What is to be restored: the pins of every active entry equal the number of handles, over all
 * connections, whose `mapped` is 1; no lock is held by the dead; no GTF mark stands in a guest's
 * table that pins do not justify.
 *
 * Why it is exact. A kill comes between two instructions; all stores before it have been done, none
 * after it, and the compiler keeps the order where a signal fence, a release or a locked
 * instruction says so.
 *
 * (1) Locks. A connection writes (granter, ref) into a journal slot before it tries to lock that
 * entry, and holds at most one lock a slot. So every entry whose word names the dead connection as
 * its owner is in the journal. The reverse need not hold: a slot may be stale. The word decides, as
 * a connection's id is not given away before recovery is done. (2) Commit. The store which unlocks
 * publishes the new pins. So an entry that is still locked has the pins of before the operation,
 * and one that is not has those after it, or the operation had not begun. (3) Handles. Map sets
 * `mapped` and unmap clears it, both between lock and unlock. If the lock is held, `op` and
 * `handle` in the journal are those of this operation (they are written before the lock, and not
 *     before the unlock of the operation before), and we put `mapped` back to what goes with the
 * pins of before: 0 for a map, 1 for an unmap. If it is not held, `mapped` goes with the pins
 * already. Copy holds locks and no handles. (4) Marks. Only who holds the lock sets or clears them.
 * Under the lock of the dead they may be what the pins of before call for, or have those added or
 * cleared that the operation wanted. We clear all that the pins do not justify. What is missing is
 * missing only for an unmap that had cleared the marks of the last pin of a kind, and that is the
 * pin which (5) takes away next: the guest may see the marks gone before the pin is, but whoever
 * could use the page is dead. (5) Now handles and pins agree, and an ordinary unmap of every handle
 * with `mapped` gives all back.
 *
 * The same serves a connection that was closed in good order: then there is nothing to do.
 */
#include "machine.h"

#include <errno.h>

/* A domain living or dead, as long as its number is taken. */
static struct sr_domain *domain_any(struct sr_core *core, uint32_t domid)
{
	return domid < DOMID_FIRST_RESERVED ? core->domains[domid] : NULL;
}

/* (2) to (4) for one slot. */
static void recover_lock(struct sr_core *core, struct sr_conn *conn, unsigned slot)
{
	const struct sr_journal *j = conn->journal;
	struct sr_domain *d = domain_any(core, atomic_load(&j->lock[slot].granter));
	uint32_t ref = atomic_load(&j->lock[slot].ref), handle, op;
	struct sr_entry e = { .ref = ref };
	uint64_t word;

	if (!d || ref >= sr_grant_entries(1, d->view->max_frames))
		return;
	e.view = d->view;
	e.act = &d->view->active[ref];
	word = atomic_load(&e.act->word);
	if (sr_active_owner(word) != conn->id)
		return;
	e.pins = sr_active_pins(word);
	op = atomic_load(&j->op);
	handle = atomic_load(&j->handle);
	if ((op == SR_JOURNAL_MAP || op == SR_JOURNAL_UNMAP) && handle < conn->capacity)
		atomic_store(&conn->track[handle].mapped, op == SR_JOURNAL_UNMAP);
	/* The version stands still while an entry is locked. 0: about to change, and it waits. */
	e.version = atomic_load(&d->view->header->version);
	e.claimed = GTF_reading | GTF_writing;
	if (e.version == 0)
		e.version = d->version_was;
	sr_entry_close(&e, e.pins);
}

/* The dead process may have been a faulty one: take no handle at its word that leads nowhere. */
static bool handle_sane(struct sr_core *core, const struct sr_maptrack *t)
{
	struct sr_domain *d = domain_any(core, t->granter);
	uint64_t word;

	if (!d || t->ref >= sr_grant_entries(1, d->view->max_frames))
		return false;
	word = atomic_load(&d->view->active[t->ref].word);
	return t->flags & GNTMAP_readonly ? sr_active_readers(word) : sr_active_writers(word);
}

static void hold_view(struct sr_core *core, struct sr_conn *conn, uint16_t granter)
{
	if (conn->held[granter].view)
		return;
	sr_foreign_ref(core->foreigns, core->domains[granter]->view);
	sr_conn_hold(conn, core->domains[granter]->view);
}

bool sr_recover(struct sr_core *core, struct sr_connection *c)
{
	struct sr_conn_params params = {
		.id = c->id, .domid = c->domid, .maptrack_fd = c->fd, .foreigns = core->foreigns
	};
	struct sr_conn *conn;
	bool done = true;

	/* Out of memory: keep it as dying, and try again. */
	if (sr_conn_open(&params, &conn) < 0)
		return false;
	conn->impatient = true;
	for (unsigned slot = 0; slot < SR_JOURNAL_LOCKS; slot++)
		recover_lock(core, conn, slot);
	for (uint32_t h = 0; h < conn->used; h++) {
		struct sr_maptrack *t = &conn->track[h];

		if (!sr_handle_mapped(conn, h))
			continue;
		if (!handle_sane(core, t)) {
			atomic_store(&t->mapped, 0);
			continue;
		}
		hold_view(core, conn, t->granter);
		conn->held[t->granter].mapped++;
		if (sr_unmap_one(conn, h) != GNTST_okay)
			done = false;
	}
	sr_conn_forget(conn);
	return done;
}
