/* SPDX-License-Identifier: MIT */
/*
 * How the guest's pages are reached. Which way is the best depends on where we run:
 *
 * - Persistent grants, where the frontend has agreed: mapped once, found in a hash table.
 * - Where a map costs no system call: mapped for this one request.
 * - Else copied by the hypervisor through bounce pages: an unmap is dearer than a copy, as it costs
 *   system calls and a TLB flush. The copies of a whole batch are one call.
 *
 * Bounce pages also serve where the driver can't use guest pages as they lie: blocks or an
 * alignment larger than a sector.
 */
#include <errno.h>
#include <sys/mman.h>

#include "engine.h"

#define SR_PAGE_ROUND(bytes) (((bytes) + SR_PAGE_SIZE - 1) / SR_PAGE_SIZE)

/* --- memory that the thread's queues share ------------------------------------------------------
 */

/* -EAGAIN unless it is our turn. */
static int may_take_memory(const struct sr_blkq *q)
{
	return q->thread->starved && q->thread->starved != q ? -EAGAIN : 0;
}

static int starve(struct sr_blkq *q)
{
	struct sr_blk_thread *t = q->thread;

	if (!q->is_starved) {
		q->is_starved = true;
		q->next_starved = NULL;
		*t->starved_tail = q;
		t->starved_tail = &q->next_starved;
	}
	return -EAGAIN;
}

static void wake_starved(struct sr_blk_thread *t)
{
	if (t->starved)
		sr_thread_wake(t->thread, &t->starved->source);
}

void sr_data_forget(struct sr_blkq *q)
{
	struct sr_blk_thread *t = q->thread;
	struct sr_blkq **p = &t->starved;

	if (!q->is_starved)
		return;
	while (*p != q)
		p = &(*p)->next_starved;
	*p = q->next_starved;
	if (!*p)
		t->starved_tail = p;
	q->is_starved = false;
	wake_starved(t);
}

/*
 * A queue may hold as much as there would be left for the others, and one request's worth in any
 * case. So one guest whose disk hangs takes half of it and no more, the next one half of the rest.
 * Who has reached its share isn't starved: it goes on when a request of its own is done.
 */
static bool within_share(unsigned held, unsigned wanted, unsigned left)
{
	return held == 0 || held + 2 * wanted <= left;
}

static int get_bounce(struct sr_blkq *q, struct sr_io *io, unsigned pages)
{
	struct sr_bounce *b = &q->thread->memory.bounce;

	if (!within_share(q->bounce_held, pages, b->free))
		return -EAGAIN;
	if (!may_take_memory(q))
		io->bounce = sr_bounce_get(b, pages);
	if (!io->bounce)
		return starve(q);
	io->bounce_pages = (uint16_t)pages;
	q->bounce_held += pages;
	return 0;
}

static int get_big(struct sr_blkq *q, struct sr_io *io)
{
	struct sr_memory *m = &q->thread->memory;

	if (!within_share(q->bigs_held, 1, m->big_count))
		return -EAGAIN;
	if (!may_take_memory(q))
		io->big = sr_memory_big_get(m);
	if (!io->big)
		return starve(q);
	io->pages = io->big->pages;
	io->iov = io->big->iov;
	q->bigs_held++;
	return 0;
}

/* --- copies -------------------------------------------------------------------------------------
 */

void sr_data_flush(struct sr_blkq *q)
{
	struct sr_blk_thread *t = q->thread;
	int rc;

	if (!t->copies)
		return;
	rc = sr_gnttab_copy(t->gt, t->copy, t->copies);
	for (unsigned i = 0; i < t->copies; i++)
		if (rc || t->copy[i].status != GNTST_okay)
			t->copy_owner[i]->copy_failed = true;
	sr_stat_add(&q->stats.copies, t->copies);
	t->copies = 0;
}

static void add_copy(struct sr_blkq *q, struct sr_io *io, uint32_t ref, unsigned offset, void *virt,
		     unsigned len, bool in)
{
	struct sr_blk_thread *t = q->thread;
	union sr_copy_ptr foreign = {
		.foreign = { .ref = ref, .offset = (uint16_t)offset, .domid = q->set.domid },
	};
	union sr_copy_ptr own = { .virt = virt };

	if (t->copies == SR_COPY_BATCH)
		sr_data_flush(q);
	t->copy[t->copies] = (struct sr_copy_segment){
		.source = in ? foreign : own,
		.dest = in ? own : foreign,
		.len = (uint16_t)len,
		.flags = in ? SR_COPY_SOURCE_GREF : SR_COPY_DEST_GREF,
	};
	t->copy_owner[t->copies++] = io;
}

