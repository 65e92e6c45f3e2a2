/* SPDX-License-Identifier: MIT */
/*
 * The machine: its domains, their memory, the connections that map grants, and the control
 * operations on grant tables. Event channels are in evtchn.h.
 *
 * Only the machine process has a struct sr_core. Threads: one at a time. What runs concurrently
 * are the connections (conn.h) of other processes and threads; they meet the core in shared memory
 * only.
 *
 * `caller` is the domain on whose behalf an operation is done. Where an operation names a domain,
 * DOMID_SELF is the caller; another domain may be named by dom0 alone.
 */
#ifndef SR_CORE_CORE_H
#define SR_CORE_CORE_H

#include <core/conn.h>
#include <core/foreign.h>
#include <core/layout.h>
#include <stdbool.h>

struct sr_core;

struct sr_core_ops {
	/*
	 * An event for (domid, port) became pending and is not masked; the upcall belongs on
	 * `vcpu`. Called within the operation that caused it; do not call back into the core.
	 */
	void (*deliver)(void *ctx, uint16_t domid, uint32_t vcpu, uint32_t port);
	/* The peer of (domid, port) closed or died: the port is unbound again. May be NULL. */
	void (*unbound)(void *ctx, uint16_t domid, uint32_t port);
};

int sr_core_create(const struct sr_core_ops *ops, void *ctx, struct sr_core **out);

/* Nobody else may use anything of it any more. */
void sr_core_destroy(struct sr_core *core);

/* ---- domains -------------------------------------------------------------------------- */

#define SR_DOMID_ANY 0xffffu

struct sr_domain_config {
	uint16_t domid; /* or SR_DOMID_ANY; the first domain is domain 0 whatever it says */
	enum sr_role role;
	uint64_t nr_pages;         /* memory, in 4096-byte frames; at least 1 */
	uint32_t nr_vcpus;         /* 0 means 1; at most XEN_LEGACY_MAX_VCPUS */
	uint32_t max_grant_frames; /* 0 means 64; limit SR_GRANT_FRAMES_MAX */
	uint32_t max_maptrack;     /* handles over all its connections; 0 means 262144 */
	uint32_t max_ports;        /* ports have numbers below this; 0: the limit of the ABI */
	/*
	 * Its events travel by channels (channel.h), not by the bits of shared_info or of the FIFO
	 * ABI: ops.deliver is called for every event, masks are the business of whoever implements
	 * it, and ports have as many numbers as the FIFO ABI has.
	 */
	bool channels;
	/*
	 * Try hugetlb pages first. Maps (conn.h) of such memory must be of consecutive frames, and
	 * cannot be strict. For guests one trusts: by punching holes into its memory one could
	 * leave a backend without a page to fault in. Without it the memory asks for transparent
	 * huge pages.
	 */
	bool hugetlb;
};

enum sr_domain_state {
	SR_DOMAIN_ALIVE,
	SR_DOMAIN_ZOMBIE, /* dead, but others have memory of it mapped; its number is taken */
};

struct sr_domain_info {
	uint16_t domid;
	enum sr_role role;
	enum sr_domain_state state;
	uint64_t nr_pages;
	uint32_t nr_vcpus;
	uint32_t grant_frames, max_grant_frames, grant_version;
	uint32_t ports; /* event channels in use */
	uint32_t connections;
	uint64_t pins; /* its grants that are mapped right now, by anybody */
	bool hugetlb;
};

/*
 * A fresh domain with one grant frame, version 1. Memory is zero and comes into being as it is
 * touched. -EEXIST: the number is taken (or belongs to a zombie), -EINVAL, -ENOMEM, -EMFILE,
 * -ENOSPC (no number left).
 */
int sr_core_domain_create(struct sr_core *core, const struct sr_domain_config *config,
			  uint16_t *domid);

