/* SPDX-License-Identifier: MIT */
/* The control thread: watches, mail, and the devices that they are about. */
#include <blk/blkback.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <hypervisor.h>

#include "vbd.h"

#define SR_DEFAULT_SPIN_US    50u
#define SR_DEFAULT_PERSISTENT 1056u
/* Watches of the two backend directories. */
static const char *const types[2] = { "vbd", "qdisk" };

/* --- threads ------------------------------------------------------------------------------------
 */

static void thread_stop(struct sr_blk_thread *t)
{
	sr_thread_stop(t->thread);
	sr_gnttab_close(t->gt);
	sr_memory_destroy(&t->memory);
	free(t);
}

static int thread_start(struct sr_blkback *bb, unsigned index)
{
	struct sr_blk_thread *t = calloc(1, sizeof(*t));
	struct sr_thread_options options = {
		.cpu = bb->opt.cpus ? (int)bb->opt.cpus[index] : -1,
		.always = bb->opt.mode == SR_POLL_ALWAYS,
		.spin_us = bb->opt.mode == SR_POLL_INTERRUPT ? 0 : bb->opt.spin_us,
	};
	char name[16];
	int rc;

	if (!t)
		return -ENOMEM;
	snprintf(name, sizeof(name), "blk-%u", index);
	options.name = name;
	t->hv = bb->hv;
	t->cpu = options.cpu;
	t->cheap_map = sr_hv_caps(bb->hv) & SR_CAP_CHEAP_MAP;
	t->starved_tail = &t->starved;
	rc = sr_memory_init(&t->memory);
	if (!rc)
		rc = sr_gnttab_open(bb->hv, &t->gt);
	if (!rc)
		rc = sr_thread_start(bb->hv, &options, &t->thread);
	if (rc) {
		thread_stop(t);
		return rc;
	}
	bb->threads[bb->thread_count++] = t;
	return 0;
}

struct sr_blk_thread *sr_blkback_pick_thread(struct sr_blkback *bb)
{
	struct sr_blk_thread *best = bb->threads[0];

	for (unsigned i = 1; i < bb->thread_count; i++)
		if (bb->threads[i]->queues < best->queues)
			best = bb->threads[i];
	return best;
}

void sr_blkback_post(struct sr_blkback *bb, struct sr_mail *mail)
{
	sr_mailbox_post(&bb->box, mail);
}

/* --- events of the store ------------------------------------------------------------------------
 */

static struct sr_vbd *find_vbd(struct sr_blkback *bb, const char *type, uint16_t domid,
			       uint32_t devid)
{
	struct sr_vbd *v = bb->by_id[sr_hash_id(type, domid, devid)];

	while (v && (strcmp(v->type, type) || v->domid != domid || v->devid != devid))
		v = v->next_id;
	return v;
}

/* Cuts the next part off a path: "7/51712/state" -> 7, "51712/state". */
static bool next_number(const char **path, uint64_t max, uint64_t *value)
{
	char text[24];
	size_t len = strcspn(*path, "/");

	if (len >= sizeof(text))
		return false;
	memcpy(text, *path, len);
	text[len] = 0;
	if (sr_parse_u64(text, max, value))
		return false;
	*path += len;
	if (**path == '/')
		(*path)++;
	return true;
}

static bool is_ours_to_know(const char *key)
{
	static const char *const keys[] = { "",        "state",    "online",     "params",
					    "refresh", "frontend", "frontend-id" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(key, keys[i]))
			return true;
	return false;
}

static void make_vbd(struct sr_blkback *bb, const char *type, uint16_t domid, uint32_t devid)
{
	int rc = sr_vbd_new(bb, type, domid, devid);

	/* Not complete yet: there will be another event. */
	if (rc && rc != -ENOENT)
		sr_log(&bb->log, SR_LOG_ERROR, "%s-%u-%u: can't read its nodes: %s", type, domid,
		       devid, strerror(-rc));
}

