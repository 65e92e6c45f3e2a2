/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_MACHINES_H
#define SPLITRING_MACHINES_H

#include <tools/fail.h>

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct xs_handle;
struct json_object;

/* The machines of this host, and what lies in a machine's directory. */

struct machine_entry {
	char *name;
	pid_t pid; /* 0: it died and left its directory */
};

struct machines {
	struct machine_entry *entries; /* sorted by name */
	size_t count, running;
	const char *last_running; /* name of the last one that runs */
};

int machines_find(struct machines *all, struct sr_fail *f);
void machines_free(struct machines *all);

/* A connection to the xenstore of the machine in `dir` as dom0. NULL, errno. */
struct xs_handle *machine_xenstore(const char *dir);

/* Where the machine's guests' consoles go. */
int machine_console_dir(const char *dir, char *console, size_t size, struct sr_fail *f);

/* Adds a line to the machine's log, with the time. A log that can't be written is no error. */
void machine_log(const char *dir, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Whether a splitringd serves as domain `domid` of it. */
bool machine_has_daemon(const char *dir, unsigned domid);

/*
 * Asks that daemon: `question` is given back. -ENOENT: none runs. The answer is the caller's; an
 * answer that says "ok": false is -EIO, with its error in the line.
 */
int machine_ask_daemon(const char *dir, unsigned domid, struct json_object *question,
		       struct json_object **answer, struct sr_fail *f);

/* The same for a question that is no more than its cmd. */
int machine_ask(const char *dir, unsigned domid, const char *cmd, struct json_object **answer,
		struct sr_fail *f);

/*
 * The same for a question that is answered with a descriptor and whose connection stays: both are
 * the caller's.
 */
int machine_begin_capture(const char *dir, unsigned domid, struct json_object *question,
			  struct json_object **answer, int *connection, int *memory,
			  struct sr_fail *f);

#endif
