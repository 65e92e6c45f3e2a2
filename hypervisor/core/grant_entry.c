/* SPDX-License-Identifier: MIT */
/*
 * One grant reference: its lock, the checks on what the guest wrote, and the marks in the guest's
 * table that say it is in use.
 *
 * The guest may change its table at any moment. Flags and domain are read as one 32-bit word,
 * checked, and marked by a compare-and-exchange of that very word (v1), or marked first and checked
 * again after (v2, whose marks lie elsewhere); so an honest guest that found no mark has really
 * withdrawn the grant.
 */
#include "internal.h"

#include <string.h>

#define CLAIM_TRIES 5

/* Flags and domain of either version, seen as one word. */
typedef uint32_t __attribute__((may_alias)) sr_flags_word;

static inline uint16_t word_flags(uint32_t word)
{
	return (uint16_t)word;
}

static inline uint16_t word_domid(uint32_t word)
{
	return (uint16_t)(word >> 16);
}

struct grant_entry_v1 *sr_entry_v1(const struct sr_foreign *view, uint32_t ref)
{
	return (struct grant_entry_v1 *)(view->table + SR_TABLE_GRANT_OFFSET) + ref;
}

union grant_entry_v2 *sr_entry_v2(const struct sr_foreign *view, uint32_t ref)
{
	return (union grant_entry_v2 *)(view->table + SR_TABLE_GRANT_OFFSET) + ref;
}

grant_status_t *sr_entry_status(const struct sr_foreign *view, uint32_t ref)
{
	return (grant_status_t *)view->status_base + ref;
}

void sr_entry_prefetch(const struct sr_foreign *view, uint32_t ref)
{
	if (ref >= sr_grant_entries(1, view->max_frames))
		return;
	__builtin_prefetch(&view->active[ref], 1);
	__builtin_prefetch(sr_entry_v1(view, ref), 1);
}

void sr_entry_prefetch_page(const struct sr_foreign *view, uint32_t ref, uint16_t offset)
{
	uint32_t frame;

	if (ref >= sr_grant_entries(1, view->max_frames))
		return;
	frame = __atomic_load_n(&sr_entry_v1(view, ref)->frame, __ATOMIC_RELAXED);
	if (frame < view->nr_pages && offset < SR_PAGE_SIZE)
		__builtin_prefetch(sr_foreign_page(view, frame) + offset, 1);
}

void sr_journal_begin(struct sr_conn *conn, enum sr_journal_op op, uint32_t handle)
{
	atomic_store_explicit(&conn->journal->handle, handle, memory_order_relaxed);
	atomic_store_explicit(&conn->journal->op, op, memory_order_relaxed);
}

static bool lock_word(struct sr_conn *conn, struct sr_active *act, uint64_t *pins)
{
	uint64_t word = atomic_load_explicit(&act->word, memory_order_relaxed);

	while (sr_active_owner(word) == SR_CONN_NONE)
		/* Acquire: pairs with the release in sr_entry_close. As a whole it is sequentially
		 * consistent, for sr_core_set_version. */
		if (atomic_compare_exchange_weak_explicit(&act->word, &word, word | conn->id,
							  memory_order_seq_cst,
							  memory_order_relaxed)) {
			*pins = word;
			return true;
		}
	return false;
}

static void unlock_word(struct sr_active *act, uint64_t pins)
{
	atomic_store_explicit(&act->word, pins, memory_order_release);
	/* What the next operation notes in the journal must not be written before this store. */
	atomic_signal_fence(memory_order_seq_cst);
}

static int16_t entry_open(struct sr_conn *conn, struct sr_foreign *view, uint32_t ref,
			  unsigned slot, bool wait, struct sr_entry *e)
{
	struct sr_journal_lock *note = &conn->journal->lock[slot];
	uint32_t round = 0;

	if (ref >= sr_grant_entries(1, view->max_frames))
		return GNTST_bad_gntref;
	e->view = view;
	e->ref = ref;
	e->act = &view->active[ref];
	e->flags = e->claimed = 0;
	atomic_store_explicit(&note->granter, view->domid, memory_order_relaxed);
	atomic_store_explicit(&note->ref, ref, memory_order_relaxed);
	for (;;) {
		if (lock_word(conn, e->act, &e->pins)) {
			/* After the lock: sr_core_set_version clears it and then looks at locks. */
			e->version = atomic_load(&view->header->version);
			if (e->version)
				return GNTST_okay;
			unlock_word(e->act, e->pins);
		}
		if (!wait || !sr_conn_wait(conn, &round))
			return GNTST_eagain;
	}
}

int16_t sr_entry_open(struct sr_conn *conn, struct sr_foreign *view, uint32_t ref, unsigned slot,
		      bool wait, struct sr_entry *e)
{
	struct sr_active_header *h = view->header;
	int16_t st = entry_open(conn, view, ref, slot, wait, e);
	uint32_t frames;

	if (st != GNTST_okay)
		return st;
	frames = atomic_load_explicit(&h->frames, memory_order_acquire);
	if (sr_foreign_dead(view))
		st = GNTST_bad_domain;
	else if (ref >= sr_grant_entries(e->version, frames))
		st = GNTST_bad_gntref;
	if (st != GNTST_okay)
		unlock_word(e->act, e->pins);
	return st;
}

