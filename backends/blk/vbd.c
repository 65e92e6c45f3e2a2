/* SPDX-License-Identifier: MIT */
/*
 * A vbd's life. Whatever happened, the nodes are read anew and compared with our own state: so it
 * does no harm if watches fire late, twice, or once for several changes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hypervisor.h>

#include "vbd.h"

/* A frontend that changes its state as fast as we look keeps us no longer than this. */
#define SR_STEPS 16u

uint32_t sr_hash_path(const char *path)
{
	uint32_t h = 2166136261u;

	for (; *path; path++)
		h = (h ^ (unsigned char)*path) * 16777619u;
	return h % SR_VBD_BUCKETS;
}

uint32_t sr_hash_id(const char *type, uint16_t domid, uint32_t devid)
{
	uint32_t h = ((uint32_t)type[0] << 16 ^ domid) * 2654435761u ^ devid * 40503u;

	return (h ^ h >> 15) % SR_VBD_BUCKETS;
}

/* --- making and freeing -------------------------------------------------------------------------
 */

static void unlink_from(struct sr_vbd **p, struct sr_vbd *v, size_t next)
{
	while (*p && *p != v)
		p = (struct sr_vbd **)(void *)((char *)*p + next);
	if (*p)
		*p = *(struct sr_vbd **)(void *)((char *)v + next);
}

static void insert(struct sr_vbd *v)
{
	struct sr_blkback *bb = v->bb;
	struct sr_vbd **id = &bb->by_id[sr_hash_id(v->type, v->domid, v->devid)];
	struct sr_vbd **front = &bb->by_front[sr_hash_path(v->front)];

	v->next = bb->vbds;
	bb->vbds = v;
	v->next_id = *id;
	*id = v;
	v->next_front = *front;
	*front = v;
	bb->count++;
}

void sr_vbd_free(struct sr_vbd *v)
{
	struct sr_blkback *bb = v->bb;

	unlink_from(&bb->vbds, v, offsetof(struct sr_vbd, next));
	unlink_from(&bb->by_id[sr_hash_id(v->type, v->domid, v->devid)], v,
		    offsetof(struct sr_vbd, next_id));
	unlink_from(&bb->by_front[sr_hash_path(v->front)], v, offsetof(struct sr_vbd, next_front));
	bb->count--;
	sr_blkback_unwatch_front(v);
	sr_vbd_close_disk(v);
	sr_vbd_unmap_record(v);
	sr_guest_put(bb, v->guest);
	free(v->params);
	free(v->path);
	free(v->front);
	free(v);
}

/* The frontend's directory, if it is one of the domain that the path names. */
static int read_front(struct sr_vbd *v)
{
	uint64_t domid;
	int rc = sr_xs_get(v->bb->xs, XBT_NULL, v->path, "frontend", &v->front);

	if (rc)
		return rc;
	if (v->front[0] != '/' || strlen(v->front) > SR_XS_PATH_MAX / 2)
		return -EINVAL;
	rc = sr_xs_get_u64(v->bb->xs, XBT_NULL, v->path, "frontend-id", UINT16_MAX, &domid);
	if (rc)
		return rc;
	return domid == v->domid ? 0 : -EINVAL;
}

static int make(struct sr_blkback *bb, const char *type, uint16_t domid, uint32_t devid,
		struct sr_vbd **out)
{
	struct sr_vbd *v = calloc(1, sizeof(*v));
	int rc = -ENOMEM;

	if (!v)
		return rc;
	v->bb = bb;
	v->domid = domid;
	v->devid = devid;
	snprintf(v->type, sizeof(v->type), "%s", type);
	snprintf(v->name, sizeof(v->name), "%s-%u-%u", type, domid, devid);
	sr_log_source_init(&v->log, bb->opt.log, v->name);
	if (asprintf(&v->path, "/local/domain/%u/backend/%s/%u/%u", bb->domid, type, domid, devid) <
	    0)
		v->path = NULL;
	if (v->path)
		rc = read_front(v);
	if (!rc)
		rc = sr_vbd_read_nodes(v);
	if (!rc) {
		v->guest = sr_guest_get(bb, domid);
		rc = v->guest ? 0 : -ENOMEM;
	}
	if (rc) {
		free(v->params);
		free(v->path);
		free(v->front);
		free(v);
		return rc;
	}
	*out = v;
	return 0;
}

