/* SPDX-License-Identifier: MIT */
#include "internal.h"

/*
 * From a caller's request to requests on the ring. Memory that the backend can reach goes as it
 * is; as soon as one iov of a request can't, all of it is copied through the pool.
 */

static uint32_t *piece_grants(struct sr_blkfront_queue *q, uint32_t id)
{
	return q->grants ? q->grants + (size_t)id * q->front->info.max_segments : NULL;
}

static uint32_t *piece_pages(struct sr_blkfront_queue *q, uint32_t id)
{
	return q->pool_used + (size_t)id * q->front->info.max_segments;
}

int sr_front_piece_release(struct sr_blkfront_queue *q, uint32_t id, unsigned flags)
{
	struct sr_front_piece *p = &q->pieces[id];
	int rc = 0;

	if (flags & PIECE_GRANTED) {
		const uint32_t *grants = piece_grants(q, id);

		for (unsigned i = 0; i < p->grants; i++) {
			int end = sr_gntshr_end(q->gs, grants[i]);

			if (end)
				rc = end;
		}
	}
	if (flags & PIECE_BOUNCED) {
		const uint32_t *pages = piece_pages(q, id);

		for (unsigned i = p->pages; i > 0; i--)
			q->pool_free[q->pool_free_count++] = pages[i - 1];
	}
	return rc;
}

/* Bytes of the page-bounded stretch at the cursor. */
static size_t stretch(const struct sr_front_cursor *at)
{
	uintptr_t p = (uintptr_t)at->iov->iov_base + at->pos;
	size_t n = SR_PAGE_SIZE - (p & (SR_PAGE_SIZE - 1)), iov = at->iov->iov_len - at->pos;

	if (n > iov)
		n = iov;
	return n > at->left ? at->left : n;
}

/* How many bytes fit in `max` segments, in whole sectors of the disk; *count: segments of all. */
static size_t span(const struct sr_blkfront_queue *q, struct sr_front_cursor at, unsigned max,
		   unsigned *count)
{
	size_t bytes = 0, n;

	for (*count = 0; at.left && *count < max; ++*count) {
		n = stretch(&at);
		bytes += n;
		sr_front_advance(&at, n);
	}
	return bytes & ~(size_t)(q->front->info.sector_size - 1);
}

/* Segments for memory that the backend can reach; their count or -errno. */
static int fill_direct(struct sr_blkfront_queue *q, struct sr_front_split *s, uint32_t id,
		       unsigned max)
{
	struct sr_front_piece *p = &q->pieces[id];
	bool writable = s->operation == BLKIF_OP_READ;
	unsigned count;
	size_t bytes = s->at.left, n;
	int rc;

	if (stretch(&s->at) != bytes)
		bytes = span(q, s->at, max, &count);
	for (count = 0; bytes; count++, bytes -= n) {
		uint8_t *addr = (uint8_t *)s->at.iov->iov_base + s->at.pos;
		unsigned in_page = (uintptr_t)addr & (SR_PAGE_SIZE - 1);
		struct blkif_request_segment *seg = &q->segs[count];
		struct sr_front_region *region;

		n = stretch(&s->at);
		if (n > bytes)
			n = bytes;
		region = sr_front_region_find(q, addr, n);
		rc = !region ? -EFAULT
			     : sr_front_grant(q, region, addr, writable, piece_grants(q, id),
					      &p->grants, &seg->gref);
		if (rc) {
			(void)sr_front_piece_release(q, id, PIECE_GRANTED);
			return rc;
		}
		seg->first_sect = (uint8_t)(in_page >> SR_SECTOR_SHIFT);
		seg->last_sect = (uint8_t)(((in_page + n) >> SR_SECTOR_SHIFT) - 1);
		sr_front_advance(&s->at, n);
	}
	if (p->grants)
		p->flags |= PIECE_GRANTED;
	return (int)count;
}