int16_t sr_entry_reopen(struct sr_conn *conn, struct sr_foreign *view, uint32_t ref, unsigned slot,
			struct sr_entry *e)
{
	return entry_open(conn, view, ref, slot, true, e);
}

/* Does the guest's word grant `domid` what it asks for? Pins already held settle all but writing.
 */
static bool word_grants(const struct sr_entry *e, uint32_t word, uint16_t domid, bool write,
			enum sr_claim_for purpose)
{
	uint16_t flags = word_flags(word);
	uint16_t type = flags & GTF_type_mask;

	if (write && (flags & GTF_readonly))
		return false;
	if (e->pins)
		return true;
	if (word_domid(word) != domid)
		return false;
	if (purpose == SR_CLAIM_MAP)
		return type == GTF_permit_access && !(flags & GTF_sub_page);
	return type == GTF_permit_access || (type == GTF_transitive && e->version == 2);
}

static int16_t claim_v1(struct sr_entry *e, uint16_t domid, bool write, enum sr_claim_for purpose)
{
	sr_flags_word *shared = (sr_flags_word *)sr_entry_v1(e->view, e->ref);
	uint16_t marks = (uint16_t)(GTF_reading | (write ? GTF_writing : 0));
	uint32_t seen = __atomic_load_n(shared, __ATOMIC_RELAXED);

	/* A few changes under our hands are legal (read-only may come and go), a stream is not. */
	for (int i = 0; i < CLAIM_TRIES; i++) {
		if (!word_grants(e, seen, domid, write, purpose))
			return GNTST_general_error;
		/* Acquire: the frame is read after. Pairs with the guest's write of the flags. */
		if (__atomic_compare_exchange_n(shared, &seen, seen | marks, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
			e->flags = word_flags(seen);
			e->claimed = marks;
			return GNTST_okay;
		}
	}
	return GNTST_general_error;
}

static int16_t claim_v2(struct sr_entry *e, uint16_t domid, bool write, enum sr_claim_for purpose)
{
	sr_flags_word *shared = (sr_flags_word *)sr_entry_v2(e->view, e->ref);
	uint16_t marks = (uint16_t)(GTF_reading | (write ? GTF_writing : 0));
	uint32_t seen = __atomic_load_n(shared, __ATOMIC_RELAXED);

	if (!word_grants(e, seen, domid, write, purpose))
		return GNTST_general_error;
	/* Sequentially consistent, both: pairs with sr_grant_table_end, which clears the flags and
	 * then looks at the marks. One of the two sees the other. */
	__atomic_fetch_or(sr_entry_status(e->view, e->ref), marks, __ATOMIC_SEQ_CST);
	e->claimed = marks;
	seen = __atomic_load_n(shared, __ATOMIC_SEQ_CST);
	e->flags = word_flags(seen);
	return word_grants(e, seen, domid, write, purpose) ? GNTST_okay : GNTST_general_error;
}

int16_t sr_entry_claim(struct sr_entry *e, uint16_t domid, bool write, enum sr_claim_for purpose)
{
	if (e->pins) {
		if (e->act->domid != domid)
			return GNTST_general_error;
		if (!write || sr_active_writers(e->pins))
			return GNTST_okay;
	}
	return e->version == 1 ? claim_v1(e, domid, write, purpose)
			       : claim_v2(e, domid, write, purpose);
}

int16_t sr_entry_frame(const struct sr_entry *e, uint32_t *frame)
{
	uint64_t gfn;

	if (e->pins)
		gfn = e->act->frame;
	else if (e->version == 1)
		gfn = __atomic_load_n(&sr_entry_v1(e->view, e->ref)->frame, __ATOMIC_RELAXED);
	else
		gfn = __atomic_load_n(&sr_entry_v2(e->view, e->ref)->full_page.frame,
				      __ATOMIC_RELAXED);
	if (gfn >= e->view->nr_pages)
		return GNTST_bad_page;
	*frame = (uint32_t)gfn;
	return GNTST_okay;
}

static uint16_t justified(uint64_t pins)
{
	return (uint16_t)((pins ? GTF_reading : 0) | (sr_active_writers(pins) ? GTF_writing : 0));
}

void sr_entry_close(struct sr_entry *e, uint64_t pins)
{
	uint16_t gone = (uint16_t)((e->claimed | justified(e->pins)) & ~justified(pins));

	/* Release: what we read or wrote of the frame is done when the guest finds the marks gone.
	 */
	if (gone && e->version == 1)
		__atomic_fetch_and(&sr_entry_v1(e->view, e->ref)->flags, (uint16_t)~gone,
				   __ATOMIC_RELEASE);
	else if (gone)
		__atomic_fetch_and(sr_entry_status(e->view, e->ref), (uint16_t)~gone,
				   __ATOMIC_RELEASE);
	unlock_word(e->act, pins);
}
