/* SPDX-License-Identifier: MIT */
/*
 * The shared memory of the embedded hypervisor: what lies where, and who may
 * write it. All of it is memfds, sealed against every change of size and against
 * further seals, so that no holder can make another one fault.
 *
 * Per domain:
 *   mem     frame gfn lies at gfn * 4096. The domain and trusted processes map it.
 *   table   what a real guest shares with Xen: one page of struct shared_info, then
 *           max_frames grant frames, then the v2 status frames. The domain itself
 *           writes it, so everyone else reads it as hostile.
 *   active  one header page, then one struct sr_active a grant reference. Mapped by
 *           the machine process and by trusted processes only, never by the domain.
 * Per connection:
 *   maptrack one header page (with the journal, see recover.c), then its handles.
 *           Shared by the machine process and the process that owns the connection.
 */
#ifndef SR_CORE_LAYOUT_H
#define SR_CORE_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <xen/grant_table.h>
#include <xen/xen.h>

#define SR_PAGE_SHIFT 12
#define SR_PAGE_SIZE  4096u

/* Grant frames a domain may have at most, whatever its own limit says. */
#define SR_GRANT_FRAMES_MAX   1024u
#define SR_V1_PER_FRAME       (SR_PAGE_SIZE / sizeof(struct grant_entry_v1))
#define SR_V2_PER_FRAME       (SR_PAGE_SIZE / sizeof(union grant_entry_v2))
#define SR_STATUS_PER_FRAME   (SR_PAGE_SIZE / sizeof(grant_status_t))
#define SR_TABLE_INFO_OFFSET  0u
#define SR_TABLE_GRANT_OFFSET SR_PAGE_SIZE

#define SR_ACTIVE_MAGIC   0x41725273u
#define SR_MAPTRACK_MAGIC 0x4d725273u

/* Connection ids: 0 means "not locked"; the machine process itself acts as the last. */
#define SR_CONN_NONE    0u
#define SR_CONN_MACHINE 0xffffu

enum sr_role {
	SR_ROLE_DOM0,   /* may name other domains in control operations; trusted */
	SR_ROLE_DRIVER, /* trusted with guest memory */
	SR_ROLE_GUEST,
};

/* First page of `active`; written by the machine process only. */
struct sr_active_header {
	uint32_t magic;
	uint16_t domid;
	uint16_t role;            /* enum sr_role */
	uint64_t nr_pages;        /* frames in `mem` */
	uint32_t max_frames;      /* grant frames that `table` has room for */
	_Atomic uint32_t frames;  /* grant frames in use */
	_Atomic uint32_t version; /* grant table version: 1 or 2; 0 while it changes */
	_Atomic uint32_t dead;    /* the domain is gone: no new grant of it can be used */
	uint32_t hugetlb;         /* `mem` is hugetlbfs: pages cannot be mapped singly */
};

/*
 * One grant reference in use. `word` is lock and pin counts in one, so that the store
 * which unlocks is also the one which publishes the new counts:
 *   bits 0-15 the connection that holds the lock, 16-31 read pins, 32-47 write pins.
 * `frame` and `domid` mean something while a pin is held; only the lock's holder that
 * adds the first pin writes them.
 */
struct sr_active {
	_Atomic uint64_t word;
	uint32_t frame; /* in the granter's memory */
	uint16_t domid; /* who has it mapped */
	uint16_t pad;
};

#define SR_ACTIVE_OWNER_MASK 0xffffull
#define SR_ACTIVE_READ_ONE   (1ull << 16)
#define SR_ACTIVE_WRITE_ONE  (1ull << 32)
#define SR_ACTIVE_PIN_MAX    0x7fffu

static inline uint16_t sr_active_owner(uint64_t word)
{
	return (uint16_t)word;
}

static inline uint16_t sr_active_readers(uint64_t word)
{
	return (uint16_t)(word >> 16);
}

static inline uint16_t sr_active_writers(uint64_t word)
{
	return (uint16_t)(word >> 32);
}

/* The pins alone: zero when nobody has the grant mapped. */
static inline uint64_t sr_active_pins(uint64_t word)
{
	return word & ~SR_ACTIVE_OWNER_MASK;
}

/* A lock taken by the operation in hand: (granter, ref). Four are enough for a copy
 * whose two sides are both transitive. */
#define SR_JOURNAL_LOCKS 4
struct sr_journal_lock {
	_Atomic uint32_t ref;
	_Atomic uint32_t granter;
};

enum sr_journal_op { SR_JOURNAL_NONE, SR_JOURNAL_MAP, SR_JOURNAL_UNMAP, SR_JOURNAL_COPY };

struct sr_journal {
	_Atomic uint32_t op; /* enum sr_journal_op */
	_Atomic uint32_t handle;
	struct sr_journal_lock lock[SR_JOURNAL_LOCKS];
};

/* First page of `maptrack`. The connection writes `used` and the journal, the
 * machine process the rest, once. */
struct sr_maptrack_header {
	uint32_t magic;
	uint16_t conn;
	uint16_t domid;
	uint32_t capacity;     /* handles */
	_Atomic uint32_t used; /* handles from here on were never used; by the connection */
	struct sr_journal journal;
};

/* One handle. */
struct sr_maptrack {
	uint32_t ref;
	uint16_t granter;
	uint16_t flags;          /* GNTMAP_readonly or 0 */
	_Atomic uint32_t mapped; /* 1: this handle holds one pin on (granter, ref) */
	uint32_t frame;          /* the granter's frame; a free handle: the next free one */
};

static inline uint32_t sr_status_frames(uint32_t grant_frames)
{
	return (uint32_t)((grant_frames * SR_V2_PER_FRAME + SR_STATUS_PER_FRAME - 1) /
			  SR_STATUS_PER_FRAME);
}

static inline size_t sr_table_status_offset(uint32_t max_frames)
{
	return SR_TABLE_GRANT_OFFSET + (size_t)max_frames * SR_PAGE_SIZE;
}

static inline size_t sr_table_size(uint32_t max_frames)
{
	return sr_table_status_offset(max_frames) +
	       (size_t)sr_status_frames(max_frames) * SR_PAGE_SIZE;
}

/* Sized for v1, which has the most references a frame. */
static inline size_t sr_active_size(uint32_t max_frames)
{
	size_t size =
	    SR_PAGE_SIZE + (size_t)max_frames * SR_V1_PER_FRAME * sizeof(struct sr_active);

	return (size + SR_PAGE_SIZE - 1) & ~(size_t)(SR_PAGE_SIZE - 1);
}

static inline size_t sr_maptrack_size(uint32_t capacity)
{
	size_t size = SR_PAGE_SIZE + (size_t)capacity * sizeof(struct sr_maptrack);

	return (size + SR_PAGE_SIZE - 1) & ~(size_t)(SR_PAGE_SIZE - 1);
}

/* References that `frames` grant frames hold in a table of `version`. */
static inline uint32_t sr_grant_entries(uint32_t version, uint32_t frames)
{
	return frames * (uint32_t)(version == 2 ? SR_V2_PER_FRAME : SR_V1_PER_FRAME);
}

_Static_assert(sizeof(struct sr_active) == 16, "four references a cache line");
_Static_assert(sizeof(struct sr_maptrack) == 16, "four handles a cache line");
_Static_assert(sizeof(struct shared_info) <= SR_PAGE_SIZE, "shared_info fits its page");

#endif
