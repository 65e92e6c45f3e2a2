/* SPDX-License-Identifier: MIT */
/*
 * The port "tap" against a real TAP, in a network namespace of its own. What the machine sends and
 * gets is seen by a packet socket that is given each frame with its offloads (PACKET_VNET_HDR).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ports/eal.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <splitring/net_port.h>

#define TCP_FRAME   (14u + 20u + 20u) /* headers without options */
#define TYPE_OF_OUR 0x88b5u           /* for local experiments */

extern const struct sr_net_port_driver sr_net_port_driver_tap;

static struct rte_mempool *pool;
static void *port;
static struct sr_net_port_info info;
static int machine; /* the packet socket */
static char error[200];

static int open_port(const char *name, uint16_t mtu)
{
	const struct sr_net_port_open args = { .args = name,
					       .queues = 1,
					       .mtu = mtu,
					       .pool = pool,
					       .error = error,
					       .error_size = sizeof(error) };

	error[0] = 0;
	return sr_net_port_driver_tap.open(&args, &port, &info);
}

static void set_mtu(const char *name, int mtu)
{
	struct ifreq req = { .ifr_mtu = mtu };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	assert_int_equal(ioctl(s, SIOCSIFMTU, &req), 0);
	close(s);
}

static int set_up(void **state)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int one = 1;

	(void)state;
	assert_int_equal(open_port("sr-tap", 1500), 0);
	set_mtu("sr-tap", 9000);
	machine = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
	assert_true(machine >= 0);
	assert_int_equal(setsockopt(machine, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	at.sll_ifindex = (int)if_nametoindex("sr-tap");
	assert_int_equal(bind(machine, (struct sockaddr *)&at, sizeof(at)), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(machine);
	sr_net_port_driver_tap.close(port);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
	return 0;
}

/* A frame of `len` bytes that is found again among what the kernel sends of its own accord. */
static void make_frame(uint8_t *frame, size_t len, uint16_t type)
{
	memset(frame, 0xff, 6);
	memset(frame + 6, 2, 6);
	frame[12] = (uint8_t)(type >> 8);
	frame[13] = (uint8_t)type;
	for (size_t i = 14; i < len; i++)
		frame[i] = (uint8_t)(i * 7);
}

static void make_tcp(uint8_t *frame, size_t len)
{
	make_frame(frame, len, ETHERTYPE_IP);
	memset(frame + 14, 0, 40);
	frame[14] = 0x45;
	frame[16] = (uint8_t)((len - 14) >> 8);
	frame[17] = (uint8_t)(len - 14);
	frame[22] = 64;
	frame[23] = IPPROTO_TCP;
	frame[26] = frame[30] = 10;
	frame[14 + 20 + 12] = 5 << 4;
}

static struct rte_mbuf *packet(const uint8_t *frame, size_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *last = m;

	assert_non_null(m);
	for (size_t at = 0; at < len;) {
		size_t room = rte_pktmbuf_tailroom(last), n = len - at < room ? len - at : room;

		memcpy(rte_pktmbuf_mtod(last, void *), frame + at, n);
		last->data_len = (uint16_t)n;
		at += n;
		if (at < len) {
			last->next = rte_pktmbuf_alloc(pool);
			last = last->next;
			assert_non_null(last);
			m->nb_segs++;
		}
	}
	m->pkt_len = (uint32_t)len;
	return m;
}

/* The next frame of that type that the machine gets, and its offloads. */
static size_t machine_gets(uint16_t type, uint8_t *frame, size_t size, struct virtio_net_hdr *hdr)
{
	for (int tries = 0; tries < 200; tries++) {
		struct pollfd p = { .fd = machine, .events = POLLIN };
		uint8_t buffer[70000];
		ssize_t got;

		if (poll(&p, 1, 2000) != 1)
			break;
		got = recv(machine, buffer, sizeof(buffer), 0);
		if (got < (ssize_t)sizeof(*hdr) + 14 || buffer[sizeof(*hdr) + 12] != type >> 8 ||
		    buffer[sizeof(*hdr) + 13] != (type & 0xff) || buffer[sizeof(*hdr) + 6] != 2)
			continue;
		memcpy(hdr, buffer, sizeof(*hdr));
		got -= (ssize_t)sizeof(*hdr);
		assert_true((size_t)got <= size);
		memcpy(frame, buffer + sizeof(*hdr), (size_t)got);
		return (size_t)got;
	}
	fail_msg("the machine got no such frame");
	return 0;
}

static void machine_sends(const struct virtio_net_hdr *hdr, const uint8_t *frame, size_t len)
{
	static uint8_t buffer[70000];

	memcpy(buffer, hdr, sizeof(*hdr));
	memcpy(buffer + sizeof(*hdr), frame, len);
	assert_int_equal(send(machine, buffer, sizeof(*hdr) + len, 0), sizeof(*hdr) + len);
}

/* The next packet of ours: what the kernel says of its own accord has another address. */
static struct rte_mbuf *port_gets(void)
{
	struct pollfd p = { .fd = sr_net_port_driver_tap.fd(port, 0), .events = POLLIN };

	while (poll(&p, 1, 2000) == 1) {
		struct rte_mbuf *m;

		if (sr_net_port_driver_tap.receive(port, 0, &m, 1) != 1)
			continue;
		if (rte_pktmbuf_mtod(m, uint8_t *)[6] == 2)
			return m;
		rte_pktmbuf_free(m);
	}
	fail_msg("the port got no such frame");
	return NULL;
}

static void assert_same(struct rte_mbuf *m, const uint8_t *frame, size_t len)
{
	static uint8_t flat[70000];

	assert_int_equal(m->pkt_len, len);
	assert_memory_equal(rte_pktmbuf_read(m, 0, (uint32_t)len, flat), frame, len);
	rte_pktmbuf_free(m);
}

static void test_frames_to_the_machine(void **state)
{
	static const size_t sizes[] = { 14, 60, 1514, 2048, 2049, 9014 };
	uint8_t frame[9014], got[9100];
	struct virtio_net_hdr hdr;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct rte_mbuf *m;

		make_frame(frame, sizes[i], TYPE_OF_OUR);
		m = packet(frame, sizes[i]);
		assert_int_equal(sr_net_port_driver_tap.send(port, 0, &m, 1), 1);
		assert_int_equal(machine_gets(TYPE_OF_OUR, got, sizeof(got), &hdr), sizes[i]);
		assert_memory_equal(got, frame, sizes[i]);
		assert_int_equal(hdr.flags | hdr.gso_type, 0);
	}
}

static void test_frames_from_the_machine(void **state)
{
	static const size_t sizes[] = { 60, 1514, 2048, 2049, 9014 };
	const struct virtio_net_hdr hdr = { 0 };
	uint8_t frame[9014];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct rte_mbuf *m;

		make_frame(frame, sizes[i], TYPE_OF_OUR);
		machine_sends(&hdr, frame, sizes[i]);
		m = port_gets();
		assert_int_equal(m->ol_flags & (RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG), 0);
		assert_same(m, frame, sizes[i]);
	}
}

