/* SPDX-License-Identifier: MIT */

/* The port "dpdk" over a device of the test's own: what hardware can do and these machines lack. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <bus_vdev_driver.h>
#include <ethdev_driver.h>
#include <ethdev_vdev.h>
#include <ports/eal.h>
#include <ports/ports.h>
#include <rte_mbuf.h>

#include "packets.h"

static struct rte_mempool *pool;
static struct sr_port_registry *registry;
static char error[512];

/* --- the device: it keeps what it is given ------------------------------------------------------
 */

static struct {
	bool mute;      /* it says nothing of itself */
	unsigned ports; /* of a device that is plugged in */
	unsigned plugged, count;
	uint64_t lacks; /* of what it can do else */
	struct rte_mbuf *pkts[64];
} fake;

static uint16_t fake_rx(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	return 0;
}

static uint16_t fake_tx(void *queue, struct rte_mbuf **pkts, uint16_t n)
{
	memcpy(fake.pkts + fake.count, pkts, n * sizeof(pkts[0]));
	fake.count += n;
	return n;
}

static int fake_nothing(struct rte_eth_dev *dev)
{
	return 0;
}

static int fake_info(struct rte_eth_dev *dev, struct rte_eth_dev_info *info)
{
	if (fake.mute)
		return -EIO;
	info->max_rx_queues = info->max_tx_queues = 1;
	info->max_rx_pktlen = 9018;
	info->max_mac_addrs = 1;
	info->tx_offload_capa = (RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |
				 RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
				 RTE_ETH_TX_OFFLOAD_TCP_TSO) &
				~fake.lacks;
	return 0;
}

static int fake_rx_queue(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
			 unsigned socket, const struct rte_eth_rxconf *conf,
			 struct rte_mempool *mbufs)
{
	dev->data->rx_queues[index] = &fake;
	return 0;
}

static int fake_tx_queue(struct rte_eth_dev *dev, uint16_t index, uint16_t descriptors,
			 unsigned socket, const struct rte_eth_txconf *conf)
{
	dev->data->tx_queues[index] = &fake;
	return 0;
}

static int fake_link(struct rte_eth_dev *dev, int wait)
{
	return 0;
}

static int fake_mtu(struct rte_eth_dev *dev, uint16_t mtu)
{
	return 0;
}

static const struct eth_dev_ops fake_ops = {
	.dev_configure = fake_nothing,
	.dev_start = fake_nothing,
	.dev_stop = fake_nothing,
	.dev_close = fake_nothing,
	.dev_infos_get = fake_info,
	.rx_queue_setup = fake_rx_queue,
	.tx_queue_setup = fake_tx_queue,
	.link_update = fake_link,
	.mtu_set = fake_mtu,
};

static void fake_port(struct rte_vdev_device *vdev, unsigned number)
{
	static struct rte_ether_addr mac = { { 2, 0, 0, 0, 0, 1 } };
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_eth_dev *dev;

	snprintf(name, sizeof(name), "%s_%u", rte_vdev_device_name(vdev), number);
	dev = rte_eth_dev_allocate(name);
	assert_non_null(dev);
	dev->device = &vdev->device;
	/* Not of EAL's memory, so nobody is to free it. */
	dev->data->mac_addrs = &mac;
	dev->dev_ops = &fake_ops;
	dev->rx_pkt_burst = fake_rx;
	dev->tx_pkt_burst = fake_tx;
	rte_eth_dev_probing_finish(dev);
}

static int fake_probe(struct rte_vdev_device *vdev)
{
	fake.plugged++;
	for (unsigned i = 0; i < fake.ports; i++)
		fake_port(vdev, i);
	return 0;
}

static int fake_remove(struct rte_vdev_device *vdev)
{
	uint16_t id;

	fake.plugged--;
	RTE_ETH_FOREACH_DEV_OF(id, &vdev->device)
	{
		rte_eth_devices[id].data->mac_addrs = NULL;
		rte_eth_dev_release_port(&rte_eth_devices[id]);
	}
	return 0;
}

static struct rte_vdev_driver fake_driver = { .probe = fake_probe, .remove = fake_remove };

