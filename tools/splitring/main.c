/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "machines.h"

#include <tools/rundir.h>

#include <errno.h>
#include <getopt.h>
#include <json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xenstore.h>

static const struct command commands[] = {
	{ "machine",
	  "start NAME [--memory MIB] [--console-dir DIR] [--hugepages]\n"
	  "                [--trust-guests] [--foreground]",
	  "start an embedded machine", cmd_machine },
	{ "machine", "stop NAME", "stop it and all its guests", cmd_machine },
	{ "machine", "list [--json]", "the machines of this host", cmd_machine },
	{ "create", "FILE [KEY=VALUE]... [-c|--console]",
	  "start a guest from an xl.cfg(5); -c: follow its console to its end", cmd_create },
	{ "list", "[--long] [--json]", "the domains", cmd_list },
	{ "info", "[--json]", "the machine and its splitringd", cmd_info },
	{ "destroy", "DOMAIN...", "end guests at once", cmd_destroy },
	{ "dmesg", "", "the machine's log", cmd_dmesg },
	{ "console", "DOMAIN", "what a guest has printed", cmd_console },
	{ "block-attach", "DOMAIN DISKSPEC", "give a guest a disk", cmd_block_attach },
	{ "block-detach", "DOMAIN VDEV [--force]", "take it away", cmd_block_detach },
	{ "block-list", "[DOMAIN]... [--json]", "the disks and their statistics", cmd_block_list },
	{ "block-refresh", "DOMAIN VDEV", "look at the size of a disk's image again",
	  cmd_block_refresh },
	{ "network-attach", "DOMAIN [KEY=VALUE]...", "give a guest a NIC", cmd_network_attach },
	{ "network-detach", "DOMAIN DEVID|MAC [--force]", "take it away", cmd_network_detach },
	{ "network-link", "DOMAIN DEVID|MAC up|down", "plug its cable in, or pull it out",
	  cmd_network_link },
	{ "network-list", "[DOMAIN]... [--json]", "the NICs and their statistics",
	  cmd_network_list },
	{ "top", "[-b|--batch] [-n|--iterations N] [-d|--delay SECONDS] [--json]",
	  "what disks and NICs do now, a row each", cmd_top },
	{ "upgrade", "", "put the splitringd that is installed in the place of the one that runs",
	  cmd_upgrade },
	{ "capture", "[VIF] [-w|--write FILE] [-c|--count COUNT] [-s|--snaplen SNAPLEN]",
	  "what goes through NICs, as pcapng; VIF: vif3.0, DOMAIN, or all", cmd_capture },
	{ 0 },
};

static void help(FILE *out)
{
	fputs("usage: splitring [-m|--machine NAME] COMMAND [ARGUMENT]...\n\n", out);
	for (const struct command *c = commands; c->name; c++)
		fprintf(out, "  %s %s\n        %s\n", c->name, c->arguments, c->help);
	fputs("\n"
	      "  -m, --machine NAME  the machine: a name, or a directory (default:\n"
	      "                      $SPLITRING_MACHINE, or the only one that runs), or\n"
	      "                      xen: for the Xen host that this is\n"
	      "  --version           print the version, and leave\n"
	      "  --help              print this, and leave\n"
	      "\n"
	      "DOMAIN is a name or a number. See splitring(1).\n",
	      out);
}

static void usage_of(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (!strcmp(c->name, name))
			fprintf(stderr, "usage: splitring %s %s\n", c->name, c->arguments);
}

static int use_xen(struct cli *cli)
{
	uint16_t domid;

	cli->xen = true;
	return sr_run_address_dir("xen:", cli->dir, sizeof(cli->dir), &domid, &cli->fail);
}

int cli_find(struct cli *cli)
{
	const char *env = getenv("SPLITRING_MACHINE");
	const char *name = cli->machine ? cli->machine : env && *env ? env : NULL;
	struct machines all;
	int ret;

	if (*cli->dir)
		return 0;
	if (name && !strcmp(name, "xen:"))
		return use_xen(cli);
	if (name)
		return sr_run_machine_dir(name, cli->dir, sizeof(cli->dir), &cli->fail);
	ret = machines_find(&all, &cli->fail);
	if (ret)
		return ret;
	if (all.running == 1)
		ret = sr_run_machine_dir(all.last_running, cli->dir, sizeof(cli->dir), &cli->fail);
	else if (!all.running && !access("/dev/xen/gntdev", F_OK))
		ret = use_xen(cli);
	else if (!all.running)
		ret = sr_fail(&cli->fail, ENOENT,
			      "no machine runs here; start one: splitring machine start NAME");
	else
		ret = sr_fail(&cli->fail, EINVAL, "%zu machines run here; choose one with -m NAME",
			      all.running);
	machines_free(&all);
	return ret;
}

