/* SPDX-License-Identifier: MIT */
#include "negotiate.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <common/xs.h>

/* Event channel ports of either ABI lie below this. */
#define SR_MAX_PORT 131071u
/* How much of a guest's text an error line repeats. */
#define SR_SHOWN "%.40s"

struct reader {
	sr_blk_node_fn *get;
	void *ctx;
	char *error;
	size_t error_size;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct reader *r, const char *format,
						      ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->error, r->error_size, format, args);
	va_end(args);
	return -EINVAL;
}

/* A number that may be missing: *value is `fallback` then. */
static int get_number(const struct reader *r, const char *key, uint64_t max, uint64_t fallback,
		      uint64_t *value)
{
	const char *text = r->get(r->ctx, key);

	*value = fallback;
	if (!text)
		return 0;
	if (sr_parse_u64(text, max, value))
		return fail(r,
			    "the frontend's %s is \"" SR_SHOWN "\": a number up to %llu is needed",
			    key, text, (unsigned long long)max);
	return 0;
}

static int need_number(const struct reader *r, const char *dir, const char *name, uint64_t max,
		       uint32_t *value)
{
	char key[64];
	const char *text;
	uint64_t v;

	snprintf(key, sizeof(key), "%s%s", dir, name);
	text = r->get(r->ctx, key);
	if (!text)
		return fail(r, "the frontend has no node %s", key);
	if (sr_parse_u64(text, max, &v))
		return fail(r,
			    "the frontend's %s is \"" SR_SHOWN "\": a number up to %llu is needed",
			    key, text, (unsigned long long)max);
	*value = (uint32_t)v;
	return 0;
}

static bool has_node(const struct reader *r, const char *dir, const char *name)
{
	char key[64];

	snprintf(key, sizeof(key), "%s%s", dir, name);
	return r->get(r->ctx, key) != NULL;
}

/* One queue's references and port. `dir` is "" or "queue-N/". */
static int get_queue(const struct reader *r, const char *dir, unsigned order,
		     struct sr_record_queue_setup *setup)
{
	unsigned pages = 1u << order;
	int rc = 0;

	/* With one page, frontends write either name. */
	if (order == 0 && has_node(r, dir, "ring-ref"))
		rc = need_number(r, dir, "ring-ref", UINT32_MAX, &setup->refs[0]);
	else
		for (unsigned i = 0; i < pages && !rc; i++) {
			char name[24];

			snprintf(name, sizeof(name), "ring-ref%u", i);
			rc = need_number(r, dir, name, UINT32_MAX, &setup->refs[i]);
		}
	if (!rc)
		rc = need_number(r, dir, "event-channel", SR_MAX_PORT, &setup->port);
	return rc;
}

/*
 * A ring page or a port that is given twice would have two queues, on two threads, write to the
 * same words. It would be the guest's own loss; but it never is meant, so say so.
 */
static int check_distinct(const struct reader *r, const struct sr_blk_connection *conn)
{
	unsigned pages = 1u << conn->order, total = conn->queues * pages;

	for (unsigned i = 0; i < total; i++)
		for (unsigned k = 0; k < i; k++)
			if (conn->setup[i / pages].refs[i % pages] ==
			    conn->setup[k / pages].refs[k % pages])
				return fail(r, "the frontend gives the ring page %u twice",
					    conn->setup[i / pages].refs[i % pages]);
	for (unsigned i = 0; i < conn->queues; i++)
		for (unsigned k = 0; k < i; k++)
			if (conn->setup[i].port == conn->setup[k].port)
				return fail(r, "the frontend gives the event channel %u twice",
					    conn->setup[i].port);
	return 0;
}

static int get_order(const struct reader *r, const struct sr_blk_offer *offer, unsigned *order)
{
	uint64_t pages, value;

	if (r->get(r->ctx, "ring-page-order") || !r->get(r->ctx, "num-ring-pages")) {
		int rc = get_number(r, "ring-page-order", offer->max_order, 0, &value);

		*order = (unsigned)value;
		return rc;
	}
	/* The older name for it. */
	if (get_number(r, "num-ring-pages", 1u << offer->max_order, 1, &pages))
		return -EINVAL;
	if (pages == 0 || (pages & (pages - 1)))
		return fail(r, "the frontend's num-ring-pages is no power of two");
	*order = (unsigned)__builtin_ctzll(pages);
	return 0;
}

int sr_blk_negotiate(const struct sr_blk_offer *offer, sr_blk_node_fn *get, void *ctx,
		     struct sr_blk_connection *conn, char *error, size_t error_size)
{
	const struct reader r = { get, ctx, error, error_size };
	const char *protocol = get(ctx, "protocol");
	uint64_t queues, persistent;
	int rc;

	memset(conn, 0, sizeof(*conn));
	if (sr_blkif_abi_parse(protocol, &conn->abi))
		return fail(&r, "the frontend's protocol is \"" SR_SHOWN "\", which nobody knows",
			    protocol);
	rc = get_order(&r, offer, &conn->order);
	if (!rc)
		rc = get_number(&r, "multi-queue-num-queues", offer->max_queues, 1, &queues);
	if (!rc && queues == 0)
		rc = fail(&r, "the frontend asks for no queue at all");
	/* Only a hint to the backend, so nonsense there is no reason to refuse a disk. */
	if (!rc && !get_number(&r, "feature-persistent", 1, 0, &persistent))
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
