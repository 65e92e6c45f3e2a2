/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <tools/cfg.h>

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_NET_THREADS 16

const char options_help[] =
    "usage: splitringd [OPTION]...\n"
    "Serves the disks and NICs of Xen guests, or of the guests of an embedded machine.\n"
    "\n"
    "  --hypervisor ADDRESS  xen:, embedded:DIR or embedded:DIR#DOMID\n"
    "                        (default: $SPLITRING_HYPERVISOR, or xen: on a Xen host)\n"
    "  --config FILE         read this file (default: " SPLITRINGD_CONFIG ",\n"
    "                        if it is there)\n"
    "  --check-config        say whether the configuration is good, and leave\n"
    "  --log FILE            append the log to FILE (default: standard error)\n"
    "  --log-level LEVEL     error, warning, info (default) or debug\n"
    "  --threads N           queue threads, 1 to 64 (default: 1)\n"
    "  --cpus LIST           pin a queue thread to each of these CPUs, as 2,4-7\n"
    "  --mode MODE           adaptive (default), poll or interrupt\n"
    "  --driver FILE.so      load a block driver; may be given again\n"
    "  --bridge NAME=UPLINK  put an uplink under the guests' NICs with bridge=NAME, as\n"
    "                        xenbr0=dpdk:net_tap0,iface=tap0; may be given again\n"
    "  --net-threads N       threads that move packets, 1 to 16 (default: 1)\n"
    "  --net-cpus LIST       pin each of these threads to one of these CPUs\n"
    "  --port FILE.so        load a driver of uplinks; may be given again\n"
    "  --pidfile FILE        write the worker's pid and the supervisor's there\n"
    "  --no-supervisor       do not fork; a killed daemon's disks stop until it is\n"
    "                        started again, and what was in flight is lost\n"
    "  --version             print the version, and leave\n"
    "  --help                print this, and leave\n"
    "\n"
    "See splitringd(8).\n";

static const struct sr_cfg_key keys[] = {
	{ .name = "hypervisor", .type = SR_CFG_STRING },
	{ .name = "log", .type = SR_CFG_STRING },
	{ .name = "log_level", .type = SR_CFG_STRING },
	{ .name = "threads", .type = SR_CFG_NUMBER, .min = 1, .max = SR_BLKBACK_MAX_THREADS },
	{ .name = "cpus", .type = SR_CFG_STRING },
	{ .name = "mode", .type = SR_CFG_STRING },
	{ .name = "spin_us", .type = SR_CFG_NUMBER, .min = 1, .max = 1000000 },
	{ .name = "drivers", .type = SR_CFG_LIST },
	{ .name = "bridges", .type = SR_CFG_LIST },
	{ .name = "ports", .type = SR_CFG_LIST },
	{ .name = "net_threads", .type = SR_CFG_NUMBER, .min = 1, .max = MAX_NET_THREADS },
	{ .name = "net_cpus", .type = SR_CFG_STRING },
	{ .name = "net_max_queues", .type = SR_CFG_NUMBER, .min = 1, .max = 16 },
	{ .name = "uplink_mtu", .type = SR_CFG_NUMBER, .min = 68, .max = 9216 },
	{ .name = "pidfile", .type = SR_CFG_STRING },
	{ .name = "supervisor", .type = SR_CFG_BOOL },
	{ .name = "max_queues", .type = SR_CFG_NUMBER, .min = 1, .max = 16 },
	{ .name = "max_ring_page_order", .type = SR_CFG_NUMBER, .min = 0, .max = 4 },
	{ .name = "max_indirect_segments", .type = SR_CFG_NUMBER, .min = 0, .max = 4096 },
	{ .name = "max_persistent_grants", .type = SR_CFG_NUMBER, .min = 0, .max = 65536 },
	{ 0 },
};

enum {
	OPT_HYPERVISOR = 256,
	OPT_CONFIG,
	OPT_CHECK_CONFIG,
	OPT_LOG,
	OPT_LOG_LEVEL,
	OPT_THREADS,
	OPT_CPUS,
	OPT_MODE,
	OPT_DRIVER,
	OPT_BRIDGE,
	OPT_PORT,
	OPT_NET_THREADS,
	OPT_NET_CPUS,
	OPT_PIDFILE,
	OPT_NO_SUPERVISOR,
	OPT_VERSION,
	OPT_HELP,
};