/* Every device of a backend directory, and that all are looked at. */
static void scan(struct sr_blkback *bb, unsigned type)
{
	unsigned domains = 0, devices;
	char **domain = xs_directory(bb->xs, XBT_NULL, bb->dirs[type], &domains), path[128];

	for (unsigned i = 0; i < domains; i++) {
		uint64_t domid, devid;
		char **device;

		if (sr_parse_u64(domain[i], UINT16_MAX, &domid))
			continue;
		snprintf(path, sizeof(path), "%s/%s", bb->dirs[type], domain[i]);
		device = xs_directory(bb->xs, XBT_NULL, path, &devices);
		for (unsigned k = 0; device && k < devices; k++)
			if (!sr_parse_u64(device[k], UINT32_MAX, &devid) &&
			    !find_vbd(bb, types[type], (uint16_t)domid, (uint32_t)devid))
				make_vbd(bb, types[type], (uint16_t)domid, (uint32_t)devid);
		free(device);
	}
	free(domain);
	for (struct sr_vbd *v = bb->vbds; v; v = v->next)
		v->dirty = true;
}

static void on_back_event(struct sr_blkback *bb, unsigned type, const char *rest)
{
	uint64_t domid, devid;
	struct sr_vbd *v;

	if (*rest == '/')
		rest++;
	if (!*rest) {
		/* The watch itself, which is also what many missed events come as. */
		scan(bb, type);
		return;
	}
	if (!next_number(&rest, UINT16_MAX, &domid) || !*rest) {
		for (v = bb->vbds; v; v = v->next)
			v->dirty = v->dirty || v->domid == domid;
		return;
	}
	if (!next_number(&rest, UINT32_MAX, &devid) || !is_ours_to_know(rest))
		return;
	v = find_vbd(bb, types[type], (uint16_t)domid, (uint32_t)devid);
	if (!v) {
		make_vbd(bb, types[type], (uint16_t)domid, (uint32_t)devid);
		return;
	}
	v->dirty = true;
	if (!strcmp(rest, "refresh"))
		v->refresh_wanted = true;
}

static void on_front_event(struct sr_blkback *bb, char *path)
{
	char *slash = strrchr(path, '/');
	bool is_state = slash && !strcmp(slash, "/state");
	size_t len;

	if (is_state)
		*slash = 0;
	for (struct sr_vbd *v = bb->by_front[sr_hash_path(path)]; v; v = v->next_front)
		if (!strcmp(v->front, path))
			v->dirty = true;
	if (is_state)
		return;
	/*
	 * Mostly a node that is of no interest, which a guest may write as often as it likes. Else
	 * a directory above: it was removed, or events were merged.
	 */
	len = strlen(path);
	for (struct sr_front_watch *w = bb->watches; w; w = w->next)
		if (len <= w->len && !memcmp(w->path, path, len))
			for (struct sr_vbd *v = bb->vbds; v; v = v->next)
				v->dirty = v->dirty ||
					   (v->front_watch && !strcmp(v->front_watch, w->path));
}

static void take_events(struct sr_blkback *bb)
{
	char **event;

	while ((event = xs_check_watch(bb->xs))) {
		char *path = event[XS_WATCH_PATH];

		if (!strcmp(event[XS_WATCH_TOKEN], "front")) {
			on_front_event(bb, path);
		} else {
			unsigned type = event[XS_WATCH_TOKEN][0] == 'q';
			size_t len = strlen(bb->dirs[type]);

			/* It also fires for what lies above: then path is the shorter one. */
			on_back_event(bb, type, strlen(path) > len ? path + len : "");
		}
		free(event);
	}
}

static void update_dirty(struct sr_blkback *bb)
{
	struct sr_vbd *v, *next;

	for (v = bb->vbds; v; v = next) {
		next = v->next;
		if (v->dirty)
			sr_vbd_update(v);
	}
}

/* --- the loop -----------------------------------------------------------------------------------
 */

static int watch_backends(struct sr_blkback *bb)
{
	for (unsigned i = 0; i < bb->types; i++)
		if (!xs_watch(bb->xs, bb->dirs[i], types[i])) {
			sr_log(&bb->log, SR_LOG_ERROR, "can't watch %s: %s", bb->dirs[i],
			       strerror(errno));
			return -errno;
		}
	return 0;
}

