/* SPDX-License-Identifier: MIT */
#include "control.h"

#include "capture.h"

#include <blk/blkback.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* A client that says nothing holds up signals for so long. */
#define CLIENT_TIMEOUT_S 1
#define LINE_SIZE        4096

struct control {
	struct control_subject subject;
	pthread_t thread;
	struct captures captures;
	int listener, signals, wake, machine;
	bool lost; /* atomic: the machine is gone */
};

static bool send_all(int fd, const char *s, size_t len)
{
	while (len) {
		ssize_t n = send(fd, s, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		s += n;
		len -= (size_t)n;
	}
	return true;
}

static void answer(const struct control *c, int fd, const char *line)
{
	char *text = status_answer(&c->subject, line);

	if (text)
		send_all(fd, text, strlen(text));
	free(text);
}

/* Answers the line. True: the connection goes on. */
static bool answer_line(struct control *c, int fd, const char *line)
{
	bool answered, kept = captures_take(&c->captures, fd, line, &answered);

	if (!answered)
		answer(c, fd, line);
	return kept;
}

/* One question a connection: a client that wants more connects again. */
static void serve(struct control *c)
{
	struct timeval timeout = { .tv_sec = CLIENT_TIMEOUT_S };
	int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC);
	char line[LINE_SIZE];
	size_t len = 0;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	while (len < sizeof(line) - 1) {
		ssize_t n = recv(fd, line + len, sizeof(line) - 1 - len, 0);

		if (n <= 0)
			break;
		len += (size_t)n;
		line[len] = '\0';
		if (memchr(line, '\n', len)) {
			if (answer_line(c, fd, line))
				return;
			break;
		}
	}
	close(fd);
}

static void on_signal(struct control *c)
{
	struct daemon *d = c->subject.d;
	struct signalfd_siginfo info;
	struct sr_fail f;

	if (read(c->signals, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGHUP:
		if (daemon_open_log(d, &f))
			sr_log(&d->src, SR_LOG_ERROR, "%s", f.line);
		break;
	case SIGUSR1:
		sr_log(&d->src, SR_LOG_WARNING,
		       "the supervisor is gone: a crash from now on costs the guests their disks; "
		       "restart splitringd when you can");
		break;
	case SIGUSR2:
		if (!d->supervisor) {
			sr_log(&d->src, SR_LOG_WARNING, "no supervisor: not upgraded");
			break;
		}
		sr_log(&d->src, SR_LOG_INFO,
		       "answering what is in flight, then leaving the devices to %s", d->program);
		sr_blkback_stop(c->subject.bb, SR_BLKBACK_HANDOVER);
		break;
	default:
		sr_log(&d->src, SR_LOG_INFO, "signal %u: answering what is in flight, then %s",
		       info.ssi_signo,
		       c->subject.hand_over ? "leaving the disks for the next worker"
					    : "closing the disks");
		daemon_notify("STOPPING=1");
		sr_blkback_stop(c->subject.bb,
				c->subject.hand_over ? SR_BLKBACK_HANDOVER : SR_BLKBACK_CLOSE);
	}
}

static void *run(void *arg)
{
	struct control *c = arg;
	struct pollfd fds[4 + CAPTURES_MAX] = {
		{ .fd = c->wake, .events = POLLIN },
		{ .fd = c->signals, .events = POLLIN },
		{ .fd = c->listener, .events = POLLIN },
		{ .fd = c->machine, .events = 0 },
	};

	for (;;) {
		captures_poll(&c->captures, fds + 4);
		if (poll(fds, 4 + CAPTURES_MAX, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents)
			on_signal(c);
		captures_look(&c->captures, fds + 4);
		if (fds[2].revents)
			serve(c);
		if (fds[3].revents) {
			fds[3].fd = -1;
			__atomic_store_n(&c->lost, true, __ATOMIC_RELEASE);
			sr_blkback_stop(c->subject.bb, SR_BLKBACK_CLOSE);
		}
	}
}

static int listen_at(const char *path, int *out)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, ret;

	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* One that a killed worker left; the lock says that no other is alive. */
	unlink(path);
	mask = umask(0177);
	ret = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(fd, 16) ? -errno : 0;
	umask(mask);
	if (ret)
		close(fd);
	else
		*out = fd;
	return ret;
}

static void release(struct control *c)
{
	if (c->listener >= 0)
		unlink(c->subject.d->socket);
	for (int *fd = (int[]){ c->listener, c->signals, c->wake, c->machine, -2 }; *fd != -2; fd++)
		if (*fd >= 0)
			close(*fd);
	free(c);
}

int control_start(const struct control_subject *subject, struct control **out, struct sr_fail *f)
{
	struct control *c = malloc(sizeof(*c));
	sigset_t mask;
	int ret;

	if (!c)
		return sr_fail(f, ENOMEM, "out of memory; free some");
	*c = (struct control){
		.subject = *subject, .listener = -1, .signals = -1, .wake = -1, .machine = -1
	};
	c->captures.net = subject->net;
	c->captures.log = &subject->d->src;
	ret = listen_at(subject->d->socket, &c->listener);
	if (ret) {
		sr_fail(f, -ret, "%s: can't listen there: %s; is the machine running?",
			subject->d->socket, strerror(-ret));
		goto fail;
	}
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGUSR2);
	c->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	c->wake = eventfd(0, EFD_CLOEXEC);
	c->machine = daemon_machine_fd(subject->d);
	ret = c->signals < 0 || c->wake < 0 ? -errno : -pthread_create(&c->thread, NULL, run, c);
	if (ret) {
		sr_fail(f, -ret, "can't start a thread: %s; raise the limits", strerror(-ret));
		goto fail;
	}
	*out = c;
	return 0;
fail:
	release(c);
	return ret;
}

bool control_lost_machine(const struct control *c)
{
	return __atomic_load_n(&c->lost, __ATOMIC_ACQUIRE);
}

void control_stop(struct control *c)
{
	if (!c)
		return;
	eventfd_write(c->wake, 1);
	pthread_join(c->thread, NULL);
	captures_end(&c->captures);
	release(c);
}