static const struct option long_options[] = {
	{ "hypervisor", required_argument, NULL, OPT_HYPERVISOR },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "check-config", no_argument, NULL, OPT_CHECK_CONFIG },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "threads", required_argument, NULL, OPT_THREADS },
	{ "cpus", required_argument, NULL, OPT_CPUS },
	{ "mode", required_argument, NULL, OPT_MODE },
	{ "driver", required_argument, NULL, OPT_DRIVER },
	{ "bridge", required_argument, NULL, OPT_BRIDGE },
	{ "port", required_argument, NULL, OPT_PORT },
	{ "net-threads", required_argument, NULL, OPT_NET_THREADS },
	{ "net-cpus", required_argument, NULL, OPT_NET_CPUS },
	{ "pidfile", required_argument, NULL, OPT_PIDFILE },
	{ "no-supervisor", no_argument, NULL, OPT_NO_SUPERVISOR },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ "help", no_argument, NULL, OPT_HELP },
	{ 0 },
};

static const char *const modes[] = {
	[SR_POLL_ADAPTIVE] = "adaptive",
	[SR_POLL_ALWAYS] = "poll",
	[SR_POLL_INTERRUPT] = "interrupt",
};

const char *options_mode_name(enum sr_poll_mode mode)
{
	return modes[mode];
}

static int set_string(char **to, const char *from, struct sr_fail *f)
{
	char *copy = strdup(from);

	if (!copy)
		return sr_fail(f, ENOMEM, "out of memory; free some");
	free(*to);
	*to = copy;
	return 0;
}

/* Each of the setters below says what is wrong after "WHERE: ", which its caller puts before. */

static int set_mode(struct options *opt, const char *s, struct sr_fail *f)
{
	for (unsigned i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (!strcmp(modes[i], s)) {
			opt->mode = i;
			return 0;
		}
	}
	return sr_fail(f, EINVAL, "bad mode `%s'; use adaptive, poll or interrupt", s);
}

static int set_log_level(struct options *opt, const char *s, struct sr_fail *f)
{
	if (!sr_log_level_parse(s, &opt->log_level))
		return 0;
	return sr_fail(f, EINVAL, "bad log level `%s'; use error, warning, info or debug", s);
}

static int read_threads(const char *s, unsigned max, unsigned *to, struct sr_fail *f)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (*s < '0' || *s > '9' || *end || n < 1 || n > max)
		return sr_fail(f, EINVAL, "bad number of threads `%s'; use 1 to %u", s, max);
	*to = (unsigned)n;
	return 0;
}

static int set_threads(struct options *opt, const char *s, struct sr_fail *f)
{
	return read_threads(s, SR_BLKBACK_MAX_THREADS, &opt->threads, f);
}

static int set_net_threads(struct options *opt, const char *s, struct sr_fail *f)
{
	return read_threads(s, MAX_NET_THREADS, &opt->net_threads, f);
}

/* One "3" or "3-5" of the list, *s moved behind it. */
static bool take_cpus(unsigned *cpus, unsigned *count, const char **s)
{
	unsigned long first, last;
	char *end;

	if (**s < '0' || **s > '9')
		return false;
	first = last = strtoul(*s, &end, 10);
	if (*end == '-') {
		*s = end + 1;
		if (**s < '0' || **s > '9')
			return false;
		last = strtoul(*s, &end, 10);
	}
	if (first > last || last >= CPU_SETSIZE)
		return false;
	for (; first <= last; first++) {
		if (*count == SR_BLKBACK_MAX_THREADS)
			return false;
		cpus[(*count)++] = (unsigned)first;
	}
	*s = end;
	return true;
}

static int read_cpus(const char *s, unsigned *cpus, unsigned *count, struct sr_fail *f)
{
	const char *p = s;

	*count = 0;
	for (;;) {
		if (!take_cpus(cpus, count, &p) || (*p && *p != ','))
			return sr_fail(f, EINVAL,
				       "bad list of CPUs `%s'; write at most %u numbers as 2,4-7",
				       s, SR_BLKBACK_MAX_THREADS);
		if (!*p++)
			break;
	}
	return 0;
}

static int set_cpus(struct options *opt, const char *s, struct sr_fail *f)
{
	return read_cpus(s, opt->cpus, &opt->cpu_count, f);
}

static int set_net_cpus(struct options *opt, const char *s, struct sr_fail *f)
{
	return read_cpus(s, opt->net_cpus, &opt->net_cpu_count, f);
}

static int append(char ***list, size_t *count, const char *s, struct sr_fail *f)
{
	char **more = realloc(*list, (*count + 1) * sizeof(*more));

	if (!more)
		return sr_fail(f, ENOMEM, "out of memory; free some");
	*list = more;
	more[*count] = strdup(s);
	if (!more[*count])
		return sr_fail(f, ENOMEM, "out of memory; free some");
	(*count)++;
	return 0;
}

