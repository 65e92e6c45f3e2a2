/* SPDX-License-Identifier: MIT */
#include <common/log.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SR_LOG_LINE   512u
#define SR_LOG_WINDOW 10 /* seconds */

static const char *const level_names[] = { "error", "warning", "info", "debug" };

int sr_log_level_parse(const char *name, enum sr_log_level *level)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (!strcmp(name, level_names[i])) {
			*level = (enum sr_log_level)i;
			return 0;
		}
	return -EINVAL;
}

void sr_log_source_init(struct sr_log_source *src, const struct sr_log *log, const char *name)
{
	*src = (struct sr_log_source){ .log = log };
	snprintf(src->name, sizeof(src->name), "%s", name);
}

/* What a guest wrote may stand in a line: it must not forge other lines or drive a terminal. */
static void make_printable(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
}

static size_t put_time(char *line, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	if (!gmtime_r(&now.tv_sec, &tm))
		return 0;
	n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)snprintf(line + n, size - n, ".%03ldZ ", now.tv_nsec / 1000000);
}

__attribute__((format(printf, 3, 0))) static void
log_line(const struct sr_log_source *src, enum sr_log_level level, const char *format, va_list args)
{
	char line[SR_LOG_LINE];
	size_t n = 0, start;
	int rc;

	if (src->log->timestamps)
		n = put_time(line, sizeof(line));
	n +=
	    (size_t)snprintf(line + n, sizeof(line) - n, "%s: %s: ", level_names[level], src->name);
	start = n;
	rc = vsnprintf(line + n, sizeof(line) - n, format, args);
	if (rc > 0)
		n += (size_t)rc;
	if (n > sizeof(line) - 1)
		n = sizeof(line) - 1;
	make_printable(line + start, n - start);
	line[n++] = '\n';
	/* A log that can't be written is no reason to stop serving disks. */
	if (write(src->log->fd, line, n) < 0)
		return;
}

void sr_log(const struct sr_log_source *src, enum sr_log_level level, const char *format, ...)
{
	va_list args;

	if (!src->log || level > src->log->level)
		return;
	va_start(args, format);
	log_line(src, level, format, args);
	va_end(args);
}

static uint64_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

void sr_log_guest(struct sr_log_source *src, enum sr_log_level level, const char *format, ...)
{
	uint64_t now;
	va_list args;

	if (!src->log || level > src->log->level)
		return;
	now = seconds();
	if (!src->window || now - src->window >= SR_LOG_WINDOW) {
		src->window = now;
		src->lines = 0;
		if (src->suppressed)
			sr_log(src, level, "%u lines like the last ones were left out",
			       src->suppressed);
		src->suppressed = 0;
	}
	if (src->lines >= SR_LOG_GUEST_BURST) {
		src->suppressed++;
		return;
	}
	src->lines++;
	va_start(args, format);
	log_line(src, level, format, args);
	va_end(args);
}
