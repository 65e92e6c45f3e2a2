/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* open(), connect(), disconnect(), close(): the order of things. */

void sr_net_break(struct sr_netfront *f, const char *reason)
{
	if (atomic_exchange(&f->status, -EIO) == -EIO)
		return;
	atomic_store(&f->reason, reason);
	(void)eventfd_write(f->wake_fd, 1);
}

const struct sr_netfront_info *sr_netfront_info(const struct sr_netfront *f)
{
	return &f->info;
}

bool sr_netfront_carrier(const struct sr_netfront *f)
{
	return atomic_load_explicit(&f->carrier, memory_order_relaxed);
}

int sr_netfront_status(const struct sr_netfront *f)
{
	return sr_net_status(f);
}

const char *sr_netfront_reason(const struct sr_netfront *f)
{
	return atomic_load(&f->reason);
}

int sr_netfront_wake_fd(const struct sr_netfront *f)
{
	return f->wake_fd;
}

struct sr_netfront_queue *sr_netfront_queue(struct sr_netfront *f, unsigned index)
{
	return &f->queues[index];
}

static int connect_backend(struct sr_netfront *f)
{
	int rc = sr_net_publish(f);

	if (rc)
		return rc;
	f->published = true;
	return sr_frontbus_await_connected(&f->bus);
}

static int find_backend(struct sr_netfront *f)
{
	int rc = sr_frontbus_find(&f->bus);

	if (!rc)
		rc = sr_frontbus_watch(&f->bus, f->bus.backend, "state");
	if (!rc)
		rc = sr_frontbus_watch(&f->bus, f->bus.backend, "carrier");
	return rc ? rc : sr_frontbus_begin(&f->bus);
}

static int make_rings(struct sr_netfront *f)
{
	int rc = sr_net_regrant(f);

	for (unsigned i = 0; !rc && i < f->info.queues; i++) {
		rc = sr_net_queue_connect(&f->queues[i]);
		if (!rc)
			rc = sr_net_queue_refill(&f->queues[i]);
	}
	return rc ? rc : sr_net_ctrl_connect(f);
}

static int establish(struct sr_netfront *f)
{
	eventfd_t n;
	int rc;

	rc = find_backend(f);
	if (rc)
		return rc;
	sr_net_negotiate(f);
	rc = make_rings(f);
	if (!rc)
		rc = connect_backend(f);
	if (rc)
		return rc;
	(void)eventfd_read(f->wake_fd, &n);
	atomic_store(&f->reason, "");
	atomic_store(&f->carrier,
		     sr_frontbus_read_or(&f->bus, f->bus.backend, "carrier", UINT32_MAX, 1) != 0);
	atomic_store(&f->status, 0);
	sr_net_ctrl_restore(f);
	/* What was posted before is to be seen without a packet being sent. */
	for (unsigned i = 0; i < f->info.queues; i++)
		(void)sr_netfront_kick(&f->queues[i]);
	return sr_net_follow(f);
}

int sr_netfront_disconnect(struct sr_netfront *f)
{
	int rc = 0;

	sr_net_unfollow(f);
	atomic_store(&f->status, -ENOTCONN);
	atomic_store(&f->carrier, false);
	if (f->published)
		rc = sr_frontbus_goodbye(&f->bus);
	f->published = false;
	sr_frontbus_unwatch(&f->bus, f->bus.backend, "carrier");
	sr_frontbus_unwatch(&f->bus, f->bus.backend, "state");
	sr_frontbus_drain(&f->bus);
	for (unsigned i = 0; i < f->options.queues; i++)
		sr_net_queue_disconnect(&f->queues[i]);
	sr_net_ctrl_disconnect(f);
	return rc;
}

int sr_netfront_connect(struct sr_netfront *f)
{
	int rc;

	if (sr_net_status(f) != -ENOTCONN)
		return -EISCONN;
	if (f->bus.error && f->bus.error_size)
		f->bus.error[0] = '\0';
	rc = establish(f);
	if (rc) {
		(void)sr_frontbus_fail(&f->bus, rc, "%s", strerror(-rc));
		(void)sr_netfront_disconnect(f);
	}
	return rc;
}

static void front_free(struct sr_netfront *f)
{
	sr_net_ctrl_free(f);
	sr_net_memory_free(f);
	sr_frontbus_close(&f->bus);
	if (f->wake_fd >= 0)
		close(f->wake_fd);
	if (f->stop_fd >= 0)
		close(f->stop_fd);
	pthread_mutex_destroy(&f->memory_lock);
	free(f->queues);
	free(f);
}

static int set_up(struct sr_netfront *f)
{
	int rc;

	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->wake_fd < 0 || f->stop_fd < 0)
		return -errno;
	rc = sr_net_check_options(f);
	if (rc)
		return rc;
	f->queues = calloc(f->options.queues, sizeof(*f->queues));
	if (!f->queues)
		return -ENOMEM;
	for (unsigned i = 0; i < f->options.queues; i++)
		sr_net_queue_init(f, &f->queues[i]);
	rc = sr_gntshr_open(f->bus.hv, &f->gs);
	return rc ? rc : sr_frontbus_open(&f->bus);
}

int sr_netfront_open(struct sr_hypervisor *hv, const struct sr_netfront_options *options,
		     struct sr_netfront **front)
{
	struct sr_netfront *f = calloc(1, sizeof(*f));
	int rc;

	if (options->error && options->error_size)
		options->error[0] = '\0';
	if (!f)
		return -ENOMEM;
	f->bus = (struct sr_frontbus){
		.hv = hv,
		.class = "vif",
		.device = options->device,
		.timeout_ms = options->timeout_ms,
		.error = options->error,
		.error_size = options->error_size,
	};
	f->options = *options;
	f->reason = "";
	f->status = -ENOTCONN;
	pthread_mutex_init(&f->memory_lock, NULL);
	pthread_mutex_init(&f->ctrl.lock, NULL);
	rc = set_up(f);
	if (!rc)
		rc = sr_netfront_connect(f);
	if (rc) {
		(void)sr_frontbus_fail(&f->bus, rc, "%s", strerror(-rc));
		front_free(f);
		return rc;
	}
	*front = f;
	return 0;
}

int sr_netfront_close(struct sr_netfront *f)
{
	int rc = 0;

	if (!f)
		return 0;
	if (sr_net_status(f) != -ENOTCONN)
		rc = sr_netfront_disconnect(f);
	front_free(f);
	return rc;
}
