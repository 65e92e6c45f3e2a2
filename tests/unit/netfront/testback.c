/* SPDX-License-Identifier: MIT */
#include "testback.h"
#include "must.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* --- nodes ------------------------------------------------------------------------------------ */

char *testback_read(struct testback *b, const char *dir, const char *node)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return xs_read(b->xs, XBT_NULL, path, NULL);
}

long testback_number(struct testback *b, const char *dir, const char *node)
{
	char *text = testback_read(b, dir, node);
	long value = text ? atol(text) : -1;

	free(text);
	return value;
}

void testback_write(struct testback *b, const char *dir, const char *node, const char *value)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	must(xs_write(b->xs, XBT_NULL, path, value, (unsigned)strlen(value)));
}

static void write_number(struct testback *b, const char *dir, const char *node, long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", value);
	testback_write(b, dir, node, text);
}

static void make_dir(struct testback *b, const char *dir, unsigned owner, unsigned reader)
{
	struct xs_permissions perms[2] = {
		{ .id = owner, .perms = XS_PERM_NONE },
		{ .id = reader, .perms = XS_PERM_READ },
	};

	must(xs_mkdir(b->toolstack, XBT_NULL, dir));
	must(xs_set_permissions(b->toolstack, XBT_NULL, dir, perms, 2));
}

/* What a toolstack does. */
static void make_nodes(struct testback *b)
{
	unsigned own = sr_hv_domid(b->hv);
	struct xs_handle *xs = b->xs;

	make_dir(b, b->front, b->domid, own);
	make_dir(b, b->back, own, b->domid);
	b->xs = b->toolstack;
	write_number(b, b->front, "backend-id", own);
	write_number(b, b->front, "handle", b->vif);
	testback_write(b, b->front, "mac", "00:16:3e:00:00:01");
	write_number(b, b->front, "state", XenbusStateInitialising);
	testback_write(b, b->back, "frontend", b->front);
	write_number(b, b->back, "frontend-id", b->domid);
	write_number(b, b->back, "online", 1);
	write_number(b, b->back, "state", XenbusStateInitialising);
	/* Last, as the frontend looks for it first. */
	testback_write(b, b->front, "backend", b->back);
	b->xs = xs;
}

static struct xs_handle *connect_store(const char *address)
{
	struct sr_hypervisor *hv;
	struct xs_handle *xs;

	must(!sr_hv_open(address, &hv));
	must(!sr_hv_xenstore(hv, &xs));
	sr_hv_close(hv);
	return xs;
}

static void set_state(struct testback *b, XenbusState state)
{
	write_number(b, b->back, "state", state);
	b->state = (int)state;
}

