/* SPDX-License-Identifier: MIT */

/* The registry, ports on DPDK devices and from shared objects, and what is done for those that
 * lack something. */

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <ports/eal.h>
#include <ports/ports.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "packets.h"

static struct rte_mempool *pool;
static struct sr_port_registry *registry;
static const char *hub_path;
static char error[512];

/* --- a port in memory: what it is given it keeps, up to its room --------------------------------
 */

static struct {
	uint64_t offloads;
	unsigned room, count;
	unsigned queues; /* what it says it has */
	int fd;          /* or -1 */
	struct rte_mbuf *pkts[256];
} keeper = { .fd = -1 };

static int keeper_open(const struct sr_net_port_open *args, void **port,
		       struct sr_net_port_info *info)
{
	info->queues = keeper.queues;
	info->tx_offloads = keeper.offloads;
	*port = &keeper;
	return 0;
}

static void keeper_close(void *port)
{
	rte_pktmbuf_free_bulk(keeper.pkts, keeper.count);
	keeper.count = 0;
}

static unsigned keeper_receive(void *port, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	return 0;
}

static unsigned keeper_send(void *port, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	n = RTE_MIN(n, keeper.room);
	keeper.room -= n;
	memcpy(keeper.pkts + keeper.count, pkts, n * sizeof(pkts[0]));
	keeper.count += n;
	return n;
}

static int keeper_fd(void *port, unsigned queue)
{
	return keeper.fd;
}

static const struct sr_net_port_driver keeper_driver = {
	.abi = SR_NET_PORT_ABI,
	.name = "keeper",
	.open = keeper_open,
	.close = keeper_close,
	.receive = keeper_receive,
	.send = keeper_send,
	.fd = keeper_fd,
};

static struct sr_port *port_open(const char *uplink)
{
	const struct sr_port_config config = { .queues = 1, .mtu = 1500, .pool = pool };
	struct sr_port *port = NULL;

	if (sr_port_open(registry, uplink, &config, &port, error, sizeof(error)))
		fail_msg("%s", error);
	return port;
}

static struct sr_port *keep(uint64_t offloads, unsigned room)
{
	keeper.offloads = offloads;
	keeper.room = room;
	keeper.queues = 1;
	return port_open("keeper:");
}

static void open_fails(const char *uplink, int err, const char *part)
{
	const struct sr_port_config config = { .queues = 1, .mtu = 1500, .pool = pool };
	struct sr_port *port = NULL;

	assert_int_equal(sr_port_open(registry, uplink, &config, &port, error, sizeof(error)), err);
	if (!strstr(error, part))
		fail_msg("'%s' has no '%s' in it", error, part);
}

/* --- tests --------------------------------------------------------------------------------------
 */

static void test_registry(void **state)
{
	struct sr_net_port_driver bad = keeper_driver;

	bad.abi++;
	assert_int_equal(sr_port_registry_add(registry, &bad, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "compile it against"));
	bad = keeper_driver;
	assert_int_equal(sr_port_registry_add(registry, &bad, error, sizeof(error)), -EEXIST);
	bad.name = "Keeper";
	assert_int_equal(sr_port_registry_add(registry, &bad, error, sizeof(error)), -EINVAL);
	bad.name = "other";
	bad.send = NULL;
	assert_int_equal(sr_port_registry_add(registry, &bad, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "send()"));
	assert_string_equal(sr_port_driver_at(registry, 0)->name, "dpdk");
	assert_null(sr_port_driver_at(registry, 9));
	assert_int_equal(sr_port_registry_load(registry, "hub.so", error, sizeof(error)), -EINVAL);
	assert_int_equal(sr_port_registry_load(registry, "/no/hub.so", error, sizeof(error)),
			 -ENOENT);
	open_fails("eth0", -EINVAL, "names no uplink");
	open_fails("vde:x", -ENOENT, "known are: dpdk, tap, keeper");
	keeper.queues = 2;
	open_fails("keeper:", -EPROTO, "2 queues");
	open_fails("dpdk:net_nosuch0", -EFAULT, "no such device");
	open_fails("dpdk:", -EINVAL, "which device");
}

static void test_dpdk_mtu(void **state)
{
	const struct sr_port_config config = { .queues = 1, .mtu = 9000, .pool = pool };
	struct sr_port *port;

	if (sr_port_open(registry, "dpdk:net_null0", &config, &port, error, sizeof(error)))
		fail_msg("%s", error);
	assert_int_equal(sr_port_info(port)->mtu, 9000);
	sr_port_close(port);
}

