/* SPDX-License-Identifier: MIT */
/* Operations on a whole grant table: size, version, swapping. */
#include "machine.h"

#include <errno.h>
#include <string.h>

#define RESERVED GNTTAB_NR_RESERVED_ENTRIES

static int16_t named(struct sr_core *core, uint16_t caller, uint16_t dom, struct sr_domain **d)
{
	int ret = sr_domain_named(core, caller, dom, d);

	if (ret == 0)
		return GNTST_okay;
	return ret == -EPERM ? GNTST_permission_denied : GNTST_bad_domain;
}

int16_t sr_core_setup_table(struct sr_core *core, uint16_t caller, uint16_t dom, uint32_t nr_frames)
{
	struct sr_active_header *h;
	struct sr_domain *d;
	int16_t st = named(core, caller, dom, &d);

	if (st != GNTST_okay)
		return st;
	h = d->view->header;
	if (nr_frames > h->max_frames)
		return GNTST_general_error;
	/* Release: the frames are zero already; only their number is news. */
	if (nr_frames > atomic_load_explicit(&h->frames, memory_order_relaxed))
		atomic_store_explicit(&h->frames, nr_frames, memory_order_release);
	return GNTST_okay;
}

int16_t sr_core_query_size(struct sr_core *core, uint16_t caller, uint16_t dom, uint32_t *nr_frames,
			   uint32_t *max_nr_frames)
{
	struct sr_domain *d;
	int16_t st = named(core, caller, dom, &d);

	if (st != GNTST_okay)
		return st;
	*nr_frames = atomic_load(&d->view->header->frames);
	*max_nr_frames = d->view->header->max_frames;
	return GNTST_okay;
}

int16_t sr_core_get_status_frames(struct sr_core *core, uint16_t caller, uint16_t dom,
				  uint32_t nr_frames)
{
	struct sr_domain *d;
	int16_t st = named(core, caller, dom, &d);

	if (st != GNTST_okay)
		return st;
	if (atomic_load(&d->view->header->version) != 2 ||
	    nr_frames > sr_status_frames(atomic_load(&d->view->header->frames)))
		return GNTST_general_error;
	return GNTST_okay;
}

int sr_core_get_version(struct sr_core *core, uint16_t caller, uint16_t dom, uint32_t *version)
{
	struct sr_domain *d;
	int ret = sr_domain_named(core, caller, dom, &d);

	if (ret == 0)
		*version = atomic_load(&d->view->header->version);
	return ret;
}

/*
 * With the version "changing" nobody locks an entry anew; see that nobody has one locked or, above
 * the reserved ones, pinned. Who locked before sees the change undone or done when it looks next.
 */
static int wait_idle(struct sr_core *core, struct sr_domain *d)
{
	uint32_t n = sr_grant_entries(d->version_was, atomic_load(&d->view->header->frames));
	uint32_t round = 0;

	for (uint32_t ref = 0; ref < n; ref++) {
		_Atomic uint64_t *word = &d->view->active[ref].word;

		while (sr_active_owner(atomic_load(word)) != SR_CONN_NONE)
			if (!sr_conn_wait(&core->self, &round))
				return -EBUSY;
		if (ref >= RESERVED && sr_active_pins(atomic_load(word)))
			return -EBUSY;
	}
	return 0;
}

/* A reserved entry in either version's clothes. The guest may be changing it: one copy of each. */
struct reserved {
	uint16_t flags; /* with GTF_reading and GTF_writing, as v1 has them */
	uint16_t domid;
	uint64_t frame;
};

static bool fits_v1(const struct reserved *r)
{
	uint16_t type = r->flags & GTF_type_mask;

	if (type == GTF_transitive || (type == GTF_permit_access && (r->flags & GTF_sub_page)))
		return false;
	return type == GTF_invalid || r->frame <= UINT32_MAX;
}

