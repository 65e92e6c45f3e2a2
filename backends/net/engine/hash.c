/* SPDX-License-Identifier: MIT */
/*
 * The Toeplitz hash that a guest sets up by its control ring (<xen/io/netif.h>), and the choice of
 * its queue for a packet. A table says for each nibble of the input what the key contributes, so
 * that the longest input takes 72 look-ups.
 */
#include <netinet/in.h>

#include <net/packet.h>

#include "engine.h"

_Static_assert(SR_NET_HASH_KEY >= SR_NET_HASH_INPUT + 4, "the key's window reaches the last bit");

/* The 32 bits of the key that begin with bit `bit`. */
static uint32_t window(const uint8_t *key, unsigned bit)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 5; i++) {
		unsigned at = bit / 8 + i;

		v = v << 8 |
		    (at < SR_NET_HASH_KEY ? __atomic_load_n(&key[at], __ATOMIC_RELAXED) : 0u);
	}
	return (uint32_t)(v >> (8 - bit % 8));
}

void sr_hash_build(struct sr_netif *n)
{
	for (unsigned nibble = 0; nibble < SR_NET_HASH_INPUT * 2; nibble++)
		for (unsigned value = 0; value < 16; value++) {
			uint32_t h = 0;

			for (unsigned bit = 0; bit < 4; bit++)
				if (value & 8u >> bit)
					h ^= window(n->rec->hash_key, nibble * 4 + bit);
			__atomic_store_n(&n->hash_tables[nibble][value], h, __ATOMIC_RELAXED);
		}
}

uint32_t sr_hash_bytes(const struct sr_netif *n, const uint8_t *p, unsigned len)
{
	uint32_t h = 0;

	for (unsigned i = 0; i < len; i++) {
		h ^= __atomic_load_n(&n->hash_tables[2 * i][p[i] >> 4], __ATOMIC_RELAXED);
		h ^= __atomic_load_n(&n->hash_tables[2 * i + 1][p[i] & 15], __ATOMIC_RELAXED);
	}
	return h;
}

/* Addresses, and ports if `ports`, as they follow each other: bytes of input. 0: no IP. */
static unsigned gather(const struct rte_mbuf *pkt, struct sr_net_headers *h, bool *ports,
		       uint8_t input[SR_NET_HASH_INPUT])
{
	uint32_t size = pkt->pkt_len < SR_NET_HEADERS ? pkt->pkt_len : SR_NET_HEADERS;
	uint8_t copy[SR_NET_HEADERS];
	const uint8_t *p = rte_pktmbuf_read(pkt, 0, size, copy);
	unsigned len;

	if (sr_net_parse(p, size, pkt->pkt_len, h) || !h->ip)
		return 0;
	len = h->ip == 4 ? 8 : 32;
	memcpy(input, p + h->l2_len + (h->ip == 4 ? 12 : 8), len);
	*ports = h->l4_complete;
	if (h->l4_complete)
		memcpy(input + len, p + h->l2_len + h->l3_len, 4);
	return len;
}

bool sr_hash_packet(const struct sr_netif *n, const struct rte_mbuf *pkt, uint32_t *hash,
		    uint8_t *type)
{
	uint32_t flags = __atomic_load_n(&n->rec->hash_flags, __ATOMIC_RELAXED);
	uint8_t input[SR_NET_HASH_INPUT];
	struct sr_net_headers h;
	bool ports = false;
	unsigned len = flags ? gather(pkt, &h, &ports, input) : 0;
	unsigned plain, tcp;

	*hash = 0;
	if (!len)
		return false;
	plain = h.ip == 4 ? _XEN_NETIF_CTRL_HASH_TYPE_IPV4 : _XEN_NETIF_CTRL_HASH_TYPE_IPV6;
	tcp = h.ip == 4 ? _XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP : _XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP;
	if (ports && h.protocol == IPPROTO_TCP && (flags & 1u << tcp)) {
		*type = (uint8_t)tcp;
		len += 4;
	} else if (flags & 1u << plain) {
		*type = (uint8_t)plain;
	} else {
		return false;
	}
	*hash = sr_hash_bytes(n, input, len);
	return true;
}

/* Without the guest's own: packets of a connection stay together, that's all. */
static uint32_t mix(const uint8_t *p, unsigned len)
{
	uint32_t h = 0x811c9dc5u;

	for (unsigned i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x01000193u;
	return h ^ h >> 16;
}

static uint32_t any_hash(const struct rte_mbuf *pkt)
{
	uint8_t input[SR_NET_HASH_INPUT];
	struct sr_net_headers h;
	bool ports = false;
	unsigned len;

	if (pkt->ol_flags & RTE_MBUF_F_RX_RSS_HASH)
		return pkt->hash.rss;
	len = gather(pkt, &h, &ports, input);
	if (len)
		return mix(input, ports ? len + 4 : len);
	return pkt->data_len >= 12 ? mix(rte_pktmbuf_mtod(pkt, const uint8_t *), 12) : 0;
}

unsigned sr_netif_pick_queue(const struct sr_netif *n, const struct rte_mbuf *pkt)
{
	uint32_t hash, size, queue;
	uint8_t type;

	if (n->set.queues == 1)
		return 0;
	if (!sr_netif_hashes(n) || !__atomic_load_n(&n->rec->hash_flags, __ATOMIC_RELAXED))
		return any_hash(pkt) % n->set.queues;
	sr_hash_packet(n, pkt, &hash, &type);
	size = __atomic_load_n(&n->rec->hash_mapping_size, __ATOMIC_RELAXED);
	if (!size)
		return hash % n->set.queues;
	/* The guest's entries were checked when they were set. */
	queue = __atomic_load_n(&n->rec->hash_mapping[hash % size], __ATOMIC_RELAXED);
	return queue;
}
