/* SPDX-License-Identifier: MIT */
#ifndef SPLITRINGD_CAPTURE_H
#define SPLITRINGD_CAPTURE_H

#include <poll.h>
#include <stdbool.h>

struct net;
struct sr_netback_capture;
struct sr_log_source;

#define CAPTURES_MAX 8u

/*
 * The captures that run, for the control socket's thread. Each lasts as long as its client's
 * connection; what is captured goes through memory that the two share (<capture/ring.h>), whose
 * descriptor the client gets with the answer.
 */
struct captures {
	struct net *net; /* borrowed; NULL: no NICs */
	const struct sr_log_source *log;
	struct capture {
		int fd;
		struct sr_netback_capture *capture; /* NULL: a free place */
	} list[CAPTURES_MAX];
};

/*
 * Answers {"cmd": "capture", "domid": 3, "devid": 0, "snaplen": 262144}; without devid: all of that
 * domain, without domid: all. True: it has taken `fd`. False: `fd` is the caller's, and *answered
 * says whether the line asked for a capture.
 */
bool captures_take(struct captures *c, int fd, const char *line, bool *answered);
/* What to wait for: CAPTURES_MAX entries; and what to do then: clients that hang up. */
void captures_poll(const struct captures *c, struct pollfd *fds);
void captures_look(struct captures *c, const struct pollfd *fds);
void captures_end(struct captures *c);

#endif
