/* SPDX-License-Identifier: MIT */
/*
 * Port "tap": a TAP device of this machine, so that its own network stack, its bridges and its
 * routes are reached. Checksums that nobody has computed yet and TCP segments of up to 64 KiB pass
 * as they are, both ways, by the header of <linux/virtio_net.h> that a TAP takes in front of each
 * frame. A frame costs one system call, which is what a TAP is: between guests nothing comes here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include <ports/eal.h>

#include "port.h"

#define SR_TAP_FRAME_MAX (65536u + 64u) /* the largest TCP segment, and its Ethernet header */
#define SR_TAP_PIECES    64u            /* mbufs of one frame, at most */
/*
 * Pages that hold the largest frame together with a large mbuf: one before it, which is all that
 * most frames take, and one behind.
 */
#define SR_TAP_BESIDE_LARGE 2u

struct sr_tap_queue {
	int fd;
	bool gone; /* atomic: somebody has deleted the device */
	/* What the next frame is read into: the last spare, a large one if there is any, the
	 * others. */
	unsigned spares;
	struct rte_mbuf *spare[SR_TAP_PIECES];
	struct rte_mbuf *large;
	struct sr_net_port_stats stats;
} __rte_cache_aligned;

struct sr_tap {
	struct rte_mempool *pool, *large; /* NULL: there are no large mbufs */
	unsigned queues, pieces;          /* mbufs that hold the largest frame */
	char name[IFNAMSIZ];
	struct sr_tap_queue queue[];
};

/* The queue's thread writes a counter, the control thread may read it meanwhile. */
static void count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

static uint64_t counted(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* --- frames from the machine --------------------------------------------------------------------
 */

/* Bytes of the Ethernet header with its VLAN tags, and the type behind them. 0: it is cut off. */
static unsigned ether_len(const uint8_t *frame, unsigned len, uint16_t *type)
{
	unsigned at = offsetof(struct rte_ether_hdr, ether_type);

	for (unsigned tags = 0; tags < 3 && at + 2 <= len; tags++) {
		*type = (uint16_t)(frame[at] << 8 | frame[at + 1]);
		if (*type != RTE_ETHER_TYPE_VLAN && *type != RTE_ETHER_TYPE_QINQ)
			return at + 2;
		at += sizeof(struct rte_vlan_hdr);
	}
	return 0;
}

/*
 * What the kernel has left undone, in mbuf's words. False: nothing that can be said so.
 */
static bool read_offload(struct rte_mbuf *m, const struct virtio_net_hdr *hdr)
{
	const uint8_t *frame = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned l2, l4;
	uint16_t type;

	if (hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID)
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return hdr->gso_type == VIRTIO_NET_HDR_GSO_NONE;
	l2 = ether_len(frame, m->data_len, &type);
	if (!l2 || hdr->csum_start <= l2)
		return false;
	if (hdr->csum_offset == offsetof(struct rte_tcp_hdr, cksum)) {
		m->ol_flags |= RTE_MBUF_F_TX_TCP_CKSUM;
		l4 = sizeof(struct rte_tcp_hdr);
	} else if (hdr->csum_offset == offsetof(struct rte_udp_hdr, dgram_cksum)) {
		m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
		l4 = sizeof(struct rte_udp_hdr);
	} else {
		return false;
	}
	if (hdr->csum_start + l4 > m->data_len)
		return false;
	if ((m->ol_flags & RTE_MBUF_F_TX_L4_MASK) == RTE_MBUF_F_TX_TCP_CKSUM)
		l4 = (frame[hdr->csum_start + 12] >> 4) * 4u;
	m->ol_flags |= type == RTE_ETHER_TYPE_IPV6 ? RTE_MBUF_F_TX_IPV6 : RTE_MBUF_F_TX_IPV4;
	m->l2_len = l2;
	m->l3_len = hdr->csum_start - l2;
	m->l4_len = l4;
	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
		m->tso_segsz = hdr->gso_size;
		return hdr->gso_size != 0;
	}
	return false;
}

