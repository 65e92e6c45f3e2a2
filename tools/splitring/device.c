/* SPDX-License-Identifier: MIT */
#include "device.h"

#include "machines.h"

#include <errno.h>
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

static const char *const type_names[] = {
	[DEVICE_VBD] = "vbd",
	[DEVICE_QDISK] = "qdisk",
	[DEVICE_VIF] = "vif",
};

/* A guest has no two ways to a disk. */
static const char *front_name(enum device_type type)
{
	return type == DEVICE_VIF ? "vif" : "vbd";
}

const char *device_word(const struct device *v)
{
	return v->type == DEVICE_VIF ? "NIC" : "disk";
}

static void frontend_path(const struct device *v, char *path)
{
	snprintf(path, PATH_SIZE, "/local/domain/%u/device/%s/%u", v->domid, front_name(v->type),
		 v->devid);
}

static void backend_path(const struct device *v, char *path)
{
	snprintf(path, PATH_SIZE, "/local/domain/%u/backend/%s/%u/%u", v->backend,
		 type_names[v->type], v->domid, v->devid);
}

static void record_path(const struct device *v, char *path)
{
	snprintf(path, PATH_SIZE, "/libxl/%u/device/%s/%u", v->domid, front_name(v->type),
		 v->devid);
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

static bool exists(struct xs_handle *xs, xs_transaction_t t, const char *path)
{
	unsigned len;
	void *value = xs_read(xs, t, path, &len);

	free(value);
	return value;
}

static bool write_all(struct xs_handle *xs, xs_transaction_t t, const struct device *v,
		      device_writer *writer, const void *arg)
{
	char front[PATH_SIZE], back[PATH_SIZE], record[PATH_SIZE];
	struct device_nodes nodes = { .xs = xs, .t = t, .dir = front };

	frontend_path(v, front);
	backend_path(v, back);
	record_path(v, record);
	if (!make_dir(xs, t, front, v->domid, v->backend) ||
	    !write_node(xs, t, front, "backend", back) ||
	    !write_number(xs, t, front, "backend-id", v->backend) ||
	    !write_number(xs, t, front, "state", XenbusStateInitialising) ||
	    !writer(&nodes, v, arg, false) || !make_dir(xs, t, back, v->backend, v->domid) ||
	    !make_dir(xs, t, record, 0, 0) || !write_node(xs, t, record, "backend", back))
		return false;
	/* libxl keeps a record of its own of what it has told the backend. */
	for (unsigned i = 0; i < 2; i++) {
		nodes.dir = i ? record : back;
		if (!write_node(xs, t, nodes.dir, "frontend", front) ||
		    !write_number(xs, t, nodes.dir, "frontend-id", v->domid) ||
		    !write_node(xs, t, nodes.dir, "online", "1") ||
		    !write_number(xs, t, nodes.dir, "state", XenbusStateInitialising) ||
		    !writer(&nodes, v, arg, true))
			return false;
	}
	return true;
}

int device_add(struct xs_handle *xs, const struct device *v, device_writer *writer, const void *arg,
	       const char *name, struct sr_fail *f)
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
				       "%s: domain %u has such a %s; detach it, or use another %s",
				       name, v->domid, device_word(v),
				       v->type == DEVICE_VIF ? "devid" : "vdev");
		}
		if (!write_all(xs, t, v, writer, arg)) {
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
	return sr_fail(f, errno, "%s: can't write its nodes into xenstore: %m", name);
}

char *device_read(struct xs_handle *xs, const struct device *v, const char *node)
{
	char dir[PATH_SIZE], path[PATH_SIZE + 64];

	backend_path(v, dir);
	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return xs_read(xs, XBT_NULL, path, NULL);
}

int device_write(struct xs_handle *xs, const struct device *v, const char *node, const char *value)
{
	char dir[PATH_SIZE];
	xs_transaction_t t;
	bool ok;

	backend_path(v, dir);
	do {
		char state[PATH_SIZE + 64], *text;

		snprintf(state, sizeof(state), "%s/state", dir);
		t = xs_transaction_start(xs);
		text = t ? xs_read(xs, t, state, NULL) : NULL;
		ok = text && write_node(xs, t, dir, node, value);
		free(text);
		if (!ok && t) {
			int e = errno;

			xs_transaction_end(xs, t, true);
			errno = e;
			return -errno;
		}
		ok = ok && xs_transaction_end(xs, t, false);
	} while (!ok && t && errno == EAGAIN);
	return ok ? 0 : -errno;
}

