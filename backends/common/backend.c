/* SPDX-License-Identifier: MIT */
/* The control thread: watches, mail, and the devices that they are about. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <hypervisor.h>

#include "backend.h"

/* A guest that is asked to close gets so long, see SR_BACKEND_CLOSE. */
#define SR_CLOSE_MS 2000
/* Between two tries of what xenstore refused. */
#define SR_BACKOFF_FIRST_MS 20u
#define SR_BACKOFF_MAX_MS   5000u

/* --- for classes --------------------------------------------------------------------------------
 */

struct sr_hypervisor *sr_backend_hv(const struct sr_backend *b)
{
	return b->hv;
}

struct xs_handle *sr_backend_xs(const struct sr_backend *b)
{
	return b->xs;
}

struct sr_keep *sr_backend_keep(const struct sr_backend *b)
{
	return b->keep;
}

bool sr_backend_removes(const struct sr_backend *b)
{
	return b->opt.remove_directory > 0;
}

void sr_backend_lock(struct sr_backend *b)
{
	pthread_mutex_lock(&b->lock);
}

void sr_backend_unlock(struct sr_backend *b)
{
	pthread_mutex_unlock(&b->lock);
}

void sr_backend_post(struct sr_backend *b, struct sr_mail *mail)
{
	sr_mailbox_post(&b->box, mail);
}

struct sr_device *sr_backend_next(const struct sr_backend *b, const struct sr_device_class *class,
				  const struct sr_device *after)
{
	struct sr_device *dev = after ? after->next : b->devices;

	while (dev && dev->class != class)
		dev = dev->next;
	return dev;
}

/* --- stopping -----------------------------------------------------------------------------------
 */

int64_t sr_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static size_t count_attached(const struct sr_backend *b)
{
	size_t n = 0;

	for (const struct sr_device *dev = b->devices; dev; dev = dev->next)
		n += dev->attached;
	return n;
}

static void detach_all(struct sr_backend *b)
{
	b->stopping = true;
	for (struct sr_device *dev = b->devices; dev; dev = dev->next)
		sr_device_shut_down(dev, b->stop_how == SR_BACKEND_CLOSE);
}

static void begin_stop(struct sr_backend *b)
{
	bool close = __atomic_load_n(&b->stop_how, __ATOMIC_ACQUIRE) == SR_BACKEND_CLOSE ||
		     !sr_keep_survives(b->keep);
	uint64_t calls;

	/* A second call is one that does not want to wait. */
	if (read(b->stop_fd, &calls, sizeof(calls)) != sizeof(calls))
		return;
	b->stop_how = close ? SR_BACKEND_CLOSE : SR_BACKEND_HANDOVER;
	if (b->closing || !close) {
		if (!close)
			sr_log(&b->log, SR_LOG_INFO, "stopping: the next process takes over");
		detach_all(b);
		return;
	}
	sr_log(&b->log, SR_LOG_INFO, "stopping: closing all devices");
	b->closing = true;
	b->close_deadline = sr_now_ms() + SR_CLOSE_MS;
	for (struct sr_device *dev = b->devices; dev; dev = dev->next)
		sr_device_ask_to_close(dev);
}

void sr_backend_stop(struct sr_backend *b, enum sr_backend_stop how)
{
	uint64_t one = 1;

	__atomic_store_n(&b->stop_how, (int)how, __ATOMIC_RELEASE);
	if (write(b->stop_fd, &one, sizeof(one)) < 0)
		return; /* full: it is readable already */
}

/* --- the loop -----------------------------------------------------------------------------------
 */

static void update_dirty(struct sr_backend *b)
{
	int64_t now = sr_now_ms();
	struct sr_device *dev, *next;

	for (dev = b->devices; dev; dev = next) {
		next = dev->next;
		if (dev->dirty || (dev->retry_at && dev->retry_at <= now) ||
		    (dev->remove_at && dev->remove_at <= now))
			sr_device_update(dev);
	}
}

unsigned sr_backoff_ms(unsigned ms)
{
	if (!ms)
		return SR_BACKOFF_FIRST_MS;
	return ms < SR_BACKOFF_MAX_MS / 2 ? ms * 2 : SR_BACKOFF_MAX_MS;
}

static bool close_is_due(const struct sr_backend *b)
{
	return b->closing && !b->stopping &&
	       (!count_attached(b) || b->close_deadline <= sr_now_ms());
}

static void sooner(int64_t *when, int64_t other)
{
	if (other && other < *when)
		*when = other;
}

/* How long to wait for anything, in milliseconds. */
static int work_timeout(const struct sr_backend *b)
{
	int64_t when = INT64_MAX, left;

	if (b->stopping)
		return -1;
	if (b->closing)
		sooner(&when, b->close_deadline);
	sooner(&when, b->scan_at);
	for (const struct sr_device *dev = b->devices; dev; dev = dev->next) {
		sooner(&when, dev->retry_at);
		sooner(&when, dev->remove_at);
	}
	if (when == INT64_MAX)
		return -1;
	left = when - sr_now_ms();
	return left > 0 ? (int)left : 0;
}

static bool is_name_of(const char *name, const struct sr_backend_type *type)
{
	size_t len = strlen(type->name);

	return !strncmp(name, type->name, len) && name[len] == '-';
}

