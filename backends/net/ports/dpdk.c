/* SPDX-License-Identifier: MIT */

/*
 * Any device that DPDK has a driver for, by its devargs: "dpdk:net_tap0,iface=tap0",
 * "dpdk:0000:03:00.0". See docs/ports/dpdk.md.
 */

#include <splitring/net_port.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <common/plugin.h>
#include <ports/eal.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>

#include "port.h"

#define DESCRIPTORS 1024u

struct queue {
	int fd; /* or -1 */
	bool eventfd;
	bool armed; /* the device raises interrupts */
};

struct dpdk_port {
	uint16_t id;
	struct rte_device *device;
	struct rte_eth_dev_owner owner;
	bool prepare; /* the device is asked to complete packets */
	bool ip_sums; /* IPv4's headers among them */
	bool interrupts;
	struct queue queues[SR_NET_PORT_MAX_QUEUES];
};

/* --- open ---------------------------------------------------------------------------------------
 */

/* The first port of the device that nobody has yet. A device may have several. */
static int take(struct dpdk_port *port, const char *devargs)
{
	struct rte_dev_iterator it;
	bool found = false;
	uint16_t id;

	snprintf(port->owner.name, sizeof(port->owner.name), "splitring");
	if (rte_eth_dev_owner_new(&port->owner.id))
		return -ENOMEM;
	RTE_ETH_FOREACH_MATCHING_DEV(id, devargs, &it)
	{
		if (!found && rte_eth_dev_owner_set(id, &port->owner) == 0) {
			found = true;
			port->id = id;
		}
	}
	return found ? 0 : -EBUSY;
}

/*
 * What the device is asked to do for packets on their way out. net_tap does these in software too,
 * but knows no segments of IPv6; what is done here is as fast and right for both.
 */
static uint64_t tx_offloads(const struct rte_eth_dev_info *info)
{
	uint64_t wanted = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;

	if (strcmp(info->driver_name, "net_tap") != 0)
		wanted |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
			  RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO;
	return wanted & info->tx_offload_capa;
}

static uint64_t rx_offloads(const struct rte_eth_dev_info *info, uint16_t mtu,
			    const struct rte_mempool *pool)
{
	uint64_t wanted = RTE_ETH_RX_OFFLOAD_CHECKSUM | RTE_ETH_RX_OFFLOAD_RSS_HASH;

	if (mtu + RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN >
	    rte_pktmbuf_data_room_size((struct rte_mempool *)pool) - RTE_PKTMBUF_HEADROOM)
		wanted |= RTE_ETH_RX_OFFLOAD_SCATTER;
	return wanted & info->rx_offload_capa;
}

static int set_up_queues(struct dpdk_port *port, unsigned queues, struct rte_mempool *pool)
{
	uint16_t rx = DESCRIPTORS, tx = DESCRIPTORS;
	int rc = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rx, &tx);

	for (unsigned i = 0; !rc && i < queues; i++) {
		rc = rte_eth_rx_queue_setup(port->id, (uint16_t)i, rx,
					    (unsigned)rte_eth_dev_socket_id(port->id), NULL, pool);
		if (!rc)
			rc =
			    rte_eth_tx_queue_setup(port->id, (uint16_t)i, tx,
						   (unsigned)rte_eth_dev_socket_id(port->id), NULL);
	}
	return rc ? rc : rte_eth_dev_start(port->id);
}

/* The nearest to what is wanted. */
static uint16_t mtu_of(const struct rte_eth_dev_info *dev, uint16_t wanted)
{
	uint32_t extra = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN, most = dev->max_mtu;

	/* A driver that does not say how much of a frame is no data has frames of this size at
	 * most. */
	if (most == UINT16_MAX && dev->max_rx_pktlen > extra && dev->max_rx_pktlen - extra < most)
		most = dev->max_rx_pktlen - extra;
	return (uint16_t)RTE_MAX(RTE_MIN(wanted, most), dev->min_mtu);
}

