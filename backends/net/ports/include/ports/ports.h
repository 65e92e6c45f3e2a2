/* SPDX-License-Identifier: MIT */
#ifndef PORTS_PORTS_H
#define PORTS_PORTS_H

/*
 * The ports a daemon knows (built in, or loaded from shared objects), and an open port as the
 * switch uses it: whatever the device lacks is done here, so that any packet can be given to any
 * port.
 *
 * Threads: registry, open, close, link, stats: the control thread. What takes a queue: the thread
 * that owns that queue. Errors: 0 or -errno, and one line for the operator in `error`.
 */

#include <splitring/net_port.h>

struct sr_port_registry;
struct sr_port;

/* A registry with the built-in ports. */
int sr_port_registry_new(struct sr_port_registry **registry);
/* Every port of a loaded driver is closed before. NULL is allowed. */
void sr_port_registry_free(struct sr_port_registry *registry);

/*
 * Adds a driver, which must outlive the registry. -EINVAL: it does not keep the contract; -EEXIST:
 * the name is taken.
 */
int sr_port_registry_add(struct sr_port_registry *registry, const struct sr_net_port_driver *driver,
			 char *error, size_t error_size);
/* Loads the shared object at `path` (with a slash in it), which exports sr_net_port_driver. */
int sr_port_registry_load(struct sr_port_registry *registry, const char *path, char *error,
			  size_t error_size);
/* To list them: the driver number `index`, or NULL after the last. */
const struct sr_net_port_driver *sr_port_driver_at(const struct sr_port_registry *registry,
						   size_t index);

struct sr_port_config {
	unsigned queues; /* one a thread that will serve it */
	uint16_t mtu;
	struct rte_mempool *pool; /* outlives the port */
};

/*
 * Opens the uplink "driver:args", as in "dpdk:net_tap0,iface=tap0"; starts EAL if need be. -ENOENT:
 * unknown driver (the line names the known ones); -EPROTO: the driver breaks its contract.
 */
int sr_port_open(const struct sr_port_registry *registry, const char *uplink,
		 const struct sr_port_config *config, struct sr_port **port, char *error,
		 size_t error_size);
/* NULL is allowed. */
void sr_port_close(struct sr_port *port);

/* As the driver has said; mtu is never 0. */
const struct sr_net_port_info *sr_port_info(const struct sr_port *port);
const char *sr_port_name(const struct sr_port *port); /* "dpdk:net_tap0,iface=tap0" */
int sr_port_link(struct sr_port *port, struct sr_net_port_link *link);
int sr_port_stats(struct sr_port *port, struct sr_net_port_stats *stats);

/* Packets that nobody else has: the caller may write to them. */
unsigned sr_port_receive(struct sr_port *port, unsigned queue, struct rte_mbuf **pkts, unsigned n);
/*
 * How many were taken, from the first on; the rest stays the caller's and may be tried later. A
 * packet that can't be sent at all is taken, freed and counted.
 */
unsigned sr_port_send(struct sr_port *port, unsigned queue, struct rte_mbuf **pkts, unsigned n);

/* Readable while there may be something to do. Always there, also where the device has none. */
int sr_port_fd(const struct sr_port *port, unsigned queue);
/*
 * Before the thread sleeps. True: there is something to receive already. What the last packet has
 * become and the device had no room for makes sr_port_fd() readable a little later, then
 * sr_port_receive() tries again; after a second without any room it is dropped and counted.
 */
bool sr_port_arm(struct sr_port *port, unsigned queue);
/* sr_port_send() has not taken all: the next sr_port_arm() sees to a look a little later. */
void sr_port_await_room(struct sr_port *port, unsigned queue);

/* What one queue had to do in software; any thread may read it. */
struct sr_port_counters {
	uint64_t checksums; /* filled in */
	uint64_t segmented; /* packets cut */
	uint64_t copied;    /* made one piece, or one's own */
	uint64_t dropped;   /* nothing could be done: lying lengths, too large, no memory */
};

const struct sr_port_counters *sr_port_counters(const struct sr_port *port, unsigned queue);

#endif
