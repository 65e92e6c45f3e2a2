/* SPDX-License-Identifier: MIT */
/*
 * gntshr: pages of the domain's own memory and entries of its own grant table. The machine hands
 * both out in runs (ranges.c); within its runs a handle needs nobody.
 */
#include <core/grant_table.h>
#include <embedded/notify.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "provider_impl.h"

#define PAGE_RUN 256u /* pages asked for at a time, if so many are to be had */
#define REF_RUN  256u
#define REF_MIN  16u

struct page {
	uint16_t grants; /* references that grant it now */
	bool used;       /* given to the caller */
	bool shared;     /* by share(): the fields below say how */
	bool writable;
	uint16_t domid;
	uint32_t ref;
};

struct run {
	struct run *next;
	uint32_t first, count;
};

struct em_gntshr {
	struct sr_gntshr base;
	struct sr_em_hv *hv;
	struct sr_em_client client;
	uint8_t *mem; /* all of the domain's memory */
	size_t mem_size;
	void *table_map;
	size_t table_size;
	struct sr_grant_table *table;
	uint64_t nr_pages;
	struct page *pages;  /* by frame number */
	struct run *runs;    /* of pages that are ours */
	uint32_t nr_entries; /* references that the table may ever have */
	uint32_t *frame_of;  /* by reference: the frame that it grants; 0: none */
	uint32_t *free_refs; /* a stack */
	uint32_t nr_free_refs;
};

/* --- references ------------------------------------------------------------------------------ */

static int more_refs(struct em_gntshr *gs)
{
	struct sr_em_request req = { .op = SR_EM_REFS };
	struct sr_em_reply reply;
	int err = -ENOSPC;

	for (uint32_t n = REF_RUN; err == -ENOSPC && n >= REF_MIN; n /= 2) {
		req.amount.count = n;
		err = sr_em_call(&gs->client, &req, &reply, NULL, 0);
	}
	if (err)
		return err;
	sr_grant_table_grown(gs->table, reply.range.frames);
	for (uint32_t i = reply.range.count; i-- > 0;)
		gs->free_refs[gs->nr_free_refs++] = reply.range.first + i;
	return 0;
}

static int grant_page(struct em_gntshr *gs, uint16_t domid, uint32_t gfn, bool writable,
		      uint32_t *ref)
{
	int err = gs->nr_free_refs ? 0 : more_refs(gs);

	if (err)
		return err;
	*ref = gs->free_refs[--gs->nr_free_refs];
	sr_grant_table_grant(gs->table, *ref, sr_em_domid(gs->hv, domid), gfn, !writable);
	gs->frame_of[*ref] = gfn;
	gs->pages[gfn].grants++;
	return 0;
}

static int end_ref(struct em_gntshr *gs, uint32_t ref)
{
	int err;

	if (ref >= gs->nr_entries || !gs->frame_of[ref])
		return -EINVAL;
	err = sr_grant_table_end(gs->table, ref);
	if (err)
		return err;
	gs->pages[gs->frame_of[ref]].grants--;
	gs->frame_of[ref] = 0;
	gs->free_refs[gs->nr_free_refs++] = ref;
	return 0;
}

/* --- pages ----------------------------------------------------------------------------------- */

static int more_pages(struct em_gntshr *gs, uint32_t count, struct run **out)
{
	struct sr_em_request req = { .op = SR_EM_PAGES };
	struct run *run = malloc(sizeof(*run));
	struct sr_em_reply reply;
	int err;

	if (!run)
		return -ENOMEM;
	req.amount.count = count > PAGE_RUN ? count : PAGE_RUN;
	err = sr_em_call(&gs->client, &req, &reply, NULL, 0);
	if (err == -ENOSPC && count < PAGE_RUN) {
		req.amount.count = count;
		err = sr_em_call(&gs->client, &req, &reply, NULL, 0);
	}
	if (err) {
		free(run);
		return err;
	}
	run->first = reply.range.first;
	run->count = reply.range.count;
	run->next = gs->runs;
	gs->runs = run;
	*out = run;
	return 0;
}

/* The first of `count` unused pages that follow each other; false: none in this run. */
static bool find_in(const struct em_gntshr *gs, const struct run *run, uint32_t count,
		    uint32_t *gfn)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < run->count; i++) {
		found = gs->pages[run->first + i].used ? 0 : found + 1;
		if (found == count) {
			*gfn = run->first + i + 1 - count;
			return true;
		}
	}
	return false;
}

