/* SPDX-License-Identifier: MIT */
#include "net.h"

#include "daemon.h"
#include "json_put.h"

#include <net/netback.h>
#include <net/queue.h>
#include <ports/ports.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct net {
	struct sr_port_registry *registry;
	struct sr_netback *nb;
	struct sr_netback_uplink *uplinks;
	size_t uplink_count;
	char **names; /* what `uplinks` points into */
};

/* "NAME=UPLINK", which options.c has looked at, in two. */
static int split_bridges(struct net *n, const struct options *opt)
{
	n->uplinks = calloc(opt->bridge_count + 1, sizeof(*n->uplinks));
	n->names = calloc(opt->bridge_count + 1, sizeof(*n->names));
	if (!n->uplinks || !n->names)
		return -ENOMEM;
	for (size_t i = 0; i < opt->bridge_count; i++) {
		char *name = n->names[i] = strdup(opt->bridges[i]), *equals;

		if (!name)
			return -ENOMEM;
		equals = strchr(name, '=');
		*equals = '\0';
		n->uplinks[i] = (struct sr_netback_uplink){ .bridge = name, .uplink = equals + 1 };
		n->uplink_count++;
	}
	return 0;
}

static int open_registry(struct net *n, const struct options *opt, struct sr_fail *f)
{
	char error[512];
	int ret = sr_port_registry_new(&n->registry);

	if (ret)
		return sr_fail(f, -ret, "out of memory; free some");
	for (size_t i = 0; i < opt->port_count && !ret; i++)
		if ((ret = sr_port_registry_load(n->registry, opt->ports[i], error, sizeof(error))))
			return sr_fail(f, -ret, "%s", error);
	return 0;
}

int net_open(struct daemon *d, struct sr_hypervisor *hv, struct sr_backend *backend,
	     struct net **out, struct sr_fail *f)
{
	struct net *n = calloc(1, sizeof(*n));
	struct sr_netback_options options = {
		.log = &d->log,
		.mode = d->opt.mode,
		.threads = d->opt.net_threads,
		.cpus = d->opt.net_cpu_count ? d->opt.net_cpus : NULL,
		.spin_us = d->opt.spin_us,
		.max_queues = d->opt.net_max_queues,
		.uplink_mtu = d->opt.uplink_mtu,
	};
	int ret;

	if (!n || (ret = split_bridges(n, &d->opt))) {
		net_close(n);
		return sr_fail(f, ENOMEM, "out of memory; free some");
	}
	ret = open_registry(n, &d->opt, f);
	if (!ret) {
		options.registry = n->registry;
		options.uplinks = n->uplinks;
		options.uplink_count = n->uplink_count;
		ret = sr_netback_new(hv, backend, &options, &n->nb);
		if (ret)
			sr_fail(f, -ret, "can't set up the network backend: %s", strerror(-ret));
	}
	if (ret) {
		net_close(n);
		return ret;
	}
	*out = n;
	return 0;
}

void net_close(struct net *n)
{
	if (!n)
		return;
	sr_netback_free(n->nb);
	sr_port_registry_free(n->registry);
	for (size_t i = 0; n->names && i < n->uplink_count; i++)
		free(n->names[i]);
	free(n->names);
	free(n->uplinks);
	free(n);
}

/* --- what it tells ------------------------------------------------------------------------------
 */

static struct json_object *direction(const struct sr_net_direction *dir)
{
	struct json_object *o = json_object_new_object(), *drops = json_object_new_object();
	uint64_t dropped = 0;

	for (unsigned i = 0; i < SR_NET_DROPS; i++) {
		put_u64(drops, sr_net_drop_name(i), dir->drops[i]);
		dropped += dir->drops[i];
	}
	put_u64(o, "packets", dir->packets);
	put_u64(o, "bytes", dir->bytes);
	put_u64(o, "dropped", dropped);
	json_object_object_add(o, "dropped_by_reason", drops);
	put_u64(o, "requests", dir->requests);
	put_u64(o, "batches", dir->batches);
	put_u64(o, "copies", dir->copies);
	put_u64(o, "mapped", dir->mapped);
	put_u64(o, "segmented", dir->gso);
	put_u64(o, "blank_checksums", dir->checksums);
	put_u64(o, "software", dir->software);
	put_u64(o, "notifications_sent", dir->events_sent);
	put_u64(o, "notifications_suppressed", dir->events_suppressed);
	return o;
}

static void put_features(struct json_object *o, unsigned features)
{
	put_bool(o, "scatter_gather", features & SR_NET_SG);
	put_bool(o, "tso4", features & SR_NET_GSO4);
	put_bool(o, "tso6", features & SR_NET_GSO6);
	put_bool(o, "checksum4", features & SR_NET_CSUM4);
	put_bool(o, "checksum6", features & SR_NET_CSUM6);
}

