/* SPDX-License-Identifier: MIT */
/*
 * Xenstore errors: libxenstore is connected to a thread that stands between it and the store, and
 * answers some of its requests itself.
 */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <xen/io/xs_wire.h>
#include <xenstore.h>

#include "faulty_impl.h"

struct sr_proxy {
	struct sr_proxy *next;
	struct sr_faulty *hv;
	pthread_t thread;
	int client, store;
	/* The end of a transaction that we turned into an abort: its answer is not passed on. */
	bool swallow;
};

struct message {
	struct xsd_sockmsg hdr;
	char body[XENSTORE_PAYLOAD_MAX];
};

static bool read_all(int fd, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = recv(fd, (char *)buf + done, len - done, 0);

		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		if (n > 0)
			done += (size_t)n;
	}
	return true;
}

static bool write_all(int fd, const void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = send(fd, (const char *)buf + done, len - done, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0)
			done += (size_t)n;
	}
	return true;
}

static bool read_message(int fd, struct message *m)
{
	return read_all(fd, &m->hdr, sizeof(m->hdr)) && m->hdr.len <= sizeof(m->body) &&
	       read_all(fd, m->body, m->hdr.len);
}

static bool write_message(int fd, const struct message *m)
{
	return write_all(fd, m, sizeof(m->hdr) + m->hdr.len);
}

static bool can_fail(uint32_t type)
{
	switch (type) {
	case XS_READ:
	case XS_DIRECTORY:
	case XS_WRITE:
	case XS_MKDIR:
	case XS_RM:
	case XS_GET_PERMS:
	case XS_SET_PERMS:
	case XS_TRANSACTION_START:
	case XS_TRANSACTION_END:
		return true;
	default:
		return false;
	}
}

static bool fail(struct sr_proxy *p, struct message *m)
{
	bool end = m->hdr.type == XS_TRANSACTION_END;

	if (end) {
		struct message abort = { .hdr = m->hdr, .body = "F" };

		abort.hdr.len = 2;
		p->swallow = true;
		if (!write_message(p->store, &abort))
			return false;
	}
	m->hdr.type = XS_ERROR;
	strcpy(m->body, end ? "EAGAIN" : "EIO");
	m->hdr.len = (uint32_t)strlen(m->body) + 1;
	return write_message(p->client, m);
}

static bool from_client(struct sr_proxy *p)
{
	struct message m;

	if (!read_message(p->client, &m))
		return false;
	if (can_fail(m.hdr.type) && sr_faulty_strikes(p->hv, SR_FAULT_STORE))
		return fail(p, &m);
	return write_message(p->store, &m);
}

static bool from_store(struct sr_proxy *p)
{
	struct message m;

	if (!read_message(p->store, &m))
		return false;
	if (p->swallow && m.hdr.type != XS_WATCH_EVENT) {
		p->swallow = false;
		return true;
	}
	return write_message(p->client, &m);
}

static void *run(void *arg)
{
	struct sr_proxy *p = arg;
	struct pollfd fds[2] = { { .fd = p->client, .events = POLLIN },
				 { .fd = p->store, .events = POLLIN } };
	bool alive = true;

	while (alive) {
		if (poll(fds, 2, -1) < 0)
			alive = errno == EINTR;
		else if (fds[1].revents)
			alive = from_store(p);
		else if (fds[0].revents)
			alive = from_client(p);
	}
	/* Both ends see it: neither waits for an answer that will not come. */
	shutdown(p->client, SHUT_RDWR);
	shutdown(p->store, SHUT_RDWR);
	return NULL;
}

void sr_faulty_join_proxies(struct sr_faulty *hv)
{
	while (hv->proxies) {
		struct sr_proxy *p = hv->proxies;

		hv->proxies = p->next;
		pthread_join(p->thread, NULL);
		close(p->client);
		close(p->store);
		free(p);
	}
}

static int connect_to(const char *path, int *fd)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int err;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	strcpy(sa.sun_path, path);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0)
		return -errno;
	if (!connect(*fd, (struct sockaddr *)&sa, sizeof(sa)))
		return 0;
	err = -errno;
	close(*fd);
	return err;
}

/*
 * libxenstore connects by a path only, so there is a socket in the file system for as long as that
 * takes.
 */
static int introduce(struct xs_handle **xs, int *client)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "/tmp/sr-faulty-XXXXXX" };
	char dir[sizeof(sa.sun_path)];
	int listener, err = 0;

	if (!mkdtemp(sa.sun_path))
		return -errno;
	strcpy(dir, sa.sun_path);
	strcat(sa.sun_path, "/store");
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&sa, sizeof(sa)) ||
	    listen(listener, 1))
		err = -errno;
	if (!err)
		err = sr_provider_xenstore_at(sa.sun_path, xs);
	if (!err) {
		*client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (*client < 0) {
			err = -errno;
			xs_close(*xs);
		}
	}
	if (listener >= 0)
		close(listener);
	unlink(sa.sun_path);
	rmdir(dir);
	return err;
}

int sr_faulty_xenstore(struct sr_hypervisor *base, struct xs_handle **xs)
{
	struct sr_faulty *hv = (struct sr_faulty *)base;
	struct sr_proxy *p;
	char path[108];
	int err;

	if (!hv->plans[SR_FAULT_STORE].threshold && !hv->plans[SR_FAULT_STORE].nth)
		return sr_hv_xenstore(hv->inner, xs);
	err = sr_hv_store_path(hv->inner, path, sizeof(path));
	if (err)
		return err;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->hv = hv;
	err = connect_to(path, &p->store);
	if (err) {
		free(p);
		return err;
	}
	err = introduce(xs, &p->client);
	if (!err) {
		err = -pthread_create(&p->thread, NULL, run, p);
		if (err)
			close(p->client);
	}
	if (err) {
		close(p->store);
		free(p);
		return err;
	}
	pthread_mutex_lock(&hv->lock);
	p->next = hv->proxies;
	hv->proxies = p;
	pthread_mutex_unlock(&hv->lock);
	return 0;
}
