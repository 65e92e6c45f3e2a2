/* SPDX-License-Identifier: MIT */
/* In place of net.c in a build without DPDK. */
#include "net.h"

#include "daemon.h"

#include <errno.h>

int net_open(struct daemon *d, struct sr_hypervisor *hv, struct sr_backend *backend,
	     struct net **net, struct sr_fail *f)
{
	*net = NULL;
	if (d->opt.bridge_count || d->opt.port_count)
		return sr_fail(f, ENOTSUP,
			       "this splitringd was built without DPDK and serves no NICs; install "
			       "libdpdk-dev and build it again");
	return 0;
}

void net_close(struct net *net)
{
}

void net_add_vifs(struct net *net, struct json_object *out)
{
}

void net_add_info(struct net *net, struct json_object *out)
{
}

int net_capture(struct net *net, int64_t domid, int64_t devid, uint32_t snaplen,
		struct sr_netback_capture **capture, int *memory)
{
	return -ENOTSUP;
}

void net_capture_end(struct sr_netback_capture *capture)
{
}

void net_add_drop_names(struct json_object *out)
{
}
