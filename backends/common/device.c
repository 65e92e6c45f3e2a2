/* SPDX-License-Identifier: MIT */
/*
 * A device's life. Whatever happened, the nodes are read anew and compared with our own state: so
 * it does no harm if watches fire late, twice, or once for several changes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "backend.h"

/* A frontend that changes its state as fast as we look keeps us no longer than this. */
#define SR_STEPS 16u

uint32_t sr_hash_path(const char *path)
{
	uint32_t h = 2166136261u;

	for (; *path; path++)
		h = (h ^ (unsigned char)*path) * 16777619u;
	return h % SR_BACKEND_BUCKETS;
}

uint32_t sr_hash_id(const char *type, uint16_t domid, uint32_t devid)
{
	uint32_t h = ((uint32_t)(type[0] + type[1]) << 16 ^ domid) * 2654435761u ^ devid * 40503u;

	return (h ^ h >> 15) % SR_BACKEND_BUCKETS;
}

/* --- making and freeing -------------------------------------------------------------------------
 */

static void unlink_from(struct sr_device **p, struct sr_device *dev, size_t next)
{
	while (*p && *p != dev)
		p = (struct sr_device **)(void *)((char *)*p + next);
	if (*p)
		*p = *(struct sr_device **)(void *)((char *)dev + next);
}

static void insert(struct sr_device *dev)
{
	struct sr_backend *b = dev->backend;
	struct sr_device **id = &b->by_id[sr_hash_id(dev->type, dev->domid, dev->devid)];
	struct sr_device **front = &b->by_front[sr_hash_path(dev->front)];

	dev->next = b->devices;
	b->devices = dev;
	dev->next_id = *id;
	*id = dev;
	dev->next_front = *front;
	*front = dev;
}

static void unmap_record(struct sr_device *dev)
{
	if (dev->record)
		munmap(dev->record, dev->record_size);
	dev->record = NULL;
}

static void release(struct sr_device *dev)
{
	dev->class->free(dev);
	free(dev->path);
	free(dev->front);
	free(dev);
}

void sr_device_free(struct sr_device *dev)
{
	struct sr_backend *b = dev->backend;

	unlink_from(&b->devices, dev, offsetof(struct sr_device, next));
	unlink_from(&b->by_id[sr_hash_id(dev->type, dev->domid, dev->devid)], dev,
		    offsetof(struct sr_device, next_id));
	unlink_from(&b->by_front[sr_hash_path(dev->front)], dev,
		    offsetof(struct sr_device, next_front));
	sr_backend_unwatch_front(dev);
	dev->class->close(dev);
	unmap_record(dev);
	release(dev);
}

/* The frontend's directory, if it is one of the domain that the path names. */
static int read_front(struct sr_device *dev)
{
	uint64_t domid;
	int rc = sr_xs_get(dev->xs, XBT_NULL, dev->path, "frontend", &dev->front);

	if (rc)
		return rc;
	if (dev->front[0] != '/' || strlen(dev->front) > SR_XS_PATH_MAX / 2)
		return -EINVAL;
	rc = sr_xs_get_u64(dev->xs, XBT_NULL, dev->path, "frontend-id", UINT16_MAX, &domid);
	if (rc)
		return rc;
	return domid == dev->domid ? 0 : -EINVAL;
}

static int read_nodes(struct sr_device *dev)
{
	int rc;

	dev->trouble = 0;
	dev->online = sr_device_flag(dev, "online", true);
	dev->scripted = sr_device_runs_our_script(dev);
	rc = dev->class->read_nodes(dev);
	return dev->trouble ? dev->trouble : rc;
}

static int make(struct sr_backend *b, const struct sr_backend_type *type, uint16_t domid,
		uint32_t devid, struct sr_device **out)
{
	struct sr_device *dev = calloc(1, type->class->size);
	int rc = -ENOMEM;

	if (!dev)
		return rc;
	dev->backend = b;
	dev->class = type->class;
	dev->ctx = type->ctx;
	dev->xs = b->xs;
	dev->type = type->name;
	dev->domid = domid;
	dev->devid = devid;
	snprintf(dev->name, sizeof(dev->name), "%s-%u-%u", type->name, domid, devid);
	sr_log_source_init(&dev->log, b->opt.log, dev->name);
	if (asprintf(&dev->path, "%s/%u/%u", type->dir, domid, devid) < 0)
		dev->path = NULL;
	if (dev->path)
		rc = read_front(dev);
	if (!rc)
		rc = read_nodes(dev);
	if (rc) {
		release(dev);
		return rc;
	}
	*out = dev;
	return 0;
}

