/* SPDX-License-Identifier: MIT */
/* A vif as a class of devices, and what may change while it is connected. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vif.h"

/* --- opening ------------------------------------------------------------------------------------
 */

static int open_vif(struct sr_device *dev)
{
	struct sr_vif *v = sr_vif_of(dev);

	if (v->sw)
		return 0;
	/* What sr_vif_read_nodes() found. */
	if (dev->error[0])
		return -EINVAL;
	v->sw = sr_netback_switch(v->nb, v->bridge, dev->error, sizeof(dev->error));
	return v->sw ? 0 : -EIO;
}

static void close_vif(struct sr_device *dev)
{
	/* The switch stays: others may be on it, and an uplink is not opened for each guest. */
	sr_vif_of(dev)->sw = NULL;
}

/* --- changes ------------------------------------------------------------------------------------
 */

static void look_at_rate(struct sr_vif *v)
{
	bool changed = sr_vif_read_rate(v);

	v->rate_wanted = v->dev.trouble;
	if (!changed || !v->member)
		return;
	sr_member_set_rate(v->member, v->rate_bytes, v->rate_interval_us);
	if (v->rate_bytes)
		sr_log(&v->dev.log, SR_LOG_INFO, "may send %llu bytes in %llu us",
		       (unsigned long long)v->rate_bytes, (unsigned long long)v->rate_interval_us);
	else
		sr_log(&v->dev.log, SR_LOG_INFO, "may send without a limit");
}

/* As an operator says it: `splitring network-link`. */
static void look_at_link(struct sr_vif *v)
{
	bool changed = sr_vif_read_link(v);

	v->link_wanted = v->dev.trouble;
	if (!changed || !v->member)
		return;
	sr_member_set_link(v->member, !v->link_down);
	sr_log(&v->dev.log, SR_LOG_INFO, "link %s", v->link_down ? "down" : "up");
}

/* The frontend may ask for it, or take it back, at any time. */
static void look_at_multicast(struct sr_vif *v)
{
	struct sr_device *dev = &v->dev;
	uint64_t value;
	bool on = !sr_device_note(dev, sr_xs_get_u64(dev->xs, XBT_NULL, dev->front,
						     "request-multicast-control", 1, &value)) &&
		  value;

	if (dev->trouble || on == (v->conn.multicast_filter != 0))
		return;
	v->conn.multicast_filter = on;
	sr_vif_record(v)->conn.multicast_filter = on;
	sr_netif_set_multicast_filter(v->netif, on);
}

static void look_at_headroom(struct sr_vif *v)
{
	struct sr_device_front nodes = { .dev = &v->dev };
	uint32_t headroom = v->conn.headroom;
	char line[160];

	sr_vif_read_headroom(sr_device_front_node, &nodes, &headroom, line, sizeof(line));
	free(nodes.value);
	if (v->dev.trouble)
		return;
	if (line[0])
		sr_log_guest(&v->dev.log, SR_LOG_WARNING, "%s", line);
	if (headroom == v->conn.headroom || sr_netif_set_headroom(v->netif, headroom))
		return;
	v->conn.headroom = headroom;
	sr_vif_record(v)->conn.headroom = headroom;
}

static int reconfigure(struct sr_device *dev)
{
	struct sr_vif *v = sr_vif_of(dev);

	if (v->netif)
		look_at_headroom(v);
	return 0;
}

/* A vif that can't be opened is tried again when what it lacks may have come. */
static void written(struct sr_device *dev, const char *key)
{
	if (!strcmp(key, "rate"))
		sr_vif_of(dev)->rate_wanted = true;
	else if (!strcmp(key, "link"))
		sr_vif_of(dev)->link_wanted = true;
	else if (dev->refused)
		sr_device_try_again(dev);
}

static void prepare(struct sr_device *dev)
{
	struct sr_vif *v = sr_vif_of(dev);

	if (dev->foreign)
		return;
	if (v->rate_wanted)
		look_at_rate(v);
	if (v->link_wanted)
		look_at_link(v);
	if (!v->netif || !v->member || dev->failed)
		return;
	sr_vif_say_carrier(v);
	look_at_multicast(v);
	/* Linux's frontend says Reconfiguring first, and writes what it wants then. */
	if (dev->state == XenbusStateReconfigured)
		look_at_headroom(v);
}

/* --- the class ----------------------------------------------------------------------------------
 */

static void log_connected(struct sr_device *dev)
{
	struct sr_vif *v = sr_vif_of(dev);

	sr_log_guest(&dev->log, SR_LOG_INFO, "%s: bridge %s, %u queue%s%s%s%s%s",
		     dev->recovered ? "taken over" : "connected", v->bridge, v->conn.queues,
		     v->conn.queues > 1 ? "s" : "",
		     v->conn.features & (SR_NET_GSO4 | SR_NET_GSO6) ? ", TSO" : "",
		     v->conn.has_ctrl ? ", control ring" : "",
		     v->rate_bytes ? ", rate limited" : "", v->link_down ? ", link down" : "");
}

static void free_vif(struct sr_device *dev)
{
	/* Nothing that its closing has left. */
}

static const char *const keys[] = { "rate", "link", "mac", "ip", "bridge", "mtu", NULL };
static const char *const front_keys[] = { "request-multicast-control", "xdp-headroom", NULL };

const struct sr_device_class sr_vif_class = {
	.size = sizeof(struct sr_vif),
	.keys = keys,
	.front_keys = front_keys,
	.script = "vif-splitring",
	.start = sr_netback_start,
	.stop = sr_netback_end,
	.read_nodes = sr_vif_read_nodes,
	.free = free_vif,
	.written = written,
	.prepare = prepare,
	.open = open_vif,
	.close = close_vif,
	.put_offer = sr_vif_put_offer,
	.connect = sr_vif_connect,
	.put_connected = sr_vif_put_connected,
	.log_connected = log_connected,
	.detach = sr_vif_detach,
	.reconfigure = reconfigure,
	.check_record = sr_vif_check_record,
	.resume = sr_vif_resume,
};