static void drop_if_stale(void *ctx, const char *name)
{
	struct sr_blkback *bb = ctx;

	if (strncmp(name, "vbd-", 4) && strncmp(name, "qdisk-", 6))
		return;
	for (struct sr_vbd *v = bb->vbds; v; v = v->next)
		if (!strcmp(v->name, name) && v->record)
			return;
	sr_keep_drop(bb->keep, name);
}

static size_t count_attached(const struct sr_blkback *bb)
{
	size_t n = 0;

	for (const struct sr_vbd *v = bb->vbds; v; v = v->next)
		n += v->attached;
	return n;
}

/* A guest that is asked to close gets so long, see SR_BLKBACK_CLOSE. */
#define SR_CLOSE_MS 2000

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void detach_all(struct sr_blkback *bb)
{
	bb->stopping = true;
	for (struct sr_vbd *v = bb->vbds; v; v = v->next)
		sr_vbd_shut_down(v, bb->stop_how == SR_BLKBACK_CLOSE);
}

static void begin_stop(struct sr_blkback *bb)
{
	bool close = __atomic_load_n(&bb->stop_how, __ATOMIC_ACQUIRE) == SR_BLKBACK_CLOSE ||
		     !sr_keep_survives(bb->keep);
	uint64_t calls;

	/* A second call is one that does not want to wait. */
	if (read(bb->stop_fd, &calls, sizeof(calls)) != sizeof(calls))
		return;
	bb->stop_how = close ? SR_BLKBACK_CLOSE : SR_BLKBACK_HANDOVER;
	if (bb->closing || !close) {
		if (!close)
			sr_log(&bb->log, SR_LOG_INFO, "stopping: the next process takes over");
		detach_all(bb);
		return;
	}
	sr_log(&bb->log, SR_LOG_INFO, "stopping: closing all devices");
	bb->closing = true;
	bb->close_deadline = now_ms() + SR_CLOSE_MS;
	for (struct sr_vbd *v = bb->vbds; v; v = v->next)
		sr_vbd_ask_to_close(v);
}

/* How long to wait for anything, in milliseconds. */
static int work_timeout(const struct sr_blkback *bb)
{
	int64_t now = now_ms();

	if (!bb->closing || bb->stopping)
		return -1;
	return now < bb->close_deadline ? (int)(bb->close_deadline - now) : 0;
}

static int wait_and_work(struct sr_blkback *bb)
{
	struct pollfd fds[3] = {
		{ .fd = xs_fileno(bb->xs), .events = POLLIN },
		{ .fd = bb->box.fd, .events = POLLIN },
		{ .fd = bb->stopping ? -1 : bb->stop_fd, .events = POLLIN },
	};

	if (poll(fds, 3, work_timeout(bb)) < 0)
		return errno == EINTR ? 0 : -errno;
	pthread_mutex_lock(&bb->lock);
	if (fds[2].revents)
		begin_stop(bb);
	if (fds[0].revents)
		take_events(bb);
	sr_mailbox_run(&bb->box);
	update_dirty(bb);
	if (bb->closing && !bb->stopping && (!count_attached(bb) || !work_timeout(bb)))
		detach_all(bb);
	pthread_mutex_unlock(&bb->lock);
	return 0;
}

/* Lets go of everything; the guests learn of it only if they are to. */
static void end(struct sr_blkback *bb)
{
	while (bb->vbds) {
		struct sr_vbd *v = bb->vbds;

		if (v->closing_down && !v->foreign &&
		    (v->state == XenbusStateConnected || v->state == XenbusStateInitWait ||
		     v->state == XenbusStateClosing)) {
			v->state = XenbusStateClosed;
			sr_vbd_publish_state(v);
			sr_vbd_drop_record(v);
		}
		sr_vbd_free(v);
	}
	while (bb->thread_count)
		thread_stop(bb->threads[--bb->thread_count]);
}

