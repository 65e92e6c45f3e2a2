/* SPDX-License-Identifier: MIT */
#include "rival.h"

#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* NULL: there is nothing to look at. */
static const char *sysfs_root(const struct daemon *d)
{
	const char *root = getenv("SPLITRING_SYSFS");

	if (root && *root)
		return root;
	return strcmp(d->opt.hypervisor, "xen:") ? NULL : "/sys";
}

static bool exists(const char *root, const char *path)
{
	char full[PATH_MAX];

	return (size_t)snprintf(full, sizeof(full), "%s/%s", root, path) < sizeof(full) &&
	       !access(full, F_OK);
}

/* Whether the kernel gives new devices to their drivers by itself; an administrator may forbid it.
 */
static bool probes_by_itself(const char *root)
{
	char full[PATH_MAX], value = '1';
	int fd = -1;

	if ((size_t)snprintf(full, sizeof(full), "%s/bus/xen-backend/drivers_autoprobe", root) <
	    sizeof(full))
		fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	if (read(fd, &value, 1) != 1)
		value = '1';
	close(fd);
	return value != '0';
}

/* Linux's own backends. */
struct rival {
	const char *type;   /* below backend/, and the name under which its driver registers */
	const char *device; /* what it serves, for people */
	const char *module, *folder, *initcall;
};

static const struct rival rivals[] = {
	{ "vbd", "disk", "xen-blkback", "xen_blkback", "xen_blkif_init" },
	{ "vif", "NIC", "xen-netback", "xen_netback", "netback_init" },
};

static const struct rival *const blkback = &rivals[0], *const netback = &rivals[1];

static bool is_loaded(const char *root, const struct rival *r)
{
	char path[64];

	snprintf(path, sizeof(path), "bus/xen-backend/drivers/%s", r->type);
	return exists(root, path);
}

/* A module that was loaded has a state, one that is built in has not. */
static void remedy(const char *root, const struct rival *r, char *text, size_t size)
{
	char folder[64], state[80];

	snprintf(folder, sizeof(folder), "module/%s", r->folder);
	snprintf(state, sizeof(state), "%s/initstate", folder);
	if (exists(root, folder) && !exists(root, state))
		snprintf(text, size, "boot this kernel with initcall_blacklist=%s", r->initcall);
	else
		snprintf(text, size, "run modprobe -r %s, and blacklist it", r->module);
}

int rival_check_start(struct daemon *d, uint16_t domid, struct sr_fail *f)
{
	const char *root = sysfs_root(d);
	char what[96];

	if (!root || !probes_by_itself(root))
		return 0;
	if (d->opt.bridge_count && is_loaded(root, netback)) {
		remedy(root, netback, what, sizeof(what));
		return sr_fail(f, EBUSY, "Linux's xen-netback would serve the same NICs; %s", what);
	}
	if (!is_loaded(root, blkback))
		return 0;
	remedy(root, blkback, what, sizeof(what));
	if (!daemon_serves_qdisk(d, domid))
		return sr_fail(f, EBUSY, "Linux's xen-blkback would serve the same disks; %s",
			       what);
	sr_log(&d->src, SR_LOG_WARNING,
	       "Linux's xen-blkback serves the disks below backend/vbd, which are left to it; to "
	       "change that %s",
	       what);
	return 0;
}

bool rival_takes(void *ctx, const char *type, uint16_t frontend, uint32_t devid, char *why,
		 size_t size)
{
	const char *root = sysfs_root(ctx);
	const struct rival *r = blkback;
	char driver[96], what[96];

	if (!strcmp(type, netback->type))
		r = netback;
	if (!root || strcmp(type, r->type) || !is_loaded(root, r))
		return false;
	snprintf(driver, sizeof(driver), "bus/xen-backend/devices/%s-%u-%u/driver", r->type,
		 frontend, devid);
	if (!probes_by_itself(root) && !exists(root, driver))
		return false;
	remedy(root, r, what, sizeof(what));
	snprintf(why, size, "Linux's %s serves it; %s, then attach the %s again", r->module, what,
		 r->device);
	return true;
}
