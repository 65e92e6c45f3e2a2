/* SPDX-License-Identifier: MIT */
/*
 * DPDK driver net_xenback: the backend of a guest's vif as an Ethernet device of DPDK, on real Xen
 * and on the embedded hypervisor.
 *
 *     dpdk-testpmd -d librte_net_xenback.so --vdev net_xenback0,hypervisor=ADDRESS,domid=1,device=0
 *
 * See docs/dpdk-drivers.md.
 */
#include "xenback.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <hypervisor.h>
#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_kvargs.h>
#include <rte_tcp.h>
#include <rte_udp.h>

RTE_LOG_REGISTER_DEFAULT(sr_xb_logtype, NOTICE);

#define LOG(level, format, ...)                                                                    \
	rte_log(RTE_LOG_##level, sr_xb_logtype, "net_xenback: " format "\n", ##__VA_ARGS__)

/* Bursts between two looks at the control ring: the guest waits for its answer, packets do not. */
#define CTRL_ROUNDS 64u

/* A guest that has given no room for so long has no link. */
#define STALL_MS 1000u

static struct sr_xb *xb_of(const struct rte_eth_dev *dev)
{
	return dev->data->dev_private;
}

/* --- bursts -------------------------------------------------------------------------------------
 */

/*
 * A packet with a blank checksum is one whose checksum is not there and whose data are right; the
 * request for it stays, so that a port which it is passed on to completes it.
 */
static void say_received(struct rte_mbuf *m, uint16_t port)
{
	m->port = port;
	if (m->ol_flags & RTE_MBUF_F_TX_L4_MASK)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)
		m->ol_flags |= RTE_MBUF_F_RX_LRO;
}

static void look_at_ctrl(struct sr_xb *xb, struct sr_xb_queue *xq)
{
	if (++xq->rounds % CTRL_ROUNDS || !xb->netif)
		return;
	if (sr_netif_ctrl_poll(xb->netif) < 0)
		sr_xb_broken(xb, xq);
}

static uint16_t rx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	const struct sr_xb_port_queue *pq = queue;
	struct sr_xb_queue *xq = &pq->xb->queue[pq->index];
	int got = 0;

	if (!rte_spinlock_trylock(&xq->lock))
		return 0;
	if (likely(xq->q && !xq->broken)) {
		got = sr_netq_receive(xq->q, pkts, n);
		if (unlikely(got < 0))
			sr_xb_broken(pq->xb, xq);
		sr_netq_flush(xq->q);
		if (pq->index == 0)
			look_at_ctrl(pq->xb, xq);
	}
	rte_spinlock_unlock(&xq->lock);
	for (int i = 0; i < got; i++)
		say_received(pkts[i], pq->xb->port);
	return got > 0 ? (uint16_t)got : 0;
}

static uint64_t now_ms(void)
{
	return rte_get_timer_cycles() / (rte_get_timer_hz() / 1000);
}

/* To one queue of the guest. */
static unsigned send_to(struct sr_xb *xb, unsigned index, struct rte_mbuf **pkts, unsigned n)
{
	struct sr_xb_queue *xq = &xb->queue[index];
	int sent = 0;

	rte_spinlock_lock(&xq->lock);
	if (likely(xq->q && !xq->broken)) {
		sent = sr_netq_send(xq->q, pkts, n);
		if (unlikely(sent < 0))
			sr_xb_broken(xb, xq);
		else if (unlikely((unsigned)sent < n))
			sr_netq_stalled_since(xq->q, now_ms()); /* xb_link() looks */
		sr_netq_flush(xq->q);
		/* An application that only sends serves the guest's messages too. */
		if (index == 0)
			look_at_ctrl(xb, xq);
	}
	rte_spinlock_unlock(&xq->lock);
	return sent > 0 ? (unsigned)sent : 0;
}

/*
 * The guest may have said by its control ring which queue a flow belongs to. That is looked up
 * under the lock of this queue: while it is held the vif can't go.
 */
static unsigned pick(struct sr_xb *xb, unsigned index, struct rte_mbuf *const *pkts, unsigned n,
		     unsigned *run)
{
	struct sr_xb_queue *xq = &xb->queue[index];
	const struct sr_netif *netif;
	unsigned queue = index;

	*run = n;
	rte_spinlock_lock(&xq->lock);
	if (xq->q) {
		netif = xb->connection;
		queue = sr_netif_pick_queue(netif, pkts[0]);
		for (*run = 1; *run < n && sr_netif_pick_queue(netif, pkts[*run]) == queue; ++*run)
			;
	}
	rte_spinlock_unlock(&xq->lock);
	return queue;
}