static void make_offer(struct testback *b)
{
	const struct testback_offer *o = &b->offer;
	const struct {
		const char *node;
		long value;
	} nodes[] = {
		{ "feature-rx-copy", 1 },
		{ "multi-queue-max-queues", o->queues ? o->queues : 1 },
		{ "feature-split-event-channels", o->split },
		{ "feature-sg", o->sg },
		{ "feature-gso-tcpv4", o->gso },
		{ "feature-gso-tcpv6", o->gso },
		{ "feature-ipv6-csum-offload", o->csum6 },
		{ "feature-no-csum-offload", o->no_csum4 },
		{ "feature-ctrl-ring", o->control },
		{ "feature-multicast-control", o->multicast },
		{ "feature-dynamic-multicast-control", o->dynamic_multicast },
		{ "feature-xdp-headroom", o->headroom },
	};

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		write_number(b, b->back, nodes[i].node, nodes[i].value);
	set_state(b, XenbusStateInitWait);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void *map(struct testback *b, uint32_t ref)
{
	void *page;

	must(!sr_gnttab_map(b->gt, b->domid, &ref, 1, PROT_READ | PROT_WRITE, &page));
	return page;
}

static uint32_t bind_port(struct testback *b, struct sr_evtchn *ev, long remote)
{
	uint32_t port;

	must(remote > 0);
	must(!sr_evtchn_bind_interdomain(ev, b->domid, (uint32_t)remote, &port));
	return port;
}

static void connect_queue(struct testback *b, unsigned index)
{
	struct testback_queue *q = &b->queue[index];
	char dir[96];
	long port;

	if (b->queues == 1)
		snprintf(dir, sizeof(dir), "%s", b->front);
	else
		snprintf(dir, sizeof(dir), "%s/queue-%u", b->front, index);
	q->tx_page = map(b, (uint32_t)testback_number(b, dir, "tx-ring-ref"));
	q->rx_page = map(b, (uint32_t)testback_number(b, dir, "rx-ring-ref"));
	must(!sr_netif_tx_back_attach(&q->tx, q->tx_page, 0, 0));
	must(!sr_netif_rx_back_attach(&q->rx, q->rx_page, 0, 0));
	port = testback_number(b, dir, "event-channel");
	if (port > 0) {
		q->tx_port = q->rx_port = bind_port(b, b->ev, port);
		return;
	}
	q->tx_port = bind_port(b, b->ev, testback_number(b, dir, "event-channel-tx"));
	q->rx_port = bind_port(b, b->ev, testback_number(b, dir, "event-channel-rx"));
}

static void connect_control(struct testback *b)
{
	long ref = testback_number(b, b->front, "ctrl-ring-ref");

	b->control.page = NULL;
	if (ref <= 0)
		return;
	b->control.page = map(b, (uint32_t)ref);
	must(!sr_netif_ctrl_back_attach(&b->control.ring, b->control.page, 0, 0));
	b->control.port =
	    bind_port(b, b->ctrl_ev, testback_number(b, b->front, "event-channel-ctrl"));
}

static void connect_front(struct testback *b)
{
	long queues = testback_number(b, b->front, "multi-queue-num-queues");
	long headroom = testback_number(b, b->front, "xdp-headroom");

	b->queues = queues > 0 ? (unsigned)queues : 1;
	b->headroom = headroom > 0 ? (unsigned)headroom : 0;
	must(b->queues <= TESTBACK_MAX_QUEUES);
	must(testback_number(b, b->front, "request-rx-copy") == 1);
	must(!sr_gnttab_open(b->hv, &b->gt));
	must(!sr_evtchn_open(b->hv, &b->ev));
	must(!sr_evtchn_open(b->hv, &b->ctrl_ev));
	for (unsigned i = 0; i < b->queues; i++)
		connect_queue(b, i);
	connect_control(b);
	b->rounds++;
	set_state(b, XenbusStateConnected);
}

static void disconnect_front(struct testback *b)
{
	if (!b->gt)
		return;
	sr_evtchn_close(b->ev);
	sr_evtchn_close(b->ctrl_ev);
	sr_gnttab_close(b->gt);
	b->gt = NULL;
	b->ev = b->ctrl_ev = NULL;
	memset(b->control.grefs, 0, sizeof(b->control.grefs));
	b->control.mapped = 0;
}

/* --- the control ring ------------------------------------------------------------------------- */

static uint64_t *find_gref(struct testback_control *c, uint64_t gref)
{
	for (unsigned i = 0; i < TESTBACK_MAX_GREFS; i++)
		if (c->grefs[i] == gref)
			return &c->grefs[i];
	return NULL;
}

static uint32_t change_grefs(struct testback *b, const struct xen_netif_ctrl_request *req,
			     uint32_t *done)
{
	struct testback_control *c = &b->control;
	bool add = req->type == XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING;
	struct xen_netif_gref *list = map(b, req->data[1]);

	must(req->data[0] < b->queues && req->data[2] <= 512);
	for (unsigned i = 0; i < req->data[2]; i++) {
		uint64_t gref = (uint64_t)(req->data[0] + 1) << 32 | list[i].ref;
		uint64_t *entry = find_gref(c, add ? 0 : gref);

		must(!add || !find_gref(c, gref));
		list[i].status =
		    entry ? XEN_NETIF_CTRL_STATUS_SUCCESS : XEN_NETIF_CTRL_STATUS_INVALID_PARAMETER;
		if (!entry)
			continue;
		*entry = add ? gref : 0;
		c->mapped += add ? 1 : -1u;
		++*done;
	}
	must(!sr_gnttab_unmap(b->gt, list, 1));
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static void read_page(struct testback *b, uint32_t ref, void *to, size_t bytes)
{
	void *page = map(b, ref);

	memcpy(to, page, bytes);
	must(!sr_gnttab_unmap(b->gt, page, 1));
}

static uint32_t do_message(struct testback *b, const struct xen_netif_ctrl_request *req,
			   uint32_t *data)
{
	struct testback_control *c = &b->control;

	switch (req->type) {
	case XEN_NETIF_CTRL_TYPE_SET_HASH_ALGORITHM:
		c->algorithm = req->data[0];
		break;
	case XEN_NETIF_CTRL_TYPE_GET_HASH_FLAGS:
		*data = 0xf;
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_FLAGS:
		c->types = req->data[0];
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_KEY:
		c->key_length = req->data[1];
		read_page(b, req->data[0], c->key, c->key_length);
		break;
	case XEN_NETIF_CTRL_TYPE_GET_HASH_MAPPING_SIZE:
		*data = 1024;
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING_SIZE:
		c->mapping_length = req->data[0];
		break;
	case XEN_NETIF_CTRL_TYPE_SET_HASH_MAPPING:
		must(req->data[1] + req->data[2] <= 1024);
		read_page(b, req->data[0], c->mapping + req->data[2], req->data[1] * 4);
		break;
	case XEN_NETIF_CTRL_TYPE_GET_GREF_MAPPING_SIZE:
		*data = c->limit;
		break;
	case XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING:
	case XEN_NETIF_CTRL_TYPE_DEL_GREF_MAPPING:
		return change_grefs(b, req, data);
	default:
		return XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED;
	}
	return XEN_NETIF_CTRL_STATUS_SUCCESS;
}

static void serve_control(struct testback *b)
{
	struct testback_control *c = &b->control;
	uint32_t port;

	while (!sr_evtchn_pending(b->ctrl_ev, &port))
		must(!sr_evtchn_unmask(b->ctrl_ev, port));
	while (c->page && sr_ring_back_arm(&c->ring.ring) > 0) {
		struct xen_netif_ctrl_request req;
		struct xen_netif_ctrl_response rsp = { 0 };

		sr_netif_ctrl_back_take(&c->ring, &req);
		c->messages++;
		if (c->status < 0)
			continue;
		rsp.id = c->wrong_id ? (uint16_t)(req.id + 1) : req.id;
		rsp.type = req.type;
		rsp.status = c->status ? (uint32_t)c->status : do_message(b, &req, &rsp.data);
		sr_netif_ctrl_back_put(&c->ring, &rsp);
		if (sr_ring_back_publish_and_check(&c->ring.ring))
			must(!sr_evtchn_notify(b->ctrl_ev, c->port));
	}
}

/* --- its life --------------------------------------------------------------------------------- */

static void front_moved(struct testback *b)
{
	long front = testback_number(b, b->front, "state");

	if (b->offer.silent && front != XenbusStateClosed)
		return;
	if (front == XenbusStateInitialising &&
	    (b->state == XenbusStateClosed || b->state == XenbusStateInitialising)) {
		make_offer(b);
	} else if (front == XenbusStateConnected && b->state == XenbusStateInitWait) {
		connect_front(b);
	} else if (front == XenbusStateConnected && b->state == XenbusStateReconfigured) {
		set_state(b, XenbusStateConnected);
	} else if (front == XenbusStateReconfiguring && b->state == XenbusStateConnected) {
		b->headroom = (unsigned)testback_number(b, b->front, "xdp-headroom");
		set_state(b, XenbusStateReconfigured);
	} else if (front == XenbusStateClosing &&
		   (b->state < XenbusStateClosing || b->state > XenbusStateClosed)) {
		disconnect_front(b);
		set_state(b, XenbusStateClosing);
	} else if (front == XenbusStateClosed && b->state != XenbusStateClosed &&
		   b->state != XenbusStateInitWait) {
		disconnect_front(b);
		set_state(b, XenbusStateClosed);
	}
}

static void *live(void *arg)
{
	struct testback *b = arg;
	char **event;

	for (;;) {
		struct pollfd fds[3] = {
			{ .fd = b->stop_fd, .events = POLLIN },
			{ .fd = xs_fileno(b->xs), .events = POLLIN },
			{ .fd = b->ctrl_ev ? sr_evtchn_fd(b->ctrl_ev) : -1, .events = POLLIN },
		};
		eventfd_t n;
		int wanted;

		must(poll(fds, 3, -1) > 0 || errno == EINTR);
		if (fds[0].revents) {
			eventfd_read(b->stop_fd, &n);
			wanted = atomic_exchange(&b->wanted, 0);
			if (!wanted)
				return NULL;
			pthread_mutex_lock(&b->lock);
			if (wanted == XenbusStateClosed)
				disconnect_front(b);
			pthread_mutex_unlock(&b->lock);
			set_state(b, (XenbusState)wanted);
		}
		while ((event = xs_check_watch(b->xs)))
			free(event);
		pthread_mutex_lock(&b->lock);
		front_moved(b);
		if (b->ctrl_ev)
			serve_control(b);
		pthread_mutex_unlock(&b->lock);
	}
}

void testback_sync(struct testback *b)
{
	pthread_mutex_lock(&b->lock);
	pthread_mutex_unlock(&b->lock);
}

void testback_go(struct testback *b, XenbusState state)
{
	struct timespec nap = { .tv_nsec = 1000000 };

	b->wanted = (int)state;
	eventfd_write(b->stop_fd, 1);
	while (b->wanted || b->state != (int)state)
		nanosleep(&nap, NULL);
}

void testback_start(struct testback *b, const char *address, const char *toolstack, uint16_t domid,
		    unsigned vif, const struct testback_offer *offer)
{
	char path[96];

	memset(b, 0, sizeof(*b));
	b->domid = domid;
	b->vif = vif;
	b->offer = *offer;
	b->control.limit = 1024;
	pthread_mutex_init(&b->lock, NULL);
	must(!sr_hv_open(address, &b->hv));
	must(!sr_hv_xenstore(b->hv, &b->xs));
	snprintf(b->front, sizeof(b->front), "/local/domain/%u/device/vif/%u", domid, vif);
	snprintf(b->back, sizeof(b->back), "/local/domain/%u/backend/vif/%u/%u", sr_hv_domid(b->hv),
		 domid, vif);
	if (toolstack) {
		b->toolstack = connect_store(toolstack);
		make_nodes(b);
	}
	b->state = (int)testback_number(b, b->back, "state");
	b->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	must(b->stop_fd >= 0);
	snprintf(path, sizeof(path), "%s/state", b->front);
	must(xs_watch(b->xs, path, "front"));
	must(!pthread_create(&b->thread, NULL, live, b));
}

void testback_stop(struct testback *b)
{
	b->wanted = 0;
	eventfd_write(b->stop_fd, 1);
	pthread_join(b->thread, NULL);
	disconnect_front(b);
	close(b->stop_fd);
	pthread_mutex_destroy(&b->lock);
	if (b->toolstack) {
		must(xs_rm(b->toolstack, XBT_NULL, b->front));
		must(xs_rm(b->toolstack, XBT_NULL, b->back));
		xs_close(b->toolstack);
	}
	xs_close(b->xs);
	sr_hv_close(b->hv);
}
