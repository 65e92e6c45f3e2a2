/* SPDX-License-Identifier: MIT */
/* DPDK's receive-side scaling, by the hash and the mapping of netif's control ring. */
#include "xenfront.h"

#include <errno.h>
#include <string.h>

#include <xen/xen.h>

#include <xen/grant_table.h>
#include <xen/io/netif.h>

#include <ethdev_driver.h>

static const struct {
	uint32_t type;
	uint64_t rss;
} types[] = {
	{ XEN_NETIF_CTRL_HASH_TYPE_IPV4,
	  RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER },
	{ XEN_NETIF_CTRL_HASH_TYPE_IPV4_TCP, RTE_ETH_RSS_NONFRAG_IPV4_TCP },
	{ XEN_NETIF_CTRL_HASH_TYPE_IPV6,
	  RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER },
	{ XEN_NETIF_CTRL_HASH_TYPE_IPV6_TCP, RTE_ETH_RSS_NONFRAG_IPV6_TCP },
};

uint64_t sr_xf_rss_types(uint32_t set)
{
	uint64_t rss = 0;

	for (size_t i = 0; i < RTE_DIM(types); i++)
		if (set & types[i].type)
			rss |= types[i].rss;
	return rss;
}

uint32_t sr_xf_hash_types(uint64_t rss)
{
	uint32_t set = 0;

	for (size_t i = 0; i < RTE_DIM(types); i++)
		if (rss & types[i].rss)
			set |= types[i].type;
	return set;
}

static int apply(struct sr_xf *xf)
{
	const struct sr_netfront_hash hash = { .types = xf->types,
					       .key = xf->key,
					       .key_length = sizeof(xf->key),
					       .mapping = xf->mapping,
					       .mapping_length = xf->mapping_length };

	return sr_netfront_hash(xf->front, &hash);
}

int sr_xf_rss_update(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf)
{
	struct sr_xf *xf = dev->data->dev_private;

	if (!xf->hash_types)
		return -ENOTSUP;
	if (conf->rss_key && conf->rss_key_len != sizeof(xf->key))
		return -EINVAL;
	if (conf->rss_key)
		memcpy(xf->key, conf->rss_key, sizeof(xf->key));
	xf->types = sr_xf_hash_types(conf->rss_hf) & xf->hash_types;
	return apply(xf);
}

int sr_xf_rss_get(struct rte_eth_dev *dev, struct rte_eth_rss_conf *conf)
{
	const struct sr_xf *xf = dev->data->dev_private;

	if (conf->rss_key && conf->rss_key_len >= sizeof(xf->key))
		memcpy(conf->rss_key, xf->key, sizeof(xf->key));
	conf->rss_key_len = sizeof(xf->key);
	conf->rss_hf = sr_xf_rss_types(xf->types);
	return 0;
}

int sr_xf_reta_update(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	struct sr_xf *xf = dev->data->dev_private;

	if (size != xf->mapping_length)
		return -EINVAL;
	for (unsigned i = 0; i < size; i++) {
		const struct rte_eth_rss_reta_entry64 *group = &reta[i / RTE_ETH_RETA_GROUP_SIZE];
		unsigned k = i % RTE_ETH_RETA_GROUP_SIZE;

		if (group->mask >> k & 1)
			xf->mapping[i] = group->reta[k];
	}
	return apply(xf);
}

int sr_xf_reta_query(struct rte_eth_dev *dev, struct rte_eth_rss_reta_entry64 *reta, uint16_t size)
{
	const struct sr_xf *xf = dev->data->dev_private;

	if (size != xf->mapping_length)
		return -EINVAL;
	for (unsigned i = 0; i < size; i++)
		reta[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] =
		    (uint16_t)xf->mapping[i];
	return 0;
}
