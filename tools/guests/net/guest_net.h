/* SPDX-License-Identifier: MIT */
#ifndef SR_GUEST_NET_H
#define SR_GUEST_NET_H

/*
 * guest-net: a guest whose network stack is Linux's. A network namespace of its own has one
 * interface, a TAP, and what goes in and out there goes over netfront. A thread a queue.
 *
 * Cost. A TAP takes one system call a packet, which no frontend can save; with TSO on, a packet is
 * up to 64 KiB. Data are copied once by the kernel, into or out of granted memory, and not here.
 */

#include <linux/virtio_net.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include <netfront/netfront.h>

#define GUEST_NET_MAX_ADDRESSES 8u

struct guest_net_options {
	const char *hypervisor; /* an address of the seam */
	const char *netns;      /* of `ip netns`; NULL: a new one without a name */
	const char *interface;
	const char *addresses[GUEST_NET_MAX_ADDRESSES]; /* with prefix length */
	unsigned address_count;
	const char *gateway;
	const char *mac; /* NULL: the device's */
	unsigned mtu;    /* 0: the device's */
	unsigned spin_us;
	bool no_static; /* maps nothing for good */
	struct sr_netfront_options front;
	char **command; /* NULL: none */
};

/* Fills in what the command line says; exits on a wrong one, or when only help was wanted. */
void guest_net_parse(int argc, char **argv, struct guest_net_options *o);

/* --- tap.c ------------------------------------------------------------------------------------ */

/* Enters the namespace; whatever is run from then on is in it. 0 or -errno; says what failed. */
int guest_net_enter(const struct guest_net_options *o);
/* One descriptor a queue. */
int guest_net_tap(const char *interface, unsigned queues, int *fds);
/* Addresses and all that; the interface is up afterwards. */
int guest_net_configure(const struct guest_net_options *o, const struct sr_netfront_info *info);
void guest_net_carrier(int fd, bool up);
/* One of several queues is used or not; the kernel spreads flows over those that are. */
void guest_net_attach(int fd, bool on);

/* --- offload.c -------------------------------------------------------------------------------- */

/*
 * What the kernel says of a packet that it sends, in netif's terms. A checksum that the other end
 * can't be left to fill in is filled in here. False: it can't be sent.
 */
bool guest_net_to_netif(const struct sr_netfront_info *info, const struct virtio_net_hdr *hdr,
			uint8_t *data, uint32_t length, struct sr_netfront_tx *packet);
/*
 * What netif says of a packet that was received, in the kernel's terms; `head`: a private copy of
 * its first bytes.
 */
void guest_net_from_netif(const struct sr_netfront_rx *packet, const uint8_t *head,
			  uint32_t head_length, struct virtio_net_hdr *hdr);

/* --- pump.c ----------------------------------------------------------------------------------- */

struct guest_net_pump {
	struct sr_netfront *front;
	struct sr_netfront_queue *queue;
	unsigned index, spin_us;
	int tap;
	bool tap_gone; /* and not looked at any more */
	int stop_fd;   /* readable: come to an end */
	pthread_t thread;
	uint8_t *buffers; /* to send from; page-aligned, granted */
	unsigned *free;   /* a stack of their indices */
	unsigned free_count;
	uint8_t *spare[SR_NETFRONT_RING_SIZE]; /* pages to receive into that aren't posted */
	unsigned spare_count;
	uint64_t tx_refused, rx_refused;
};

/* Granted memory for one queue. */
int guest_net_pump_init(struct guest_net_pump *p);
size_t guest_net_pump_bytes(void);
/* Moves packets until told to stop, or the front's status isn't 0. */
void guest_net_pump_run(struct guest_net_pump *p);
void guest_net_pump_free(struct guest_net_pump *p);

#endif
