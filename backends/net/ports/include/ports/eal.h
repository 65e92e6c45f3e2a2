/* SPDX-License-Identifier: MIT */
#ifndef PORTS_EAL_H
#define PORTS_EAL_H

/*
 * DPDK's environment (EAL), started when the first NIC needs it and never before. It takes no
 * processor of its own, opens no socket and no shared file; without reserved hugepages it does with
 * ordinary memory. It stays until the process ends: EAL can't be started twice.
 *
 * Threads: sr_eal_start() and sr_mbuf_pool_new() in the control thread. Errors: 0 or -errno, and
 * one line for the operator.
 */

#include <stdbool.h>
#include <stddef.h>

struct rte_mempool;

enum sr_eal_huge {
	SR_EAL_HUGE_AUTO, /* if enough of them are free */
	SR_EAL_HUGE_ON,
	SR_EAL_HUGE_OFF,
};

struct sr_eal_options {
	enum sr_eal_huge huge;
	unsigned memory_mb; /* for packets and rings; 0: SR_EAL_MEMORY_MB */
};

#define SR_EAL_MEMORY_MB 512u

/*
 * Starts EAL if nobody has; `options` (NULL: the defaults) count the first time only. A program
 * that has called rte_eal_init() itself, like testpmd, is served as it is.
 */
int sr_eal_start(const struct sr_eal_options *options, char *error, size_t error_size);
bool sr_eal_started(void);

/*
 * A thread that handles packets registers itself, so that it has a cache of free ones, and
 * unregisters before it ends. -ENOMEM: there are RTE_MAX_LCORE already. Safe to call again.
 */
int sr_eal_thread_register(void);
void sr_eal_thread_unregister(void);

/*
 * A pool of `count` mbufs of DPDK's usual size (2 KiB and headroom), to be freed by
 * sr_mbuf_pool_free(). The name is made unique.
 */
int sr_mbuf_pool_new(const char *name, unsigned count, struct rte_mempool **pool, char *error,
		     size_t error_size);

/*
 * The same with mbufs whose data are a page (4 KiB and headroom) and begin with one. A hypervisor
 * that copies by system call pins each page that a copy touches, so a guest's page should be one.
 * `memory`: where they lie, SR_MBUF_PAGES pages for each, on a page's border; it stays the caller's
 * and has to outlive the pool. NULL: DPDK's own.
 */
int sr_mbuf_pool_new_pages(const char *name, unsigned count, void *memory,
			   struct rte_mempool **pool, char *error, size_t error_size);
#define SR_MBUF_PAGES 2u

/*
 * Gives such a pool a companion of `count` mbufs whose data are 15 pages in a row (60 KiB and
 * headroom), for whoever receives frames of 64 KiB: that is one mbuf, where it would be 15, and one
 * piece of memory to read into. `memory`: SR_MBUF_LARGE_PAGES pages for each, else as above.
 * -EINVAL: the pool is of another kind, or has one.
 */
int sr_mbuf_pool_add_large(struct rte_mempool *pool, unsigned count, void *memory, char *error,
			   size_t error_size);
#define SR_MBUF_LARGE_PAGES 16u

/* The companion; NULL: none. `pool` may be any pool of mbufs. Any thread. */
struct rte_mempool *sr_mbuf_pool_large(struct rte_mempool *pool);

/* With its companion. NULL is allowed. */
void sr_mbuf_pool_free(struct rte_mempool *pool);

/* May packets lie in memory that is not DPDK's? Not where a device could have to read them itself.
 */
bool sr_eal_may_borrow(void);

#endif
