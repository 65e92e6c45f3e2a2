/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "machine_impl.h"

#define BATCH      32
#define LOOK_EVERY 1 /* seconds */

int sr_machine_watch(struct sr_machine *m, struct sr_source *src)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = src };

	return epoll_ctl(m->epfd, EPOLL_CTL_ADD, src->fd, &ev) ? -errno : 0;
}

void sr_machine_unwatch(struct sr_machine *m, struct sr_source *src)
{
	if (src->fd < 0)
		return;
	/* Not left to close(): a copy of the descriptor elsewhere would keep it in the set. */
	epoll_ctl(m->epfd, EPOLL_CTL_DEL, src->fd, NULL);
	close(src->fd);
	src->fd = -1;
}

/* What was closed is linked through its own first bytes: nothing here can fail. */
void sr_machine_bury(struct sr_machine *m, struct sr_source *src)
{
	src->buried = m->graves;
	m->graves = src;
}

static void dig_graves(struct sr_machine *m)
{
	while (m->graves) {
		struct sr_source *src = m->graves;

		m->graves = src->buried;
		free(src);
	}
}

static void stop_ready(struct sr_machine *m, struct sr_source *src)
{
	m->stop = true;
}

static void store_ready(struct sr_machine *m, struct sr_source *src)
{
	sr_store_process(m->store);
}

static void tidy(struct sr_machine *m)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - m->last_look < LOOK_EVERY)
		return;
	m->last_look = now.tv_sec;
	m->untidy = sr_doms_bury(m);
	for (uint32_t i = 0; i < m->nr_doms; i++) {
		if (!m->doms[i] || !m->doms[i]->lingering)
			continue;
		sr_ranges_sweep(m->doms[i]);
		m->untidy |= m->doms[i]->lingering != NULL;
	}
}

int sr_machine_run(struct sr_machine *m)
{
	int err = 0;

	while (!m->stop && !err) {
		struct epoll_event events[BATCH];
		int n = epoll_wait(m->epfd, events, BATCH, m->untidy ? LOOK_EVERY * 1000 : -1);

		if (n < 0 && errno != EINTR)
			err = -errno;
		for (int i = 0; i < n; i++) {
			struct sr_source *src = events[i].data.ptr;

			if (src->fd >= 0)
				src->ready(m, src);
		}
		dig_graves(m);
		if (m->untidy)
			tidy(m);
	}
	return err;
}

void sr_machine_stop(struct sr_machine *m)
{
	uint64_t one = 1;
	ssize_t n = write(m->stopper.fd, &one, sizeof(one));

	(void)n; /* fails only where it was stopped 2^64 times already */
}

/* --- the directory --------------------------------------------------------------------------- */

static int pid_path(const char *dir, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/machine.pid", dir);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* The lock says who lives; the number in the file is for people and for sr_machine_find(). */
static int lock_dir(struct sr_machine *m)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[4096];
	int err;

	if (mkdir(m->dir, 0700) && errno != EEXIST)
		return -errno;
	err = pid_path(m->dir, path, sizeof(path));
	if (err)
		return err;
	m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->lock_fd < 0)
		return -errno;
	if (fcntl(m->lock_fd, F_OFD_SETLK, &lock)) {
		err = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
		close(m->lock_fd);
		m->lock_fd = -1;
		return err;
	}
	if (ftruncate(m->lock_fd, 0) || dprintf(m->lock_fd, "%d\n", (int)getpid()) < 0)
		return -errno;
	return 0;
}

static void unlock_dir(struct sr_machine *m)
{
	char path[4096];

	if (m->lock_fd < 0)
		return;
	if (!pid_path(m->dir, path, sizeof(path)))
		unlink(path);
	close(m->lock_fd);
	/* Stays where somebody keeps other files in it. */
	rmdir(m->dir);
}

