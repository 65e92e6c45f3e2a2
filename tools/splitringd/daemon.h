/* SPDX-License-Identifier: MIT */
#ifndef SPLITRINGD_DAEMON_H
#define SPLITRINGD_DAEMON_H

#include "options.h"

#include <common/log.h>

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * splitringd is one process or two. The worker serves the disks. The supervisor, its parent, holds
 * the memory that a worker needs to go on after another one was killed, and starts a new one. Where
 * systemd holds that memory, or where nobody should, the worker is alone.
 */
struct daemon {
	struct options opt;
	char dir[PATH_MAX]; /* of the hypervisor, see <tools/rundir.h> */
	uint16_t domid;
	char socket[PATH_MAX]; /* DIR/splitringd-DOMID.sock */
	char lock[PATH_MAX];   /* DIR/splitringd-DOMID.lock, held by lock_fd */
	int lock_fd;
	struct sr_log log;
	struct sr_log_source src;
	pid_t supervisor; /* 0: there is none */
	char **argv;
	char program[PATH_MAX]; /* this one's path; there may be a newer one by now */
	int kept_fd;            /* what the program before us kept, or -1: see upgrade.c */
};

/* How the worker ends. */
enum {
	EXIT_DRAINED = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_GONE = 3, /* the hypervisor is gone: no use in another worker */
};

/*
 * worker.c. Serves until it is told to stop. keep_fd: the connection to the supervisor's keeper, or
 * -1; ready_fd: gets a byte and is closed once the daemon answers, or -1. Returns an exit status.
 */
int worker_run(struct daemon *d, int keep_fd, int ready_fd);

/* supervisor.c. Keeps a worker running until it ends by itself. Returns an exit status. */
int supervisor_run(struct daemon *d);

/*
 * upgrade.c. An upgrade: the supervisor becomes the program that lies at its path now, by exec, and
 * keeps what the worker before has left for the next one.
 */

/* For main: notes the program's path, and what an upgrade has handed on. */
void daemon_note_program(struct daemon *d, char **argv);
/* Whether the program at our path would start: it is run to check the configuration. Any thread. */
int daemon_try_program(const struct daemon *d, struct sr_fail *f);
/* Returns only if it could not be done: -errno. kept_fd: a list by sr_keeper_save(). */
int daemon_become_program(struct daemon *d, int kept_fd);

/* process.c: what both kinds of process do. */

/* The hypervisor's address as a message begins with it. */
const char *daemon_hypervisor(const struct daemon *d);

/* Locks out a second daemon of the same domain. */
int daemon_lock(struct daemon *d, struct sr_fail *f);
/* A vbd takes six descriptors of ours, so the usual soft limit of 1024 is too few for 256. */
void daemon_raise_fd_limit(struct daemon *d);
/* Opens the log, also again after a rename: the old descriptor's number stays. */
int daemon_open_log(struct daemon *d, struct sr_fail *f);
/* "WORKER\nSUPERVISOR\n", at once or not at all; a failure is logged. */
void daemon_write_pidfile(const struct daemon *d, pid_t worker);
void daemon_remove_pidfile(const struct daemon *d);
/*
 * A descriptor on which poll() says POLLHUP once an embedded machine is gone: libxenstore does not
 * tell. -1: there is none, for Xen does not go.
 */
int daemon_machine_fd(const struct daemon *d);
/*
 * Whether disks below backend/qdisk are ours, for a daemon that is domain `domid`. In dom0 of a Xen
 * host they are not: there the toolstack starts a QEMU for each guest that has one.
 */
bool daemon_serves_qdisk(const struct daemon *d, uint16_t domid);
/* Tells systemd, where it listens. `state` as in sd_notify(3). */
void daemon_notify(const char *state);

#endif