static void test_segments_to_the_machine(void **state)
{
	static uint8_t frame[60000], got[70000];
	struct virtio_net_hdr hdr;
	struct rte_mbuf *m;

	(void)state;
	make_tcp(frame, sizeof(frame));
	m = packet(frame, sizeof(frame));
	m->ol_flags = RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
	m->l2_len = 14;
	m->l3_len = m->l4_len = 20;
	m->tso_segsz = 1448;
	assert_int_equal(sr_net_port_driver_tap.send(port, 0, &m, 1), 1);
	assert_int_equal(machine_gets(ETHERTYPE_IP, got, sizeof(got), &hdr), sizeof(frame));
	assert_memory_equal(got, frame, sizeof(frame));
	assert_int_equal(hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(hdr.gso_size, 1448);
	assert_int_equal(hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	assert_int_equal(hdr.csum_start, 34);
	assert_int_equal(hdr.csum_offset, 16);
}

/* Of a TCP segment that is to be cut. */
static const struct virtio_net_hdr segment_hdr = {
	.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	.gso_size = 1448,
	.hdr_len = TCP_FRAME,
	.csum_start = 34,
	.csum_offset = 16,
};

static void test_segments_from_the_machine(void **state)
{
	static uint8_t frame[60000];
	struct rte_mbuf *m;

	(void)state;
	make_tcp(frame, sizeof(frame));
	machine_sends(&segment_hdr, frame, sizeof(frame));
	m = port_gets();
	assert_true(m->ol_flags & RTE_MBUF_F_TX_TCP_SEG);
	assert_true(m->ol_flags & RTE_MBUF_F_TX_IPV4);
	assert_int_equal(m->tso_segsz, 1448);
	assert_int_equal(m->l2_len, 14);
	assert_int_equal(m->l3_len, 20);
	assert_int_equal(m->l4_len, 20);
	assert_same(m, frame, sizeof(frame));
}

static struct rte_mbuf *get_segment(uint8_t *frame, size_t len)
{
	struct rte_mbuf *m;

	make_tcp(frame, len);
	machine_sends(&segment_hdr, frame, len);
	m = port_gets();
	/* What fits one segment is none of several. */
	assert_int_equal((m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0, len > TCP_FRAME + 1448);
	return m;
}

/* Frames go into a page, then into a large mbuf; where none is left, into pages as ever. */
static void test_large_mbufs(void **state)
{
	static const struct {
		size_t len;
		unsigned segments;
	} frames[] = { { 60, 1 },    { 4096, 1 }, { 4097, 2 }, { 60000, 2 },
		       { 65535, 2 }, { 60, 1 },   { 30000, 2 } };
	static uint8_t frame[65539];
	const struct virtio_net_hdr hdr = { 0 };
	struct rte_mempool *other = pool, *large;
	struct rte_mbuf *kept[2], *m;

	(void)state;
	assert_int_equal(sr_mbuf_pool_new_pages("pages", 63, NULL, &pool, error, sizeof(error)), 0);
	assert_int_equal(sr_mbuf_pool_add_large(pool, 2, NULL, error, sizeof(error)), 0);
	large = sr_mbuf_pool_large(pool);
	assert_int_equal(set_up(NULL), 0);
	for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		m = get_segment(frame, frames[i].len);
		assert_int_equal(m->nb_segs, frames[i].segments);
		if (frames[i].segments > 1)
			assert_ptr_equal(m->next->pool, large);
		assert_same(m, frame, frames[i].len);
	}
	/* The largest frame of all. */
	set_mtu("sr-tap", 65521);
	make_frame(frame, sizeof(frame), ETHERTYPE_VLAN);
	machine_sends(&hdr, frame, sizeof(frame));
	m = port_gets();
	assert_int_equal(m->nb_segs, 3);
	assert_same(m, frame, sizeof(frame));
	for (unsigned i = 0; i < 2; i++) {
		kept[i] = get_segment(frame, 60000);
		assert_int_equal(kept[i]->nb_segs, 2);
	}
	m = get_segment(frame, 60000);
	assert_int_equal(m->nb_segs, 15);
	assert_same(m, frame, 60000);
	rte_pktmbuf_free_bulk(kept, 2);
	m = get_segment(frame, 60000);
	assert_int_equal(m->nb_segs, 2);
	assert_same(m, frame, 60000);
	assert_int_equal(tear_down(NULL), 0);
	assert_int_equal(rte_mempool_in_use_count(large), 0);
	sr_mbuf_pool_free(pool);
	pool = other;
}

/* A datagram of no bytes is whole: its header is shorter than TCP's. */
static void test_small_datagrams_from_the_machine(void **state)
{
	const struct virtio_net_hdr hdr = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					    .csum_start = 34,
					    .csum_offset = 6 };
	uint8_t frame[14 + 20 + 8];
	struct rte_mbuf *m;

	(void)state;
	make_frame(frame, sizeof(frame), ETHERTYPE_IP);
	machine_sends(&hdr, frame, sizeof(frame));
	m = port_gets();
	assert_int_equal(m->ol_flags & RTE_MBUF_F_TX_L4_MASK, RTE_MBUF_F_TX_UDP_CKSUM);
	assert_int_equal(m->l4_len, 8);
	assert_same(m, frame, sizeof(frame));
}

static void test_a_frame_of_too_many_pieces_is_dropped(void **state)
{
	struct sr_net_port_stats stats;
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool), *last = m;

	(void)state;
	rte_pktmbuf_append(m, 60);
	for (int i = 0; i < 80; i++) {
		last->next = rte_pktmbuf_alloc(pool);
		last = last->next;
		m->nb_segs++;
	}
	assert_int_equal(sr_net_port_driver_tap.send(port, 0, &m, 1), 1);
	assert_int_equal(sr_net_port_driver_tap.stats(port, &stats), 0);
	assert_int_equal(stats.tx_dropped, 1);
	assert_int_equal(stats.tx_packets, 0);
}

