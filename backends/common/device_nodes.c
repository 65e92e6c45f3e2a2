/* SPDX-License-Identifier: MIT */
/* What any device reads and writes in the store. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"

bool sr_device_flag(struct sr_device *dev, const char *key, bool fallback)
{
	uint64_t value;

	return sr_xs_get_u64(dev->xs, XBT_NULL, dev->path, key, 1, &value) ? fallback : value != 0;
}

/* Another script, Xen's own for one, does not look at hotplug-status, and in a driver domain none
 * runs. */
bool sr_device_runs_our_script(struct sr_device *dev)
{
	char *script, *name;
	bool ours;

	if (!dev->class->script || sr_backend_removes(dev->backend) ||
	    sr_xs_get(dev->xs, XBT_NULL, dev->path, "script", &script))
		return false;
	name = strrchr(script, '/');
	ours = !strcmp(name ? name + 1 : script, dev->class->script);
	free(script);
	return ours;
}

const char *sr_device_front_node(void *ctx, const char *key)
{
	struct sr_device_front *front = ctx;

	free(front->value);
	front->value = NULL;
	if (sr_xs_get(front->dev->xs, XBT_NULL, front->dev->front, key, &front->value))
		return NULL;
	return front->value;
}

int sr_device_put(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t,
		  const struct sr_device_node *nodes, size_t count)
{
	int rc = 0;

	for (size_t i = 0; i < count && !rc; i++)
		rc = sr_xs_put(xs, t, dev->path, nodes[i].key, "%llu",
			       (unsigned long long)nodes[i].value);
	return rc;
}

void sr_device_report(struct sr_device *dev, const char *what, int rc)
{
	/* Where the directory is gone, the next look finds out. */
	if (rc && rc != -ENOENT)
		sr_log(&dev->log, SR_LOG_WARNING, "can't write %s to xenstore: %s", what,
		       strerror(-rc));
}

/*
 * Always within a transaction, and last in it: what the toolstack has removed meanwhile must not
 * come to life again by a write of ours.
 */
static int put_state(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t)
{
	char *front;
	int rc = sr_xs_get(xs, t, dev->path, "frontend", &front);

	if (rc)
		return rc;
	free(front);
	return sr_xs_put(xs, t, dev->path, "state", "%u", (unsigned)dev->state);
}

static int put_offer(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct sr_device *dev = arg;
	int rc = dev->class->put_offer(dev, xs, t);

	if (!rc)
		rc = sr_xs_remove(xs, t, dev->path, "hotplug-error");
	if (!rc)
		rc = sr_xs_put(xs, t, dev->path, "hotplug-status", "connected");
	return rc ? rc : put_state(dev, xs, t);
}

int sr_device_publish_offer(struct sr_device *dev)
{
	return sr_xs_transact(dev->xs, put_offer, dev);
}

static int put_connected(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct sr_device *dev = arg;
	int rc = dev->class->put_connected ? dev->class->put_connected(dev, xs, t) : 0;

	return rc ? rc : put_state(dev, xs, t);
}

int sr_device_publish_connected(struct sr_device *dev)
{
	return sr_xs_transact(dev->xs, put_connected, dev);
}

static int put_state_alone(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	return put_state(arg, xs, t);
}

int sr_device_publish_state(struct sr_device *dev)
{
	return sr_xs_transact(dev->xs, put_state_alone, dev);
}

static int put_error(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct sr_device *dev = arg;
	int rc = sr_xs_put(xs, t, dev->path, "hotplug-error", "%s", dev->error);

	if (!rc)
		rc = sr_xs_put(xs, t, dev->path, "hotplug-status", "error");
	return rc ? rc : put_state(dev, xs, t);
}

int sr_device_publish_error(struct sr_device *dev)
{
	return sr_xs_transact(dev->xs, put_error, dev);
}

void sr_device_remove_directory(struct sr_device *dev)
{
	if (sr_backend_removes(dev->backend))
		sr_device_report(dev, "the removal",
				 sr_xs_remove(dev->xs, XBT_NULL, dev->path, ""));
}
