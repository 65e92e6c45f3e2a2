/* SPDX-License-Identifier: MIT */
/* What any device reads and writes in the store. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"

/*
 * libxl waits for Closed first, which it has to find in the directory, and only then for the
 * directory's end. One that is gone at once is a device that it could not detach.
 */
#define SR_LINGER_MS 1000
/* For a frontend that comes back; libxl waits for ten seconds. */
#define SR_FORGOTTEN_MS 5000

/* --- a store that fails -------------------------------------------------------------------------
 */

bool sr_is_store_trouble(int rc)
{
	switch (rc) {
	case 0:
	case -ENOENT:
	case -EINVAL:
	case -EACCES:
	case -EPERM:
	case -ENAMETOOLONG:
		return false;
	default:
		return true;
	}
}

int sr_device_note(struct sr_device *dev, int rc)
{
	if (sr_is_store_trouble(rc))
		dev->trouble = rc;
	return rc;
}

void sr_device_try_later(struct sr_device *dev)
{
	if (dev->retry_at)
		return;
	/* Once for a time of trouble, which a guest may be the cause of. */
	if (!dev->retry_ms)
		sr_log_guest(&dev->log, SR_LOG_WARNING, "xenstore fails, trying again: %s",
			     strerror(-dev->trouble));
	dev->retry_ms = sr_backoff_ms(dev->retry_ms);
	dev->retry_at = sr_now_ms() + dev->retry_ms;
}

/* --- reading ------------------------------------------------------------------------------------
 */

int sr_device_get(struct sr_device *dev, const char *key, char **value)
{
	return sr_device_note(dev, sr_xs_get(dev->xs, XBT_NULL, dev->path, key, value));
}

bool sr_device_flag(struct sr_device *dev, const char *key, bool fallback)
{
	uint64_t value;
	int rc = sr_xs_get_u64(dev->xs, XBT_NULL, dev->path, key, 1, &value);

	return sr_device_note(dev, rc) ? fallback : value != 0;
}

/* Another script, Xen's own for one, does not look at hotplug-status, and in a driver domain none
 * runs. */
bool sr_device_runs_our_script(struct sr_device *dev)
{
	char *script, *name;
	bool ours;

	if (!dev->class->script || sr_backend_removes(dev->backend) ||
	    sr_device_get(dev, "script", &script))
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
	if (sr_device_note(front->dev, sr_xs_get(front->dev->xs, XBT_NULL, front->dev->front, key,
						 &front->value)))
		return NULL;
	return front->value;
}

/* --- writing ------------------------------------------------------------------------------------
 */

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

/* The latest word replaces what could not be said before it. */
static int publish(struct sr_device *dev,
		   int (*put)(struct xs_handle *xs, xs_transaction_t t, void *dev))
{
	int rc = sr_device_note(dev, sr_xs_transact(dev->xs, put, dev));

	dev->unsaid = sr_is_store_trouble(rc) ? put : NULL;
	if (dev->unsaid)
		sr_device_try_later(dev);
	return rc;
}

int sr_device_say_again(struct sr_device *dev)
{
	return publish(dev, dev->unsaid);
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
	return publish(dev, put_offer);
}

static int put_connected(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct sr_device *dev = arg;
	int rc = dev->class->put_connected ? dev->class->put_connected(dev, xs, t) : 0;

	return rc ? rc : put_state(dev, xs, t);
}

int sr_device_publish_connected(struct sr_device *dev)
{
	return publish(dev, put_connected);
}

static int put_state_alone(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	return put_state(arg, xs, t);
}

int sr_device_publish_state(struct sr_device *dev)
{
	return publish(dev, put_state_alone);
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
	return publish(dev, put_error);
}

/*
 * libxl tells a qdisk's backend nothing when a guest has shut down, and waits for the directory's
 * end all the same.
 */
static bool may_be_forgotten(const struct sr_device *dev)
{
	return sr_backend_removes(dev->backend) && !strcmp(dev->type, "qdisk");
}

/* Unless the toolstack has made it anew since we were to. */
static int put_removal(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct sr_device *dev = arg;
	uint64_t online;
	int rc = sr_xs_get_u64(xs, t, dev->path, "online", 1, &online);

	if (sr_is_store_trouble(rc))
		return rc;
	if (rc || !online || dev->condemned || may_be_forgotten(dev))
		return sr_xs_remove(xs, t, dev->path, "");
	return 0;
}

void sr_device_remove_directory(struct sr_device *dev)
{
	int64_t when = sr_now_ms() + SR_LINGER_MS;

	if (sr_backend_removes(dev->backend) && (!dev->remove_at || dev->remove_at > when))
		dev->remove_at = when;
}

void sr_device_forgotten(struct sr_device *dev)
{
	if (may_be_forgotten(dev) && !dev->remove_at)
		dev->remove_at = sr_now_ms() + SR_FORGOTTEN_MS;
}

void sr_device_remove_now(struct sr_device *dev)
{
	dev->remove_at = 0;
	/* The frontend has come back. */
	if (dev->state != XenbusStateClosed)
		return;
	sr_device_report(dev, "the removal", publish(dev, put_removal));
}
