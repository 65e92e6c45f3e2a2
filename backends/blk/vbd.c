/* SPDX-License-Identifier: MIT */
/* A disk as a class of devices, and what is its own: the medium that grows or is changed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hypervisor.h>

#include "vbd.h"

/* --- resize and change of medium ----------------------------------------------------------------
 */

int sr_vbd_refresh(struct sr_vbd *v)
{
	struct sr_blk_info info = v->info;
	int rc;

	if (!v->open || !v->driver->refresh)
		return v->open ? -EOPNOTSUPP : -ENODEV;
	rc = v->driver->refresh(v->disk, &info);
	if (!rc)
		rc = sr_blk_info_check(&info, v->dev.error, sizeof(v->dev.error));
	if (rc || info.size == v->info.size)
		return rc;
	v->info.size = info.size;
	/* The queues check against the new size from now on, before the guest can use it. */
	__atomic_store_n(&v->geometry.sectors, info.size >> SR_SECTOR_SHIFT, __ATOMIC_RELAXED);
	sr_log(&v->dev.log, SR_LOG_INFO, "the disk has %llu MiB now",
	       (unsigned long long)info.size >> 20);
	return v->dev.state == XenbusStateConnected ? sr_device_publish_connected(&v->dev) : 0;
}

static void take_refresh(struct sr_vbd *v)
{
	char *value;
	int rc;

	/* Our removal makes the watch fire again. */
	v->refresh_wanted = false;
	if (sr_device_get(&v->dev, "refresh", &value)) {
		v->refresh_wanted = v->dev.trouble != 0;
		return;
	}
	free(value);
	sr_xs_remove(v->dev.xs, XBT_NULL, v->dev.path, "refresh");
	rc = sr_vbd_refresh(v);
	if (rc)
		sr_log(&v->dev.log, SR_LOG_ERROR, "can't look at the disk's size again: %s",
		       strerror(-rc));
}

/* The toolstack has put another medium into the drive, or tries again with a disk that failed. */
static void look_at_params(struct sr_vbd *v)
{
	char *params;

	if (sr_vbd_read_params(v, &params))
		return;
	if (strcmp(params, v->params)) {
		sr_device_try_again(&v->dev);
		if (v->cdrom && v->open && v->dev.attached) {
			/* The requests in hand are for the old medium: they are answered first. */
			v->swap = true;
			sr_device_detach(&v->dev, true);
		}
	}
	free(params);
}

static void swap_medium(struct sr_vbd *v)
{
	sr_vbd_read_nodes(&v->dev);
	if (v->dev.trouble)
		return;
	v->swap = false;
	sr_vbd_close_disk(&v->dev);
	if (sr_vbd_open_disk(&v->dev)) {
		sr_log(&v->dev.log, SR_LOG_ERROR, "%s; the drive stays empty", v->dev.error);
		v->params[0] = 0;
		sr_vbd_open_disk(&v->dev);
	}
	if (sr_vbd_resume(&v->dev)) {
		sr_log(&v->dev.log, SR_LOG_ERROR, "%s", v->dev.error);
		v->dev.failed = true;
		return;
	}
	sr_log(&v->dev.log, SR_LOG_INFO, "the medium is %s now", *v->params ? v->params : "out");
	sr_device_report(&v->dev, "the medium's size", sr_device_publish_connected(&v->dev));
}

/* --- the class ----------------------------------------------------------------------------------
 */

static void log_connected(struct sr_device *dev)
{
	const struct sr_vbd *v = sr_vbd_of(dev);

	sr_log_guest(&dev->log, SR_LOG_INFO, "%s: %s, %llu MiB, %u queue%s of %u page%s%s%s",
		     dev->recovered ? "taken over" : "connected",
		     *v->params ? v->params : "no medium",
		     (unsigned long long)v->geometry.sectors >> 11, v->conn.queues,
		     v->conn.queues > 1 ? "s" : "", 1u << v->conn.order, v->conn.order ? "s" : "",
		     v->conn.persistent ? ", persistent grants" : "",
		     v->geometry.read_only ? ", read-only" : "");
}

static void written(struct sr_device *dev, const char *key)
{
	if (!strcmp(key, "refresh"))
		sr_vbd_of(dev)->refresh_wanted = true;
}

static void prepare(struct sr_device *dev)
{
	struct sr_vbd *v = sr_vbd_of(dev);

	if (v->refresh_wanted && !dev->foreign)
		take_refresh(v);
	if (v->swap)
		swap_medium(v);
	else if (v->cdrom || dev->refused)
		look_at_params(v);
}

static void free_vbd(struct sr_device *dev)
{
	struct sr_vbd *v = sr_vbd_of(dev);

	if (v->guest)
		sr_guest_put(v->bb, v->guest);
	free(v->params);
}

static const char *const keys[] = { "params", "refresh", NULL };

const struct sr_device_class sr_vbd_class = {
	.size = sizeof(struct sr_vbd),
	.keys = keys,
	.script = "block-splitring",
	.start = sr_blkback_start,
	.stop = sr_blkback_end,
	.read_nodes = sr_vbd_read_nodes,
	.free = free_vbd,
	.written = written,
	.prepare = prepare,
	.open = sr_vbd_open_disk,
	.close = sr_vbd_close_disk,
	.put_offer = sr_vbd_put_offer,
	.connect = sr_vbd_connect,
	.put_connected = sr_vbd_put_disk,
	.log_connected = log_connected,
	.detach = sr_vbd_detach,
	.check_record = sr_vbd_check_record,
	.resume = sr_vbd_resume,
};
