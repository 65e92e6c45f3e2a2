/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The control ring: one message at a time, whose answer is waited for. Then hashing, by it. */

#define MAPPING_PAGE (SR_PAGE_SIZE / sizeof(uint32_t)) /* entries of a message */
#define MOST_MAPPING 65536u
#define SPINS        256u

int sr_net_ctrl_connect(struct sr_netfront *f)
{
	struct sr_net_ctrl *c = &f->ctrl;
	int rc;

	if (!f->info.control)
		return 0;
	rc = sr_net_share_page(f, &c->ref, &c->page);
	if (!rc)
		rc = sr_net_share_page(f, &c->scratch_ref, &c->scratch);
	if (!rc)
		rc = sr_evtchn_open(f->bus.hv, &c->ev);
	if (!rc)
		rc = sr_evtchn_alloc_unbound(c->ev, f->info.backend_domid, &c->port);
	if (rc)
		return sr_frontbus_fail(&f->bus, rc, "can't make the control ring: %s",
					strerror(-rc));
	sr_netif_ctrl_front_init(&c->ring, c->page);
	c->usable = true;
	return 0;
}

void sr_net_ctrl_disconnect(struct sr_netfront *f)
{
	struct sr_net_ctrl *c = &f->ctrl;

	pthread_mutex_lock(&c->lock);
	c->usable = false;
	if (c->ev)
		sr_evtchn_close(c->ev);
	c->ev = NULL;
	sr_net_unshare_page(f, c->page);
	sr_net_unshare_page(f, c->scratch);
	c->page = c->scratch = NULL;
	pthread_mutex_unlock(&c->lock);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* Waits for the one response that is out. */
static int await_response(struct sr_netfront *f)
{
	struct sr_net_ctrl *c = &f->ctrl;
	uint64_t deadline = now_ms() + f->options.timeout_ms, now;
	struct pollfd fds[2] = {
		{ .fd = sr_evtchn_fd(c->ev), .events = POLLIN },
		{ .fd = f->wake_fd, .events = POLLIN },
	};
	uint32_t port;
	int there;

	for (unsigned i = 0; i < SPINS; i++) {
		there = sr_ring_front_pending(&c->ring.ring);
		if (there)
			return there < 0 ? there : 0;
	}
	while (!(there = sr_ring_front_arm(&c->ring.ring, 1))) {
		now = now_ms();
		if (now >= deadline || sr_net_status(f) == -ESHUTDOWN)
			return -ETIMEDOUT;
		if (poll(fds, 2, (int)(deadline - now)) < 0 && errno != EINTR)
			return -errno;
		while (!sr_evtchn_pending(c->ev, &port))
			(void)sr_evtchn_unmask(c->ev, port);
		if (sr_net_status(f) == -EIO)
			return -EIO;
	}
	return there < 0 ? there : 0;
}

static int error_of(uint32_t status)
{
	switch (status) {
	case XEN_NETIF_CTRL_STATUS_SUCCESS:
		return 0;
	case XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED:
		return -ENOTSUP;
	case XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER:
		return -EINVAL;
	case XEN_NETIF_CTRL_STATUS_BUFFER_OVERFLOW:
		return -EOVERFLOW;
	}
	return -EPROTO;
}

int sr_net_ctrl_call(struct sr_netfront *f, uint16_t type, const uint32_t args[3], uint32_t *data)
{
	struct sr_net_ctrl *c = &f->ctrl;
	struct xen_netif_ctrl_request req = { .id = c->next_id++, .type = type };
	struct xen_netif_ctrl_response rsp;
	int rc = 0;

	if (!c->usable)
		return -ENOTSUP;
	memcpy(req.data, args, sizeof(req.data));
	sr_netif_ctrl_front_put(&c->ring, &req);
	if (sr_ring_front_publish_and_check(&c->ring.ring))
		rc = sr_evtchn_notify(c->ev, c->port);
	if (!rc)
		rc = await_response(f);
	if (!rc) {
		sr_netif_ctrl_front_take(&c->ring, &rsp);
		rc = rsp.id == req.id && rsp.type == req.type ? error_of(rsp.status) : -EPROTO;
	}
	/* Without its answer, the next one's could be mistaken for it. */
	if (rc && rc != -ENOTSUP && rc != -EINVAL && rc != -EOVERFLOW)
		c->usable = false;
	if (!rc && data)
		*data = rsp.data;
	return rc;
}

int sr_netfront_control(struct sr_netfront *f, uint16_t type, const uint32_t args[3],
			uint32_t *data)
{
	int rc;

	pthread_mutex_lock(&f->ctrl.lock);
	rc = sr_net_ctrl_call(f, type, args, data);
	pthread_mutex_unlock(&f->ctrl.lock);
	return rc;
}

/* --- hashing ---------------------------------------------------------------------------------- */

static int call(struct sr_netfront *f, uint16_t type, uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t args[3] = { a, b, c };

	return sr_net_ctrl_call(f, type, args, NULL);
}

static int send_mapping(struct sr_netfront *f, const struct sr_net_hash *h)
{
	int rc = call(f, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE, h->mapping_length, 0, 0);

	for (uint32_t at = 0, n; !rc && at < h->mapping_length; at += n) {
		n = h->mapping_length - at;
		if (n > MAPPING_PAGE)
			n = MAPPING_PAGE;
		memcpy(f->ctrl.scratch, h->mapping + at, n * sizeof(uint32_t));
		rc = call(f, XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING, f->ctrl.scratch_ref, n, at);
	}
	return rc;
}

static int send_hash(struct sr_netfront *f, const struct sr_net_hash *h)
{
	int rc;

	if (!f->ctrl.usable)
		return -ENOTSUP;
	if (!h->types)
		return call(f, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM,
			    XEN_NETIF_CTRL_HASH_ALGORITHM_NONE, 0, 0);
	rc = call(f, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ,
		  0, 0);
	if (!rc) {
		memcpy(f->ctrl.scratch, h->key, h->key_length);
		rc = call(f, XEN_NETIF_CTRL_TYPE_SET_HASH_KEY, f->ctrl.scratch_ref, h->key_length,
			  0);
	}
	if (!rc)
		rc = send_mapping(f, h);
	/* Last: from then on packets are hashed. */
	if (!rc)
		rc = call(f, XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS, h->types, 0, 0);
	return rc;
}

static void forget_hash(struct sr_net_hash *h)
{
	free(h->key);
	free(h->mapping);
	*h = (struct sr_net_hash){ 0 };
}

static int copy_hash(const struct sr_netfront_hash *from, struct sr_net_hash *to)
{
	*to = (struct sr_net_hash){
		.set = from->types != 0,
		.types = from->types,
		.key_length = from->key_length,
		.mapping_length = from->mapping_length,
		.key = malloc(from->key_length + 1),
		.mapping = calloc(from->mapping_length + 1, sizeof(uint32_t)),
	};
	if (!to->key || !to->mapping) {
		forget_hash(to);
		return -ENOMEM;
	}
	if (from->key_length)
		memcpy(to->key, from->key, from->key_length);
	if (from->mapping_length)
		memcpy(to->mapping, from->mapping, from->mapping_length * sizeof(uint32_t));
	return 0;
}

int sr_netfront_hash(struct sr_netfront *f, const struct sr_netfront_hash *hash)
{
	struct sr_net_hash h;
	int rc;

	if (hash->key_length > SR_PAGE_SIZE || hash->mapping_length > MOST_MAPPING)
		return -EOVERFLOW;
	rc = copy_hash(hash, &h);
	if (rc)
		return rc;
	pthread_mutex_lock(&f->ctrl.lock);
	rc = send_hash(f, &h);
	if (!rc) {
		forget_hash(&f->hash);
		f->hash = h;
	} else {
		forget_hash(&h);
	}
	pthread_mutex_unlock(&f->ctrl.lock);
	return rc;
}

int sr_netfront_hash_limits(struct sr_netfront *f, uint32_t *types, unsigned *mapping_length)
{
	const uint32_t none[3] = { 0 },
		       toeplitz[3] = { XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ, 0, 0 };
	uint32_t size = 0;
	int rc;

	pthread_mutex_lock(&f->ctrl.lock);
	/* The types can be asked for only once an algorithm is chosen; without types it does
	 * nothing. */
	rc = sr_net_ctrl_call(f, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM, toeplitz, NULL);
	if (!rc)
		rc = sr_net_ctrl_call(f, XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS, none, types);
	if (!rc)
		rc = sr_net_ctrl_call(f, XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE, none, &size);
	if (!rc && !f->hash.set)
		rc = call(f, XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM,
			  XEN_NETIF_CTRL_HASH_ALGORITHM_NONE, 0, 0);
	pthread_mutex_unlock(&f->ctrl.lock);
	*mapping_length = size < MOST_MAPPING ? size : MOST_MAPPING;
	return rc;
}

void sr_net_ctrl_restore(struct sr_netfront *f)
{
	pthread_mutex_lock(&f->ctrl.lock);
	if (f->hash.set)
		(void)send_hash(f, &f->hash);
	sr_net_statics_restore(f);
	pthread_mutex_unlock(&f->ctrl.lock);
}

void sr_net_ctrl_free(struct sr_netfront *f)
{
	forget_hash(&f->hash);
	sr_net_statics_free(f);
	pthread_mutex_destroy(&f->ctrl.lock);
}