/* The same through pages of the pool. -EAGAIN: there are none just now. */
static int fill_bounced(struct sr_blkfront_queue *q, struct sr_front_split *s, uint32_t id,
			unsigned max)
{
	struct sr_front_piece *p = &q->pieces[id];
	bool read = s->operation == BLKIF_OP_READ;
	uint32_t *pages = piece_pages(q, id);
	size_t bytes = s->at.left;
	unsigned count;
	int rc;

	if (max > q->pool_free_count)
		max = q->pool_free_count;
	if (bytes > (size_t)max << SR_PAGE_SHIFT)
		bytes = ((size_t)max << SR_PAGE_SHIFT) & ~(size_t)(q->front->info.sector_size - 1);
	if (!bytes && s->at.left)
		return -EAGAIN;
	q->bounces[id] = (struct sr_front_bounce){ .at = s->at, .bytes = (uint32_t)bytes };
	for (count = 0; bytes; count++) {
		uint32_t page = q->pool_free[--q->pool_free_count];
		uint8_t *addr = q->pool->base + ((size_t)page << SR_PAGE_SHIFT);
		size_t n = bytes < SR_PAGE_SIZE ? bytes : SR_PAGE_SIZE;

		pages[p->pages++] = page;
		rc = sr_front_grant(q, q->pool, addr, read, piece_grants(q, id), &p->grants,
				    &q->segs[count].gref);
		if (rc) {
			(void)sr_front_piece_release(q, id, PIECE_GRANTED | PIECE_BOUNCED);
			return rc;
		}
		q->segs[count].first_sect = 0;
		q->segs[count].last_sect = (uint8_t)((n >> SR_SECTOR_SHIFT) - 1);
		if (read)
			sr_front_advance(&s->at, n);
		else
			sr_front_copy(&s->at, addr, n, true);
		bytes -= n;
	}
	p->flags |= PIECE_BOUNCED;
	if (p->grants)
		p->flags |= PIECE_GRANTED;
	q->stats.bounced++;
	return (int)count;
}

static void put_request(struct sr_blkfront_queue *q, uint32_t id, uint8_t operation,
			uint64_t sector, unsigned count)
{
	struct sr_blkif_request r;

	r.id = id;
	r.sector = sector;
	r.operation = operation;
	r.handle = (uint16_t)q->front->info.vdev;
	r.nr_segments = (uint16_t)count;
	if (count <= BLKIF_MAX_SEGMENTS_PER_REQUEST) {
		for (unsigned i = 0; i < count; i++)
			r.segs[i] = q->segs[i];
	} else {
		unsigned first = id * q->indirect_pages, at = 0;

		r.operation = BLKIF_OP_INDIRECT;
		r.indirect_op = operation;
		for (unsigned i = 0; i < sr_blkif_indirect_pages(count); i++) {
			unsigned n = count - at;

			if (n > SR_BLKIF_SEGS_PER_PAGE)
				n = SR_BLKIF_SEGS_PER_PAGE;
			sr_blkif_put_segments(q->indirect + (size_t)(first + i) * SR_PAGE_SIZE,
					      q->segs + at, n);
			r.grefs[i] = q->indirect_refs[first + i];
			at += n;
		}
	}
	sr_blkif_front_put(&q->ring, &r);
	q->stats.ring_requests++;
}

/* Takes an id for a piece. There is a slot for each id that is free. */
static uint32_t piece_new(struct sr_blkfront_queue *q, uint8_t operation)
{
	uint32_t id = q->free_ids[--q->free_count];
	struct sr_front_piece *p = &q->pieces[id];

	p->head = (uint16_t)id;
	p->left = 0;
	p->error = 0;
	p->grants = 0;
	p->pages = 0;
	p->operation = operation;
	p->flags = 0;
	return id;
}

static unsigned most_segments(struct sr_blkfront_queue *q, const struct sr_front_split *s)
{
	unsigned max = q->front->info.max_segments;

	if (max <= BLKIF_MAX_SEGMENTS_PER_REQUEST || s->operation == BLKIF_OP_WRITE_BARRIER)
		return BLKIF_MAX_SEGMENTS_PER_REQUEST;
	/* Without the memory for it, large requests become many small ones. */
	if (!q->indirect && s->at.left > SR_PAGE_SIZE && sr_front_indirect_new(q))
		return BLKIF_MAX_SEGMENTS_PER_REQUEST;
	return q->indirect ? max : BLKIF_MAX_SEGMENTS_PER_REQUEST;
}

