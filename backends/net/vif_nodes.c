/* SPDX-License-Identifier: MIT */
/* What a vif reads from its backend directory, and what it writes there. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vif.h"

/* What IPv4 takes for granted; anything below can't be meant. */
#define SR_MIN_MTU 68u

static char *get(struct sr_vif *v, const char *key)
{
	char *text;

	return sr_device_get(&v->dev, key, &text) ? NULL : text;
}

bool sr_vif_read_rate(struct sr_vif *v)
{
	uint64_t bytes = 0, interval = 0;
	char *text = get(v, "rate");
	bool changed, bad;

	/* What can't be read now is no limit taken away. */
	if (v->dev.trouble)
		return false;
	bad = text && sr_vif_parse_rate(text, &bytes, &interval);
	if (bad)
		bytes = interval = 0;
	/* Nodes are read more than once. */
	if (bad && !v->rate_bad)
		sr_log(&v->dev.log, SR_LOG_WARNING,
		       "its rate \"%.40s\" is not \"bytes,microseconds\": it is not limited", text);
	v->rate_bad = bad;
	free(text);
	changed = bytes != v->rate_bytes || interval != v->rate_interval_us;
	v->rate_bytes = bytes;
	v->rate_interval_us = interval;
	return changed;
}

bool sr_vif_read_link(struct sr_vif *v)
{
	bool down = !sr_device_flag(&v->dev, "link", true);

	if (v->dev.trouble || down == v->link_down)
		return false;
	v->link_down = down;
	return true;
}

static void read_mtu(struct sr_vif *v)
{
	char *text = get(v, "mtu");
	uint64_t mtu = 0;

	if (text && (sr_parse_u64(text, UINT16_MAX, &mtu) || mtu < SR_MIN_MTU)) {
		sr_log(&v->dev.log, SR_LOG_WARNING,
		       "its mtu \"%.40s\" is no number from %u to 65535: none is set", text,
		       SR_MIN_MTU);
		mtu = 0;
	}
	v->mtu = (uint16_t)mtu;
	free(text);
}

/* "10.0.0.7 2001:db8::7"; a prefix length behind one, as some tools write it, says nothing. */
static int read_addresses(struct sr_vif *v)
{
	char *text = get(v, "ip"), *rest = text, *word;
	int rc = 0;

	v->address_count = 0;
	while (text && !rc && (word = strtok_r(rest, " ", &rest))) {
		struct sr_member_address a = { .v6 = strchr(word, ':') };

		word[strcspn(word, "/")] = 0;
		if (v->address_count == SR_VIF_ADDRESSES)
			rc = -E2BIG;
		else if (inet_pton(a.v6 ? AF_INET6 : AF_INET, word, a.bytes) != 1)
			rc = -EINVAL;
		else
			v->addresses[v->address_count++] = a;
		if (rc == -EINVAL)
			snprintf(v->dev.error, sizeof(v->dev.error),
				 "its ip \"%.60s\" is no address; give addresses separated by "
				 "blanks",
				 word);
		else if (rc)
			snprintf(v->dev.error, sizeof(v->dev.error),
				 "its ip has more than %u addresses", SR_VIF_ADDRESSES);
	}
	free(text);
	return rc;
}

static int read_mac(struct sr_vif *v)
{
	char *text = get(v, "mac");
	int rc = text ? sr_vif_parse_mac(text, v->mac) : -ENOENT;

	if (rc == -EINVAL)
		snprintf(v->dev.error, sizeof(v->dev.error),
			 "its mac \"%.40s\" is no address of one NIC, like 00:16:3e:12:34:56",
			 text);
	else if (rc)
		snprintf(v->dev.error, sizeof(v->dev.error), "it has no node mac");
	free(text);
	return rc;
}

int sr_vif_read_nodes(struct sr_device *dev)
{
	struct sr_vif *v = sr_vif_of(dev);
	char *bridge = get(v, "bridge");

	v->nb = dev->ctx;
	snprintf(v->bridge, sizeof(v->bridge), "%s",
		 bridge && *bridge ? bridge : SR_VIF_DEFAULT_BRIDGE);
	free(bridge);
	sr_vif_read_rate(v);
	sr_vif_read_link(v);
	read_mtu(v);
	/* What is wrong here is said once it is opened. */
	dev->error[0] = 0;
	if (!read_mac(v))
		read_addresses(v);
	return 0;
}

int sr_vif_put_offer(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t)
{
	const struct sr_device_node nodes[] = {
		{ "feature-rx-copy", 1 },
		{ "feature-rx-flip", 0 },
		{ "feature-sg", 1 },
		{ "feature-gso-tcpv4", 1 },
		{ "feature-gso-tcpv6", 1 },
		{ "feature-ipv6-csum-offload", 1 },
		{ "feature-split-event-channels", 1 },
		{ "feature-multicast-control", 1 },
		{ "feature-dynamic-multicast-control", 1 },
		{ "feature-xdp-headroom", 1 },
		{ "feature-ctrl-ring", 1 },
		{ "multi-queue-max-queues", sr_vif_of(dev)->nb->opt.max_queues },
	};

	return sr_device_put(dev, xs, t, nodes, sizeof(nodes) / sizeof(nodes[0]));
}

int sr_vif_put_connected(struct sr_device *dev, struct xs_handle *xs, xs_transaction_t t)
{
	struct sr_vif *v = sr_vif_of(dev);
	const struct sr_device_node carrier = { "carrier", !v->link_down };

	v->carrier_said = !v->link_down;
	return sr_device_put(dev, xs, t, &carrier, 1);
}

struct say {
	struct sr_device *dev;
	struct sr_device_node carrier;
};

/* Not a directory that the toolstack has removed meanwhile. */
static int put_carrier(struct xs_handle *xs, xs_transaction_t t, void *arg)
{
	struct say *say = arg;
	uint64_t was;
	int rc = sr_xs_get_u64(xs, t, say->dev->path, say->carrier.key, UINT32_MAX, &was);

	return rc || was == say->carrier.value ? rc
					       : sr_device_put(say->dev, xs, t, &say->carrier, 1);
}

void sr_vif_say_carrier(struct sr_vif *v)
{
	struct say say = { .dev = &v->dev, .carrier = { "carrier", !v->link_down } };

	if (v->carrier_said == !v->link_down)
		return;
	if (!sr_device_note(&v->dev, sr_xs_transact(v->dev.xs, put_carrier, &say)))
		v->carrier_said = !v->link_down;
}
