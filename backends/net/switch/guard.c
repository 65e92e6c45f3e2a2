/* SPDX-License-Identifier: MIT */
#include "guard.h"

#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>

#define ARP_LEN           28u
#define ARP_SENDER        14u
#define IPV4_LEN          20u
#define IPV6_LEN          40u
#define NEIGHBOUR_ADVERT  136u
#define NEIGHBOUR_SOLICIT 135u
#define MLD_REPORT        131u
#define MLD2_REPORT       143u
#define ROUTER_SOLICIT    133u

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static bool known(const struct sr_member_address *addresses, unsigned count, bool v6,
		  const uint8_t *bytes)
{
	for (unsigned i = 0; i < count; i++)
		if (addresses[i].v6 == v6 && !memcmp(addresses[i].bytes, bytes, v6 ? 16 : 4))
			return true;
	return false;
}

static bool zero(const uint8_t *p, size_t len)
{
	while (len && *p == 0)
		p++, len--;
	return len == 0;
}

static bool arp_allowed(const struct sr_member_address *addresses, unsigned count, const uint8_t *p,
			size_t len)
{
	/* Of Ethernet and IPv4; there is no other that a guest here could need. */
	if (len < ARP_LEN || memcmp(p, "\0\1\10\0\6\4", 6))
		return false;
	return zero(p + ARP_SENDER, 4) || known(addresses, count, false, p + ARP_SENDER);
}

static bool ipv4_allowed(const struct sr_member_address *addresses, unsigned count,
			 const uint8_t *p, size_t len)
{
	size_t header;

	if (len < IPV4_LEN || p[0] >> 4 != 4)
		return false;
	if (known(addresses, count, false, p + 12))
		return true;
	/* A guest that asks for its address has none yet: DHCP, from port 68 to 67. */
	header = (size_t)(p[0] & 15) * 4;
	return zero(p + 12, 4) && p[9] == IPPROTO_UDP && header >= IPV4_LEN && len >= header + 4 &&
	       be16(p + header) == 68 && be16(p + header + 2) == 67;
}

/* Without an address, or with the one a guest gives itself on the link: only finding neighbours. */
static bool ipv6_allowed(const struct sr_member_address *addresses, unsigned count,
			 const uint8_t *p, size_t len)
{
	bool local, none;
	const uint8_t *icmp;
	uint8_t next;

	if (len < IPV6_LEN || p[0] >> 4 != 6)
		return false;
	local = p[8] == 0xfe && (p[9] & 0xc0) == 0x80;
	none = zero(p + 8, 16);
	if (!local && !none && !known(addresses, count, true, p + 8))
		return false;
	next = p[6];
	icmp = p + IPV6_LEN;
	len -= IPV6_LEN;
	/* Reports of multicast groups come behind a hop-by-hop header with a router alert. */
	if (next == IPPROTO_HOPOPTS) {
		size_t skip = len >= 2 ? ((size_t)icmp[1] + 1) * 8 : len;

		if (skip >= len)
			return !none && !local;
		next = icmp[0];
		icmp += skip;
		len -= skip;
	}
	/* What stands behind other headers, or in a later fragment, may be an advertisement: */
	if (next == IPPROTO_FRAGMENT || next == IPPROTO_DSTOPTS || next == IPPROTO_ROUTING ||
	    next == IPPROTO_HOPOPTS)
		return !none && (len < 1 || icmp[0] != IPPROTO_ICMPV6);
	if (next != IPPROTO_ICMPV6)
		return !none;
	if (len < 1)
		return false;
	if (icmp[0] == NEIGHBOUR_ADVERT)
		return len >= 24 && !none &&
		       ((icmp[8] == 0xfe && (icmp[9] & 0xc0) == 0x80) ||
			known(addresses, count, true, icmp + 8));
	return !none || icmp[0] == NEIGHBOUR_SOLICIT || icmp[0] == ROUTER_SOLICIT ||
	       icmp[0] == MLD_REPORT || icmp[0] == MLD2_REPORT;
}

bool sr_guard_allows(const struct sr_member_address *addresses, unsigned count,
		     const uint8_t *frame, size_t len)
{
	size_t at = 2 * RTE_ETHER_ADDR_LEN;

	for (unsigned tags = 0; len >= at + 2; tags++, at += RTE_VLAN_HLEN) {
		const uint8_t *p = frame + at + 2;

		switch (be16(frame + at)) {
		case RTE_ETHER_TYPE_ARP:
			return arp_allowed(addresses, count, p, len - at - 2);
		case RTE_ETHER_TYPE_IPV4:
			return ipv4_allowed(addresses, count, p, len - at - 2);
		case RTE_ETHER_TYPE_IPV6:
			return ipv6_allowed(addresses, count, p, len - at - 2);
		case RTE_ETHER_TYPE_VLAN:
		case RTE_ETHER_TYPE_QINQ:
			if (tags < 2)
				continue;
			return false;
		default:
			return false;
		}
	}
	return false;
}