/*
 * The domain's processes are dead. Gives back all that its connections held, closes its ports
 * (peers become unbound), raises VIRQ_DOM_EXC in dom0. Mappings that others have of its memory stay
 * until they unmap; new ones fail with GNTST_bad_domain. -ESRCH.
 */
int sr_core_domain_destroy(struct sr_core *core, uint16_t domid);

/* Living domains and zombies, ascending; start with *domid = SR_DOMID_ANY. -ENOENT at the end. */
int sr_core_domain_next(struct sr_core *core, uint16_t *domid);

/* -ESRCH. Also lets go of a zombie that nobody has mapped any more. */
int sr_core_domain_info(struct sr_core *core, uint16_t domid, struct sr_domain_info *info);

/* Borrowed descriptors of a living domain, to pass on. `active` goes to trusted processes only. */
int sr_core_domain_fds(struct sr_core *core, uint16_t domid, struct sr_domain_fds *fds);

/* The core's own view of a living domain; NULL if there is none. Valid until it is destroyed. */
struct sr_foreign *sr_core_domain_view(struct sr_core *core, uint16_t domid);

/* ---- connections ---------------------------------------------------------------------- */

/*
 * A new connection of `domid` with room for `capacity` handles. -ESRCH, -ENOSPC (the domain's
 * maptrack limit), -EMFILE, -ENOMEM.
 */
int sr_core_connection_create(struct sr_core *core, uint16_t domid, uint32_t capacity,
			      uint16_t *id);

/* Borrowed descriptor of its maptrack, for sr_conn_open() in the process that will use it. -ENOENT.
 */
int sr_core_connection_fd(struct sr_core *core, uint16_t id, int *fd);

/*
 * For connections which the machine process works itself, on behalf of an untrusted domain: owned
 * by the core, gone with the connection. The machine process never waits long for a lock:
 * GNTST_eagain comes sooner. -ENOENT, -ENOMEM.
 */
int sr_core_connection_local(struct sr_core *core, uint16_t id, struct sr_conn **conn);

/*
 * The connection's user closed it or died, at whatever instruction: everything it had locked or
 * mapped is given back, its event-channel ports (sr_core_evtchn_set_owner) are closed, the id is
 * free. Nobody may use the connection any more. -ENOENT.
 */
int sr_core_connection_dead(struct sr_core *core, uint16_t id);

/* ---- control operations on grant tables ------------------------------------------------ */

/* GNTTABOP_setup_table: grow to at least nr_frames. The frames are pages SR_TABLE_GRANT_OFFSET and
 * on of `table`. GNTST_*. */
int16_t sr_core_setup_table(struct sr_core *core, uint16_t caller, uint16_t dom,
			    uint32_t nr_frames);

/* GNTTABOP_query_size. GNTST_*. */
int16_t sr_core_query_size(struct sr_core *core, uint16_t caller, uint16_t dom, uint32_t *nr_frames,
			   uint32_t *max_nr_frames);

/* GNTTABOP_get_status_frames: may nr_frames status frames be used? They start at
 * sr_table_status_offset(). GNTST_*. */
int16_t sr_core_get_status_frames(struct sr_core *core, uint16_t caller, uint16_t dom,
				  uint32_t nr_frames);

/*
 * GNTTABOP_set_version of the caller's own table. The 8 reserved entries survive, all others are
 * cleared. *version: in the wish, out what is in force. -EINVAL, -EBUSY (an entry above the
 * reserved ones is in use), -ERANGE (a reserved entry cannot be said in v1).
 */
int sr_core_set_version(struct sr_core *core, uint16_t caller, uint32_t *version);

/* GNTTABOP_get_version. -EPERM, -ESRCH. */
int sr_core_get_version(struct sr_core *core, uint16_t caller, uint16_t dom, uint32_t *version);

/* GNTTABOP_swap_grant_ref in the caller's own table. GNTST_*: bad_gntref, eagain (in use). */
int16_t sr_core_swap_grant_ref(struct sr_core *core, uint16_t caller, uint32_t a, uint32_t b);

#endif