/* What a process that was killed leaves, its addresses with it, is there for the next one. */
static void test_the_device_outlives_the_port(void **state)
{
	unsigned index;

	(void)state;
	assert_int_equal(open_port("sr-last", 1500), 0);
	index = if_nametoindex("sr-last");
	assert_int_not_equal(index, 0);
	sr_net_port_driver_tap.close(port);
	assert_int_equal(if_nametoindex("sr-last"), index);
	assert_int_equal(open_port("sr-last", 1500), 0);
	assert_int_equal(if_nametoindex("sr-last"), index);
	sr_net_port_driver_tap.close(port);
}

/* Somebody deletes the device: what is sent is counted as lost, and nothing is there to read. */
static void test_the_device_vanishes(void **state)
{
	struct sr_net_port_stats stats;
	struct sr_net_port_link link;
	struct rte_mbuf *m;
	uint8_t frame[60];
	struct pollfd fd;

	(void)state;
	make_frame(frame, sizeof(frame), TYPE_OF_OUR);
	assert_int_equal(open_port("sr-gone", 1500), 0);
	assert_int_equal(sr_net_port_driver_tap.link(port, &link), 0);
	assert_true(link.up);
	assert_int_equal(system("ip link delete sr-gone"), 0);
	m = packet(frame, sizeof(frame));
	assert_int_equal(sr_net_port_driver_tap.send(port, 0, &m, 1), 1);
	assert_int_equal(sr_net_port_driver_tap.receive(port, 0, &m, 1), 0);
	fd = (struct pollfd){ .fd = sr_net_port_driver_tap.fd(port, 0), .events = POLLIN };
	assert_int_equal(poll(&fd, 1, 0), 0);
	m = packet(frame, sizeof(frame));
	assert_int_equal(sr_net_port_driver_tap.send(port, 0, &m, 1), 1);
	assert_int_equal(sr_net_port_driver_tap.receive(port, 0, &m, 1), 0);
	assert_int_equal(poll(&fd, 1, 0), 0);
	assert_int_equal(sr_net_port_driver_tap.link(port, &link), 0);
	assert_false(link.up);
	assert_int_equal(sr_net_port_driver_tap.stats(port, &stats), 0);
	assert_int_equal(stats.tx_dropped, 2);
	sr_net_port_driver_tap.close(port);
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void test_bad_names(void **state)
{
	static const char *const bad[] = { "", "a/b", "sixteen-bytes-xx", "a b", "x%d", "a,b" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(open_port(bad[i], 1500), -EINVAL);
		assert_non_null(strstr(error, "names no device; write tap:NAME"));
	}
	/* Ours to use it is not. */
	assert_true(open_port("lo", 1500) < 0);
	assert_non_null(strstr(error, "TAP device \"lo\""));
	assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_frames_to_the_machine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_frames_from_the_machine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_segments_to_the_machine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_segments_from_the_machine, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_small_datagrams_from_the_machine, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_frame_of_too_many_pieces_is_dropped, set_up,
						tear_down),
		cmocka_unit_test(test_large_mbufs),
		cmocka_unit_test(test_the_device_outlives_the_port),
		cmocka_unit_test(test_the_device_vanishes),
		cmocka_unit_test(test_bad_names),
	};

	if (access("/dev/net/tun", R_OK | W_OK) || unshare(CLONE_NEWNET)) {
		printf("1..0 # SKIP needs /dev/net/tun and a network namespace: %s\n",
		       strerror(errno));
		return 0;
	}
	if (sr_eal_start(NULL, error, sizeof(error)) ||
	    sr_mbuf_pool_new("tap", 511, &pool, error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		return 1;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
