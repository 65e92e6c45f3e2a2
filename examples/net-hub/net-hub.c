/* SPDX-License-Identifier: MIT */

/*
 * A port of your own, in a page: frames as datagrams of an AF_UNIX socket, one frame each. Two
 * bridges of two daemons are joined by it, or a program of yours plays the wire. Build it against
 * the installed headers, and load it into splitringd:
 *
 *     cc -O2 -shared -fPIC $(pkg-config --cflags splitring libdpdk) -o net-hub.so net-hub.c
 *
 *     --bridge xenbr0=hub:/run/a.sock+/run/b.sock     our end, and the other's
 */

#include <splitring/net_port.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_mbuf.h>

struct hub {
	int fd;
	struct rte_mempool *pool;
	struct sockaddr_un ours, theirs;
};

static int fail(const struct sr_net_port_open *args, int err, const char *what)
{
	snprintf(args->error, args->error_size, "%s: %s", what, strerror(-err));
	return err;
}

static int hub_open(const struct sr_net_port_open *args, void **out, struct sr_net_port_info *info)
{
	const char *plus = strchr(args->args, '+');
	struct hub *hub = calloc(1, sizeof(*hub));
	int err;

	if (!hub)
		return fail(args, -ENOMEM, "no hub");
	hub->fd = -1;
	hub->pool = args->pool;
	hub->ours.sun_family = hub->theirs.sun_family = AF_UNIX;
	if (!plus || plus == args->args || plus[1] == '\0' ||
	    (size_t)(plus - args->args) >= sizeof(hub->ours.sun_path) ||
	    strlen(plus + 1) >= sizeof(hub->theirs.sun_path)) {
		err = fail(args, -EINVAL, "it is two paths of sockets, as in /run/a+/run/b");
		goto out;
	}
	memcpy(hub->ours.sun_path, args->args, (size_t)(plus - args->args));
	strcpy(hub->theirs.sun_path, plus + 1);
	unlink(hub->ours.sun_path);
	hub->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (hub->fd < 0 || bind(hub->fd, (struct sockaddr *)&hub->ours, sizeof(hub->ours))) {
		err = fail(args, -errno, "its socket can't be made");
		goto out;
	}
	info->queues = 1;
	*out = hub;
	return 0;
out:
	if (hub->fd >= 0)
		close(hub->fd);
	free(hub);
	return err;
}

static void hub_close(void *arg)
{
	struct hub *hub = arg;

	close(hub->fd);
	unlink(hub->ours.sun_path);
	free(hub);
}

static unsigned hub_receive(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct hub *hub = arg;
	unsigned i;

	for (i = 0; i < n; i++) {
		struct rte_mbuf *m = rte_pktmbuf_alloc(hub->pool);
		ssize_t len;

		if (!m)
			break;
		len = recv(hub->fd, rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m), 0);
		if (len <= 0) {
			rte_pktmbuf_free(m);
			break;
		}
		m->data_len = (uint16_t)len;
		m->pkt_len = (uint32_t)len;
		pkts[i] = m;
	}
	return i;
}

/* No offload was named, so each packet is one piece and its checksums are right. */
static unsigned hub_send(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct hub *hub = arg;
	unsigned i;

	for (i = 0; i < n; i++) {
		if (sendto(hub->fd, rte_pktmbuf_mtod(pkts[i], void *), pkts[i]->data_len, 0,
			   (struct sockaddr *)&hub->theirs, sizeof(hub->theirs)) < 0 &&
		    errno == EAGAIN)
			break; /* later; whatever else is wrong, a wire loses frames */
		rte_pktmbuf_free(pkts[i]);
	}
	return i;
}

static int hub_fd(void *arg, unsigned queue)
{
	struct hub *hub = arg;

	return hub->fd;
}

const struct sr_net_port_driver sr_net_port_driver = {
	.abi = SR_NET_PORT_ABI,
	.name = "hub",
	.description = "frames as datagrams of an AF_UNIX socket",
	.open = hub_open,
	.close = hub_close,
	.receive = hub_receive,
	.send = hub_send,
	.fd = hub_fd,
};
