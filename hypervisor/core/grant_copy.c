/* SPDX-License-Identifier: MIT */
/*
 * GNTTABOP_copy. A granted page is used under the lock of its entry, marked in the guest's table,
 * and not pinned: so a death in the middle leaves nothing to count, only a lock to take away
 * (recover.c).
 *
 * A segment may need up to four locks (two sides, each perhaps transitive). None is waited for: if
 * one is taken, all are let go and the segment begins anew. So nobody waits while holding a lock,
 * and no order of locks is needed.
 */
#include "internal.h"

#include <string.h>

/* In segments: a reference's entries are asked for first, and its page when they have come. */
#define ENTRY_AHEAD 8
#define PAGE_AHEAD  4

/* The bytes of a page which may be touched. */
struct window {
	uint8_t *page;
	uint32_t start;
	uint32_t len;
};

enum side_kind { SIDE_VIRT, SIDE_GRANT, SIDE_FRAME };

/* One side of a segment, whichever interface it came through. */
struct side {
	enum side_kind kind;
	uint8_t *virt;
	uint64_t where; /* reference or frame */
	uint16_t domid;
	uint16_t offset;
};

/* What a batch holds locked, and for which granted page (kept while segments stay on it). */
struct claims {
	struct sr_conn *conn;
	struct sr_entry entry[SR_JOURNAL_LOCKS];
	unsigned n;
	struct window from, to;
	bool kept;
	bool kept_write;
	uint16_t kept_domid;
	uint32_t kept_ref;
};

static void release(struct claims *c)
{
	while (c->n) {
		struct sr_entry *e = &c->entry[--c->n];

		sr_entry_close(e, e->pins);
	}
	c->kept = false;
}

static struct sr_entry *already_open(struct claims *c, const struct sr_foreign *view, uint32_t ref)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->entry[i].view == view && c->entry[i].ref == ref)
			return &c->entry[i];
	return NULL;
}

static int16_t open_entry(struct claims *c, uint16_t domid, uint32_t ref, struct sr_entry **out)
{
	struct sr_foreign *view = sr_conn_view(c->conn, domid);
	struct sr_entry *e;
	int16_t st;

	if (!view)
		return GNTST_bad_domain;
	*out = already_open(c, view, ref);
	if (*out)
		return GNTST_okay;
	e = &c->entry[c->n];
	st = sr_entry_open(c->conn, view, ref, c->n, false, e);
	/* A fresh look where a new domain may have got the number; not while we use views. */
	if (st == GNTST_bad_domain && c->n == 0 && domid != c->conn->domid &&
	    sr_conn_drop_dead(c->conn, domid)) {
		view = sr_conn_view(c->conn, domid);
		if (view)
			st = sr_entry_open(c->conn, view, ref, 0, false, e);
	}
	if (st != GNTST_okay)
		return st;
	c->n++;
	*out = e;
	return GNTST_okay;
}

/* Marks add up when both sides use one entry. */
static int16_t claim(struct sr_entry *e, uint16_t domid, bool write)
{
	uint16_t before = e->claimed;
	int16_t st = sr_entry_claim(e, domid, write, SR_CLAIM_COPY);

	e->claimed |= before;
	return st;
}

static int16_t page_window(const struct sr_entry *e, struct window *w)
{
	uint32_t frame;
	int16_t st = sr_entry_frame(e, &frame);

	if (st != GNTST_okay)
		return st;
	w->page = e->view->mem + ((size_t)frame << SR_PAGE_SHIFT);
	w->start = 0;
	w->len = SR_PAGE_SIZE;
	/* A pinned grant is one that was good to map, so it is the whole page. */
	if (!e->pins && e->version == 2 && (e->flags & GTF_sub_page)) {
		const union grant_entry_v2 *g = sr_entry_v2(e->view, e->ref);

		w->start = __atomic_load_n(&g->sub_page.page_off, __ATOMIC_RELAXED);
		w->len = __atomic_load_n(&g->sub_page.length, __ATOMIC_RELAXED);
	}
	return GNTST_okay;
}