static uint16_t tx_burst(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	const struct sr_xb_port_queue *pq = queue;
	struct sr_xb *xb = pq->xb;
	unsigned connected = __atomic_load_n(&xb->connected, __ATOMIC_ACQUIRE);
	unsigned done = 0;

	if (connected <= 1)
		return (uint16_t)send_to(xb, 0, pkts, n);
	while (done < n) {
		unsigned run, index = pick(xb, RTE_MIN(pq->index, connected - 1), pkts + done,
					   n - done, &run);
		unsigned sent = send_to(xb, index, pkts + done, run);

		done += sent;
		if (sent < run)
			break;
	}
	return (uint16_t)done;
}

/* What netif wants of headers, where DPDK has it otherwise: the pseudo-header's sum with the length
 * in it, for segments too; IPv4's own checksum in place. */
static int prepare(struct rte_mbuf *m)
{
	uint64_t blank = m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG);
	bool tcp = (blank & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM ||
		   blank & RTE_MBUF_F_TX_TCP_SEG;
	uint32_t l4 = m->l2_len + m->l3_len, header = 0;
	struct rte_ipv4_hdr *ip4 = rte_pktmbuf_mtod_offset(m, void *, m->l2_len);
	struct rte_ipv6_hdr *ip6 = (void *)ip4;
	uint16_t sum;

	if (!blank && !(m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM))
		return 0;
	if (blank)
		header = tcp ? sizeof(struct rte_tcp_hdr) : sizeof(struct rte_udp_hdr);
	if (l4 + header > m->data_len || m->l3_len < sizeof(*ip4) || rte_mbuf_refcnt_read(m) > 1)
		return blank & RTE_MBUF_F_TX_TCP_SEG ? -EINVAL : 0;
	if (m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) {
		ip4->hdr_checksum = 0;
		ip4->hdr_checksum = (uint16_t)~rte_raw_cksum(ip4, m->l3_len);
	}
	if (!blank)
		return 0;
	if (m->ol_flags & RTE_MBUF_F_TX_IPV4)
		sum = rte_ipv4_phdr_cksum(ip4, 0);
	else if (m->l3_len == sizeof(*ip6))
		sum = rte_ipv6_phdr_cksum(ip6, 0);
	else
		return 0; /* behind extension headers the application's is as good as ours */
	memcpy(rte_pktmbuf_mtod_offset(m, void *, l4 + (tcp ? 16 : 6)), &sum, sizeof(sum));
	return 0;
}

static uint16_t tx_prepare(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		int rc = prepare(pkts[i]);

		if (rc) {
			rte_errno = -rc;
			return i;
		}
	}
	return n;
}

/* --- set-up -------------------------------------------------------------------------------------
 */

static int xb_configure(struct rte_eth_dev *dev)
{
	struct sr_xb *xb = xb_of(dev);
	unsigned queues = RTE_MAX(dev->data->nb_rx_queues, dev->data->nb_tx_queues);

	if (dev->data->nb_rx_queues != dev->data->nb_tx_queues) {
		LOG(ERR, "as many rx queues as tx queues are needed");
		return -EINVAL;
	}
	if (xb->running && queues != xb->queues) {
		LOG(ERR, "the guest has been offered %u queues already", xb->queues);
		return -EBUSY;
	}
	xb->queues = queues;
	return 0;
}

static int xb_rx_queue(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
		       unsigned socket, const struct rte_eth_rxconf *conf, struct rte_mempool *pool)
{
	struct sr_xb *xb = xb_of(dev);

	if (xb->running && xb->pools[index] != pool)
		return -EBUSY; /* the guest's queue fills packets of the old one */
	if (rte_pktmbuf_data_room_size(pool) < RTE_MBUF_DEFAULT_BUF_SIZE) {
		LOG(ERR, "mbufs of %u bytes at least are needed", RTE_MBUF_DEFAULT_BUF_SIZE);
		return -EINVAL;
	}
	xb->pools[index] = pool;
	dev->data->rx_queues[index] = xb->port_queues + index;
	return 0;
}

static int xb_tx_queue(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
		       unsigned socket, const struct rte_eth_txconf *conf)
{
	dev->data->tx_queues[index] = xb_of(dev)->port_queues + index;
	return 0;
}

static void set_state(struct rte_eth_dev *dev, uint8_t state)
{
	for (unsigned i = 0; i < dev->data->nb_rx_queues; i++)
		dev->data->rx_queue_state[i] = dev->data->tx_queue_state[i] = state;
}

