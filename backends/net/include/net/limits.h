/* SPDX-License-Identifier: MIT */
#ifndef SR_NET_LIMITS_H
#define SR_NET_LIMITS_H

/* What a guest may ask of one vif. */

#define SR_NET_MAX_QUEUES   16u
#define SR_NET_MAX_PACKET   65535u
#define SR_NET_MIN_PACKET   14u   /* an Ethernet header */
#define SR_NET_MAX_SLOTS    18u   /* of a tx packet: that many are taken for sure */
#define SR_NET_FATAL_SLOTS  20u   /* beyond this the vif is stopped */
#define SR_NET_MAX_EXTRAS   8u    /* of a packet; beyond this the vif is stopped */
#define SR_NET_MAX_HEADROOM 1024u /* bytes left free in each page of rx */
#define SR_NET_MULTICAST    64u   /* groups */
#define SR_NET_HASH_KEY     40u   /* bytes */
#define SR_NET_HASH_MAPPING 128u  /* entries */
#define SR_NET_GREFS        1024u /* static mappings of a queue */
#define SR_NET_GREF_TABLE   2048u /* places for them */

#endif
