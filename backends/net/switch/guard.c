/* SPDX-License-Identifier: MIT */
#include "guard.h"

#include <netinet/in.h>
#include <string.h>

#include <rte_ether.h>

#define ARP_LEN           28u
#define ARP_SENDER        14u
#define IPV4_LEN          20u
#define IPV6_LEN          40u
#define FRAGMENT_LEN      8u
#define MAX_EXTENSIONS    8u
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

/* What an IPv6 packet carries, behind its extension headers. */
struct payload {
	uint8_t protocol;
	const uint8_t *p;
	size_t len;
	bool fragment; /* or the whole as one */
};

/* How long an extension header is that says it itself; 0: it is none of these, or not all there. */
static size_t extension(const struct payload *l)
{
	if (l->len < 2)
		return 0;
	switch (l->protocol) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
		return ((size_t)l->p[1] + 1) * 8;
	case IPPROTO_AH:
		return ((size_t)l->p[1] + 2) * 4;
	default:
		return 0;
	}
}

static bool is_extension(uint8_t protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_MH || protocol == IPPROTO_AH ||
	       protocol == IPPROTO_FRAGMENT;
}

/*
 * Goes behind the extension headers, as the receiver will. False: there are more of them than
 * anybody needs, or they end where nothing can be seen, in another fragment or segment.
 */
static bool find_payload(struct payload *l)
{
	for (unsigned i = 0; i <= MAX_EXTENSIONS; i++) {
		size_t skip = FRAGMENT_LEN;

		if (!is_extension(l->protocol))
			return true;
		if (l->protocol != IPPROTO_FRAGMENT)
			skip = extension(l);
		if (!skip || l->len < skip)
			return false;
		if (l->protocol == IPPROTO_FRAGMENT) {
			l->fragment = true;
			/* Of a later one only this is known. */
			if (be16(l->p + 2) & 0xfff8) {
				l->protocol = l->p[0];
				return !is_extension(l->protocol);
			}
		}
		l->protocol = l->p[0];
		l->p += skip;
		l->len -= skip;
	}
	return false;
}

/* Without an address, or with the one a guest gives itself on the link: only finding neighbours. */
static bool ipv6_allowed(const struct sr_member_address *addresses, unsigned count,
			 const uint8_t *p, size_t len)
{
	struct payload l = { .p = p + IPV6_LEN };
	bool local, none;

	if (len < IPV6_LEN || p[0] >> 4 != 6)
		return false;
	local = p[8] == 0xfe && (p[9] & 0xc0) == 0x80;
	none = zero(p + 8, 16);
	if (!local && !none && !known(addresses, count, true, p + 8))
		return false;
	l.protocol = p[6];
	l.len = len - IPV6_LEN;
	if (!find_payload(&l))
		return false;
	if (l.protocol != IPPROTO_ICMPV6)
		return !none;
	/* In a later fragment of it there may be an advertisement. */
	if (l.fragment || l.len < 1)
		return false;
	if (l.p[0] == NEIGHBOUR_ADVERT)
		return l.len >= 24 && !none &&
		       ((l.p[8] == 0xfe && (l.p[9] & 0xc0) == 0x80) ||
			known(addresses, count, true, l.p + 8));
	return !none || l.p[0] == NEIGHBOUR_SOLICIT || l.p[0] == ROUTER_SOLICIT ||
	       l.p[0] == MLD_REPORT || l.p[0] == MLD2_REPORT;
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