int device_state(struct xs_handle *xs, const struct device *v)
{
	char *text = device_read(xs, v, "state");
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

bool device_put(const struct device_nodes *nodes, const char *node, const char *value)
{
	return write_node(nodes->xs, nodes->t, nodes->dir, node, value);
}

bool device_put_number(const struct device_nodes *nodes, const char *node, uint32_t value)
{
	return write_number(nodes->xs, nodes->t, nodes->dir, node, value);
}

static void forget_events(struct xs_handle *xs, const char *path)
{
	char **event;

	xs_unwatch(xs, path, "device");
	while ((event = xs_check_watch(xs)))
		free(event);
}

static int check_served(struct xs_handle *xs, const struct device *v, const char *name,
			struct sr_fail *f)
{
	char *status = device_read(xs, v, "hotplug-status");
	bool refused = status && !strcmp(status, "error");
	int state = device_state(xs, v), ret = -EAGAIN;
	char *why;

	free(status);
	if (state < 0)
		return sr_fail(f, EIO, "%s: the device was removed while it was being attached",
			       name);
	if (refused || state == XenbusStateClosing || state == XenbusStateClosed) {
		why = device_read(xs, v, "hotplug-error");
		ret = sr_fail(f, EIO, "%s: splitringd refused it: %s", name,
			      why ? why : "no reason given; see its log");
		free(why);
	} else if (state >= XenbusStateInitWait) {
		ret = 0;
	}
	return ret;
}

int device_wait(struct xs_handle *xs, const char *dir, const struct device *v, const char *name,
		struct sr_fail *f)
{
	int64_t start = now_ms(), absent = start + ABSENT_MS, deadline = start + STEP_MS;
	char back[PATH_SIZE];
	bool alive = true;
	int ret;

	backend_path(v, back);
	if (!xs_watch(xs, back, "device"))
		return sr_fail(f, errno, "%s: can't watch xenstore: %m", name);
	while ((ret = check_served(xs, v, name, f)) == -EAGAIN) {
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
			       name, v->backend, dir);
	return sr_fail(f, ETIMEDOUT, "%s: splitringd has not answered in %d s; see its log", name,
		       STEP_MS / 1000);
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

void device_erase(struct xs_handle *xs, const struct device *v)
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
static int ask_to_close(struct xs_handle *xs, const struct device *v, struct sr_fail *f)
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

int device_remove(struct xs_handle *xs, const char *dir, const struct device *v, bool force,
		  struct sr_fail *f)
{
	int64_t deadline = now_ms() + STEP_MS;
	int state = device_state(xs, v), ret = 0;
	char back[PATH_SIZE];

	if (force) {
		device_erase(xs, v);
		return 0;
	}
	backend_path(v, back);
	if (state >= 0 && state != XenbusStateClosed)
		ret = ask_to_close(xs, v, f);
	if (ret)
		return ret;
	if (machine_has_daemon(dir, v->backend) && xs_watch(xs, back, "device")) {
		do
			state = device_state(xs, v);
		while (state >= 0 && state != XenbusStateClosed && wait_event(xs, deadline));
		forget_events(xs, back);
		if (state >= 0 && state != XenbusStateClosed)
			return sr_fail(f, EBUSY,
				       "domain %u has not let go of the %s in %d s; try again, or "
				       "use --force",
				       v->domid, device_word(v), STEP_MS / 1000);
	}
	device_erase(xs, v);
	return 0;
}

/* "/local/domain/B/backend/KIND/DOMID/DEVID" */
static bool parse_backend(const char *path, struct device *v)
{
	unsigned backend, domid, devid;
	char kind[8];

	if (sscanf(path, "/local/domain/%u/backend/%7[a-z]/%u/%u", &backend, kind, &domid,
		   &devid) != 4)
		return false;
	v->backend = (uint16_t)backend;
	if (v->type != DEVICE_VIF)
		v->type = strcmp(kind, "qdisk") ? DEVICE_VBD : DEVICE_QDISK;
	return domid == v->domid && devid == v->devid && !strcmp(kind, type_names[v->type]);
}

int device_find(struct xs_handle *xs, enum device_type type, uint16_t domid, uint32_t devid,
		struct device *v)
{
	char path[PATH_SIZE], *back;
	bool good;

	*v = (struct device){ .type = type, .domid = domid, .devid = devid };
	record_path(v, path);
	strcat(path, "/backend");
	back = xs_read(xs, XBT_NULL, path, NULL);
	good = back && parse_backend(back, v);
	free(back);
	return good ? 0 : -ENOENT;
}

static int by_devid(const void *a, const void *b)
{
	uint32_t x = ((const struct device *)a)->devid, y = ((const struct device *)b)->devid;

	return x < y ? -1 : x > y;
}

int device_list(struct xs_handle *xs, enum device_type type, uint16_t domid,
		struct device **devices, unsigned *count)
{
	char path[PATH_SIZE], **names;
	unsigned n = 0;

	*devices = NULL;
	*count = 0;
	snprintf(path, sizeof(path), "/libxl/%u/device/%s", domid, front_name(type));
	names = xs_directory(xs, XBT_NULL, path, &n);
	if (!names || !n) {
		free(names);
		return 0;
	}
	*devices = calloc(n, sizeof(**devices));
	for (unsigned i = 0; *devices && i < n; i++)
		if (!device_find(xs, type, domid, (uint32_t)strtoul(names[i], NULL, 10),
				 *devices + *count))
			(*count)++;
	free(names);
	if (!*devices)
		return -ENOMEM;
	qsort(*devices, *count, sizeof(**devices), by_devid);
	return 0;
}
