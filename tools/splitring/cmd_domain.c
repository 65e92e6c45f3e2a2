/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "device.h"
#include "machines.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

static const struct option no_options[] = { { 0 } };
static const struct option json_options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };

/* How long what a destroyed guest leaves in xenstore may take to go: a backend's step and some. */
#define CLEAN_MS 12000

static const char *kind_name(unsigned kind)
{
	return kind == SR_KIND_DOM0 ? "dom0" : kind == SR_KIND_DRIVER ? "driver" : "guest";
}

/* CPU time of the domain's processes in seconds. */
static double cpu_seconds(const struct sr_domain_list_entry *e)
{
	unsigned long long ticks = 0, user, sys;
	char path[64], line[1024];

	for (unsigned i = 0; i < e->processes && i < SR_INFO_PROCESSES; i++) {
		FILE *file;
		char *p;

		snprintf(path, sizeof(path), "/proc/%d/stat", (int)e->pids[i]);
		file = fopen(path, "re");
		if (!file)
			continue;
		/* The name in parentheses may hold blanks; fields 14 and 15 follow 11 after it. */
		p = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
		if (p && sscanf(p + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu",
				&user, &sys) == 2)
			ticks += user + sys;
		fclose(file);
	}
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static void format_uuid(const uint8_t *u, char *text, size_t size)
{
	size_t at = 0;

	for (unsigned i = 0; i < 16 && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%02x",
				       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
}

static void add_number(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static struct json_object *domain_json(const struct sr_domain_list_entry *e)
{
	struct json_object *o = json_object_new_object(), *pids = json_object_new_array();
	char uuid[40];

	format_uuid(e->uuid, uuid, sizeof(uuid));
	add_number(o, "domid", e->domid);
	json_object_object_add(o, "name", json_object_new_string(e->name));
	json_object_object_add(o, "uuid", json_object_new_string(uuid));
	json_object_object_add(o, "kind", json_object_new_string(kind_name(e->kind)));
	json_object_object_add(
	    o, "state",
	    json_object_new_string(e->status == SR_DOMAIN_RUNNING ? "running" : "dying"));
	add_number(o, "memory_mib", e->pages / 256);
	add_number(o, "vcpus", e->vcpus);
	add_number(o, "start_time", (uint64_t)e->start_time);
	json_object_object_add(o, "cpu_seconds", json_object_new_double(cpu_seconds(e)));
	add_number(o, "grant_frames", e->grant_frames);
	add_number(o, "grants", e->granted);
	add_number(o, "grants_pinned", e->pinned);
	add_number(o, "event_channels", e->ports);
	add_number(o, "connections", e->connections);
	add_number(o, "store_nodes", e->store_nodes);
	add_number(o, "store_watches", e->store_watches);
	add_number(o, "store_connections", e->store_connections);
	for (unsigned i = 0; i < e->processes && i < SR_INFO_PROCESSES; i++)
		json_object_array_add(pids, json_object_new_int(e->pids[i]));
	json_object_object_add(o, "pids", pids);
	return o;
}

static void print_domain(const struct sr_domain_list_entry *e, bool longer)
{
	char uuid[40];

	printf("%-30s %5u %6llu %5u     %s %9.1f\n", e->name, e->domid,
	       (unsigned long long)e->pages / 256, e->vcpus,
	       e->status == SR_DOMAIN_RUNNING ? "r-----" : "-----d", cpu_seconds(e));
	if (!longer)
		return;
	format_uuid(e->uuid, uuid, sizeof(uuid));
	printf("    %s, uuid %s, pid %d\n", kind_name(e->kind), uuid,
	       e->processes ? (int)e->pids[0] : 0);
	printf("    grants %llu, pinned %llu, event channels %u, connections %u\n",
	       (unsigned long long)e->granted, (unsigned long long)e->pinned, e->ports,
	       e->connections);
	printf("    xenstore: %u nodes, %u watches, %u connections\n", e->store_nodes,
	       e->store_watches, e->store_connections);
}

int cmd_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' },
						 { "long", no_argument, NULL, 'l' },
						 { 0 } };
	struct sr_domain_list_entry entry;
	bool json = false, longer = false;
	struct json_object *array;
	int c, ret, at = -1;

	while ((c = cli_option(cli, argc, argv, options, 0, 0)) == 'j' || c == 'l') {
		json |= c == 'j';
		longer |= c == 'l';
	}
	if (c != -1)
		return CLI_USAGE;
	ret = cli_open(cli);
	if (ret)
		return ret;
	array = json_object_new_array();
	if (!json)
		printf("%-30s %5s %6s %5s     %-6s %9s\n", "Name", "ID", "Mem", "VCPUs", "State",
		       "Time(s)");
	while (!(ret = sr_control_next(cli->ctl, at, &entry))) {
		at = entry.domid;
		if (json)
			json_object_array_add(array, domain_json(&entry));
		else
			print_domain(&entry, longer);
	}
	if (ret != -ENOENT) {
		json_object_put(array);
		return sr_fail(&cli->fail, -ret, "%s: the machine does not answer: %s", cli->dir,
			       strerror(-ret));
	}
	if (json)
		cli_print_json(array);
	else
		json_object_put(array);
	return 0;
}

static struct json_object *machine_json(struct cli *cli, const struct sr_machine_status *s)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "dir", json_object_new_string(cli->dir));
	add_number(o, "pid", (uint64_t)s->pid);
	add_number(o, "start_time", (uint64_t)s->start_time);
	add_number(o, "domains", s->domains);
	add_number(o, "connections", s->connections);
	add_number(o, "event_channels", s->ports);
	add_number(o, "store_nodes", s->store_nodes);
	add_number(o, "store_watches", s->store_watches);
	add_number(o, "store_connections", s->store_connections);
	add_number(o, "fds", s->fds);
	return o;
}

