/* SPDX-License-Identifier: MIT */
#include "guest_net.h"

#include <netinet/in.h>
#include <string.h>

/*
 * virtio's header, which TAPs use, names the place of a blank checksum; netif leaves it to be found
 * in the packet. So into netif is easy, and out of it means to look for the transport header.
 */

#define ETHERNET 14u

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Where the network header begins and of which type it is; false: not within `length`. */
static bool network(const uint8_t *data, uint32_t length, uint32_t *at, uint16_t *type)
{
	*at = ETHERNET;
	if (length < ETHERNET)
		return false;
	*type = load16(data + 12);
	while (*type == 0x8100 || *type == 0x88a8) {
		if (length < *at + 4)
			return false;
		*type = load16(data + *at + 2);
		*at += 4;
	}
	return true;
}

/* The same of the transport header, behind IPv4 options or IPv6 extension headers. */
static bool transport(const uint8_t *data, uint32_t length, uint32_t *at, uint8_t *protocol)
{
	uint16_t type;

	if (!network(data, length, at, &type))
		return false;
	if (type == 0x0800) {
		if (length < *at + 20)
			return false;
		*protocol = data[*at + 9];
		*at += (data[*at] & 15u) * 4u;
		return true;
	}
	if (type != 0x86dd || length < *at + 40)
		return false;
	*protocol = data[*at + 6];
	*at += 40;
	while (*protocol == IPPROTO_HOPOPTS || *protocol == IPPROTO_ROUTING ||
	       *protocol == IPPROTO_DSTOPTS) {
		if (length < *at + 8)
			return false;
		*protocol = data[*at];
		*at += (data[*at + 1] + 1u) * 8u;
	}
	return true;
}

/* Fills in the checksum that virtio's header says is blank. */
static bool fill_in(const struct virtio_net_hdr *hdr, uint8_t *data, uint32_t length)
{
	uint32_t at = (uint32_t)hdr->csum_start + hdr->csum_offset;
	uint64_t sum = 0;
	uint16_t v;

	if (length < 2 || at > length - 2 || hdr->csum_start > length)
		return false;
	for (uint32_t i = hdr->csum_start; i + 1 < length; i += 2)
		sum += load16(data + i);
	if ((length - hdr->csum_start) % 2)
		sum += (uint32_t)data[length - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	v = (uint16_t)~sum;
	/* 0 would mean: none. */
	if (!v)
		v = 0xffff;
	data[at] = (uint8_t)(v >> 8);
	data[at + 1] = (uint8_t)v;
	return true;
}

bool guest_net_to_netif(const struct sr_netfront_info *info, const struct virtio_net_hdr *hdr,
			uint8_t *data, uint32_t length, struct sr_netfront_tx *packet)
{
	unsigned gso = hdr->gso_type & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN;
	uint16_t type = 0;
	uint32_t at;
	bool can;

	if (gso == VIRTIO_NET_HDR_GSO_TCPV4)
		packet->flags |= SR_NETFRONT_GSO4;
	else if (gso == VIRTIO_NET_HDR_GSO_TCPV6)
		packet->flags |= SR_NETFRONT_GSO6;
	else if (gso != VIRTIO_NET_HDR_GSO_NONE)
		return false;
	packet->gso_size = hdr->gso_size;
	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return true;
	(void)network(data, length, &at, &type);
	/* TCP and UDP over IP are what a backend finds the place for. */
	can = (type == 0x0800 && info->tx.csum4) || (type == 0x86dd && info->tx.csum6);
	if (!can || (hdr->csum_offset != 16 && hdr->csum_offset != 6))
		return gso == VIRTIO_NET_HDR_GSO_NONE && fill_in(hdr, data, length);
	packet->flags |= SR_NETFRONT_CSUM_BLANK;
	return true;
}

void guest_net_from_netif(const struct sr_netfront_rx *packet, const uint8_t *head,
			  uint32_t head_length, struct virtio_net_hdr *hdr)
{
	unsigned gso = packet->flags & (SR_NETFRONT_GSO4 | SR_NETFRONT_GSO6);
	uint8_t protocol = 0;
	uint32_t at;
	bool found;

	memset(hdr, 0, sizeof(*hdr));
	if (!(packet->flags & SR_NETFRONT_CSUM_BLANK)) {
		if (packet->flags & SR_NETFRONT_CSUM_VALID)
			hdr->flags = VIRTIO_NET_HDR_F_DATA_VALID;
		return;
	}
	found = transport(head, head_length, &at, &protocol) &&
		(protocol == IPPROTO_TCP || protocol == IPPROTO_UDP) && at + 8 <= packet->length;
	/* What we don't understand the stack will drop for its checksum. */
	if (!found)
		return;
	hdr->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	hdr->csum_start = (uint16_t)at;
	hdr->csum_offset = protocol == IPPROTO_TCP ? 16 : 6;
	if (!gso || protocol != IPPROTO_TCP || at + 20 > head_length)
		return;
	hdr->gso_type =
	    gso == SR_NETFRONT_GSO4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	hdr->gso_size = packet->gso_size;
	hdr->hdr_len = (uint16_t)(at + (head[at + 12] >> 4) * 4u);
}
