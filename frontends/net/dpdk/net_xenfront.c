/* SPDX-License-Identifier: MIT */
/*
 * DPDK driver net_xenfront: a guest's vif as an Ethernet device of DPDK, on real Xen and on the
 * embedded hypervisor.
 *
 *     dpdk-testpmd -d librte_net_xenfront.so --vdev net_xenfront0,hypervisor=ADDRESS,device=0
 *
 * See docs/dpdk-drivers.md for the words behind the name, and xenfront.h for where packets lie.
 */
#include "xenfront.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <xen/xen.h>

#include <xen/grant_table.h>
#include <xen/io/netif.h>

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <hypervisor.h>
#include <rte_kvargs.h>

RTE_LOG_REGISTER_DEFAULT(sr_xf_logtype, NOTICE);

/* --- what it can do -----------------------------------------------------------------------------
 */

static int xf_info(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	const struct sr_xf *xf = dev->data->dev_private;
	const struct sr_netfront_info *front = sr_netfront_info(xf->front);

	info->max_rx_queues = info->max_tx_queues = (uint16_t)front->queues;
	info->max_rx_pktlen = SR_NETFRONT_MAX_PACKET;
	info->min_mtu = RTE_ETHER_MIN_MTU;
	info->max_mtu = SR_NETFRONT_MAX_PACKET - RTE_ETHER_HDR_LEN;
	info->max_mac_addrs = 1;
	info->min_rx_bufsize = 64;
	info->rx_desc_lim = info->tx_desc_lim = (struct rte_eth_desc_lim){
		.nb_max = SR_NETFRONT_RING_SIZE,
		.nb_min = SR_NETFRONT_RING_SIZE,
		.nb_align = 1,
	};
	info->default_rxportconf.ring_size = info->default_txportconf.ring_size =
	    SR_NETFRONT_RING_SIZE;
	info->default_rxportconf.burst_size = info->default_txportconf.burst_size = 32;
	info->default_txconf.tx_free_thresh = SR_XF_FREE_THRESH;
	info->rx_offload_capa = RTE_ETH_RX_OFFLOAD_SCATTER;
	if (front->rx.csum4)
		info->rx_offload_capa |=
		    RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
	if (front->rx.gso4)
		info->rx_offload_capa |= RTE_ETH_RX_OFFLOAD_TCP_LRO;
	if (front->tx.sg)
		info->tx_offload_capa |= RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	if (front->tx.csum4)
		info->tx_offload_capa |=
		    RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	if (front->tx.gso4 && front->tx.gso6)
		info->tx_offload_capa |= RTE_ETH_TX_OFFLOAD_TCP_TSO;
	info->max_lro_pkt_size = SR_NETFRONT_MAX_PACKET;
	if (xf->hash_types) {
		info->rx_offload_capa |= RTE_ETH_RX_OFFLOAD_RSS_HASH;
		info->flow_type_rss_offloads = sr_xf_rss_types(xf->hash_types);
		info->hash_key_size = sizeof(xf->key);
		info->reta_size = (uint16_t)xf->mapping_length;
	}
	return 0;
}

static int xf_link(struct rte_eth_dev *dev, int wait)
{
	const struct sr_xf *xf = dev->data->dev_private;
	const struct rte_eth_link link = {
		.link_speed = RTE_ETH_SPEED_NUM_UNKNOWN,
		.link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
		.link_autoneg = RTE_ETH_LINK_FIXED,
		.link_status = dev->data->dev_started && sr_netfront_carrier(xf->front) &&
			       !sr_netfront_status(xf->front),
	};

	(void)wait;
	return rte_eth_linkstatus_set(dev, &link);
}

/* --- the device's life --------------------------------------------------------------------------
 */

static int xf_configure(struct rte_eth_dev *dev)
{
	struct rte_eth_conf *conf = &dev->data->dev_conf;
	struct sr_xf *xf = dev->data->dev_private;

	if (!(conf->rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG))
		return 0;
	for (unsigned i = 0; i < xf->mapping_length; i++)
		xf->mapping[i] = i % dev->data->nb_rx_queues;
	return sr_xf_rss_update(dev, &conf->rx_adv_conf.rss_conf);
}

