/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* What a frontend tells its backend: <xen/io/blkif.h>, "Frontend XenBus Nodes". */

static bool is_ours(const char *node)
{
	static const char *const names[] = {
		"event-channel",          "protocol",        "feature-persistent",
		"multi-queue-num-queues", "ring-page-order", "num-ring-pages",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (!strcmp(node, names[i]))
			return true;
	}
	return !strncmp(node, "ring-ref", 8) || !strncmp(node, "queue-", 6);
}

/* An earlier connection may have left nodes that mean something else now. */
static int remove_old(struct sr_blkfront *f, xs_transaction_t t)
{
	char path[320], **nodes;
	unsigned count;
	int rc = 0;

	nodes = xs_directory(f->xs, t, f->path, &count);
	if (!nodes)
		return -errno;
	for (unsigned i = 0; i < count && !rc; i++) {
		if (!is_ours(nodes[i]))
			continue;
		snprintf(path, sizeof(path), "%s/%s", f->path, nodes[i]);
		if (!xs_rm(f->xs, t, path))
			rc = -errno;
	}
	free(nodes);
	return rc;
}

static int put(struct sr_blkfront *f, xs_transaction_t t, const char *dir, const char *node,
	       const char *format, ...) __attribute__((format(printf, 5, 6)));

static int put(struct sr_blkfront *f, xs_transaction_t t, const char *dir, const char *node,
	       const char *format, ...)
{
	char path[160], text[32];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return xs_write(f->xs, t, path, text, (unsigned)len) ? 0 : -errno;
}

static int put_queue(struct sr_blkfront *f, xs_transaction_t t, unsigned index)
{
	const struct sr_blkfront_queue *q = &f->queues[index];
	unsigned pages = 1u << f->info.ring_order;
	char dir[96], node[24];
	int rc;

	/* One queue lies in the device's own directory, several have one each. */
	if (f->info.queues == 1)
		snprintf(dir, sizeof(dir), "%s", f->path);
	else
		snprintf(dir, sizeof(dir), "%s/queue-%u", f->path, index);
	if (pages == 1) {
		rc = put(f, t, dir, "ring-ref", "%u", q->ring_refs[0]);
		if (rc)
			return rc;
	}
	for (unsigned i = 0; pages > 1 && i < pages; i++) {
		snprintf(node, sizeof(node), "ring-ref%u", i);
		rc = put(f, t, dir, node, "%u", q->ring_refs[i]);
		if (rc)
			return rc;
	}
	return put(f, t, dir, "event-channel", "%u", q->port);
}

static int put_all(struct sr_blkfront *f, xs_transaction_t t)
{
	int rc = remove_old(f, t);

	for (unsigned i = 0; !rc && i < f->info.queues; i++)
		rc = put_queue(f, t, i);
	if (!rc && f->info.queues > 1)
		rc = put(f, t, f->path, "multi-queue-num-queues", "%u", f->info.queues);
	if (!rc && f->info.ring_order) {
		rc = put(f, t, f->path, "ring-page-order", "%u", f->info.ring_order);
		/* The older way to say it, which the header asks for too. */
		if (!rc)
			rc = put(f, t, f->path, "num-ring-pages", "%u", 1u << f->info.ring_order);
	}
	if (!rc && f->options.abi != SR_BLKIF_ABI_NATIVE)
		rc = put(f, t, f->path, "protocol", "%s", sr_blkif_abi_name(f->options.abi));
	if (!rc && f->options.persistent)
		rc = put(f, t, f->path, "feature-persistent", "1");
	if (!rc)
		rc = put(f, t, f->path, "state", "%d", XenbusStateInitialised);
	return rc;
}

int sr_front_publish_rings(struct sr_blkfront *f)
{
	int rc;

	do {
		xs_transaction_t t = xs_transaction_start(f->xs);

		if (t == XBT_NULL)
			return sr_front_fail(f, -errno, "xenstore gives no transaction: %s",
					     strerror(errno));
		rc = put_all(f, t);
		if (rc)
			xs_transaction_end(f->xs, t, true);
		else if (!xs_transaction_end(f->xs, t, false))
			rc = -errno;
	} while (rc == -EAGAIN);
	return rc ? sr_front_fail(f, rc, "can't write the rings to %s: %s", f->path, strerror(-rc))
		  : 0;
}
