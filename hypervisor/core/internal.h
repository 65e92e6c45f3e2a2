/* SPDX-License-Identifier: MIT */
/* What the parts of the core share among themselves. */
#ifndef SR_CORE_INTERNAL_H
#define SR_CORE_INTERNAL_H

#include <core/conn.h>
#include <core/core.h>
#include <core/evtchn.h>
#include <core/foreign.h>
#include <core/layout.h>

/* Views of domains that a connection holds; an array by domain number, touched sparsely. */
struct sr_held {
	struct sr_foreign *view; /* NULL: not held */
	/* By frame: which direct map begins or goes on here (address.c). Touched sparsely. */
	struct sr_direct *direct;
	uint32_t mapped; /* handles on this domain */
	uint16_t next;   /* the next held domain, SR_HELD_END at the end */
};

#define SR_HELD_END 0xffffu

struct sr_direct {
	uint32_t handle; /* plus one; 0: no direct map of this frame */
	uint32_t span;   /* pages of the map that begins here; 0: goes on here */
};

#define SR_AREA_BUCKETS 256u

struct sr_conn {
	uint16_t id;
	uint16_t domid;
	bool impatient; /* worked by the machine process: never wait long */
	bool unsettled; /* there may be a view of which nothing is mapped */
	uint16_t first_held;
	struct sr_held *held;
	struct sr_maptrack_header *header;
	struct sr_journal *journal;
	struct sr_maptrack *track;
	size_t track_size;
	uint32_t capacity;
	uint32_t used;      /* handles above were never used: their pages are untouched */
	uint32_t free_head; /* handle + 1 of the first free one below `used` */
	uint32_t mapped;
	struct sr_foreigns *foreigns;
	struct sr_area *areas[SR_AREA_BUCKETS];
};

/* ---- memory.c ---- */

struct sr_domain_memory {
	struct sr_domain_fds fds;
	bool hugetlb;
};

int sr_memory_create(uint64_t nr_pages, uint32_t max_frames, bool hugetlb,
		     struct sr_domain_memory *out);
void sr_domain_fds_close(struct sr_domain_fds *fds);
int sr_memfd_sealed(const char *name, size_t size, unsigned flags, int *fd);

/* ---- foreign.c ---- */

/* Map a domain. Takes over the descriptors, also on failure. */
int sr_foreign_open(uint16_t domid, struct sr_domain_fds *fds, struct sr_foreign **out);
/* Put a view into the set; the caller's reference stays its own. */
void sr_foreigns_insert(struct sr_foreigns *set, struct sr_foreign *view);
/* One more reference on a view that the caller has one on. */
void sr_foreign_ref(struct sr_foreigns *set, struct sr_foreign *view);

/* ---- conn.c ---- */

/* The held view of a domain, fetched if need be; NULL: no such living domain. */
struct sr_foreign *sr_conn_view(struct sr_conn *conn, uint16_t domid);
/* The view turned out to be of a dead domain: drop it if nothing of it is mapped. True: dropped, so
 * that asking again may find a new domain. */
bool sr_conn_drop_dead(struct sr_conn *conn, uint16_t domid);
/* Hold this very view, dead or not. It must not be held yet. */
void sr_conn_hold(struct sr_conn *conn, struct sr_foreign *view);
/* sr_conn_close() without unmapping. */
void sr_conn_forget(struct sr_conn *conn);
int sr_handle_alloc(struct sr_conn *conn, uint32_t *handle);
void sr_handle_free(struct sr_conn *conn, uint32_t handle);
bool sr_handle_mapped(const struct sr_conn *conn, uint32_t handle);
/* One more round of waiting for somebody else; false: waited long enough. */
bool sr_conn_wait(const struct sr_conn *conn, uint32_t *round);

/* ---- address.c ---- */
void sr_conn_unmap_areas(struct sr_conn *conn);

/* ---- grant_entry.c ---- */

/* A grant reference whose active entry we have locked. */
struct sr_entry {
	struct sr_foreign *view;
	struct sr_active *act;
	uint64_t pins; /* as they were when it was locked */
	uint32_t ref;
	uint32_t version;
	uint16_t flags;   /* of the guest's entry, as they were found good by claim */
	uint16_t claimed; /* GTF_reading and GTF_writing, as far as claim has set them */
};

enum sr_claim_for { SR_CLAIM_MAP, SR_CLAIM_COPY };

/* Remember what is being done, before any lock of it is taken. */
void sr_journal_begin(struct sr_conn *conn, enum sr_journal_op op, uint32_t handle);

/*
 * Lock a reference, noting it in the journal's `slot`. `wait`: as long as the connection's patience
 * lasts; else give up at once. GNTST_okay, bad_gntref, bad_domain, eagain; not locked unless okay.
 */
int16_t sr_entry_open(struct sr_conn *conn, struct sr_foreign *view, uint32_t ref, unsigned slot,
		      bool wait, struct sr_entry *e);
/* For who gives back: as sr_entry_open, but a dead granter is fine. */
int16_t sr_entry_reopen(struct sr_conn *conn, struct sr_foreign *view, uint32_t ref, unsigned slot,
			struct sr_entry *e);

/* Check that `domid` may use it so and mark it in use in the guest's table. GNTST_*. */
int16_t sr_entry_claim(struct sr_entry *e, uint16_t domid, bool write, enum sr_claim_for purpose);

/* The frame it grants: the pinned one, or what the guest's entry says now. GNTST_okay or bad_page.
 */
int16_t sr_entry_frame(const struct sr_entry *e, uint32_t *frame);

/* Take away marks which `pins` do not justify, then unlock and publish `pins`, in one store. */
void sr_entry_close(struct sr_entry *e, uint64_t pins);

/* The guest's own words of a reference. */
struct grant_entry_v1 *sr_entry_v1(const struct sr_foreign *view, uint32_t ref);
union grant_entry_v2 *sr_entry_v2(const struct sr_foreign *view, uint32_t ref);
grant_status_t *sr_entry_status(const struct sr_foreign *view, uint32_t ref);

/*
 * Hints to the processor, that change nothing whatever the guest wrote: the entry of a reference,
 * and the page that it seems to name (by version 1, what nearly all guests use).
 */
void sr_entry_prefetch(const struct sr_foreign *view, uint32_t ref);
void sr_entry_prefetch_page(const struct sr_foreign *view, uint32_t ref, uint16_t offset);

/* ---- grant_map.c ---- */
void sr_map_one(struct sr_conn *conn, struct sr_grant_map *op);
int16_t sr_unmap_one(struct sr_conn *conn, uint32_t handle);

#endif
