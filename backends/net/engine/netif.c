/* SPDX-License-Identifier: MIT */
/* What the queues of a vif share, but for the control ring. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_pause.h>

#include "engine.h"

#define MULTICAST_USED (1ull << 48)

static bool record_is_sane(const struct sr_netif_record *r, unsigned queues)
{
	const uint32_t types = XEN_NETIF_CTRL_HASH_TYPE_IPV4 | XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP |
			       XEN_NETIF_CTRL_HASH_TYPE_IPV6 | XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP;

	if (r->hash_algorithm > XEN_NETIF_CTRL_HASH_ALGORITHM_TOEPLITZ ||
	    (r->hash_flags & ~types) || r->hash_mapping_size > SR_NET_HASH_MAPPING)
		return false;
	for (unsigned i = 0; i < SR_NET_HASH_MAPPING; i++)
		if (r->hash_mapping[i] >= queues)
			return false;
	return true;
}

int sr_netif_new(const struct sr_netif_setup *setup, struct sr_netif **netif)
{
	struct sr_netif *n;

	if (!setup->queues || setup->queues > SR_NET_MAX_QUEUES ||
	    setup->headroom > SR_NET_MAX_HEADROOM)
		return -EINVAL;
	if (setup->resume && setup->record && !record_is_sane(setup->record, setup->queues))
		return -EINVAL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->set = *setup;
	if (setup->log)
		n->log = *setup->log;
	n->rec = setup->record ? setup->record : &n->own;
	n->headroom = setup->headroom;
	n->multicast_filter = setup->multicast_filter;
	sr_hash_build(n);
	*netif = n;
	return 0;
}

void sr_netif_free(struct sr_netif *netif)
{
	free(netif);
}

/* --- multicast ----------------------------------------------------------------------------------
 */

static uint64_t word_of(const uint8_t addr[6])
{
	uint64_t w = 0;

	memcpy(&w, addr, 6);
	return w | MULTICAST_USED;
}

static uint64_t *find(struct sr_netif_record *r, uint64_t word)
{
	for (unsigned i = 0; i < SR_NET_MULTICAST; i++)
		if (__atomic_load_n(&r->multicast[i], __ATOMIC_RELAXED) == word)
			return &r->multicast[i];
	return NULL;
}

/* Two queues may get messages at once; a look-up takes no lock. */
static void lock(struct sr_netif *n)
{
	while (__atomic_exchange_n(&n->change_lock, 1, __ATOMIC_ACQUIRE))
		rte_pause();
}

static void unlock(struct sr_netif *n)
{
	__atomic_store_n(&n->change_lock, 0, __ATOMIC_RELEASE);
}

int sr_netif_multicast_add(struct sr_netif *n, const uint8_t addr[6])
{
	uint64_t word = word_of(addr), *place;
	int rc = 0;

	if (!(addr[0] & 1))
		return -EINVAL;
	lock(n);
	place = find(n->rec, word);
	if (!place) {
		place = find(n->rec, 0);
		if (place)
			__atomic_store_n(place, word, __ATOMIC_RELAXED);
		else
			rc = -ENOSPC;
	}
	unlock(n);
	return rc;
}

int sr_netif_multicast_del(struct sr_netif *n, const uint8_t addr[6])
{
	uint64_t *place;

	lock(n);
	place = find(n->rec, word_of(addr));
	if (place)
		__atomic_store_n(place, 0, __ATOMIC_RELAXED);
	unlock(n);
	return place ? 0 : -ENOENT;
}

bool sr_netif_wants(const struct sr_netif *netif, const struct rte_ether_addr *to)
{
	if (!rte_is_multicast_ether_addr(to) || rte_is_broadcast_ether_addr(to) ||
	    !__atomic_load_n(&netif->multicast_filter, __ATOMIC_RELAXED))
		return true;
	return find(netif->rec, word_of(to->addr_bytes)) != NULL;
}

void sr_netif_set_multicast_filter(struct sr_netif *netif, bool on)
{
	__atomic_store_n(&netif->multicast_filter, on, __ATOMIC_RELAXED);
}

/* --- headroom -----------------------------------------------------------------------------------
 */

int sr_netif_set_headroom(struct sr_netif *netif, unsigned headroom)
{
	if (headroom > SR_NET_MAX_HEADROOM)
		return -EINVAL;
	__atomic_store_n(&netif->headroom, headroom, __ATOMIC_RELAXED);
	return 0;
}

unsigned sr_netif_headroom(const struct sr_netif *netif)
{
	return __atomic_load_n(&netif->headroom, __ATOMIC_RELAXED);
}
