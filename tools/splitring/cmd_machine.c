/* SPDX-License-Identifier: MIT */
#include "caretaker.h"
#include "cli.h"
#include "machines.h"

#include <embedded/machine.h>
#include <tools/rundir.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xenstore.h>

#define STOP_MS 10000

struct start {
	const char *name;
	char dir[PATH_MAX];
	char console[PATH_MAX];
	struct sr_machine_opts opts;
	bool foreground;
};

static struct sr_machine *running;

static void on_signal(int sig)
{
	sr_machine_stop(running);
}

/* The directories are there, the log is empty. */
static int make_files(struct start *s, struct sr_fail *f)
{
	char path[PATH_MAX + 8];
	int fd, ret;

	ret = sr_run_make_dir(s->dir, f);
	if (!ret)
		ret = sr_run_make_dir(s->console, f);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/log", s->dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return sr_fail(f, errno, "%s: can't write there: %m", path);
	close(fd);
	return 0;
}

static void remove_console(const char *dir)
{
	char path[2 * PATH_MAX];
	struct dirent *d;
	DIR *list = opendir(dir);

	while (list && (d = readdir(list))) {
		snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
		if (!strncmp(d->d_name, "guest-", 6))
			unlink(path);
	}
	if (list)
		closedir(list);
	rmdir(dir);
}

/* What this command made in the machine's directory; the machine removes its own and the rest. */
static void remove_files(const char *dir)
{
	static const char *const names[] = { "log", "log.old" };
	char path[PATH_MAX + 32];
	struct dirent *d;
	DIR *list;

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/console", dir);
	remove_console(path);
	list = opendir(dir);
	while (list && (d = readdir(list))) {
		unsigned domid;
		int end = 0;

		/* A lock that a daemon left; one that still runs is about to notice. */
		if (sscanf(d->d_name, "splitringd-%u.%n", &domid, &end) == 1 && end) {
			snprintf(path, sizeof(path), "%s/splitringd-%u.lock", dir, domid);
			unlink(path);
			snprintf(path, sizeof(path), "%s/splitringd-%u.sock", dir, domid);
			unlink(path);
		}
	}
	if (list)
		closedir(list);
}

/* So that every later command finds it. */
static void publish_console(const struct start *s)
{
	struct xs_handle *xs = machine_xenstore(s->dir);

	if (!xs)
		return;
	xs_write(xs, XBT_NULL, "/tool/splitring/console-dir", s->console,
		 (unsigned)strlen(s->console));
	xs_close(xs);
}

/* In the process that is the machine. ready_fd gets "" or the line that says why not. */
static int run_machine(struct start *s, int ready_fd)
{
	struct caretaker *caretaker = NULL;
	struct sr_machine *machine;
	struct sr_fail f;
	int ret;

	ret = sr_machine_new(&s->opts, &machine);
	if (ret == -EBUSY)
		sr_fail(&f, EBUSY, "%s: a machine runs there already", s->dir);
	else if (ret)
		sr_fail(&f, -ret, "%s: can't start a machine: %s", s->dir, strerror(-ret));
	else
		ret = make_files(s, &f);
	if (ret) {
		dprintf(ready_fd, "%s", f.line);
		return ret;
	}
	running = machine;
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	ret = caretaker_start(s->dir, &caretaker);
	machine_log(s->dir, "machine: %s started, pid %d", s->name, (int)getpid());
	close(ready_fd);
	if (!ret)
		ret = sr_machine_run(machine);
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	remove_files(s->dir);
	sr_machine_free(machine);
	caretaker_join(caretaker);
	rmdir(s->dir);
	return ret;
}

/* The parent's part: what the machine said before it began to serve. */
static int await_ready(const struct start *s, int fd, struct sr_fail *f)
{
	char line[sizeof(f->line)];
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, line + len, sizeof(line) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	line[len] = '\0';
	if (len)
		return sr_fail(f, EIO, "%s", line);
	publish_console(s);
	return 0;
}

static int start_background(struct start *s, struct sr_fail *f)
{
	int fds[2], null;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return sr_fail(f, errno, "can't make a pipe: %m");
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return sr_fail(f, errno, "can't fork: %m");
	}
	if (pid) {
		close(fds[1]);
		return await_ready(s, fds[0], f);
	}
	close(fds[0]);
	setsid();
	if (chdir("/"))
		_exit(1);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	close(null);
	exit(run_machine(s, fds[1]) ? 1 : 0);
}

static int start_foreground(struct start *s, struct sr_fail *f)
{
	int fds[2], ret;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return sr_fail(f, errno, "can't make a pipe: %m");
	/* A child does what the parent of a background machine does. */
	pid = fork();
	if (pid < 0) {
		ret = sr_fail(f, errno, "can't fork: %m");
		close(fds[0]);
		close(fds[1]);
		return ret;
	}
	if (!pid) {
		close(fds[1]);
		ret = await_ready(s, fds[0], f);
		if (ret)
			fprintf(stderr, "splitring: %s\n", f->line);
		_exit(0);
	}
	close(fds[0]);
	ret = run_machine(s, fds[1]);
	close(fds[1]);
	/* The line has been printed, or the machine has ended as it should. */
	return ret ? 1 : 0;
}

static bool good_name(const char *name)
{
	size_t n =
	    strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n && !name[n] && name[0] != '.' && n <= 48;
}

