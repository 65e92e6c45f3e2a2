/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_NODES_H
#define SR_COMMON_NODES_H

/*
 * Reading what a frontend has written, for a negotiation that is a pure function of its nodes. Each
 * of them is whatever the guest wrote; what is wrong with one is told in a line that names it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Event channel ports of either ABI lie below this. */
#define SR_NODES_MAX_PORT 131071u
/* How much of a guest's text a line repeats. */
#define SR_NODES_SHOWN "%.40s"

struct sr_nodes {
	/*
	 * The node `key` below the frontend's directory, "queue-0/ring-ref" or so; NULL: there is
	 * none. What it returns is used before it is called again.
	 */
	const char *(*get)(void *ctx, const char *key);
	void *ctx;
	char *error; /* where the line goes */
	size_t error_size;
};

/* Writes the line. Returns -EINVAL. */
__attribute__((format(printf, 2, 3))) int sr_nodes_fail(const struct sr_nodes *nodes,
							const char *format, ...);
/* A number up to `max` that may be missing: *value is `fallback` then. -EINVAL and a line. */
int sr_nodes_get(const struct sr_nodes *nodes, const char *key, uint64_t max, uint64_t fallback,
		 uint64_t *value);
/* The number in `dir``name` ("queue-0/", "ring-ref"), which must be there. -EINVAL and a line. */
int sr_nodes_need(const struct sr_nodes *nodes, const char *dir, const char *name, uint64_t max,
		  uint32_t *value);
bool sr_nodes_has(const struct sr_nodes *nodes, const char *dir, const char *name);
/* A node that is 1; what is neither 0 nor 1 counts as missing. */
bool sr_nodes_flag(const struct sr_nodes *nodes, const char *key);

#endif