RTE_PMD_REGISTER_VDEV(net_srtest, fake_driver);

static int open_it(struct sr_port **port)
{
	const struct sr_port_config config = { .queues = 1, .mtu = 1500, .pool = pool };

	error[0] = '\0';
	return sr_port_open(registry, "dpdk:net_srtest0", &config, port, error, sizeof(error));
}

static struct sr_port *opened(void)
{
	struct sr_port *port = NULL;

	if (open_it(&port))
		fail_msg("%s", error);
	return port;
}

/* --- tests --------------------------------------------------------------------------------------
 */

/* DPDK: with TSO over IPv4 the sum of the IP header is asked for too, of a device that has it. */
static void test_tso_asks_for_ip_sums(void **state)
{
	static const struct packet packets[] = {
		{ .segsz = 1448, .payload = 30000 },
		{ .v6 = true, .segsz = 1428, .payload = 30000 },
		{ .blank = true, .payload = 100 },
		{ .payload = 100 },
	};
	struct rte_mbuf *m;

	for (unsigned has = 0; has < 2; has++) {
		struct sr_port *port;

		fake.lacks = has ? 0 : RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
		fake.count = 0;
		port = opened();
		for (unsigned i = 0; i < RTE_DIM(packets); i++) {
			m = packet_new(pool, &packets[i]);
			assert_int_equal(sr_port_send(port, 0, &m, 1), 1);
			assert_int_equal(fake.count, i + 1);
			assert_ptr_equal(fake.pkts[i], m);
			assert_int_equal((m->ol_flags & RTE_MBUF_F_TX_IP_CKSUM) != 0,
					 has && i == 0);
		}
		rte_pktmbuf_free_bulk(fake.pkts, fake.count);
		sr_port_close(port);
	}
	assert_true(rte_mempool_full(pool));
}

/* An open() that fails leaves neither the device nor its owner behind. */
static void test_failure_leaves_nothing(void **state)
{
	struct sr_port *port, *other = NULL;

	fake.mute = true;
	assert_int_equal(open_it(&port), -EIO);
	assert_non_null(strstr(error, "says nothing"));
	assert_int_equal(fake.plugged, 0);
	fake.mute = false;
	fake.ports = 0;
	assert_int_equal(open_it(&port), -ENODEV);
	assert_non_null(strstr(error, "no network device"));
	assert_int_equal(fake.plugged, 0);
	fake.ports = 1;
	port = opened();
	/* But a device of somebody else's stays. */
	assert_int_equal(open_it(&other), -EBUSY);
	assert_int_equal(fake.plugged, 1);
	sr_port_close(port);
	assert_int_equal(fake.plugged, 0);
}

/* Of a device with two ports the one that is closed leaves the other at work. */
static void test_ports_of_a_device(void **state)
{
	static const struct packet packet = { .payload = 100 };
	struct sr_port *first, *second;
	struct rte_mbuf *m;

	fake.ports = 2;
	fake.count = 0;
	first = opened();
	second = opened();
	assert_int_equal(fake.plugged, 1);
	sr_port_close(first);
	assert_int_equal(fake.plugged, 1);
	m = packet_new(pool, &packet);
	assert_int_equal(sr_port_send(second, 0, &m, 1), 1);
	assert_int_equal(fake.count, 1);
	rte_pktmbuf_free(m);
	sr_port_close(second);
	assert_int_equal(fake.plugged, 0);
	fake.ports = 1;
}

static int set_up(void **state)
{
	fake.ports = 1;
	if (sr_eal_start(&(struct sr_eal_options){ .huge = SR_EAL_HUGE_OFF, .memory_mb = 64 },
			 error, sizeof(error)) ||
	    sr_mbuf_pool_new("test", 1023, &pool, error, sizeof(error))) {
		print_error("%s\n", error);
		return -1;
	}
	return sr_port_registry_new(&registry);
}

static int tear_down(void **state)
{
	sr_port_registry_free(registry);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tso_asks_for_ip_sums),
		cmocka_unit_test(test_failure_leaves_nothing),
		cmocka_unit_test(test_ports_of_a_device),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
