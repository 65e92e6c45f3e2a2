/* SPDX-License-Identifier: MIT */
#include <common/keep.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "keep_wire.h"

/* How long a keeper may take. It does nothing slow; if it hangs, better an error than a hang. */
#define SR_KEEP_TIMEOUT_S 10
/* Ours among the names that systemd hands us. */
#define SR_KEEP_SYSTEMD_PREFIX "splitring-"
/* The first descriptor that systemd passes. */
#define SR_KEEP_SYSTEMD_FD 3

/* Who holds on to the descriptors. */
struct sr_keep_ops {
	int (*store)(struct sr_keep *keep, const char *name, int fd);
	int (*drop)(struct sr_keep *keep, const char *name);
	bool survives;
};

struct sr_keep {
	const struct sr_keep_ops *ops;
	struct sr_keep_set set;
	int socket; /* keeper, systemd; else -1 */
};

static int keep_new(const struct sr_keep_ops *ops, int socket, struct sr_keep **keep)
{
	struct sr_keep *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->ops = ops;
	k->socket = socket;
	*keep = k;
	return 0;
}

void sr_keep_close(struct sr_keep *k)
{
	if (!k)
		return;
	sr_keep_set_clear(&k->set);
	if (k->socket >= 0)
		close(k->socket);
	free(k);
}

bool sr_keep_survives(const struct sr_keep *k)
{
	return k->ops->survives;
}

/* --- private ---------------------------------------------------------------------------------- */

static int private_store(struct sr_keep *k, const char *name, int fd)
{
	return 0;
}

static int private_drop(struct sr_keep *k, const char *name)
{
	return 0;
}

int sr_keep_open_private(struct sr_keep **keep)
{
	static const struct sr_keep_ops ops = { private_store, private_drop, false };

	return keep_new(&ops, -1, keep);
}

/* --- keeper ----------------------------------------------------------------------------------- */

/* Asks and waits for the answer. `fd` is sent along, *answer_fd comes with the answer. */
static int ask(struct sr_keep *k, struct sr_keep_message *msg, int fd, int *answer_fd)
{
	int rc = sr_keep_send(k->socket, msg, fd);

	if (!rc)
		rc = sr_keep_receive(k->socket, msg, answer_fd);
	if (rc == -EAGAIN)
		rc = -ETIMEDOUT;
	if (!rc && msg->error && *answer_fd >= 0) {
		close(*answer_fd);
		*answer_fd = -1;
	}
	return rc ? rc : msg->error;
}

static int keeper_ask(struct sr_keep *k, enum sr_keep_message_type type, const char *name, int fd)
{
	struct sr_keep_message msg = { .type = (uint32_t)type };
	int answer_fd = -1, rc;

	snprintf(msg.name, sizeof(msg.name), "%s", name);
	rc = ask(k, &msg, fd, &answer_fd);
	if (answer_fd >= 0)
		close(answer_fd);
	return rc;
}

static int keeper_store(struct sr_keep *k, const char *name, int fd)
{
	return keeper_ask(k, SR_KEEP_STORE, name, fd);
}

static int keeper_drop(struct sr_keep *k, const char *name)
{
	return keeper_ask(k, SR_KEEP_DROP, name, -1);
}

static int keeper_fetch_all(struct sr_keep *k)
{
	for (uint32_t i = 0;; i++) {
		struct sr_keep_message msg = { .type = SR_KEEP_FETCH, .index = i };
		int fd = -1, rc;

		rc = ask(k, &msg, -1, &fd);
		if (rc == -ENOENT)
			return 0;
		if (!rc && (fd < 0 || sr_keep_name_check(msg.name)))
			rc = -EPROTO;
		if (!rc)
			rc = sr_keep_set_put(&k->set, msg.name, fd);
		if (rc) {
			if (fd >= 0)
				close(fd);
			return rc;
		}
	}
}

int sr_keep_open_keeper(int fd, struct sr_keep **keep)
{
	static const struct sr_keep_ops ops = { keeper_store, keeper_drop, true };
	struct timeval timeout = { .tv_sec = SR_KEEP_TIMEOUT_S };
	struct sr_keep *k;
	int rc;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)))
		return -errno;
	rc = keep_new(&ops, fd, &k);
	if (rc)
		return rc;
	rc = keeper_fetch_all(k);
	if (rc) {
		k->socket = -1; /* stays the caller's */
		sr_keep_close(k);
		return rc;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	*keep = k;
	return 0;
}

/* --- systemd ---------------------------------------------------------------------------------- */

