/* SPDX-License-Identifier: MIT */
/*
 * The lab's agent: runs commands for whoever is at the other end of a byte stream, in dom0 (a
 * serial port) and in guests (the Xen console).
 *
 *   agent serve DEVICE   answers on DEVICE for ever
 *   agent relay DEVICE   ties DEVICE to stdin and stdout: how dom0 passes a guest's console on
 *
 * The stream is lines. One that starts with the byte 0x1e is ours; all others are what the kernel
 * had to say, and are left alone. Within a line of ours %XX stands for a byte that a terminal could
 * eat. to the agent:    ID run COMMAND     by /bin/sh, stdin is /dev/null ID talk COMMAND    the
 * same, stdin is what follows ID in TEXT         a line for that stdin      ID eof ID kill SIGNAL
 * to the command and its children from the agent:  ID out TEXT        a line of stdout or stderr ID
 * part TEXT       the same, no newline follows ID end STATUS      128 + N: killed by signal N 0
 * hello            it has started: older commands are gone
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define MARK     0x1e
#define MAX_JOBS 64
#define MAX_LINE 65536
#define MAX_TEXT 1024 /* of one line of output; a longer one comes in parts */

struct job {
	unsigned long id; /* 0: free */
	pid_t pid;
	int out, in; /* our ends of its pipes; -1: closed */
	size_t len;
	char text[MAX_TEXT];
};

static struct job jobs[MAX_JOBS];
static int device;

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			return; /* nobody reads any more */
		}
	}
}

static void say(unsigned long id, const char *word, const char *text, size_t len)
{
	char line[3 * MAX_TEXT + 64];
	size_t at = (size_t)snprintf(line, 64, "%c%lu %s", MARK, id, word);

	if (text)
		line[at++] = ' ';
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == '%' || c == 0x7f)
			at += (size_t)snprintf(line + at, 4, "%%%02X", c);
		else
			line[at++] = (char)c;
	}
	line[at++] = '\n';
	write_all(device, line, at);
}

static size_t decode(char *text)
{
	char *to = text;

	for (char *from = text; *from; to++) {
		char hex[3] = { 0 };

		if (*from == '%' && from[1] && from[2]) {
			memcpy(hex, from + 1, 2);
			*to = (char)strtoul(hex, NULL, 16);
			from += 3;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
	return (size_t)(to - text);
}

static void pass_on(struct job *j, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] != '\n')
			j->text[j->len++] = data[i];
		if (data[i] == '\n' || j->len == MAX_TEXT) {
			say(j->id, data[i] == '\n' ? "out" : "part", j->text, j->len);
			j->len = 0;
		}
	}
}

/* False at its end, or when it has nothing more for now. */
static bool read_output(struct job *j)
{
	char data[4096];
	ssize_t n = read(j->out, data, sizeof(data));

	if (n > 0)
		pass_on(j, data, (size_t)n);
	else if (n == 0 || errno != EAGAIN) {
		close(j->out);
		j->out = -1;
	}
	return n > 0;
}

static void close_input(struct job *j)
{
	if (j->in >= 0)
		close(j->in);
	j->in = -1;
}

/* The command has ended. Children that it left running may hold the pipe; they are not waited for.
 */
static void end(struct job *j, int status)
{
	char number[16];

	while (j->out >= 0 && read_output(j))
		;
	if (j->len)
		say(j->id, "part", j->text, j->len);
	if (j->out >= 0)
		close(j->out);
	close_input(j);
	snprintf(number, sizeof(number), "%d",
		 WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	say(j->id, "end", number, strlen(number));
	j->id = 0;
}

static void reap(void)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < MAX_JOBS; i++)
			if (jobs[i].id && jobs[i].pid == pid)
				end(&jobs[i], status);
}

static struct job *find(unsigned long id)
{
	for (size_t i = 0; i < MAX_JOBS; i++)
		if (jobs[i].id == id)
			return &jobs[i];
	return NULL;
}

static void child(const char *command, int out, int in)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

