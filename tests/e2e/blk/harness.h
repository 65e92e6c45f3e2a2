/* SPDX-License-Identifier: MIT */
#ifndef SR_E2E_HARNESS_H
#define SR_E2E_HARNESS_H

/*
 * An embedded machine in a thread of the test, and the toolstack's part of a disk's life. Every
 * function fails the test by itself.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <embedded/control.h>
#include <embedded/machine.h>
#include <hypervisor.h>
#include <xenstore.h>

struct harness {
	char parent[64], dir[80];
	char dom0[112]; /* address of domain 0 */
	struct sr_machine *machine;
	struct sr_control *control;
	struct xs_handle *xs; /* as domain 0 */
	pthread_t thread;
	unsigned guests;
};

/* scheme: "embedded:" or "embedded-strict:". */
void harness_start(struct harness *h, const char *scheme);
/* The same with guests' grant tables of `frames` pages. */
void harness_start_with_frames(struct harness *h, const char *scheme, unsigned frames);
void harness_stop(struct harness *h);

/* A guest of so many pages; its address is put in `address`. */
uint16_t harness_guest(struct harness *h, unsigned pages, char address[128]);
/* A driver domain. */
uint16_t harness_driver(struct harness *h, char address[128]);
void harness_destroy(struct harness *h, uint16_t domid);

/* What a toolstack says of a disk. */
struct harness_disk {
	uint16_t domid;
	uint16_t backend; /* domain 0, or a driver domain */
	uint32_t vdev;
	const char *params;
	bool read_only, cdrom, no_discard;
	const char *extra, *extra_value; /* one more node of the backend's, or NULL */
};

/* Makes the nodes of both ends, as libxl does. */
void harness_attach(struct harness *h, const struct harness_disk *disk);
/* As libxl: online 0, state 5; waits until the backend is closed, then removes the nodes. */
void harness_detach(struct harness *h, const struct harness_disk *disk);

/* Removes the nodes, whatever the backend is at. */
void harness_remove(struct harness *h, const struct harness_disk *disk);

/* A node of the disk's backend (or frontend) directory. read: free() it, NULL if there is none. */
void harness_back_write(struct harness *h, const struct harness_disk *disk, const char *node,
			const char *format, ...) __attribute__((format(printf, 4, 5)));
char *harness_back_read(struct harness *h, const struct harness_disk *disk, const char *node);
char *harness_front_read(struct harness *h, const struct harness_disk *disk, const char *node);
void harness_back_remove(struct harness *h, const struct harness_disk *disk, const char *node);
/* The same as a number, -1 if there is none. */
long harness_back_number(struct harness *h, const struct harness_disk *disk, const char *node);
long harness_front_number(struct harness *h, const struct harness_disk *disk, const char *node);
/* Waits until the node has the value; a test that waits for long has failed. */
void harness_await_back(struct harness *h, const struct harness_disk *disk, const char *node,
			long value);
void harness_await_front(struct harness *h, const struct harness_disk *disk, const char *node,
			 long value);

/* What all domains hold; a test compares before and after. */
struct harness_usage {
	uint64_t pinned, granted;
	unsigned ports, connections, watches, nodes;
};
void harness_usage(struct harness *h, struct harness_usage *usage);

#endif