static int xf_rx_setup(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
		       unsigned socket, const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct sr_xf *xf = dev->data->dev_private;
	struct sr_xf_rx_queue *rx = &xf->rx[index];
	int rc = sr_xf_adopt_pool(xf, pool);

	(void)descriptors;
	(void)socket;
	(void)conf;
	if (rc) {
		SR_XF_LOG(ERR, "queue %u can't use pool %s: %s\n", index, pool->name,
			  rc == -EBUSY ? "some of its packets are in use already"
				       : rte_strerror(-rc));
		return rc;
	}
	rx->q = sr_netfront_queue(xf->front, index);
	rx->pool = pool;
	rx->port = dev->data->port_id;
	dev->data->rx_queues[index] = rx;
	return 0;
}

static int xf_tx_setup(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
		       unsigned socket, const struct rte_eth_txconf *conf)
{
	struct sr_xf *xf = dev->data->dev_private;

	(void)descriptors;
	(void)socket;
	xf->tx[index].free_thresh = conf->tx_free_thresh ? conf->tx_free_thresh : SR_XF_FREE_THRESH;
	xf->tx[index].xf = xf;
	xf->tx[index].q = sr_netfront_queue(xf->front, index);
	dev->data->tx_queues[index] = &xf->tx[index];
	return 0;
}

static int xf_start(struct rte_eth_dev *dev)
{
	dev->data->dev_started = 1;
	xf_link(dev, 0);
	return 0;
}

static int xf_stop(struct rte_eth_dev *dev)
{
	dev->data->dev_started = 0;
	xf_link(dev, 0);
	return 0;
}

static int xf_close(struct rte_eth_dev *dev)
{
	struct sr_xf *xf = dev->data->dev_private;

	if (rte_eal_process_type() != RTE_PROC_PRIMARY)
		return 0;
	sr_netfront_disconnect(xf->front);
	sr_xf_drain(xf);
	sr_netfront_close(xf->front);
	sr_xf_free_pools(xf);
	sr_hv_close(xf->hv);
	dev->data->mac_addrs = NULL; /* a part of the private data */
	return 0;
}

static int xf_set_mtu(struct rte_eth_dev *dev, uint16_t mtu)
{
	const struct sr_xf *xf = dev->data->dev_private;

	/* Packets of more than a page take several buffers. */
	return (unsigned)mtu + RTE_ETHER_HDR_LEN > SR_NETFRONT_BUFFER_SIZE &&
		       !sr_netfront_info(xf->front)->rx.sg
		   ? -EINVAL
		   : 0;
}

/* A vif is given all that the bridge sends its way. */
static int xf_promiscuous(struct rte_eth_dev *dev)
{
	(void)dev;
	return 0;
}

static int xf_all_multicast(struct rte_eth_dev *dev)
{
	const struct sr_xf *xf = dev->data->dev_private;

	if (!sr_netfront_info(xf->front)->dynamic_multicast)
		return 0; /* as it has always been */
	return sr_netfront_multicast_control(xf->front, false);
}

/* --- statistics ---------------------------------------------------------------------------------
 */

static void since_reset(const struct sr_xf *xf, unsigned queue, struct sr_netfront_stats *stats)
{
	const struct sr_netfront_stats *base = &xf->base[queue];

	sr_netfront_stats(sr_netfront_queue(xf->front, queue), stats);
	stats->tx_packets -= base->tx_packets;
	stats->tx_bytes -= base->tx_bytes;
	stats->tx_errors -= base->tx_errors;
	stats->tx_copied -= base->tx_copied;
	stats->rx_packets -= base->rx_packets;
	stats->rx_bytes -= base->rx_bytes;
	stats->rx_errors -= base->rx_errors;
	stats->notifications -= base->notifications;
	stats->events -= base->events;
}

static int xf_stats(struct rte_eth_dev *dev, struct rte_eth_stats *sum)
{
	struct sr_xf *xf = dev->data->dev_private;

	for (unsigned i = 0; i < sr_netfront_info(xf->front)->queues; i++) {
		const struct sr_xf_tx_queue *tx = &xf->tx[i];
		uint64_t packets = tx->sent.packets - tx->base.packets;
		uint64_t bytes = tx->sent.bytes - tx->base.bytes;
		struct sr_netfront_stats s;

		since_reset(xf, i, &s);
		sum->ipackets += s.rx_packets;
		sum->ibytes += s.rx_bytes;
		sum->ierrors += s.rx_errors;
		sum->opackets += packets;
		sum->obytes += bytes;
		sum->oerrors += s.tx_errors + tx->sent.refused - tx->base.refused;
		sum->rx_nombuf += xf->rx[i].no_mbuf;
		if (i < RTE_ETHDEV_QUEUE_STAT_CNTRS) {
			sum->q_ipackets[i] = s.rx_packets;
			sum->q_ibytes[i] = s.rx_bytes;
			sum->q_opackets[i] = packets;
			sum->q_obytes[i] = bytes;
		}
	}
	return 0;
}

