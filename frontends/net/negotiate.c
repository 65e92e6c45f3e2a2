/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What both sides tell each other in xenstore: <xen/io/netif.h>. */

#define MOST_HEADROOM 0x7fffu
#define DEFAULT_MTU   1500u

int sr_net_check_options(struct sr_netfront *f)
{
	const struct sr_netfront_options *o = &f->options;

	if (o->queues == 0 || o->queues > SR_NETFRONT_MAX_QUEUES)
		return sr_frontbus_fail(&f->bus, -EINVAL, "%u queues: 1 to %u can be had",
					o->queues, SR_NETFRONT_MAX_QUEUES);
	if (o->headroom > MOST_HEADROOM)
		return sr_frontbus_fail(&f->bus, -EINVAL, "a headroom of %u: at most %u can be had",
					o->headroom, MOST_HEADROOM);
	if ((o->gso4 && (!o->sg || !o->csum4)) || (o->gso6 && (!o->sg || !o->csum6)))
		return sr_frontbus_fail(
		    &f->bus, -EINVAL, "to receive large TCP packets takes sg and blank checksums");
	return 0;
}

static bool offers(struct sr_netfront *f, const char *node)
{
	return sr_frontbus_read_or(&f->bus, f->bus.backend, node, UINT32_MAX, 0) != 0;
}

/* Six bytes in hexadecimal; all zero where it is no such thing. */
static void read_mac(struct sr_netfront *f, uint8_t mac[6])
{
	unsigned v[6];
	char text[32];
	int end = 0;

	memset(mac, 0, 6);
	if (sr_frontbus_read_string(&f->bus, f->bus.path, "mac", text, sizeof(text)) ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5],
		   &end) != 6 ||
	    text[end])
		return;
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)v[i];
}

static uint16_t read_mtu(struct sr_netfront *f)
{
	uint64_t mtu = sr_frontbus_read_or(&f->bus, f->bus.path, "mtu", UINT16_MAX, 0);

	if (!mtu)
		mtu = sr_frontbus_read_or(&f->bus, f->bus.backend, "mtu", UINT16_MAX, 0);
	return mtu ? (uint16_t)mtu : DEFAULT_MTU;
}

void sr_net_negotiate(struct sr_netfront *f)
{
	const struct sr_netfront_options *o = &f->options;
	struct sr_netfront_info *i = &f->info;
	uint64_t queues;

	*i = (struct sr_netfront_info){
		.device = o->device,
		.backend_domid = f->bus.backend_domid,
		.mtu = read_mtu(f),
	};
	read_mac(f, i->mac);
	queues =
	    sr_frontbus_read_or(&f->bus, f->bus.backend, "multi-queue-max-queues", UINT32_MAX, 1);
	i->queues = queues < o->queues ? (unsigned)queues : o->queues;
	if (!i->queues)
		i->queues = 1;
	i->split = o->split && offers(f, "feature-split-event-channels");
	i->control = o->control && offers(f, "feature-ctrl-ring");
	i->dynamic_multicast = offers(f, "feature-dynamic-multicast-control");
	i->multicast_control = i->dynamic_multicast || offers(f, "feature-multicast-control");
	i->headroom = offers(f, "feature-xdp-headroom") ? o->headroom : 0;
	i->tx = (struct sr_netfront_offloads){
		.sg = offers(f, "feature-sg"),
		.gso4 = offers(f, "feature-gso-tcpv4"),
		.gso6 = offers(f, "feature-gso-tcpv6"),
		.csum4 = !offers(f, "feature-no-csum-offload"),
		.csum6 = offers(f, "feature-ipv6-csum-offload"),
	};
	i->rx = (struct sr_netfront_offloads){
		.sg = o->sg,
		.gso4 = o->gso4,
		.gso6 = o->gso6,
		.csum4 = o->csum4,
		.csum6 = o->csum6,
	};
}

