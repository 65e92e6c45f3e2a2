/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_LOG_H
#define SR_COMMON_LOG_H

/*
 * The backends' log: lines with a time, a level and who speaks ("vbd-7-51712").
 *
 * Two kinds of speakers. What an operator causes is always written. What a guest can cause as
 * often as it likes goes through a limiter, so that no guest fills a disk or slows others down;
 * the counters of <common/stats.h> count each occurrence all the same.
 *
 * Threads: all functions may be called from any thread. Nothing on the I/O path calls them but for
 * a device that is about to be disconnected.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

enum sr_log_level {
	SR_LOG_ERROR,
	SR_LOG_WARNING,
	SR_LOG_INFO,
	SR_LOG_DEBUG,
};

/* Where lines go. One a daemon; it outlives all that logs to it. */
struct sr_log {
	int fd; /* borrowed; written to with one write() a line */
	enum sr_log_level level;
	bool timestamps;
};

/* The prefix of a device's lines, and what its guest may still cause. */
struct sr_log_source {
	const struct sr_log *log; /* NULL: silent */
	char name[40];
	uint64_t window;     /* the second in which `lines` were written */
	uint32_t lines;      /* guest-caused lines in that window */
	uint32_t suppressed; /* not written since the last one that was */
};

/* Guest-caused lines a source may write in ten seconds. */
#define SR_LOG_GUEST_BURST 10u

/* "error", "warning", "info" or "debug". -EINVAL: none of them. */
int sr_log_level_parse(const char *name, enum sr_log_level *level);

/* `name` is cut to what fits. */
void sr_log_source_init(struct sr_log_source *src, const struct sr_log *log, const char *name);

__attribute__((format(printf, 3, 4))) void sr_log(const struct sr_log_source *src,
						  enum sr_log_level level, const char *format, ...);

/*
 * For what a guest can cause again and again: at most SR_LOG_GUEST_BURST lines in ten seconds; the
 * next line that is written says how many were not. One thread at a time for each source.
 */
__attribute__((format(printf, 3, 4))) void
sr_log_guest(struct sr_log_source *src, enum sr_log_level level, const char *format, ...);

#endif