static int parse_start(struct cli *cli, struct start *s, int argc, char **argv)
{
	static const struct option options[] = {
		{ "memory", required_argument, NULL, 'M' },
		{ "console-dir", required_argument, NULL, 'C' },
		{ "hugepages", no_argument, NULL, 'H' },
		{ "trust-guests", no_argument, NULL, 'T' },
		{ "foreground", no_argument, NULL, 'F' },
		{ 0 },
	};
	const char *console = NULL;
	char *end;
	int c;

	while ((c = cli_option(cli, argc, argv, options, 1, 1)) != -1) {
		switch (c) {
		case 'M':
			s->opts.dom0_pages = strtoul(optarg, &end, 10) * 256;
			if (*optarg < '0' || *optarg > '9' || *end || !s->opts.dom0_pages ||
			    s->opts.dom0_pages > 1u << 28) {
				sr_fail(&cli->fail, EINVAL,
					"--memory: bad value `%s'; give MiB, from 1 to 1048576",
					optarg);
				return CLI_USAGE;
			}
			break;
		case 'C':
			console = optarg;
			break;
		case 'H':
			s->opts.hugetlb = true;
			break;
		case 'T':
			s->opts.trust_guests = true;
			break;
		case 'F':
			s->foreground = true;
			break;
		default:
			return CLI_USAGE;
		}
	}
	s->name = argv[optind];
	if (!strchr(s->name, '/') && !good_name(s->name)) {
		sr_fail(&cli->fail, EINVAL,
			"machine `%s': not a name; use up to 48 letters, digits, '.', '_', '-'",
			s->name);
		return CLI_USAGE;
	}
	c = sr_run_machine_dir(s->name, s->dir, sizeof(s->dir), &cli->fail);
	if (c)
		return c;
	if (console && *console != '/')
		return sr_fail(&cli->fail, EINVAL, "--console-dir: `%s' has to be an absolute path",
			       console);
	if ((size_t)snprintf(s->console, sizeof(s->console), "%s%s", console ? console : s->dir,
			     console ? "" : "/console") >= sizeof(s->console))
		return sr_fail(&cli->fail, ENAMETOOLONG,
			       "%s: too long for a path; use a shorter one", s->dir);
	s->opts.dir = s->dir;
	return 0;
}

static int machine_start(struct cli *cli, int argc, char **argv)
{
	struct start s = { 0 };
	int ret = parse_start(cli, &s, argc, argv);

	if (ret)
		return ret;
	ret = sr_run_make_dir(s.dir, &cli->fail);
	if (ret)
		return ret;
	return s.foreground ? start_foreground(&s, &cli->fail) : start_background(&s, &cli->fail);
}

static int machine_stop(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { 0 } };
	struct sr_machine_status status;
	struct pollfd fd;
	int ret, n;

	if (cli_option(cli, argc, argv, options, 1, 1) != -1)
		return CLI_USAGE;
	cli->machine = argv[optind];
	ret = cli_open(cli);
	if (ret)
		return ret;
	/* Its descriptor says when the process has ended, even where nobody waits for it. */
	ret = sr_control_status(cli->ctl, &status);
	fd = (struct pollfd){ .fd = ret ? -1 : pidfd_open(status.pid, 0), .events = POLLIN };
	if (!ret)
		ret = sr_control_shutdown(cli->ctl);
	if (ret && ret != -ECONNRESET) {
		sr_fail(&cli->fail, -ret, "%s: can't stop it: %s", cli->dir, strerror(-ret));
	} else {
		n = fd.fd >= 0 ? poll(&fd, 1, STOP_MS) : 1;
		ret = n > 0 ? 0
			    : sr_fail(&cli->fail, ETIMEDOUT,
				      "%s: pid %d has not ended in %d s; kill it", cli->dir,
				      (int)status.pid, STOP_MS / 1000);
	}
	if (fd.fd >= 0)
		close(fd.fd);
	return ret;
}

static struct json_object *machine_json(const struct machine_entry *e, const char *dir)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(e->name));
	json_object_object_add(o, "dir", json_object_new_string(dir));
	json_object_object_add(o, "running", json_object_new_boolean(e->pid != 0));
	json_object_object_add(o, "pid", json_object_new_int(e->pid));
	return o;
}

static int machine_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct json_object *array;
	struct machines all;
	char dir[PATH_MAX];
	bool json = false;
	int c, ret;

	while ((c = cli_option(cli, argc, argv, options, 0, 0)) == 'j')
		json = true;
	if (c != -1)
		return CLI_USAGE;
	ret = machines_find(&all, &cli->fail);
	if (ret)
		return ret;
	array = json_object_new_array();
	if (!json)
		printf("%-20s %-8s %s\n", "Name", "Pid", "Directory");
	for (size_t i = 0; i < all.count; i++) {
		const struct machine_entry *e = &all.entries[i];

		if (sr_run_machine_dir(e->name, dir, sizeof(dir), &cli->fail))
			continue;
		json_object_array_add(array, machine_json(e, dir));
		if (!json && e->pid)
			printf("%-20s %-8d %s\n", e->name, (int)e->pid, dir);
		else if (!json)
			printf("%-20s %-8s %s (died; start it again, or remove this)\n", e->name,
			       "-", dir);
	}
	machines_free(&all);
	if (json)
		cli_print_json(array);
	else
		json_object_put(array);
	return 0;
}

int cmd_machine(struct cli *cli, int argc, char **argv)
{
	if (argc < 2) {
		sr_fail(&cli->fail, EINVAL, "machine: start, stop or list?");
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "start"))
		return machine_start(cli, argc - 1, argv + 1);
	if (!strcmp(argv[1], "stop"))
		return machine_stop(cli, argc - 1, argv + 1);
	if (!strcmp(argv[1], "list"))
		return machine_list(cli, argc - 1, argv + 1);
	sr_fail(&cli->fail, EINVAL, "machine %s: no such command; use start, stop or list",
		argv[1]);
	return CLI_USAGE;
}
