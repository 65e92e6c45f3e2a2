/* SPDX-License-Identifier: MIT */
#ifndef EMBEDDED_MACHINE_H
#define EMBEDDED_MACHINE_H

/*
 * A machine: domain 0, its xenstore, and whatever domains <embedded/control.h> creates later. One
 * thread runs it, in a daemon of its own or inside a test. All that it offers lies in a directory:
 *
 *   DIR/hv-N            domain N's door to the hypervisor (SOCK_SEQPACKET, protocol.h)
 *   DIR/xenstored-N     domain N's xenstore socket; it stays to say who a client is
 *   DIR/xenstored       the same as xenstored-0: XENSTORED_PATH=DIR/xenstored xenstore-ls -f
 *   DIR/machine.pid     "PID\n" of the process that runs it, locked (fcntl) while it lives
 *
 * Who may open a domain's sockets acts as that domain: they have mode 0600.
 *
 * Trust: domain 0 and driver domains see the memory of every domain and do their grant operations
 * by themselves. A guest sees its own memory only. The machine does its grant copies for it, and
 * it cannot map what other guests grant (-EPERM), unless the machine trusts guests.
 *
 * The process needs two file descriptors an event channel port, and up to three an open handle; it
 * raises its soft RLIMIT_NOFILE to the hard one.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sr_machine;

/* A field of 0 means the default, which is in brackets. */
struct sr_machine_opts {
	const char *dir;             /* made (0700) if missing; its parent has to be there */
	uint64_t dom0_pages;         /* domain 0's own memory, for frontends in it [65536] */
	unsigned guest_connections;  /* a guest has at most so many open handles [1024] */
	unsigned guest_ports;        /* and so many event channels [1023] */
	unsigned guest_grant_frames; /* and its grant table so many pages [64] */
	bool trust_guests;           /* every domain is treated as a driver domain */
	bool hugetlb;                /* domain memory in huge pages where the host has some */
};

/*
 * -EBUSY: a living machine is in that directory; -ENAMETOOLONG: too long for a socket's name.
 * From here on clients may connect; they are served by sr_machine_run().
 */
int sr_machine_new(const struct sr_machine_opts *opts, struct sr_machine **machine);

/* Serves until sr_machine_stop(), or until a client asks for a shutdown. */
int sr_machine_run(struct sr_machine *machine);

/* From any thread, or from a signal handler. */
void sr_machine_stop(struct sr_machine *machine);

/*
 * Kills the processes attached to domains, closes everything, removes what it made in its
 * directory (and the directory, where it is empty then). Not while sr_machine_run() runs.
 */
void sr_machine_free(struct sr_machine *machine);

/* The process that runs the machine in `dir`. -ENOENT: none does. */
int sr_machine_find(const char *dir, pid_t *pid);

#endif
