/* SPDX-License-Identifier: MIT */
/*
 * The least that two TAPs can cost, for `./dev bench net`: what one sends goes to the other.
 *
 *     bench-relay NAMESPACE NAMESPACE
 *
 * Makes an interface, eth0, in each of two namespaces of `ip netns`, with the offloads that
 * guest-net has, and moves packets between them until it is ended, in one thread and with one
 * buffer: a read and a write a packet, no ring, no switch, no other process. Prints "ready" before
 * the first.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BURST       32u
#define MOST_PACKET 65536u

static int complain(const char *what)
{
	fprintf(stderr, "bench-relay: %s: %s\n", what, strerror(errno));
	return -1;
}

static int enter(const char *namespace)
{
	char path[128];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "/run/netns/%s", namespace);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		rc = complain(path);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The interface is in the namespace that its maker is in at that moment. */
static int open_tap(const char *namespace)
{
	unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	struct ifreq ifr = { .ifr_name = "eth0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int size = sizeof(struct virtio_net_hdr), fd;

	if (enter(namespace))
		return -1;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &size) ||
	    ioctl(fd, TUNSETOFFLOAD, offloads))
		return complain("/dev/net/tun");
	return fd;
}

static unsigned move(int from, int to)
{
	static uint8_t packet[sizeof(struct virtio_net_hdr) + MOST_PACKET];
	unsigned n = 0;
	ssize_t got;

	while (n < BURST && (got = read(from, packet, sizeof(packet))) > 0) {
		/* What the other end has no room for is lost, as on any wire. */
		if (write(to, packet, (size_t)got) < 0 && errno != EAGAIN && errno != ENOBUFS &&
		    errno != EIO)
			break;
		n++;
	}
	return n;
}

int main(int argc, char **argv)
{
	struct pollfd taps[2];

	if (argc != 3) {
		fprintf(stderr, "usage: bench-relay NAMESPACE NAMESPACE\n");
		return 2;
	}
	for (unsigned i = 0; i < 2; i++) {
		taps[i] = (struct pollfd){ .fd = open_tap(argv[i + 1]), .events = POLLIN };
		if (taps[i].fd < 0)
			return 1;
	}
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		unsigned n = move(taps[0].fd, taps[1].fd);

		n += move(taps[1].fd, taps[0].fd);
		if (!n && poll(taps, 2, -1) < 0 && errno != EINTR)
			return 1;
	}
}