static void test_dpdk_loop(void **state)
{
	struct sr_port *port = port_open("dpdk:net_ring0");
	struct sr_net_port_stats stats;
	struct sr_net_port_link link;
	struct rte_mbuf *pkts[8];

	open_fails("dpdk:net_ring0", -EBUSY, "in use");
	for (unsigned i = 0; i < 4; i++)
		pkts[i] = packet_new(
		    pool, &(struct packet){ .udp = i & 1, .blank = true, .payload = 100 + i });
	assert_int_equal(sr_port_send(port, 0, pkts, 4), 4);
	assert_int_equal(sr_port_receive(port, 0, pkts, 8), 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(packet_checksum_ok(pkts[i]));
		rte_pktmbuf_free(pkts[i]);
	}
	assert_int_equal(sr_port_counters(port, 0)->checksums, 4);
	assert_int_equal(sr_port_stats(port, &stats), 0);
	assert_int_equal(stats.tx_packets, 4);
	assert_int_equal(stats.rx_packets, 4);
	assert_int_equal(sr_port_link(port, &link), 0);
	assert_true(link.up);
	sr_port_close(port);
	/* What is closed can be opened again. */
	sr_port_close(port_open("dpdk:net_ring0"));
}

/* net_ring gives back the very packets that it was given, which others may have too. */
static void test_dpdk_loop_of_shared(void **state)
{
	struct sr_port *port = port_open("dpdk:net_ring0");
	struct rte_mbuf *shared, *pkts[8], *all[4095];
	unsigned left;

	shared = packet_new(pool, &(struct packet){ .payload = 1000, .piece = 400 });
	pkts[0] = shared;
	pkts[1] = packet_new(pool, &(struct packet){ .payload = 100 });
	for (struct rte_mbuf *m = shared; m; m = m->next)
		rte_mbuf_refcnt_update(m, 2);
	assert_int_equal(sr_port_send(port, 0, pkts, 2), 2);
	assert_int_equal(sr_port_receive(port, 0, pkts, 8), 2);
	assert_ptr_not_equal(pkts[0], shared);
	assert_int_equal(rte_mbuf_refcnt_read(pkts[0]), 1);
	assert_int_equal(rte_mbuf_refcnt_read(shared), 2);
	assert_int_equal(pkts[0]->pkt_len, shared->pkt_len);
	assert_int_equal(sr_port_counters(port, 0)->copied, 1);
	/* Without memory for it there is none of it, but all others. */
	rte_pktmbuf_free(pkts[0]);
	pkts[0] = shared;
	assert_int_equal(sr_port_send(port, 0, pkts, 2), 2);
	left = rte_mempool_avail_count(pool);
	assert_int_equal(rte_pktmbuf_alloc_bulk(pool, all, left), 0);
	assert_int_equal(sr_port_receive(port, 0, pkts, 8), 1);
	assert_int_equal(pkts[0]->pkt_len, 14 + 40 + 100);
	assert_int_equal(sr_port_counters(port, 0)->dropped, 1);
	assert_int_equal(rte_mbuf_refcnt_read(shared), 1);
	rte_pktmbuf_free_bulk(all, left);
	rte_pktmbuf_free_bulk((struct rte_mbuf *[]){ pkts[0], shared }, 2);
	sr_port_close(port);
}

