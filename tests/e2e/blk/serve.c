/* SPDX-License-Identifier: MIT */
#include "backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <blkfront/vdev.h>
#include <cmocka.h>

/*
 * serve VDEV=PARAMS[=r]...: a machine with a backend and one guest that has these disks, for
 * programs that are tested as a guest's. Prints the guest's address and stays until its stdin ends.
 */

#define MAX_DISKS 8

static void attach(struct harness *h, uint16_t domid, char *text, struct harness_disk *disk)
{
	char *params = strchr(text, '='), *mode;

	assert_non_null(params);
	*params++ = '\0';
	*disk = (struct harness_disk){ .domid = domid, .params = params };
	assert_int_equal(sr_vdev_parse(text, &disk->vdev), 0);
	mode = strrchr(params, '=');
	if (mode && !strcmp(mode, "=r")) {
		*mode = '\0';
		disk->read_only = true;
	}
	harness_attach(h, disk);
}

int main(int argc, char **argv)
{
	struct sr_blkback_options opt = { .threads = 2, .max_queues = 4 };
	struct harness_disk disks[MAX_DISKS];
	struct harness h;
	struct backend b;
	char address[128], c;
	uint16_t domid;

	if (argc < 2 || argc > MAX_DISKS + 1) {
		fprintf(stderr, "usage: %s VDEV=PARAMS[=r]...\n", argv[0]);
		return 2;
	}
	harness_start(&h, "embedded:");
	backend_start(&b, &h, &opt);
	domid = harness_guest(&h, 40000, address);
	for (int i = 1; i < argc; i++)
		attach(&h, domid, argv[i], &disks[i - 1]);
	puts(address);
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	for (int i = 1; i < argc; i++)
		harness_detach(&h, &disks[i - 1]);
	harness_destroy(&h, domid);
	backend_stop(&b, SR_BLKBACK_CLOSE);
	harness_stop(&h);
	return 0;
}
