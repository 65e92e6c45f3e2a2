/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <provider.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

int sr_hv_open(const char *address, struct sr_hypervisor **hv)
{
	const char *colon = strchr(address, ':');
	int err;

	if (!colon)
		return -EINVAL;
	for (const struct sr_provider *const *p = sr_providers; *p; p++) {
		const char *scheme = (*p)->scheme;
		size_t len = strlen(scheme);
		char *copy;

		if (len != (size_t)(colon - address) || memcmp(scheme, address, len))
			continue;
		copy = strdup(address);
		if (!copy)
			return -ENOMEM;
		err = (*p)->open(colon + 1, hv);
		if (err) {
			free(copy);
			return err;
		}
		(*hv)->address = copy;
		return 0;
	}
	return -EINVAL;
}

void sr_hv_close(struct sr_hypervisor *hv)
{
	char *address;

	if (!hv)
		return;
	address = hv->address;
	hv->ops->close(hv);
	free(address);
}

uint16_t sr_hv_domid(const struct sr_hypervisor *hv)
{
	return hv->domid;
}

const char *sr_hv_address(const struct sr_hypervisor *hv)
{
	return hv->address;
}

unsigned sr_hv_caps(const struct sr_hypervisor *hv)
{
	return hv->caps;
}

/*
 * libxenstore finds its socket through the environment only. The lock keeps our own threads from
 * each other's setting; other code that reads the environment meanwhile sees a variable that it
 * does not know.
 */
int sr_provider_xenstore_at(const char *path, struct xs_handle **xs)
{
	static pthread_mutex_t environment = PTHREAD_MUTEX_INITIALIZER;
	char *before = NULL;
	const char *value;
	int err = 0;

	pthread_mutex_lock(&environment);
	value = getenv("XENSTORED_PATH");
	if (value)
		before = strdup(value);
	if ((value && !before) || setenv("XENSTORED_PATH", path, 1)) {
		err = -ENOMEM;
		goto out;
	}
	*xs = xs_open(XS_OPEN_SOCKETONLY);
	if (!*xs)
		err = errno ? -errno : -ECONNREFUSED;
	if (before)
		setenv("XENSTORED_PATH", before, 1);
	else
		unsetenv("XENSTORED_PATH");
out:
	pthread_mutex_unlock(&environment);
	free(before);
	return err;
}

int sr_hv_store_path(struct sr_hypervisor *hv, char *path, size_t size)
{
	return hv->ops->store_path ? hv->ops->store_path(hv, path, size) : -ENOTSUP;
}

int sr_hv_xenstore(struct sr_hypervisor *hv, struct xs_handle **xs)
{
	return hv->ops->xenstore(hv, xs);
}

int sr_hv_grant_entries(struct sr_hypervisor *hv, uint16_t domid, unsigned *entries)
{
	return hv->ops->grant_entries ? hv->ops->grant_entries(hv, domid, entries) : -ENOTSUP;
}

int sr_hv_copy_memory(struct sr_hypervisor *hv, unsigned count, void **addr)
{
	return hv->ops->copy_memory ? hv->ops->copy_memory(hv, count, addr) : -ENOTSUP;
}

int sr_gnttab_open(struct sr_hypervisor *hv, struct sr_gnttab **gt)
{
	return hv->ops->gnttab_open(hv, gt);
}

void sr_gnttab_close(struct sr_gnttab *gt)
{
	if (gt)
		gt->ops->close(gt);
}

int sr_gnttab_map(struct sr_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		  int prot, void **addr)
{
	return gt->ops->map(gt, domid, refs, count, prot, addr);
}

int sr_gnttab_unmap(struct sr_gnttab *gt, void *addr, unsigned count)
{
	return gt->ops->unmap(gt, addr, count);
}

int sr_gnttab_copy(struct sr_gnttab *gt, struct sr_copy_segment *segs, unsigned count)
{
	return gt->ops->copy(gt, segs, count);
}

