/* SPDX-License-Identifier: MIT */
#include "guest_net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

static int complain(const char *what)
{
	int rc = -errno;

	fprintf(stderr, "guest-net: %s: %s\n", what, strerror(-rc));
	return rc;
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		rc = complain(path);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Who isn't root may have a namespace in a user namespace, in which he is. */
static int new_namespace(void)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char map[64];
	int rc;

	if (unshare(CLONE_NEWNET | (uid ? CLONE_NEWUSER : 0)))
		return complain("no new network namespace");
	if (!uid)
		return 0;
	rc = write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
	if (!rc)
		rc = write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "0 %u 1", (unsigned)gid);
	return rc ? rc : write_file("/proc/self/gid_map", map);
}

int guest_net_enter(const struct guest_net_options *o)
{
	char path[128];
	int fd, rc = 0;

	if (!o->netns)
		return new_namespace();
	snprintf(path, sizeof(path), "/run/netns/%s", o->netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		rc = complain(path);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int open_queue(const char *interface, bool several, int *out)
{
	/* The kernel may leave checksums and segmentation of all that it sends to us. */
	unsigned offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int size = sizeof(struct virtio_net_hdr), rc;
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return complain("/dev/net/tun");
	if (several)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", interface);
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETVNETHDRSZ, &size) ||
	    ioctl(fd, TUNSETOFFLOAD, offloads)) {
		rc = complain(interface);
		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

int guest_net_tap(const char *interface, unsigned queues, int *fds)
{
	int rc = 0;

	for (unsigned i = 0; i < queues && !rc; i++)
		rc = open_queue(interface, queues > 1, &fds[i]);
	return rc;
}

void guest_net_carrier(int fd, bool up)
{
	int on = up;

	/* Kernels before 5.0 don't know it: there the link is always up. */
	(void)ioctl(fd, TUNSETCARRIER, &on);
}

void guest_net_attach(int fd, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	/* Refused where it is so already. */
	(void)ioctl(fd, TUNSETQUEUE, &ifr);
}

static int run_ip(const char *const args[])
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execvp("ip", (char *const *)(uintptr_t)args);
		(void)complain("ip");
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return complain("ip");
	return status ? -EINVAL : 0;
}

#define ip(...) run_ip((const char *const[]){ "ip", __VA_ARGS__, NULL })

int guest_net_configure(const struct guest_net_options *o, const struct sr_netfront_info *info)
{
	const uint8_t *m = info->mac;
	char mac[24], mtu[8];
	int rc;

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
		 m[5]);
	snprintf(mtu, sizeof(mtu), "%u", (o->mtu ? o->mtu : info->mtu) & 0xffff);
	rc = ip("link", "set", "dev", "lo", "up");
	if (!rc && (o->mac || strcmp(mac, "00:00:00:00:00:00")))
		rc = ip("link", "set", "dev", o->interface, "address", o->mac ? o->mac : mac);
	if (!rc)
		rc = ip("link", "set", "dev", o->interface, "mtu", mtu, "up");
	for (unsigned i = 0; i < o->address_count && !rc; i++) {
		/* An IPv6 address is of use at once, not after the search for duplicates. */
		if (strchr(o->addresses[i], ':'))
			rc = ip("address", "add", o->addresses[i], "dev", o->interface, "nodad");
		else
			rc = ip("address", "add", o->addresses[i], "dev", o->interface);
	}
	if (!rc && o->gateway)
		rc = ip("route", "add", "default", "via", o->gateway);
	return rc;
}