/* The guest stays connected while the port is stopped: its packets wait. */
static int xb_start(struct rte_eth_dev *dev)
{
	struct sr_xb *xb = xb_of(dev);
	int rc = xb->running ? 0 : sr_xb_start(xb);

	if (rc)
		LOG(ERR, "%s: %s", xb->address, strerror(-rc));
	else
		set_state(dev, RTE_ETH_QUEUE_STATE_STARTED);
	return rc;
}

static int xb_stop(struct rte_eth_dev *dev)
{
	set_state(dev, RTE_ETH_QUEUE_STATE_STOPPED);
	dev->data->dev_link.link_status = RTE_ETH_LINK_DOWN;
	return 0;
}

static int xb_close(struct rte_eth_dev *dev)
{
	struct sr_xb *xb = xb_of(dev);

	sr_xb_stop(xb);
	sr_hv_close(xb->nb.hv);
	xb->nb.hv = NULL;
	free(xb->address);
	xb->address = NULL;
	free(xb->port_queues);
	xb->port_queues = NULL;
	return 0;
}

/* --- what it says of itself ---------------------------------------------------------------------
 */

static int xb_info(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	info->max_rx_queues = info->max_tx_queues = (uint16_t)xb_of(dev)->wanted;
	info->max_mac_addrs = 1;
	info->min_rx_bufsize = RTE_MBUF_DEFAULT_DATAROOM;
	info->max_rx_pktlen = SR_NET_MAX_PACKET;
	info->min_mtu = RTE_ETHER_MIN_MTU;
	info->max_mtu = SR_NET_MAX_PACKET - RTE_ETHER_HDR_LEN;
	info->max_lro_pkt_size = SR_NET_MAX_PACKET;
	info->rx_offload_capa = RTE_ETH_RX_OFFLOAD_SCATTER | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |
				RTE_ETH_RX_OFFLOAD_UDP_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_LRO |
				RTE_ETH_RX_OFFLOAD_RSS_HASH;
	/* What the guest can't take the engine completes. */
	info->tx_offload_capa = RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
				RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
				RTE_ETH_TX_OFFLOAD_TCP_TSO;
	info->default_rxportconf.burst_size = info->default_txportconf.burst_size = 32;
	return 0;
}

/* As in the daemon: a guest has a carrier while one of its queues gives room in time. */
static bool has_carrier(struct sr_xb *xb)
{
	unsigned connected = __atomic_load_n(&xb->connected, __ATOMIC_ACQUIRE);
	bool carrier = false;

	for (unsigned i = 0; i < connected && !carrier; i++) {
		struct sr_xb_queue *xq = &xb->queue[i];
		uint64_t now = now_ms(), since;

		rte_spinlock_lock(&xq->lock);
		since = xq->q ? sr_netq_stalled_since(xq->q, now) : 0;
		carrier = xq->q && (!since || now - since <= STALL_MS);
		rte_spinlock_unlock(&xq->lock);
	}
	return carrier;
}

static int xb_link(struct rte_eth_dev *dev, int wait)
{
	const struct rte_eth_link link = {
		.link_speed = RTE_ETH_SPEED_NUM_UNKNOWN,
		.link_duplex = RTE_ETH_LINK_FULL_DUPLEX,
		.link_autoneg = RTE_ETH_LINK_FIXED,
		.link_status = has_carrier(xb_of(dev)) ? RTE_ETH_LINK_UP : RTE_ETH_LINK_DOWN,
	};

	return rte_eth_linkstatus_set(dev, &link);
}

/* A queue's counters over all connections; its lock is held for the instant. */
static void queue_stats(struct sr_xb *xb, unsigned index, struct sr_net_stats *sum)
{
	struct sr_xb_queue *xq = &xb->queue[index];

	*sum = (struct sr_net_stats){ 0 };
	rte_spinlock_lock(&xq->lock);
	sr_net_stats_add(sum, &xq->past);
	if (xq->q)
		sr_net_stats_add(sum, sr_netq_stats(xq->q));
	rte_spinlock_unlock(&xq->lock);
}

static uint64_t drops(const struct sr_net_direction *d)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SR_NET_DROPS; i++)
		sum += d->drops[i];
	return sum;
}

