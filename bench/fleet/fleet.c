/* SPDX-License-Identifier: MIT */
#include <fleet/fleet.h>

#include <embedded/control.h>
#include <errno.h>
#include <hypervisor.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xen/io/xenbus.h>
#include <xenstore.h>

#include "fd_limit.h"

#define FIRST_VDEV  51712u /* xvda; xvdb is 16 further */
#define PATIENCE_MS 30000u

struct disk {
	struct sr_blkfront *front;
	uint32_t vdev;
	char back[64], path[64]; /* directories of both ends */
};

struct guest {
	struct sr_hypervisor *hv;
	uint16_t domid;
};

struct sr_fleet {
	struct sr_fleet_spec spec;
	struct sr_control *control;
	struct xs_handle *xs; /* as domain 0 */
	struct guest *guests;
	struct disk *disks;
	char error[320];
};

static int fail(struct sr_fleet *f, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int fail(struct sr_fleet *f, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->error, sizeof(f->error), format, args);
	va_end(args);
	return rc;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- the guests ---------------------------------------------------------------------------------
 */

static int make_guest(struct sr_fleet *f, unsigned index)
{
	struct sr_domain_spec spec = { .kind = SR_KIND_GUEST,
				       .pages = f->spec.guest_pages,
				       .vcpus = 1 };
	struct guest *g = &f->guests[index];
	char name[32], address[160];
	int rc;

	snprintf(name, sizeof(name), "fleet%u", index);
	spec.name = name;
	rc = sr_control_create(f->control, &spec, &g->domid);
	if (rc)
		return fail(f, rc, "can't create guest %u: %s", index, strerror(-rc));
	snprintf(address, sizeof(address), "embedded:%s#%u", f->spec.dir, g->domid);
	rc = sr_hv_open(address, &g->hv);
	return rc ? fail(f, rc, "%s: %s", address, strerror(-rc)) : 0;
}

static int open_all(struct sr_fleet *f)
{
	struct sr_hypervisor *hv;
	char address[160];
	int rc = sr_control_open(f->spec.dir, &f->control);

	if (rc)
		return rc;
	snprintf(address, sizeof(address), "embedded:%s", f->spec.dir);
	rc = sr_hv_open(address, &hv);
	if (rc)
		return rc;
	rc = sr_hv_xenstore(hv, &f->xs);
	sr_hv_close(hv);
	for (unsigned i = 0; i < f->spec.guests && !rc; i++)
		rc = make_guest(f, i);
	return rc;
}

int sr_fleet_new(const struct sr_fleet_spec *spec, struct sr_fleet **fleet)
{
	struct sr_fleet *f = calloc(1, sizeof(*f));
	int rc = -ENOMEM;

	if (!f)
		return rc;
	raise_fd_limit();
	f->spec = *spec;
	f->guests = calloc(spec->guests, sizeof(*f->guests));
	f->disks = calloc((size_t)spec->guests * spec->disks, sizeof(*f->disks));
	if (f->guests && f->disks)
		rc = open_all(f);
	if (rc) {
		sr_fleet_free(f);
		return rc;
	}
	for (unsigned i = 0; i < sr_fleet_count(f); i++) {
		struct disk *d = &f->disks[i];
		unsigned domid = sr_fleet_domid(f, i);

		d->vdev = FIRST_VDEV + i / spec->guests * 16;
		snprintf(d->back, sizeof(d->back), "/local/domain/0/backend/vbd/%u/%u", domid,
			 d->vdev);
		snprintf(d->path, sizeof(d->path), "/local/domain/%u/device/vbd/%u", domid,
			 d->vdev);
	}
	*fleet = f;
	return 0;
}

void sr_fleet_free(struct sr_fleet *f)
{
	if (!f)
		return;
	for (unsigned i = 0; f->disks && i < sr_fleet_count(f); i++)
		if (f->disks[i].front)
			sr_fleet_detach(f, i, SR_FLEET_GUEST_FIRST);
	for (unsigned i = 0; f->guests && i < f->spec.guests; i++) {
		sr_hv_close(f->guests[i].hv);
		if (f->guests[i].domid)
			sr_control_destroy(f->control, f->guests[i].domid);
	}
	if (f->xs)
		xs_close(f->xs);
	if (f->control)
		sr_control_close(f->control);
	free(f->guests);
	free(f->disks);
	free(f);
}

const char *sr_fleet_error(const struct sr_fleet *f)
{
	return f->error;
}

struct sr_control *sr_fleet_control(struct sr_fleet *f)
{
	return f->control;
}

unsigned sr_fleet_count(const struct sr_fleet *f)
{
	return f->spec.guests * f->spec.disks;
}

uint16_t sr_fleet_domid(const struct sr_fleet *f, unsigned disk)
{
	return f->guests[disk % f->spec.guests].domid;
}

struct sr_blkfront *sr_fleet_front(const struct sr_fleet *f, unsigned disk)
{
	return f->disks[disk].front;
}

/* --- the toolstack's nodes ----------------------------------------------------------------------
 */

static bool put(struct sr_fleet *f, xs_transaction_t t, const char *dir, const char *node,
		const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return xs_write(f->xs, t, path, value, (unsigned)strlen(value));
}

static bool make_dir(struct sr_fleet *f, xs_transaction_t t, const char *dir, unsigned owner,
		     unsigned reader)
{
	struct xs_permissions perms[2] = {
		{ .id = owner, .perms = XS_PERM_NONE },
		{ .id = reader, .perms = XS_PERM_READ },
	};

	return xs_mkdir(f->xs, t, dir) && xs_set_permissions(f->xs, t, dir, perms, 2);
}

static bool put_nodes(struct sr_fleet *f, xs_transaction_t t, const struct disk *d, uint16_t domid,
		      const char *params)
{
	char vdev[16], frontend[16];

	snprintf(vdev, sizeof(vdev), "%u", d->vdev);
	snprintf(frontend, sizeof(frontend), "%u", domid);
	const struct {
		const char *dir, *node, *value;
	} nodes[] = {
		{ d->path, "backend", d->back },
		{ d->path, "backend-id", "0" },
		{ d->path, "state", "1" },
		{ d->path, "virtual-device", vdev },
		{ d->path, "device-type", "disk" },
		{ d->back, "frontend", d->path },
		{ d->back, "frontend-id", frontend },
		{ d->back, "online", "1" },
		{ d->back, "removable", "0" },
		{ d->back, "state", "1" },
		{ d->back, "dev", vdev },
		{ d->back, "type", "phy" },
		{ d->back, "mode", "w" },
		{ d->back, "device-type", "disk" },
		{ d->back, "params", params },
	};

	if (!make_dir(f, t, d->path, domid, 0) || !make_dir(f, t, d->back, 0, domid))
		return false;
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		if (!put(f, t, nodes[i].dir, nodes[i].node, nodes[i].value))
			return false;
	return true;
}

static int write_nodes(struct sr_fleet *f, unsigned disk, const char *params)
{
	const struct disk *d = &f->disks[disk];
	int rc;

	do {
		xs_transaction_t t = xs_transaction_start(f->xs);
		bool ok = t != XBT_NULL && put_nodes(f, t, d, sr_fleet_domid(f, disk), params);

		rc = ok ? 0 : -errno;
		if (t != XBT_NULL && !xs_transaction_end(f->xs, t, !ok) && ok)
			rc = -errno;
	} while (rc == -EAGAIN);
	return rc ? fail(f, rc, "can't write %s: %s", d->back, strerror(-rc)) : 0;
}

static int backend_state(struct sr_fleet *f, const struct disk *d)
{
	char path[96], *text;
	int state;

	snprintf(path, sizeof(path), "%s/state", d->back);
	text = xs_read(f->xs, XBT_NULL, path, NULL);
	state = text ? atoi(text) : XenbusStateUnknown;
	free(text);
	return state;
}

static int await_closed(struct sr_fleet *f, const struct disk *d)
{
	for (unsigned i = 0; i < PATIENCE_MS; i++) {
		if (backend_state(f, d) == XenbusStateClosed)
			return 0;
		poll(NULL, 0, 1);
	}
	return fail(f, -ETIMEDOUT, "%s is in state %d and does not close", d->back,
		    backend_state(f, d));
}

/* --- a disk's life ------------------------------------------------------------------------------
 */

int sr_fleet_attach(struct sr_fleet *f, unsigned disk, const char *params, uint64_t *attach_ns)
{
	struct sr_blkfront_options options = SR_BLKFRONT_DEFAULTS;
	struct disk *d = &f->disks[disk];
	char name[16], error[256] = "";
	uint64_t from = now_ns();
	int rc = write_nodes(f, disk, params);

	if (rc)
		return rc;
	snprintf(name, sizeof(name), "%u", d->vdev);
	options.device = name;
	options.error = error;
	options.error_size = sizeof(error);
	options.timeout_ms = PATIENCE_MS;
	rc = sr_blkfront_open(f->guests[disk % f->spec.guests].hv, &options, &d->front);
	if (rc) {
		d->front = NULL;
		return fail(f, rc, "disk %u: %s", disk, error);
	}
	if (attach_ns)
		*attach_ns = now_ns() - from;
	return 0;
}

static int close_front(struct sr_fleet *f, unsigned disk)
{
	struct disk *d = &f->disks[disk];
	int rc = sr_blkfront_close(d->front);

	d->front = NULL;
	return rc ? fail(f, rc, "disk %u does not close: %s", disk, strerror(-rc)) : 0;
}

/* Waits until the guest has been told that the toolstack wants the disk back. */
static int await_request(struct sr_fleet *f, unsigned disk)
{
	for (unsigned i = 0; i < PATIENCE_MS; i++) {
		if (sr_blkfront_status(f->disks[disk].front) == -ESHUTDOWN)
			return 0;
		poll(NULL, 0, 1);
	}
	return fail(f, -ETIMEDOUT, "disk %u: the guest is not asked for it", disk);
}

int sr_fleet_detach(struct sr_fleet *f, unsigned disk, enum sr_fleet_order order)
{
	struct disk *d = &f->disks[disk];
	int rc = 0;

	if (order == SR_FLEET_GUEST_FIRST)
		rc = close_front(f, disk);
	if (!rc &&
	    !(put(f, XBT_NULL, d->back, "online", "0") && put(f, XBT_NULL, d->back, "state", "5")))
		rc = fail(f, -errno, "can't write %s: %s", d->back, strerror(errno));
	if (!rc && d->front) {
		rc = await_request(f, disk);
		if (!rc)
			rc = close_front(f, disk);
	}
	if (!rc)
		rc = await_closed(f, d);
	xs_rm(f->xs, XBT_NULL, d->path);
	xs_rm(f->xs, XBT_NULL, d->back);
	return rc;
}