static struct json_object *vif(const struct sr_netback_device *d)
{
	struct json_object *o = json_object_new_object();
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", d->mac[0], d->mac[1], d->mac[2],
		 d->mac[3], d->mac[4], d->mac[5]);
	put_u64(o, "domid", d->frontend);
	put_u64(o, "devid", d->devid);
	put_string(o, "mac", mac);
	put_string(o, "bridge", d->bridge);
	put_string(o, "state", put_state_name(d->state));
	put_string(o, "error", d->error);
	put_u64(o, "mtu", d->mtu);
	put_u64(o, "rate_bytes", d->rate_bytes);
	put_u64(o, "rate_interval_us", d->rate_interval_us);
	put_bool(o, "link", d->link);
	put_bool(o, "carrier", d->carrier);
	put_u64(o, "stalls", d->stalls);
	put_bool(o, "recovered", d->recovered);
	put_u64(o, "queues", d->queues);
	put_bool(o, "split_event_channels", d->split);
	put_bool(o, "control_ring", d->ctrl_ring);
	put_bool(o, "multicast_filter", d->multicast_filter);
	put_u64(o, "headroom", d->headroom);
	put_features(o, d->features);
	json_object_object_add(o, "tx", direction(&d->stats.tx));
	json_object_object_add(o, "rx", direction(&d->stats.rx));
	return o;
}

void net_add_vifs(struct net *n, struct json_object *out)
{
	struct json_object *array = json_object_new_array();
	struct sr_netback_device *devices = NULL;
	size_t count = 0;

	if (!sr_netback_list(n->nb, &devices, &count))
		for (size_t i = 0; i < count; i++)
			json_object_array_add(array, vif(&devices[i]));
	free(devices);
	json_object_object_add(out, "vifs", array);
}

static struct json_object *bridges(struct net *n)
{
	struct json_object *array = json_object_new_array();
	struct sr_netback_bridge *list = NULL;
	size_t count = 0;

	if (!sr_netback_bridges(n->nb, &list, &count))
		for (size_t i = 0; i < count; i++) {
			struct json_object *o = json_object_new_object();

			put_string(o, "name", list[i].name);
			put_u64(o, "vifs", list[i].vifs);
			put_u64(o, "uplinks", list[i].uplinks);
			json_object_array_add(array, o);
		}
	free(list);
	return array;
}

static struct json_object *threads(struct net *n)
{
	struct json_object *array = json_object_new_array();
	struct sr_netback_thread list[SR_NETBACK_MAX_THREADS];
	size_t count = sr_netback_threads(n->nb, list, SR_NETBACK_MAX_THREADS);

	for (size_t i = 0; i < count; i++) {
		struct json_object *o = json_object_new_object();

		put_u64(o, "queues", list[i].queues);
		put_u64(o, "loops", list[i].loops);
		put_u64(o, "busy_loops", list[i].busy_loops);
		put_u64(o, "sleeps", list[i].sleeps);
		put_u64(o, "wakeups", list[i].wakeups);
		put_u64(o, "cpu_ns", list[i].cpu_ns);
		json_object_array_add(array, o);
	}
	return array;
}

void net_add_info(struct net *n, struct json_object *out)
{
	struct json_object *array = json_object_new_array();
	const struct sr_net_port_driver *driver;

	for (size_t i = 0; (driver = sr_port_driver_at(n->registry, i)); i++) {
		struct json_object *o = json_object_new_object();

		put_string(o, "name", driver->name);
		put_string(o, "description", driver->description ? driver->description : "");
		json_object_array_add(array, o);
	}
	json_object_object_add(out, "bridges", bridges(n));
	json_object_object_add(out, "ports", array);
	json_object_object_add(out, "net_threads", threads(n));
}

/* --- captures -----------------------------------------------------------------------------------
 */

int net_capture(struct net *n, int64_t domid, int64_t devid, uint32_t snaplen,
		struct sr_netback_capture **capture, int *memory)
{
	const struct sr_netback_capture_options options = {
		.all_domains = domid < 0,
		.all_devices = devid < 0,
		.domid = (uint16_t)domid,
		.devid = (uint32_t)devid,
		.snaplen = snaplen,
	};

	return sr_netback_capture(n->nb, &options, capture, memory);
}

void net_capture_end(struct sr_netback_capture *capture)
{
	sr_netback_capture_end(capture);
}

void net_add_drop_names(struct json_object *out)
{
	struct json_object *array = json_object_new_array();

	for (unsigned i = 0; i < SR_NET_DROPS; i++)
		json_object_array_add(array, json_object_new_string(sr_net_drop_name(i)));
	json_object_object_add(out, "drops", array);
}
