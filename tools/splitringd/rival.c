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

/* `vbd` is the name under which xen-blkback registers. */
static bool is_loaded(const char *root)
{
	return exists(root, "bus/xen-backend/drivers/vbd");
}

/* A module that was loaded has a state, one that is built in has not. */
static const char *remedy(const char *root)
{
	if (exists(root, "module/xen_blkback") && !exists(root, "module/xen_blkback/initstate"))
		return "boot this kernel with initcall_blacklist=xen_blkif_init";
	return "run modprobe -r xen-blkback, and blacklist it";
}

int rival_check_start(struct daemon *d, uint16_t domid, struct sr_fail *f)
{
	const char *root = sysfs_root(d);

	if (!root || !is_loaded(root) || !probes_by_itself(root))
		return 0;
	if (!daemon_serves_qdisk(d, domid))
		return sr_fail(f, EBUSY, "Linux's xen-blkback would serve the same disks; %s",
			       remedy(root));
	sr_log(&d->src, SR_LOG_WARNING,
	       "Linux's xen-blkback serves the disks below backend/vbd, which are left to it; to "
	       "change that %s",
	       remedy(root));
	return 0;
}

bool rival_takes(void *ctx, const char *type, uint16_t frontend, uint32_t devid, char *why,
		 size_t size)
{
	const char *root = sysfs_root(ctx);
	char driver[96];

	if (!root || strcmp(type, "vbd") || !is_loaded(root))
		return false;
	snprintf(driver, sizeof(driver), "bus/xen-backend/devices/vbd-%u-%u/driver", frontend,
		 devid);
	if (!probes_by_itself(root) && !exists(root, driver))
		return false;
	snprintf(why, size, "Linux's xen-blkback serves it; %s, then attach the disk again",
		 remedy(root));
	return true;
}
