/* SPDX-License-Identifier: MIT */
#include "machines.h"

#include <embedded/machine.h>
#include <tools/rundir.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

#define ANSWER_TIMEOUT_S 5
#define LOG_LIMIT        (256 * 1024)

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct machine_entry *)a)->name,
		      ((const struct machine_entry *)b)->name);
}

/* A directory that never was a machine's is none of our business. */
static bool look_at(const char *base, const char *name, pid_t *pid)
{
	char path[PATH_MAX];

	*pid = 0;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s/machine.pid", base, name) >= sizeof(path) ||
	    access(path, F_OK))
		return false;
	*strrchr(path, '/') = '\0';
	if (sr_machine_find(path, pid))
		*pid = 0;
	return true;
}

static int add(struct machines *all, const char *name, pid_t pid)
{
	struct machine_entry *more = realloc(all->entries, (all->count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	all->entries = more;
	more[all->count].name = strdup(name);
	more[all->count].pid = pid;
	if (!more[all->count].name)
		return -ENOMEM;
	all->count++;
	return 0;
}

int machines_find(struct machines *all, struct sr_fail *f)
{
	char base[PATH_MAX];
	struct dirent *d;
	DIR *dir;
	pid_t pid;
	int ret;

	*all = (struct machines){ 0 };
	ret = sr_run_base(base, sizeof(base), f);
	if (ret)
		return ret;
	dir = opendir(base);
	if (!dir)
		return errno == ENOENT ? 0 : sr_fail(f, errno, "%s: %m", base);
	while (!ret && (d = readdir(dir)))
		if (d->d_name[0] != '.' && look_at(base, d->d_name, &pid))
			ret = add(all, d->d_name, pid);
	closedir(dir);
	if (ret) {
		machines_free(all);
		return sr_fail(f, -ret, "out of memory; free some");
	}
	if (all->count)
		qsort(all->entries, all->count, sizeof(*all->entries), by_name);
	for (size_t i = 0; i < all->count; i++) {
		if (all->entries[i].pid) {
			all->running++;
			all->last_running = all->entries[i].name;
		}
	}
	return 0;
}

void machines_free(struct machines *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->entries[i].name);
	free(all->entries);
	*all = (struct machines){ 0 };
}

struct xs_handle *machine_xenstore(const char *dir)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/xenstored", dir);
	/* The only way to tell libxenstore which socket is meant. */
	setenv("XENSTORED_PATH", path, 1);
	return xs_open(0);
}

int machine_console_dir(const char *dir, char *console, size_t size, struct sr_fail *f)
{
	struct xs_handle *xs = machine_xenstore(dir);
	char *set = xs ? xs_read(xs, XBT_NULL, "/tool/splitring/console-dir", NULL) : NULL;
	int n =
	    set ? snprintf(console, size, "%s", set) : snprintf(console, size, "%s/console", dir);

	free(set);
	if (xs)
		xs_close(xs);
	if ((size_t)n >= size)
		return sr_fail(f, ENAMETOOLONG, "%s: too long for a path; use a shorter one", dir);
	return 0;
}

void machine_log(const char *dir, const char *fmt, ...)
{
	char path[PATH_MAX + 8], old[PATH_MAX + 16], line[1024];
	time_t now = time(NULL);
	struct stat st;
	struct tm tm;
	size_t at;
	va_list ap;
	int fd;

	snprintf(path, sizeof(path), "%s/log", dir);
	/* No O_CREAT: what outlives its machine has nowhere to write any more. */
	fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return;
	localtime_r(&now, &tm);
	at = strftime(line, sizeof(line), "%F %T ", &tm);
	va_start(ap, fmt);
	vsnprintf(line + at, sizeof(line) - at - 1, fmt, ap);
	va_end(ap);
	strcat(line, "\n");
	if (write(fd, line, strlen(line)) < 0) {
		close(fd);
		return;
	}
	/* Two of them at the same time both rename, and lose some old lines: as a ring does. */
	if (!fstat(fd, &st) && st.st_size > LOG_LIMIT) {
		snprintf(old, sizeof(old), "%s.old", path);
		if (!rename(path, old))
			close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	}
	close(fd);
}

bool machine_has_daemon(const char *dir, unsigned domid)
{
	char path[PATH_MAX + 32];
	bool held;
	int fd;

	snprintf(path, sizeof(path), "%s/splitringd-%u.lock", dir, domid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return false;
	held = flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
	close(fd);
	return held;
}

static int connect_daemon(const char *dir, unsigned domid)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct timeval timeout = { .tv_sec = ANSWER_TIMEOUT_S };
	int fd;

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/splitringd-%u.sock", dir,
			     domid) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		int err = errno;

		close(fd);
		return err == ECONNREFUSED ? -ENOENT : -err;
	}
	return fd;
}

