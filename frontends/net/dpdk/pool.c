/* SPDX-License-Identifier: MIT */
/* Pools whose packets lie in granted memory: see xenfront.h. */
#include "xenfront.h"

#include <errno.h>
#include <stdlib.h>

#include <rte_malloc.h>
#include <rte_mempool.h>

/* The last clone of a packet is gone: the packet itself goes back where it came from. */
static void free_page(void *addr, void *mbuf)
{
	struct rte_mbuf *m = mbuf;

	(void)addr;
	rte_mbuf_ext_refcnt_set(m->shinfo, 1);
	m->ol_flags = RTE_MBUF_F_EXTERNAL;
	if (m->next)
		m->next = NULL;
	if (m->nb_segs != 1)
		m->nb_segs = 1;
	rte_mbuf_refcnt_set(m, 1);
	rte_mbuf_raw_free(m);
}

/* As many as leave the room that the application has asked for. */
static unsigned colours(struct rte_mempool *pool)
{
	unsigned room = rte_pktmbuf_data_room_size(pool);

	if (room > SR_NETFRONT_BUFFER_SIZE)
		return 1;
	return RTE_MIN(SR_XF_COLOURS, 1 + (SR_NETFRONT_BUFFER_SIZE - room) / SR_XF_COLOUR);
}

/* Called for each mbuf, none of which is in use. */
static void move_data(struct rte_mempool *pool, void *arg, void *object, unsigned index)
{
	const struct sr_xf_pool *p = arg;
	struct rte_mbuf *m = object;

	(void)pool;
	m->shinfo = &p->shared[index];
	m->shinfo->free_cb = free_page;
	m->shinfo->fcb_opaque = m;
	rte_mbuf_ext_refcnt_set(m->shinfo, 1);
	m->buf_addr = p->pages + (size_t)index * SR_NETFRONT_BUFFER_SIZE;
	sr_xf_shift(m, sr_xf_colour(p, m->buf_addr));
	m->ol_flags = RTE_MBUF_F_EXTERNAL;
}

/* As many pages as a backend keeps for each queue; without them it copies by grants. */
static void map_statically(struct sr_xf *xf, const struct sr_xf_pool *p)
{
	const struct sr_netfront_info *info = sr_netfront_info(xf->front);

	for (unsigned q = 0; q < info->queues; q++) {
		size_t pages = sr_netfront_static_limit(xf->front, q);
		int rc;

		if (!pages) {
			SR_XF_LOG(NOTICE, "the backend maps no pages for good\n");
			return;
		}
		pages = RTE_MIN(pages, (size_t)p->pool->size);
		rc =
		    sr_netfront_static_map(xf->front, q, p->pages, pages * SR_NETFRONT_BUFFER_SIZE);
		if (rc)
			SR_XF_LOG(WARNING, "the backend does not map the pool's pages: %s\n",
				  rte_strerror(-rc));
		else if (pages < p->pool->size)
			SR_XF_LOG(NOTICE, "the backend maps %zu of the pool's %u pages\n", pages,
				  p->pool->size);
	}
}

int sr_xf_adopt_pool(struct sr_xf *xf, struct rte_mempool *pool)
{
	struct rte_pktmbuf_pool_private *private = rte_mempool_get_priv(pool);
	struct sr_xf_pool *p;
	void *pages;
	int rc;

	for (p = xf->pools; p; p = p->next)
		if (p->pool == pool)
			return 0;
	if (private->flags)
		return -EINVAL;
	if (rte_mempool_avail_count(pool) != pool->size)
		return -EBUSY;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->shared = calloc(pool->size, sizeof(*p->shared));
	rc = p->shared ? sr_netfront_memory(xf->front, (size_t)pool->size * SR_NETFRONT_BUFFER_SIZE,
					    &pages)
		       : -ENOMEM;
	if (rc) {
		free(p->shared);
		free(p);
		return rc;
	}
	p->pool = pool;
	p->pages = pages;
	p->colours = colours(pool);
	private->flags = RTE_PKTMBUF_POOL_F_PINNED_EXT_BUF;
	rte_mempool_obj_iter(pool, move_data, p);
	p->next = xf->pools;
	xf->pools = p;
	if (xf->statics)
		map_statically(xf, p);
	return 0;
}

void sr_xf_free_pools(struct sr_xf *xf)
{
	while (xf->pools) {
		struct sr_xf_pool *p = xf->pools;

		xf->pools = p->next;
		free(p->shared);
		free(p);
	}
}