static int save_reserved(const struct sr_domain *d, struct reserved *r)
{
	for (uint32_t i = 0; i < RESERVED; i++) {
		if (d->version_was == 1) {
			const struct grant_entry_v1 *e = sr_entry_v1(d->view, i);

			r[i].flags = __atomic_load_n(&e->flags, __ATOMIC_ACQUIRE);
			r[i].domid = __atomic_load_n(&e->domid, __ATOMIC_RELAXED);
			r[i].frame = __atomic_load_n(&e->frame, __ATOMIC_RELAXED);
		} else {
			const union grant_entry_v2 *e = sr_entry_v2(d->view, i);
			uint16_t marks =
			    __atomic_load_n(sr_entry_status(d->view, i), __ATOMIC_RELAXED);

			r[i].flags = __atomic_load_n(&e->hdr.flags, __ATOMIC_ACQUIRE);
			r[i].domid = __atomic_load_n(&e->hdr.domid, __ATOMIC_RELAXED);
			r[i].frame = __atomic_load_n(&e->full_page.frame, __ATOMIC_RELAXED);
			if (!fits_v1(&r[i]))
				return -ERANGE;
			r[i].flags |= marks & (GTF_reading | GTF_writing);
		}
	}
	return 0;
}

static void restore_reserved(const struct sr_domain *d, uint32_t version, const struct reserved *r)
{
	const uint16_t marks = GTF_reading | GTF_writing;

	for (uint32_t i = 0; i < RESERVED; i++) {
		if (version == 1) {
			struct grant_entry_v1 *e = sr_entry_v1(d->view, i);

			e->domid = r[i].domid;
			e->frame = (uint32_t)r[i].frame;
			e->flags = r[i].flags;
		} else {
			union grant_entry_v2 *e = sr_entry_v2(d->view, i);

			*sr_entry_status(d->view, i) = r[i].flags & marks;
			e->hdr.domid = r[i].domid;
			e->full_page.frame = r[i].frame;
			e->hdr.flags = (uint16_t)(r[i].flags & ~marks);
		}
	}
}

static void clear_table(const struct sr_domain *d)
{
	uint32_t frames = atomic_load(&d->view->header->frames);

	memset(d->view->table + SR_TABLE_GRANT_OFFSET, 0, (size_t)frames * SR_PAGE_SIZE);
	memset(d->view->status_base, 0, (size_t)sr_status_frames(frames) * SR_PAGE_SIZE);
}

int sr_core_set_version(struct sr_core *core, uint16_t caller, uint32_t *version)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	struct reserved reserved[RESERVED];
	struct sr_active_header *h;
	uint32_t wish = *version;
	int ret;

	if (!d)
		return -ESRCH;
	if (wish != 1 && wish != 2)
		return -EINVAL;
	h = d->view->header;
	d->version_was = atomic_load(&h->version);
	if (d->version_was == wish)
		return 0;
	atomic_store(&h->version, 0);
	ret = wait_idle(core, d);
	if (ret == 0)
		ret = save_reserved(d, reserved);
	if (ret == 0) {
		clear_table(d);
		restore_reserved(d, wish, reserved);
	}
	*version = ret == 0 ? wish : d->version_was;
	atomic_store(&h->version, *version);
	return ret;
}

static void swap_entries(struct sr_foreign *view, uint32_t version, uint32_t a, uint32_t b)
{
	if (version == 1) {
		struct grant_entry_v1 old = *sr_entry_v1(view, a);

		*sr_entry_v1(view, a) = *sr_entry_v1(view, b);
		*sr_entry_v1(view, b) = old;
	} else {
		union grant_entry_v2 old = *sr_entry_v2(view, a);

		*sr_entry_v2(view, a) = *sr_entry_v2(view, b);
		*sr_entry_v2(view, b) = old;
	}
}

int16_t sr_core_swap_grant_ref(struct sr_core *core, uint16_t caller, uint32_t a, uint32_t b)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	struct sr_entry ea, eb;
	int16_t st;

	if (!d)
		return GNTST_bad_domain;
	st = sr_entry_open(&core->self, d->view, a, 0, true, &ea);
	if (st != GNTST_okay)
		return st;
	if (a == b) {
		sr_entry_close(&ea, ea.pins);
		return GNTST_okay;
	}
	/* Nobody waits with a lock in hand, we neither. */
	st = sr_entry_open(&core->self, d->view, b, 1, false, &eb);
	if (st == GNTST_okay) {
		if (ea.pins || eb.pins)
			st = GNTST_eagain;
		else
			swap_entries(d->view, ea.version, a, b);
		sr_entry_close(&eb, eb.pins);
	}
	sr_entry_close(&ea, ea.pins);
	return st;
}
