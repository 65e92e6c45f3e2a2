/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 30000

static void *run(void *arg)
{
	struct harness *h = arg;

	sr_machine_run(h->machine);
	return NULL;
}

void harness_start(struct harness *h, const char *scheme)
{
	harness_start_with_frames(h, scheme, 0);
}

void harness_start_with_frames(struct harness *h, const char *scheme, unsigned frames)
{
	struct sr_machine_opts opts = { .guest_grant_frames = frames };
	struct sr_hypervisor *hv;

	memset(h, 0, sizeof(*h));
	snprintf(h->parent, sizeof(h->parent), "/tmp/sr-e2e-XXXXXX");
	assert_non_null(mkdtemp(h->parent));
	snprintf(h->dir, sizeof(h->dir), "%s/m", h->parent);
	snprintf(h->dom0, sizeof(h->dom0), "%s%s", scheme, h->dir);
	opts.dir = h->dir;
	assert_int_equal(sr_machine_new(&opts, &h->machine), 0);
	assert_int_equal(pthread_create(&h->thread, NULL, run, h), 0);
	assert_int_equal(sr_control_open(h->dir, &h->control), 0);
	assert_int_equal(sr_hv_open(h->dom0, &hv), 0);
	assert_int_equal(sr_hv_xenstore(hv, &h->xs), 0);
	sr_hv_close(hv);
}

void harness_stop(struct harness *h)
{
	xs_close(h->xs);
	sr_control_close(h->control);
	sr_machine_stop(h->machine);
	pthread_join(h->thread, NULL);
	sr_machine_free(h->machine);
	rmdir(h->parent);
}

static uint16_t make_domain(struct harness *h, enum sr_domain_kind kind, unsigned pages,
			    char address[128])
{
	struct sr_domain_spec spec = { .kind = kind, .pages = pages, .vcpus = 1 };
	char name[32];
	uint16_t domid;

	snprintf(name, sizeof(name), "domain%u", h->guests++);
	spec.name = name;
	assert_int_equal(sr_control_create(h->control, &spec, &domid), 0);
	snprintf(address, 128, "%s#%u", h->dom0, domid);
	return domid;
}

uint16_t harness_guest(struct harness *h, unsigned pages, char address[128])
{
	return make_domain(h, SR_KIND_GUEST, pages, address);
}

uint16_t harness_driver(struct harness *h, char address[128])
{
	return make_domain(h, SR_KIND_DRIVER, 1024, address);
}

void harness_destroy(struct harness *h, uint16_t domid)
{
	assert_int_equal(sr_control_destroy(h->control, domid), 0);
}

static void dir_of(const struct harness_disk *d, bool back, char path[96])
{
	if (back)
		snprintf(path, 96, "/local/domain/%u/backend/vbd/%u/%u", d->backend, d->domid,
			 d->vdev);
	else
		snprintf(path, 96, "/local/domain/%u/device/vbd/%u", d->domid, d->vdev);
}

static void put(struct harness *h, xs_transaction_t t, const char *dir, const char *node,
		const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	assert_true(xs_write(h->xs, t, path, value, (unsigned)strlen(value)));
}

static void make_dir(struct harness *h, xs_transaction_t t, const char *dir, unsigned owner,
		     unsigned reader)
{
	struct xs_permissions perms[2] = {
		{ .id = owner, .perms = XS_PERM_NONE },
		{ .id = reader, .perms = XS_PERM_READ },
	};

	assert_true(xs_mkdir(h->xs, t, dir));
	assert_true(xs_set_permissions(h->xs, t, dir, perms, 2));
}

static void put_nodes(struct harness *h, xs_transaction_t t, const struct harness_disk *d)
{
	char front[96], back[96], number[16];

	dir_of(d, false, front);
	dir_of(d, true, back);
	make_dir(h, t, front, d->domid, d->backend);
	make_dir(h, t, back, d->backend, d->domid);

	put(h, t, front, "backend", back);
	snprintf(number, sizeof(number), "%u", d->backend);
	put(h, t, front, "backend-id", number);
	put(h, t, front, "state", "1");
	snprintf(number, sizeof(number), "%u", d->vdev);
	put(h, t, front, "virtual-device", number);
	put(h, t, front, "device-type", d->cdrom ? "cdrom" : "disk");

	put(h, t, back, "frontend", front);
	snprintf(number, sizeof(number), "%u", d->domid);
	put(h, t, back, "frontend-id", number);
	put(h, t, back, "online", "1");
	put(h, t, back, "removable", d->cdrom ? "1" : "0");
	put(h, t, back, "bootable", "1");
	put(h, t, back, "state", "1");
	put(h, t, back, "dev", "xvda");
	put(h, t, back, "type", "phy");
	put(h, t, back, "mode", d->read_only ? "r" : "w");
	put(h, t, back, "device-type", d->cdrom ? "cdrom" : "disk");
	put(h, t, back, "discard-enable", d->no_discard ? "0" : "1");
	put(h, t, back, "params", d->params);
	if (d->extra)
		put(h, t, back, d->extra, d->extra_value);
}

