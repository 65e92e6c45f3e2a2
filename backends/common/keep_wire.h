/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_KEEP_WIRE_H
#define SR_COMMON_KEEP_WIRE_H

/*
 * What a keep and its keeper say to each other: one packet each, the keep asks, the keeper answers.
 * The keeper trusts its daemon no further than that it checks each packet's size and name: it
 * outlives daemons, so nothing that one sends may end it.
 */

#include <stdint.h>

#include <common/keep.h>

enum sr_keep_message_type {
	SR_KEEP_STORE, /* with a descriptor */
	SR_KEEP_DROP,
	SR_KEEP_FETCH, /* number `index` */
	SR_KEEP_DONE, /* answer: `error`; of a FETCH with name and descriptor, -ENOENT at the end */
};

struct sr_keep_message {
	uint32_t type;
	int32_t error;
	uint32_t index;
	char name[SR_KEEP_NAME_MAX + 1];
};

/* Blocks if the socket does. fd: -1 for none. 0 or -errno. */
int sr_keep_send(int socket, const struct sr_keep_message *msg, int fd);
/*
 * *fd is the caller's, -1 if none came. -EAGAIN: nothing there; -EPIPE: the other end is gone;
 * -EPROTO: no packet of ours, or a name that is none.
 */
int sr_keep_receive(int socket, struct sr_keep_message *msg, int *fd);

/* Is this a name that the contract allows? */
int sr_keep_name_check(const char *name);

/* A set of named descriptors that it owns. Zeroed is empty. */
struct sr_keep_set {
	struct sr_keep_item {
		char name[SR_KEEP_NAME_MAX + 1];
		int fd;
	} * items;
	size_t count, size;
};

void sr_keep_set_clear(struct sr_keep_set *set);
/* NULL: not there. Valid until the set changes. */
struct sr_keep_item *sr_keep_set_find(const struct sr_keep_set *set, const char *name);
/* Takes the descriptor, unless it fails; one of the same name is replaced and closed. */
int sr_keep_set_put(struct sr_keep_set *set, const char *name, int fd);
int sr_keep_set_remove(struct sr_keep_set *set, const char *name);

#endif
