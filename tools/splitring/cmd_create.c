/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "device.h"
#include "guest.h"
#include "machines.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

/* How often a console is looked at while it is followed. */
#define FOLLOW_NS 20000000

int console_path(struct cli *cli, const char *name, char *path, size_t size)
{
	char dir[PATH_MAX];
	int ret = machine_console_dir(cli->dir, dir, sizeof(dir), &cli->fail);

	if (ret)
		return ret;
	if ((size_t)snprintf(path, size, "%s/guest-%s.log", dir, name) >= size)
		return sr_fail(&cli->fail, ENAMETOOLONG, "%s: too long for a path", dir);
	return 0;
}

bool console_copy(int fd)
{
	char buf[16384];
	ssize_t n;
	bool any = false;

	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		fwrite(buf, 1, (size_t)n, stdout);
		any = true;
	}
	fflush(stdout);
	return any;
}

/* Until the guest's process has ended; its status becomes ours. */
static int follow(const struct launch *l, int fd)
{
	struct timespec nap = { .tv_nsec = FOLLOW_NS };
	int status = 0;

	while (waitpid(l->monitor, &status, WNOHANG) != l->monitor) {
		if (!console_copy(fd))
			nanosleep(&nap, NULL);
	}
	console_copy(fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int create_domain(struct cli *cli, const struct guest *g, uint16_t *domid)
{
	struct sr_domain_spec spec = {
		.kind = SR_KIND_GUEST,
		.name = g->name,
		.pages = g->pages,
		.vcpus = g->vcpus,
	};
	int ret;

	memcpy(spec.uuid, g->uuid, sizeof(spec.uuid));
	ret = sr_control_create(cli->ctl, &spec, domid);
	if (ret == -EEXIST)
		return sr_fail(&cli->fail, EEXIST,
			       "%s: a domain of that name exists; destroy it, or use another name",
			       g->name);
	return ret ? sr_fail(&cli->fail, -ret, "%s: can't create the domain: %s", g->name,
			     strerror(-ret))
		   : 0;
}

static int start_program(struct cli *cli, uint16_t domid, const struct guest *g, struct launch *l)
{
	char console[PATH_MAX];
	int ret = console_path(cli, g->name, console, sizeof(console));

	if (!ret)
		ret = launch_prepare(cli->dir, domid, g, console, l, &cli->fail);
	if (ret)
		return ret;
	ret = sr_control_attach(cli->ctl, domid, l->pid);
	if (ret) {
		launch_cancel(l);
		return sr_fail(&cli->fail, -ret, "%s: can't attach pid %d to the domain: %s",
			       g->name, (int)l->pid, strerror(-ret));
	}
	return launch_go(l, g, &cli->fail);
}

static void remove_devices(struct cli *cli, uint16_t domid, enum device_type type)
{
	struct device *devices;
	unsigned n;

	if (device_list(cli->xs, type, domid, &devices, &n))
		return;
	for (unsigned i = 0; i < n; i++)
		device_remove(cli->xs, cli->dir, &devices[i], true, &cli->fail);
	free(devices);
}

/* All of it, or nothing stays behind. */
static int build(struct cli *cli, const struct guest *g, struct launch *l)
{
	struct sr_fail why;
	uint16_t domid;
	int ret = create_domain(cli, g, &domid);

	if (ret)
		return ret;
	for (size_t i = 0; i < g->disk_count && !ret; i++)
		ret = block_attach(cli, domid, &g->disks[i]);
	for (size_t i = 0; i < g->nic_count && !ret; i++)
		ret = network_attach(cli, domid, &g->nics[i], (uint32_t)i);
	if (!ret)
		ret = start_program(cli, domid, g, l);
	if (!ret)
		return 0;
	why = cli->fail;
	remove_devices(cli, domid, DEVICE_VBD);
	remove_devices(cli, domid, DEVICE_VIF);
	sr_control_destroy(cli->ctl, domid);
	cli->fail = why;
	return ret;
}

/* Where the guest's output begins: the log may hold that of an earlier one. */
static int open_console(struct cli *cli, const struct guest *g)
{
	char path[PATH_MAX];
	int fd;

	if (console_path(cli, g->name, path, sizeof(path)))
		return -1;
	fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	else
		sr_fail(&cli->fail, errno, "%s: %m", path);
	return fd;
}

static int create(struct cli *cli, const struct guest *g, bool console)
{
	struct launch l = { .go = -1, .up = -1 };
	int fd = -1, ret = cli_open_store(cli), status;

	if (!ret && console && (fd = open_console(cli, g)) < 0)
		ret = -EIO;
	if (!ret)
		ret = build(cli, g, &l);
	if (!ret && console) {
		status = follow(&l, fd);
		if (status)
			ret = sr_fail(&cli->fail, ECHILD,
				      "%s: its program ended with status %d; see splitring dmesg",
				      g->name, status);
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

int cmd_create(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "console", no_argument, NULL, 'c' }, { 0 } };
	bool console = false;
	struct guest guest;
	int c, ret;

	while ((c = cli_option(cli, argc, argv, options, 1, -1)) == 'c')
		console = true;
	if (c != -1)
		return CLI_USAGE;
	ret = guest_read(argv[optind], (const char *const *)argv + optind + 1, &guest, &cli->fail);
	if (ret)
		return ret;
	ret = create(cli, &guest, console);
	guest_free(&guest);
	return ret;
}
