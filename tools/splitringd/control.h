/* SPDX-License-Identifier: MIT */
#ifndef SPLITRINGD_CONTROL_H
#define SPLITRINGD_CONTROL_H

#include "daemon.h"

struct sr_blkback;
struct sr_blk_registry;
struct net;

/*
 * The worker's second ear: a thread that takes signals, the machine's end, and questions over
 * DIR/splitringd-N.sock: one JSON object a line each way. A question is {"cmd": "info"}, {"cmd":
 * "list"} or
 * {"cmd": "refresh", "domid": 7, "devid": 51712}; the answer has "ok", and "error" where that is
 * false. {"cmd": "capture"} is answered with a descriptor besides, and its connection stays: see
 * capture.h.
 */
struct control;

/* What the answers are about; all borrowed. */
struct control_subject {
	struct daemon *d;
	struct sr_blkback *bb;
	const struct sr_blk_registry *registry;
	struct net *net; /* NULL: no NICs */
	bool hand_over;  /* on SIGTERM leave the disks for the next worker */
	bool survives;   /* the records do */
};

/* SIGTERM, SIGINT, SIGHUP and SIGUSR1 have to be blocked in all threads. */
int control_start(const struct control_subject *subject, struct control **control,
		  struct sr_fail *f);
/* Whether it stopped the backend because the machine is gone. Any thread. */
bool control_lost_machine(const struct control *control);
/* Removes the socket. NULL is allowed. */
void control_stop(struct control *control);

/* status.c: the answer to one line, as a string with its newline; free() it. NULL: no memory. */
char *status_answer(const struct control_subject *subject, const char *line);

#endif
