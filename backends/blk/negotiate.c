/* SPDX-License-Identifier: MIT */
#include "negotiate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <common/nodes.h>

/* One queue's references and port. `dir` is "" or "queue-N/". */
static int get_queue(const struct sr_nodes *r, const char *dir, unsigned order,
		     struct sr_record_queue_setup *setup)
{
	unsigned pages = 1u << order;
	int rc = 0;

	/* With one page, frontends write either name. */
	if (order == 0 && sr_nodes_has(r, dir, "ring-ref"))
		rc = sr_nodes_need(r, dir, "ring-ref", UINT32_MAX, &setup->refs[0]);
	else
		for (unsigned i = 0; i < pages && !rc; i++) {
			char name[24];

			snprintf(name, sizeof(name), "ring-ref%u", i);
			rc = sr_nodes_need(r, dir, name, UINT32_MAX, &setup->refs[i]);
		}
	if (!rc)
		rc = sr_nodes_need(r, dir, "event-channel", SR_NODES_MAX_PORT, &setup->port);
	return rc;
}

/*
 * A ring page or a port that is given twice would have two queues, on two threads, write to the
 * same words. It would be the guest's own loss; but it never is meant, so say so.
 */
static int check_distinct(const struct sr_nodes *r, const struct sr_blk_connection *conn)
{
	unsigned pages = 1u << conn->order, total = conn->queues * pages;

	for (unsigned i = 0; i < total; i++)
		for (unsigned k = 0; k < i; k++)
			if (conn->setup[i / pages].refs[i % pages] ==
			    conn->setup[k / pages].refs[k % pages])
				return sr_nodes_fail(r, "the frontend gives the ring page %u twice",
						     conn->setup[i / pages].refs[i % pages]);
	for (unsigned i = 0; i < conn->queues; i++)
		for (unsigned k = 0; k < i; k++)
			if (conn->setup[i].port == conn->setup[k].port)
				return sr_nodes_fail(
				    r, "the frontend gives the event channel %u twice",
				    conn->setup[i].port);
	return 0;
}

static int get_order(const struct sr_nodes *r, const struct sr_blk_offer *offer, unsigned *order)
{
	uint64_t pages, value;

	if (r->get(r->ctx, "ring-page-order") || !r->get(r->ctx, "num-ring-pages")) {
		int rc = sr_nodes_get(r, "ring-page-order", offer->max_order, 0, &value);

		*order = (unsigned)value;
		return rc;
	}
	/* The older name for it. */
	if (sr_nodes_get(r, "num-ring-pages", 1u << offer->max_order, 1, &pages))
		return -EINVAL;
	if (pages == 0 || (pages & (pages - 1)))
		return sr_nodes_fail(r, "the frontend's num-ring-pages is no power of two");
	*order = (unsigned)__builtin_ctzll(pages);
	return 0;
}

int sr_blk_negotiate(const struct sr_blk_offer *offer, sr_blk_node_fn *get, void *ctx,
		     struct sr_blk_connection *conn, char *error, size_t error_size)
{
	const struct sr_nodes r = { get, ctx, error, error_size };
	const char *protocol = get(ctx, "protocol");
	uint64_t queues, persistent;
	int rc;

	memset(conn, 0, sizeof(*conn));
	if (sr_blkif_abi_parse(protocol, &conn->abi))
		return sr_nodes_fail(
		    &r, "the frontend's protocol is \"" SR_NODES_SHOWN "\", which nobody knows",
		    protocol);
	rc = get_order(&r, offer, &conn->order);
	if (!rc)
		rc = sr_nodes_get(&r, "multi-queue-num-queues", offer->max_queues, 1, &queues);
	if (!rc && queues == 0)
		rc = sr_nodes_fail(&r, "the frontend asks for no queue at all");
	/* Only a hint to the backend, so nonsense there is no reason to refuse a disk. */
	if (!rc && !sr_nodes_get(&r, "feature-persistent", 1, 0, &persistent))
		conn->persistent = offer->persistent && persistent;
	if (rc)
		return rc;

	conn->queues = (unsigned)queues;
	for (unsigned i = 0; i < conn->queues && !rc; i++) {
		char dir[24] = "";

		if (conn->queues > 1)
			snprintf(dir, sizeof(dir), "queue-%u/", i);
		rc = get_queue(&r, dir, conn->order, &conn->setup[i]);
	}
	return rc ? rc : check_distinct(&r, conn);
}