static int systemd_tell(struct sr_keep *k, const char *what, const char *name, int fd)
{
	char text[SR_KEEP_NAME_MAX + 64];
	struct iovec iov = { .iov_base = text };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	iov.iov_len = (size_t)snprintf(text, sizeof(text),
				       "%s=1\nFDNAME=" SR_KEEP_SYSTEMD_PREFIX "%s", what, name);
	if (fd >= 0) {
		struct cmsghdr *c = &control.align;

		hdr.msg_control = control.bytes;
		hdr.msg_controllen = sizeof(control.bytes);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do
		n = sendmsg(k->socket, &hdr, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int systemd_store(struct sr_keep *k, const char *name, int fd)
{
	return systemd_tell(k, "FDSTORE", name, fd);
}

static int systemd_drop(struct sr_keep *k, const char *name)
{
	return systemd_tell(k, "FDSTOREREMOVE", name, -1);
}

static int systemd_connect(const char *path, int *out)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t len = strlen(path);
	int fd;

	if ((path[0] != '/' && path[0] != '@') || len >= sizeof(addr.sun_path))
		return -EINVAL;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = 0; /* the abstract namespace */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&addr,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len))) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

/* Takes from the descriptors that systemd passed those that are ours. */
static int systemd_adopt(struct sr_keep *k, unsigned count, char *names)
{
	size_t prefix = strlen(SR_KEEP_SYSTEMD_PREFIX);
	char *save = NULL, *name = strtok_r(names, ":", &save);

	for (unsigned i = 0; i < count && name; i++, name = strtok_r(NULL, ":", &save)) {
		int fd = SR_KEEP_SYSTEMD_FD + (int)i, rc;

		if (strncmp(name, SR_KEEP_SYSTEMD_PREFIX, prefix) ||
		    sr_keep_name_check(name + prefix))
			continue;
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		rc = sr_keep_set_put(&k->set, name + prefix, fd);
		if (rc)
			return rc;
	}
	return 0;
}

int sr_keep_open_systemd(struct sr_keep **keep)
{
	static const struct sr_keep_ops ops = { systemd_store, systemd_drop, true };
	const char *path = getenv("NOTIFY_SOCKET"), *pid = getenv("LISTEN_PID");
	const char *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	char *copy = NULL;
	struct sr_keep *k;
	int socket = -1, rc;

	if (!path)
		return -ENOENT;
	rc = systemd_connect(path, &socket);
	if (rc)
		return rc;
	rc = keep_new(&ops, socket, &k);
	if (rc) {
		close(socket);
		return rc;
	}
	if (fds && names && (!pid || strtol(pid, NULL, 10) == getpid())) {
		copy = strdup(names);
		rc = copy ? systemd_adopt(k, (unsigned)strtoul(fds, NULL, 10), copy) : -ENOMEM;
	}
	free(copy);
	if (rc) {
		sr_keep_close(k);
		return rc;
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	unsetenv("NOTIFY_SOCKET");
	*keep = k;
	return 0;
}

/* --- all of them ------------------------------------------------------------------------------ */

int sr_keep_find(struct sr_keep *k, const char *name, int *fd, size_t *size)
{
	struct sr_keep_item *item = sr_keep_set_find(&k->set, name);
	struct stat st;

	if (!item)
		return -ENOENT;
	if (fstat(item->fd, &st))
		return -errno;
	*fd = item->fd;
	*size = (size_t)st.st_size;
	return 0;
}

static int make_memfd(const char *name, size_t size, int *out)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size)) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	*out = fd;
	return 0;
}

int sr_keep_get(struct sr_keep *k, const char *name, size_t size, int *fd, bool *created)
{
	size_t have;
	int rc = sr_keep_name_check(name);

	if (rc)
		return rc;
	rc = sr_keep_find(k, name, fd, &have);
	*created = rc || have != size;
	if (!*created)
		return 0;
	if (!rc)
		sr_keep_drop(k, name);
	rc = make_memfd(name, size, fd);
	if (rc)
		return rc;
	rc = k->ops->store(k, name, *fd);
	if (!rc) {
		rc = sr_keep_set_put(&k->set, name, *fd);
		if (!rc)
			return 0;
		k->ops->drop(k, name);
	}
	close(*fd);
	return rc;
}

int sr_keep_drop(struct sr_keep *k, const char *name)
{
	int rc;

	if (!sr_keep_set_find(&k->set, name))
		return -ENOENT;
	rc = k->ops->drop(k, name);
	sr_keep_set_remove(&k->set, name);
	return rc;
}

void sr_keep_each(struct sr_keep *k, void (*fn)(void *ctx, const char *name), void *ctx)
{
	/* Backwards: dropping one puts the last one in its place. */
	for (size_t i = k->set.count; i-- > 0;) {
		char name[SR_KEEP_NAME_MAX + 1];

		memcpy(name, k->set.items[i].name, sizeof(name));
		fn(ctx, name);
	}
}
