/* SPDX-License-Identifier: MIT */
/*
 * Which pages of a domain, and which of its grant references, belong to which of its gntshr
 * handles. A handle asks for a run of them now and then and divides it up by itself; so several
 * processes of one domain grant from one table without meeting each other.
 */
#include <errno.h>
#include <stdlib.h>

#include "machine_impl.h"

/* --- runs of bits ---------------------------------------------------------------------------- */

static int bitmap_init(struct sr_bitmap *map, uint32_t bits, uint32_t reserved)
{
	map->words = calloc((bits + 63) / 64, sizeof(*map->words));
	if (!map->words)
		return -ENOMEM;
	map->bits = bits;
	for (uint32_t i = 0; i < reserved && i < bits; i++)
		map->words[i / 64] |= UINT64_C(1) << (i % 64);
	return 0;
}

static bool taken(const struct sr_bitmap *map, uint32_t bit)
{
	return map->words[bit / 64] >> (bit % 64) & 1;
}

/* `limit`: bits at and above it are not to be used. */
static int bitmap_take(struct sr_bitmap *map, uint32_t limit, uint32_t count, uint32_t *first)
{
	uint32_t run = 0;

	for (uint32_t i = 0; i < limit; i++) {
		if (i % 64 == 0 && map->words[i / 64] == UINT64_MAX) {
			run = 0;
			i += 63;
			continue;
		}
		run = taken(map, i) ? 0 : run + 1;
		if (run < count)
			continue;
		*first = i + 1 - count;
		for (i = *first; i < *first + count; i++)
			map->words[i / 64] |= UINT64_C(1) << (i % 64);
		return 0;
	}
	return -ENOSPC;
}

static void bitmap_give(struct sr_bitmap *map, uint32_t first, uint32_t count)
{
	for (uint32_t i = first; i < first + count; i++)
		map->words[i / 64] &= ~(UINT64_C(1) << (i % 64));
}

/* --- estates --------------------------------------------------------------------------------- */

static void give_back(struct sr_bitmap *map, struct sr_range **list)
{
	while (*list) {
		struct sr_range *r = *list;

		*list = r->next;
		bitmap_give(map, r->first, r->count);
		free(r);
	}
}

/* True: nothing of it is granted any more, and all of it is free again. */
static bool wind_up(struct sr_dom *dom, struct sr_estate *estate)
{
	bool busy = false;

	for (struct sr_range *r = estate->refs; r; r = r->next)
		for (uint32_t i = 0; i < r->count; i++)
			if (sr_grant_table_end(dom->table, r->first + i))
				busy = true;
	/* The pages wait for the last reference: we do not know which reference grants which. */
	if (busy)
		return false;
	give_back(&dom->ref_map, &estate->refs);
	give_back(&dom->page_map, &estate->pages);
	free(estate);
	return true;
}

void sr_ranges_sweep(struct sr_dom *dom)
{
	struct sr_estate **at = &dom->lingering;

	while (*at) {
		struct sr_estate *estate = *at;

		*at = estate->next;
		if (wind_up(dom, estate))
			continue;
		estate->next = *at;
		*at = estate;
		at = &estate->next;
	}
}

void sr_ranges_release(struct sr_machine *m, struct sr_conn_state *c)
{
	struct sr_estate *estate = c->estate;

	c->estate = NULL;
	estate->next = c->dom->lingering;
	c->dom->lingering = estate;
	sr_ranges_sweep(c->dom);
	m->untidy |= c->dom->lingering != NULL;
}

bool sr_ranges_own(const struct sr_conn_state *c, uint32_t frame)
{
	for (const struct sr_range *r = c->estate ? c->estate->pages : NULL; r; r = r->next)
		if (frame >= r->first && frame - r->first < r->count)
			return true;
	return false;
}

static uint64_t refs_of(const struct sr_estate *estate)
{
	uint64_t n = 0;

	for (const struct sr_range *r = estate->refs; r; r = r->next)
		n += r->count;
	return n;
}

uint64_t sr_ranges_refs_given(const struct sr_dom *dom)
{
	uint64_t n = 0;

	for (const struct sr_estate *e = dom->lingering; e; e = e->next)
		n += refs_of(e);
	for (const struct sr_conn_state *c = dom->conns; c; c = c->next)
		if (c->estate)
			n += refs_of(c->estate);
	return n;
}

/* --- requests -------------------------------------------------------------------------------- */

static int take(struct sr_dom *dom, struct sr_bitmap *map, uint32_t limit, uint32_t count,
		struct sr_range **list, struct sr_em_reply *reply)
{
	struct sr_range *r;
	int err;

	if (!count || count > limit)
		return -ENOSPC;
	r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	err = bitmap_take(map, limit, count, &r->first);
	if (err) {
		sr_ranges_sweep(dom);
		err = bitmap_take(map, limit, count, &r->first);
	}
	if (err) {
		free(r);
		return err;
	}
	r->count = count;
	r->next = *list;
	*list = r;
	reply->range.first = r->first;
	reply->range.count = count;
	return 0;
}

int sr_ranges_pages(struct sr_machine *m, struct sr_conn_state *c, uint32_t count,
		    struct sr_em_reply *reply)
{
	struct sr_dom *dom = c->dom;

	if (!c->estate)
		return -EINVAL;
	return take(dom, &dom->page_map, dom->page_map.bits, count, &c->estate->pages, reply);
}

/* Grows the table until the run fits. */
int sr_ranges_refs(struct sr_machine *m, struct sr_conn_state *c, uint32_t count,
		   struct sr_em_reply *reply)
{
	struct sr_dom *dom = c->dom;
	uint32_t per_frame = sr_grant_entries(sr_grant_table_version(dom->table), 1);
	int err;

	if (!c->estate)
		return -EINVAL;
	for (;;) {
		uint32_t frames = sr_grant_table_frames(dom->table);

		err = take(dom, &dom->ref_map, frames * per_frame, count, &c->estate->refs, reply);
		if (!err)
			reply->range.frames = frames;
		if (err != -ENOSPC || count > dom->ref_map.bits ||
		    sr_core_setup_table(m->core, dom->domid, DOMID_SELF, frames + 1) != GNTST_okay)
			return err;
		sr_grant_table_grown(dom->table, frames + 1);
	}
}

/* --- a domain's ------------------------------------------------------------------------------ */

int sr_ranges_init(struct sr_machine *m, struct sr_dom *dom)
{
	struct sr_foreign *view = sr_core_domain_view(m->core, dom->domid);
	struct sr_domain_info info;
	int err;

	err = sr_core_domain_info(m->core, dom->domid, &info);
	if (err)
		return err;
	/* Page 0 is left alone, so that a frame number of 0 is never one of ours. */
	err = bitmap_init(&dom->page_map, (uint32_t)info.nr_pages, 1);
	if (!err)
		err = bitmap_init(&dom->ref_map,
				  sr_grant_entries(info.grant_version, info.max_grant_frames),
				  GNTTAB_NR_RESERVED_ENTRIES);
	if (!err)
		err = sr_grant_table_create(view->table, info.max_grant_frames, info.grant_frames,
					    info.grant_version, &dom->table);
	return err;
}

void sr_ranges_fini(struct sr_dom *dom)
{
	while (dom->lingering) {
		struct sr_estate *estate = dom->lingering;

		dom->lingering = estate->next;
		give_back(&dom->ref_map, &estate->refs);
		give_back(&dom->page_map, &estate->pages);
		free(estate);
	}
	sr_grant_table_destroy(dom->table);
	free(dom->page_map.words);
	free(dom->ref_map.words);
	dom->table = NULL;
}