/* Sends a line, gives all that comes back until the daemon closes. */
static int talk(int fd, const char *text, char **answer)
{
	size_t len, size = 0, at = 0;
	char *buf = NULL, *more;
	ssize_t n = 1;

	len = strlen(text);
	if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len ||
	    send(fd, "\n", 1, MSG_NOSIGNAL) != 1)
		return -errno;
	while (n > 0) {
		if (size - at < 4096) {
			size = size * 2 + 8192;
			more = realloc(buf, size);
			if (!more) {
				free(buf);
				return -ENOMEM;
			}
			buf = more;
		}
		n = recv(fd, buf + at, size - at - 1, 0);
		at += n > 0 ? (size_t)n : 0;
	}
	if (n < 0 || !at) {
		free(buf);
		return n < 0 ? -errno : -EPIPE;
	}
	buf[at] = '\0';
	*answer = buf;
	return 0;
}

/* What to say where the daemon was not to be talked to. */
static int no_answer(const char *dir, unsigned domid, int ret, struct sr_fail *f)
{
	char pid[PATH_MAX + 16];
	bool is_machine;

	snprintf(pid, sizeof(pid), "%s/machine.pid", dir);
	is_machine = !access(pid, F_OK);
	if (ret == -ENOENT)
		return sr_fail(f, ENOENT,
			       "no splitringd serves domain %u; start it: splitringd --hypervisor "
			       "%s%s%s",
			       domid, is_machine ? "embedded:" : "xen:", is_machine ? dir : "",
			       domid ? "#ID" : "");
	return sr_fail(f, -ret, "splitringd does not answer: %s; see its log", strerror(-ret));
}

/* Takes `text`. */
static int read_answer(char *text, struct json_object **answer, struct sr_fail *f)
{
	struct json_object *ok, *error, *got = json_tokener_parse(text);
	int ret;

	free(text);
	if (got && json_object_object_get_ex(got, "ok", &ok) && json_object_get_boolean(ok)) {
		*answer = got;
		return 0;
	}
	ret = sr_fail(f, EIO, "splitringd: %s",
		      got && json_object_object_get_ex(got, "error", &error)
			  ? json_object_get_string(error)
			  : "no proper answer; see its log");
	json_object_put(got);
	return ret;
}

int machine_ask_daemon(const char *dir, unsigned domid, struct json_object *question,
		       struct json_object **answer, struct sr_fail *f)
{
	int fd = connect_daemon(dir, domid), ret;
	char *text = NULL;

	ret = fd < 0 ? fd : talk(fd, json_object_to_json_string_ext(question, 0), &text);
	json_object_put(question);
	if (fd >= 0)
		close(fd);
	return ret ? no_answer(dir, domid, ret, f) : read_answer(text, answer, f);
}

int machine_ask(const char *dir, unsigned domid, const char *cmd, struct json_object **answer,
		struct sr_fail *f)
{
	struct json_object *question = json_object_new_object();

	json_object_object_add(question, "cmd", json_object_new_string(cmd));
	return machine_ask_daemon(dir, domid, question, answer, f);
}

/* Sends a line, and gives the line that comes back with the descriptor beside it, or -1. */
static int talk_capture(int fd, const char *line, char **answer, int *memory)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	char *text = calloc(1, 4096);
	struct iovec iov = { .iov_base = text, .iov_len = 4095 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *head;
	ssize_t n = -1;

	*memory = -1;
	if (text && send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line) &&
	    send(fd, "\n", 1, MSG_NOSIGNAL) == 1)
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0) {
		int err = !text ? ENOMEM : n ? errno : EPIPE;

		free(text);
		return -err;
	}
	head = CMSG_FIRSTHDR(&msg);
	if (head && head->cmsg_type == SCM_RIGHTS)
		memcpy(memory, CMSG_DATA(head), sizeof(*memory));
	*answer = text;
	return 0;
}

int machine_begin_capture(const char *dir, unsigned domid, struct json_object *question,
			  struct json_object **answer, int *connection, int *memory,
			  struct sr_fail *f)
{
	int fd = connect_daemon(dir, domid), ret;
	char *text = NULL;

	ret = fd < 0 ? fd
		     : talk_capture(fd, json_object_to_json_string_ext(question, 0), &text, memory);
	json_object_put(question);
	ret = ret ? no_answer(dir, domid, ret, f) : read_answer(text, answer, f);
	if (!ret && *memory < 0) {
		json_object_put(*answer);
		*answer = NULL;
		ret = sr_fail(f, EPROTO, "splitringd gave no memory to read from; restart it");
	}
	if (ret && fd >= 0)
		close(fd);
	else if (!ret)
		*connection = fd;
	return ret;
}
