/* SPDX-License-Identifier: MIT */
#include "top.h"

#include "machines.h"
#include "told.h"

#include <errno.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t number(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? (uint64_t)json_object_get_int64(v) : 0;
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

static size_t length(struct json_object *array)
{
	return array ? json_object_array_length(array) : 0;
}

static void read_common(struct json_object *o, struct top_row *row)
{
	row->domid = (unsigned)number(o, "domid");
	row->devid = (unsigned)number(o, "devid");
	snprintf(row->state, sizeof(row->state), "%s", told_text(o, "state"));
	row->p50_us = row->p99_us = -1;
}

static void read_disk(struct json_object *o, struct top_row *row)
{
	read_common(o, row);
	snprintf(row->device, sizeof(row->device), "%s", told_text(o, "vdev"));
	row->operations = number(o, "requests");
	row->bytes_in = number(o, "bytes_read");
	row->bytes_out = number(o, "bytes_written");
	row->events = number(o, "notifications_sent") + number(o, "notifications_received");
	row->errors = number(o, "errors");
	row->queued = number(o, "in_flight");
	if (!row->operations)
		return;
	row->p50_us = (double)number(o, "latency_p50_ns") / 1e3;
	row->p99_us = (double)number(o, "latency_p99_ns") / 1e3;
}

static void read_nic(struct json_object *o, struct top_row *row)
{
	struct json_object *tx = member(o, "tx"), *rx = member(o, "rx");

	read_common(o, row);
	snprintf(row->device, sizeof(row->device), "vif%u", row->devid);
	/* A NIC's words are its guest's: what it transmits comes to us. */
	row->operations = number(tx, "packets") + number(rx, "packets");
	row->bytes_in = number(rx, "bytes");
	row->bytes_out = number(tx, "bytes");
	row->events = number(tx, "notifications_sent") + number(rx, "notifications_sent");
	row->errors = number(tx, "dropped") + number(rx, "dropped");
}

static double threads_s(struct json_object *info, const char *key)
{
	struct json_object *array = member(info, key);
	double sum = 0;

	for (size_t i = 0; i < length(array); i++)
		sum += (double)number(json_object_array_get_idx(array, i), "cpu_ns") / 1e9;
	return sum;
}

static struct json_object *ask(struct cli *cli, const char *cmd)
{
	struct json_object *answer;
	struct sr_fail ignored;

	return machine_ask(cli->dir, 0, cmd, &answer, &ignored) ? NULL : answer;
}

static const struct top_row *find(const struct top_sample *s, const struct top_row *like)
{
	for (size_t i = 0; i < s->count; i++)
		if (s->rows[i].domid == like->domid && s->rows[i].devid == like->devid &&
		    !strcmp(s->rows[i].device, like->device))
			return &s->rows[i];
	return NULL;
}

/* A device that was connected anew counts from 0 again. */
static double rate(uint64_t before, uint64_t now, double seconds)
{
	return now > before ? (double)(now - before) / seconds : 0;
}

static void fill_rates(const struct top_sample *before, struct top_sample *s)
{
	double seconds = s->time - before->time;

	if (before->pid != s->pid || seconds <= 0)
		return;
	s->cpu = (s->cpu_s - before->cpu_s) / seconds;
	if (s->cpu < 0)
		s->cpu = 0;
	for (size_t i = 0; i < s->count; i++) {
		struct top_row *now = &s->rows[i];
		const struct top_row *then = find(before, now);

		if (!then)
			continue;
		now->operations_s = rate(then->operations, now->operations, seconds);
		now->in_mb_s = rate(then->bytes_in, now->bytes_in, seconds) / 1e6;
		now->out_mb_s = rate(then->bytes_out, now->bytes_out, seconds) / 1e6;
		now->events_s = rate(then->events, now->events, seconds);
		now->errors_s = rate(then->errors, now->errors, seconds);
	}
}

static int fill_rows(struct json_object *list, struct top_sample *s)
{
	struct json_object *disks = member(list, "devices"), *nics = member(list, "vifs");
	size_t count = length(disks) + length(nics);

	s->rows = calloc(count + 1, sizeof(*s->rows));
	if (!s->rows)
		return -ENOMEM;
	for (size_t i = 0; i < length(disks); i++)
		read_disk(json_object_array_get_idx(disks, i), &s->rows[s->count++]);
	for (size_t i = 0; i < length(nics); i++)
		read_nic(json_object_array_get_idx(nics, i), &s->rows[s->count++]);
	return 0;
}