static bool is_ours(const char *node)
{
	static const char *const names[] = {
		"tx-ring-ref",        "rx-ring-ref",
		"event-channel",      "event-channel-tx",
		"event-channel-rx",   "ctrl-ring-ref",
		"event-channel-ctrl", "multi-queue-num-queues",
		"request-rx-copy",    "request-multicast-control",
		"xdp-headroom",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(node, names[i]))
			return true;
	}
	return !strncmp(node, "feature-", 8) || !strncmp(node, "queue-", 6);
}

static int put_queue(struct sr_netfront *f, xs_transaction_t t, unsigned index)
{
	const struct sr_netfront_queue *q = &f->queues[index];
	char dir[96];
	int rc;

	/* One queue lies in the device's own directory, several have one each. */
	if (f->info.queues == 1)
		snprintf(dir, sizeof(dir), "%s", f->bus.path);
	else
		snprintf(dir, sizeof(dir), "%s/queue-%u", f->bus.path, index);
	rc = sr_frontbus_write(&f->bus, t, dir, "tx-ring-ref", "%u", q->tx_ref);
	if (!rc)
		rc = sr_frontbus_write(&f->bus, t, dir, "rx-ring-ref", "%u", q->rx_ref);
	if (rc)
		return rc;
	if (!f->info.split)
		return sr_frontbus_write(&f->bus, t, dir, "event-channel", "%u", q->tx_port);
	rc = sr_frontbus_write(&f->bus, t, dir, "event-channel-tx", "%u", q->tx_port);
	return rc ? rc : sr_frontbus_write(&f->bus, t, dir, "event-channel-rx", "%u", q->rx_port);
}

/* The features are what we can receive. */
static int put_features(struct sr_netfront *f, xs_transaction_t t)
{
	const struct sr_netfront_info *i = &f->info;
	const struct {
		const char *node;
		bool on;
	} flags[] = {
		{ "request-rx-copy", true },
		/* We notify once there is something to receive into. */
		{ "feature-rx-notify", !f->options.quiet_rx },
		{ "feature-sg", i->rx.sg },
		{ "feature-gso-tcpv4", i->rx.gso4 },
		{ "feature-gso-tcpv6", i->rx.gso6 },
		{ "feature-no-csum-offload", !i->rx.csum4 },
		{ "feature-ipv6-csum-offload", i->rx.csum6 },
		{ "request-multicast-control",
		  i->multicast_control && f->options.multicast_control },
	};
	int rc = 0;

	for (size_t n = 0; !rc && n < sizeof(flags) / sizeof(flags[0]); n++) {
		if (flags[n].on)
			rc = sr_frontbus_write(&f->bus, t, f->bus.path, flags[n].node, "1");
	}
	if (!rc && i->headroom)
		rc = sr_frontbus_write(&f->bus, t, f->bus.path, "xdp-headroom", "%u", i->headroom);
	return rc;
}

static int put_all(struct sr_frontbus *bus, xs_transaction_t t, void *arg)
{
	struct sr_netfront *f = arg;
	int rc = put_features(f, t);

	for (unsigned i = 0; !rc && i < f->info.queues; i++)
		rc = put_queue(f, t, i);
	if (!rc && f->info.queues > 1)
		rc = sr_frontbus_write(bus, t, bus->path, "multi-queue-num-queues", "%u",
				       f->info.queues);
	if (!rc && f->info.control)
		rc = sr_frontbus_write(bus, t, bus->path, "ctrl-ring-ref", "%u", f->ctrl.ref);
	if (!rc && f->info.control)
		rc = sr_frontbus_write(bus, t, bus->path, "event-channel-ctrl", "%u", f->ctrl.port);
	if (!rc)
		rc = sr_frontbus_write(bus, t, bus->path, "state", "%d", XenbusStateConnected);
	return rc;
}

int sr_net_publish(struct sr_netfront *f)
{
	struct sr_frontbus_publication p = { .is_ours = is_ours, .put = put_all, .arg = f };

	return sr_frontbus_publish(&f->bus, &p);
}
