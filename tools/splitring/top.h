/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_TOP_H
#define SPLITRING_TOP_H

/* What `splitring top` shows: a row a disk or NIC, with what it did a second since the sample
 * before. */

#include "cli.h"

#include <stddef.h>
#include <stdint.h>

/* "in" is what comes to the guest: it reads, it receives. "out" is what it writes and sends. */
struct top_row {
	unsigned domid, devid;
	char device[16]; /* xvda, vif0 */
	char state[16];
	/* Since the device was connected. */
	uint64_t operations; /* requests of a disk, packets of a NIC */
	uint64_t bytes_in, bytes_out;
	uint64_t events; /* sent and received */
	uint64_t errors; /* refused or failed requests, dropped packets */
	/* Of a disk. */
	uint64_t queued;       /* requests in flight */
	double p50_us, p99_us; /* -1: not known */
	/* A second. */
	double operations_s, in_mb_s, out_mb_s, events_s, errors_s;
};

struct top_sample {
	struct top_row *rows;
	size_t count;
	double time;       /* s, of a clock that never goes back */
	double cpu_s;      /* of all threads that do I/O */
	double cpu;        /* of one processor, since the sample before: 1.0 is all of it */
	unsigned long pid; /* of the daemon; 0: none answers */
};

enum top_order { TOP_BY_NAME, TOP_BY_OPERATIONS, TOP_BY_IN, TOP_BY_OUT, TOP_BY_ERRORS };

/*
 * Asks the daemon. Rates are against `before`, which may be empty; a device that is new, and all of
 * another daemon, begin at 0. 0 also where no daemon answers: then there are no rows.
 */
int top_take(struct cli *cli, const struct top_sample *before, struct top_sample *sample);
void top_free(struct top_sample *sample);
void top_sort(struct top_sample *sample, enum top_order order);

/* Lines without their newline, at most TOP_LINE bytes with the zero. */
#define TOP_LINE 128
void top_summary(const struct top_sample *sample, char *line);
void top_heading(char *line);
void top_line(const struct top_row *row, char *line);

/* top_screen.c: shows samples in the terminal every `delay` seconds until the operator quits. */
int top_screen(struct cli *cli, double delay);

#endif