/* The kernel's side of a tap device: up, and a socket for its frames. -1: not here. */
static int tap_socket(const char *name)
{
	struct sockaddr_ll address = { .sll_family = AF_PACKET,
				       .sll_protocol = htons(ETH_P_ALL),
				       .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* With the kernel on the other end: its descriptor wakes us, checksums and segments are ours. */
static void test_tap(void **state)
{
	struct rte_mbuf *m, *pkts[4];
	unsigned sent = 0, seen = 0;
	uint8_t frame[2048];
	struct sr_port *port;
	struct pollfd in;
	int fd;

	if (access("/dev/net/tun", R_OK | W_OK) || geteuid() != 0)
		skip(); /* the kernel lets nobody make a tap device here */
	port = port_open("dpdk:net_tap0,iface=srtest0");
	fd = tap_socket("srtest0");
	assert_true(fd >= 0);
	pkts[0] = packet_new(pool, &(struct packet){ .v6 = true, .segsz = 1400, .payload = 14000 });
	pkts[1] = packet_new(pool, &(struct packet){ .udp = true, .blank = true, .payload = 999 });
	while (sent < 2)
		sent += sr_port_send(port, 0, pkts + sent, 2 - sent);
	assert_int_equal(sr_port_send(port, 0, NULL, 0), 0);
	while (seen < 11) {
		ssize_t len;

		assert_int_equal(poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 10000), 1);
		len = recv(fd, frame, sizeof(frame), 0);
		/* The kernel has things of its own to say on a new interface. */
		seen += len == 14 + 60 + 1400 || len == 14 + 28 + 999;
	}
	in = (struct pollfd){ sr_port_fd(port, 0), POLLIN, 0 };
	while (sr_port_receive(port, 0, &m, 1))
		rte_pktmbuf_free(m);
	memset(frame, 0xff, 6);
	memset(frame + 6, 0x11, 994);
	assert_int_equal(send(fd, frame, 1000, 0), 1000);
	for (seen = 0; !seen;) {
		assert_int_equal(poll(&in, 1, 10000), 1);
		while (sr_port_receive(port, 0, &m, 1)) {
			seen += m->pkt_len == 1000;
			rte_pktmbuf_free(m);
		}
	}
	close(fd);
	sr_port_close(port);
}

/* A device that can't wake anybody is looked at by a timer. */
static void test_timer(void **state)
{
	struct sr_port *port = port_open("dpdk:net_ring1");
	struct pollfd fd = { .fd = sr_port_fd(port, 0), .events = POLLIN };

	assert_true(fd.fd >= 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	for (unsigned i = 0; i < 8; i++) {
		assert_false(sr_port_arm(port, 0));
		assert_int_equal(poll(&fd, 1, 10000), 1);
	}
	sr_port_close(port);
}

static void test_everything_lacks(void **state)
{
	struct sr_port *port = keep(0, 256);
	struct rte_mbuf *pkts[6], *shared;

	pkts[0] = packet_new(pool, &(struct packet){ .payload = 100 });
	pkts[1] = packet_new(pool, &(struct packet){ .segsz = 1448, .payload = 30000 });
	pkts[2] = packet_new(
	    pool, &(struct packet){ .udp = true, .blank = true, .payload = 1000, .piece = 100 });
	pkts[3] = packet_new(pool, &(struct packet){ .v6 = true, .segsz = 1428, .payload = 1429 });
	shared = packet_new(pool, &(struct packet){ .blank = true, .payload = 64 });
	rte_mbuf_refcnt_update(shared, 1);
	pkts[4] = shared;
	pkts[5] = packet_new(pool, &(struct packet){ .payload = 1600 }); /* above the MTU */
	assert_int_equal(sr_port_send(port, 0, pkts, 6), 6);
	assert_int_equal(keeper.count, 1 + 21 + 1 + 2 + 1);
	for (unsigned i = 1; i < keeper.count; i++) {
		assert_int_equal(keeper.pkts[i]->nb_segs, 1);
		assert_true(packet_checksum_ok(keeper.pkts[i]));
	}
	/* The other owner's packet is as it was. */
	assert_ptr_not_equal(keeper.pkts[25], shared);
	assert_true(shared->ol_flags & RTE_MBUF_F_TX_TCP_CKSUM);
	assert_false(packet_checksum_ok(shared));
	rte_pktmbuf_free(shared);
	assert_int_equal(sr_port_counters(port, 0)->segmented, 2);
	assert_int_equal(sr_port_counters(port, 0)->dropped, 1);
	sr_port_close(port);
}

#define ALL_OFFLOADS                                                                               \
	(RTE_ETH_TX_OFFLOAD_MULTI_SEGS | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |                            \
	 RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO)

static void test_able_device_gets_all(void **state)
{
	struct sr_port *port = keep(ALL_OFFLOADS, 256);
	struct rte_mbuf *m = packet_new(pool, &(struct packet){ .segsz = 1448, .payload = 30000 });

	assert_int_equal(sr_port_send(port, 0, &m, 1), 1);
	assert_int_equal(keeper.count, 1);
	assert_ptr_equal(keeper.pkts[0], m);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	sr_port_close(port);
}

static unsigned send_segments(struct sr_port *port, unsigned size, unsigned payload)
{
	struct rte_mbuf *m =
	    packet_new(pool, &(struct packet){ .blank = true, .segsz = 1, .payload = payload });
	unsigned before = keeper.count;

	m->tso_segsz = (uint16_t)size;
	assert_int_equal(sr_port_send(port, 0, &m, 1), 1);
	return keeper.count - before;
}

/* The size of segments is a guest's word: a device that cuts never sees one that makes no sense. */
static void test_sizes_of_segments(void **state)
{
	struct sr_port *port = keep(ALL_OFFLOADS, 256);
	/* Ethernet, IPv4 and TCP, in a frame of 1500 bytes with two tags. */
	unsigned most = 1500 + 22 - 14 - 20 - 20;

	assert_int_equal(send_segments(port, most + 1, 30000), 0);
	assert_int_equal(send_segments(port, UINT16_MAX, 1000), 0);
	assert_int_equal(send_segments(port, 0, 30000), 0);
	assert_int_equal(send_segments(port, 1, 30000), 0);
	assert_int_equal(sr_port_counters(port, 0)->dropped, 4);
	assert_int_equal(send_segments(port, most, 30000), 1);
	assert_int_equal(send_segments(port, 64, 30000), 1);
	assert_int_equal(sr_port_counters(port, 0)->segmented, 0);
	/* Less than a NIC may know, but a peer may have asked for it. */
	assert_int_equal(send_segments(port, 36, 360), 10);
	assert_int_equal(sr_port_counters(port, 0)->segmented, 1);
	assert_int_equal(sr_port_counters(port, 0)->dropped, 4);
	sr_port_close(port);
}

/* A device without room: nothing is lost, and the order stays. */
static void test_full_device(void **state)
{
	struct sr_port *port = keep(0, 5);
	struct rte_mbuf *pkts[3];

	pkts[0] = packet_new(pool, &(struct packet){ .segsz = 1000, .payload = 10000 });
	pkts[1] = packet_new(pool, &(struct packet){ .payload = 1 });
	pkts[2] = packet_new(pool, &(struct packet){ .payload = 2 });
	assert_int_equal(sr_port_send(port, 0, pkts, 3), 1);
	assert_int_equal(keeper.count, 5);
	assert_int_equal(sr_port_send(port, 0, pkts + 1, 2), 0);
	keeper.room = 6;
	assert_int_equal(sr_port_send(port, 0, pkts + 1, 2), 1);
	assert_int_equal(keeper.count, 11);
	assert_ptr_equal(keeper.pkts[10], pkts[1]);
	keeper.room = 1;
	assert_int_equal(sr_port_send(port, 0, pkts + 2, 1), 1);
	/* Something that waits when the port closes is given back as well. */
	keeper.room = 3;
	pkts[0] = packet_new(pool, &(struct packet){ .segsz = 1000, .payload = 10000 });
	assert_int_equal(sr_port_send(port, 0, pkts, 1), 1);
	sr_port_close(port);
}

/* The thread sleeps; it is waked to look again. */
static void sleep_and_look(struct sr_port *port)
{
	struct pollfd fd = { .fd = sr_port_fd(port, 0), .events = POLLIN };
	struct rte_mbuf *m;

	assert_false(sr_port_arm(port, 0));
	assert_int_equal(poll(&fd, 1, 10000), 1);
	assert_int_equal(sr_port_receive(port, 0, &m, 1), 0);
}

static struct rte_mbuf *ten_segments(void)
{
	return packet_new(pool, &(struct packet){ .segsz = 1000, .payload = 10000 });
}

/* No other packet comes after the one of which a part waits. */
static void room_comes_later(void)
{
	struct sr_port *port = keep(0, 4);
	struct pollfd fd = { .fd = sr_port_fd(port, 0), .events = POLLIN };
	struct rte_mbuf *m = ten_segments();

	assert_int_equal(sr_port_send(port, 0, &m, 1), 1);
	assert_int_equal(keeper.count, 4);
	sleep_and_look(port);
	keeper.room = 2;
	sleep_and_look(port);
	assert_int_equal(keeper.count, 6);
	keeper.room = 256;
	assert_false(sr_port_arm(port, 0));
	assert_int_equal(keeper.count, 10);
	/* Packets that the caller keeps are no other thing. */
	keeper.room = 0;
	m = packet_new(pool, &(struct packet){ .payload = 100 });
	assert_int_equal(sr_port_send(port, 0, &m, 1), 0);
	sr_port_await_room(port, 0);
	sleep_and_look(port);
	rte_pktmbuf_free(m);
	/* And where it never comes, nobody waits for ever. */
	keeper.room = 3;
	m = ten_segments();
	assert_int_equal(sr_port_send(port, 0, &m, 1), 1);
	while (!sr_port_counters(port, 0)->dropped) {
		assert_false(sr_port_arm(port, 0));
		poll(&fd, 1, 100);
	}
	assert_int_equal(keeper.count, 13);
	assert_int_equal(sr_port_counters(port, 0)->dropped, 7);
	if (keeper.fd >= 0)
		assert_int_equal(poll(&fd, 1, 10), 0);
	sr_port_close(port);
}

static void test_room_comes_later(void **state)
{
	room_comes_later();
}

/* The same where the device has a descriptor: what it says still wakes. */
static void test_room_comes_later_with_fd(void **state)
{
	struct sr_port *port;

	keeper.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(keeper.fd >= 0);
	room_comes_later();
	port = keep(0, 0);
	assert_false(sr_port_arm(port, 0));
	assert_int_equal(eventfd_write(keeper.fd, 1), 0);
	assert_int_equal(poll(&(struct pollfd){ sr_port_fd(port, 0), POLLIN, 0 }, 1, 10000), 1);
	sr_port_close(port);
	close(keeper.fd);
	keeper.fd = -1;
}

/* The example in the tree: two hubs, each the other's peer. */
static void test_plug_in(void **state)
{
	char dir[] = "/tmp/splitring-hub-XXXXXX", uplink[128];
	struct sr_port *a, *b;
	struct rte_mbuf *m;

	assert_non_null(mkdtemp(dir));
	if (sr_port_registry_load(registry, hub_path, error, sizeof(error)))
		fail_msg("%s", error);
	snprintf(uplink, sizeof(uplink), "hub:%s/a+%s/b", dir, dir);
	a = port_open(uplink);
	snprintf(uplink, sizeof(uplink), "hub:%s/b+%s/a", dir, dir);
	b = port_open(uplink);
	open_fails("hub:/a", -EINVAL, "two paths");
	m = packet_new(pool, &(struct packet){ .blank = true, .payload = 1000, .piece = 100 });
	assert_int_equal(sr_port_send(a, 0, &m, 1), 1);
	assert_int_equal(poll(&(struct pollfd){ sr_port_fd(b, 0), POLLIN, 0 }, 1, 10000), 1);
	assert_int_equal(sr_port_receive(b, 0, &m, 1), 1);
	assert_int_equal(m->pkt_len, 14 + 40 + 1000);
	assert_true(packet_checksum_ok(m));
	rte_pktmbuf_free(m);
	assert_int_equal(sr_port_receive(b, 0, &m, 1), 0);
	sr_port_close(a);
	sr_port_close(b);
	assert_int_equal(rmdir(dir), 0);
}

static int set_up(void **state)
{
	if (sr_eal_start(&(struct sr_eal_options){ .huge = SR_EAL_HUGE_OFF, .memory_mb = 64 },
			 error, sizeof(error)) ||
	    sr_mbuf_pool_new("test", 4095, &pool, error, sizeof(error))) {
		print_error("%s\n", error);
		return -1;
	}
	assert_true(sr_eal_started());
	assert_int_equal(sr_eal_start(NULL, error, sizeof(error)), 0);
	return sr_port_registry_new(&registry) ||
	       sr_port_registry_add(registry, &keeper_driver, error, sizeof(error));
}

static int tear_down(void **state)
{
	sr_port_registry_free(registry);
	return 0;
}

static int all_back(void **state)
{
	return rte_mempool_full(pool) ? 0 : -1;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registry),
		cmocka_unit_test_teardown(test_dpdk_mtu, all_back),
		cmocka_unit_test_teardown(test_dpdk_loop, all_back),
		cmocka_unit_test_teardown(test_dpdk_loop_of_shared, all_back),
		cmocka_unit_test_teardown(test_tap, all_back),
		cmocka_unit_test(test_timer),
		cmocka_unit_test_teardown(test_everything_lacks, all_back),
		cmocka_unit_test_teardown(test_able_device_gets_all, all_back),
		cmocka_unit_test_teardown(test_sizes_of_segments, all_back),
		cmocka_unit_test_teardown(test_full_device, all_back),
		cmocka_unit_test_teardown(test_room_comes_later, all_back),
		cmocka_unit_test_teardown(test_room_comes_later_with_fd, all_back),
		cmocka_unit_test_teardown(test_plug_in, all_back),
	};

	if (argc != 2)
		return 2;
	hub_path = argv[1];
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
