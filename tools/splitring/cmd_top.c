/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "top.h"

#include <errno.h>
#include <getopt.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LONGEST_S 3600.0

struct wish {
	bool batch, json;
	unsigned long iterations; /* 0: without end */
	double delay;             /* s */
};

static bool read_delay(const char *s, double *delay)
{
	char *end;

	*delay = strtod(s, &end);
	return *s >= '0' && *s <= '9' && !*end && *delay >= 0.1 && *delay <= LONGEST_S;
}

static bool read_count(const char *s, unsigned long *count)
{
	char *end;

	errno = 0;
	*count = strtoul(s, &end, 10);
	return *s >= '0' && *s <= '9' && !*end && !errno && *count;
}

static int parse_options(struct cli *cli, int argc, char **argv, struct wish *w)
{
	static const struct option options[] = {
		{ "batch", no_argument, NULL, 'b' },
		{ "iterations", required_argument, NULL, 'n' },
		{ "delay", required_argument, NULL, 'd' },
		{ "json", no_argument, NULL, 'j' },
		{ 0 },
	};
	int c;

	while ((c = cli_option(cli, argc, argv, options, 0, 0)) != -1) {
		if (c == '?')
			return CLI_USAGE;
		w->batch |= c == 'b';
		w->json |= c == 'j';
		if (c == 'd' && !read_delay(optarg, &w->delay)) {
			sr_fail(&cli->fail, EINVAL, "--delay %s: use 0.1 to %.0f seconds", optarg,
				LONGEST_S);
			return CLI_USAGE;
		}
		if (c == 'n' && !read_count(optarg, &w->iterations)) {
			sr_fail(&cli->fail, EINVAL, "--iterations %s: use a number from 1 on",
				optarg);
			return CLI_USAGE;
		}
	}
	return 0;
}

static void put_double(struct json_object *o, const char *key, double value)
{
	json_object_object_add(o, key, json_object_new_double(value));
}

static void put_number(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_uint64(value));
}

static struct json_object *row_json(const struct top_row *r)
{
	struct json_object *o = json_object_new_object();

	put_number(o, "domid", r->domid);
	put_number(o, "devid", r->devid);
	json_object_object_add(o, "device", json_object_new_string(r->device));
	json_object_object_add(o, "state", json_object_new_string(r->state));
	put_number(o, "operations", r->operations);
	put_number(o, "bytes_in", r->bytes_in);
	put_number(o, "bytes_out", r->bytes_out);
	put_number(o, "events", r->events);
	put_number(o, "errors", r->errors);
	put_number(o, "queued", r->queued);
	if (r->p50_us >= 0) {
		put_double(o, "p50_us", r->p50_us);
		put_double(o, "p99_us", r->p99_us);
	}
	put_double(o, "operations_s", r->operations_s);
	put_double(o, "in_mb_s", r->in_mb_s);
	put_double(o, "out_mb_s", r->out_mb_s);
	put_double(o, "events_s", r->events_s);
	put_double(o, "errors_s", r->errors_s);
	return o;
}

static void print_json(const struct top_sample *s)
{
	struct json_object *o = json_object_new_object(), *rows = json_object_new_array();

	for (size_t i = 0; i < s->count; i++)
		json_object_array_add(rows, row_json(&s->rows[i]));
	json_object_object_add(o, "answers", json_object_new_boolean(s->pid != 0));
	put_number(o, "pid", s->pid);
	put_double(o, "cpu", s->cpu);
	json_object_object_add(o, "devices", rows);
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	json_object_put(o);
}

static void print_text(const struct top_sample *s)
{
	char line[TOP_LINE];

	top_summary(s, line);
	puts(line);
	top_heading(line);
	puts(line);
	for (size_t i = 0; i < s->count; i++) {
		top_line(&s->rows[i], line);
		puts(line);
	}
	putchar('\n');
}

/* The first sample has nothing to compare with, so it is not shown. */
static int print_all(struct cli *cli, const struct wish *w)
{
	struct top_sample before = { 0 }, now;
	const struct timespec pause = {
		.tv_sec = (time_t)w->delay,
		.tv_nsec = (long)((w->delay - (double)(time_t)w->delay) * 1e9),
	};
	int ret = top_take(cli, &before, &now);

	for (unsigned long i = 0; !ret && (!w->iterations || i < w->iterations); i++) {
		top_free(&before);
		before = now;
		now = (struct top_sample){ 0 };
		nanosleep(&pause, NULL);
		ret = top_take(cli, &before, &now);
		if (ret)
			break;
		top_sort(&now, TOP_BY_NAME);
		if (w->json)
			print_json(&now);
		else
			print_text(&now);
		if (fflush(stdout)) {
			/* A full disk must not pass for success; a reader may go. */
			if (errno != EPIPE)
				ret = sr_fail(&cli->fail, errno, "can't write the output: %m");
			break;
		}
	}
	top_free(&before);
	top_free(&now);
	return ret;
}

int cmd_top(struct cli *cli, int argc, char **argv)
{
	struct wish w = { .delay = 1 };
	int ret = parse_options(cli, argc, argv, &w);

	if (!ret)
		ret = cli_find(cli);
	if (ret)
		return ret;
	if (w.batch || w.json)
		return print_all(cli, &w);
	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO)) {
		sr_fail(&cli->fail, EINVAL, "no terminal here; use top --batch or --json");
		return CLI_USAGE;
	}
	return top_screen(cli, w.delay);
}
