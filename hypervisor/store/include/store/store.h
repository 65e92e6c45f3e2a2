/* SPDX-License-Identifier: MIT */
/*
 * An embedded xenstore: the tree, its transactions, watches, permissions and quotas, spoken to
 * with the wire protocol of <xen/io/xs_wire.h> over unix stream sockets, so that libxenstore and
 * xenstore-utils work on it as they are (XENSTORED_PATH=<socket>).
 *
 * A store belongs to one thread, which runs it from its own poll loop:
 *
 *	poll on sr_store_fd(); when it is readable, call sr_store_process().
 *
 * Nothing here blocks. All functions return 0 or -errno unless they say otherwise.
 *
 * Who a client is follows from the socket that it came through: each listening socket stands for
 * one domain. Domain 0 is privileged: it passes every permission check and has no quota. Any
 * other domain is taken for hostile: all that it sends is checked, all that it makes the store
 * keep is bounded by struct sr_store_limits, and its nonsense costs nobody but itself.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

struct sr_store;

/*
 * What one unprivileged domain may use. A field of 0 means the default, which is in brackets.
 * Where a limit is reached the request fails as it does with xenstored: ENOSPC, and E2BIG for
 * watches.
 */
struct sr_store_limits {
	uint32_t nodes;             /* nodes owned [1000] */
	uint32_t watches;           /* watches, over all its connections [128] */
	uint32_t transactions;      /* open at once, over all its connections [10] */
	uint32_t transaction_bytes; /* what one transaction makes the store remember [512 KiB] */
	uint32_t node_size;         /* bytes in a value [2048] */
	uint32_t permissions;       /* entries in a node's permission list [5] */
	uint32_t requests;    /* replies not taken yet; above it no more requests are read [20] */
	uint32_t connections; /* more are closed as they come [32] */
	/*
	 * Output queued for one connection, of any domain, in bytes [256 KiB; at least 16 KiB].
	 * Above it a client that takes no output gets no more replies (its requests are not read)
	 * and its watch events are merged: once it reads again, each watch that missed events
	 * fires once, with the path being watched. So an event's path can be the watch's own
	 * path: rescan the subtree then.
	 */
	uint32_t output_bytes;
};

/*
 * A new store: "/" alone, owned by domain 0 and closed to all others. 'limits' may be NULL
 * (defaults); it is copied.
 */
int sr_store_new(const struct sr_store_limits *limits, struct sr_store **store);

/* Closes all connections, removes the sockets that sr_store_listen() made. NULL is fine. */
void sr_store_free(struct sr_store *store);

/* The fd to poll on for POLLIN. It stays the store's. */
int sr_store_fd(const struct sr_store *store);

/*
 * Does a bounded piece of what is ready: a few requests a client. The fd stays readable while
 * there is more, so that clients take turns and the caller's other work is not starved. Returns
 * -errno only where the poll itself fails.
 */
int sr_store_process(struct sr_store *store);

/*
 * Listens on a unix socket (mode 0600) at 'path'; who connects is domain 'domid'. A socket left
 * behind by a process that is gone is replaced; one that is alive gives -EADDRINUSE. One socket a
 * domain: a second one gives -EEXIST. The socket file is removed by sr_store_unlisten(), by the
 * domain's release and by sr_store_free().
 */
int sr_store_listen(struct sr_store *store, const char *path, uint16_t domid);

/* Connections made already stay. -ENOENT where the domain has no socket. */
int sr_store_unlisten(struct sr_store *store, uint16_t domid);

/*
 * Serves a connected stream socket as domain 'domid'. The store owns the fd from then on; where
 * this fails the fd stays the caller's.
 */
int sr_store_add_client(struct sr_store *store, int fd, uint16_t domid);

/*
 * The domain exists from now on: @introduceDomain fires. -EEXIST where it was introduced before.
 * Domain 0 is introduced from the start. A domain need not be introduced to be listened for.
 */
int sr_store_introduce(struct sr_store *store, uint16_t domid);

/*
 * The domain is gone: its socket, connections, watches and transactions go; so do the nodes it
 * owns, with what is below them, and its entries in other nodes' permissions (a later domain with
 * the same number inherits nothing). Watches of others fire for these nodes, then
 * @releaseDomain. Works for a domain that was never introduced as well, then without
 * @releaseDomain. -EINVAL for domain 0.
 */
int sr_store_release(struct sr_store *store, uint16_t domid);

/*
 * Operations of the owning process itself, as domain 0. Paths are absolute. They take effect at
 * once, outside of any transaction, and fire watches.
 */

/* Creates missing parents, as XS_WRITE does. 'value' may hold any bytes. */
int sr_store_write(struct sr_store *store, const char *path, const void *value, size_t len);

/* sr_store_write() of a formatted string, without its final nul. */
__attribute__((format(printf, 3, 4))) int sr_store_printf(struct sr_store *store, const char *path,
							  const char *format, ...);

/*
 * The value, followed by a nul that 'len' does not count; the caller frees it. 'len' may be NULL.
 * -ENOENT.
 */
int sr_store_read(struct sr_store *store, const char *path, char **value, size_t *len);

/* Creates the node and missing parents with empty values; a node that is there stays as it is. */
int sr_store_mkdir(struct sr_store *store, const char *path);

/* Removes the node and all below it. A missing node is fine if its parent is there: else -ENOENT.
 */
int sr_store_rm(struct sr_store *store, const char *path);

/* One entry of a node's permissions. The first one names the owner and what all others may do. */
struct sr_store_perm {
	uint16_t domid;
	char access; /* 'n' none, 'r' read, 'w' write, 'b' both, as on the wire */
};

/* Replaces the permissions of a node that is there. 'count' is 1 or more. */
int sr_store_set_perms(struct sr_store *store, const char *path, const struct sr_store_perm *perms,
		       size_t count);

/* How much a domain uses now, or the whole store. */
struct sr_store_usage {
	size_t nodes;
	size_t watches;
	size_t transactions;
	size_t connections;
};

/* Zeroes for a domain that the store knows nothing of. */
void sr_store_domain_usage(const struct sr_store *store, uint16_t domid,
			   struct sr_store_usage *usage);
void sr_store_total_usage(const struct sr_store *store, struct sr_store_usage *usage);

/*
 * Walks everything and compares it with the accounts: -EUCLEAN where they differ. Costs the size
 * of the tree. For tests, and for XS_CONTROL "check".
 */
int sr_store_check(struct sr_store *store);

#endif
