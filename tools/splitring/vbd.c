/* SPDX-License-Identifier: MIT */
#include "vbd.h"

#include "machines.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xen/io/xenbus.h>
#include <xenstore.h>

/* libxl gives a backend so long for each step. */
#define STEP_MS 10000
/* Where no daemon is there at all, one that is just being started gets so long. */
#define ABSENT_MS 2000

#define PATH_SIZE 160

static void frontend_path(const struct vbd *v, char *path)
{
	snprintf(path, PATH_SIZE, "/local/domain/%u/device/vbd/%u", v->domid, v->devid);
}

static void backend_path(const struct vbd *v, char *path)
{
	snprintf(path, PATH_SIZE, "/local/domain/%u/backend/%s/%u/%u", v->backend,
		 sr_disk_kind_name(v->kind), v->domid, v->devid);
}

static void record_path(const struct vbd *v, char *path)
{
	snprintf(path, PATH_SIZE, "/libxl/%u/device/vbd/%u", v->domid, v->devid);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool write_node(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *node,
		       const char *value)
{
	char path[PATH_SIZE + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return xs_write(xs, t, path, value, (unsigned)strlen(value));
}

static bool write_number(struct xs_handle *xs, xs_transaction_t t, const char *dir,
			 const char *node, uint32_t value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return write_node(xs, t, dir, node, text);
}

/* A fresh directory: owned by `owner`, readable by `reader`. */
static bool make_dir(struct xs_handle *xs, xs_transaction_t t, const char *path, uint16_t owner,
		     uint16_t reader)
{
	struct xs_permissions perms[] = {
		{ .id = owner, .perms = XS_PERM_NONE },
		{ .id = reader, .perms = XS_PERM_READ },
	};

	xs_rm(xs, t, path);
	return xs_mkdir(xs, t, path) &&
	       xs_set_permissions(xs, t, path, perms, owner == reader ? 1 : 2);
}

/* What libxl writes for a disk into the backend's directory, and again into its own record. */
static bool write_backend(struct xs_handle *xs, xs_transaction_t t, const char *dir,
			  const struct vbd *v, const struct sr_disk *disk)
{
	const char *prefix = v->kind == SR_DISK_QDISK ? "aio:" : "";
	char front[PATH_SIZE], params[PATH_MAX + 8];

	frontend_path(v, front);
	snprintf(params, sizeof(params), "%s%s", prefix, disk->target);
	return write_node(xs, t, dir, "frontend", front) &&
	       write_node(xs, t, dir, "params", params) &&
	       write_number(xs, t, dir, "frontend-id", v->domid) &&
	       write_node(xs, t, dir, "online", "1") &&
	       write_node(xs, t, dir, "removable", disk->removable ? "1" : "0") &&
	       write_node(xs, t, dir, "bootable", "1") &&
	       write_number(xs, t, dir, "state", XenbusStateInitialising) &&
	       write_node(xs, t, dir, "dev", disk->vdev) &&
	       write_node(xs, t, dir, "type", v->kind == SR_DISK_QDISK ? "qdisk" : "phy") &&
	       write_node(xs, t, dir, "mode", disk->writable ? "w" : "r") &&
	       write_node(xs, t, dir, "device-type", disk->cdrom ? "cdrom" : "disk") &&
	       (!disk->direct_io_safe || write_node(xs, t, dir, "direct-io-safe", "1")) &&
	       write_node(xs, t, dir, "discard-enable", disk->discard ? "1" : "0");
}

static bool write_frontend(struct xs_handle *xs, xs_transaction_t t, const char *dir,
			   const struct vbd *v, const struct sr_disk *disk, const char *back)
{
	return write_node(xs, t, dir, "backend", back) &&
	       write_number(xs, t, dir, "backend-id", v->backend) &&
	       write_number(xs, t, dir, "state", XenbusStateInitialising) &&
	       write_number(xs, t, dir, "virtual-device", v->devid) &&
	       write_node(xs, t, dir, "device-type", disk->cdrom ? "cdrom" : "disk");
}

static bool exists(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
	unsigned len;
	void *value = xs_read(xs, t, path, &len);

	free(value);
	return value;
}

static bool write_all(struct xs_handle *xs, xs_transaction_t t, const struct vbd *v,
		      const struct sr_disk *disk)
{
	char front[PATH_SIZE], back[PATH_SIZE], record[PATH_SIZE];

	frontend_path(v, front);
	backend_path(v, back);
	record_path(v, record);
	return make_dir(xs, t, front, v->domid, v->backend) &&
	       write_frontend(xs, t, front, v, disk, back) &&
	       make_dir(xs, t, back, v->backend, v->domid) && write_backend(xs, t, back, v, disk) &&
	       make_dir(xs, t, record, 0, 0) && write_node(xs, t, record, "backend", back) &&
	       write_backend(xs, t, record, v, disk);
}

int vbd_add(struct xs_handle *xs, const struct vbd *v, const struct sr_disk *disk,
	    struct sr_fail *f)
{
	char record[PATH_SIZE];

	record_path(v, record);
	for (;;) {
		xs_transaction_t t = xs_transaction_start(xs);

		if (t == XBT_NULL)
			break;
		if (exists(xs, t, record)) {
			xs_transaction_end(xs, t, true);
			return sr_fail(f, EEXIST,
				       "%s: domain %u has such a disk; detach it, or use another "
				       "vdev",
				       disk->vdev, v->domid);
		}
		if (!write_all(xs, t, v, disk)) {
			int err = errno;

			xs_transaction_end(xs, t, true);
			errno = err;
			break;
		}
		if (xs_transaction_end(xs, t, false))
			return 0;
		if (errno != EAGAIN)
			break;
	}
	return sr_fail(f, errno, "%s: can't write its nodes into xenstore: %m", disk->vdev);
}

char *vbd_read(struct xs_handle *xs, const struct vbd *v, const char *node)
{
	char dir[PATH_SIZE], path[PATH_SIZE + 64];

	backend_path(v, dir);
	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return xs_read(xs, XBT_NULL, path, NULL);
}

int vbd_state(struct xs_handle *xs, const struct vbd *v)
{
	char *text = vbd_read(xs, v, "state");
	int state = text ? atoi(text) : -1;

	free(text);
	return state;
}

/* Sleeps until the watch on the backend's directory fires or `deadline` (ms) has come. */
static bool wait_event(struct xs_handle *xs, int64_t deadline)
{
	struct pollfd fd = { .fd = xs_fileno(xs), .events = POLLIN };
	int64_t left = deadline - now_ms();
	char **event = xs_check_watch(xs);

	if (!event && left > 0 && poll(&fd, 1, (int)left) > 0)
		event = xs_check_watch(xs);
	free(event);
	return left > 0;
}

static void forget_events(struct xs_handle *xs, const char *path)
{
	char **event;

	xs_unwatch(xs, path, "vbd");
	while ((event = xs_check_watch(xs)))
		free(event);
}

static int check_served(struct xs_handle *xs, const struct vbd *v, const struct sr_disk *disk,
			struct sr_fail *f)
{
	char *status = vbd_read(xs, v, "hotplug-status");
	bool refused = status && !strcmp(status, "error");
	int state = vbd_state(xs, v), ret = -EAGAIN;
	char *why;

	free(status);
	if (state < 0)
		return sr_fail(f, EIO, "%s: the device was removed while it was being attached",
			       disk->vdev);
	if (refused || state == XenbusStateClosing || state == XenbusStateClosed) {
		why = vbd_read(xs, v, "hotplug-error");
		ret = sr_fail(f, EIO, "%s: splitringd refused it: %s", disk->vdev,
			      why ? why : "no reason given; see its log");
		free(why);
	} else if (state >= XenbusStateInitWait) {
		ret = 0;
	}
	return ret;
}

int vbd_wait(struct xs_handle *xs, const char *dir, const struct vbd *v, const struct sr_disk *disk,
	     struct sr_fail *f)
{
	int64_t start = now_ms(), absent = start + ABSENT_MS, deadline = start + STEP_MS;
	char back[PATH_SIZE];
	bool alive = true;
	int ret;

	backend_path(v, back);
	if (!xs_watch(xs, back, "vbd"))
		return sr_fail(f, errno, "%s: can't watch xenstore: %m", disk->vdev);
	while ((ret = check_served(xs, v, disk, f)) == -EAGAIN) {
		alive = machine_has_daemon(dir, v->backend);
		if (!wait_event(xs, alive ? deadline : absent))
			break;
	}
	forget_events(xs, back);
	if (ret != -EAGAIN)
		return ret;
	if (!alive)
		return sr_fail(f, ENOENT,
			       "%s: no splitringd serves domain %u; start it: splitringd "
			       "--hypervisor embedded:%s",
			       disk->vdev, v->backend, dir);
	return sr_fail(f, ETIMEDOUT, "%s: splitringd has not answered in %d s; see its log",
		       disk->vdev, STEP_MS / 1000);
}

static void erase_empty(struct xs_handle *xs, char *path)
{
	for (int up = 0; up < 2; up++) {
		unsigned n = 1;
		char **names;

		*strrchr(path, '/') = '\0';
		names = xs_directory(xs, XBT_NULL, path, &n);
		free(names);
		if (!names || n)
			return;
		xs_rm(xs, XBT_NULL, path);
	}
}

void vbd_erase(struct xs_handle *xs, const struct vbd *v)
{
	char front[PATH_SIZE], back[PATH_SIZE], record[PATH_SIZE];
	xs_transaction_t t;

	frontend_path(v, front);
	backend_path(v, back);
	record_path(v, record);
	do {
		t = xs_transaction_start(xs);
		if (t == XBT_NULL)
			return;
		xs_rm(xs, t, front);
		xs_rm(xs, t, back);
		xs_rm(xs, t, record);
	} while (!xs_transaction_end(xs, t, false) && errno == EAGAIN);
	erase_empty(xs, front);
	erase_empty(xs, back);
	erase_empty(xs, record);
}

/* online 0 and state 5 in one transaction: the backend is to close and not to wait for a reconnect.
 */
static int ask_to_close(struct xs_handle *xs, const struct vbd *v, struct sr_fail *f)
{
	char back[PATH_SIZE];
	xs_transaction_t t;

	backend_path(v, back);
	do {
		t = xs_transaction_start(xs);
		if (t == XBT_NULL || !write_node(xs, t, back, "online", "0") ||
		    !write_number(xs, t, back, "state", XenbusStateClosing)) {
			sr_fail(f, errno, "can't write into xenstore: %m");
			if (t != XBT_NULL)
				xs_transaction_end(xs, t, true);
			return -EIO;
		}
	} while (!xs_transaction_end(xs, t, false) && errno == EAGAIN);
	return 0;
}

int vbd_remove(struct xs_handle *xs, const char *dir, const struct vbd *v, bool force,
	       struct sr_fail *f)
{
	int64_t deadline = now_ms() + STEP_MS;
	int state = vbd_state(xs, v), ret = 0;
	char back[PATH_SIZE];

	if (force) {
		vbd_erase(xs, v);
		return 0;
	}
	backend_path(v, back);
	if (state >= 0 && state != XenbusStateClosed)
		ret = ask_to_close(xs, v, f);
	if (ret)
		return ret;
	if (machine_has_daemon(dir, v->backend) && xs_watch(xs, back, "vbd")) {
		do
			state = vbd_state(xs, v);
		while (state >= 0 && state != XenbusStateClosed && wait_event(xs, deadline));
		forget_events(xs, back);
		if (state >= 0 && state != XenbusStateClosed)
			return sr_fail(
			    f, EBUSY,
			    "domain %u has not let go of the disk in %d s; try again, or "
			    "use --force",
			    v->domid, STEP_MS / 1000);
	}
	vbd_erase(xs, v);
	return 0;
}

/* "/local/domain/B/backend/KIND/DOMID/DEVID" */
static bool parse_backend(const char *path, struct vbd *v)
{
	unsigned backend, domid, devid;
	char kind[8];

	if (sscanf(path, "/local/domain/%u/backend/%7[a-z]/%u/%u", &backend, kind, &domid,
		   &devid) != 4)
		return false;
	v->backend = (uint16_t)backend;
	v->kind = strcmp(kind, "qdisk") ? SR_DISK_VBD : SR_DISK_QDISK;
	return domid == v->domid && devid == v->devid;
}

int vbd_find(struct xs_handle *xs, uint16_t domid, uint32_t devid, struct vbd *v)
{
	char path[PATH_SIZE], *back;
	bool good;

	*v = (struct vbd){ .domid = domid, .devid = devid };
	record_path(v, path);
	strcat(path, "/backend");
	back = xs_read(xs, XBT_NULL, path, NULL);
	good = back && parse_backend(back, v);
	free(back);
	return good ? 0 : -ENOENT;
}

static int by_devid(const void *a, const void *b)
{
	uint32_t x = ((const struct vbd *)a)->devid, y = ((const struct vbd *)b)->devid;

	return x < y ? -1 : x > y;
}

int vbd_list(struct xs_handle *xs, uint16_t domid, struct vbd **vbds, unsigned *count)
{
	char path[PATH_SIZE], **names;
	unsigned n = 0;

	*vbds = NULL;
	*count = 0;
	snprintf(path, sizeof(path), "/libxl/%u/device/vbd", domid);
	names = xs_directory(xs, XBT_NULL, path, &n);
	if (!names || !n) {
		free(names);
		return 0;
	}
	*vbds = calloc(n, sizeof(**vbds));
	for (unsigned i = 0; *vbds && i < n; i++)
		if (!vbd_find(xs, domid, (uint32_t)strtoul(names[i], NULL, 10), *vbds + *count))
			(*count)++;
	free(names);
	if (!*vbds)
		return -ENOMEM;
	qsort(*vbds, *count, sizeof(**vbds), by_devid);
	return 0;
}