/* Mbufs for the largest frame, in their order: how many, 0: there are none. */
static unsigned gather(const struct sr_tap *tap, struct sr_tap_queue *q, struct rte_mbuf **pieces)
{
	unsigned want = tap->pieces, count = 0;

	if (!q->large && tap->large)
		q->large = rte_pktmbuf_alloc(tap->large);
	if (q->large)
		want = SR_TAP_BESIDE_LARGE;
	if (q->spares < want) {
		if (rte_pktmbuf_alloc_bulk(tap->pool, q->spare + q->spares, want - q->spares))
			return 0;
		q->spares = want;
	}
	for (unsigned i = 0; i < want; i++) {
		pieces[count++] = q->spare[q->spares - 1 - i];
		if (i == 0 && q->large)
			pieces[count++] = q->large;
	}
	return count;
}

/* Makes a packet of the first of the pieces, which hold `len` bytes; the rest stays spare. */
static struct rte_mbuf *chain(struct sr_tap_queue *q, struct rte_mbuf **pieces, size_t len)
{
	struct rte_mbuf *head = pieces[0], *last = NULL;
	unsigned used = 0;

	head->pkt_len = (uint32_t)len;
	do {
		struct rte_mbuf *m = pieces[used++];
		size_t room = rte_pktmbuf_tailroom(m);

		m->data_len = (uint16_t)(len < room ? len : room);
		len -= m->data_len;
		if (last)
			last->next = m;
		last = m;
	} while (len);
	head->nb_segs = (uint16_t)used;
	q->spares -= used;
	if (q->large && used > 1) {
		q->large = NULL;
		q->spares++;
	}
	return head;
}

/*
 * The device is deleted: its descriptor would be readable for ever, with nothing to read, and its
 * thread would never sleep again. From now on it is another one, which says nothing.
 */
static void vanish(struct sr_tap_queue *q)
{
	int quiet = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (quiet < 0 || dup3(quiet, q->fd, O_CLOEXEC) < 0)
		return;
	close(quiet);
	__atomic_store_n(&q->gone, true, __ATOMIC_RELAXED);
}

static ssize_t read_frame(struct sr_tap_queue *q, struct rte_mbuf **pieces, unsigned count,
			  struct virtio_net_hdr *hdr)
{
	struct iovec iov[SR_TAP_PIECES + 1];
	ssize_t got;

	iov[0] = (struct iovec){ .iov_base = hdr, .iov_len = sizeof(*hdr) };
	for (unsigned i = 0; i < count; i++) {
		iov[i + 1].iov_base = rte_pktmbuf_mtod(pieces[i], void *);
		iov[i + 1].iov_len = rte_pktmbuf_tailroom(pieces[i]);
	}
	got = readv(q->fd, iov, (int)count + 1);
	if (unlikely(got < 0 && errno == EBADFD))
		vanish(q);
	return got < (ssize_t)sizeof(*hdr) ? -1 : got - (ssize_t)sizeof(*hdr);
}

static unsigned tap_receive(void *port, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct sr_tap *tap = port;
	struct sr_tap_queue *q = &tap->queue[queue];
	unsigned found = 0;

	/* What can't be passed on counts as well: the loop is bounded by n, whatever comes. */
	for (unsigned i = 0; i < n && !q->gone; i++) {
		struct rte_mbuf *pieces[SR_TAP_PIECES], *m;
		unsigned held = gather(tap, q, pieces);
		struct virtio_net_hdr hdr;
		ssize_t len = held ? read_frame(q, pieces, held, &hdr) : 0;

		if (len <= 0)
			break;
		m = chain(q, pieces, (size_t)len);
		if (!read_offload(m, &hdr)) {
			rte_pktmbuf_free(m);
			count(&q->stats.rx_dropped, 1);
			continue;
		}
		count(&q->stats.rx_packets, 1);
		count(&q->stats.rx_bytes, (uint64_t)len);
		pkts[found++] = m;
	}
	return found;
}

/* --- frames to the machine ----------------------------------------------------------------------
 */

