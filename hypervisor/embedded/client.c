/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol.h"

/* Descriptors that a message brought: keeps those which were wanted, all or none. */
static unsigned take_fds(struct msghdr *msg, int *fds, unsigned nr_fds)
{
	unsigned got = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		unsigned n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (unsigned i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (got < nr_fds)
				fds[got++] = fd;
			else
				close(fd);
		}
	}
	return got;
}

static ssize_t receive(int fd, struct iovec *iov, int *fds, unsigned nr_fds, unsigned *got_fds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * SR_EM_MAX_FDS)];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {
		.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n;

	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*got_fds = take_fds(&msg, fds, nr_fds);
	return n;
}

static int transact(struct sr_em_client *cl, struct iovec out[2], struct iovec in[2], int *fds,
		    unsigned nr_fds)
{
	struct msghdr msg = { .msg_iov = out, .msg_iovlen = out[1].iov_len ? 2 : 1 };
	struct sr_em_reply *reply = in[0].iov_base;
	unsigned got = 0;
	ssize_t n;

	do
		n = sendmsg(cl->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EPIPE ? -ECONNRESET : -errno;
	n = receive(cl->fd, in, fds, nr_fds, &got);
	if (n < 0)
		return (int)n;
	if ((size_t)n < sizeof(*reply) || reply->bytes != (size_t)n - sizeof(*reply) ||
	    (!reply->status && got != nr_fds)) {
		/* End of file is the machine's end; a lack of descriptors is ours. */
		while (got)
			close(fds[--got]);
		return n == 0 ? -ECONNRESET : (size_t)n < sizeof(*reply) ? -EPROTO : -EMFILE;
	}
	while (reply->status && got)
		close(fds[--got]);
	return reply->status;
}

int sr_em_call(struct sr_em_client *cl, const struct sr_em_request *req, struct sr_em_reply *reply,
	       int *fds, unsigned nr_fds)
{
	struct iovec out[2] = { { .iov_base = (void *)req, .iov_len = sizeof(*req) } };
	struct iovec in[2] = { { .iov_base = reply, .iov_len = sizeof(*reply) } };

	return transact(cl, out, in, fds, nr_fds);
}

int sr_em_call_data(struct sr_em_client *cl, const struct sr_em_request *req, const void *out_data,
		    size_t out_len, struct sr_em_reply *reply, void *in_data, size_t in_len)
{
	struct iovec out[2] = { { .iov_base = (void *)req, .iov_len = sizeof(*req) },
				{ .iov_base = (void *)out_data, .iov_len = out_len } };
	struct iovec in[2] = { { .iov_base = reply, .iov_len = sizeof(*reply) },
			       { .iov_base = in_data, .iov_len = in_len } };

	return transact(cl, out, in, NULL, 0);
}

int sr_em_connect(const char *dir, uint16_t domid, enum sr_em_kind kind, struct sr_em_client *cl,
		  struct sr_em_reply *reply, int *fds, unsigned nr_fds)
{
	struct sr_em_request req = { .op = SR_EM_HELLO,
				     .hello = { .version = SR_EM_VERSION, .kind = kind } };
	struct sockaddr_un sa;
	int err;

	err = sr_em_socket_name(dir, "hv", domid, &sa);
	if (err)
		return err;
	cl->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (cl->fd < 0)
		return -errno;
	err = connect(cl->fd, (struct sockaddr *)&sa, sizeof(sa)) ? -errno : 0;
	if (!err)
		err = sr_em_call(cl, &req, reply, fds, nr_fds);
	if (err) {
		close(cl->fd);
		cl->fd = -1;
	}
	return err;
}

void sr_em_disconnect(struct sr_em_client *cl)
{
	struct sr_em_request req = { .op = SR_EM_BYE };
	struct sr_em_reply reply;

	if (cl->fd < 0)
		return;
	sr_em_call(cl, &req, &reply, NULL, 0);
	close(cl->fd);
	cl->fd = -1;
}