static int xb_stats(struct rte_eth_dev *dev, struct rte_eth_stats *stats)
{
	struct sr_xb *xb = xb_of(dev);

	for (unsigned i = 0; i < xb->queues; i++) {
		const struct sr_net_stats *base = &xb->base[i];
		struct sr_net_stats now;

		queue_stats(xb, i, &now);
		stats->ipackets += now.tx.packets - base->tx.packets;
		stats->ibytes += now.tx.bytes - base->tx.bytes;
		stats->ierrors += drops(&now.tx) - drops(&base->tx);
		stats->opackets += now.rx.packets - base->rx.packets;
		stats->obytes += now.rx.bytes - base->rx.bytes;
		stats->oerrors += drops(&now.rx) - drops(&base->rx);
		if (i >= RTE_ETHDEV_QUEUE_STAT_CNTRS)
			continue;
		stats->q_ipackets[i] = now.tx.packets - base->tx.packets;
		stats->q_ibytes[i] = now.tx.bytes - base->tx.bytes;
		stats->q_opackets[i] = now.rx.packets - base->rx.packets;
		stats->q_obytes[i] = now.rx.bytes - base->rx.bytes;
	}
	return 0;
}

static int xb_stats_reset(struct rte_eth_dev *dev)
{
	struct sr_xb *xb = xb_of(dev);

	for (unsigned i = 0; i < xb->queues; i++)
		queue_stats(xb, i, &xb->base[i]);
	return 0;
}

/* For each direction: these, then the drops by reason. */
static const struct {
	const char *name;
	size_t offset;
} counters[] = {
	{ "copies", offsetof(struct sr_net_direction, copies) },
	{ "copies_mapped", offsetof(struct sr_net_direction, mapped) },
	{ "gso_packets", offsetof(struct sr_net_direction, gso) },
	{ "blank_checksum_packets", offsetof(struct sr_net_direction, checksums) },
	{ "software_offload_packets", offsetof(struct sr_net_direction, software) },
	{ "events_sent", offsetof(struct sr_net_direction, events_sent) },
};

#define PER_DIRECTION ((unsigned)(RTE_DIM(counters) + SR_NET_DROPS))

static int xb_xstats_names(struct rte_eth_dev *dev, struct rte_eth_xstat_name *names, unsigned n)
{
	for (unsigned i = 0; names && i < RTE_MIN(n, 2 * PER_DIRECTION); i++) {
		unsigned at = i % PER_DIRECTION;
		bool drop = at >= RTE_DIM(counters);

		snprintf(names[i].name, sizeof(names[i].name), "%s_%s%s",
			 i < PER_DIRECTION ? "rx" : "tx", drop ? "dropped_" : "",
			 drop ? sr_net_drop_name((enum sr_net_drop)(at - RTE_DIM(counters)))
			      : counters[at].name);
	}
	return (int)(2 * PER_DIRECTION);
}

static int xb_xstats(struct rte_eth_dev *dev, struct rte_eth_xstat *values, unsigned n)
{
	struct sr_net_stats sum = { 0 };
	struct sr_xb *xb = xb_of(dev);

	if (n < 2 * PER_DIRECTION)
		return (int)(2 * PER_DIRECTION);
	for (unsigned i = 0; i < xb->queues; i++) {
		struct sr_net_stats now;

		queue_stats(xb, i, &now);
		sr_net_stats_add(&sum, &now);
	}
	for (unsigned i = 0; i < 2 * PER_DIRECTION; i++) {
		/* What the guest sends is what the port receives. */
		const struct sr_net_direction *d = i < PER_DIRECTION ? &sum.tx : &sum.rx;
		unsigned at = i % PER_DIRECTION;

		values[i].id = i;
		values[i].value =
		    at < RTE_DIM(counters)
			? *(const uint64_t *)(const void *)((const char *)d + counters[at].offset)
			: d->drops[at - RTE_DIM(counters)];
	}
	return (int)(2 * PER_DIRECTION);
}

/* All that the guest sends is handed over anyway, and the engine knows no limit below netif's. */
static int xb_allow(struct rte_eth_dev *dev)
{
	return 0;
}

static int xb_mtu(struct rte_eth_dev *dev, uint16_t mtu)
{
	return 0;
}

static const struct eth_dev_ops xb_ops = {
	.dev_configure = xb_configure,
	.dev_start = xb_start,
	.dev_stop = xb_stop,
	.dev_close = xb_close,
	.dev_infos_get = xb_info,
	.rx_queue_setup = xb_rx_queue,
	.tx_queue_setup = xb_tx_queue,
	.link_update = xb_link,
	.stats_get = xb_stats,
	.stats_reset = xb_stats_reset,
	.xstats_get = xb_xstats,
	.xstats_get_names = xb_xstats_names,
	.promiscuous_enable = xb_allow,
	.promiscuous_disable = xb_allow,
	.allmulticast_enable = xb_allow,
	.allmulticast_disable = xb_allow,
	.mtu_set = xb_mtu,
};