/* --- the record ---------------------------------------------------------------------------------
 */

static int map_record(struct sr_device *dev, int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	dev->record = p;
	dev->record_size = size;
	return 0;
}

void sr_device_drop_record(struct sr_device *dev)
{
	if (dev->record)
		__atomic_store_n(&dev->record->connected, 0, __ATOMIC_RELEASE);
	unmap_record(dev);
	sr_keep_drop(dev->backend->keep, dev->name);
}

int sr_device_new_record(struct sr_device *dev, size_t size)
{
	bool created;
	int fd, rc;

	sr_device_drop_record(dev);
	rc = sr_keep_get(dev->backend->keep, dev->name, size, &fd, &created);
	return rc ? rc : map_record(dev, fd, size);
}

bool sr_device_has_record(struct sr_device *dev)
{
	size_t size;
	int fd;

	if (sr_keep_find(dev->backend->keep, dev->name, &fd, &size) ||
	    size < sizeof(*dev->record) || map_record(dev, fd, size))
		return false;
	if (dev->class->check_record(dev))
		return true;
	sr_device_drop_record(dev);
	return false;
}

/* --- looking ------------------------------------------------------------------------------------
 */

static int read_own_state(struct sr_device *dev, unsigned *state)
{
	uint64_t value;
	int rc =
	    sr_xs_get_u64(dev->xs, XBT_NULL, dev->path, "state", XenbusStateReconfigured, &value);

	if (!rc)
		*state = (unsigned)value;
	return sr_device_note(dev, rc);
}

static enum sr_xenbus_event read_front_event(struct sr_device *dev)
{
	enum sr_xenbus_event event = SR_XB_FRONT_GONE;
	char *text;

	if (!sr_device_note(dev, sr_xs_get(dev->xs, XBT_NULL, dev->front, "state", &text))) {
		event = sr_xenbus_front_event(text);
		free(text);
	}
	/* A state that there isn't for such a device. */
	if (event == SR_XB_FRONT_RECONFIGURING && !dev->class->reconfigure)
		event = SR_XB_FRONT_GONE;
	return event;
}

static bool has_rival(struct sr_device *dev)
{
	const struct sr_backend_options *opt = &dev->backend->opt;

	return opt->rival && opt->rival(opt->rival_ctx, dev->type, dev->domid, dev->devid,
					dev->error, sizeof(dev->error));
}

/*
 * What there is to react to, the most pressing first. -ENOENT: our directory is gone; dev->trouble:
 * nobody can say.
 */
static int look(struct sr_device *dev, enum sr_xenbus_event *event)
{
	unsigned own = XenbusStateUnknown;
	int rc;

	dev->trouble = 0;
	rc = read_own_state(dev, &own);
	if (rc)
		return rc;
	if (own == XenbusStateInitialising)
		dev->condemned = false;
	else if (own == XenbusStateClosed && dev->state != XenbusStateClosed && !dev->foreign &&
		 !dev->unsaid && sr_backend_removes(dev->backend))
		dev->condemned = true;
	dev->online = !dev->condemned && sr_device_flag(dev, "online", true);
	if (dev->foreign && (own == XenbusStateInitialising || own == XenbusStateClosed) &&
	    !has_rival(dev)) {
		dev->foreign = false;
		dev->state = (enum xenbus_state)own;
	}
	if (dev->failed)
		*event = SR_XB_FAILED;
	else if (dev->condemned && dev->state != XenbusStateClosed)
		*event = SR_XB_TOOLSTACK_CLOSED;
	else if (own == XenbusStateClosing && dev->state != XenbusStateClosing)
		*event = SR_XB_TOOLSTACK_CLOSING;
	else
		*event = read_front_event(dev);
	return dev->trouble;
}

/* --- acting -------------------------------------------------------------------------------------
 */

/* `before`: the state that it comes from. */
static bool open_and_offer(struct sr_device *dev, enum xenbus_state before)
{
	/* The toolstack has just made the device, and waits for us. */
	bool fresh = before == XenbusStateInitialising;
	int rc;

	read_nodes(dev);
	if (dev->trouble) {
		dev->state = before;
		return false;
	}
	rc = dev->class->open(dev);
	if (!rc) {
		sr_device_report(dev, "what is offered", sr_device_publish_offer(dev));
		return true;
	}
	dev->refused = true;
	/* libxl runs our script, which ends its wait and says why, only once it has seen InitWait.
	 */
	dev->state = fresh && dev->scripted ? XenbusStateInitWait : XenbusStateClosed;
	sr_log(&dev->log, SR_LOG_ERROR, "%s", dev->error);
	sr_device_report(dev, "hotplug-error", sr_device_publish_error(dev));
	return false;
}

