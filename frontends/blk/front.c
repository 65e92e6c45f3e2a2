/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <blkfront/vdev.h>

/* open() and close(): the order of things. */

#define LARGEST_SECTOR 65536u

void sr_front_break(struct sr_blkfront *f, const char *reason)
{
	if (atomic_exchange(&f->status, -EIO) == -EIO)
		return;
	atomic_store(&f->reason, reason);
	(void)eventfd_write(f->wake_fd, 1);
}

const struct sr_blkfront_info *sr_blkfront_info(const struct sr_blkfront *f)
{
	return &f->info;
}

uint64_t sr_blkfront_size(const struct sr_blkfront *f)
{
	return atomic_load_explicit(&f->size, memory_order_relaxed);
}

int sr_blkfront_status(const struct sr_blkfront *f)
{
	return sr_front_status(f);
}

const char *sr_blkfront_reason(const struct sr_blkfront *f)
{
	return atomic_load(&f->reason);
}

struct sr_blkfront_queue *sr_blkfront_queue(struct sr_blkfront *f, unsigned index)
{
	return &f->queues[index];
}

/* Before the rings are made. */
static void negotiate(struct sr_blkfront *f)
{
	const struct sr_blkfront_options *o = &f->options;
	uint64_t queues, order;

	queues =
	    sr_frontbus_read_or(&f->bus, f->bus.backend, "multi-queue-max-queues", UINT32_MAX, 1);
	f->info.queues = queues < o->queues ? (unsigned)queues : o->queues;
	if (!f->info.queues)
		f->info.queues = 1;
	order = sr_frontbus_read_or(&f->bus, f->bus.backend, "max-ring-page-order", UINT32_MAX, 0);
	f->info.ring_order = order < o->ring_order ? (unsigned)order : o->ring_order;
	f->info.ring_size = sr_blkif_ring_size(o->abi, f->info.ring_order);
	f->info.grants_are_permanent =
	    o->persistent || !(sr_hv_caps(f->bus.hv) & SR_CAP_GRANT_PAGES);
}

static bool flag(struct sr_blkfront *f, const char *node)
{
	return sr_frontbus_read_or(&f->bus, f->bus.backend, node, UINT32_MAX, 0) != 0;
}

static bool power_of_two(uint64_t v)
{
	return v && !(v & (v - 1));
}

/* Once the backend is connected. */
static int read_disk(struct sr_blkfront *f)
{
	struct sr_blkfront_info *info = &f->info;
	uint64_t segments, bits;
	char type[16];
	bool changed;
	int rc;

	rc = sr_front_read_size(f, &changed);
	if (rc)
		return sr_frontbus_fail(&f->bus, rc, "%s/sectors can't be used: %s", f->bus.backend,
					strerror(-rc));
	info->sector_size = (uint32_t)sr_frontbus_read_or(&f->bus, f->bus.backend, "sector-size",
							  UINT32_MAX, SR_SECTOR_SIZE);
	if (!power_of_two(info->sector_size) || info->sector_size < SR_SECTOR_SIZE ||
	    info->sector_size > LARGEST_SECTOR)
		return sr_frontbus_fail(&f->bus, -EINVAL, "%s/sector-size is %u", f->bus.backend,
					info->sector_size);
	info->physical_sector_size = (uint32_t)sr_frontbus_read_or(
	    &f->bus, f->bus.backend, "physical-sector-size", UINT32_MAX, info->sector_size);

	segments = sr_frontbus_read_or(&f->bus, f->bus.backend, "feature-max-indirect-segments",
				       UINT32_MAX, 0);
	if (segments > f->options.indirect_segments)
		segments = f->options.indirect_segments;
	info->max_segments = segments > BLKIF_MAX_SEGMENTS_PER_REQUEST
				 ? (unsigned)segments
				 : BLKIF_MAX_SEGMENTS_PER_REQUEST;
	info->persistent = f->options.persistent && flag(f, "feature-persistent");
	info->flush = flag(f, "feature-flush-cache");
	info->barrier = flag(f, "feature-barrier");
	info->discard = flag(f, "feature-discard");
	info->secure_discard = info->discard && flag(f, "discard-secure");
	info->discard_granularity = (uint32_t)sr_frontbus_read_or(
	    &f->bus, f->bus.backend, "discard-granularity", UINT32_MAX, info->sector_size);
	info->discard_alignment = (uint32_t)sr_frontbus_read_or(&f->bus, f->bus.backend,
								"discard-alignment", UINT32_MAX, 0);

	bits = sr_frontbus_read_or(&f->bus, f->bus.backend, "info", UINT32_MAX, 0);
	info->read_only = bits & VDISK_READONLY;
	info->removable = bits & VDISK_REMOVABLE;
	info->cdrom = bits & VDISK_CDROM;
	if (!sr_frontbus_read_string(&f->bus, f->bus.path, "device-type", type, sizeof(type)))
		info->cdrom |= !strcmp(type, "cdrom");
	return 0;
}