static void write_offload(const struct rte_mbuf *m, struct virtio_net_hdr *hdr)
{
	uint64_t l4 = m->ol_flags & RTE_MBUF_F_TX_L4_MASK;

	*hdr = (struct virtio_net_hdr){ .gso_type = VIRTIO_NET_HDR_GSO_NONE };
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG) {
		hdr->gso_type = m->ol_flags & RTE_MBUF_F_TX_IPV6 ? VIRTIO_NET_HDR_GSO_TCPV6
								 : VIRTIO_NET_HDR_GSO_TCPV4;
		hdr->gso_size = m->tso_segsz;
		hdr->hdr_len = (uint16_t)(m->l2_len + m->l3_len + m->l4_len);
		l4 = RTE_MBUF_F_TX_TCP_CKSUM;
	}
	if (l4 == RTE_MBUF_F_TX_TCP_CKSUM || l4 == RTE_MBUF_F_TX_UDP_CKSUM) {
		hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		hdr->csum_start = (uint16_t)(m->l2_len + m->l3_len);
		hdr->csum_offset = l4 == RTE_MBUF_F_TX_TCP_CKSUM
				       ? offsetof(struct rte_tcp_hdr, cksum)
				       : offsetof(struct rte_udp_hdr, dgram_cksum);
	} else if ((m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD) {
		hdr->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
}

/* 0; -EAGAIN: the device has no room; other: this frame can't be written, ever. */
static int write_frame(struct sr_tap_queue *q, struct rte_mbuf *m)
{
	struct iovec iov[SR_TAP_PIECES + 1];
	struct virtio_net_hdr hdr;
	unsigned pieces = 1;

	if (m->nb_segs > SR_TAP_PIECES)
		return -EMSGSIZE;
	write_offload(m, &hdr);
	iov[0] = (struct iovec){ .iov_base = &hdr, .iov_len = sizeof(hdr) };
	for (const struct rte_mbuf *s = m; s; s = s->next)
		iov[pieces++] = (struct iovec){
			.iov_base = rte_pktmbuf_mtod(s, void *),
			.iov_len = s->data_len,
		};
	return writev(q->fd, iov, (int)pieces) < 0 ? -errno : 0;
}

static unsigned tap_send(void *port, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct sr_tap *tap = port;
	struct sr_tap_queue *q = &tap->queue[queue];

	for (unsigned i = 0; i < n; i++) {
		int rc = q->gone ? -EBADFD : write_frame(q, pkts[i]);

		if (rc == -EAGAIN)
			return i;
		if (rc) {
			count(&q->stats.tx_dropped, 1);
		} else {
			count(&q->stats.tx_packets, 1);
			count(&q->stats.tx_bytes, pkts[i]->pkt_len);
		}
		rte_pktmbuf_free(pkts[i]);
	}
	return n;
}

/* --- opening and closing ------------------------------------------------------------------------
 */

static int fail(const struct sr_net_port_open *args, const char *what, int err)
{
	snprintf(args->error, args->error_size, "TAP device \"%s\": can't %s: %s", args->args, what,
		 strerror(-err));
	return err;
}

static int open_queue(const struct sr_net_port_open *args, struct sr_tap_queue *q, bool several)
{
	struct ifreq req = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						  (several ? IFF_MULTI_QUEUE : 0)) };
	int size = sizeof(struct virtio_net_hdr);

	q->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (q->fd < 0)
		return fail(args, "open /dev/net/tun (run modprobe tun)", -errno);
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", args->args);
	if (ioctl(q->fd, TUNSETIFF, &req))
		return fail(args, errno == EPERM ? "make it (that needs CAP_NET_ADMIN)" : "be had",
			    -errno);
	if (ioctl(q->fd, TUNSETVNETHDRSZ, &size) ||
	    ioctl(q->fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN))
		return fail(args, "take offloads", -errno);
	return 0;
}

/* It outlives us: the addresses that it was given have to be there when the next process comes. */
static int make_lasting(const struct sr_net_port_open *args, const struct sr_tap_queue *q)
{
	return ioctl(q->fd, TUNSETPERSIST, 1) ? fail(args, "make it last", -errno) : 0;
}

static int bring_up(const struct sr_net_port_open *args, const char *name)
{
	struct ifreq req = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;

	if (s < 0)
		return fail(args, "open a socket", -errno);
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (ioctl(s, SIOCGIFFLAGS, &req))
		rc = fail(args, "read its flags", -errno);
	req.ifr_flags = (short)(req.ifr_flags | IFF_UP);
	if (!rc && ioctl(s, SIOCSIFFLAGS, &req))
		rc = fail(args, "bring it up", -errno);
	close(s);
	return rc;
}