static void print_object(const char *title, struct json_object *o)
{
	printf("%s\n", title);
	json_object_object_foreach(o, key, value)
	{
		if (!json_object_is_type(value, json_type_array) &&
		    !json_object_is_type(value, json_type_object))
			printf("  %-26s %s\n", key, json_object_get_string(value));
	}
}

static int info_of_xen(struct cli *cli, bool json)
{
	struct json_object *all, *daemon;
	int ret = xen_info(cli, &daemon);

	if (ret)
		return ret;
	if (!json) {
		print_object("splitringd", daemon);
		json_object_put(daemon);
		return 0;
	}
	all = json_object_new_object();
	json_object_object_add(all, "daemon", daemon);
	cli_print_json(all);
	return 0;
}

int cmd_info(struct cli *cli, int argc, char **argv)
{
	struct json_object *answer = NULL, *all;
	struct sr_machine_status status;
	bool json = false;
	int c, ret;

	while ((c = cli_option(cli, argc, argv, json_options, 0, 0)) == 'j')
		json = true;
	if (c != -1)
		return CLI_USAGE;
	ret = cli_find(cli);
	if (!ret && cli->xen)
		return info_of_xen(cli, json);
	if (!ret)
		ret = cli_open(cli);
	if (ret)
		return ret;
	ret = sr_control_status(cli->ctl, &status);
	if (ret)
		return sr_fail(&cli->fail, -ret, "%s: the machine does not answer: %s", cli->dir,
			       strerror(-ret));
	machine_ask(cli->dir, 0, "info", &answer, &cli->fail);
	if (answer)
		json_object_object_del(answer, "ok");
	all = json_object_new_object();
	json_object_object_add(all, "machine", machine_json(cli, &status));
	json_object_object_add(all, "daemon", answer);
	if (json) {
		cli_print_json(all);
		return 0;
	}
	print_object("machine", json_object_object_get(all, "machine"));
	if (answer)
		print_object("splitringd", answer);
	else
		printf("splitringd\n  %s\n", cli->fail.line);
	json_object_put(all);
	return 0;
}