static bool is_transitive(const struct sr_entry *e)
{
	return !e->pins && e->version == 2 && (e->flags & GTF_type_mask) == GTF_transitive;
}

/*
 * What `domid` granted to us as `ref`. A transitive grant leads to what another domain granted to
 * `domid`; as on Xen, that has to be a page, not one more step, and not in `domid` itself.
 */
static int16_t open_grant(struct claims *c, uint16_t domid, uint32_t ref, bool write,
			  struct window *w)
{
	const union grant_entry_v2 *g;
	struct sr_entry *e, *far;
	uint16_t far_domid;
	int16_t st;

	st = open_entry(c, domid, ref, &e);
	if (st == GNTST_okay)
		st = claim(e, c->conn->domid, write);
	if (st != GNTST_okay)
		return st;
	if (!is_transitive(e))
		return page_window(e, w);
	g = sr_entry_v2(e->view, ref);
	far_domid = __atomic_load_n(&g->transitive.trans_domid, __ATOMIC_RELAXED);
	if (far_domid == domid)
		return GNTST_general_error;
	st = open_entry(c, far_domid, __atomic_load_n(&g->transitive.gref, __ATOMIC_RELAXED), &far);
	if (st == GNTST_bad_domain)
		return GNTST_general_error;
	if (st == GNTST_okay)
		st = claim(far, domid, write);
	if (st != GNTST_okay)
		return st;
	return is_transitive(far) ? GNTST_general_error : page_window(far, w);
}

static int16_t open_side(struct claims *c, const struct side *s, bool write, struct window *w)
{
	struct sr_foreign *own;

	if (s->kind == SIDE_VIRT) {
		w->page = s->virt;
		w->start = 0;
		w->len = SR_PAGE_SIZE;
		return GNTST_okay;
	}
	if (s->kind == SIDE_GRANT)
		return open_grant(c, s->domid, (uint32_t)s->where, write, w);
	own = sr_conn_view(c->conn, c->conn->domid);
	if (!own)
		return GNTST_bad_domain;
	w->page = sr_foreign_page(own, s->where);
	w->start = 0;
	w->len = SR_PAGE_SIZE;
	return w->page ? GNTST_okay : GNTST_bad_page;
}

static bool inside(const struct side *s, const struct window *w, uint32_t len)
{
	return s->offset >= w->start && s->offset + len <= w->start + w->len;
}

/* May what is locked for the segment before serve this one? Only where one side is a grant. */
static bool reuse(const struct claims *c, const struct side *s, bool write)
{
	return c->kept && s->where == c->kept_ref && s->domid == c->kept_domid &&
	       write == c->kept_write;
}

static int16_t copy_try(struct claims *c, const struct side *src, const struct side *dst,
			uint32_t len)
{
	const struct side *granted = src->kind == SIDE_GRANT ? src : dst;
	bool single = granted->kind == SIDE_GRANT && src->kind != dst->kind;
	bool write = granted == dst;
	int16_t st = GNTST_okay;

	if (single && reuse(c, granted, write)) {
		/* Its window stands as it is. */
		st = write ? open_side(c, src, false, &c->from) : open_side(c, dst, true, &c->to);
	} else {
		release(c);
		st = open_side(c, src, false, &c->from);
		if (st == GNTST_okay)
			st = open_side(c, dst, true, &c->to);
	}
	if (st == GNTST_okay && (!inside(src, &c->from, len) || !inside(dst, &c->to, len)))
		st = GNTST_general_error;
	if (st == GNTST_okay)
		memmove(c->to.page + dst->offset, c->from.page + src->offset, len);
	if (st != GNTST_okay || !single) {
		release(c);
		return st;
	}
	c->kept = true;
	c->kept_write = write;
	c->kept_domid = granted->domid;
	c->kept_ref = (uint32_t)granted->where;
	return st;
}

static int16_t copy_one(struct claims *c, const struct side *src, const struct side *dst,
			uint32_t len)
{
	uint32_t round = 0;
	int16_t st;

	if (src->offset + len > SR_PAGE_SIZE || dst->offset + len > SR_PAGE_SIZE)
		return GNTST_bad_copy_arg;
	do
		st = copy_try(c, src, dst, len);
	while (st == GNTST_eagain && sr_conn_wait(c->conn, &round));
	return st;
}

