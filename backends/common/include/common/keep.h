/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_KEEP_H
#define SR_COMMON_KEEP_H

/*
 * Memory that outlives the daemon. What a queue needs to go on after its process was killed lies
 * in a memfd; somebody else has to hold on to that memfd meanwhile:
 *
 *   keeper   a supervisor process that started the daemon, over a socket. Both ends are here.
 *   systemd  its store of file descriptors (FileDescriptorStoreMax= in the unit).
 *   private  nobody: for tests, and where recovery is not wanted.
 *
 * Names are [A-Za-z0-9._-], up to SR_KEEP_NAME_MAX bytes.
 * Threads: a keep belongs to one thread at a time. Errors: 0 or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SR_KEEP_NAME_MAX 63u

/* How a device's record begins: the memory by which another process goes on with its connection. */
struct sr_record_head {
	uint64_t magic; /* of the kind of device */
	uint32_t version;
	uint32_t connected; /* 1: the rest is valid, and the guest may have sent requests */
};

struct sr_keep;

/*
 * Keeps memfds through the keeper at the other end of `fd`, a connected SOCK_SEQPACKET socket, that
 * becomes the keep's own. What the keeper has kept from an earlier process is fetched at once.
 */
int sr_keep_open_keeper(int fd, struct sr_keep **keep);

/*
 * Keeps memfds in systemd's store: $NOTIFY_SOCKET to add and drop, $LISTEN_FDS and $LISTEN_FDNAMES
 * for what was kept. Those variables are unset. -ENOENT: not started by systemd with a notify
 * socket. Descriptors in $LISTEN_FDS that are not ours (sockets, other names) are left alone.
 */
int sr_keep_open_systemd(struct sr_keep **keep);

/* Keeps nothing beyond this process. */
int sr_keep_open_private(struct sr_keep **keep);

/* Closes this process' descriptors; what is kept stays kept. NULL is allowed. */
void sr_keep_close(struct sr_keep *keep);

/* True where memory survives this process. */
bool sr_keep_survives(const struct sr_keep *keep);

/*
 * The memfd of that name, of at least `size` bytes; made, zeroed and kept if there is none, or if
 * the one there is has another size: *created says so. *fd is the keep's: mmap() it, do not close
 * it.
 */
int sr_keep_get(struct sr_keep *keep, const char *name, size_t size, int *fd, bool *created);

/* The memfd of that name only if it is kept already, and its size. -ENOENT. */
int sr_keep_find(struct sr_keep *keep, const char *name, int *fd, size_t *size);

/* Forgets it. A mapping of it stays valid. -ENOENT. */
int sr_keep_drop(struct sr_keep *keep, const char *name);

/* The names that are kept: calls fn for each; fn may drop the one it is called with. */
void sr_keep_each(struct sr_keep *keep, void (*fn)(void *ctx, const char *name), void *ctx);

/* --- the supervisor's end --------------------------------------------------------------------- */

struct sr_keeper;

int sr_keeper_new(struct sr_keeper **keeper);
/* Closes all: what was kept is gone. NULL is allowed. */
void sr_keeper_free(struct sr_keeper *keeper);

/*
 * A new connection: *fd is the child's end, close-on-exec, for it to give to
 * sr_keep_open_keeper(). Hand it over by dup2() or by clearing that flag between fork and exec,
 * and close it in the parent. An earlier connection is closed: there is one daemon at a time.
 */
int sr_keeper_connect(struct sr_keeper *keeper, int *fd);

/* To poll for POLLIN; it changes with sr_keeper_connect(). -1 while nobody is connected. */
int sr_keeper_fd(const struct sr_keeper *keeper);

/*
 * Answers what has come, never blocks. 0; -EPIPE: the daemon has gone, which is no error for the
 * keeper: what it kept stays, connect again for the next one.
 */
int sr_keeper_process(struct sr_keeper *keeper);

/*
 * For a supervisor that becomes another program by exec: *fd is a list of what is kept, and neither
 * it nor what it names is closed by exec any more. The keeper stays usable, should the exec fail.
 */
int sr_keeper_save(struct sr_keeper *keeper, int *fd);

/* In that program: a keeper that keeps what the list names. Takes fd. -EPROTO: it is no list. */
int sr_keeper_restore(int fd, struct sr_keeper **keeper);

/* How many memfds are kept now. */
size_t sr_keeper_count(const struct sr_keeper *keeper);

#endif