/* --- looking ------------------------------------------------------------------------------------
 */

static int read_own_state(struct sr_vbd *v, unsigned *state)
{
	uint64_t value;
	int rc =
	    sr_xs_get_u64(v->bb->xs, XBT_NULL, v->path, "state", XenbusStateReconfigured, &value);

	if (!rc)
		*state = (unsigned)value;
	return rc;
}

static enum sr_xenbus_event read_front_event(struct sr_vbd *v)
{
	enum sr_xenbus_event event = SR_XB_FRONT_GONE;
	char *text;

	if (!sr_xs_get(v->bb->xs, XBT_NULL, v->front, "state", &text)) {
		event = sr_xenbus_front_event(text);
		free(text);
	}
	return event;
}

static bool has_rival(struct sr_vbd *v)
{
	const struct sr_blkback_options *opt = &v->bb->opt;

	return opt->rival &&
	       opt->rival(opt->rival_ctx, v->type, v->domid, v->devid, v->error, sizeof(v->error));
}

/* What there is to react to, the most pressing first. -ENOENT: our directory is gone. */
static int look(struct sr_vbd *v, enum sr_xenbus_event *event)
{
	uint64_t online;
	unsigned own;
	int rc = read_own_state(v, &own);

	if (rc)
		return rc;
	v->online =
	    sr_xs_get_u64(v->bb->xs, XBT_NULL, v->path, "online", 1, &online) || online != 0;
	if (v->foreign && (own == XenbusStateInitialising || own == XenbusStateClosed) &&
	    !has_rival(v)) {
		v->foreign = false;
		v->state = (enum xenbus_state)own;
	}
	if (v->failed)
		*event = SR_XB_FAILED;
	else if (own == XenbusStateClosing && v->state != XenbusStateClosing)
		*event = SR_XB_TOOLSTACK_CLOSING;
	else
		*event = read_front_event(v);
	return 0;
}

/* --- acting -------------------------------------------------------------------------------------
 */

static void report(struct sr_vbd *v, const char *what, int rc)
{
	/* Where the directory is gone, the next look finds out. */
	if (rc && rc != -ENOENT)
		sr_log(&v->log, SR_LOG_WARNING, "can't write %s to xenstore: %s", what,
		       strerror(-rc));
}

static void log_connected(struct sr_vbd *v)
{
	sr_log_guest(&v->log, SR_LOG_INFO, "%s: %s, %llu MiB, %u queue%s of %u page%s%s%s",
		     v->recovered ? "taken over" : "connected",
		     *v->params ? v->params : "no medium",
		     (unsigned long long)v->geometry.sectors >> 11, v->conn.queues,
		     v->conn.queues > 1 ? "s" : "", 1u << v->conn.order, v->conn.order ? "s" : "",
		     v->conn.persistent ? ", persistent grants" : "",
		     v->geometry.read_only ? ", read-only" : "");
}

/* `fresh`: the toolstack has just made the device, and waits for us. */
static bool open_and_offer(struct sr_vbd *v, bool fresh)
{
	int rc;

	sr_vbd_read_nodes(v);
	rc = sr_vbd_open_disk(v);
	if (!rc) {
		report(v, "what is offered", sr_vbd_publish_offer(v));
		return true;
	}
	v->refused = true;
	/* libxl runs our script, which ends its wait and says why, only once it has seen InitWait.
	 */
	v->state = fresh && v->scripted ? XenbusStateInitWait : XenbusStateClosed;
	sr_log(&v->log, SR_LOG_ERROR, "%s", v->error);
	report(v, "hotplug-error", sr_vbd_publish_error(v));
	return false;
}

static bool connect_and_publish(struct sr_vbd *v)
{
	if (sr_vbd_connect(v)) {
		/* The queues that were attached are let go of first; then it counts as failed. */
		v->state = XenbusStateInitWait;
		v->failed = true;
		sr_log_guest(&v->log, SR_LOG_ERROR, "%s", v->error);
		return false;
	}
	report(v, "the disk's size", sr_vbd_publish_disk(v));
	log_connected(v);
	return true;
}

