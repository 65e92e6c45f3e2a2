/* SPDX-License-Identifier: MIT */
#ifndef SR_FLEET_H
#define SR_FLEET_H

/*
 * Many guests with many disks on one machine, all in this process: the toolstack's part and the
 * guests' part of each disk's life. For tests and benchmarks of scale.
 *
 * Threads: one. Errors: 0 or -errno; sr_fleet_error() says what failed, in words.
 */

#include <blkfront/blkfront.h>
#include <stdint.h>

struct sr_control;
struct sr_fleet;

struct sr_fleet_spec {
	const char *dir; /* the machine's */
	unsigned guests;
	unsigned disks;       /* of each guest, at most 16 */
	uint64_t guest_pages; /* memory of each guest */
};

/*
 * Makes the guests. On failure nothing is left. A connected disk takes some ten descriptors of this
 * process, so its soft RLIMIT_NOFILE is raised to the hard one.
 */
int sr_fleet_new(const struct sr_fleet_spec *spec, struct sr_fleet **fleet);
/* Closes what is open and destroys the guests. NULL is allowed. */
void sr_fleet_free(struct sr_fleet *fleet);

const char *sr_fleet_error(const struct sr_fleet *fleet);
struct sr_control *sr_fleet_control(struct sr_fleet *fleet);

/* Disks are numbered through: disk i belongs to guest i % guests, so neighbours are apart. */
unsigned sr_fleet_count(const struct sr_fleet *fleet);
uint16_t sr_fleet_domid(const struct sr_fleet *fleet, unsigned disk);
/* NULL while it is not connected. */
struct sr_blkfront *sr_fleet_front(const struct sr_fleet *fleet, unsigned disk);

/*
 * Writes the disk's nodes as libxl does, in one transaction, and connects its frontend.
 * *attach_ns, where not NULL: from the first node to Connected on both sides.
 */
int sr_fleet_attach(struct sr_fleet *fleet, unsigned disk, const char *params, uint64_t *attach_ns);

enum sr_fleet_order {
	SR_FLEET_GUEST_FIRST, /* the guest lets go of it, then it is detached */
	SR_FLEET_TOOLS_FIRST, /* the toolstack asks for it back, the guest obeys */
};
/* Detaches a disk, and removes its nodes once the backend is closed. */
int sr_fleet_detach(struct sr_fleet *fleet, unsigned disk, enum sr_fleet_order order);

#endif
