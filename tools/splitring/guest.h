/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_GUEST_H
#define SPLITRING_GUEST_H

#include <tools/disk.h>
#include <tools/fail.h>
#include <tools/nic.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A guest as an xl.cfg(5) describes it. On an embedded machine `kernel` is the program that runs
 * as the domain's process and `extra` its arguments.
 */
struct guest {
	char *name;
	char *kernel;     /* absolute */
	char *ramdisk;    /* absolute, or NULL */
	char **argv;      /* ends in NULL; argv[0] is kernel */
	uint8_t uuid[16]; /* all zero: not given */
	uint64_t pages;
	unsigned vcpus;
	struct sr_disk *disks;
	size_t disk_count;
	struct sr_nic *nics;
	size_t nic_count;
};

/* `more`: "key=value" strings that go over the file, ends in NULL. */
int guest_read(const char *path, const char *const *more, struct guest *guest, struct sr_fail *f);
void guest_free(struct guest *guest);

/* launch.c */

/* A guest's process that does not run yet, and its monitor, which tells the log how it ended. */
struct launch {
	pid_t pid;     /* of the guest */
	pid_t monitor; /* our child; it exits with the guest's status, 128 + n for signal n */
	int go;        /* to be closed: the guest then gives up; see launch_go() */
	int up;
};

/*
 * Forks both; the program's output is appended to `console`. The process waits for launch_go(), so
 * that it can be attached to its domain first.
 */
int launch_prepare(const char *dir, uint16_t domid, const struct guest *guest, const char *console,
		   struct launch *launch, struct sr_fail *f);
/* Runs the program. -errno: it can't be run, and its process has ended. */
int launch_go(struct launch *launch, const struct guest *guest, struct sr_fail *f);
/* Ends a process that has not been told to go. */
void launch_cancel(struct launch *launch);

#endif