static int xf_stats_reset(struct rte_eth_dev *dev)
{
	struct sr_xf *xf = dev->data->dev_private;

	for (unsigned i = 0; i < sr_netfront_info(xf->front)->queues; i++) {
		sr_netfront_stats(sr_netfront_queue(xf->front, i), &xf->base[i]);
		xf->tx[i].base = xf->tx[i].sent;
		xf->rx[i].no_mbuf = 0;
	}
	return 0;
}

static const struct {
	const char *name;
	size_t offset;
} xstats[] = {
	{ "tx_copied", offsetof(struct sr_netfront_stats, tx_copied) },
	{ "notifications", offsetof(struct sr_netfront_stats, notifications) },
	{ "events", offsetof(struct sr_netfront_stats, events) },
};

static int xf_xstats_names(struct rte_eth_dev *dev, struct rte_eth_xstat_name *names, unsigned n)
{
	(void)dev;
	for (unsigned i = 0; names && i < RTE_MIN(n, RTE_DIM(xstats)); i++)
		snprintf(names[i].name, sizeof(names[i].name), "%s", xstats[i].name);
	return RTE_DIM(xstats);
}

static int xf_xstats(struct rte_eth_dev *dev, struct rte_eth_xstat *values, unsigned n)
{
	const struct sr_xf *xf = dev->data->dev_private;

	for (unsigned i = 0; i < RTE_MIN(n, RTE_DIM(xstats)); i++)
		values[i] = (struct rte_eth_xstat){ .id = i };
	for (unsigned q = 0; q < sr_netfront_info(xf->front)->queues; q++) {
		struct sr_netfront_stats s;

		since_reset(xf, q, &s);
		for (unsigned i = 0; i < RTE_MIN(n, RTE_DIM(xstats)); i++)
			values[i].value +=
			    *(const uint64_t *)(const void *)((const char *)&s + xstats[i].offset);
	}
	return RTE_DIM(xstats);
}

static const struct eth_dev_ops operations = {
	.dev_configure = xf_configure,
	.dev_start = xf_start,
	.dev_stop = xf_stop,
	.dev_close = xf_close,
	.dev_infos_get = xf_info,
	.rx_queue_setup = xf_rx_setup,
	.tx_queue_setup = xf_tx_setup,
	.tx_done_cleanup = sr_xf_done_cleanup,
	.link_update = xf_link,
	.mtu_set = xf_set_mtu,
	.promiscuous_enable = xf_promiscuous,
	.promiscuous_disable = xf_promiscuous,
	.allmulticast_enable = xf_all_multicast,
	.allmulticast_disable = xf_promiscuous,
	.stats_get = xf_stats,
	.stats_reset = xf_stats_reset,
	.xstats_get = xf_xstats,
	.xstats_get_names = xf_xstats_names,
	.xstats_reset = xf_stats_reset,
	.rss_hash_update = sr_xf_rss_update,
	.rss_hash_conf_get = sr_xf_rss_get,
	.reta_update = sr_xf_reta_update,
	.reta_query = sr_xf_reta_query,
};

/* --- --vdev net_xenfrontN,KEY=VALUE... ----------------------------------------------------------
 */

struct words {
	const char *hypervisor;
	unsigned device, queues, statics;
};

static const char *const known[] = { "hypervisor", "device", "queues", "static", NULL };

static int read_text(const char *key, const char *value, void *arg)
{
	(void)key;
	*(const char **)arg = value;
	return value ? 0 : -EINVAL;
}

static int read_number(const char *key, const char *value, void *arg)
{
	char *end;
	unsigned long n = value ? strtoul(value, &end, 10) : 0;

	if (!value || !*value || *end || n > UINT16_MAX) {
		SR_XF_LOG(ERR, "%s=%s: not a number from 0 to 65535\n", key, value ? value : "");
		return -EINVAL;
	}
	*(unsigned *)arg = (unsigned)n;
	return 0;
}

