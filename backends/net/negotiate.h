/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_NEGOTIATE_H
#define SR_NET_NEGOTIATE_H

/*
 * What a frontend asks for in its nodes, and whether it may have it; and what the toolstack says of
 * a vif. Pure functions of the text, which is whatever somebody wrote.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/limits.h>

struct sr_vif_queue_setup {
	uint32_t tx_ref, rx_ref;
	uint32_t tx_port, rx_port; /* the frontend's; the same: not split */
};

/* A connection as agreed on. It lies in the record too, so its layout is part of that. */
struct sr_vif_connection {
	uint32_t queues;
	uint32_t features; /* enum sr_net_feature */
	uint32_t headroom;
	uint32_t multicast_filter;
	uint32_t has_ctrl, ctrl_ref, ctrl_port;
	uint32_t rx_notify; /* it tells when it has given room */
	struct sr_vif_queue_setup setup[SR_NET_MAX_QUEUES];
};

typedef const char *sr_net_node_fn(void *ctx, const char *key);

/*
 * 0; or -EINVAL and a line in `error` that names the node and what is wrong with it. A headroom
 * that can't be had is no reason to refuse a NIC: what is had then is in conn->headroom, and the
 * line is written with 0 returned. Otherwise the line is "".
 */
int sr_vif_negotiate(unsigned max_queues, sr_net_node_fn *get, void *ctx,
		     struct sr_vif_connection *conn, char *error, size_t error_size);

/*
 * The node xdp-headroom alone, which may change while it is connected. As above: a line, and what
 * it has then; *headroom is kept where the node makes no sense.
 */
void sr_vif_read_headroom(sr_net_node_fn *get, void *ctx, uint32_t *headroom, char *error,
			  size_t error_size);

/* --- the toolstack's ----------------------------------------------------------------------------
 */

/* "00:16:3e:12:34:56". -EINVAL: no such thing, all zeroes, or a group's. */
int sr_vif_parse_mac(const char *text, uint8_t mac[6]);
/* "bytes,microseconds", both above 0. -EINVAL. */
int sr_vif_parse_rate(const char *text, uint64_t *bytes, uint64_t *interval_us);

#endif
