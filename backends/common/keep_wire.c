/* SPDX-License-Identifier: MIT */
#include "keep_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union fd_control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int sr_keep_send(int socket, const struct sr_keep_message *msg, int fd)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)msg, .iov_len = sizeof(*msg) };
	union fd_control control = { 0 };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

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
		n = sendmsg(socket, &hdr, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Takes the one descriptor that may have come. */
static int control_fd(struct msghdr *hdr)
{
	int fd = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(hdr); c; c = CMSG_NXTHDR(hdr, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		    c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int sr_keep_receive(int socket, struct sr_keep_message *msg, int *fd)
{
	struct iovec iov = { .iov_base = msg, .iov_len = sizeof(*msg) };
	union fd_control control;
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	*fd = -1;
	do
		n = recvmsg(socket, &hdr, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	*fd = control_fd(&hdr);
	if (n == 0)
		return -EPIPE;
	if (n == (ssize_t)sizeof(*msg) && memchr(msg->name, 0, sizeof(msg->name)))
		return 0;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return -EPROTO;
}

int sr_keep_name_check(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > SR_KEEP_NAME_MAX ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
		len)
		return -EINVAL;
	return 0;
}

void sr_keep_set_clear(struct sr_keep_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		close(set->items[i].fd);
	free(set->items);
	*set = (struct sr_keep_set){ 0 };
}

struct sr_keep_item *sr_keep_set_find(const struct sr_keep_set *set, const char *name)
{
	for (size_t i = 0; i < set->count; i++)
		if (!strcmp(set->items[i].name, name))
			return &set->items[i];
	return NULL;
}

int sr_keep_set_put(struct sr_keep_set *set, const char *name, int fd)
{
	struct sr_keep_item *item = sr_keep_set_find(set, name);

	if (item) {
		close(item->fd);
		item->fd = fd;
		return 0;
	}
	if (set->count == set->size) {
		size_t size = set->size ? set->size * 2 : 16;

		item = reallocarray(set->items, size, sizeof(*item));
		if (!item)
			return -ENOMEM;
		set->items = item;
		set->size = size;
	}
	item = &set->items[set->count++];
	item->fd = fd;
	memcpy(item->name, name, strlen(name) + 1);
	return 0;
}

int sr_keep_set_remove(struct sr_keep_set *set, const char *name)
{
	struct sr_keep_item *item = sr_keep_set_find(set, name);

	if (!item)
		return -ENOENT;
	close(item->fd);
	*item = set->items[--set->count];
	return 0;
}