/* The machine's caretaker closes and removes what a guest leaves: wait until it has. */
static int wait_clean(struct cli *cli, const struct device *vbds, unsigned n)
{
	struct timespec nap = { .tv_nsec = 10000000 };
	int ms = 0;

	for (unsigned i = 0; i < n; i++) {
		for (; device_state(cli->xs, &vbds[i]) >= 0; ms += 10) {
			if (ms >= CLEAN_MS)
				return sr_fail(&cli->fail, ETIMEDOUT,
					       "domain %u is gone, but its %ss are not closed "
					       "yet; see splitringd's log",
					       vbds[i].domid, device_word(&vbds[i]));
			nanosleep(&nap, NULL);
		}
	}
	return 0;
}

static int destroy(struct cli *cli, const char *what)
{
	struct sr_domain_list_entry entry;
	struct device *vbds, *vifs;
	unsigned n, m;
	int ret = cli_domain(cli, what, &entry);

	if (ret)
		return ret;
	if (entry.kind == SR_KIND_DOM0)
		return sr_fail(&cli->fail, EINVAL,
			       "domain 0 is the machine itself; use splitring machine stop");
	if (device_list(cli->xs, DEVICE_VBD, entry.domid, &vbds, &n))
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	if (device_list(cli->xs, DEVICE_VIF, entry.domid, &vifs, &m)) {
		free(vbds);
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	}
	ret = sr_control_destroy(cli->ctl, entry.domid);
	/* It may have ended by itself meanwhile. */
	if (ret && ret != -ESRCH)
		sr_fail(&cli->fail, -ret, "%s: can't be destroyed: %s", entry.name, strerror(-ret));
	else
		ret = wait_clean(cli, vbds, n);
	if (!ret)
		ret = wait_clean(cli, vifs, m);
	free(vbds);
	free(vifs);
	return ret;
}

int cmd_destroy(struct cli *cli, int argc, char **argv)
{
	int ret;

	if (cli_option(cli, argc, argv, no_options, 1, -1) != -1)
		return CLI_USAGE;
	ret = cli_open_store(cli);
	for (int i = optind; i < argc && !ret; i++)
		ret = destroy(cli, argv[i]);
	return ret;
}

static bool print_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	console_copy(fd);
	close(fd);
	return true;
}

int cmd_dmesg(struct cli *cli, int argc, char **argv)
{
	char path[PATH_MAX + 16];
	int ret;

	if (cli_option(cli, argc, argv, no_options, 0, 0) != -1)
		return CLI_USAGE;
	ret = cli_find(cli);
	if (ret)
		return ret;
	snprintf(path, sizeof(path), "%s/log.old", cli->dir);
	print_file(path);
	snprintf(path, sizeof(path), "%s/log", cli->dir);
	if (print_file(path))
		return 0;
	return sr_fail(&cli->fail, errno, "%s: no machine runs there; splitring machine start NAME",
		       cli->dir);
}

int cmd_console(struct cli *cli, int argc, char **argv)
{
	struct sr_domain_list_entry entry;
	char path[PATH_MAX];
	int ret;

	if (cli_option(cli, argc, argv, no_options, 1, 1) != -1)
		return CLI_USAGE;
	ret = cli_open(cli);
	if (ret)
		return ret;
	/* One that has ended has left its log under its name. */
	ret = console_path(cli, cli_domain(cli, argv[optind], &entry) ? argv[optind] : entry.name,
			   path, sizeof(path));
	if (ret)
		return ret;
	if (strchr(argv[optind], '/') || !print_file(path))
		return sr_fail(&cli->fail, ENOENT,
			       "%s: no such guest, now or before; see splitring list",
			       argv[optind]);
	return 0;
}