static int read_words(struct rte_kvargs *args, struct words *words)
{
	if (rte_kvargs_process(args, "hypervisor", read_text, &words->hypervisor) ||
	    rte_kvargs_process(args, "device", read_number, &words->device) ||
	    rte_kvargs_process(args, "queues", read_number, &words->queues) ||
	    rte_kvargs_process(args, "static", read_number, &words->statics))
		return -EINVAL;
	if (words->queues < 1 || words->queues > SR_NETFRONT_MAX_QUEUES) {
		SR_XF_LOG(ERR, "queues=%u: from 1 to %u\n", words->queues, SR_NETFRONT_MAX_QUEUES);
		return -EINVAL;
	}
	return 0;
}

/* What is on when the application asks for hashing without a key of its own. */
static void find_hashing(struct sr_xf *xf)
{
	static const uint8_t key[40] = {
		0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
		0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
		0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
	};

	if (sr_netfront_hash_limits(xf->front, &xf->hash_types, &xf->mapping_limit))
		xf->hash_types = 0;
	memcpy(xf->key, key, sizeof(key));
	/* DPDK's tables come in powers of two. */
	xf->mapping_length = RTE_MIN(xf->mapping_limit, RTE_DIM(xf->mapping));
	xf->mapping_length = xf->mapping_length ? rte_align32prevpow2(xf->mapping_length) : 0;
}

static int open_front(struct sr_xf *xf, const struct words *words)
{
	struct sr_netfront_options options = SR_NETFRONT_DEFAULTS;
	int rc = sr_hv_open(words->hypervisor, &xf->hv);

	if (rc) {
		SR_XF_LOG(ERR, "can't open the hypervisor %s: %s\n", words->hypervisor,
			  rte_strerror(-rc));
		return rc;
	}
	options.device = words->device;
	options.queues = words->queues;
	options.error = xf->error;
	options.error_size = sizeof(xf->error);
	rc = sr_netfront_open(xf->hv, &options, &xf->front);
	if (rc) {
		SR_XF_LOG(ERR, "%s\n", xf->error);
		sr_hv_close(xf->hv);
	}
	return rc;
}

static int probe(struct rte_vdev_device *vdev)
{
	struct rte_kvargs *args = rte_kvargs_parse(rte_vdev_device_args(vdev), known);
	struct words words = { .hypervisor = "xen:", .queues = 1, .statics = 1 };
	struct rte_eth_dev *dev;
	struct sr_xf *xf;
	int rc;

	if (!args) {
		SR_XF_LOG(ERR, "--vdev %s: known are hypervisor=, device=, queues=, static=\n",
			  rte_vdev_device_name(vdev));
		return -EINVAL;
	}
	rc = read_words(args, &words);
	dev = rc ? NULL : rte_eth_vdev_allocate(vdev, sizeof(*xf));
	if (dev) {
		xf = dev->data->dev_private;
		xf->statics = words.statics;
		rc = open_front(xf, &words);
		if (rc)
			rte_eth_dev_release_port(dev);
	} else if (!rc) {
		rc = -ENOMEM;
	}
	rte_kvargs_free(args);
	if (rc)
		return rc;
	find_hashing(xf);
	dev->dev_ops = &operations;
	dev->rx_pkt_burst = sr_xf_receive;
	dev->tx_pkt_burst = sr_xf_transmit;
	dev->tx_pkt_prepare = sr_xf_prepare;
	/* One, of six bytes, lives as long as the front does. */
	dev->data->mac_addrs = (struct rte_ether_addr *)(uintptr_t)sr_netfront_info(xf->front)->mac;
	dev->data->dev_flags |= RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS;
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static int net_remove(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	if (!dev)
		return 0;
	xf_close(dev);
	return rte_eth_dev_release_port(dev);
}

static struct rte_vdev_driver driver = { .probe = probe, .remove = net_remove };

RTE_PMD_REGISTER_VDEV(net_xenfront, driver);
RTE_PMD_REGISTER_PARAM_STRING(net_xenfront,
			      "hypervisor=<address> device=<N> queues=<N> static=<0|1>");
