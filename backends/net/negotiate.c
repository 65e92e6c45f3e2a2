/* SPDX-License-Identifier: MIT */
#include "negotiate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <common/nodes.h>
#include <common/xs.h>
#include <net/queue.h>

/* What <xen/io/netif.h> of later versions allows at most. */
#define SR_HEADROOM_PROTOCOL 0x7fffu

static int get_ports(const struct sr_nodes *n, const char *dir, struct sr_vif_queue_setup *setup)
{
	int rc;

	if (!sr_nodes_has(n, dir, "event-channel-tx") &&
	    !sr_nodes_has(n, dir, "event-channel-rx")) {
		rc = sr_nodes_need(n, dir, "event-channel", SR_NODES_MAX_PORT, &setup->tx_port);
		setup->rx_port = setup->tx_port;
		return rc;
	}
	rc = sr_nodes_need(n, dir, "event-channel-tx", SR_NODES_MAX_PORT, &setup->tx_port);
	if (!rc)
		rc = sr_nodes_need(n, dir, "event-channel-rx", SR_NODES_MAX_PORT, &setup->rx_port);
	if (!rc && setup->tx_port == setup->rx_port)
		rc = sr_nodes_fail(n, "the frontend gives the event channel %u twice",
				   setup->tx_port);
	return rc;
}

/* `dir` is "" or "queue-N/". */
static int get_queue(const struct sr_nodes *n, const char *dir, struct sr_vif_queue_setup *setup)
{
	int rc = sr_nodes_need(n, dir, "tx-ring-ref", UINT32_MAX, &setup->tx_ref);

	if (!rc)
		rc = sr_nodes_need(n, dir, "rx-ring-ref", UINT32_MAX, &setup->rx_ref);
	return rc ? rc : get_ports(n, dir, setup);
}

static int get_ctrl(const struct sr_nodes *n, struct sr_vif_connection *conn)
{
	int rc;

	conn->has_ctrl = sr_nodes_has(n, "", "ctrl-ring-ref");
	if (!conn->has_ctrl)
		return 0;
	rc = sr_nodes_need(n, "", "ctrl-ring-ref", UINT32_MAX, &conn->ctrl_ref);
	if (!rc)
		rc =
		    sr_nodes_need(n, "", "event-channel-ctrl", SR_NODES_MAX_PORT, &conn->ctrl_port);
	return rc;
}

/*
 * A page or a port that is given twice would have two queues, on two threads, write to the same
 * words. It would be the guest's own loss; but it never is meant, so say so.
 */
static int check_distinct(const struct sr_nodes *n, const struct sr_vif_connection *conn)
{
	uint32_t refs[2 * SR_NET_MAX_QUEUES + 1], ports[2 * SR_NET_MAX_QUEUES + 1];
	unsigned ref_count = 0, port_count = 0;

	for (unsigned i = 0; i < conn->queues; i++) {
		const struct sr_vif_queue_setup *s = &conn->setup[i];

		refs[ref_count++] = s->tx_ref;
		refs[ref_count++] = s->rx_ref;
		ports[port_count++] = s->tx_port;
		if (s->rx_port != s->tx_port)
			ports[port_count++] = s->rx_port;
	}
	if (conn->has_ctrl) {
		refs[ref_count++] = conn->ctrl_ref;
		ports[port_count++] = conn->ctrl_port;
	}
	for (unsigned i = 0; i < ref_count; i++)
		for (unsigned k = 0; k < i; k++)
			if (refs[i] == refs[k])
				return sr_nodes_fail(n, "the frontend gives the ring page %u twice",
						     refs[i]);
	for (unsigned i = 0; i < port_count; i++)
		for (unsigned k = 0; k < i; k++)
			if (ports[i] == ports[k])
				return sr_nodes_fail(
				    n, "the frontend gives the event channel %u twice", ports[i]);
	return 0;
}

