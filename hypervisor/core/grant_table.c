/* SPDX-License-Identifier: MIT */
/* A guest's own grant table. */
#include <core/grant_table.h>

#include <errno.h>
#include <stdlib.h>

struct sr_grant_table {
	uint8_t *entries;
	grant_status_t *status;
	uint32_t version;
	uint32_t frames, max_frames;
	uint32_t fresh; /* references from here on were never given out */
	/* The last freed goes out first. Going round instead, to keep away from the lines that the
	 * backend is working on, made no difference when measured, and touches the whole table. */
	uint32_t nr_free;
	uint32_t *stack; /* as many as the table can ever have */
};

static uint32_t entries_now(const struct sr_grant_table *tab)
{
	return sr_grant_entries(tab->version, tab->frames);
}

int sr_grant_table_create(void *table, uint32_t max_frames, uint32_t frames, uint32_t version,
			  struct sr_grant_table **out)
{
	struct sr_grant_table *tab;

	if (max_frames == 0 || max_frames > SR_GRANT_FRAMES_MAX || frames > max_frames ||
	    (version != 1 && version != 2))
		return -EINVAL;
	tab = calloc(1, sizeof(*tab));
	if (!tab)
		return -ENOMEM;
	tab->stack = malloc(sr_grant_entries(version, max_frames) * sizeof(*tab->stack));
	if (!tab->stack) {
		free(tab);
		return -ENOMEM;
	}
	tab->entries = (uint8_t *)table + SR_TABLE_GRANT_OFFSET;
	tab->status = (grant_status_t *)((uint8_t *)table + sr_table_status_offset(max_frames));
	tab->version = version;
	tab->frames = frames;
	tab->max_frames = max_frames;
	tab->fresh = GNTTAB_NR_RESERVED_ENTRIES;
	*out = tab;
	return 0;
}

void sr_grant_table_destroy(struct sr_grant_table *tab)
{
	if (!tab)
		return;
	free(tab->stack);
	free(tab);
}

int sr_grant_table_grown(struct sr_grant_table *tab, uint32_t frames)
{
	if (frames > tab->max_frames || frames < tab->frames)
		return -EINVAL;
	tab->frames = frames;
	return 0;
}

uint32_t sr_grant_table_free_refs(const struct sr_grant_table *tab)
{
	return tab->nr_free + (entries_now(tab) > tab->fresh ? entries_now(tab) - tab->fresh : 0);
}

uint32_t sr_grant_table_frames(const struct sr_grant_table *tab)
{
	return tab->frames;
}

uint32_t sr_grant_table_version(const struct sr_grant_table *tab)
{
	return tab->version;
}

int sr_grant_table_alloc(struct sr_grant_table *tab, uint32_t *ref)
{
	if (tab->nr_free) {
		*ref = tab->stack[--tab->nr_free];
		return 0;
	}
	if (tab->fresh >= entries_now(tab))
		return -ENOSPC;
	*ref = tab->fresh++;
	return 0;
}

int sr_grant_table_free(struct sr_grant_table *tab, uint32_t ref)
{
	/* Never more than were given out, whatever is freed twice. */
	if (ref < GNTTAB_NR_RESERVED_ENTRIES || ref >= tab->fresh ||
	    tab->nr_free == tab->fresh - GNTTAB_NR_RESERVED_ENTRIES)
		return -EINVAL;
	tab->stack[tab->nr_free++] = ref;
	return 0;
}

static struct grant_entry_v1 *entry_v1(const struct sr_grant_table *tab, uint32_t ref)
{
	return (struct grant_entry_v1 *)tab->entries + ref;
}

static union grant_entry_v2 *entry_v2(const struct sr_grant_table *tab, uint32_t ref)
{
	return (union grant_entry_v2 *)tab->entries + ref;
}

/*
 * The type is what makes an entry valid, so flags are the last to be written. The rest is atomic
 * too: whoever is trying references at that moment reads it, though it will not believe it.
 */
static void publish(uint16_t *flags, uint16_t type, bool readonly)
{
	__atomic_store_n(flags, (uint16_t)(type | (readonly ? GTF_readonly : 0)), __ATOMIC_RELEASE);
}