static int configure(struct dpdk_port *port, const struct sr_net_port_open *args,
		     const struct rte_eth_dev_info *dev, struct sr_net_port_info *info)
{
	struct rte_eth_conf conf = { .intr_conf.rxq = 1 };
	int rc;

	info->mtu = mtu_of(dev, args->mtu);
	info->queues = RTE_MIN(args->queues, RTE_MIN(dev->max_rx_queues, dev->max_tx_queues));
	info->tx_offloads = tx_offloads(dev);
	conf.txmode.offloads = info->tx_offloads;
	conf.rxmode.offloads = rx_offloads(dev, info->mtu, args->pool);
	conf.rxmode.mtu = info->mtu;
	if (info->queues > 1) {
		conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf.rx_adv_conf.rss_conf.rss_hf =
		    dev->flow_type_rss_offloads &
		    (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
		if (!conf.rx_adv_conf.rss_conf.rss_hf)
			conf.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
	}
	rc = rte_eth_dev_configure(port->id, (uint16_t)info->queues, (uint16_t)info->queues, &conf);
	if (!rc)
		rc = set_up_queues(port, info->queues, args->pool);
	port->interrupts = rc == 0;
	if (!rc)
		return 0;
	/* Not every driver knows interrupts of its queues; those are polled. */
	conf.intr_conf.rxq = 0;
	rc = rte_eth_dev_configure(port->id, (uint16_t)info->queues, (uint16_t)info->queues, &conf);
	return rc ? rc : set_up_queues(port, info->queues, args->pool);
}

/* An eventfd has to be read to be quiet again; anything else is the packets' own descriptor. */
static bool is_eventfd(int fd)
{
	char path[64], target[64];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	target[len < 0 ? 0 : len] = '\0';
	return strstr(target, "eventfd") != NULL;
}

static void find_fds(struct dpdk_port *port, unsigned queues)
{
	/* A device without any is no error worth a line. */
	rte_log_set_level_pattern("lib.ethdev", RTE_LOG_CRIT);
	for (unsigned i = 0; i < queues; i++) {
		struct queue *q = &port->queues[i];

		q->fd =
		    port->interrupts ? rte_eth_dev_rx_intr_ctl_q_get_fd(port->id, (uint16_t)i) : -1;
		q->eventfd = q->fd >= 0 && is_eventfd(q->fd);
	}
	rte_log_set_level_pattern("lib.ethdev", RTE_LOG_WARNING);
}

static bool has_ports(const char *device)
{
	struct rte_eth_dev_info info;

	for (uint16_t id = rte_eth_find_next(0); id < RTE_MAX_ETHPORTS;
	     id = rte_eth_find_next((uint16_t)(id + 1)))
		if (rte_eth_dev_info_get(id, &info) == 0 &&
		    strcmp(rte_dev_name(info.device), device) == 0)
			return true;
	return false;
}

static void dpdk_close(void *arg)
{
	struct dpdk_port *port = arg;
	char name[RTE_DEV_NAME_MAX_LEN];

	snprintf(name, sizeof(name), "%s", rte_dev_name(port->device));
	rte_eth_dev_stop(port->id);
	rte_eth_dev_owner_unset(port->id, port->owner.id);
	rte_eth_dev_close(port->id);
	/* Another port of it may be an uplink too. */
	if (!has_ports(name))
		rte_dev_remove(port->device);
	free(port);
}

/* Takes out a device that was probed in vain. False: it has ports, which are somebody else's. */
static bool unplug(const char *devargs)
{
	struct rte_devargs words = { 0 };
	bool alone = rte_devargs_parse(&words, devargs) == 0 && !has_ports(words.name);

	if (alone)
		rte_eal_hotplug_remove(rte_bus_name(words.bus), words.name);
	free(words.data);
	return alone;
}

/* Has the probed device for us: a port of it, and what that says of itself. */
static int claim(struct dpdk_port *port, const struct sr_net_port_open *args,
		 struct rte_eth_dev_info *dev)
{
	int rc = take(port, args->args);

	if (rc && unplug(args->args))
		return sr_plugin_error(args->error, args->error_size, -ENODEV,
				       "it is no network device");
	if (rc)
		return sr_plugin_error(args->error, args->error_size, rc,
				       "every port of this device is in use already");
	rc = rte_eth_dev_info_get(port->id, dev);
	if (rc) {
		rte_eth_dev_owner_unset(port->id, port->owner.id);
		rte_eth_dev_close(port->id);
		unplug(args->args);
		return sr_plugin_error(args->error, args->error_size, rc, "it says nothing: %s",
				       strerror(-rc));
	}
	port->device = dev->device;
	return 0;
}

/* Plugs the device in and takes its port. On failure it is as it was before. */
static int plug(struct dpdk_port *port, const struct sr_net_port_open *args,
		struct rte_eth_dev_info *dev)
{
	int rc;

	if (args->args[0] == '\0')
		return sr_plugin_error(args->error, args->error_size, -EINVAL,
				       "which device? It is dpdk:DEVARGS, as in "
				       "dpdk:net_tap0,iface=tap0 or dpdk:0000:03:00.0");
	rc = sr_eal_start(NULL, args->error, args->error_size);
	if (rc)
		return rc;
	rc = rte_dev_probe(args->args);
	if (rc && rc != -EEXIST)
		return sr_plugin_error(args->error, args->error_size, rc,
				       "DPDK has no such device, or can't have it: %s "
				       "(its own lines say more)",
				       strerror(-rc));
	return claim(port, args, dev);
}

static int dpdk_open(const struct sr_net_port_open *args, void **out, struct sr_net_port_info *info)
{
	struct dpdk_port *port = calloc(1, sizeof(*port));
	struct rte_eth_dev_info dev;
	struct rte_ether_addr mac;
	int rc;

	if (!port)
		return sr_plugin_error(args->error, args->error_size, -ENOMEM, "out of memory");
	rc = plug(port, args, &dev);
	if (rc) {
		free(port);
		return rc;
	}
	rc = configure(port, args, &dev, info);
	if (rc) {
		dpdk_close(port);
		return sr_plugin_error(args->error, args->error_size, rc,
				       "it can't be set up (%u queues, mtu %u): %s", info->queues,
				       info->mtu, strerror(-rc));
	}
	if (rte_eth_macaddr_get(port->id, &mac) == 0)
		memcpy(info->mac, mac.addr_bytes, sizeof(info->mac));
	/* Some drivers have no such thing, and hand over all there is. */
	rte_eth_promiscuous_enable(port->id);
	port->prepare = info->tx_offloads & ~RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	port->ip_sums = info->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	find_fds(port, info->queues);
	*out = port;
	return 0;
}

/* --- packets ------------------------------------------------------------------------------------
 */

static unsigned dpdk_receive(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct dpdk_port *port = arg;

	if (unlikely(port->queues[queue].armed)) {
		port->queues[queue].armed = false;
		rte_eth_dev_rx_intr_disable(port->id, (uint16_t)queue);
	}
	return rte_eth_rx_burst(port->id, (uint16_t)queue, pkts, (uint16_t)n);
}

/*
 * Each segment has an IPv4 header of its own, and DPDK wants to be asked for its sum. Such a packet
 * is nobody else's: the layer above has seen to that.
 */
static void ask_for_ip_sums(struct rte_mbuf **pkts, unsigned n)
{
	const uint64_t both = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;

	for (unsigned i = 0; i < n; i++)
		if ((pkts[i]->ol_flags & both) == both)
			pkts[i]->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
}

static unsigned dpdk_send(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct dpdk_port *port = arg;
	uint16_t ready = (uint16_t)n, sent;

	if (port->ip_sums)
		ask_for_ip_sums(pkts, n);
	if (port->prepare)
		ready = rte_eth_tx_prepare(port->id, (uint16_t)queue, pkts, (uint16_t)n);
	sent = rte_eth_tx_burst(port->id, (uint16_t)queue, pkts, ready);
	if (unlikely(sent == ready && ready < n)) {
		/* The device won't have this one whatever we do. */
		rte_pktmbuf_free(pkts[sent]);
		sent++;
	}
	return sent;
}

static int dpdk_fd(void *arg, unsigned queue)
{
	struct dpdk_port *port = arg;

	return port->queues[queue].fd;
}

static bool dpdk_arm(void *arg, unsigned queue)
{
	struct dpdk_port *port = arg;
	struct queue *q = &port->queues[queue];
	uint64_t count;

	if (!q->eventfd)
		return false;
	while (read(q->fd, &count, sizeof(count)) > 0)
		;
	q->armed = true;
	rte_eth_dev_rx_intr_enable(port->id, (uint16_t)queue);
	/* What came before that may have raised nothing. */
	return rte_eth_rx_queue_count(port->id, (uint16_t)queue) > 0;
}

static int dpdk_link(void *arg, struct sr_net_port_link *link)
{
	struct dpdk_port *port = arg;
	struct rte_eth_link now;
	int rc = rte_eth_link_get_nowait(port->id, &now);

	if (rc)
		return rc;
	link->up = now.link_status == RTE_ETH_LINK_UP;
	link->speed = now.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : now.link_speed;
	return 0;
}

static int dpdk_stats(void *arg, struct sr_net_port_stats *stats)
{
	struct dpdk_port *port = arg;
	struct rte_eth_stats now;
	int rc = rte_eth_stats_get(port->id, &now);

	if (rc)
		return rc;
	*stats = (struct sr_net_port_stats){
		.rx_packets = now.ipackets,
		.rx_bytes = now.ibytes,
		.rx_dropped = now.imissed + now.ierrors + now.rx_nombuf,
		.tx_packets = now.opackets,
		.tx_bytes = now.obytes,
		.tx_dropped = now.oerrors,
	};
	return 0;
}

const struct sr_net_port_driver sr_net_port_driver_dpdk = {
	.abi = SR_NET_PORT_ABI,
	.name = "dpdk",
	.description = "any device that DPDK has a driver for, by its devargs",
	.open = dpdk_open,
	.close = dpdk_close,
	.receive = dpdk_receive,
	.send = dpdk_send,
	.fd = dpdk_fd,
	.arm = dpdk_arm,
	.link = dpdk_link,
	.stats = dpdk_stats,
};