void sr_data_copy(struct sr_blkq *q, struct sr_io *io, bool in)
{
	uint8_t *virt = io->bounce + io->pad;

	for (unsigned i = 0; i < io->nsegs; i++) {
		unsigned first = io->segs[i].first_sect;
		unsigned len = (io->segs[i].last_sect - first + 1u) << SR_SECTOR_SHIFT;

		add_copy(q, io, io->segs[i].gref, first << SR_SECTOR_SHIFT, virt, len, in);
		virt += len;
	}
}

/* --- indirect pages -----------------------------------------------------------------------------
 */

/* Copies `count` segments out of one page, by the cheapest way. */
static int read_indirect_page(struct sr_blkq *q, struct sr_io *io, uint32_t ref, unsigned first,
			      unsigned count)
{
	struct blkif_request_segment *segs = io->big->segs + first;
	uint32_t place = SR_PERSISTENT_NONE;
	void *page;

	if (q->persistent.limit)
		place = sr_persistent_get(&q->persistent, ref, &page);
	if (place != SR_PERSISTENT_NONE) {
		sr_blkif_copy_segments(segs, page, count);
		sr_persistent_put(&q->persistent, place);
		return 0;
	}
	if (q->thread->cheap_map) {
		if (sr_gnttab_map(q->thread->gt, q->set.domid, &ref, 1, PROT_READ, &page))
			return -EFAULT;
		sr_blkif_copy_segments(segs, page, count);
		sr_gnttab_unmap(q->thread->gt, page, 1);
		return 0;
	}
	/* The wire's layout of a segment is that of the struct. */
	sr_data_flush(q);
	add_copy(q, io, ref, 0, segs, count * (unsigned)sizeof(*segs), true);
	sr_data_flush(q);
	return io->copy_failed ? -EFAULT : 0;
}

int sr_data_indirect(struct sr_blkq *q, struct sr_io *io)
{
	const struct sr_blkif_request *req = sr_io_request(q, io);
	unsigned left = req->nr_segments;
	int rc = io->big ? 0 : get_big(q, io);

	for (unsigned i = 0; left && !rc; i++) {
		unsigned n = left < SR_BLKIF_SEGS_PER_PAGE ? left : SR_BLKIF_SEGS_PER_PAGE;

		rc = read_indirect_page(q, io, req->grefs[i], i * SR_BLKIF_SEGS_PER_PAGE, n);
		left -= n;
	}
	if (rc)
		return rc;
	io->segs = io->big->segs;
	io->nsegs = req->nr_segments;
	sr_stat_add(&q->stats.indirect, 1);
	return 0;
}

/* --- maps ---------------------------------------------------------------------------------------
 */

/* Appends a piece, to the last one where it goes on there. */
static void add_iov(struct sr_io *io, uint8_t *base, size_t len)
{
	struct iovec *last = &io->iov[io->req.iov_count];

	if (io->req.iov_count) {
		last--;
		if ((uint8_t *)last->iov_base + last->iov_len == base) {
			last->iov_len += len;
			return;
		}
		last++;
	}
	*last = (struct iovec){ base, len };
	io->req.iov_count++;
}

static void put_pages(struct sr_blkq *q, struct sr_io *io)
{
	for (unsigned i = 0; i < io->npages; i++)
		if (io->access == SR_ACCESS_PERSISTENT)
			sr_persistent_put(&q->persistent, (uint32_t)io->pages[i]);
		else
			sr_gnttab_unmap(q->thread->gt, (void *)io->pages[i], 1);
	io->npages = 0;
	io->access = SR_ACCESS_NONE;
}

static int get_page(struct sr_blkq *q, struct sr_io *io, uint32_t ref, int prot, void **page)
{
	if (io->access == SR_ACCESS_PERSISTENT) {
		uint32_t place = sr_persistent_get(&q->persistent, ref, page);

		if (place == SR_PERSISTENT_NONE)
			return -EFAULT;
		io->pages[io->npages++] = place;
		return 0;
	}
	if (sr_gnttab_map(q->thread->gt, q->set.domid, &ref, 1, prot, page))
		return -EFAULT;
	io->pages[io->npages++] = (uintptr_t)*page;
	return 0;
}

