/* SPDX-License-Identifier: MIT */
#include "caretaker.h"

#include "device.h"
#include "machines.h"

#include <embedded/control.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

struct known {
	uint16_t domid;
	char name[SR_NAME_MAX + 1];
	bool seen;
};

struct caretaker {
	char *dir;
	pthread_t thread;
	struct xs_handle *xs;
	struct sr_control *ctl;
	struct known *known; /* the domains, as of the last look */
	size_t count;
};

static bool is_alive(const struct caretaker *c, uint16_t domid)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->known[i].domid == domid)
			return true;
	return false;
}

static void forget_unseen(struct caretaker *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->count; i++) {
		if (c->known[i].seen)
			c->known[kept++] = c->known[i];
		else
			machine_log(c->dir, "machine: domain %u (%s) is gone", c->known[i].domid,
				    c->known[i].name);
	}
	c->count = kept;
}

static void see(struct caretaker *c, const struct sr_domain_list_entry *entry)
{
	struct known *more;

	for (size_t i = 0; i < c->count; i++) {
		if (c->known[i].domid == entry->domid) {
			c->known[i].seen = true;
			return;
		}
	}
	more = realloc(c->known, (c->count + 1) * sizeof(*more));
	if (!more)
		return;
	c->known = more;
	more[c->count] = (struct known){ .domid = entry->domid, .seen = true };
	memcpy(more[c->count].name, entry->name, sizeof(entry->name));
	c->count++;
	machine_log(c->dir, "machine: domain %u (%s), %llu MiB, %u vcpus", entry->domid,
		    entry->name, (unsigned long long)entry->pages / 256, entry->vcpus);
}

static int look_at_domains(struct caretaker *c)
{
	struct sr_domain_list_entry entry;
	int at = -1, ret;

	for (size_t i = 0; i < c->count; i++)
		c->known[i].seen = false;
	while (!(ret = sr_control_next(c->ctl, at, &entry))) {
		at = entry.domid;
		/* One that is dying has no nodes of its own any more: its devices are to go, too.
		 */
		if (entry.status == SR_DOMAIN_RUNNING)
			see(c, &entry);
	}
	if (ret == -ENOENT)
		forget_unseen(c);
	return ret == -ENOENT ? 0 : ret;
}

static char **list(struct caretaker *c, const char *path, unsigned *n)
{
	*n = 0;
	return xs_directory(c->xs, XBT_NULL, path, n);
}

/* A device of a guest that is gone: closed by its backend, then removed. */
static void clean_device(struct caretaker *c, const struct device *vbd)
{
	struct sr_fail f;

	if (!device_remove(c->xs, c->dir, vbd, false, &f))
		return;
	machine_log(c->dir, "machine: domain %u, %s %u: %s; removed all the same", vbd->domid,
		    device_word(vbd), vbd->devid, f.line);
	device_erase(c->xs, vbd);
}

/* What domain `backend` serves, or served, to guests that are gone. */
static void clean_type(struct caretaker *c, uint16_t backend, enum device_type type,
		       const char *name)
{
	struct device vbd = { .backend = backend, .type = type };
	char path[96], **guests, **devices;
	unsigned n, m;

	snprintf(path, sizeof(path), "/local/domain/%u/backend/%s", backend, name);
	guests = list(c, path, &n);
	for (unsigned i = 0; guests && i < n; i++) {
		vbd.domid = (uint16_t)strtoul(guests[i], NULL, 10);
		if (is_alive(c, vbd.domid))
			continue;
		snprintf(path, sizeof(path), "/local/domain/%u/backend/%s/%u", backend, name,
			 vbd.domid);
		devices = list(c, path, &m);
		for (unsigned j = 0; devices && j < m; j++) {
			vbd.devid = (uint32_t)strtoul(devices[j], NULL, 10);
			clean_device(c, &vbd);
		}
		free(devices);
	}
	free(guests);
}

static void clean(struct caretaker *c)
{
	for (size_t i = 0; i < c->count; i++) {
		clean_type(c, c->known[i].domid, DEVICE_VBD, "vbd");
		clean_type(c, c->known[i].domid, DEVICE_QDISK, "qdisk");
		clean_type(c, c->known[i].domid, DEVICE_VIF, "vif");
	}
}

static void *run(void *arg)
{
	struct caretaker *c = arg;
	char **event;

	if (sr_control_open(c->dir, &c->ctl))
		return NULL;
	c->xs = machine_xenstore(c->dir);
	if (!c->xs || !xs_watch(c->xs, "@releaseDomain", "") ||
	    !xs_watch(c->xs, "@introduceDomain", ""))
		return NULL;
	/* Each watch fires once when it is set, so the first look needs no event of its own. */
	for (;;) {
		unsigned n;

		event = xs_read_watch(c->xs, &n);
		if (!event)
			return NULL;
		do
			free(event);
		while ((event = xs_check_watch(c->xs)));
		if (look_at_domains(c))
			return NULL;
		clean(c);
	}
}

int caretaker_start(const char *dir, struct caretaker **out)
{
	struct caretaker *c = calloc(1, sizeof(*c));
	sigset_t all, old;
	int ret;

	if (!c)
		return -ENOMEM;
	c->dir = strdup(dir);
	/* Signals are for the machine's thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = c->dir ? -pthread_create(&c->thread, NULL, run, c) : -ENOMEM;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ret) {
		free(c->dir);
		free(c);
		return ret;
	}
	*out = c;
	return 0;
}

void caretaker_join(struct caretaker *c)
{
	if (!c)
		return;
	pthread_join(c->thread, NULL);
	if (c->xs)
		xs_close(c->xs);
	sr_control_close(c->ctl);
	free(c->known);
	free(c->dir);
	free(c);
}
