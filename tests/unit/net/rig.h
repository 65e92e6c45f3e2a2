/* SPDX-License-Identifier: MIT */
#ifndef SR_TEST_NET_RIG_H
#define SR_TEST_NET_RIG_H

/*
 * The queue engine in this process over an embedded machine of this process, and a raw frontend: a
 * test writes the guest's slots one by one. One machine and one EAL a program, one connection a
 * case.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <hypervisor.h>
#include <net/netif.h>
#include <net/packet.h>
#include <net/queue.h>
#include <net/record.h>
#include <ring/netif.h>
#include <rte_mbuf.h>

#define RIG_PAGES  512u /* of the guest, granted for writing */
#define RIG_QUEUES 4u   /* that the vif says to have; queue 0 is connected */

#define RIG_ALL (SR_NET_SG | SR_NET_GSO4 | SR_NET_GSO6 | SR_NET_CSUM4 | SR_NET_CSUM6)

struct rig {
	struct sr_gnttab *gt, *ctrl_gt; /* the control ring may be another thread's */
	struct sr_gntshr *gs;
	struct sr_evtchn *ev, *ctrl_ev, *guest_ev;
	struct rte_mempool *pool;
	uint16_t domid;
	/* The guest's pages, all filled with RIG_STALE, and what they are granted as. */
	uint8_t *pages;
	uint32_t refs[RIG_PAGES], read_only_ref;
	uint8_t *read_only_page;
	/* The connection. */
	struct sr_netif *netif;
	struct sr_netq *q;
	uint8_t *tx_page, *rx_page, *ctrl_page;
	uint32_t tx_ref, rx_ref, ctrl_ref;
	struct sr_netif_front tx, rx, ctrl;
	uint32_t tx_port, rx_port, ctrl_port; /* the guest's */
	bool with_ctrl;
	struct sr_netif_record netif_record;
	struct sr_netq_record record;
	unsigned wakes, ctrl_wakes;
	unsigned mbufs; /* in use before the case */
};

#define RIG_STALE 0xa7

extern struct rig rig;

/* cmocka's group fixtures. */
int rig_group_setup(void **state);
int rig_group_teardown(void **state);

struct rig_options {
	unsigned features, headroom;
	bool split, ctrl, multicast_filter;
};

/* New rings and a queue on them. Teardown checks that no mbuf was lost. */
void rig_connect(const struct rig_options *options);
void rig_disconnect(void);
/* The backend dies and comes back: detached without a word, attached with `resume`. */
void rig_resume(const struct rig_options *options);
/* Only the backend's end, or only the end of it; the rings stay. */
int rig_attach(const struct rig_options *options, bool resume);
void rig_detach(void);

/* cmocka's fixtures for a case: connected with all features; without ctrl. */
int rig_setup(void **state);
int rig_teardown(void **state);

#define RIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)

/* --- the guest sends ---------------------------------------------------------------------------
 */

/* One slot; page: which of rig.pages. */
void rig_tx(unsigned page, uint16_t offset, uint16_t flags, uint16_t id, uint16_t size);
void rig_tx_extra(const struct netif_extra_info *extra);
void rig_tx_publish(void);
/* Receives; the number of packets, or -errno. */
int rig_receive(struct rte_mbuf **pkts, unsigned n);
/* The next response: its status; *id what it says. Fails if there is none. */
int16_t rig_tx_response(uint16_t *id);
unsigned rig_tx_responses(void);
/* All of what is there has this status (or NETIF_RSP_NULL, for extra info); how many. */
unsigned rig_tx_all(int16_t status);
/* Sends `len` bytes as one slot of page 0 with flags and perhaps an extra; the one packet or NULL.
 */
struct rte_mbuf *rig_send(const void *bytes, uint16_t len, uint16_t flags,
			  const struct netif_extra_info *extra);

uint64_t rig_tx_drops(enum sr_net_drop reason);
uint64_t rig_rx_drops(enum sr_net_drop reason);

/* The packet's bytes are those. */
void rig_check_bytes(const struct rte_mbuf *pkt, const void *bytes, size_t len);

/* --- the guest receives ------------------------------------------------------------------------
 */

/* Posts `n` buffers: pages first, first+1, ... ; the id is the page. */
void rig_post(unsigned first, unsigned n);
/* A packet of those bytes in segments of at most `segment`. */
struct rte_mbuf *rig_packet(const void *bytes, size_t len, size_t segment);
/* sr_netq_send() of one. */
int rig_give(struct rte_mbuf *pkt);

struct rig_got {
	uint8_t bytes[65536 + 4096];
	size_t len;
	unsigned slots;
	uint16_t flags;
	int16_t status; /* < 0: of the first slot that failed */
	struct netif_extra_info gso, hash;
};

/* The next packet as the guest sees it: false if there is none. Checks ids, slots and offsets. */
bool rig_take(struct rig_got *got);

/* --- packets -----------------------------------------------------------------------------------
 */

struct rig_spec {
	bool v6, udp;
	unsigned payload;
	unsigned options;     /* bytes of IPv4 options, or of a v6 extension header; times of 8 */
	unsigned tcp_options; /* times of 4 */
	bool vlan;
};

/* Builds a frame whose L4 checksum is blank: the pseudo-header's sum. Returns its length. */
unsigned rig_build(uint8_t *frame, const struct rig_spec *spec);
/* Is the L4 checksum (and IPv4's) of a frame right? */
bool rig_checksum_good(const uint8_t *frame, size_t len);

#endif