static bool connect_and_publish(struct sr_device *dev)
{
	if (dev->class->connect(dev)) {
		if (dev->trouble) {
			dev->state = XenbusStateInitWait;
			return false;
		}
		/* The queues that were attached are let go of first; then it counts as failed. */
		dev->state = XenbusStateInitWait;
		dev->failed = true;
		sr_log_guest(&dev->log, SR_LOG_ERROR, "%s", dev->error);
		return false;
	}
	sr_device_report(dev, "that it is connected", sr_device_publish_connected(dev));
	dev->class->log_connected(dev);
	return true;
}

static void write_state(struct sr_device *dev, enum sr_xenbus_event event)
{
	sr_device_report(dev, "the state",
			 event == SR_XB_FAILED ? sr_device_publish_error(dev)
					       : sr_device_publish_state(dev));
	sr_log_guest(&dev->log, SR_LOG_INFO, "%s", sr_xenbus_state_name(dev->state));
}

/* True: look again at once. */
static bool apply(struct sr_device *dev, enum sr_xenbus_event event, struct sr_xenbus_step step)
{
	enum xenbus_state before = dev->state;

	if (step.actions & SR_XB_DETACH) {
		/* A frontend that takes its leave may still wait for answers. */
		sr_device_detach(dev, event == SR_XB_FRONT_CLOSING);
		return false;
	}
	if (step.actions & SR_XB_RECONFIGURE) {
		dev->failed = dev->class->reconfigure(dev) != 0 && !dev->trouble;
		if (dev->failed || dev->trouble)
			return dev->failed;
	}
	dev->state = step.state;
	if (event == SR_XB_FAILED)
		dev->failed = false;
	if (step.actions & SR_XB_OPEN && !open_and_offer(dev, before)) {
		if (!dev->online && !dev->trouble)
			sr_device_remove_directory(dev);
		return false;
	}
	if (step.actions & SR_XB_CONNECT && !connect_and_publish(dev))
		return !dev->detaching;
	if (!dev->attached)
		sr_device_drop_record(dev);
	if (step.actions & SR_XB_WRITE && !(step.actions & (SR_XB_OPEN | SR_XB_CONNECT)))
		write_state(dev, event);
	if (step.actions & SR_XB_CLOSE)
		dev->class->close(dev);
	if (step.actions & SR_XB_REMOVE)
		sr_device_remove_directory(dev);
	return step.actions & SR_XB_AGAIN;
}

/* Its directory is gone, and with it everything that we could say to anybody. */
static void vanish(struct sr_device *dev)
{
	dev->gone = true;
	if (dev->attached) {
		sr_device_detach(dev, false);
		return;
	}
	sr_device_drop_record(dev);
	sr_log(&dev->log, SR_LOG_INFO, "removed");
	sr_device_free(dev);
}

void sr_device_detach(struct sr_device *dev, bool drain)
{
	if (dev->detaching || !dev->attached)
		return;
	dev->detaching = true;
	dev->class->detach(dev, drain);
}

void sr_device_detached(struct sr_device *dev)
{
	if (--dev->attached == 0) {
		dev->detaching = false;
		dev->dirty = true;
	}
}

void sr_device_try_again(struct sr_device *dev)
{
	/* What the toolstack was told in InitWait was no offer: from Closed it gets one. */
	if (dev->refused && dev->state == XenbusStateInitWait)
		dev->state = XenbusStateClosed;
	dev->refused = false;
}

void sr_device_fail(struct sr_device *dev)
{
	dev->failed = true;
	dev->dirty = true;
}

/* --- the whole ----------------------------------------------------------------------------------
 */

/* Before it does what is new, it says what it could not say. */
static bool has_said_all(struct sr_device *dev, enum sr_xenbus_event event)
{
	/* What it was is over where the toolstack wants the device. */
	if (dev->unsaid && event != SR_XB_TOOLSTACK_CLOSING)
		sr_device_say_again(dev);
	return !dev->trouble;
}