static void tap_close(void *port)
{
	struct sr_tap *tap = port;

	for (unsigned i = 0; i < tap->queues; i++) {
		struct sr_tap_queue *q = &tap->queue[i];

		rte_pktmbuf_free_bulk(q->spare, q->spares);
		rte_pktmbuf_free(q->large);
		if (q->fd >= 0)
			close(q->fd);
	}
	free(tap);
}

static int tap_open(const struct sr_net_port_open *args, void **port, struct sr_net_port_info *info)
{
	unsigned room = rte_pktmbuf_data_room_size(args->pool) - RTE_PKTMBUF_HEADROOM;
	size_t size = sizeof(struct sr_tap) + args->queues * sizeof(struct sr_tap_queue);
	struct sr_tap *tap;
	int rc = 0;

	if (!*args->args || strlen(args->args) >= IFNAMSIZ || strpbrk(args->args, "/%, ")) {
		snprintf(args->error, args->error_size,
			 "\"tap:%s\" names no device; write tap:NAME, NAME of 1 to %d characters",
			 args->args, IFNAMSIZ - 1);
		return -EINVAL;
	}
	tap = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_ALIGN_CEIL(size, RTE_CACHE_LINE_SIZE));
	if (!tap)
		return fail(args, "be opened", -ENOMEM);
	memset(tap, 0, size);
	tap->pool = args->pool;
	tap->large = sr_mbuf_pool_large(args->pool);
	tap->queues = args->queues;
	tap->pieces = (SR_TAP_FRAME_MAX + room - 1) / room;
	snprintf(tap->name, sizeof(tap->name), "%s", args->args);
	for (unsigned i = 0; i < tap->queues; i++)
		tap->queue[i].fd = -1;
	if (tap->pieces > SR_TAP_PIECES)
		rc = fail(args, "hold 64 KiB in mbufs of this pool", -EMSGSIZE);
	for (unsigned i = 0; i < tap->queues && !rc; i++)
		rc = open_queue(args, &tap->queue[i], tap->queues > 1);
	if (!rc)
		rc = make_lasting(args, &tap->queue[0]);
	if (!rc)
		rc = bring_up(args, tap->name);
	if (rc) {
		tap_close(tap);
		return rc;
	}
	*info = (struct sr_net_port_info){
		/* The device's own MTU is for what the machine sends; it takes what comes. */
		.mtu = UINT16_MAX - RTE_ETHER_HDR_LEN,
		.queues = tap->queues,
		.tx_offloads = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM |
			       RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS,
	};
	*port = tap;
	return 0;
}

/* Readable as long as a frame waits, so there is nothing to arm. */
static int tap_fd(void *port, unsigned queue)
{
	struct sr_tap *tap = port;

	return tap->queue[queue].fd;
}

static int tap_link(void *port, struct sr_net_port_link *link)
{
	const struct sr_tap *tap = port;

	*link = (struct sr_net_port_link){ .up = true };
	for (unsigned i = 0; i < tap->queues; i++)
		if (__atomic_load_n(&tap->queue[i].gone, __ATOMIC_RELAXED))
			link->up = false;
	return 0;
}

static int tap_stats(void *port, struct sr_net_port_stats *stats)
{
	const struct sr_tap *tap = port;

	*stats = (struct sr_net_port_stats){ 0 };
	for (unsigned i = 0; i < tap->queues; i++) {
		const struct sr_net_port_stats *s = &tap->queue[i].stats;

		stats->rx_packets += counted(&s->rx_packets);
		stats->rx_bytes += counted(&s->rx_bytes);
		stats->rx_dropped += counted(&s->rx_dropped);
		stats->tx_packets += counted(&s->tx_packets);
		stats->tx_bytes += counted(&s->tx_bytes);
		stats->tx_dropped += counted(&s->tx_dropped);
	}
	return 0;
}

const struct sr_net_port_driver sr_net_port_driver_tap = {
	.abi = SR_NET_PORT_ABI,
	.name = "tap",
	.description = "a TAP device of this machine: tap:NAME",
	.open = tap_open,
	.close = tap_close,
	.receive = tap_receive,
	.send = tap_send,
	.fd = tap_fd,
	.link = tap_link,
	.stats = tap_stats,
};
