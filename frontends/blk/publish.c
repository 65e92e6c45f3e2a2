/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <stdio.h>

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

static int put_queue(struct sr_blkfront *f, xs_transaction_t t, unsigned index)
{
	const struct sr_blkfront_queue *q = &f->queues[index];
	unsigned pages = 1u << f->info.ring_order;
	char dir[96], node[24];
	int rc;

	/* One queue lies in the device's own directory, several have one each. */
	if (f->info.queues == 1)
		snprintf(dir, sizeof(dir), "%s", f->bus.path);
	else
		snprintf(dir, sizeof(dir), "%s/queue-%u", f->bus.path, index);
	if (pages == 1) {
		rc = sr_frontbus_write(&f->bus, t, dir, "ring-ref", "%u", q->ring_refs[0]);
		if (rc)
			return rc;
	}
	for (unsigned i = 0; pages > 1 && i < pages; i++) {
		snprintf(node, sizeof(node), "ring-ref%u", i);
		rc = sr_frontbus_write(&f->bus, t, dir, node, "%u", q->ring_refs[i]);
		if (rc)
			return rc;
	}
	return sr_frontbus_write(&f->bus, t, dir, "event-channel", "%u", q->port);
}

static int put_all(struct sr_frontbus *bus, xs_transaction_t t, void *arg)
{
	struct sr_blkfront *f = arg;
	int rc = 0;

	for (unsigned i = 0; !rc && i < f->info.queues; i++)
		rc = put_queue(f, t, i);
	if (!rc && f->info.queues > 1)
		rc = sr_frontbus_write(bus, t, bus->path, "multi-queue-num-queues", "%u",
				       f->info.queues);
	if (!rc && f->info.ring_order) {
		rc = sr_frontbus_write(bus, t, bus->path, "ring-page-order", "%u",
				       f->info.ring_order);
		/* The older way to say it, which the header asks for too. */
		if (!rc)
			rc = sr_frontbus_write(bus, t, bus->path, "num-ring-pages", "%u",
					       1u << f->info.ring_order);
	}
	if (!rc && f->options.abi != SR_BLKIF_ABI_NATIVE)
		rc = sr_frontbus_write(bus, t, bus->path, "protocol", "%s",
				       sr_blkif_abi_name(f->options.abi));
	if (!rc && f->options.persistent)
		rc = sr_frontbus_write(bus, t, bus->path, "feature-persistent", "1");
	if (!rc)
		rc = sr_frontbus_write(bus, t, bus->path, "state", "%d", XenbusStateInitialised);
	return rc;
}

int sr_front_publish_rings(struct sr_blkfront *f)
{
	const struct sr_frontbus_publication p = { .is_ours = is_ours, .put = put_all, .arg = f };

	return sr_frontbus_publish(&f->bus, &p);
}
