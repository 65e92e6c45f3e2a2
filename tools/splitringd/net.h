/* SPDX-License-Identifier: MIT */
#ifndef SPLITRINGD_NET_H
#define SPLITRINGD_NET_H

#include <tools/fail.h>

#include <stdint.h>

struct daemon;
struct json_object;
struct net;
struct sr_backend;
struct sr_hypervisor;

/*
 * The daemon's NICs. A build without DPDK has none: then net_open() refuses what asks for some, and
 * vifs are nobody's.
 */

/* Has `backend` serve vifs. 0 with *net NULL where this build can't and nobody asks for it. */
int net_open(struct daemon *d, struct sr_hypervisor *hv, struct sr_backend *backend,
	     struct net **net, struct sr_fail *f);
/* After the backend has stopped. NULL is allowed. */
void net_close(struct net *net);

/* "vifs": what there is to say of each; net may be NULL. Any thread. */
void net_add_vifs(struct net *net, struct json_object *out);
/* "bridges" and "ports". Any thread. */
void net_add_info(struct net *net, struct json_object *out);

/*
 * Begins to copy what goes through vifs to memory that a reader shares (<net/netback.h>), for its
 * descriptor. A negative domid: of all domains; a negative devid: all of that one.
 */
struct sr_netback_capture;
int net_capture(struct net *net, int64_t domid, int64_t devid, uint32_t snaplen,
		struct sr_netback_capture **capture, int *memory);
void net_capture_end(struct sr_netback_capture *capture);
/* "drops": the names of the reasons that records have by number. */
void net_add_drop_names(struct json_object *out);

#endif