static void drop_if_stale(void *ctx, const char *name)
{
	struct sr_backend *b = ctx;
	unsigned i = 0;

	while (i < b->type_count && !is_name_of(name, &b->types[i]))
		i++;
	if (i == b->type_count)
		return;
	for (struct sr_device *dev = b->devices; dev; dev = dev->next)
		if (!strcmp(dev->name, name) && dev->record)
			return;
	sr_keep_drop(b->keep, name);
}

static void scan_all(struct sr_backend *b)
{
	b->scan_at = 0;
	for (unsigned i = 0; i < b->type_count; i++)
		sr_backend_scan(b, &b->types[i]);
	if (b->scan_at)
		return;
	b->scan_ms = 0;
	/* Records of devices that went while nobody looked. */
	sr_keep_each(b->keep, drop_if_stale, b);
}

static int wait_and_work(struct sr_backend *b)
{
	struct pollfd fds[3] = {
		{ .fd = xs_fileno(b->xs), .events = POLLIN },
		{ .fd = b->box.fd, .events = POLLIN },
		{ .fd = b->stopping ? -1 : b->stop_fd, .events = POLLIN },
	};

	if (poll(fds, 3, work_timeout(b)) < 0)
		return errno == EINTR ? 0 : -errno;
	pthread_mutex_lock(&b->lock);
	if (fds[2].revents)
		begin_stop(b);
	if (fds[0].revents)
		sr_backend_take_events(b);
	sr_mailbox_run(&b->box);
	if (b->scan_at && b->scan_at <= sr_now_ms())
		scan_all(b);
	update_dirty(b);
	if (close_is_due(b))
		detach_all(b);
	pthread_mutex_unlock(&b->lock);
	return 0;
}

/* What was there before us. */
static void look_around(struct sr_backend *b)
{
	pthread_mutex_lock(&b->lock);
	scan_all(b);
	update_dirty(b);
	pthread_mutex_unlock(&b->lock);
}

static int start_classes(struct sr_backend *b)
{
	int rc = 0;

	for (unsigned i = 0; i < b->class_count && !rc; i++) {
		rc = b->classes[i].class->start(b->classes[i].ctx);
		b->classes[i].started = !rc;
	}
	return rc;
}

/* Lets go of everything; the guests learn of it only if they are to. */
static void end(struct sr_backend *b)
{
	while (b->devices) {
		struct sr_device *dev = b->devices;

		if (dev->closing_down && !dev->foreign && dev->state >= XenbusStateInitWait &&
		    dev->state != XenbusStateClosed) {
			dev->state = XenbusStateClosed;
			sr_device_publish_state(dev);
			sr_device_drop_record(dev);
		}
		if (dev->remove_at)
			sr_device_remove_now(dev);
		sr_device_free(dev);
	}
	for (unsigned i = b->class_count; i > 0; i--)
		if (b->classes[i - 1].started)
			b->classes[i - 1].class->stop(b->classes[i - 1].ctx);
}

int sr_backend_run(struct sr_backend *b)
{
	int rc = start_classes(b);

	if (!rc)
		rc = sr_backend_watch_types(b);
	if (!rc)
		look_around(b);
	while (!rc && !(b->stopping && !count_attached(b)))
		rc = wait_and_work(b);
	pthread_mutex_lock(&b->lock);
	end(b);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

/* --- making and freeing -------------------------------------------------------------------------
 */

int sr_backend_new(struct sr_hypervisor *hv, const struct sr_backend_options *options,
		   struct sr_backend **out)
{
	struct sr_backend *b = calloc(1, sizeof(*b));
	int rc;

	if (!b)
		return -ENOMEM;
	b->hv = hv;
	b->opt = *options;
	b->domid = sr_hv_domid(hv);
	if (b->opt.remove_directory == 0)
		b->opt.remove_directory = b->domid != 0 ? 1 : -1;
	b->box.fd = -1;
	b->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sr_log_source_init(&b->log, options->log, options->name ? options->name : "backend");
	pthread_mutex_init(&b->lock, NULL);
	b->keep = options->keep;
	rc = b->stop_fd < 0 ? -EMFILE : sr_mailbox_init(&b->box);
	if (!rc && !b->keep) {
		rc = sr_keep_open_private(&b->own_keep);
		b->keep = b->own_keep;
	}
	if (!rc)
		rc = sr_hv_xenstore(hv, &b->xs);
	if (rc) {
		sr_backend_free(b);
		return rc;
	}
	*out = b;
	return 0;
}

int sr_backend_add(struct sr_backend *b, const struct sr_device_class *class, void *ctx,
		   const char *const *types)
{
	if (b->class_count == SR_BACKEND_TYPES)
		return -ENOSPC;
	for (; *types; types++) {
		struct sr_backend_type *type = &b->types[b->type_count];

		if (b->type_count == SR_BACKEND_TYPES)
			return -ENOSPC;
		*type = (struct sr_backend_type){ .class = class, .ctx = ctx, .name = *types };
		snprintf(type->dir, sizeof(type->dir), "/local/domain/%u/backend/%s", b->domid,
			 *types);
		b->type_count++;
	}
	b->classes[b->class_count++] = (struct sr_backend_class){ .class = class, .ctx = ctx };
	return 0;
}

void sr_backend_free(struct sr_backend *b)
{
	if (!b)
		return;
	if (b->xs)
		xs_close(b->xs);
	sr_keep_close(b->own_keep);
	sr_mailbox_destroy(&b->box);
	if (b->stop_fd >= 0)
		close(b->stop_fd);
	pthread_mutex_destroy(&b->lock);
	free(b);
}
