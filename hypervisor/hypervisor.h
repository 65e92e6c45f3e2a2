/* SPDX-License-Identifier: MIT */
#ifndef SR_HYPERVISOR_H
#define SR_HYPERVISOR_H

/*
 * The seam: what a backend or a frontend may ask of a hypervisor.
 *
 * An instance is opened by address and stands for one domain's view:
 *
 *   embedded:/run/splitring/NAME       domain 0 of the embedded machine NAME
 *   embedded:/run/splitring/NAME#7     domain 7 of it
 *   embedded-strict:...                the same, each grant mapped with a protection of its own
 *   faulty:SPEC:ADDRESS                another provider with faults injected (<faulty/faulty.h>)
 *   xen:                               the Xen host that we run on
 *
 * The families of operations are those of Xen's own libraries (libxengnttab, libxengntshr,
 * libxenevtchn, libxenstore), so that the provider `xen` is a thin one. A handle stands for
 * what an open /dev/xen/gntdev or /dev/xen/evtchn is there: when it closes, or its process
 * dies, its mappings, grants and ports go.
 *
 * Threads: an instance may be shared by threads; a handle of any family belongs to one thread at
 * a time. Nothing here survives fork().
 *
 * Errors: 0 or -errno, outputs last. Page: always 4096 bytes, Xen's unit of a grant.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SR_PAGE_SHIFT 12
#define SR_PAGE_SIZE  4096u

struct sr_hypervisor;
struct sr_gnttab;
struct sr_gntshr;
struct sr_evtchn;
struct xs_handle; /* <xenstore.h> */

/* What a provider can do beyond the common ground, see sr_hv_caps(). */
enum {
	/* sr_gnttab_map() and _unmap() cost no system call: mapping beats copying. */
	SR_CAP_CHEAP_MAP = 1u << 0,
	/* sr_gntshr_alloc(), _grant() and _end() exist: a frontend can grant page by page. */
	SR_CAP_GRANT_PAGES = 1u << 1,
};

/*
 * Opens the hypervisor at `address` and stores it in *hv. -EINVAL: no such kind of address;
 * -ENOENT, -ECONNREFUSED: no machine there; -EPERM: not for this process.
 */
int sr_hv_open(const char *address, struct sr_hypervisor **hv);
/* Every handle has to be closed before. NULL is allowed. */
void sr_hv_close(struct sr_hypervisor *hv);
/* The domain this instance speaks for. */
uint16_t sr_hv_domid(const struct sr_hypervisor *hv);
/* The address it was opened by; owned by the instance. */
const char *sr_hv_address(const struct sr_hypervisor *hv);
/* A set of SR_CAP_*. */
unsigned sr_hv_caps(const struct sr_hypervisor *hv);

/*
 * How many grants domain `domid` can have given at a time: what its grant table may grow to.
 * -EPERM, -ENOENT, -ENOTSUP: not for us to know, as in a driver domain on Xen; -ESRCH: no such
 * domain.
 */
int sr_hv_grant_entries(struct sr_hypervisor *hv, uint16_t domid, unsigned *entries);

/*
 * `count` zeroed pages at *addr, which sr_gnttab_copy() copies to and from at less cost than other
 * memory of ours. They are an instance's own and live as long as it does. -EBUSY: it has some;
 * -ENOTSUP: all memory is alike; other: they can't be had, and the rest of memory serves as well.
 */
int sr_hv_copy_memory(struct sr_hypervisor *hv, unsigned count, void **addr);

/*
 * A new connection of libxenstore to this hypervisor's xenstore, as this domain; the caller closes
 * it with xs_close().
 */
int sr_hv_xenstore(struct sr_hypervisor *hv, struct xs_handle **xs);

/* --- gnttab: access to pages that other domains granted to us -------------------------------- */

int sr_gnttab_open(struct sr_hypervisor *hv, struct sr_gnttab **gt);
/* Unmaps all that is still mapped. NULL is allowed. */
void sr_gnttab_close(struct sr_gnttab *gt);

/*
 * Maps `count` references of domain `domid` at consecutive addresses, all or nothing.
 * prot: PROT_READ, or PROT_READ | PROT_WRITE. The mapping stays until sr_gnttab_unmap() even if
 * the granting domain dies. -EINVAL: a reference is not granted to us, or not for writing;
 * -ESRCH: no such domain; -ENOSPC: too much is mapped already. To learn which reference was bad,
 * map one by one: libxengnttab does not say.
 */
int sr_gnttab_map(struct sr_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		  int prot, void **addr);
/* `addr` and `count` exactly as mapped. -EINVAL if they are not. */
int sr_gnttab_unmap(struct sr_gnttab *gt, void *addr, unsigned count);

enum {
	SR_COPY_SOURCE_GREF = 1u << 0, /* .source is .foreign, else .virt */
	SR_COPY_DEST_GREF = 1u << 1,   /* .dest is .foreign, else .virt */
};

union sr_copy_ptr {
	void *virt;
	struct {
		uint32_t ref;
		uint16_t offset; /* into the granted page */
		uint16_t domid;
	} foreign;
};

