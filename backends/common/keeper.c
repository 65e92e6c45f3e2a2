/* SPDX-License-Identifier: MIT */
#include <common/keep.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keep_wire.h"

/* A daemon gone wild may not use up its supervisor's descriptors. */
#define SR_KEEPER_MAX 16384u

struct sr_keeper {
	struct sr_keep_set set;
	int socket;
};

int sr_keeper_new(struct sr_keeper **keeper)
{
	struct sr_keeper *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->socket = -1;
	*keeper = k;
	return 0;
}

void sr_keeper_free(struct sr_keeper *k)
{
	if (!k)
		return;
	if (k->socket >= 0)
		close(k->socket);
	sr_keep_set_clear(&k->set);
	free(k);
}

int sr_keeper_connect(struct sr_keeper *k, int *fd)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	if (k->socket >= 0)
		close(k->socket);
	k->socket = pair[0];
	*fd = pair[1];
	return 0;
}

int sr_keeper_fd(const struct sr_keeper *k)
{
	return k->socket;
}

size_t sr_keeper_count(const struct sr_keeper *k)
{
	return k->set.count;
}

/* Takes `fd`. */
static int store(struct sr_keeper *k, const struct sr_keep_message *msg, int fd)
{
	int rc = sr_keep_name_check(msg->name);

	if (!rc && fd < 0)
		rc = -EBADF;
	if (!rc && k->set.count >= SR_KEEPER_MAX)
		rc = -ENOSPC;
	if (!rc)
		rc = sr_keep_set_put(&k->set, msg->name, fd);
	if (rc && fd >= 0)
		close(fd);
	return rc;
}

static int answer(struct sr_keeper *k, const struct sr_keep_message *msg, int fd)
{
	struct sr_keep_message reply = { .type = SR_KEEP_DONE };
	int send_fd = -1;

	if (msg->type == SR_KEEP_STORE) {
		reply.error = store(k, msg, fd);
	} else {
		if (fd >= 0)
			close(fd);
		if (msg->type == SR_KEEP_DROP) {
			reply.error = sr_keep_set_remove(&k->set, msg->name);
		} else if (msg->type == SR_KEEP_FETCH && msg->index < k->set.count) {
			memcpy(reply.name, k->set.items[msg->index].name, sizeof(reply.name));
			send_fd = k->set.items[msg->index].fd;
		} else {
			reply.error = -ENOENT;
		}
	}
	/* One answer a question, and the other end waits for it: there is always room. */
	return sr_keep_send(k->socket, &reply, send_fd);
}

static bool has_input(int socket)
{
	char byte;

	/* 0 bytes mean the end, which is for receive() to tell. */
	return recv(socket, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
	       (errno != EAGAIN && errno != EINTR);
}

int sr_keeper_process(struct sr_keeper *k)
{
	struct sr_keep_message msg;
	int fd, rc = 0;

	while (!rc && k->socket >= 0 && has_input(k->socket)) {
		rc = sr_keep_receive(k->socket, &msg, &fd);
		if (!rc)
			rc = answer(k, &msg, fd);
	}
	if (!rc)
		return 0;
	/* Whatever went wrong, this daemon is not to be talked to any more. */
	if (k->socket >= 0)
		close(k->socket);
	k->socket = -1;
	return -EPIPE;
}

/* --- over an exec -------------------------------------------------------------------------------
 *
 * The list is what a set has in memory, the same in both programs: its record is a descriptor's
 * number and a name of fixed size.
 */

static int keep_over_exec(int fd, bool keep)
{
	return fcntl(fd, F_SETFD, keep ? 0 : FD_CLOEXEC) ? -errno : 0;
}

int sr_keeper_save(struct sr_keeper *k, int *out)
{
	size_t bytes = k->set.count * sizeof(*k->set.items);
	int fd = memfd_create("splitringd-kept", 0), rc = 0;

	if (fd < 0)
		return -errno;
	/* At the offset of 0: a restore begins there. */
	if (pwrite(fd, k->set.items, bytes, 0) != (ssize_t)bytes)
		rc = -EIO;
	for (size_t i = 0; !rc && i < k->set.count; i++)
		rc = keep_over_exec(k->set.items[i].fd, true);
	if (rc)
		close(fd);
	else
		*out = fd;
	return rc;
}

int sr_keeper_restore(int fd, struct sr_keeper **out)
{
	struct sr_keep_item item;
	struct sr_keeper *k;
	ssize_t n = 0;
	int rc = sr_keeper_new(&k);

	while (!rc && (n = read(fd, &item, sizeof(item))) == sizeof(item)) {
		item.name[sizeof(item.name) - 1] = '\0';
		rc = sr_keep_name_check(item.name);
		if (!rc)
			rc = keep_over_exec(item.fd, false);
		if (!rc)
			rc = sr_keep_set_put(&k->set, item.name, item.fd);
	}
	if (!rc && n)
		rc = -EPROTO;
	close(fd);
	if (rc)
		sr_keeper_free(k);
	else
		*out = k;
	return rc;
}