static int alloc_pages(struct em_gntshr *gs, unsigned count, uint32_t *gfn)
{
	struct run *run;
	int err;

	if (!count || count > gs->nr_pages)
		return count ? -ENOSPC : -EINVAL;
	for (run = gs->runs; run; run = run->next)
		if (find_in(gs, run, count, gfn))
			break;
	if (!run) {
		err = more_pages(gs, count, &run);
		if (err)
			return err;
		*gfn = run->first;
	}
	for (uint32_t i = *gfn; i < *gfn + count; i++)
		gs->pages[i] = (struct page){ .used = true };
	memset(gs->mem + ((size_t)*gfn << SR_PAGE_SHIFT), 0, (size_t)count << SR_PAGE_SHIFT);
	return 0;
}

static void free_pages(struct em_gntshr *gs, uint32_t gfn, unsigned count)
{
	for (uint32_t i = gfn; i < gfn + count; i++)
		gs->pages[i].used = gs->pages[i].shared = false;
}

/* The frames behind an address that we gave out. */
static int frames_of(const struct em_gntshr *gs, const void *addr, unsigned count, bool shared,
		     uint32_t *gfn)
{
	size_t offset = (size_t)((const uint8_t *)addr - gs->mem);

	if ((const uint8_t *)addr < gs->mem || offset >= gs->mem_size || !count ||
	    count > gs->nr_pages - (offset >> SR_PAGE_SHIFT))
		return -EINVAL;
	*gfn = (uint32_t)(offset >> SR_PAGE_SHIFT);
	for (uint32_t i = *gfn; i < *gfn + count; i++)
		if (!gs->pages[i].used || gs->pages[i].shared != shared)
			return -EINVAL;
	return 0;
}

/* --- the family's operations ----------------------------------------------------------------- */

static int em_alloc(struct sr_gntshr *base, unsigned count, void **addr)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;
	uint32_t gfn;
	int err = alloc_pages(gs, count, &gfn);

	if (!err)
		*addr = gs->mem + ((size_t)gfn << SR_PAGE_SHIFT);
	return err;
}

static int em_free(struct sr_gntshr *base, void *addr, unsigned count)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;
	uint32_t gfn;
	int err =
	    (uintptr_t)addr % SR_PAGE_SIZE ? -EINVAL : frames_of(gs, addr, count, false, &gfn);

	if (err)
		return err;
	for (uint32_t i = gfn; i < gfn + count; i++)
		if (gs->pages[i].grants)
			return -EBUSY;
	free_pages(gs, gfn, count);
	return 0;
}

static int em_grant(struct sr_gntshr *base, uint16_t domid, void *addr, bool writable,
		    uint32_t *ref)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;
	uint32_t gfn;
	int err = frames_of(gs, addr, 1, false, &gfn);

	return err ? err : grant_page(gs, domid, gfn, writable, ref);
}

static int em_end(struct sr_gntshr *base, uint32_t ref)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;

	/* References made by share() go with their pages only. */
	if (ref < gs->nr_entries && gs->frame_of[ref] && gs->pages[gs->frame_of[ref]].shared)
		return -EINVAL;
	return end_ref(gs, ref);
}

static int em_share(struct sr_gntshr *base, uint16_t domid, unsigned count, bool writable,
		    uint32_t *refs, void **addr)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;
	uint32_t gfn;
	int err = alloc_pages(gs, count, &gfn);

	if (err)
		return err;
	for (unsigned i = 0; i < count; i++) {
		struct page *pg = &gs->pages[gfn + i];

		err = grant_page(gs, domid, gfn + i, writable, &refs[i]);
		if (err) {
			/* Nobody has been told of these yet. */
			while (i-- > 0)
				end_ref(gs, refs[i]);
			free_pages(gs, gfn, count);
			return err;
		}
		pg->shared = true;
		pg->writable = writable;
		pg->domid = sr_em_domid(gs->hv, domid);
		pg->ref = refs[i];
	}
	*addr = gs->mem + ((size_t)gfn << SR_PAGE_SHIFT);
	return 0;
}

/* Puts grants back which were ended before a later one was found busy. */
static void regrant(struct em_gntshr *gs, uint32_t gfn, unsigned count)
{
	for (uint32_t i = gfn; i < gfn + count; i++)
		sr_grant_table_grant(gs->table, gs->pages[i].ref, gs->pages[i].domid, i,
				     !gs->pages[i].writable);
}

