/* SPDX-License-Identifier: MIT */
/*
 * What the ways of a request's data cost. "kept": the guest's pages have been mapped before;
 * "copy": the hypervisor copies, one call for all pages; "map": mapped for this request, one call
 * for all pages; "map-singly": a call a page.
 *
 *     request HOW PAGES READ_NS WRITE_NS     by io_uring, a request at a time
 *     page HOW PAGES READ_NS WRITE_NS        a page of so many, without the disk: a byte is touched
 */
#include "datapath.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>

#include <xen/xen.h>

#include <xen/grant_table.h>

enum how { KEPT, COPY, MAP, MAP_SINGLY, HOWS };

static const char *const names[HOWS] = { "kept", "copy", "map", "map-singly" };

struct request {
	enum how how;
	unsigned pages;
	bool write; /* to the disk, so that the guest's pages are read */
	struct iovec iov[DP_PAGES];
	unsigned count;
};

static int copy(struct dp_pages *p, const struct request *r)
{
	struct sr_copy_segment segs[DP_PAGES];
	int err;

	for (unsigned i = 0; i < r->pages; i++) {
		union sr_copy_ptr own = { .virt = p->own + (size_t)i * SR_PAGE_SIZE };
		union sr_copy_ptr guest = {
			.foreign = { .ref = p->refs[i], .offset = 0, .domid = p->domid }
		};

		segs[i] = (struct sr_copy_segment){
			.source = r->write ? guest : own,
			.dest = r->write ? own : guest,
			.len = SR_PAGE_SIZE,
			.flags = r->write ? SR_COPY_SOURCE_GREF : SR_COPY_DEST_GREF,
		};
	}
	err = sr_gnttab_copy(p->gt, segs, r->pages);
	for (unsigned i = 0; i < r->pages && !err; i++)
		err = segs[i].status;
	return err;
}

/* In at most `pages` pieces of `each` pages. */
static int map(struct dp_pages *p, struct request *r, unsigned each)
{
	int prot = r->write ? PROT_READ : PROT_READ | PROT_WRITE, err = 0;

	for (unsigned i = 0; i < r->pages && !err; i += each) {
		void *at;

		err = sr_gnttab_map(p->gt, p->domid, p->refs + i, each, prot, &at);
		if (!err)
			r->iov[r->count++] = (struct iovec){ at, (size_t)each * SR_PAGE_SIZE };
	}
	return err;
}

static int begin(struct dp_pages *p, struct request *r)
{
	r->count = 0;
	switch (r->how) {
	case KEPT:
		for (; r->count < r->pages; r->count++)
			r->iov[r->count] = (struct iovec){ p->each[r->count], SR_PAGE_SIZE };
		return 0;
	case COPY:
		r->iov[r->count++] = (struct iovec){ p->own, (size_t)r->pages * SR_PAGE_SIZE };
		return r->write ? copy(p, r) : 0;
	default:
		return map(p, r, r->how == MAP ? r->pages : 1);
	}
}

static int end(struct dp_pages *p, struct request *r)
{
	int err = 0;

	if (r->how == COPY)
		return r->write ? 0 : copy(p, r);
	for (unsigned i = 0; i < r->count && r->how != KEPT && !err; i++)
		err = sr_gnttab_unmap(p->gt, r->iov[i].iov_base,
				      (unsigned)(r->iov[i].iov_len / SR_PAGE_SIZE));
	return err;
}

static void touch(const struct request *r)
{
	for (unsigned i = 0; i < r->count; i++)
		for (size_t at = 0; at < r->iov[i].iov_len; at += SR_PAGE_SIZE) {
			volatile uint8_t *byte = (uint8_t *)r->iov[i].iov_base + at;

			if (r->write)
				(void)*byte;
			else
				*byte = 1;
		}
}

/* ns a request, or -errno. `disk` NULL: the disk is left out. */
static int64_t measure(struct dp_pages *p, struct dp_disk *disk, struct request *r)
{
	uint64_t start = 0, spent = 0;
	unsigned i = 0;
	int n = 0;

	/* The first finds everything cold. */
	for (; i <= DP_ROUNDS && spent < DP_ENOUGH_NS && n >= 0; i++) {
		if (i == 1)
			start = dp_now_ns();
		n = begin(p, r);
		if (n >= 0 && disk)
			n = dp_transfer(disk, DP_URING, r->write, r->iov, r->count);
		else if (n >= 0)
			touch(r);
		if (n >= 0)
			n = end(p, r);
		if (i)
			spent = dp_now_ns() - start;
	}
	return n < 0 ? n : (int64_t)(spent / (i - 1));
}

static void print_costs(struct dp_pages *p, struct dp_disk *disk)
{
	static const unsigned sizes[] = { 1, 8, DP_PAGES };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (int how = 0; how < HOWS; how++) {
			struct request r = { .how = (enum how)how, .pages = sizes[i] };
			int64_t in = measure(p, disk, &r), out;

			r.write = true;
			out = measure(p, disk, &r);
			printf("%s %s %u %" PRId64 " %" PRId64 "\n", disk ? "request" : "page",
			       names[how], r.pages, disk || in < 0 ? in : in / r.pages,
			       disk || out < 0 ? out : out / r.pages);
		}
}

void dp_requests(struct dp_pages *p, struct dp_disk *disk)
{
	print_costs(p, disk);
}

void dp_page_costs(struct dp_pages *p)
{
	print_costs(p, NULL);
}