/* --- devargs ------------------------------------------------------------------------------------
 */

static int read_string(const char *key, const char *value, void *out)
{
	char **string = out;

	free(*string);
	*string = strdup(value);
	return *string ? 0 : -ENOMEM;
}

static int read_number(const char *key, const char *value, void *out)
{
	char *end;
	unsigned long n = strtoul(value, &end, 0);

	if (end == value || *end || n > UINT16_MAX) {
		LOG(ERR, "%s=%s is no number", key, value);
		return -EINVAL;
	}
	*(unsigned *)out = (unsigned)n;
	return 0;
}

static int read_args(struct sr_xb *xb, const char *args)
{
	static const char *const known[] = { "hypervisor", "domid", "device", "queues", NULL };
	struct rte_kvargs *list = rte_kvargs_parse(args, known);
	int rc = list ? 0 : -EINVAL;

	xb->wanted = 1;
	xb->domid = UINT32_MAX;
	if (!rc)
		rc = rte_kvargs_process(list, "hypervisor", read_string, &xb->address);
	if (!rc)
		rc = rte_kvargs_process(list, "domid", read_number, &xb->domid);
	if (!rc)
		rc = rte_kvargs_process(list, "device", read_number, &xb->device);
	if (!rc)
		rc = rte_kvargs_process(list, "queues", read_number, &xb->wanted);
	rte_kvargs_free(list);
	if (!rc && !xb->address)
		xb->address = strdup("xen:");
	if (rc || !xb->address || xb->domid == UINT32_MAX || xb->wanted == 0 ||
	    xb->wanted > SR_NET_MAX_QUEUES) {
		LOG(ERR, "'%s': it is hypervisor=ADDRESS,domid=GUEST,device=N,queues=1..%u", args,
		    SR_NET_MAX_QUEUES);
		return -EINVAL;
	}
	return 0;
}

/* What can fail of a new port. dev_close() undoes it. */
static int set_up(struct sr_xb *xb, const char *args, uint16_t port)
{
	int rc = read_args(xb, args);

	if (rc)
		return rc;
	rc = sr_hv_open(xb->address, &xb->nb.hv);
	if (rc) {
		LOG(ERR, "can't open the hypervisor %s: %s", xb->address, strerror(-rc));
		return rc;
	}
	xb->log = (struct sr_log){ .fd = STDERR_FILENO, .level = SR_LOG_WARNING };
	xb->port = port;
	xb->port_queues = calloc(SR_NET_MAX_QUEUES, sizeof(xb->port_queues[0]));
	for (unsigned i = 0; xb->port_queues && i < SR_NET_MAX_QUEUES; i++) {
		rte_spinlock_init(&xb->queue[i].lock);
		xb->port_queues[i] = (struct sr_xb_port_queue){ xb, i };
	}
	return xb->port_queues ? 0 : -ENOMEM;
}

static int probe(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_vdev_allocate(vdev, sizeof(struct sr_xb));
	struct rte_ether_addr *mac;
	int rc;

	if (!dev)
		return -ENOMEM;
	rc = set_up(xb_of(dev), rte_vdev_device_args(vdev), dev->data->port_id);
	mac = rc ? NULL : rte_zmalloc("xenback", sizeof(*mac), 0);
	if (!mac) {
		xb_close(dev);
		rte_eth_dev_release_port(dev);
		return rc ? rc : -ENOMEM;
	}
	/* The vif's is the guest's. This end has one of its own, as a host's interface has. */
	rte_eth_random_addr(mac->addr_bytes);
	dev->data->mac_addrs = mac;
	dev->dev_ops = &xb_ops;
	dev->rx_pkt_burst = rx_burst;
	dev->tx_pkt_burst = tx_burst;
	dev->tx_pkt_prepare = tx_prepare;
	dev->data->dev_flags |= RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS;
	rte_eth_dev_probing_finish(dev);
	return 0;
}

static int unplug(struct rte_vdev_device *vdev)
{
	struct rte_eth_dev *dev = rte_eth_dev_allocated(rte_vdev_device_name(vdev));

	return dev ? rte_eth_dev_close(dev->data->port_id) : 0;
}

static struct rte_vdev_driver sr_xb_driver = { .probe = probe, .remove = unplug };

RTE_PMD_REGISTER_VDEV(net_xenback, sr_xb_driver);
RTE_PMD_REGISTER_PARAM_STRING(net_xenback, "hypervisor=<string> domid=<int> device=<int> "
					   "queues=<int>");
