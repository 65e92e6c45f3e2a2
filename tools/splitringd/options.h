/* SPDX-License-Identifier: MIT */
#ifndef SPLITRINGD_OPTIONS_H
#define SPLITRINGD_OPTIONS_H

#include <blk/blkback.h>
#include <tools/fail.h>

#include <stdbool.h>
#include <stddef.h>

/* What splitringd(8) can be told, on the command line or in a file; the command line wins. */

#define SPLITRINGD_CONFIG "/etc/splitring/splitringd.conf"

struct options {
	char *hypervisor; /* address for sr_hv_open() */
	char *config;     /* the file that was read, or NULL */
	char *log;        /* NULL: standard error */
	char *pidfile;    /* NULL: none */
	char **drivers;   /* shared objects to load */
	size_t driver_count;
	enum sr_log_level log_level;
	enum sr_poll_mode mode;
	unsigned threads;
	unsigned cpus[SR_BLKBACK_MAX_THREADS];
	unsigned cpu_count; /* 0: not pinned; else as many as threads */
	unsigned spin_us;
	unsigned max_queues, max_ring_page_order, max_indirect_segments, max_persistent_grants;
	char **bridges; /* "NAME=UPLINK" */
	size_t bridge_count;
	char **ports; /* shared objects with drivers of uplinks */
	size_t port_count;
	unsigned net_threads, net_max_queues; /* 0: the default */
	uint16_t uplink_mtu;                  /* bytes; 0: the default */
	unsigned net_cpus[SR_BLKBACK_MAX_THREADS];
	unsigned net_cpu_count;
	bool supervisor;
	bool check_config;
	bool help, version;
};

/*
 * -EINVAL with .usage set in *usage: wrong arguments (exit status 2); else what the file says is
 * wrong (exit status 1). Free with options_free() also after a failure.
 */
int options_read(int argc, char **argv, struct options *opt, bool *usage, struct sr_fail *f);
void options_free(struct options *opt);

/* The text of --help. */
extern const char options_help[];

/* "adaptive", "poll", "interrupt" */
const char *options_mode_name(enum sr_poll_mode mode);

#endif
