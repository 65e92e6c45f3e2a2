// SPDX-License-Identifier: MIT
#include "server.h"
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS_PER_TURN  64
#define ACCEPTS_PER_TURN 8

struct sr_listener {
	struct sr_source source;
	LIST_ENTRY(sr_listener) link; /* among the dead */
	struct sr_domain *domain;
	int fd; /* -1: dead */
	char path[];
};

static int open_spare(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int sr_server_init(struct sr_store *store)
{
	store->spare_fd = -1;
	store->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (store->epoll_fd < 0)
		return -errno;
	store->spare_fd = open_spare();
	return store->spare_fd < 0 ? -errno : 0;
}

/*
 * What was closed is only freed now: the poll may have returned it together with what closed it.
 */
static void bury(struct sr_store *store)
{
	struct sr_listener *listener;

	while ((listener = LIST_FIRST(&store->dead_listeners))) {
		LIST_REMOVE(listener, link);
		free(listener);
	}
	sr_clients_bury(store);
}

void sr_server_free(struct sr_store *store)
{
	struct sr_domain *domain;
	struct sr_client *client;

	for (size_t i = 0; i < SR_DOMAIN_BUCKETS; i++) {
		LIST_FOREACH(domain, &store->domains[i], bucket) {
			sr_listener_close(domain->listener);
			while ((client = LIST_FIRST(&domain->clients)))
				sr_client_kill(client);
		}
	}
	bury(store);
	if (store->spare_fd >= 0)
		close(store->spare_fd);
	if (store->epoll_fd >= 0)
		close(store->epoll_fd);
}

int sr_server_watch(struct sr_store *store, int fd, uint32_t events, struct sr_source *source)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(store->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int sr_server_rewatch(struct sr_store *store, int fd, uint32_t events, struct sr_source *source)
{
	struct epoll_event event = { .events = events, .data.ptr = source };

	return epoll_ctl(store->epoll_fd, EPOLL_CTL_MOD, fd, &event) ? -errno : 0;
}

void sr_server_close(struct sr_store *store, int fd)
{
	/*
	 * While a child that was just forked holds the socket too, closing it would neither take
	 * it out of the set nor tell the other side.
	 */
	epoll_ctl(store->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	shutdown(fd, SHUT_RDWR);
	close(fd);
}

void sr_server_settle(struct sr_store *store)
{
	sr_clients_flush(store);
	bury(store);
}

/* A socket file that nobody accepts on is left over from a process that is gone. */
static bool abandoned(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool refused;

	if (fd < 0)
		return false;
	refused = connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
		  errno == ECONNREFUSED;
	close(fd);
	return refused;
}

static int bind_socket(int fd, const struct sockaddr_un *address)
{
	const struct sockaddr *generic = (const struct sockaddr *)address;

	if (bind(fd, generic, sizeof(*address)) == 0)
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (!abandoned(address))
		return -EADDRINUSE;
	if (unlink(address->sun_path))
		return -errno;
	return bind(fd, generic, sizeof(*address)) ? -errno : 0;
}

static int listen_at(const char *path, int *listen_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;
	int ret;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	ret = bind_socket(fd, &address);
	if (ret)
		goto out_close;
	/* Nobody can connect before listen(), so there is no moment when others may. */
	if (chmod(path, 0600) || listen(fd, 64)) {
		ret = -errno;
		goto out_unlink;
	}
	*listen_fd = fd;
	return 0;
out_unlink:
	unlink(path);
out_close:
	close(fd);
	return ret;
}

static int listener_new(struct sr_domain *domain, const char *path)
{
	struct sr_listener *listener = malloc(sizeof(*listener) + strlen(path) + 1);
	int ret;

	if (!listener)
		return -ENOMEM;
	listener->source.kind = SR_SOURCE_LISTENER;
	listener->domain = domain;
	memcpy(listener->path, path, strlen(path) + 1);
	ret = listen_at(path, &listener->fd);
	if (ret) {
		free(listener);
		return ret;
	}
	domain->listener = listener;
	ret = sr_server_watch(domain->store, listener->fd, EPOLLIN, &listener->source);
	if (ret)
		sr_listener_close(listener);
	return ret;
}

void sr_listener_close(struct sr_listener *listener)
{
	struct sr_store *store;

	if (!listener)
		return;
	store = listener->domain->store;
	listener->domain->listener = NULL;
	unlink(listener->path);
	sr_server_close(store, listener->fd);
	listener->fd = -1;
	LIST_INSERT_HEAD(&store->dead_listeners, listener, link);
}

int sr_store_listen(struct sr_store *store, const char *path, uint16_t domid)
{
	struct sr_domain *domain = sr_domain_get(store, domid);

	if (!domain)
		return -ENOMEM;
	return domain->listener ? -EEXIST : listener_new(domain, path);
}

int sr_store_unlisten(struct sr_store *store, uint16_t domid)
{
	struct sr_domain *domain = sr_domain_find(store, domid);

	if (!domain || !domain->listener)
		return -ENOENT;
	sr_listener_close(domain->listener);
	return 0;
}

int sr_store_add_client(struct sr_store *store, int fd, uint16_t domid)
{
	struct sr_domain *domain = sr_domain_get(store, domid);

	return domain ? sr_client_new(domain, fd) : -ENOMEM;
}

/*
 * With no fd left, a connection that waits would keep the listener ready for ever: the spare fd is
 * used to take it and drop it.
 */
static void refuse_one(struct sr_listener *listener)
{
	struct sr_store *store = listener->domain->store;
	int fd;

	if (store->spare_fd >= 0)
		close(store->spare_fd);
	fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	store->spare_fd = open_spare();
}

static void listener_serve(struct sr_listener *listener)
{
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				refuse_one(listener);
			return;
		}
		if (sr_client_new(listener->domain, fd))
			close(fd);
	}
}

static void source_serve(struct sr_source *source, uint32_t events)
{
	struct sr_listener *listener;
	struct sr_client *client;

	/* What was served before it in this turn may have had it closed. */
	switch (source->kind) {
	case SR_SOURCE_LISTENER:
		listener = (struct sr_listener *)source;
		if (listener->fd >= 0)
			listener_serve(listener);
		break;
	case SR_SOURCE_CLIENT:
		client = (struct sr_client *)source;
		if (client->fd >= 0)
			sr_client_serve(client, events);
		break;
	}
}

int sr_store_process(struct sr_store *store)
{
	struct epoll_event events[EVENTS_PER_TURN];
	int count = epoll_wait(store->epoll_fd, events, EVENTS_PER_TURN, 0);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count; i++)
		source_serve(events[i].data.ptr, events[i].events);
	sr_server_settle(store);
	return 0;
}