static void remove_directory(struct sr_vbd *v)
{
	if (v->bb->opt.remove_directory > 0)
		report(v, "the removal", sr_xs_remove(v->bb->xs, XBT_NULL, v->path, ""));
}

/* True: look again at once. */
static bool apply(struct sr_vbd *v, enum sr_xenbus_event event, struct sr_xenbus_step step)
{
	bool fresh;

	if (step.actions & SR_XB_DETACH) {
		/* A frontend that takes its leave may still wait for answers. */
		sr_vbd_detach(v, event == SR_XB_FRONT_CLOSING);
		return false;
	}
	fresh = v->state == XenbusStateInitialising;
	v->state = step.state;
	if (event == SR_XB_FAILED)
		v->failed = false;
	if (step.actions & SR_XB_OPEN && !open_and_offer(v, fresh)) {
		if (!v->online)
			remove_directory(v);
		return false;
	}
	if (step.actions & SR_XB_CONNECT && !connect_and_publish(v))
		return !v->detaching;
	if (!v->attached)
		sr_vbd_drop_record(v);
	if (step.actions & SR_XB_WRITE && !(step.actions & (SR_XB_OPEN | SR_XB_CONNECT))) {
		report(v, "the state",
		       event == SR_XB_FAILED ? sr_vbd_publish_error(v) : sr_vbd_publish_state(v));
		sr_log_guest(&v->log, SR_LOG_INFO, "%s", sr_xenbus_state_name(v->state));
	}
	if (step.actions & SR_XB_CLOSE)
		sr_vbd_close_disk(v);
	if (step.actions & SR_XB_REMOVE)
		remove_directory(v);
	return step.actions & SR_XB_AGAIN;
}

/* Its directory is gone, and with it everything that we could say to anybody. */
static void vanish(struct sr_vbd *v)
{
	v->gone = true;
	if (v->attached) {
		sr_vbd_detach(v, false);
		return;
	}
	sr_vbd_drop_record(v);
	sr_log(&v->log, SR_LOG_INFO, "removed");
	sr_vbd_free(v);
}

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
		rc = sr_blk_info_check(&info, v->error, sizeof(v->error));
	if (rc || info.size == v->info.size)
		return rc;
	v->info.size = info.size;
	/* The queues check against the new size from now on, before the guest can use it. */
	__atomic_store_n(&v->geometry.sectors, info.size >> SR_SECTOR_SHIFT, __ATOMIC_RELAXED);
	sr_log(&v->log, SR_LOG_INFO, "the disk has %llu MiB now",
	       (unsigned long long)info.size >> 20);
	return v->state == XenbusStateConnected ? sr_vbd_publish_disk(v) : 0;
}

static void take_refresh(struct sr_vbd *v)
{
	char *value;
	int rc;

	v->refresh_wanted = false;
	/* Our removal makes the watch fire again. */
	if (sr_xs_get(v->bb->xs, XBT_NULL, v->path, "refresh", &value))
		return;
	free(value);
	sr_xs_remove(v->bb->xs, XBT_NULL, v->path, "refresh");
	rc = sr_vbd_refresh(v);
	if (rc)
		sr_log(&v->log, SR_LOG_ERROR, "can't look at the disk's size again: %s",
		       strerror(-rc));
}

/* The toolstack has put another medium into the drive, or tries again with a disk that failed. */
static void look_at_params(struct sr_vbd *v)
{
	char *params;

	if (sr_vbd_read_params(v, &params))
		return;
	if (strcmp(params, v->params)) {
		/* What the toolstack was told in InitWait was no offer: from Closed it gets one. */
		if (v->refused && v->state == XenbusStateInitWait)
			v->state = XenbusStateClosed;
		v->refused = false;
		if (v->cdrom && v->open && v->attached) {
			/* The requests in hand are for the old medium: they are answered first. */
			v->swap = true;
			sr_vbd_detach(v, true);
		}
	}
	free(params);
}

static void swap_medium(struct sr_vbd *v)
{
	v->swap = false;
	sr_vbd_close_disk(v);
	sr_vbd_read_nodes(v);
	if (sr_vbd_open_disk(v)) {
		sr_log(&v->log, SR_LOG_ERROR, "%s; the drive stays empty", v->error);
		v->params[0] = 0;
		sr_vbd_open_disk(v);
	}
	if (sr_vbd_resume(v)) {
		sr_log(&v->log, SR_LOG_ERROR, "%s", v->error);
		v->failed = true;
		return;
	}
	sr_log(&v->log, SR_LOG_INFO, "the medium is %s now", *v->params ? v->params : "out");
	report(v, "the medium's size", sr_vbd_publish_disk(v));
}

