/* SPDX-License-Identifier: MIT */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* LIST,LOCK: descriptors, which the exec has left open. */
#define HANDED_ON "SPLITRINGD_UPGRADE"

void daemon_note_program(struct daemon *d, char **argv)
{
	const char *env = getenv(HANDED_ON);
	ssize_t n = readlink("/proc/self/exe", d->program, sizeof(d->program) - 1);

	d->program[n > 0 ? n : 0] = '\0';
	d->argv = argv;
	d->kept_fd = -1;
	if (env && sscanf(env, "%d,%d", &d->kept_fd, &d->lock_fd) == 2)
		fcntl(d->lock_fd, F_SETFD, FD_CLOEXEC);
	unsetenv(HANDED_ON);
}

/* The first line of what the program says is the reason. */
static void read_reason(int fd, char *line, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, line + len, size - 1 - len)) > 0)
		len += (size_t)n;
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
}

static int spawn(const struct daemon *d, int err_fd, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	size_t count = 0;
	char **args;
	int ret;

	while (d->argv[count])
		count++;
	args = calloc(count + 2, sizeof(*args));
	if (!args)
		return ENOMEM;
	memcpy(args, d->argv, count * sizeof(*args));
	args[count] = (char[]){ "--check-config" };
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	ret = posix_spawn(pid, d->program, &actions, NULL, args, environ);
	posix_spawn_file_actions_destroy(&actions);
	free(args);
	return ret;
}

int daemon_try_program(const struct daemon *d, struct sr_fail *f)
{
	int fds[2], status = 0, ret;
	char line[256];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return sr_fail(f, errno, "can't make a pipe: %m; raise the limits");
	ret = spawn(d, fds[1], &pid);
	close(fds[1]);
	if (ret) {
		close(fds[0]);
		return sr_fail(f, ret, "%s: can't run it: %s; install it again", d->program,
			       strerror(ret));
	}
	read_reason(fds[0], line, sizeof(line));
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	return sr_fail(f, EINVAL, "%s would not start: %s", d->program,
		       *line ? line : "it says nothing, and fails");
}

int daemon_become_program(struct daemon *d, int kept_fd)
{
	char value[32];

	snprintf(value, sizeof(value), "%d,%d", kept_fd, d->lock_fd);
	/* The lock goes on as well: nobody gets between the two. */
	if (setenv(HANDED_ON, value, 1) || fcntl(d->lock_fd, F_SETFD, 0))
		return -errno;
	execv(d->program, d->argv);
	return -errno;
}
