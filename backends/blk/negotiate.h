/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_NEGOTIATE_H
#define SR_BLK_NEGOTIATE_H

/*
 * What a frontend asks for in its nodes, and whether it may have it. A pure function of the nodes,
 * each of which is whatever the guest wrote.
 */

#include <stdbool.h>
#include <stddef.h>

#include "ledger.h"

/* What the backend has offered. */
struct sr_blk_offer {
	unsigned max_queues;
	unsigned max_order;
	bool persistent;
};

/* A connection as agreed on. */
struct sr_blk_connection {
	enum sr_blkif_abi abi;
	unsigned order; /* of the pages of each ring */
	unsigned queues;
	bool persistent;
	struct sr_record_queue_setup setup[SR_RECORD_QUEUES];
};

/* The node `key` below the frontend's directory, "queue-0/ring-ref" or so; NULL: there is none. */
typedef const char *sr_blk_node_fn(void *ctx, const char *key);

/*
 * 0; or -EINVAL and a line in `error` that names the node and what is wrong with it. The strings
 * that `get` returns are used before it is called again.
 */
int sr_blk_negotiate(const struct sr_blk_offer *offer, sr_blk_node_fn *get, void *ctx,
		     struct sr_blk_connection *conn, char *error, size_t error_size);

#endif
