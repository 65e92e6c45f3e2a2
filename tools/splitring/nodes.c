/* SPDX-License-Identifier: MIT */
/* What libxl writes of a disk, and of a NIC. */
#include "device.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

bool vbd_write(const struct device_nodes *nodes, const struct device *v, const void *arg,
	       bool backend)
{
	const char *prefix = v->type == DEVICE_QDISK ? "aio:" : "";
	const struct sr_disk *disk = arg;
	char params[PATH_MAX + 8];

	if (!backend)
		return device_put_number(nodes, "virtual-device", v->devid) &&
		       device_put(nodes, "device-type", disk->cdrom ? "cdrom" : "disk");
	snprintf(params, sizeof(params), "%s%s", prefix, disk->target);
	return device_put(nodes, "params", params) &&
	       device_put(nodes, "removable", disk->removable ? "1" : "0") &&
	       device_put(nodes, "bootable", "1") && device_put(nodes, "dev", disk->vdev) &&
	       device_put(nodes, "type", v->type == DEVICE_QDISK ? "qdisk" : "phy") &&
	       device_put(nodes, "mode", disk->writable ? "w" : "r") &&
	       device_put(nodes, "device-type", disk->cdrom ? "cdrom" : "disk") &&
	       (!disk->direct_io_safe || device_put(nodes, "direct-io-safe", "1")) &&
	       device_put(nodes, "discard-enable", disk->discard ? "1" : "0");
}

static bool put_if(const struct device_nodes *nodes, const char *node, const char *value)
{
	return !value || !*value || device_put(nodes, node, value);
}

bool vif_write(const struct device_nodes *nodes, const struct device *v, const void *arg,
	       bool backend)
{
	const struct sr_nic *nic = arg;
	char mac[18], mtu[12] = "", rate[48] = "";

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", nic->mac[0], nic->mac[1],
		 nic->mac[2], nic->mac[3], nic->mac[4], nic->mac[5]);
	if (nic->mtu)
		snprintf(mtu, sizeof(mtu), "%u", nic->mtu);
	if (nic->rate_bytes)
		snprintf(rate, sizeof(rate), "%llu,%u", (unsigned long long)nic->rate_bytes,
			 nic->rate_interval_us);
	return device_put_number(nodes, "handle", v->devid) && device_put(nodes, "mac", mac) &&
	       put_if(nodes, "mtu", mtu) &&
	       (!backend || (put_if(nodes, "bridge", nic->bridge) && put_if(nodes, "ip", nic->ip) &&
			     put_if(nodes, "vifname", nic->vifname) &&
			     put_if(nodes, "rate", rate) && device_put(nodes, "type", "vif")));
}