/* True: look again at once. Else it may have been freed. */
static bool look_and_act(struct sr_device *dev)
{
	enum sr_xenbus_event event;
	bool again;
	int rc = look(dev, &event);

	if (rc == -ENOENT) {
		vanish(dev);
		return false;
	}
	if (dev->trouble || (!rc && !dev->foreign && !has_said_all(dev, event))) {
		sr_device_try_later(dev);
		return false;
	}
	if (rc || dev->foreign)
		return false;
	/* The guest took for an offer what was meant for the toolstack. */
	if (dev->refused && dev->state == XenbusStateInitWait && event == SR_XB_FRONT_READY)
		event = SR_XB_FAILED;
	if (event != SR_XB_FRONT_INITIALISING)
		dev->refused = false;
	else if (dev->refused)
		return false;
	again =
	    apply(dev, event, sr_xenbus_step(dev->state, event, dev->attached != 0, dev->online));
	if (dev->state == XenbusStateClosed)
		sr_device_forgotten(dev);
	if (dev->trouble)
		sr_device_try_later(dev);
	else
		dev->retry_ms = 0;
	return again && !dev->trouble;
}

void sr_device_update(struct sr_device *dev)
{
	dev->dirty = false;
	dev->retry_at = 0;
	/* A frontend that has closed because we are about to go is not to be connected again. */
	if (dev->backend->stopping || dev->detaching || (dev->backend->closing && !dev->attached))
		return;
	if (dev->remove_at && dev->remove_at <= sr_now_ms())
		sr_device_remove_now(dev);
	dev->trouble = 0;
	if (dev->class->prepare)
		dev->class->prepare(dev);
	if (dev->trouble) {
		sr_device_try_later(dev);
		return;
	}
	for (unsigned i = 0; i < SR_STEPS && !dev->detaching; i++)
		if (!look_and_act(dev))
			return;
}

/* Goes on with the connection of a process that is gone. */
static void take_over(struct sr_device *dev, unsigned own)
{
	dev->recovered = true;
	if (dev->class->open(dev) || dev->class->resume(dev)) {
		sr_log(&dev->log, SR_LOG_ERROR, "can't take it over: %s", dev->error);
		dev->failed = true;
		return;
	}
	/* Killed after the rings were mapped and before the guest was told. */
	if (own == XenbusStateInitWait)
		sr_device_report(dev, "that it is connected", sr_device_publish_connected(dev));
	dev->class->log_connected(dev);
}

/* What its nodes say of an earlier life: our state, the frontend's. */
static void begin(struct sr_device *dev, unsigned own, enum sr_xenbus_event front)
{
	dev->state = XenbusStateInitialising;
	if (has_rival(dev)) {
		dev->foreign = true;
		sr_log(&dev->log, SR_LOG_ERROR, "leaving it alone: %s", dev->error);
	} else if (own >= XenbusStateInitWait && own != XenbusStateClosed &&
		   sr_device_has_record(dev)) {
		/* If the frontend has left meanwhile, all that remains is to follow it. */
		dev->state =
		    own == XenbusStateReconfigured ? XenbusStateReconfigured : XenbusStateConnected;
		if (front == SR_XB_FRONT_READY || front == SR_XB_FRONT_RECONFIGURING)
			take_over(dev, own);
	} else if (own == XenbusStateConnected || own == XenbusStateReconfigured) {
		dev->foreign = true;
		snprintf(dev->error, sizeof(dev->error),
			 "another backend serves it, or one did and left no record");
		sr_log(
		    &dev->log, SR_LOG_ERROR,
		    "%s: leaving it alone (is the kernel's backend loaded? detach and attach the "
		    "device)",
		    dev->error);
	} else if (own == XenbusStateClosing || own == XenbusStateClosed) {
		dev->state = (enum xenbus_state)own;
	}
}

int sr_device_new(struct sr_backend *b, const struct sr_backend_type *type, uint16_t domid,
		  uint32_t devid)
{
	enum sr_xenbus_event front = SR_XB_FRONT_GONE;
	struct sr_device *dev;
	unsigned own = XenbusStateUnknown;
	int rc = make(b, type, domid, devid, &dev);

	if (rc)
		return rc;
	insert(dev);
	rc = read_own_state(dev, &own);
	if (!rc)
		front = read_front_event(dev);
	if (rc || dev->trouble) {
		rc = rc ? rc : dev->trouble;
		sr_device_free(dev);
		return rc;
	}
	sr_backend_watch_front(dev);
	begin(dev, own, front);
	dev->dirty = true;
	return 0;
}

void sr_device_ask_to_close(struct sr_device *dev)
{
	struct sr_xenbus_step step =
	    sr_xenbus_step(dev->state, SR_XB_TOOLSTACK_CLOSING, dev->attached != 0, dev->online);

	if (!dev->attached || dev->detaching || dev->foreign || step.actions & SR_XB_DETACH)
		return;
	dev->state = step.state;
	sr_device_report(dev, "the state", sr_device_publish_state(dev));
}

void sr_device_shut_down(struct sr_device *dev, bool close)
{
	dev->closing_down = close;
	sr_device_detach(dev, true);
}
