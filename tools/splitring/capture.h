/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_CAPTURE_H
#define SPLITRING_CAPTURE_H

#include <capture/ring.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct cli;
struct json_object;

#define CAPTURE_SNAPLEN   262144u
#define CAPTURE_MAX_RINGS 64u

/* A NIC in the file; its number is its place. */
struct interface {
	uint64_t id; /* as in the rings */
	uint64_t written, missed;
};

/* A capture that runs. */
struct session {
	struct cli *cli;
	unsigned backend; /* whose splitringd */
	uint32_t snaplen;
	uint64_t count;             /* 0: no end */
	int socket;                 /* lasts as long as the capture */
	bool gone;                  /* splitringd has closed it */
	struct json_object *answer; /* of it */
	struct json_object *drops;  /* in there: names of the reasons, or NULL */
	uint8_t *memory;
	size_t bytes;
	struct sr_capture_reader rings[CAPTURE_MAX_RINGS];
	unsigned ring_count;
	struct interface *interfaces;
	unsigned interface_count;
	FILE *out;
	uint64_t written;
};

/* capture_open.c: asks splitringd (`question` is given back) and maps what it gives. */
int capture_open(struct session *s, struct json_object *question);
void capture_close(struct session *s);

#endif