static int add_driver(struct options *opt, const char *path, struct sr_fail *f)
{
	return append(&opt->drivers, &opt->driver_count, path, f);
}

static int add_port(struct options *opt, const char *path, struct sr_fail *f)
{
	return append(&opt->ports, &opt->port_count, path, f);
}

static int add_bridge(struct options *opt, const char *s, struct sr_fail *f)
{
	const char *equals = strchr(s, '='), *colon = equals ? strchr(equals, ':') : NULL;

	if (!equals || equals == s || equals - s > 63 || !colon || colon == equals + 1)
		return sr_fail(f, EINVAL,
			       "bad bridge `%s'; write NAME=DRIVER:ARGUMENTS, as "
			       "xenbr0=dpdk:net_tap0,iface=tap0",
			       s);
	return append(&opt->bridges, &opt->bridge_count, s, f);
}

/* The limits, where 0 in the file means "none", which the engine calls SR_BLKBACK_NONE. */
static void read_limits(struct options *opt, const struct sr_cfg *cfg)
{
	static const struct {
		const char *key;
		size_t offset;
	} limits[] = {
		{ "max_queues", offsetof(struct options, max_queues) },
		{ "max_ring_page_order", offsetof(struct options, max_ring_page_order) },
		{ "max_indirect_segments", offsetof(struct options, max_indirect_segments) },
		{ "max_persistent_grants", offsetof(struct options, max_persistent_grants) },
	};

	for (unsigned i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		unsigned *to = (unsigned *)((char *)opt + limits[i].offset);
		long n = sr_cfg_number(cfg, limits[i].key, -1);

		if (n >= 0)
			*to = n ? (unsigned)n : SR_BLKBACK_NONE;
	}
}

static int read_values(struct options *opt, const struct sr_cfg *cfg, struct sr_fail *f)
{
	static const struct {
		const char *key;
		int (*set)(struct options *opt, const char *s, struct sr_fail *f);
	} parsed[] = {
		{ "mode", set_mode },
		{ "log_level", set_log_level },
		{ "threads", set_threads },
		{ "cpus", set_cpus },
		{ "net_threads", set_net_threads },
		{ "net_cpus", set_net_cpus },
	};
	static const struct {
		const char *key;
		size_t offset;
	} strings[] = {
		{ "hypervisor", offsetof(struct options, hypervisor) },
		{ "log", offsetof(struct options, log) },
		{ "pidfile", offsetof(struct options, pidfile) },
	};
	struct sr_fail why;
	int ret = 0;

	for (unsigned i = 0; !ret && i < sizeof(strings) / sizeof(*strings); i++) {
		const char *s = sr_cfg_string(cfg, strings[i].key, NULL);

		if (s)
			ret = set_string((char **)((char *)opt + strings[i].offset), s, f);
	}
	for (unsigned i = 0; !ret && i < sizeof(parsed) / sizeof(*parsed); i++) {
		const char *s = sr_cfg_string(cfg, parsed[i].key, NULL);

		if (s && (ret = parsed[i].set(opt, s, &why)))
			return sr_cfg_fail(cfg, parsed[i].key, f, -ret, "%s", why.line);
	}
	for (size_t i = 0; !ret && i < sr_cfg_count(cfg, "drivers"); i++)
		ret = add_driver(opt, sr_cfg_item(cfg, "drivers", i), f);
	for (size_t i = 0; !ret && i < sr_cfg_count(cfg, "ports"); i++)
		ret = add_port(opt, sr_cfg_item(cfg, "ports", i), f);
	for (size_t i = 0; !ret && i < sr_cfg_count(cfg, "bridges"); i++)
		if ((ret = add_bridge(opt, sr_cfg_item(cfg, "bridges", i), &why)))
			return sr_cfg_fail(cfg, "bridges", f, -ret, "%s", why.line);
	opt->net_max_queues = (unsigned)sr_cfg_number(cfg, "net_max_queues", 0);
	opt->uplink_mtu = (uint16_t)sr_cfg_number(cfg, "uplink_mtu", 0);
	opt->spin_us = (unsigned)sr_cfg_number(cfg, "spin_us", 0);
	opt->supervisor = sr_cfg_bool(cfg, "supervisor", true);
	read_limits(opt, cfg);
	return ret;
}

static int read_file(struct options *opt, const char *path, struct sr_fail *f)
{
	struct sr_cfg *cfg;
	int ret = set_string(&opt->config, path, f);

	if (!ret)
		ret = sr_cfg_read(path, NULL, keys, &cfg, f);
	if (ret)
		return ret;
	ret = read_values(opt, cfg, f);
	sr_cfg_free(cfg);
	return ret;
}