int sr_gnttab_region(struct sr_gnttab *gt, uint16_t domid, void **base, size_t *len)
{
	return gt->ops->region ? gt->ops->region(gt, domid, base, len) : -ENOTSUP;
}

int sr_gntshr_open(struct sr_hypervisor *hv, struct sr_gntshr **gs)
{
	return hv->ops->gntshr_open(hv, gs);
}

void sr_gntshr_close(struct sr_gntshr *gs)
{
	if (gs)
		gs->ops->close(gs);
}

int sr_gntshr_share(struct sr_gntshr *gs, uint16_t domid, unsigned count, bool writable,
		    uint32_t *refs, void **addr)
{
	return gs->ops->share(gs, domid, count, writable, refs, addr);
}

int sr_gntshr_unshare(struct sr_gntshr *gs, void *addr, unsigned count)
{
	return gs->ops->unshare(gs, addr, count);
}

int sr_gntshr_alloc(struct sr_gntshr *gs, unsigned count, void **addr)
{
	return gs->ops->alloc ? gs->ops->alloc(gs, count, addr) : -ENOTSUP;
}

int sr_gntshr_free(struct sr_gntshr *gs, void *addr, unsigned count)
{
	return gs->ops->free ? gs->ops->free(gs, addr, count) : -ENOTSUP;
}

int sr_gntshr_grant(struct sr_gntshr *gs, uint16_t domid, void *addr, bool writable, uint32_t *ref)
{
	return gs->ops->grant ? gs->ops->grant(gs, domid, addr, writable, ref) : -ENOTSUP;
}

int sr_gntshr_end(struct sr_gntshr *gs, uint32_t ref)
{
	return gs->ops->end ? gs->ops->end(gs, ref) : -ENOTSUP;
}

int sr_evtchn_open(struct sr_hypervisor *hv, struct sr_evtchn **ev)
{
	return hv->ops->evtchn_open(hv, ev);
}

void sr_evtchn_close(struct sr_evtchn *ev)
{
	if (ev)
		ev->ops->close(ev);
}

int sr_evtchn_fd(struct sr_evtchn *ev)
{
	return ev->ops->fd(ev);
}

int sr_evtchn_alloc_unbound(struct sr_evtchn *ev, uint16_t domid, uint32_t *port)
{
	return ev->ops->alloc_unbound(ev, domid, port);
}

int sr_evtchn_bind_interdomain(struct sr_evtchn *ev, uint16_t domid, uint32_t remote_port,
			       uint32_t *port)
{
	return ev->ops->bind_interdomain(ev, domid, remote_port, port);
}

int sr_evtchn_bind_virq(struct sr_evtchn *ev, unsigned virq, uint32_t *port)
{
	return ev->ops->bind_virq(ev, virq, port);
}

int sr_evtchn_unbind(struct sr_evtchn *ev, uint32_t port)
{
	return ev->ops->unbind(ev, port);
}

int sr_evtchn_notify(struct sr_evtchn *ev, uint32_t port)
{
	return ev->ops->notify(ev, port);
}

int sr_evtchn_pending(struct sr_evtchn *ev, uint32_t *port)
{
	return ev->ops->pending(ev, port);
}

int sr_evtchn_unmask(struct sr_evtchn *ev, uint32_t port)
{
	return ev->ops->unmask(ev, port);
}

int sr_evtchn_prepare_wait(struct sr_evtchn *ev)
{
	return ev->ops->prepare_wait ? ev->ops->prepare_wait(ev) : -ENOTSUP;
}

int sr_evtchn_wait(struct sr_evtchn *ev, uint32_t *port)
{
	return ev->ops->wait ? ev->ops->wait(ev, port) : -ENOTSUP;
}

int sr_evtchn_wake(struct sr_evtchn *ev)
{
	return ev->ops->wake ? ev->ops->wake(ev) : -ENOTSUP;
}
