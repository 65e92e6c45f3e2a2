/* SPDX-License-Identifier: MIT */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const char *daemon_hypervisor(const struct daemon *d)
{
	return strcmp(d->opt.hypervisor, "xen:") ? d->opt.hypervisor : "xen";
}

/* flock() belongs to the open file, which supervisor and worker share: held while one of them is.
 */
int daemon_lock(struct daemon *d, struct sr_fail *f)
{
	char holder[32] = "";
	ssize_t n;

	/* Handed on by the program before us: the same process, so the number in it is right. */
	if (d->lock_fd >= 0)
		return 0;
	d->lock_fd = open(d->lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return sr_fail(f, errno, "%s: %m; is the machine running?", d->lock);
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB)) {
		n = pread(d->lock_fd, holder, sizeof(holder) - 1, 0);
		holder[n > 0 ? n : 0] = '\0';
		holder[strcspn(holder, "\n")] = '\0';
		return sr_fail(
		    f, EBUSY,
		    "%s: splitringd with pid %s serves domain %u of it already; stop that "
		    "one first",
		    daemon_hypervisor(d), *holder ? holder : "?", d->domid);
	}
	n = snprintf(holder, sizeof(holder), "%d\n", (int)getpid());
	if (ftruncate(d->lock_fd, 0) || pwrite(d->lock_fd, holder, (size_t)n, 0) != n)
		return sr_fail(f, errno ? errno : EIO, "%s: %m; make room", d->lock);
	return 0;
}

void daemon_raise_fd_limit(struct daemon *d)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit))
		sr_log(&d->src, SR_LOG_WARNING, "can't have more than the usual descriptors: %m");
}

int daemon_open_log(struct daemon *d, struct sr_fail *f)
{
	int fd;

	if (!d->opt.log)
		return 0;
	fd = open(d->opt.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (fd < 0)
		return sr_fail(f, errno, "%s: can't write the log: %m; make its directory",
			       d->opt.log);
	if (d->log.fd == STDERR_FILENO) {
		d->log.fd = fd;
		return 0;
	}
	/* Other threads are writing to the number that they know. */
	dup3(fd, d->log.fd, O_CLOEXEC);
	close(fd);
	return 0;
}

void daemon_write_pidfile(const struct daemon *d, pid_t worker)
{
	char temp[PATH_MAX + 8];
	FILE *file;
	bool bad;

	if (!d->opt.pidfile)
		return;
	snprintf(temp, sizeof(temp), "%s.new", d->opt.pidfile);
	file = fopen(temp, "we");
	if (file) {
		fprintf(file, "%d\n", (int)worker);
		if (d->supervisor)
			fprintf(file, "%d\n", (int)d->supervisor);
		bad = fclose(file) != 0;
		if (!bad && !rename(temp, d->opt.pidfile))
			return;
	}
	sr_log(&d->src, SR_LOG_ERROR, "%s: can't write the pid file: %m; make its directory",
	       d->opt.pidfile);
}

void daemon_remove_pidfile(const struct daemon *d)
{
	if (d->opt.pidfile)
		unlink(d->opt.pidfile);
}

int daemon_machine_fd(const struct daemon *d)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd;

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/xenstored-%u", d->dir,
			     d->domid) >= sizeof(addr.sun_path))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !connect(fd, (struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	close(fd);
	return -1;
}

bool daemon_serves_qdisk(const struct daemon *d, uint16_t domid)
{
	return domid || strcmp(d->opt.hypervisor, "xen:");
}

void daemon_notify(const char *state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	/* An abstract name, as sd_notify(3) writes it. */
	if (addr.sun_path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr,
	       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}
