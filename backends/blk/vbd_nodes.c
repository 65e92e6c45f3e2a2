/* SPDX-License-Identifier: MIT */
/* What a vbd reads from its backend directory, and what it writes there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hypervisor.h>

#include "vbd.h"

int sr_vbd_read_params(struct sr_vbd *v, char **params)
{
	/* For a qdisk libxl puts before the path how QEMU is to read it: a raw image is "aio". */
	static const char *const formats[] = { "aio:", "raw:" };
	char *text;
	int rc = sr_device_get(&v->dev, "params", &text);

	if (rc)
		return rc;
	for (size_t i = 0; i < 2 && !strcmp(v->dev.type, "qdisk"); i++) {
		size_t len = strlen(formats[i]);

		if (!strncmp(text, formats[i], len)) {
			memmove(text, text + len, strlen(text + len) + 1);
			break;
		}
	}
	*params = text;
	return 0;
}

int sr_vbd_read_nodes(struct sr_device *dev)
{
	struct sr_vbd *v = sr_vbd_of(dev);
	char *mode, *type, *params, *vdev;
	uint64_t unit;
	int rc;

	v->bb = dev->ctx;
	if (!v->guest)
		v->guest = sr_guest_get(v->bb, dev->domid);
	if (!v->guest)
		return -ENOMEM;
	rc = sr_device_get(dev, "mode", &mode);
	if (rc)
		return rc;
	v->read_only = !strchr(mode, 'w');
	free(mode);
	/* libxl leaves it away, or empty, where a drive has no medium. */
	if (sr_vbd_read_params(v, &params))
		params = strdup("");
	if (!params)
		return -ENOMEM;
	free(v->params);
	v->params = params;
	v->cdrom = false;
	if (!sr_device_get(dev, "device-type", &type)) {
		v->cdrom = !strcmp(type, "cdrom");
		free(type);
	}
	if (!sr_device_get(dev, "dev", &vdev)) {
		snprintf(v->vdev, sizeof(v->vdev), "%s", vdev);
		free(vdev);
	}
	v->removable = sr_device_flag(dev, "removable", false);
	v->discard_enable = sr_device_flag(dev, "discard-enable", true);
	rc = sr_xs_get_u64(dev->xs, XBT_NULL, dev->path, "sector-size-logical", 4096, &unit);
	v->big_sectors = !sr_device_note(dev, rc) && unit == 4096;
	return 0;
}

int sr_vbd_put_offer(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t)
{
	struct sr_vbd *v = sr_vbd_of(dev);
	const struct sr_blk_disk *g = &v->geometry;
	uint32_t granularity = v->info.discard_granularity;
	const struct sr_device_node nodes[] = {
		{ "feature-flush-cache", g->flush_feature },
		{ "feature-barrier", g->barrier },
		{ "feature-discard", g->discard },
		{ "feature-persistent", v->offer.persistent },
		{ "feature-max-indirect-segments", g->max_segments },
		{ "multi-queue-max-queues", v->offer.max_queues },
		{ "max-ring-page-order", v->offer.max_order },
		{ "max-ring-pages", 1u << v->offer.max_order },
	};
	const struct sr_device_node discard[] = {
		{ "discard-granularity", granularity > g->block ? granularity : g->block },
		{ "discard-alignment", v->info.discard_alignment },
		{ "discard-secure", g->secure_discard },
	};
	int rc = sr_device_put(dev, xs, t, nodes, sizeof(nodes) / sizeof(nodes[0]));

	if (!rc && g->discard)
		rc = sr_device_put(dev, xs, t, discard, sizeof(discard) / sizeof(discard[0]));
	/* A frontend takes the node's presence for the feature. */
	if (!rc && !g->max_segments)
		rc = sr_xs_remove(xs, t, dev->path, "feature-max-indirect-segments");
	return rc;
}

int sr_vbd_put_disk(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t)
{
	struct sr_vbd *v = sr_vbd_of(dev);
	uint32_t unit = v->geometry.unit << SR_SECTOR_SHIFT;
	uint32_t physical = v->info.physical_block_size;
	const struct sr_device_node nodes[] = {
		{ "sectors", v->geometry.sectors },
		{ "sector-size", unit },
		{ "physical-sector-size", physical > unit ? physical : unit },
		{ "info", (v->cdrom ? VDISK_CDROM : 0u) |
			      (v->cdrom || v->removable ? VDISK_REMOVABLE : 0u) |
			      (v->geometry.read_only ? VDISK_READONLY : 0u) },
	};

	return sr_device_put(dev, xs, t, nodes, sizeof(nodes) / sizeof(nodes[0]));
}
