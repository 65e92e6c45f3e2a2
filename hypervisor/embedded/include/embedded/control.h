/* SPDX-License-Identifier: MIT */
#ifndef EMBEDDED_CONTROL_H
#define EMBEDDED_CONTROL_H

/*
 * What a toolstack asks of an embedded machine, from domain 0. A handle belongs to one thread at
 * a time. All functions return 0 or -errno; -ECONNRESET where the machine is gone.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SR_NAME_MAX       63 /* bytes of a domain's name */
#define SR_INFO_PROCESSES 8

struct sr_control;

/* `dir`: the machine's directory. -ENOENT, -ECONNREFUSED: no machine there. */
int sr_control_open(const char *dir, struct sr_control **ctl);
void sr_control_close(struct sr_control *ctl);

enum sr_domain_kind {
	SR_KIND_DOM0,
	SR_KIND_DRIVER, /* a driver domain: serves devices, trusted with the memory of guests */
	SR_KIND_GUEST,
};

struct sr_domain_spec {
	enum sr_domain_kind kind; /* driver or guest */
	const char *name;         /* as in an xl config: unique, [A-Za-z0-9._+-] */
	uint8_t uuid[16];         /* all zero: one is made up */
	uint64_t pages;           /* memory, in 4096-byte pages */
	unsigned vcpus;
};

/*
 * Makes the domain, its sockets and the xenstore nodes that xl makes for every domain (all but
 * those of devices). It has no process yet and lives until it is destroyed. -EEXIST: the name is
 * taken; -EINVAL: a field is out of range.
 */
int sr_control_create(struct sr_control *ctl, const struct sr_domain_spec *spec, uint16_t *domid);

/*
 * The domain lives as long as this process: when one of its processes ends, the domain is
 * destroyed; when the domain is destroyed, its processes are killed. -ESRCH: no such process, or
 * domain.
 */
int sr_control_attach(struct sr_control *ctl, uint16_t domid, pid_t pid);

/*
 * Kills the domain's processes, gives back all that it held, removes its nodes, fires
 * @releaseDomain and VIRQ_DOM_EXC. Returns when all of that is done; so a driver domain is not
 * gone before each process that acts for it, attached or not, has closed its handles. -ESRCH,
 * -EINVAL: domain 0.
 */
int sr_control_destroy(struct sr_control *ctl, uint16_t domid);

enum sr_domain_status {
	SR_DOMAIN_RUNNING,
	/* Its processes are being killed; or it is gone, named "(null)", and others map its memory.
	 */
	SR_DOMAIN_DYING,
};

struct sr_domain_list_entry {
	uint16_t domid;
	uint16_t kind;   /* enum sr_domain_kind */
	uint16_t status; /* enum sr_domain_status */
	uint16_t processes;
	char name[SR_NAME_MAX + 1];
	uint8_t uuid[16];
	int64_t start_time; /* CLOCK_REALTIME, seconds */
	uint64_t pages;
	uint32_t vcpus;
	uint32_t grant_frames;
	uint64_t pinned;      /* its grants that somebody has mapped now */
	uint64_t granted;     /* grant references set aside for its handles, used or not */
	uint32_t ports;       /* event channels, bound or not */
	uint32_t connections; /* open handles of every kind */
	uint32_t store_nodes, store_watches, store_connections;
	int32_t pids[SR_INFO_PROCESSES];
};

/*
 * The first domain whose number is above `after` (-1: the first of all). -ENOENT: no more.
 */
int sr_control_next(struct sr_control *ctl, int after, struct sr_domain_list_entry *entry);
int sr_control_info(struct sr_control *ctl, uint16_t domid, struct sr_domain_list_entry *entry);

struct sr_machine_status {
	int32_t pid;
	int64_t start_time; /* CLOCK_REALTIME, seconds */
	uint32_t domains;   /* with domain 0 */
	uint32_t connections;
	uint32_t ports;
	uint32_t store_nodes, store_watches, store_connections;
	uint32_t fds; /* that the machine has open for connections, ports and domains */
};

int sr_control_status(struct sr_control *ctl, struct sr_machine_status *status);

/* The machine ends once it has answered. */
int sr_control_shutdown(struct sr_control *ctl);

#endif
