/* SPDX-License-Identifier: MIT */
#ifndef SR_PROVIDER_H
#define SR_PROVIDER_H

/*
 * What a provider of the seam implements. Each handle begins with its operations, so that a call
 * through hypervisor.h costs one indirect call and no look-up. The contract of an operation is
 * that of the function of hypervisor.h that it stands for; a pointer marked "optional" may be
 * NULL and then means -ENOTSUP.
 */

#include <hypervisor.h>

struct sr_gnttab_ops {
	void (*close)(struct sr_gnttab *gt);
	int (*map)(struct sr_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		   int prot, void **addr);
	int (*unmap)(struct sr_gnttab *gt, void *addr, unsigned count);
	int (*copy)(struct sr_gnttab *gt, struct sr_copy_segment *segs, unsigned count);
	/* optional */
	int (*region)(struct sr_gnttab *gt, uint16_t domid, void **base, size_t *len);
};

struct sr_gntshr_ops {
	void (*close)(struct sr_gntshr *gs);
	int (*share)(struct sr_gntshr *gs, uint16_t domid, unsigned count, bool writable,
		     uint32_t *refs, void **addr);
	int (*unshare)(struct sr_gntshr *gs, void *addr, unsigned count);
	/* optional, all four or none */
	int (*alloc)(struct sr_gntshr *gs, unsigned count, void **addr);
	int (*free)(struct sr_gntshr *gs, void *addr, unsigned count);
	int (*grant)(struct sr_gntshr *gs, uint16_t domid, void *addr, bool writable,
		     uint32_t *ref);
	int (*end)(struct sr_gntshr *gs, uint32_t ref);
};

struct sr_evtchn_ops {
	void (*close)(struct sr_evtchn *ev);
	int (*fd)(struct sr_evtchn *ev);
	int (*alloc_unbound)(struct sr_evtchn *ev, uint16_t domid, uint32_t *port);
	int (*bind_interdomain)(struct sr_evtchn *ev, uint16_t domid, uint32_t remote_port,
				uint32_t *port);
	int (*bind_virq)(struct sr_evtchn *ev, unsigned virq, uint32_t *port);
	int (*unbind)(struct sr_evtchn *ev, uint32_t port);
	int (*notify)(struct sr_evtchn *ev, uint32_t port);
	int (*pending)(struct sr_evtchn *ev, uint32_t *port);
	int (*unmask)(struct sr_evtchn *ev, uint32_t port);
	/* optional, all three or none */
	int (*prepare_wait)(struct sr_evtchn *ev);
	int (*wait)(struct sr_evtchn *ev, uint32_t *port);
	int (*wake)(struct sr_evtchn *ev);
};

struct sr_hypervisor_ops {
	void (*close)(struct sr_hypervisor *hv);
	int (*xenstore)(struct sr_hypervisor *hv, struct xs_handle **xs);
	/* optional: the path of its socket */
	int (*store_path)(struct sr_hypervisor *hv, char *path, size_t size);
	/* optional */
	int (*grant_entries)(struct sr_hypervisor *hv, uint16_t domid, unsigned *entries);
	/* optional */
	int (*copy_memory)(struct sr_hypervisor *hv, unsigned count, void **addr);
	int (*gnttab_open)(struct sr_hypervisor *hv, struct sr_gnttab **gt);
	int (*gntshr_open)(struct sr_hypervisor *hv, struct sr_gntshr **gs);
	int (*evtchn_open)(struct sr_hypervisor *hv, struct sr_evtchn **ev);
};

/* The first member of each provider's own structures. */
struct sr_hypervisor {
	const struct sr_hypervisor_ops *ops;
	char *address; /* set and freed by the dispatch */
	unsigned caps;
	uint16_t domid;
};

struct sr_gnttab {
	const struct sr_gnttab_ops *ops;
};

struct sr_gntshr {
	const struct sr_gntshr_ops *ops;
};

struct sr_evtchn {
	const struct sr_evtchn_ops *ops;
};

/* How an address finds its provider: by what stands before the first colon. */
struct sr_provider {
	const char *scheme;
	/* `rest` is the address after the colon. Fills in all of *hv but the address. */
	int (*open)(const char *rest, struct sr_hypervisor **hv);
};

extern const struct sr_provider sr_provider_embedded;
extern const struct sr_provider sr_provider_embedded_strict;
extern const struct sr_provider sr_provider_faulty;
extern const struct sr_provider sr_provider_xen;

/* What sr_hv_open() knows, then NULL: in providers.c, or the linking program's own list. */
extern const struct sr_provider *const sr_providers[];

/* --- what the dispatch offers to providers --------------------------------------------------- */

/* libxenstore connected to the xenstore whose socket is at `path`. Any thread. */
int sr_provider_xenstore_at(const char *path, struct xs_handle **xs);
/* The path of the instance's xenstore socket. -ENOTSUP: it has none. */
int sr_hv_store_path(struct sr_hypervisor *hv, char *path, size_t size);

#endif
