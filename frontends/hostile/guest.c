/* SPDX-License-Identifier: MIT */
/* The guest's means, and the handshake as single steps. */
#include <hostile/hostile.h>

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xen/grant_table.h>
#include <xen/io/xenbus.h>
#include <xenstore.h>

#include <hypervisor.h>

#include "internal.h"

#define STATE_TOKEN "state"

/* Long enough for a backend that answers, short enough for one that rightly doesn't. */
enum { PATIENCE_MS = 50, PATIENCE_XEN_MS = 500 };

int64_t sr_hostile_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int read_node(struct sr_hostile *h, const char *dir, const char *node, char *value,
		     size_t size)
{
	char path[192];
	unsigned len;
	char *got;

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	got = xs_read(h->xs, XBT_NULL, path, &len);
	if (!got)
		return -errno;
	snprintf(value, size, "%s", got);
	free(got);
	return 0;
}

static int find_device(struct sr_hostile *h, uint32_t devid)
{
	char text[192];
	int rc;

	snprintf(h->front, sizeof(h->front), "device/vbd/%u", devid);
	rc = read_node(h, h->front, "backend", h->back, sizeof(h->back));
	if (!rc)
		rc = read_node(h, h->front, "backend-id", text, sizeof(text));
	if (rc)
		return rc;
	h->backend = (uint16_t)strtoul(text, NULL, 10);
	snprintf(text, sizeof(text), "%s/state", h->back);
	return xs_watch(h->xs, text, STATE_TOKEN) ? 0 : -errno;
}

int sr_hostile_open(const char *address, uint32_t devid, struct sr_hostile *h)
{
	bool real = strncmp(address, "xen:", 4) == 0;
	void *page;
	int rc;

	*h = (struct sr_hostile){ .lowest_ref = real ? GNTTAB_RESERVED_XENSTORE + 1 : 0,
				  .patience_ms = real ? PATIENCE_XEN_MS : PATIENCE_MS };
	rc = sr_hv_open(address, &h->hv);
	if (rc)
		return rc;
	rc = sr_hv_xenstore(h->hv, &h->xs);
	if (!rc)
		rc = find_device(h, devid);
	if (!rc)
		rc = sr_gntshr_open(h->hv, &h->gs);
	if (!rc)
		rc = sr_evtchn_open(h->hv, &h->ev);
	if (!rc)
		rc =
		    sr_gntshr_share(h->gs, h->backend, SR_HOSTILE_PAGES, true, h->data_refs, &page);
	if (!rc) {
		h->data = page;
		rc = sr_gntshr_share(h->gs, h->backend, 1, false, &h->readonly_ref, &page);
		h->readonly = rc ? NULL : page;
	}
	if (rc)
		sr_hostile_close(h);
	return rc;
}

void sr_hostile_close(struct sr_hostile *h)
{
	sr_evtchn_close(h->ev);
	if (h->gs)
		sr_gntshr_close(h->gs);
	if (h->xs)
		xs_close(h->xs);
	sr_hv_close(h->hv);
	*h = (struct sr_hostile){ 0 };
}

int sr_hostile_set(struct sr_hostile *h, const char *node, const char *value)
{
	char path[192];
	bool done;

	snprintf(path, sizeof(path), "%s/%s", h->front, node);
	if (value)
		done = xs_write(h->xs, XBT_NULL, path, value, (unsigned)strlen(value));
	else
		done = xs_rm(h->xs, XBT_NULL, path) || errno == ENOENT;
	return done ? 0 : -errno;
}

int sr_hostile_setf(struct sr_hostile *h, const char *node, const char *format, ...)
{
	char value[256];
	va_list args;

	va_start(args, format);
	vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	return sr_hostile_set(h, node, value);
}

unsigned long sr_hostile_backend_number(struct sr_hostile *h, const char *node,
					unsigned long missing)
{
	char text[64];

	return read_node(h, h->back, node, text, sizeof(text)) ? missing : strtoul(text, NULL, 10);
}

unsigned sr_hostile_backend_state(struct sr_hostile *h)
{
	return (unsigned)sr_hostile_backend_number(h, "state", 0);
}

static void drain_watches(struct xs_handle *xs)
{
	char **event;

	while ((event = xs_check_watch(xs)))
		free(event);
}