void sr_grant_table_grant(struct sr_grant_table *tab, uint32_t ref, uint16_t domid, uint64_t gfn,
			  bool readonly)
{
	if (tab->version == 1) {
		struct grant_entry_v1 *e = entry_v1(tab, ref);

		__atomic_store_n(&e->domid, domid, __ATOMIC_RELAXED);
		__atomic_store_n(&e->frame, (uint32_t)gfn, __ATOMIC_RELAXED);
		publish(&e->flags, GTF_permit_access, readonly);
	} else {
		union grant_entry_v2 *e = entry_v2(tab, ref);

		__atomic_store_n(&e->hdr.domid, domid, __ATOMIC_RELAXED);
		__atomic_store_n(&e->full_page.frame, gfn, __ATOMIC_RELAXED);
		publish(&e->hdr.flags, GTF_permit_access, readonly);
	}
}

int sr_grant_table_grant_sub_page(struct sr_grant_table *tab, uint32_t ref, uint16_t domid,
				  uint64_t gfn, uint16_t off, uint16_t len, bool readonly)
{
	union grant_entry_v2 *e;

	if (tab->version != 2)
		return -EOPNOTSUPP;
	e = entry_v2(tab, ref);
	__atomic_store_n(&e->hdr.domid, domid, __ATOMIC_RELAXED);
	__atomic_store_n(&e->sub_page.page_off, off, __ATOMIC_RELAXED);
	__atomic_store_n(&e->sub_page.length, len, __ATOMIC_RELAXED);
	__atomic_store_n(&e->sub_page.frame, gfn, __ATOMIC_RELAXED);
	publish(&e->hdr.flags, GTF_permit_access | GTF_sub_page, readonly);
	return 0;
}

int sr_grant_table_grant_transitive(struct sr_grant_table *tab, uint32_t ref, uint16_t domid,
				    uint16_t trans_domid, uint32_t trans_ref, bool readonly)
{
	union grant_entry_v2 *e;

	if (tab->version != 2)
		return -EOPNOTSUPP;
	e = entry_v2(tab, ref);
	__atomic_store_n(&e->hdr.domid, domid, __ATOMIC_RELAXED);
	__atomic_store_n(&e->transitive.trans_domid, trans_domid, __ATOMIC_RELAXED);
	__atomic_store_n(&e->transitive.gref, trans_ref, __ATOMIC_RELAXED);
	publish(&e->hdr.flags, GTF_transitive, readonly);
	return 0;
}

static int end_v1(struct sr_grant_table *tab, uint32_t ref)
{
	uint16_t *flags = &entry_v1(tab, ref)->flags;
	uint16_t seen = __atomic_load_n(flags, __ATOMIC_RELAXED);

	do
		if (seen & (GTF_reading | GTF_writing))
			return -EBUSY;
	/* Acquire: pairs with the release that took the marks away; the frame is ours again. */
	while (!__atomic_compare_exchange_n(flags, &seen, 0, false, __ATOMIC_ACQ_REL,
					    __ATOMIC_RELAXED));
	return 0;
}

/*
 * v2 has the marks elsewhere: withdraw first, then look whether someone came before. Sequentially
 * consistent, both: pairs with who marks first and then looks whether it is still granted. Where
 * both see each other, the grant stands again and the other one fails.
 */
static int end_v2(struct sr_grant_table *tab, uint32_t ref)
{
	union grant_entry_v2 *e = entry_v2(tab, ref);
	uint16_t was = __atomic_load_n(&e->hdr.flags, __ATOMIC_RELAXED);

	if (sr_grant_table_in_use(tab, ref))
		return -EBUSY;
	__atomic_exchange_n(&e->hdr.flags, 0, __ATOMIC_SEQ_CST);
	if (sr_grant_table_in_use(tab, ref)) {
		__atomic_store_n(&e->hdr.flags, was, __ATOMIC_RELEASE);
		return -EBUSY;
	}
	return 0;
}

int sr_grant_table_end(struct sr_grant_table *tab, uint32_t ref)
{
	return tab->version == 1 ? end_v1(tab, ref) : end_v2(tab, ref);
}

uint16_t sr_grant_table_in_use(const struct sr_grant_table *tab, uint32_t ref)
{
	const uint16_t *word = tab->version == 1 ? &entry_v1(tab, ref)->flags : &tab->status[ref];

	return __atomic_load_n(word, __ATOMIC_SEQ_CST) & (GTF_reading | GTF_writing);
}