int top_take(struct cli *cli, const struct top_sample *before, struct top_sample *s)
{
	struct json_object *info = ask(cli, "info"), *list = info ? ask(cli, "list") : NULL;
	struct timespec now;
	int ret = 0;

	clock_gettime(CLOCK_MONOTONIC, &now);
	*s = (struct top_sample){ .time = (double)now.tv_sec + (double)now.tv_nsec / 1e9 };
	if (list) {
		s->pid = number(info, "pid");
		s->cpu_s = threads_s(info, "threads") + threads_s(info, "net_threads");
		ret = fill_rows(list, s);
		if (!ret)
			fill_rates(before, s);
		else
			sr_fail(&cli->fail, -ret, "out of memory; free some");
	}
	json_object_put(list);
	json_object_put(info);
	return ret;
}

void top_free(struct top_sample *s)
{
	free(s->rows);
	*s = (struct top_sample){ 0 };
}

/* --- order --------------------------------------------------------------------------------------
 */

static int by_name(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;

	if (x->domid != y->domid)
		return x->domid < y->domid ? -1 : 1;
	return strcmp(x->device, y->device);
}

static int most_first(double x, double y, const void *a, const void *b)
{
	return x > y ? -1 : x < y ? 1 : by_name(a, b);
}

static int by_operations(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;

	return most_first(x->operations_s, y->operations_s, a, b);
}

static int by_in(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;

	return most_first(x->in_mb_s, y->in_mb_s, a, b);
}

static int by_out(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;

	return most_first(x->out_mb_s, y->out_mb_s, a, b);
}

static int by_errors(const void *a, const void *b)
{
	const struct top_row *x = a, *y = b;

	return most_first((double)x->errors, (double)y->errors, a, b);
}

void top_sort(struct top_sample *s, enum top_order order)
{
	static int (*const orders[])(const void *a, const void *b) = {
		[TOP_BY_NAME] = by_name, [TOP_BY_OPERATIONS] = by_operations, [TOP_BY_IN] = by_in,
		[TOP_BY_OUT] = by_out,   [TOP_BY_ERRORS] = by_errors,
	};

	if (s->count)
		qsort(s->rows, s->count, sizeof(*s->rows), orders[order]);
}

/* --- text ---------------------------------------------------------------------------------------
 */

void top_summary(const struct top_sample *s, char *line)
{
	double operations = 0, in = 0, out = 0;

	if (!s->pid) {
		snprintf(line, TOP_LINE, "no splitringd answers");
		return;
	}
	for (size_t i = 0; i < s->count; i++) {
		operations += s->rows[i].operations_s;
		in += s->rows[i].in_mb_s;
		out += s->rows[i].out_mb_s;
	}
	snprintf(
	    line, TOP_LINE,
	    "splitringd %lu: %zu devices, %.0f operations/s, %.1f MB/s in, %.1f out, CPU %.0f %%",
	    s->pid, s->count, operations, in, out, s->cpu * 100);
}

void top_heading(char *line)
{
	snprintf(line, TOP_LINE, "%6s %-9s %-12s %10s %9s %9s %8s %8s %6s %9s %9s", "DOMAIN",
		 "DEVICE", "STATE", "OPS/S", "IN MB/S", "OUT MB/S", "P50 US", "P99 US", "QUEUED",
		 "EVENTS/S", "ERRORS");
}

static const char *latency(double us, char *text, size_t size)
{
	if (us < 0)
		return "-";
	snprintf(text, size, "%.1f", us);
	return text;
}

void top_line(const struct top_row *r, char *line)
{
	char p50[24], p99[24];

	snprintf(line, TOP_LINE,
		 "%6u %-9.9s %-12.12s %10.0f %9.1f %9.1f %8.8s %8.8s %6llu %9.0f %9llu", r->domid,
		 r->device, r->state, r->operations_s, r->in_mb_s, r->out_mb_s,
		 latency(r->p50_us, p50, sizeof(p50)), latency(r->p99_us, p99, sizeof(p99)),
		 (unsigned long long)r->queued, r->events_s, (unsigned long long)r->errors);
}
