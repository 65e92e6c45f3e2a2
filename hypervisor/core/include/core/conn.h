/* SPDX-License-Identifier: MIT */
/*
 * A connection: what an open /dev/xen/gntdev is on Xen, the unit that maps and that dies.
 * Map, unmap and copy are executed right here on shared memory, by trusted processes for
 * themselves and by the machine process for everybody else; it is the same code.
 *
 * Threads: one thread at a time uses a connection. Different connections, in one process or
 * in several, may work on the same grants at the same time.
 *
 * Death: a process may be killed at any instruction; sr_core_connection_dead() (core.h) then
 * gives back all that the connection held. See recover.c for why that is exact.
 */
#ifndef SR_CORE_CONN_H
#define SR_CORE_CONN_H

#include <core/foreign.h>
#include <stdbool.h>

struct sr_conn;

struct sr_conn_params {
	uint16_t id;                  /* from sr_core_connection_create() */
	uint16_t domid;               /* the domain that acts */
	int maptrack_fd;              /* borrowed: the connection maps it and keeps no descriptor */
	struct sr_foreigns *foreigns; /* borrowed, outlives the connection */
};

/* -EINVAL: the maptrack is not the one of this connection. */
int sr_conn_open(const struct sr_conn_params *params, struct sr_conn **out);

/* Unmaps everything that is still mapped, releases all views, frees. NULL is fine. */
void sr_conn_close(struct sr_conn *conn);

/*
 * Release the views of domains that died, where nothing is mapped any more: their memory is
 * freed once nobody holds them. Call it when domains may have gone (@releaseDomain).
 */
void sr_conn_reap(struct sr_conn *conn);

/*
 * Releases the views of all domains of which nothing is mapped now, dead or alive, if an unmap
 * or a failed map since the last call has left one so; else it costs nothing. For who maps a page of each domain as
 * long as it deals with it: a domain's memory is then never held longer than that.
 */
void sr_conn_settle(struct sr_conn *conn);

/* Handles in use. */
uint32_t sr_conn_mapped(const struct sr_conn *conn);

/* ---- map and unmap ---------------------------------------------------------------- */

struct sr_grant_map {
	/* in */
	uint16_t dom;
	uint16_t flags; /* GNTMAP_readonly or 0 */
	uint32_t ref;
	/* out */
	int16_t status;  /* GNTST_* */
	uint32_t handle; /* valid where status is GNTST_okay */
	uint32_t frame;  /* in the granter's memory */
	uint8_t *page;   /* direct pointer to the 4096 bytes; read-only is the caller's promise */
};

struct sr_grant_unmap {
	uint32_t handle; /* in */
	int16_t status;  /* out: GNTST_okay, GNTST_bad_handle, GNTST_eagain (still mapped) */
};

/*
 * Each operation succeeds or fails for itself. No system call (but for the first use of a
 * domain), no allocation. Statuses: bad_domain (none, or dead), bad_gntref (out of the table),
 * general_error (not granted to us, read-only, sub-page, transitive, unstable entry, too many
 * pins), bad_page (granted frame beyond its memory), no_space (no handle left), eagain (the
 * entry stayed locked by somebody else; try again).
 */
void sr_grant_map(struct sr_conn *conn, struct sr_grant_map *ops, uint32_t count);
void sr_grant_unmap(struct sr_conn *conn, struct sr_grant_unmap *ops, uint32_t count);

/*
 * The operations of the ABI: device_map is taken as host_map, dev_bus_addr is the granter's
 * frame address, host_addr is not looked at (address spaces are the caller's business).
 */
void sr_grant_map_abi(struct sr_conn *conn, struct gnttab_map_grant_ref *ops, uint32_t count);
void sr_grant_unmap_abi(struct sr_conn *conn, struct gnttab_unmap_grant_ref *ops, uint32_t count);

/* Granter and frame behind a handle. -ENOENT: not in use. */
int sr_grant_handle_info(const struct sr_conn *conn, uint32_t handle, struct sr_maptrack *out);

/* ---- mappings by address --------------------------------------------------------------- */

enum sr_map_flags {
	SR_MAP_READONLY = 1u << 0,
	/*
	 * Every page gets a mapping of its own with its own protection: a write to a read-only
	 * grant and any use after unmap fault. Without it the address lies in the region of the
	 * granter's memory wherever that can be (frames that follow each other, none of them mapped
	 * by this connection already), which costs no system call.
	 */
	SR_MAP_STRICT = 1u << 1,
};

/*
 * Map `count` references of `domid` at consecutive addresses, all or nothing. `status`, if not
 * NULL, takes the GNTST_* of each page (GNTST_okay for those which would have worked). 0; -ESRCH:
 * no such living domain; -ENOSPC: no handles left; -EAGAIN: an entry stayed locked; -EINVAL:
 * another status, or count is 0; -ENOMEM; -EOPNOTSUPP: pages of a hugetlb memory cannot be mapped
 * singly.
 */
int sr_conn_map(struct sr_conn *conn, uint16_t domid, const uint32_t *refs, uint32_t count,
		uint32_t flags, int16_t *status, void **addr);

/*
 * `addr` and `count` as they were mapped, else -EINVAL. -EAGAIN: an entry stayed locked by somebody
 * else; the addresses are gone, its pin goes when the connection is closed.
 */
int sr_conn_unmap(struct sr_conn *conn, void *addr, uint32_t count);

/*
 * Where the direct maps of `domid` lie: its whole memory. Valid while something of it is mapped.
 * -ESRCH.
 */
int sr_conn_region(struct sr_conn *conn, uint16_t domid, void **base, size_t *len);

/* ---- copy --------------------------------------------------------------------------- */

enum sr_copy_flags {
	SR_COPY_SOURCE_GRANT = GNTCOPY_source_gref,
	SR_COPY_DEST_GRANT = GNTCOPY_dest_gref,
};

/* One side: a granted page (flag set), or bytes of this process. */
union sr_copy_side {
	void *virt; /* len bytes; may cross pages */
	struct {
		uint32_t ref;
		uint16_t offset;
		uint16_t domid;
	} grant;
};

/* The layout of libxengnttab's xengnttab_grant_copy_segment_t. */
struct sr_grant_copy {
	union sr_copy_side source, dest;
	uint16_t len;   /* offset + len <= 4096 on a granted side */
	uint16_t flags; /* enum sr_copy_flags, at least one */
	int16_t status; /* out: GNTST_* */
};

/*
 * Copy each segment; each has a status of its own, and segments after a failed one are still
 * done. Sub-page and transitive grants are honoured here. bad_copy_arg: crosses the page, or no
 * side is a grant; general_error: outside of a sub-page grant, or not granted; else as for map.
 * No system call, no allocation.
 */
void sr_grant_copy(struct sr_conn *conn, struct sr_grant_copy *segs, uint32_t count);

/*
 * The operation of the ABI, from an array that nobody else can write: sides by frame belong to the
 * acting domain (DOMID_SELF), whose memory the process must be able to see through the set of
 * views.
 */
void sr_grant_copy_abi(struct sr_conn *conn, struct gnttab_copy *ops, uint32_t count);

#endif