int cli_open(struct cli *cli)
{
	int ret;

	if (cli->ctl)
		return 0;
	ret = cli_find(cli);
	if (ret)
		return ret;
	if (cli->xen)
		return sr_fail(
		    &cli->fail, ENOTSUP,
		    "on a Xen host that is xl's; splitring has info, block-list, block-refresh, "
		    "network-list, network-link and capture there");
	ret = sr_control_open(cli->dir, &cli->ctl);
	if (ret == -ENOENT || ret == -ECONNREFUSED)
		return sr_fail(&cli->fail, ENOENT,
			       "%s: no machine runs there; splitring machine start NAME", cli->dir);
	return ret ? sr_fail(&cli->fail, -ret, "%s: can't reach the machine: %s", cli->dir,
			     strerror(-ret))
		   : 0;
}

int cli_open_store(struct cli *cli)
{
	int ret = cli_open(cli);

	if (ret || cli->xs)
		return ret;
	cli->xs = machine_xenstore(cli->dir);
	return cli->xs ? 0
		       : sr_fail(&cli->fail, errno, "%s: can't reach its xenstore: %m", cli->dir);
}

int cli_option(struct cli *cli, int argc, char **argv, const struct option *options, int min,
	       int max)
{
	/* Those that have a short name too. */
	static const char with_short[] = "bcdnsw";
	char short_names[2 * sizeof(with_short) + 1] = ":", *end = short_names + 1;
	int c, left;

	for (const struct option *o = options; o->name; o++) {
		if (!strchr(with_short, o->val))
			continue;
		*end++ = (char)o->val;
		if (o->has_arg == required_argument)
			*end++ = ':';
	}
	opterr = 0;
	c = getopt_long(argc, argv, short_names, options, NULL);
	if (c == ':' || c == '?') {
		sr_fail(&cli->fail, EINVAL, "%s: %s", argv[optind - 1],
			c == ':' ? "it needs a value" : "unknown option");
		return '?';
	}
	left = argc - optind;
	if (c == -1 && (left < min || (max >= 0 && left > max))) {
		sr_fail(&cli->fail, EINVAL, "%s: too %s arguments", argv[0],
			left < min ? "few" : "many");
		return '?';
	}
	return c;
}

static bool parse_domid(const char *s, uint16_t *domid)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	*domid = (uint16_t)n;
	return *s >= '0' && *s <= '9' && !*end && n < 0x7ff0;
}

int cli_domain(struct cli *cli, const char *what, struct sr_domain_list_entry *entry)
{
	uint16_t domid;
	int at = -1, ret = cli_open(cli);

	if (ret)
		return ret;
	/* A guest may be called "7", but then its number is what it answers to. */
	if (parse_domid(what, &domid) && !sr_control_info(cli->ctl, domid, entry))
		return 0;
	while (!(ret = sr_control_next(cli->ctl, at, entry))) {
		if (!strcmp(entry->name, what))
			return 0;
		at = entry->domid;
	}
	return sr_fail(&cli->fail, ret == -ENOENT ? ENOENT : -ret,
		       "%s: no such domain; see splitring list", what);
}

void cli_print_json(struct json_object *value)
{
	puts(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PRETTY |
						       JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(value);
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct command *c = commands;
	int ret;

	while (c->name && strcmp(c->name, argv[0]))
		c++;
	if (!c->name) {
		fprintf(stderr, "splitring: %s: no such command; see splitring --help\n", argv[0]);
		return CLI_USAGE;
	}
	optind = 0;
	ret = c->run(cli, argc, argv);
	if (ret == CLI_USAGE) {
		fprintf(stderr, "splitring: %s\n", cli->fail.line);
		usage_of(c->name);
		return CLI_USAGE;
	}
	if (ret < 0)
		fprintf(stderr, "splitring: %s\n", cli->fail.line);
	/* A full disk must not pass for success. */
	if (fflush(stdout) && ret >= 0) {
		fprintf(stderr, "splitring: can't write the output: %m\n");
		ret = -EIO;
	}
	return ret ? 1 : 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "machine", required_argument, NULL, 'm' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct cli cli = { 0 };
	int c, status;

	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt_long(argc, argv, "+m:h", options, NULL)) != -1) {
		switch (c) {
		case 'm':
			cli.machine = optarg;
			break;
		case 'V':
			puts("splitring " SPLITRING_VERSION);
			return 0;
		case 'h':
			help(stdout);
			return 0;
		default:
			return CLI_USAGE;
		}
	}
	if (optind == argc) {
		help(stderr);
		return CLI_USAGE;
	}
	status = run(&cli, argc - optind, argv + optind);
	if (cli.xs)
		xs_close(cli.xs);
	sr_control_close(cli.ctl);
	return status;
}