static void run(unsigned long id, const char *command, bool talk)
{
	struct job *j = find(0);
	int out[2], in[2] = { -1, -1 };

	if (!j || find(id) || pipe2(out, O_CLOEXEC)) {
		say(id, "end", "126", 3);
		return;
	}
	if (talk ? pipe2(in, O_CLOEXEC) : (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) {
		close(out[0]);
		close(out[1]);
		say(id, "end", "126", 3);
		return;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	*j = (struct job){ .id = id, .out = out[0], .in = in[1] };
	j->pid = fork();
	if (j->pid == 0)
		child(command, out[1], in[0]);
	close(out[1]);
	close(in[0]);
	if (j->pid < 0)
		end(j, 126 << 8);
}

static void obey(char *line)
{
	char *word, *text = NULL;
	unsigned long id = strtoul(line, &word, 10);
	struct job *j;
	size_t len = 0;

	if (!id || *word != ' ')
		return;
	word++;
	text = strchr(word, ' ');
	if (text) {
		*text++ = 0;
		len = decode(text);
	}
	if (text && (!strcmp(word, "run") || !strcmp(word, "talk"))) {
		run(id, text, *word == 't');
		return;
	}
	j = find(id);
	if (!j)
		return;
	if (!strcmp(word, "in") && j->in >= 0) {
		write_all(j->in, text ? text : "", len);
		write_all(j->in, "\n", 1);
	} else if (!strcmp(word, "eof")) {
		close_input(j);
	} else if (!strcmp(word, "kill")) {
		kill(-j->pid, text ? atoi(text) : SIGKILL);
	}
}

/* Takes what has come and obeys each line that is complete. False: the stream has ended. */
static bool listen_once(void)
{
	static char line[MAX_LINE];
	static size_t len;
	char data[4096];
	ssize_t n = read(device, data, sizeof(data));

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	for (ssize_t i = 0; i < n; i++) {
		if (data[i] == '\n' || data[i] == '\r') {
			line[len] = 0;
			if (len && line[0] == MARK)
				obey(line + 1);
			len = 0;
		} else if (len < sizeof(line) - 1) {
			line[len++] = data[i];
		}
	}
	return true;
}

static int open_device(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios t;

	if (fd < 0) {
		fprintf(stderr, "agent: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	if (!tcgetattr(fd, &t)) {
		cfmakeraw(&t);
		cfsetspeed(&t, B115200);
		t.c_cflag |= CLOCAL;
		tcsetattr(fd, TCSANOW, &t);
	}
	return fd;
}

static int serve(void)
{
	sigset_t set;
	int children;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	children = signalfd(-1, &set, SFD_CLOEXEC);
	say(0, "hello", NULL, 0);
	for (;;) {
		struct pollfd p[2 + MAX_JOBS] = { { .fd = device, .events = POLLIN },
						  { .fd = children, .events = POLLIN } };
		struct signalfd_siginfo info;

		for (size_t i = 0; i < MAX_JOBS; i++)
			p[2 + i] = (struct pollfd){ .fd = jobs[i].id ? jobs[i].out : -1,
						    .events = POLLIN };
		if (poll(p, 2 + MAX_JOBS, -1) < 0 && errno != EINTR)
			return 1;
		for (size_t i = 0; i < MAX_JOBS; i++)
			if (p[2 + i].revents && jobs[i].id)
				read_output(&jobs[i]);
		if (p[1].revents && read(children, &info, sizeof(info)) > 0)
			reap();
		if (p[0].revents && !listen_once())
			return 1;
	}
}

static int relay(void)
{
	char data[4096];
	ssize_t n;

	for (;;) {
		struct pollfd p[] = { { .fd = 0, .events = POLLIN },
				      { .fd = device, .events = POLLIN } };

		poll(p, 2, -1);
		for (int i = 0; i < 2; i++) {
			if (!p[i].revents)
				continue;
			n = read(p[i].fd, data, sizeof(data));
			if (n <= 0)
				return 0;
			write_all(i ? 1 : device, data, (size_t)n);
		}
	}
}

int main(int argc, char **argv)
{
	if (argc != 3 || (strcmp(argv[1], "serve") && strcmp(argv[1], "relay"))) {
		fprintf(stderr, "usage: agent serve|relay DEVICE\n");
		return 2;
	}
	device = open_device(argv[2]);
	return *argv[1] == 's' ? serve() : relay();
}
