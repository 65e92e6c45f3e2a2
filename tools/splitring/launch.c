/* SPDX-License-Identifier: MIT */
#include "guest.h"
#include "machines.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void set_environment(const char *dir, uint16_t domid, const struct guest *g)
{
	char text[PATH_MAX + 32];

	snprintf(text, sizeof(text), "embedded:%s#%u", dir, domid);
	setenv("SPLITRING_HYPERVISOR", text, 1);
	/* Its own xenstore, for xenstore-utils, and not the one of dom0. */
	snprintf(text, sizeof(text), "%s/xenstored-%u", dir, domid);
	setenv("XENSTORED_PATH", text, 1);
	setenv("SPLITRING_NAME", g->name, 1);
	snprintf(text, sizeof(text), "%u", g->vcpus);
	setenv("SPLITRING_VCPUS", text, 1);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)g->pages / 256);
	setenv("SPLITRING_MEMORY", text, 1);
	if (g->ramdisk)
		setenv("SPLITRING_RAMDISK", g->ramdisk, 1);
	else
		unsetenv("SPLITRING_RAMDISK");
}

/* Only these stay open, and standard input, output and error are the ones given. */
static void set_files(int in, int out, const int *keep, unsigned n)
{
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(out, STDERR_FILENO);
	for (unsigned i = 0; i < n; i++)
		fcntl(keep[i], F_SETFD, FD_CLOEXEC);
}

static void say_errno(int up)
{
	int err = errno;

	if (write(up, &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

/* The guest's process: waits until it belongs to its domain, then becomes the program. */
static _Noreturn void be_guest(const char *dir, uint16_t domid, const struct guest *g, int go,
			       int up)
{
	sigset_t none;
	char byte;

	/* A group of its own, so that the processes it starts can be ended with it. */
	setpgid(0, 0);
	if (read(go, &byte, 1) != 1)
		_exit(125);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	set_environment(dir, domid, g);
	execv(g->kernel, g->argv);
	say_errno(up);
	_exit(127);
}

/* The monitor: it has nothing open but the standard three, and a line to write at the end. */
static _Noreturn void be_monitor(const char *dir, uint16_t domid, const struct guest *g, int null,
				 int log, int go, int up)
{
	int files[] = { go, up }, status;
	siginfo_t info;
	pid_t pid;

	setsid();
	set_files(null, log, files, 2);
	pid = fork();
	if (!pid)
		be_guest(dir, domid, g, go, up);
	if (write(up, &pid, sizeof(pid)) != sizeof(pid) || pid < 0)
		_exit(1);
	close_range(3, ~0u, 0);
	dup2(open("/dev/null", O_RDWR), STDOUT_FILENO);
	dup2(STDOUT_FILENO, STDERR_FILENO);
	close_range(3, ~0u, 0);
	/* Before its number is free for another group. */
	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR)
		;
	kill(-pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		machine_log(dir, "guest: domain %u (%s) was ended by signal %d (%s)", domid,
			    g->name, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		machine_log(dir, "guest: domain %u (%s) exited with status %d", domid, g->name,
			    WEXITSTATUS(status));
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static int fork_monitor(const char *dir, uint16_t domid, const struct guest *g, int log,
			struct launch *l, struct sr_fail *f)
{
	int go[2] = { -1, -1 }, up[2] = { -1, -1 }, null, ret = 0;

	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || pipe2(go, O_CLOEXEC) || pipe2(up, O_CLOEXEC))
		ret = sr_fail(f, errno, "%s: can't open what its process needs: %m", g->name);
	fflush(NULL);
	l->monitor = ret ? -1 : fork();
	if (!ret && l->monitor < 0)
		ret = sr_fail(f, errno, "%s: can't fork: %m", g->name);
	if (!l->monitor) {
		close(go[1]);
		close(up[0]);
		be_monitor(dir, domid, g, null, log, go[0], up[1]);
	}
	close(null);
	close(go[0]);
	close(up[1]);
	if (!ret && (read(up[0], &l->pid, sizeof(l->pid)) != sizeof(l->pid) || l->pid < 0))
		ret = sr_fail(f, EAGAIN, "%s: can't start its process; raise the limits", g->name);
	l->go = go[1];
	l->up = up[0];
	if (ret)
		launch_cancel(l);
	return ret;
}

int launch_prepare(const char *dir, uint16_t domid, const struct guest *g, const char *console,
		   struct launch *l, struct sr_fail *f)
{
	int log = open(console, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600), ret;

	if (log < 0)
		return sr_fail(f, errno, "%s: can't write the console's log: %m", console);
	ret = fork_monitor(dir, domid, g, log, l, f);
	close(log);
	return ret;
}

int launch_go(struct launch *l, const struct guest *g, struct sr_fail *f)
{
	ssize_t n = write(l->go, "", 1);
	int err = 0;

	close(l->go);
	l->go = -1;
	/* Ends with the pipe's end where execv() closed it, or with the reason why it could not. */
	if (n == 1)
		n = read(l->up, &err, sizeof(err));
	close(l->up);
	l->up = -1;
	return n == sizeof(err)
		   ? sr_fail(f, err, "%s: can't run %s: %s", g->name, g->kernel, strerror(err))
		   : 0;
}

void launch_cancel(struct launch *l)
{
	if (l->go >= 0)
		close(l->go);
	if (l->up >= 0)
		close(l->up);
	l->go = l->up = -1;
	if (l->monitor > 0)
		waitpid(l->monitor, NULL, 0);
	l->monitor = 0;
}