static int connect_backend(struct sr_blkfront *f)
{
	int rc = sr_front_publish_rings(f);

	if (rc)
		return rc;
	f->published = true;
	return sr_frontbus_await_connected(&f->bus);
}

static int establish(struct sr_blkfront *f)
{
	int rc;

	rc = sr_frontbus_find(&f->bus);
	if (!rc)
		rc = sr_frontbus_watch(&f->bus, f->bus.backend, "state");
	f->info.backend_domid = f->bus.backend_domid;
	if (!rc)
		rc = sr_frontbus_begin(&f->bus);
	if (rc)
		return rc;
	negotiate(f);
	f->queues = calloc(f->info.queues, sizeof(*f->queues));
	if (!f->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < f->info.queues && !rc; i++)
		rc = sr_front_queue_init(f, &f->queues[i]);
	if (!rc)
		rc = connect_backend(f);
	if (!rc)
		rc = read_disk(f);
	for (unsigned i = 0; i < f->info.queues && !rc; i++)
		rc = sr_front_queue_tables(f, &f->queues[i]);
	if (!rc)
		rc = sr_frontbus_set_state(&f->bus, XenbusStateConnected);
	if (!rc)
		rc = sr_front_follow(f);
	/* Before that the backend knows nothing of us. */
	if (rc && f->published)
		(void)sr_frontbus_goodbye(&f->bus);
	return rc;
}

static void front_free(struct sr_blkfront *f)
{
	for (unsigned i = 0; f->queues && i < f->info.queues; i++) {
		if (f->queues[i].front)
			sr_front_queue_free(&f->queues[i]);
	}
	free(f->queues);
	sr_frontbus_close(&f->bus);
	if (f->wake_fd >= 0)
		close(f->wake_fd);
	if (f->stop_fd >= 0)
		close(f->stop_fd);
	free(f);
}

static int check_options(struct sr_blkfront *f, const struct sr_blkfront_options *o)
{
	char name[SR_VDEV_NAME_SIZE];

	if (!o->device || sr_vdev_parse(o->device, &f->info.vdev))
		return sr_frontbus_fail(&f->bus, -EINVAL,
					"'%s' is no name of a virtual disk (xvda, 51712)",
					o->device ? o->device : "");
	if (o->queues == 0 || o->queues > SR_BLKFRONT_MAX_QUEUES)
		return sr_frontbus_fail(&f->bus, -EINVAL, "%u queues: 1 to %u can be had",
					o->queues, SR_BLKFRONT_MAX_QUEUES);
	if (o->ring_order > SR_BLKIF_MAX_RING_ORDER)
		return sr_frontbus_fail(&f->bus, -EINVAL, "ring order %u: 0 to %u can be had",
					o->ring_order, SR_BLKIF_MAX_RING_ORDER);
	if (o->indirect_segments > SR_BLKIF_MAX_INDIRECT_SEGS)
		return sr_frontbus_fail(&f->bus, -EINVAL,
					"%u indirect segments: at most %u can be had",
					o->indirect_segments, SR_BLKIF_MAX_INDIRECT_SEGS);
	if ((unsigned)o->abi > SR_BLKIF_ABI_ARM)
		return sr_frontbus_fail(&f->bus, -EINVAL, "no such ABI");
	sr_vdev_name(f->info.vdev, name, sizeof(name));
	snprintf(f->title, sizeof(f->title), "disk %s", name);
	f->bus.device = f->info.vdev;
	return 0;
}

int sr_blkfront_open(struct sr_hypervisor *hv, const struct sr_blkfront_options *options,
		     struct sr_blkfront **front)
{
	struct sr_blkfront *f = calloc(1, sizeof(*f));
	int rc;

	if (options->error && options->error_size)
		options->error[0] = '\0';
	if (!f)
		return -ENOMEM;
	f->bus = (struct sr_frontbus){
		.hv = hv,
		.class = "vbd",
		.title = f->title,
		.timeout_ms = options->timeout_ms,
		.error = options->error,
		.error_size = options->error_size,
	};
	f->options = *options;
	f->options.device = NULL;
	f->reason = "";
	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = f->wake_fd < 0 || f->stop_fd < 0 ? -EMFILE : check_options(f, options);
	if (!rc)
		rc = sr_frontbus_open(&f->bus);
	if (!rc)
		rc = establish(f);
	if (rc) {
		(void)sr_frontbus_fail(&f->bus, rc, "%s", strerror(-rc));
		front_free(f);
		return rc;
	}
	f->bus.error = NULL;
	*front = f;
	return 0;
}

int sr_blkfront_close(struct sr_blkfront *f)
{
	int rc;

	if (!f)
		return 0;
	sr_front_unfollow(f);
	rc = sr_frontbus_goodbye(&f->bus);
	front_free(f);
	return rc;
}
