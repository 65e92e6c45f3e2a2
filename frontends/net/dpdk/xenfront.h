/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_XENFRONT_H
#define SR_NET_XENFRONT_H

/*
 * What the files of the DPDK driver net_xenfront share: netfront (<netfront/netfront.h>) as an
 * Ethernet device of DPDK.
 *
 * Memory. A backend reaches only what was granted to it, and DPDK's packets lie in memory that
 * can't be granted. So the pool that the application gives to its rx queues is made over (pool.c):
 * each of its mbufs gets a page of granted memory for its data. All that the application allocates
 * from that pool is then received and sent where it lies. Packets from other pools are copied by
 * netfront when they are sent.
 */

#include <stdbool.h>

#include <netfront/netfront.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#define SR_XF_BURST       64u /* packets that one call handles at most */
#define SR_XF_FREE_THRESH (SR_NETFRONT_RING_SIZE / 2)

/* Bytes between colours, and how many there are at most. */
#define SR_XF_COLOUR  64u
#define SR_XF_COLOURS 16u

struct sr_xf_pool {
	struct sr_xf_pool *next;
	struct rte_mempool *pool;
	unsigned colours;
	uint8_t *pages;
	struct rte_mbuf_ext_shared_info *shared; /* one an mbuf */
};

/* Where a buffer in the page of `addr` begins while it is free. */
static inline unsigned sr_xf_colour(const struct sr_xf_pool *pool, const void *addr)
{
	return (uintptr_t)addr / SR_NETFRONT_BUFFER_SIZE % pool->colours * SR_XF_COLOUR;
}

/* Lets the buffer begin `offset` bytes into its page. */
static inline void sr_xf_shift(struct rte_mbuf *m, unsigned offset)
{
	uintptr_t page = (uintptr_t)m->buf_addr & ~(uintptr_t)(SR_NETFRONT_BUFFER_SIZE - 1);

	m->buf_addr = (void *)(page + offset);
	m->buf_iova = page + offset;
	m->buf_len = (uint16_t)(SR_NETFRONT_BUFFER_SIZE - offset);
}

struct sr_xf_rx_queue {
	struct sr_netfront_queue *q;
	struct rte_mempool *pool;
	uint16_t port;
	uint64_t no_mbuf; /* times that the pool was empty */
};

/* Of a tx queue. netfront counts what has been answered, which may be looked at much later. */
struct sr_xf_sent {
	uint64_t packets, bytes; /* that are in the ring, or were */
	uint64_t refused;        /* packets that no ring takes */
};

struct sr_xf_tx_queue {
	struct sr_netfront_queue *q;
	const struct sr_xf *xf;
	uint16_t free_thresh;         /* with fewer free slots, answered packets are freed */
	struct sr_xf_sent sent, base; /* base: at the last reset */
};

/* The device's private data. */
struct sr_xf {
	struct sr_hypervisor *hv;
	struct sr_netfront *front;
	struct sr_xf_pool *pools;
	bool statics; /* the backend is asked to map the pools' pages for good */
	char error[200];
	uint32_t hash_types; /* XEN_NETIF_CTRL_HASH_TYPE_* that the backend can do */
	unsigned mapping_limit;
	uint8_t key[40];
	uint32_t mapping[128];
	unsigned mapping_length;
	uint32_t types;                                        /* that are on */
	struct sr_netfront_stats base[SR_NETFRONT_MAX_QUEUES]; /* at the last reset */
	struct sr_xf_rx_queue rx[SR_NETFRONT_MAX_QUEUES];
	struct sr_xf_tx_queue tx[SR_NETFRONT_MAX_QUEUES];
};

extern int sr_xf_logtype;
#define SR_XF_LOG(level, ...) rte_log(RTE_LOG_##level, sr_xf_logtype, "net_xenfront: " __VA_ARGS__)

/* --- pool.c -------------------------------------------------------------------------------------
 */

/*
 * Makes `pool` over for `xf`, unless it is already. -EBUSY: some of it is in use; -EINVAL: it has
 * no data of its own that could be moved; others from netfront.
 */
int sr_xf_adopt_pool(struct sr_xf *xf, struct rte_mempool *pool);
/* Frees what belongs to the pools, which nobody may use any more. */
void sr_xf_free_pools(struct sr_xf *xf);

/* --- burst.c ------------------------------------------------------------------------------------
 */

uint16_t sr_xf_receive(void *queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t sr_xf_transmit(void *queue, struct rte_mbuf **pkts, uint16_t n);
/* Frees up to `count` packets that have been answered, 0: all of them. How many. */
int sr_xf_done_cleanup(void *queue, uint32_t count);
/* Puts the pseudo-header's sum where a blank checksum is asked for, as netif wants it. */
uint16_t sr_xf_prepare(void *queue, struct rte_mbuf **pkts, uint16_t n);
/* Gives back what is posted and out, once the front is disconnected. */
void sr_xf_drain(struct sr_xf *xf);

/* --- rss.c --------------------------------------------------------------------------------------
 */

/* DPDK's set of RTE_ETH_RSS_* for a set of XEN_NETIF_CTRL_HASH_TYPE_*, and back. */
uint64_t sr_xf_rss_types(uint32_t types);
uint32_t sr_xf_hash_types(uint64_t rss);
int sr_xf_rss_update(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf);
int sr_xf_rss_get(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf);
int sr_xf_reta_update(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta,
		      uint16_t size);
int sr_xf_reta_query(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta, uint16_t size);

#endif