/* Puts one ring request for the data at the cursor. -EAGAIN: no room now. */
static int put_piece(struct sr_blkfront_queue *q, struct sr_front_split *s, uint32_t *id)
{
	uint64_t sector = s->at.offset >> SR_SECTOR_SHIFT;
	int count;

	if (!q->free_count)
		return -EAGAIN;
	*id = piece_new(q, s->operation);
	if (s->bounce)
		count = fill_bounced(q, s, *id, most_segments(q, s));
	else
		count = fill_direct(q, s, *id, most_segments(q, s));
	if (count < 0) {
		q->free_ids[q->free_count++] = (uint16_t)*id;
		return count;
	}
	q->pieces[*id].flags |= PIECE_OUT;
	put_request(q, *id, s->operation, sector, (unsigned)count);
	return 0;
}

bool sr_front_split_more(struct sr_blkfront_queue *q, struct sr_blkfront_done *done)
{
	struct sr_front_split *s = &q->split;
	uint32_t id;
	int rc = 0;

	while (s->at.left) {
		rc = put_piece(q, s, &id);
		if (rc == -EAGAIN)
			return false;
		if (rc)
			break;
		q->pieces[id].head = s->head;
		q->pieces[s->head].left++;
	}
	s->active = false;
	return sr_front_head_done(q, s->head, rc, done);
}

/* May all of it be used where it lies? */
static bool reachable(struct sr_blkfront_queue *q, const struct sr_blkfront_request *req)
{
	for (unsigned i = 0; i < req->iov_count; i++) {
		const struct iovec *iov = &req->iov[i];

		if (((uintptr_t)iov->iov_base | iov->iov_len) & (SR_SECTOR_SIZE - 1))
			return false;
		if (iov->iov_len && !sr_front_region_find(q, iov->iov_base, iov->iov_len))
			return false;
	}
	return true;
}

static int check_range(const struct sr_blkfront_queue *q, uint64_t offset, uint64_t length)
{
	uint64_t size = sr_blkfront_size(q->front);

	if ((offset | length) & (q->front->info.sector_size - 1))
		return -EINVAL;
	return offset <= size && length <= size - offset ? 0 : -EINVAL;
}

/* Requests with data. */
static int submit_data(struct sr_blkfront_queue *q, const struct sr_blkfront_request *req,
		       uint8_t operation)
{
	struct sr_front_split s;
	struct sr_front_piece *head;
	uint64_t length = 0;
	unsigned count;
	uint32_t id;
	int rc;

	for (unsigned i = 0; i < req->iov_count; i++) {
		if (req->iov[i].iov_len > UINT64_MAX - length)
			return -EINVAL;
		length += req->iov[i].iov_len;
	}
	rc = check_range(q, req->offset, length);
	if (rc || (!length && operation != BLKIF_OP_WRITE_BARRIER))
		return rc ? rc : -EINVAL;
	s = (struct sr_front_split){ .operation = operation };
	s.at = (struct sr_front_cursor){ .iov = req->iov, .offset = req->offset, .left = length };
	sr_front_advance(&s.at, 0);
	s.bounce = !reachable(q, req);
	if (s.bounce && !q->pool && (rc = sr_front_pool_new(q)))
		return rc;
	if (operation == BLKIF_OP_WRITE_BARRIER) {
		/* The order is per ring request: a barrier has to be one. */
		count = (unsigned)((length + SR_PAGE_SIZE - 1) >> SR_PAGE_SHIFT);
		if (count > BLKIF_MAX_SEGMENTS_PER_REQUEST)
			return -EINVAL;
		if (s.bounce && count > q->pool_free_count)
			return -EBUSY;
		if (!s.bounce && length &&
		    span(q, s.at, BLKIF_MAX_SEGMENTS_PER_REQUEST, &count) < length)
			return -EINVAL;
	}
	rc = put_piece(q, &s, &id);
	if (rc)
		return rc == -EAGAIN ? -EBUSY : rc;
	head = &q->pieces[id];
	head->tag = req->tag;
	head->left = 1;
	q->requests_out++;
	q->stats.requests++;
	if (s.at.left) {
		struct sr_blkfront_done done;

		head->left = 2;
		s.head = (uint16_t)id;
		s.active = true;
		q->split = s;
		/* The head is out, so the request can't be done here. */
		(void)sr_front_split_more(q, &done);
	}
	return 0;
}

/*
 * The common case, for which submit_data() is too general: one stretch of a page that is
 * granted for good. False: not that case.
 */