static int apply(struct options *opt, int what, struct sr_fail *f)
{
	switch (what) {
	case OPT_HYPERVISOR:
		return set_string(&opt->hypervisor, optarg, f);
	case OPT_LOG:
		return set_string(&opt->log, optarg, f);
	case OPT_LOG_LEVEL:
		return set_log_level(opt, optarg, f);
	case OPT_THREADS:
		return set_threads(opt, optarg, f);
	case OPT_CPUS:
		return set_cpus(opt, optarg, f);
	case OPT_MODE:
		return set_mode(opt, optarg, f);
	case OPT_DRIVER:
		return add_driver(opt, optarg, f);
	case OPT_BRIDGE:
		return add_bridge(opt, optarg, f);
	case OPT_PORT:
		return add_port(opt, optarg, f);
	case OPT_NET_THREADS:
		return set_net_threads(opt, optarg, f);
	case OPT_NET_CPUS:
		return set_net_cpus(opt, optarg, f);
	case OPT_PIDFILE:
		return set_string(&opt->pidfile, optarg, f);
	case OPT_NO_SUPERVISOR:
		opt->supervisor = false;
		return 0;
	case OPT_CHECK_CONFIG:
		opt->check_config = true;
		return 0;
	case OPT_HELP:
		opt->help = true;
		return 0;
	case OPT_VERSION:
		opt->version = true;
		return 0;
	default: /* OPT_CONFIG: read already */
		return 0;
	}
}

/* The file has to be read before the rest of the command line, which wins over it. */
static const char *find_config(int argc, char **argv)
{
	const char *path = NULL;
	int c;

	optind = 0;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":", long_options, NULL)) != -1)
		if (c == OPT_CONFIG)
			path = optarg;
	return path;
}

static int read_arguments(int argc, char **argv, struct options *opt, struct sr_fail *f)
{
	int c, ret;

	optind = 0;
	while ((c = getopt_long(argc, argv, ":", long_options, NULL)) != -1) {
		if (c == ':' || c == '?') {
			const char *arg = argv[optind - 1];

			return sr_fail(f, EINVAL, "%s: %s; see splitringd --help", arg,
				       c == ':' ? "it needs a value"
						: "unknown or ambiguous option");
		}
		ret = apply(opt, c, f);
		if (ret)
			return ret;
	}
	if (optind < argc)
		return sr_fail(f, EINVAL, "%s: unexpected argument; see splitringd --help",
			       argv[optind]);
	return 0;
}

static int check_whole(struct options *opt, struct sr_fail *f)
{
	if (!opt->threads)
		opt->threads = opt->cpu_count ? opt->cpu_count : 1;
	if (opt->cpu_count && opt->cpu_count != opt->threads)
		return sr_fail(
		    f, EINVAL,
		    "%u threads but %u CPUs to pin them to; give as many CPUs as threads",
		    opt->threads, opt->cpu_count);
	if (!opt->net_threads)
		opt->net_threads = opt->net_cpu_count ? opt->net_cpu_count : 1;
	if (opt->net_cpu_count && opt->net_cpu_count != opt->net_threads)
		return sr_fail(f, EINVAL,
			       "%u net threads but %u CPUs to pin them to; give as many CPUs as "
			       "threads",
			       opt->net_threads, opt->net_cpu_count);
	return 0;
}

int options_read(int argc, char **argv, struct options *opt, bool *usage, struct sr_fail *f)
{
	const char *path = find_config(argc, argv), *env;
	int ret;

	*opt = (struct options){ .log_level = SR_LOG_INFO, .supervisor = true };
	*usage = false;
	if (path || !access(SPLITRINGD_CONFIG, F_OK))
		ret = read_file(opt, path ? path : SPLITRINGD_CONFIG, f);
	else
		ret = 0;
	/* --help has to work beside a file that is broken. */
	*usage = true;
	for (int i = 1; i < argc; i++)
		opt->help |= !strcmp(argv[i], "--help");
	if (opt->help)
		return 0;
	if (ret) {
		*usage = false;
		return ret;
	}
	ret = read_arguments(argc, argv, opt, f);
	if (ret)
		return ret;
	env = getenv("SPLITRING_HYPERVISOR");
	if (!opt->hypervisor && env && *env)
		ret = set_string(&opt->hypervisor, env, f);
	return ret ? ret : check_whole(opt, f);
}

static void free_list(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

void options_free(struct options *opt)
{
	free_list(opt->drivers, opt->driver_count);
	free_list(opt->ports, opt->port_count);
	free_list(opt->bridges, opt->bridge_count);
	free(opt->hypervisor);
	free(opt->config);
	free(opt->log);
	free(opt->pidfile);
}