/* One piece of a copy: the layout of libxengnttab's xengnttab_grant_copy_segment_t. */
struct sr_copy_segment {
	union sr_copy_ptr source, dest;
	uint16_t len;   /* bytes; offset + len <= 4096 on a granted side */
	uint16_t flags; /* SR_COPY_* */
	int16_t status; /* out: GNTST_okay (0), or a negative GNTST_* of <xen/grant_table.h> */
};

/*
 * Copies between own memory and granted pages. 0 says that each segment has its status, be it
 * good or bad; a negative value that none has been done.
 */
int sr_gnttab_copy(struct sr_gnttab *gt, struct sr_copy_segment *segs, unsigned count);

/*
 * The one region of our address space in which all cheap maps of domain `domid` lie, so that it
 * can be registered once with io_uring. It lives as long as something of the domain is mapped
 * through `gt`. -ENOTSUP where there is no such thing.
 */
int sr_gnttab_region(struct sr_gnttab *gt, uint16_t domid, void **base, size_t *len);

/* --- gntshr: pages of ours that we grant to others (frontends) ------------------------------- */

int sr_gntshr_open(struct sr_hypervisor *hv, struct sr_gntshr **gs);
/* Ends what can be ended; a page that a peer still maps stays granted until it lets go. */
void sr_gntshr_close(struct sr_gntshr *gs);

/* `count` zeroed pages at *addr, each granted to `domid`: their references in refs[0..count). */
int sr_gntshr_share(struct sr_gntshr *gs, uint16_t domid, unsigned count, bool writable,
		    uint32_t *refs, void **addr);
/*
 * Ends the grants and frees the pages. -EBUSY while the peer maps one: nothing is changed then.
 * `xen:` can't tell: the call succeeds, and the pages come back when the peer lets go.
 */
int sr_gntshr_unshare(struct sr_gntshr *gs, void *addr, unsigned count);

/* Where SR_CAP_GRANT_PAGES, else -ENOTSUP. Zeroed pages, granted to nobody. */
int sr_gntshr_alloc(struct sr_gntshr *gs, unsigned count, void **addr);
/* -EBUSY while one of the pages is granted. */
int sr_gntshr_free(struct sr_gntshr *gs, void *addr, unsigned count);
/* Grants the page that holds `addr` (from sr_gntshr_alloc) to `domid`. No system call. */
int sr_gntshr_grant(struct sr_gntshr *gs, uint16_t domid, void *addr, bool writable, uint32_t *ref);
/* Takes a grant back. -EBUSY while the peer maps or copies it. No system call. */
int sr_gntshr_end(struct sr_gntshr *gs, uint32_t ref);

/* --- evtchn: libxenevtchn's operations -------------------------------------------------------- */

int sr_evtchn_open(struct sr_hypervisor *hv, struct sr_evtchn **ev);
/* Closes its ports. NULL is allowed. */
void sr_evtchn_close(struct sr_evtchn *ev);
/* Readable while sr_evtchn_pending() has something. Owned by the handle. */
int sr_evtchn_fd(struct sr_evtchn *ev);

/* A port that `domid` may bind to. */
int sr_evtchn_alloc_unbound(struct sr_evtchn *ev, uint16_t domid, uint32_t *port);
/*
 * Connects to the unbound port `remote_port` of `domid`; the new local port starts pending, as on
 * Xen, so that nothing sent before is missed. -EINVAL, -ENOENT, -ESRCH: it is not ours to bind.
 */
int sr_evtchn_bind_interdomain(struct sr_evtchn *ev, uint16_t domid, uint32_t remote_port,
			       uint32_t *port);
int sr_evtchn_bind_virq(struct sr_evtchn *ev, unsigned virq, uint32_t *port);
/*
 * The port is not reported any more, even if it was pending. On `xen:` the next port that gets its
 * number may start with an event that was meant for this one.
 */
int sr_evtchn_unbind(struct sr_evtchn *ev, uint32_t port);
/* Sending to a port whose peer is gone does nothing and is no error, as on Xen. */
int sr_evtchn_notify(struct sr_evtchn *ev, uint32_t port);
/*
 * The next pending port, which is masked until sr_evtchn_unmask(). -EAGAIN: none; never blocks. The
 * descriptor stays readable while there is more, so one call a wake-up is enough.
 */
int sr_evtchn_pending(struct sr_evtchn *ev, uint32_t *port);
/*
 * To be called when the work is done, not before: that is what throttles a storm of events. An
 * event that came in between makes the port pending again.
 */
int sr_evtchn_unmask(struct sr_evtchn *ev, uint32_t port);

/*
 * A wait for the next event without the descriptor, where that is cheaper. To be called before
 * the others, on a handle without ports. -ENOTSUP: there is no such thing.
 */
int sr_evtchn_prepare_wait(struct sr_evtchn *ev);
/*
 * Like sr_evtchn_pending(), but waits. -ECANCELED: sr_evtchn_wake() has ended it; -EINTR: a signal
 * has. It takes one event of many: whoever expects several asks sr_evtchn_pending() as well.
 */
int sr_evtchn_wait(struct sr_evtchn *ev, uint32_t *port);
/*
 * Ends a wait: the present one, or else the next. To be met by a wait that says -ECANCELED before
 * it is called again, for two may be one. The only function of a handle that another thread may
 * call.
 */
int sr_evtchn_wake(struct sr_evtchn *ev);

#endif
