/* SPDX-License-Identifier: MIT */
/* What a vbd reads from its backend directory, and what it writes there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hypervisor.h>

#include "vbd.h"

static bool get_flag(struct sr_vbd *v, const char *key, bool fallback)
{
	uint64_t value;

	return sr_xs_get_u64(v->bb->xs, XBT_NULL, v->path, key, 1, &value) ? fallback : value != 0;
}

int sr_vbd_read_params(struct sr_vbd *v, char **params)
{
	/* For a qdisk libxl puts before the path how QEMU is to read it: a raw image is "aio". */
	static const char *const formats[] = { "aio:", "raw:" };
	char *text;
	int rc = sr_xs_get(v->bb->xs, XBT_NULL, v->path, "params", &text);

	if (rc)
		return rc;
	for (size_t i = 0; i < 2 && !strcmp(v->type, "qdisk"); i++) {
		size_t len = strlen(formats[i]);

		if (!strncmp(text, formats[i], len)) {
			memmove(text, text + len, strlen(text + len) + 1);
			break;
		}
	}
	*params = text;
	return 0;
}

/* Another script, Xen's own for one, does not look at hotplug-status, and in a driver domain none
 * runs. */
static bool runs_our_script(struct sr_vbd *v)
{
	char *script, *name;
	bool ours;

	if (v->bb->opt.remove_directory > 0 ||
	    sr_xs_get(v->bb->xs, XBT_NULL, v->path, "script", &script))
		return false;
	name = strrchr(script, '/');
	ours = !strcmp(name ? name + 1 : script, "block-splitring");
	free(script);
	return ours;
}

int sr_vbd_read_nodes(struct sr_vbd *v)
{
	struct xs_handle *xs = v->bb->xs;
	char *mode, *type, *params, *dev;
	uint64_t unit;
	int rc;

	rc = sr_xs_get(xs, XBT_NULL, v->path, "mode", &mode);
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
	if (!sr_xs_get(xs, XBT_NULL, v->path, "device-type", &type)) {
		v->cdrom = !strcmp(type, "cdrom");
		free(type);
	}
	if (!sr_xs_get(xs, XBT_NULL, v->path, "dev", &dev)) {
		snprintf(v->vdev, sizeof(v->vdev), "%s", dev);
		free(dev);
	}
	v->removable = get_flag(v, "removable", false);
	v->discard_enable = get_flag(v, "discard-enable", true);
	v->online = get_flag(v, "online", true);
	v->scripted = runs_our_script(v);
	v->big_sectors =
	    !sr_xs_get_u64(xs, XBT_NULL, v->path, "sector-size-logical", 4096, &unit) &&
	    unit == 4096;
	return 0;
}

/* A node of an offer. */
struct node {
	const char *key;
	uint64_t value;
};

static int put_nodes(struct sr_vbd *v, struct xs_handle *xs, xs_transaction_t t,
		     const struct node *nodes, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++)
		rc = sr_xs_put(xs, t, v->path, nodes[i].key, "%llu",
			       (unsigned long long)nodes[i].value);
	return rc;
}

/*
 * Always within a transaction, and last in it: what the toolstack has removed meanwhile must not
 * come to life again by a write of ours.
 */
static int put_state(struct sr_vbd *v, struct xs_handle *xs, xs_transaction_t t)
{
	char *front;
	int rc = sr_xs_get(xs, t, v->path, "frontend", &front);

	if (rc)
		return rc;
	free(front);
	return sr_xs_put(xs, t, v->path, "state", "%u", (unsigned)v->state);
}

static int put_offer(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct sr_vbd *v = arg;
	const struct sr_blk_disk *g = &v->geometry;
	uint32_t granularity = v->info.discard_granularity;
	const struct node nodes[] = {
		{ "feature-flush-cache", g->flush_feature },
		{ "feature-barrier", g->barrier },
		{ "feature-discard", g->discard },
		{ "feature-persistent", v->offer.persistent },
		{ "feature-max-indirect-segments", g->max_segments },
		{ "multi-queue-max-queues", v->offer.max_queues },
		{ "max-ring-page-order", v->offer.max_order },
		{ "max-ring-pages", 1u << v->offer.max_order },
	};
	const struct node discard[] = {
		{ "discard-granularity", granularity > g->block ? granularity : g->block },
		{ "discard-alignment", v->info.discard_alignment },
		{ "discard-secure", g->secure_discard },
	};
	int rc = put_nodes(v, xs, t, nodes, sizeof(nodes) / sizeof(nodes[0]));

	if (!rc && g->discard)
		rc = put_nodes(v, xs, t, discard, sizeof(discard) / sizeof(discard[0]));
	/* A frontend takes the node's presence for the feature. */
	if (!rc && !g->max_segments)
		rc = sr_xs_remove(xs, t, v->path, "feature-max-indirect-segments");
	if (!rc)
		rc = sr_xs_remove(xs, t, v->path, "hotplug-error");
	if (!rc)
		rc = sr_xs_put(xs, t, v->path, "hotplug-status", "connected");
	return rc ? rc : put_state(v, xs, t);
}

int sr_vbd_publish_offer(struct sr_vbd *v)
{
	return sr_xs_transact(v->bb->xs, put_offer, v);
}

static int put_disk(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct sr_vbd *v = arg;
	uint32_t unit = v->geometry.unit << SR_SECTOR_SHIFT;
	uint32_t physical = v->info.physical_block_size;
	const struct node nodes[] = {
		{ "sectors", v->geometry.sectors },
		{ "sector-size", unit },
		{ "physical-sector-size", physical > unit ? physical : unit },
		{ "info", (v->cdrom ? VDISK_CDROM : 0u) |
			      (v->cdrom || v->removable ? VDISK_REMOVABLE : 0u) |
			      (v->geometry.read_only ? VDISK_READONLY : 0u) },
	};
	int rc = put_nodes(v, xs, t, nodes, sizeof(nodes) / sizeof(nodes[0]));

	return rc ? rc : put_state(v, xs, t);
}

int sr_vbd_publish_disk(struct sr_vbd *v)
{
	return sr_xs_transact(v->bb->xs, put_disk, v);
}

static int put_state_alone(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	return put_state(arg, xs, t);
}

int sr_vbd_publish_state(struct sr_vbd *v)
{
	return sr_xs_transact(v->bb->xs, put_state_alone, v);
}

static int put_error(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct sr_vbd *v = arg;
	int rc = sr_xs_put(xs, t, v->path, "hotplug-error", "%s", v->error);

	if (!rc)
		rc = sr_xs_put(xs, t, v->path, "hotplug-status", "error");
	return rc ? rc : put_state(v, xs, t);
}

int sr_vbd_publish_error(struct sr_vbd *v)
{
	return sr_xs_transact(v->bb->xs, put_error, v);
}
