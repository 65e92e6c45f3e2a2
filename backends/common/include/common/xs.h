/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_XS_H
#define SR_COMMON_XS_H

/*
 * Reading and writing xenstore nodes as a backend needs it, over libxenstore. Every function takes
 * a directory and a key below it ("" for the directory itself); paths that are too long are
 * -ENAMETOOLONG. One thread at a time for each connection.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xenstore.h>

#define SR_XS_PATH_MAX 512u

/* The value as a string that the caller frees; a nul within ends it. -ENOENT. */
int sr_xs_get(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key,
	      char **value);
/* A decimal number up to `max`. -ENOENT: no such node; -EINVAL: not such a number. */
int sr_xs_get_u64(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key,
		  uint64_t max, uint64_t *value);
__attribute__((format(printf, 5, 6))) int sr_xs_put(struct xs_handle *xs, xs_transaction_t t,
						    const char *dir, const char *key,
						    const char *format, ...);
/* It need not be there. */
int sr_xs_remove(struct xs_handle *xs, xs_transaction_t t, const char *dir, const char *key);
/* "Joins" the two. */
int sr_xs_path(char *path, size_t size, const char *dir, const char *key);

/*
 * Calls fn within a transaction until it neither fails nor conflicts with another one, but not for
 * ever: -EAGAIN after many conflicts. fn may run several times; -errno of it aborts.
 */
int sr_xs_transact(struct xs_handle *xs,
		   int (*fn)(struct xs_handle *xs, xs_transaction_t t, void *arg), void *arg);

/* A decimal number without sign, blanks or anything behind it, up to `max`. -EINVAL. */
int sr_parse_u64(const char *text, uint64_t max, uint64_t *value);

#endif