int sr_hostile_await(struct sr_hostile *h, unsigned states, int timeout_ms)
{
	int64_t end = sr_hostile_now_ms() + timeout_ms;

	for (;;) {
		struct pollfd p = { .fd = xs_fileno(h->xs), .events = POLLIN };
		unsigned state = sr_hostile_backend_state(h);
		int64_t left = end - sr_hostile_now_ms();

		if (state < 32 && (states & 1u << state))
			return (int)state;
		if (left <= 0)
			return -ETIMEDOUT;
		poll(&p, 1, (int)left);
		drain_watches(h->xs);
	}
}

int sr_hostile_make_ring(struct sr_hostile *h, unsigned order, enum sr_blkif_abi abi)
{
	void *ring;
	int rc;

	if (order > SR_BLKIF_MAX_RING_ORDER)
		return -EINVAL;
	rc = sr_gntshr_share(h->gs, h->backend, 1u << order, true, h->ring_refs, &ring);
	if (rc)
		return rc;
	rc = sr_evtchn_alloc_unbound(h->ev, h->backend, &h->port);
	if (!rc)
		rc = sr_blkif_front_init(&h->io, ring, order, abi);
	if (rc) {
		sr_gntshr_unshare(h->gs, ring, 1u << order);
		return rc;
	}
	h->ring = ring;
	h->order = order;
	h->abi = abi;
	return 0;
}

int sr_hostile_drop_ring(struct sr_hostile *h)
{
	int rc = 0;

	if (h->port)
		sr_evtchn_unbind(h->ev, h->port);
	h->port = 0;
	if (h->ring)
		rc = sr_gntshr_unshare(h->gs, h->ring, 1u << h->order);
	if (!rc)
		h->ring = NULL;
	return rc;
}

int sr_hostile_write_nodes(struct sr_hostile *h)
{
	char node[32];
	int rc;

	rc = sr_hostile_setf(h, "event-channel", "%u", h->port);
	if (!rc)
		rc = sr_hostile_set(h, "protocol", sr_blkif_abi_name(h->abi));
	if (!rc)
		rc = sr_hostile_set(h, "feature-persistent", h->persistent ? "1" : "0");
	if (!rc)
		rc = sr_hostile_set(h, "multi-queue-num-queues", NULL);
	if (h->order == 0) {
		if (!rc)
			rc = sr_hostile_set(h, "ring-page-order", NULL);
		return rc ? rc : sr_hostile_setf(h, "ring-ref", "%u", h->ring_refs[0]);
	}
	if (!rc)
		rc = sr_hostile_set(h, "ring-ref", NULL);
	if (!rc)
		rc = sr_hostile_setf(h, "ring-page-order", "%u", h->order);
	for (unsigned i = 0; !rc && i < 1u << h->order; i++) {
		snprintf(node, sizeof(node), "ring-ref%u", i);
		rc = sr_hostile_setf(h, node, "%u", h->ring_refs[i]);
	}
	return rc;
}

int sr_hostile_reset(struct sr_hostile *h, int timeout_ms)
{
	int rc;

	rc = sr_hostile_setf(h, "state", "%d", XenbusStateClosed);
	if (rc)
		return rc;
	/* Not before it has seen that: what comes next is meant as a new beginning. */
	rc = sr_hostile_await(h, 1u << XenbusStateClosed, timeout_ms);
	if (rc < 0)
		return rc;
	rc = sr_hostile_drop_ring(h);
	if (rc)
		return rc;
	rc = sr_hostile_setf(h, "state", "%d", XenbusStateInitialising);
	if (rc)
		return rc;
	rc = sr_hostile_await(h, 1u << XenbusStateInitWait, timeout_ms);
	return rc < 0 ? rc : 0;
}

int sr_hostile_connect(struct sr_hostile *h, unsigned order, enum sr_blkif_abi abi, int timeout_ms)
{
	int rc = sr_hostile_await(h, 1u << XenbusStateInitWait, timeout_ms);

	if (rc < 0)
		return rc;
	rc = sr_hostile_make_ring(h, order, abi);
	if (!rc)
		rc = sr_hostile_write_nodes(h);
	if (!rc)
		rc = sr_hostile_setf(h, "state", "%d", XenbusStateInitialised);
	if (rc)
		return rc;
	rc = sr_hostile_await(
	    h, 1u << XenbusStateConnected | 1u << XenbusStateClosing | 1u << XenbusStateClosed,
	    timeout_ms);
	if (rc < 0)
		return rc;
	if (rc != XenbusStateConnected)
		return -ECONNREFUSED;
	return sr_hostile_setf(h, "state", "%d", XenbusStateConnected);
}