static int get_pages(struct sr_blkq *q, struct sr_io *io, enum sr_io_access access)
{
	/* A read is written to the guest's page. */
	int prot = io->job.op == SR_STAT_READ ? PROT_READ | PROT_WRITE : PROT_READ;

	io->access = (uint8_t)access;
	io->req.iov = io->iov;
	io->req.iov_count = 0;
	for (unsigned i = 0; i < io->nsegs; i++) {
		const struct blkif_request_segment *s = &io->segs[i];
		void *page;

		if (get_page(q, io, s->gref, prot, &page)) {
			put_pages(q, io);
			return -EFAULT;
		}
		add_iov(io, (uint8_t *)page + (s->first_sect << SR_SECTOR_SHIFT),
			(s->last_sect - s->first_sect + 1u) << SR_SECTOR_SHIFT);
	}
	if (access == SR_ACCESS_PERSISTENT)
		sr_stat_add(&q->stats.persistent_hits, io->nsegs);
	else
		sr_stat_add(&q->stats.maps, io->nsegs);
	return 0;
}

/* --- all of it ----------------------------------------------------------------------------------
 */

/* Does the driver take the guest's pieces as they lie? */
static bool fits_driver(const struct sr_blkq *q, const struct sr_io *io)
{
	uint32_t len_mask = q->disk->block - 1, base_mask = q->disk->alignment - 1;

	if (q->any_memory)
		return true;
	/* A page's start is aligned to anything up to 4096. */
	if (((io->job.offset | io->job.length) & len_mask) || q->disk->alignment > SR_PAGE_SIZE)
		return false;
	for (unsigned i = 0; i < io->nsegs; i++) {
		uint32_t first = (uint32_t)io->segs[i].first_sect << SR_SECTOR_SHIFT;
		uint32_t len = (io->segs[i].last_sect - io->segs[i].first_sect + 1u)
			       << SR_SECTOR_SHIFT;

		if ((first & base_mask) || (len & len_mask))
			return false;
	}
	return true;
}

/* The whole blocks that the request touches, in one piece of bounce memory. */
static int get_bounced(struct sr_blkq *q, struct sr_io *io)
{
	uint64_t mask = q->disk->block - 1;
	uint64_t begin = io->job.offset & ~mask;
	uint64_t end = (io->job.offset + io->job.length + mask) & ~mask;
	int rc = io->bounce ? 0 : get_bounce(q, io, (unsigned)SR_PAGE_ROUND(end - begin));

	if (rc)
		return rc;
	io->access = SR_ACCESS_BOUNCE;
	io->pad = (uint16_t)(io->job.offset - begin);
	io->iov[0] = (struct iovec){ io->bounce, end - begin };
	io->req.iov = io->iov;
	io->req.iov_count = 1;
	io->rmw = io->job.op != SR_STAT_READ && end - begin != io->job.length;
	/* What is only partly written has to be read before the guest's data go over it. */
	if (io->job.op != SR_STAT_READ && !io->rmw)
		sr_data_copy(q, io, true);
	return 0;
}

int sr_data_get(struct sr_blkq *q, struct sr_io *io)
{
	if (fits_driver(q, io)) {
		if (q->persistent.limit && !get_pages(q, io, SR_ACCESS_PERSISTENT))
			return 0;
		if (q->thread->cheap_map)
			return get_pages(q, io, SR_ACCESS_MAPPED);
	}
	return get_bounced(q, io);
}

void sr_data_put(struct sr_blkq *q, struct sr_io *io)
{
	struct sr_memory *m = &q->thread->memory;

	if (io->access == SR_ACCESS_MAPPED || io->access == SR_ACCESS_PERSISTENT)
		put_pages(q, io);
	if (!io->bounce && !io->big)
		return;
	if (io->bounce) {
		sr_bounce_put(&m->bounce, io->bounce, io->bounce_pages);
		q->bounce_held -= io->bounce_pages;
	}
	if (io->big) {
		sr_memory_big_put(m, io->big);
		q->bigs_held--;
	}
	io->bounce = NULL;
	io->big = NULL;
	wake_starved(q->thread);
}