static int em_unshare(struct sr_gntshr *base, void *addr, unsigned count)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;
	uint32_t gfn;
	int err = (uintptr_t)addr % SR_PAGE_SIZE ? -EINVAL : frames_of(gs, addr, count, true, &gfn);

	for (unsigned i = 0; !err && i < count; i++) {
		err = sr_grant_table_end(gs->table, gs->pages[gfn + i].ref);
		if (err)
			regrant(gs, gfn, i);
	}
	if (err)
		return err;
	for (uint32_t i = gfn; i < gfn + count; i++) {
		gs->frame_of[gs->pages[i].ref] = 0;
		gs->pages[i].grants = 0;
		gs->free_refs[gs->nr_free_refs++] = gs->pages[i].ref;
	}
	free_pages(gs, gfn, count);
	return 0;
}

/* --- open and close -------------------------------------------------------------------------- */

static void unmap(struct em_gntshr *gs)
{
	sr_grant_table_destroy(gs->table);
	if (gs->table_map)
		munmap(gs->table_map, gs->table_size);
	if (gs->mem)
		munmap(gs->mem, gs->mem_size);
	free(gs->pages);
	free(gs->frame_of);
	free(gs->free_refs);
}

static void em_close(struct sr_gntshr *base)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;

	/* The machine ends the grants, before it answers. */
	sr_em_disconnect(&gs->client);
	while (gs->runs) {
		struct run *run = gs->runs;

		gs->runs = run->next;
		free(run);
	}
	unmap(gs);
	free(gs);
}

int sr_em_gntshr_notify(struct sr_gntshr *base, void *addr, uint32_t offset, uint32_t port,
			uint32_t *id)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;
	struct sr_em_request req = { .op = SR_EM_NOTICE,
				     .notice = { .offset = offset, .port = port } };
	struct sr_em_reply reply;
	int err = frames_of(gs, addr, 1, true, &req.notice.frame);

	if (!err)
		err = sr_em_call(&gs->client, &req, &reply, NULL, 0);
	if (!err)
		*id = reply.notice;
	return err;
}

int sr_em_gntshr_fire(struct sr_gntshr *base, uint32_t id)
{
	struct em_gntshr *gs = (struct em_gntshr *)base;
	struct sr_em_request req = { .op = SR_EM_FIRE, .notice = { .id = id } };
	struct sr_em_reply reply;

	return sr_em_call(&gs->client, &req, &reply, NULL, 0);
}

static const struct sr_gntshr_ops ops = {
	.close = em_close,
	.share = em_share,
	.unshare = em_unshare,
	.alloc = em_alloc,
	.free = em_free,
	.grant = em_grant,
	.end = em_end,
};

static int map_fd(int fd, size_t size, void **out)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*out = p;
	return 0;
}

static int set_up(struct em_gntshr *gs, const struct sr_em_hello_reply *hello, const int fds[2])
{
	const size_t huge = 2u << 20;
	void *mem = NULL;
	int err;

	gs->nr_pages = hello->nr_pages;
	gs->mem_size = (size_t)hello->nr_pages << SR_PAGE_SHIFT;
	if (hello->hugetlb)
		gs->mem_size = (gs->mem_size + huge - 1) & ~(huge - 1);
	err = map_fd(fds[0], gs->mem_size, &mem);
	if (err)
		return err;
	gs->mem = mem;
	gs->table_size = sr_table_size(hello->max_frames);
	err = map_fd(fds[1], gs->table_size, &gs->table_map);
	if (err)
		return err;
	/* Large, and touched where they are used only. */
	gs->nr_entries = sr_grant_entries(hello->version, hello->max_frames);
	gs->pages = calloc(hello->nr_pages, sizeof(*gs->pages));
	gs->frame_of = calloc(gs->nr_entries, sizeof(*gs->frame_of));
	gs->free_refs = malloc(gs->nr_entries * sizeof(*gs->free_refs));
	if (!gs->pages || !gs->frame_of || !gs->free_refs)
		return -ENOMEM;
	return sr_grant_table_create(gs->table_map, hello->max_frames, hello->frames,
				     hello->version, &gs->table);
}

int sr_em_gntshr_open(struct sr_hypervisor *base, struct sr_gntshr **out)
{
	struct sr_em_hv *hv = (struct sr_em_hv *)base;
	struct em_gntshr *gs = calloc(1, sizeof(*gs));
	struct sr_em_reply reply;
	int fds[2], err;

	if (!gs)
		return -ENOMEM;
	gs->base.ops = &ops;
	gs->hv = hv;
	err = sr_em_hv_connect(hv, SR_EM_GNTSHR, &gs->client, &reply, fds, 2);
	if (err) {
		free(gs);
		return err;
	}
	err = set_up(gs, &reply.hello, fds);
	close(fds[0]);
	close(fds[1]);
	if (err) {
		em_close(&gs->base);
		return err;
	}
	*out = &gs->base;
	return 0;
}