static bool submit_page(struct sr_blkfront_queue *q, const struct sr_blkfront_request *req,
			uint8_t operation)
{
	uintptr_t addr = (uintptr_t)req->iov->iov_base;
	size_t length = req->iov->iov_len, in_page = addr & (SR_PAGE_SIZE - 1);
	const struct sr_front_region *region = q->region;
	struct sr_blkif_request r;
	struct sr_front_piece *p;
	size_t at;

	if (!region || !region->refs || !length || length > SR_PAGE_SIZE - in_page ||
	    ((addr | length) & (SR_SECTOR_SIZE - 1)) || check_range(q, req->offset, length))
		return false;
	at = addr - (uintptr_t)region->base;
	if (at >= region->bytes)
		return false;
	r.id = piece_new(q, operation);
	p = &q->pieces[r.id];
	p->tag = req->tag;
	p->left = 1;
	p->flags = PIECE_OUT;
	r.sector = req->offset >> SR_SECTOR_SHIFT;
	r.operation = operation;
	r.handle = (uint16_t)q->front->info.vdev;
	r.nr_segments = 1;
	r.segs[0].gref = region->refs[at >> SR_PAGE_SHIFT];
	r.segs[0].first_sect = (uint8_t)(in_page >> SR_SECTOR_SHIFT);
	r.segs[0].last_sect = (uint8_t)(((in_page + length) >> SR_SECTOR_SHIFT) - 1);
	sr_blkif_front_put(&q->ring, &r);
	q->requests_out++;
	q->stats.requests++;
	q->stats.ring_requests++;
	return true;
}

/* Requests without: flush and discard. */
static int submit_plain(struct sr_blkfront_queue *q, const struct sr_blkfront_request *req,
			uint8_t operation)
{
	struct sr_blkif_request r = {
		.operation = operation,
		.handle = (uint16_t)q->front->info.vdev,
	};
	struct sr_front_piece *head;
	int rc;

	if (operation == BLKIF_OP_DISCARD) {
		rc = check_range(q, req->offset, req->length);
		if (rc || !req->length)
			return rc ? rc : -EINVAL;
		r.sector = req->offset >> SR_SECTOR_SHIFT;
		r.nr_sectors = req->length >> SR_SECTOR_SHIFT;
		r.flag = req->op == SR_BLKFRONT_SECURE_DISCARD ? BLKIF_DISCARD_SECURE : 0;
	}
	r.id = piece_new(q, operation);
	head = &q->pieces[r.id];
	head->tag = req->tag;
	head->left = 1;
	head->flags = PIECE_OUT;
	sr_blkif_front_put(&q->ring, &r);
	q->requests_out++;
	q->stats.requests++;
	q->stats.ring_requests++;
	return 0;
}

int sr_blkfront_submit(struct sr_blkfront_queue *q, const struct sr_blkfront_request *req)
{
	const struct sr_blkfront_info *info = &q->front->info;
	int rc = sr_front_status(q->front);

	if (__builtin_expect(rc, 0))
		return rc;
	if (!q->free_count || q->split.active)
		return -EBUSY;
	if (req->op != SR_BLKFRONT_READ && req->op != SR_BLKFRONT_FLUSH && info->read_only)
		return -EROFS;
	if (req->op <= SR_BLKFRONT_WRITE && req->iov_count == 1 &&
	    submit_page(q, req, req->op == SR_BLKFRONT_READ ? BLKIF_OP_READ : BLKIF_OP_WRITE))
		return 0;
	switch (req->op) {
	case SR_BLKFRONT_READ:
		return submit_data(q, req, BLKIF_OP_READ);
	case SR_BLKFRONT_WRITE:
		return submit_data(q, req, BLKIF_OP_WRITE);
	case SR_BLKFRONT_BARRIER:
		return info->barrier ? submit_data(q, req, BLKIF_OP_WRITE_BARRIER) : -EOPNOTSUPP;
	case SR_BLKFRONT_FLUSH:
		return info->flush ? submit_plain(q, req, BLKIF_OP_FLUSH_DISKCACHE) : -EOPNOTSUPP;
	case SR_BLKFRONT_DISCARD:
		return info->discard ? submit_plain(q, req, BLKIF_OP_DISCARD) : -EOPNOTSUPP;
	case SR_BLKFRONT_SECURE_DISCARD:
		return info->secure_discard ? submit_plain(q, req, BLKIF_OP_DISCARD) : -EOPNOTSUPP;
	}
	return -EINVAL;
}
