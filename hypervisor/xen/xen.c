/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xen/xen.h>
#include <xencall.h>
#include <xenstore.h>
#include <xentoollog.h>

#include <xen/grant_table.h>

#include "own.h"
#include "xen_impl.h"

struct xen {
	struct sr_hypervisor base;
	struct sr_xen_own own;
};

static void say_nothing(struct xentoollog_logger *l, xentoollog_level level, int errnoval,
			const char *context, const char *format, va_list al)
{
}

struct xentoollog_logger *sr_xen_quiet(void)
{
	static struct xentoollog_logger quiet = { .vmessage = say_nothing };

	return &quiet;
}

int sr_xen_open_error(void)
{
	switch (errno) {
	case 0:
		return -ENOENT;
	case EACCES:
		return -EPERM;
	case ENXIO:
	case ENODEV:
		return -ENOENT;
	default:
		return -errno;
	}
}

static int xen_xenstore(struct sr_hypervisor *hv, struct xs_handle **xs)
{
	errno = 0;
	*xs = xs_open(0);
	return *xs ? 0 : sr_xen_open_error();
}

/*
 * The relative node `domid` is the toolstack's word to each domain. A dom0 whose
 * xen-init-dom0 has not run lacks it, and nobody else does.
 */
static int own_domid(struct xs_handle *xs, uint16_t *domid)
{
	unsigned len;
	char *value = xs_read(xs, XBT_NULL, "domid", &len), *end;
	unsigned long n;

	*domid = 0;
	if (!value)
		return errno == ENOENT ? 0 : -errno;
	n = strtoul(value, &end, 10);
	if (end == value || *end || n >= DOMID_FIRST_RESERVED) {
		free(value);
		return -EPROTO;
	}
	*domid = (uint16_t)n;
	free(value);
	return 0;
}

/* One operation on a grant table; `size` bytes of `op` go there and back. */
static int grant_op(xencall_handle *call, unsigned cmd, void *op, size_t size)
{
	void *buffer = xencall_alloc_buffer(call, size);
	int err = 0;

	if (!buffer)
		return -ENOMEM;
	memcpy(buffer, op, size);
	if (xencall3(call, __HYPERVISOR_grant_table_op, cmd, (uintptr_t)buffer, 1) < 0)
		err = -errno;
	memcpy(op, buffer, size);
	xencall_free_buffer(call, buffer);
	return err;
}

static int status_error(int16_t status)
{
	switch (status) {
	case GNTST_okay:
		return 0;
	case GNTST_bad_domain:
		return -ESRCH;
	case GNTST_permission_denied:
		return -EPERM;
	default:
		return -EINVAL;
	}
}

static unsigned entry_size(uint32_t version)
{
	return version == 2 ? sizeof(union grant_entry_v2) : sizeof(struct grant_entry_v1);
}

/* Seldom asked, so nothing of it is kept open. */
static int xen_grant_entries(struct sr_hypervisor *hv, uint16_t domid, unsigned *entries)
{
	struct gnttab_query_size size = { .dom = domid };
	struct gnttab_get_version version = { .dom = domid };
	xencall_handle *call;
	int err;

	errno = 0;
	call = xencall_open(sr_xen_quiet(), 0);
	if (!call)
		return sr_xen_open_error();
	err = grant_op(call, GNTTABOP_query_size, &size, sizeof(size));
	if (!err)
		err = status_error(size.status);
	if (!err)
		err = grant_op(call, GNTTABOP_get_version, &version, sizeof(version));
	xencall_close(call);
	if (!err)
		*entries = size.max_nr_frames * (SR_PAGE_SIZE / entry_size(version.version));
	return err;
}

const struct sr_xen_own *sr_xen_own(const struct sr_hypervisor *hv)
{
	return &((const struct xen *)hv)->own;
}

static int xen_copy_memory(struct sr_hypervisor *hv, unsigned count, void **addr)
{
	return sr_xen_own_alloc(&((struct xen *)hv)->own, hv->domid, count, addr);
}

static void xen_close(struct sr_hypervisor *hv)
{
	sr_xen_own_free(&((struct xen *)hv)->own);
	free(hv);
}

static const struct sr_hypervisor_ops ops = {
	.close = xen_close,
	.xenstore = xen_xenstore,
	.grant_entries = xen_grant_entries,
	.copy_memory = xen_copy_memory,
	.gnttab_open = sr_xen_gnttab_open,
	.gntshr_open = sr_xen_gntshr_open,
	.evtchn_open = sr_xen_evtchn_open,
};

static int xen_open(const char *rest, struct sr_hypervisor **out)
{
	struct sr_hypervisor *hv;
	struct xs_handle *xs;
	int err;

	if (*rest)
		return -EINVAL;
	hv = calloc(1, sizeof(struct xen));
	if (!hv)
		return -ENOMEM;
	hv->ops = &ops;
	err = xen_xenstore(hv, &xs);
	if (!err) {
		err = own_domid(xs, &hv->domid);
		xs_close(xs);
	}
	if (err) {
		free(hv);
		return err;
	}
	*out = hv;
	return 0;
}

const struct sr_provider sr_provider_xen = { .scheme = "xen", .open = xen_open };