static void prefetch_side(struct sr_conn *conn, const union sr_copy_side *s, bool page)
{
	const struct sr_foreign *view;

	if (s->grant.domid >= DOMID_FIRST_RESERVED)
		return;
	view = conn->held[s->grant.domid].view;
	if (view && page)
		sr_entry_prefetch_page(view, s->grant.ref, s->grant.offset);
	else if (view)
		sr_entry_prefetch(view, s->grant.ref);
}

/*
 * The guest wrote its table and its page on another core, so each line is a miss; and the locked
 * operations of a segment let the processor begin nothing of the next one.
 */
static void prefetch(struct sr_conn *conn, const struct sr_grant_copy *s, bool page)
{
	if (s->flags & SR_COPY_SOURCE_GRANT)
		prefetch_side(conn, &s->source, page);
	if (s->flags & SR_COPY_DEST_GRANT)
		prefetch_side(conn, &s->dest, page);
}

/* Field by field, here and below: copying a structure just written in pieces stalls on each. */
static void side_of(const struct sr_conn *conn, const union sr_copy_side *from, bool grant,
		    struct side *s)
{
	if (!grant) {
		s->kind = SIDE_VIRT;
		s->virt = from->virt;
		s->offset = 0;
		return;
	}
	s->kind = SIDE_GRANT;
	s->where = from->grant.ref;
	s->domid = from->grant.domid == DOMID_SELF ? conn->domid : from->grant.domid;
	s->offset = from->grant.offset;
}

void sr_grant_copy(struct sr_conn *conn, struct sr_grant_copy *segs, uint32_t count)
{
	struct claims c = { .conn = conn };

	sr_journal_begin(conn, SR_JOURNAL_COPY, 0);
	for (uint32_t i = 0; i < count; i++) {
		struct sr_grant_copy *s = &segs[i];
		struct side src, dst;

		if (i + ENTRY_AHEAD < count)
			prefetch(conn, s + ENTRY_AHEAD, false);
		if (i + PAGE_AHEAD < count)
			prefetch(conn, s + PAGE_AHEAD, true);
		if (!(s->flags & (SR_COPY_SOURCE_GRANT | SR_COPY_DEST_GRANT))) {
			s->status = GNTST_bad_copy_arg;
			continue;
		}
		side_of(conn, &s->source, s->flags & SR_COPY_SOURCE_GRANT, &src);
		side_of(conn, &s->dest, s->flags & SR_COPY_DEST_GRANT, &dst);
		s->status = copy_one(&c, &src, &dst, s->len);
	}
	release(&c);
}

static int16_t side_of_abi(const struct sr_conn *conn, const struct gnttab_copy_ptr *p, bool grant,
			   struct side *s)
{
	s->kind = grant ? SIDE_GRANT : SIDE_FRAME;
	s->where = grant ? p->u.ref : p->u.gmfn;
	s->domid = p->domid == DOMID_SELF ? conn->domid : p->domid;
	s->offset = p->offset;
	return !grant && p->domid != DOMID_SELF ? GNTST_permission_denied : GNTST_okay;
}

void sr_grant_copy_abi(struct sr_conn *conn, struct gnttab_copy *ops, uint32_t count)
{
	struct claims c = { .conn = conn };

	sr_journal_begin(conn, SR_JOURNAL_COPY, 0);
	for (uint32_t i = 0; i < count; i++) {
		struct gnttab_copy op = ops[i];
		struct side src, dst;
		int16_t st;

		st = side_of_abi(conn, &op.source, op.flags & GNTCOPY_source_gref, &src);
		if (st == GNTST_okay)
			st = side_of_abi(conn, &op.dest, op.flags & GNTCOPY_dest_gref, &dst);
		if (st == GNTST_okay)
			st = copy_one(&c, &src, &dst, op.len);
		ops[i].status = st;
	}
	release(&c);
}
