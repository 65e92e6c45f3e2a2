/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_GUARD_H
#define SR_NET_GUARD_H

/*
 * What a guest may send from: anti-spoofing by IP address. Of a frame the first segment is read,
 * and nothing beyond what is there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <net/switch.h>

/*
 * Is the source of these first `len` bytes of a frame one of the addresses? IPv4, and the sender in
 * ARP (0.0.0.0, as when an address is probed, is nobody's); IPv6, the target that a neighbour
 * advertisement claims, link-local addresses, and :: for the search for duplicates; DHCP requests
 * from 0.0.0.0. Up to two VLAN tags are looked behind. What is neither of these is refused.
 */
bool sr_guard_allows(const struct sr_member_address *addresses, unsigned count,
		     const uint8_t *frame, size_t len);

#endif