void harness_attach(struct harness *h, const struct harness_disk *d)
{
	for (;;) {
		xs_transaction_t t = xs_transaction_start(h->xs);

		assert_int_not_equal(t, XBT_NULL);
		put_nodes(h, t, d);
		if (xs_transaction_end(h->xs, t, false))
			return;
		assert_int_equal(errno, EAGAIN);
	}
}

static char *read_node(struct harness *h, const struct harness_disk *d, bool back, const char *node)
{
	char dir[96], path[256];

	dir_of(d, back, dir);
	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return xs_read(h->xs, XBT_NULL, path, NULL);
}

char *harness_back_read(struct harness *h, const struct harness_disk *d, const char *node)
{
	return read_node(h, d, true, node);
}

char *harness_front_read(struct harness *h, const struct harness_disk *d, const char *node)
{
	return read_node(h, d, false, node);
}

static long number(struct harness *h, const struct harness_disk *d, bool back, const char *node)
{
	char *text = read_node(h, d, back, node);
	long value = text ? atol(text) : -1;

	free(text);
	return value;
}

long harness_back_number(struct harness *h, const struct harness_disk *d, const char *node)
{
	return number(h, d, true, node);
}

long harness_front_number(struct harness *h, const struct harness_disk *d, const char *node)
{
	return number(h, d, false, node);
}

void harness_back_write(struct harness *h, const struct harness_disk *d, const char *node,
			const char *format, ...)
{
	char dir[96], value[512];
	va_list args;

	va_start(args, format);
	vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	dir_of(d, true, dir);
	put(h, XBT_NULL, dir, node, value);
}

void harness_back_remove(struct harness *h, const struct harness_disk *d, const char *node)
{
	char dir[96], path[256];

	dir_of(d, true, dir);
	snprintf(path, sizeof(path), "%s/%s", dir, node);
	assert_true(xs_rm(h->xs, XBT_NULL, path));
}

static void await(struct harness *h, const struct harness_disk *d, bool back, const char *node,
		  long value)
{
	struct timespec nap = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < PATIENCE_MS; i++) {
		if (number(h, d, back, node) == value)
			return;
		nanosleep(&nap, NULL);
	}
	fail_msg("%s's %s is %ld, not %ld", back ? "backend" : "frontend", node,
		 number(h, d, back, node), value);
}

void harness_await_back(struct harness *h, const struct harness_disk *d, const char *node,
			long value)
{
	await(h, d, true, node, value);
}

void harness_await_front(struct harness *h, const struct harness_disk *d, const char *node,
			 long value)
{
	await(h, d, false, node, value);
}

void harness_remove(struct harness *h, const struct harness_disk *d)
{
	char front[96], back[96];

	dir_of(d, false, front);
	dir_of(d, true, back);
	/* A guest that is gone has taken its nodes with it. */
	assert_true(xs_rm(h->xs, XBT_NULL, front) || errno == ENOENT);
	assert_true(xs_rm(h->xs, XBT_NULL, back));
}

void harness_detach(struct harness *h, const struct harness_disk *d)
{
	if (harness_back_number(h, d, "state") != 6) {
		harness_back_write(h, d, "online", "0");
		harness_back_write(h, d, "state", "5");
		harness_await_back(h, d, "state", 6);
	}
	harness_remove(h, d);
}

void harness_usage(struct harness *h, struct harness_usage *usage)
{
	struct sr_domain_list_entry e;

	memset(usage, 0, sizeof(*usage));
	for (int after = -1; !sr_control_next(h->control, after, &e); after = e.domid) {
		usage->pinned += e.pinned;
		usage->granted += e.granted;
		usage->ports += e.ports;
		usage->connections += e.connections;
		usage->watches += e.store_watches;
		usage->nodes += e.store_nodes;
	}
}