int sr_machine_find(const char *dir, pid_t *pid)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char path[4096], text[32] = "";
	int fd, err;

	err = pid_path(dir, path, sizeof(path));
	if (err)
		return err;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fcntl(fd, F_OFD_GETLK, &lock))
		err = -errno;
	else if (lock.l_type == F_UNLCK || read(fd, text, sizeof(text) - 1) <= 0)
		err = -ENOENT;
	close(fd);
	if (!err)
		*pid = atoi(text);
	return err;
}

/* DIR/xenstored is the name that people type; the store's socket for domain 0 is the thing. */
static int link_store(struct sr_machine *m)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/xenstored", m->dir);
	unlink(path);
	return symlink("xenstored-0", path) ? -errno : 0;
}

static void unlink_store(struct sr_machine *m)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/xenstored", m->dir);
	unlink(path);
}

/* --- life ------------------------------------------------------------------------------------ */

static void default_opts(struct sr_machine_opts *opts)
{
	if (!opts->dom0_pages)
		opts->dom0_pages = 65536;
	if (!opts->guest_connections)
		opts->guest_connections = 1024;
	if (!opts->guest_ports)
		opts->guest_ports = 1023;
	if (!opts->guest_grant_frames)
		opts->guest_grant_frames = 64;
}

static void raise_fd_limit(void)
{
	struct rlimit lim;

	if (!getrlimit(RLIMIT_NOFILE, &lim) && lim.rlim_cur < lim.rlim_max) {
		lim.rlim_cur = lim.rlim_max;
		setrlimit(RLIMIT_NOFILE, &lim);
	}
}

static int open_loop(struct sr_machine *m)
{
	static const struct sr_core_ops core_ops = { .deliver = sr_ports_deliver };
	int err;

	m->epfd = epoll_create1(EPOLL_CLOEXEC);
	m->stopper.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->stopper.ready = stop_ready;
	m->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (m->epfd < 0 || m->stopper.fd < 0 || m->spare_fd < 0)
		return -errno;
	err = sr_machine_watch(m, &m->stopper);
	if (err)
		return err;
	err = sr_store_new(NULL, &m->store);
	if (err)
		return err;
	m->store_src.fd = sr_store_fd(m->store);
	m->store_src.ready = store_ready;
	err = sr_machine_watch(m, &m->store_src);
	if (err)
		return err;
	return sr_core_create(&core_ops, m, &m->core);
}

int sr_machine_new(const struct sr_machine_opts *opts, struct sr_machine **machine)
{
	static const char name[] = "Domain-0";
	struct sr_machine *m = calloc(1, sizeof(*m));
	struct sr_domain_spec spec = { .kind = SR_KIND_DOM0, .name = name, .vcpus = 1 };
	struct sr_dom *dom0;
	int err;

	if (!m)
		return -ENOMEM;
	m->epfd = m->lock_fd = m->spare_fd = m->stopper.fd = m->store_src.fd = -1;
	m->opts = *opts;
	m->opts.dir = NULL;
	m->start_time = time(NULL);
	default_opts(&m->opts);
	raise_fd_limit();
	m->dir = strdup(opts->dir);
	err = m->dir ? lock_dir(m) : -ENOMEM;
	if (!err)
		err = open_loop(m);
	if (!err)
		err = link_store(m);
	if (!err) {
		spec.pages = m->opts.dom0_pages;
		err = sr_dom_create(m, &spec, &dom0);
	}
	if (err) {
		sr_machine_free(m);
		return err;
	}
	*machine = m;
	return 0;
}

void sr_machine_free(struct sr_machine *m)
{
	if (!m)
		return;
	for (uint32_t i = m->nr_doms; i-- > 0;)
		if (m->doms[i])
			sr_dom_destroy(m, m->doms[i]);
	dig_graves(m);
	free(m->doms);
	if (m->core)
		sr_core_destroy(m->core);
	if (m->store) {
		unlink_store(m);
		sr_store_free(m->store);
	}
	if (m->stopper.fd >= 0)
		close(m->stopper.fd);
	if (m->spare_fd >= 0)
		close(m->spare_fd);
	if (m->epfd >= 0)
		close(m->epfd);
	unlock_dir(m);
	free(m->dir);
	free(m);
}