int sr_blkback_run(struct sr_blkback *bb)
{
	int rc = 0;

	for (unsigned i = 0; i < bb->opt.threads && !rc; i++)
		rc = thread_start(bb, i);
	if (!rc)
		rc = watch_backends(bb);
	if (!rc) {
		pthread_mutex_lock(&bb->lock);
		for (unsigned i = 0; i < bb->types; i++)
			scan(bb, i);
		/* Records of devices that went while nobody looked. */
		sr_keep_each(bb->keep, drop_if_stale, bb);
		update_dirty(bb);
		pthread_mutex_unlock(&bb->lock);
	}
	while (!rc && !(bb->stopping && !count_attached(bb)))
		rc = wait_and_work(bb);
	pthread_mutex_lock(&bb->lock);
	end(bb);
	pthread_mutex_unlock(&bb->lock);
	return rc;
}

void sr_blkback_stop(struct sr_blkback *bb, enum sr_blkback_stop how)
{
	uint64_t one = 1;

	__atomic_store_n(&bb->stop_how, (int)how, __ATOMIC_RELEASE);
	if (write(bb->stop_fd, &one, sizeof(one)) < 0)
		return; /* full: it is readable already */
}

/* --- making and freeing -------------------------------------------------------------------------
 */

static unsigned limit_of(unsigned wanted, unsigned fallback, unsigned none, unsigned max)
{
	if (wanted == SR_BLKBACK_NONE)
		return none;
	if (wanted == 0)
		wanted = fallback;
	return wanted < max ? wanted : max;
}

static void set_defaults(struct sr_blkback_options *o, uint16_t domid)
{
	o->threads = limit_of(o->threads, 1, 1, SR_BLKBACK_MAX_THREADS);
	o->spin_us = o->spin_us ? o->spin_us : SR_DEFAULT_SPIN_US;
	o->max_queues = limit_of(o->max_queues, o->threads, 1, SR_RECORD_QUEUES);
	o->max_ring_page_order =
	    limit_of(o->max_ring_page_order, SR_BLKIF_MAX_RING_ORDER, 0, SR_BLKIF_MAX_RING_ORDER);
	o->max_indirect_segments =
	    limit_of(o->max_indirect_segments, SR_MAX_SEGMENTS, 0, SR_MAX_SEGMENTS);
	o->max_persistent_grants =
	    limit_of(o->max_persistent_grants, SR_DEFAULT_PERSISTENT, 0, 1u << 16);
	if (o->remove_directory == 0)
		o->remove_directory = domid != 0 ? 1 : -1;
}

int sr_blkback_new(struct sr_hypervisor *hv, const struct sr_blkback_options *options,
		   struct sr_blkback **out)
{
	struct sr_blkback *bb = calloc(1, sizeof(*bb));
	int rc;

	if (!bb)
		return -ENOMEM;
	bb->hv = hv;
	bb->opt = *options;
	bb->domid = sr_hv_domid(hv);
	bb->types = bb->opt.no_qdisk ? 1 : 2;
	bb->box.fd = -1;
	bb->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	set_defaults(&bb->opt, bb->domid);
	sr_log_source_init(&bb->log, options->log, "blkback");
	pthread_mutex_init(&bb->lock, NULL);
	for (unsigned i = 0; i < 2; i++)
		snprintf(bb->dirs[i], sizeof(bb->dirs[i]), "/local/domain/%u/backend/%s", bb->domid,
			 types[i]);
	bb->keep = options->keep;
	rc = bb->stop_fd < 0 ? -EMFILE : sr_mailbox_init(&bb->box);
	if (!rc && !bb->keep) {
		rc = sr_keep_open_private(&bb->own_keep);
		bb->keep = bb->own_keep;
	}
	if (!rc)
		rc = sr_hv_xenstore(hv, &bb->xs);
	if (rc) {
		sr_blkback_free(bb);
		return rc;
	}
	*out = bb;
	return 0;
}

void sr_blkback_free(struct sr_blkback *bb)
{
	if (!bb)
		return;
	if (bb->xs)
		xs_close(bb->xs);
	sr_keep_close(bb->own_keep);
	sr_mailbox_destroy(&bb->box);
	if (bb->stop_fd >= 0)
		close(bb->stop_fd);
	pthread_mutex_destroy(&bb->lock);
	free(bb);
}