/* --- the whole ----------------------------------------------------------------------------------
 */

void sr_vbd_update(struct sr_vbd *v)
{
	v->dirty = false;
	/* A frontend that has closed because we are about to go is not to be connected again. */
	if (v->bb->stopping || v->detaching || (v->bb->closing && !v->attached))
		return;
	if (v->refresh_wanted && !v->foreign)
		take_refresh(v);
	if (v->swap)
		swap_medium(v);
	else if (v->cdrom || v->refused)
		look_at_params(v);
	for (unsigned i = 0; i < SR_STEPS && !v->detaching; i++) {
		enum sr_xenbus_event event;
		int rc = look(v, &event);

		if (rc == -ENOENT) {
			vanish(v);
			return;
		}
		if (rc || v->foreign)
			return;
		/* The guest took for an offer what was meant for the toolstack. */
		if (v->refused && v->state == XenbusStateInitWait && event == SR_XB_FRONT_READY)
			event = SR_XB_FAILED;
		if (event != SR_XB_FRONT_INITIALISING)
			v->refused = false;
		else if (v->refused)
			return;
		if (!apply(v, event, sr_xenbus_step(v->state, event, v->attached != 0, v->online)))
			return;
	}
}

/* Goes on with the connection of a process that is gone. */
static void take_over(struct sr_vbd *v, unsigned own)
{
	v->recovered = true;
	if (sr_vbd_open_disk(v) || sr_vbd_resume(v)) {
		sr_log(&v->log, SR_LOG_ERROR, "can't take it over: %s", v->error);
		v->failed = true;
		return;
	}
	/* Killed after the rings were mapped and before the guest was told. */
	if (own == XenbusStateInitWait)
		report(v, "the disk's size", sr_vbd_publish_disk(v));
	log_connected(v);
}

int sr_vbd_new(struct sr_blkback *bb, const char *type, uint16_t domid, uint32_t devid)
{
	enum sr_xenbus_event front;
	struct sr_vbd *v;
	unsigned own;
	int rc = make(bb, type, domid, devid, &v);

	if (rc)
		return rc;
	insert(v);
	rc = read_own_state(v, &own);
	if (rc) {
		sr_vbd_free(v);
		return rc;
	}
	sr_blkback_watch_front(v);
	front = read_front_event(v);
	v->state = XenbusStateInitialising;
	if (has_rival(v)) {
		v->foreign = true;
		sr_log(&v->log, SR_LOG_ERROR, "leaving it alone: %s", v->error);
	} else if (own >= XenbusStateInitWait && own <= XenbusStateClosing &&
		   sr_vbd_has_record(v)) {
		/* If the frontend has left meanwhile, all that remains is to follow it. */
		v->state = XenbusStateConnected;
		if (front == SR_XB_FRONT_READY)
			take_over(v, own);
	} else if (own == XenbusStateConnected) {
		v->foreign = true;
		snprintf(v->error, sizeof(v->error),
			 "another backend serves it, or one did and left no record");
		sr_log(&v->log, SR_LOG_ERROR,
		       "%s: leaving it alone (is xen-blkback loaded? detach and attach the device)",
		       v->error);
	} else if (own == XenbusStateClosing || own == XenbusStateClosed) {
		v->state = (enum xenbus_state)own;
	}
	v->dirty = true;
	return 0;
}

void sr_vbd_ask_to_close(struct sr_vbd *v)
{
	struct sr_xenbus_step step =
	    sr_xenbus_step(v->state, SR_XB_TOOLSTACK_CLOSING, v->attached != 0, v->online);

	if (!v->attached || v->detaching || v->foreign || step.actions & SR_XB_DETACH)
		return;
	v->state = step.state;
	report(v, "the state", sr_vbd_publish_state(v));
}

void sr_vbd_shut_down(struct sr_vbd *v, bool close)
{
	v->closing_down = close;
	sr_vbd_detach(v, true);
}