/* What it can receive. Blank checksums over IPv4 it can unless it says otherwise. */
static uint32_t get_features(const struct sr_nodes *n)
{
	static const struct {
		const char *key;
		uint32_t feature;
	} flags[] = {
		{ "feature-sg", SR_NET_SG },
		{ "feature-gso-tcpv4", SR_NET_GSO4 },
		{ "feature-gso-tcpv6", SR_NET_GSO6 },
		{ "feature-ipv6-csum-offload", SR_NET_CSUM6 },
	};
	uint32_t features = sr_nodes_flag(n, "feature-no-csum-offload") ? 0 : SR_NET_CSUM4;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
		if (sr_nodes_flag(n, flags[i].key))
			features |= flags[i].feature;
	/* A packet to be segmented is one of several slots, and its checksum is blank. */
	if (!(features & SR_NET_SG) || !(features & SR_NET_CSUM4))
		features &= ~(uint32_t)SR_NET_GSO4;
	if (!(features & SR_NET_SG) || !(features & SR_NET_CSUM6))
		features &= ~(uint32_t)SR_NET_GSO6;
	return features;
}

void sr_vif_read_headroom(sr_net_node_fn *get, void *ctx, uint32_t *headroom, char *error,
			  size_t error_size)
{
	const struct sr_nodes n = { get, ctx, error, error_size };
	uint64_t value;

	error[0] = 0;
	if (sr_nodes_get(&n, "xdp-headroom", SR_HEADROOM_PROTOCOL, 0, &value))
		return;
	if (value > SR_NET_MAX_HEADROOM) {
		snprintf(error, error_size, "the frontend's xdp-headroom is %llu: it gets %u",
			 (unsigned long long)value, SR_NET_MAX_HEADROOM);
		value = SR_NET_MAX_HEADROOM;
	}
	*headroom = (uint32_t)value;
}

static int get_queue_count(const struct sr_nodes *n, unsigned max, struct sr_vif_connection *conn)
{
	uint64_t queues;
	int rc = sr_nodes_get(n, "multi-queue-num-queues", max, 1, &queues);

	if (!rc && queues == 0)
		rc = sr_nodes_fail(n, "the frontend asks for no queue at all");
	if (!rc)
		conn->queues = (uint32_t)queues;
	return rc;
}

int sr_vif_negotiate(unsigned max_queues, sr_net_node_fn *get, void *ctx,
		     struct sr_vif_connection *conn, char *error, size_t error_size)
{
	const struct sr_nodes n = { get, ctx, error, error_size };
	int rc;

	memset(conn, 0, sizeof(*conn));
	if (!sr_nodes_flag(&n, "request-rx-copy"))
		return sr_nodes_fail(&n, "the frontend has no request-rx-copy=1: packets are "
					 "copied to a guest, pages are not exchanged");
	rc = get_queue_count(&n, max_queues, conn);
	for (unsigned i = 0; i < conn->queues && !rc; i++) {
		char dir[24] = "";

		if (conn->queues > 1)
			snprintf(dir, sizeof(dir), "queue-%u/", i);
		rc = get_queue(&n, dir, &conn->setup[i]);
	}
	if (!rc)
		rc = get_ctrl(&n, conn);
	if (!rc)
		rc = check_distinct(&n, conn);
	if (rc)
		return rc;
	conn->features = get_features(&n);
	conn->multicast_filter = sr_nodes_flag(&n, "request-multicast-control");
	conn->rx_notify = sr_nodes_flag(&n, "feature-rx-notify");
	sr_vif_read_headroom(get, ctx, &conn->headroom, error, error_size);
	return 0;
}

/* --- the toolstack's ----------------------------------------------------------------------------
 */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int sr_vif_parse_mac(const char *text, uint8_t mac[6])
{
	uint8_t any = 0;

	for (unsigned i = 0; i < 6; i++, text += 2) {
		int high, low;

		if (i && *text++ != ':')
			return -EINVAL;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
		any |= mac[i];
	}
	return *text || !any || mac[0] & 1 ? -EINVAL : 0;
}

int sr_vif_parse_rate(const char *text, uint64_t *bytes, uint64_t *interval_us)
{
	const char *comma = strchr(text, ',');
	char first[24];

	if (!comma || (size_t)(comma - text) >= sizeof(first))
		return -EINVAL;
	memcpy(first, text, (size_t)(comma - text));
	first[comma - text] = 0;
	if (sr_parse_u64(first, UINT64_MAX, bytes) ||
	    sr_parse_u64(comma + 1, UINT32_MAX, interval_us))
		return -EINVAL;
	return *bytes && *interval_us ? 0 : -EINVAL;
}
