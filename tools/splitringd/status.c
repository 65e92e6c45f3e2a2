/* SPDX-License-Identifier: MIT */
#include "control.h"
#include "json_put.h"
#include "net.h"

#include <blk/blkback.h>
#include <drivers/registry.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void add_stats(struct json_object *o, const struct sr_blk_stats *s)
{
	struct json_object *by_op = json_object_new_object(), *errors = json_object_new_object();
	uint64_t requests = 0, bad = 0;

	for (unsigned i = 0; i < SR_STAT_OPS; i++) {
		put_u64(by_op, sr_stat_op_name(i), s->requests[i]);
		requests += s->requests[i];
	}
	for (unsigned i = 0; i < SR_STAT_ERRORS; i++) {
		put_u64(errors, sr_stat_error_name(i), s->errors[i]);
		bad += s->errors[i];
	}
	put_u64(o, "requests", requests);
	json_object_object_add(o, "requests_by_operation", by_op);
	put_u64(o, "errors", bad);
	json_object_object_add(o, "errors_by_reason", errors);
	put_u64(o, "bytes_read", s->bytes_read);
	put_u64(o, "bytes_written", s->bytes_written);
	put_u64(o, "bytes_discarded", s->bytes_discarded);
	put_u64(o, "notifications_received", s->events_received);
	put_u64(o, "notifications_sent", s->events_sent);
	put_u64(o, "notifications_suppressed", s->events_suppressed);
	put_u64(o, "batches", s->batches);
	put_u64(o, "sleeps", s->sleeps);
	put_u64(o, "indirect", s->indirect);
	put_u64(o, "persistent_hits", s->persistent_hits);
	put_u64(o, "persistent_maps", s->persistent_maps);
	put_u64(o, "persistent_purged", s->persistent_purged);
	put_u64(o, "maps", s->maps);
	put_u64(o, "copies", s->copies);
	put_u64(o, "read_modify_write", s->rmw);
	put_u64(o, "held", s->held);
	put_u64(o, "recovered", s->recovered);
	put_u64(o, "latency_p50_ns", sr_latency_percentile(s->latency, 50));
	put_u64(o, "latency_p99_ns", sr_latency_percentile(s->latency, 99));
}

static struct json_object *device(const struct sr_blkback_device *dev)
{
	struct json_object *o = json_object_new_object();

	put_u64(o, "domid", dev->frontend);
	put_u64(o, "devid", dev->devid);
	put_string(o, "vdev", dev->vdev);
	put_string(o, "type", dev->type);
	put_string(o, "params", dev->params);
	put_string(o, "driver", dev->driver);
	put_string(o, "state", put_state_name(dev->state));
	put_string(o, "error", dev->error);
	put_u64(o, "size", dev->size);
	put_u64(o, "sector_size", dev->sector_size);
	put_bool(o, "read_only", dev->read_only);
	put_bool(o, "cdrom", dev->cdrom);
	put_bool(o, "persistent", dev->persistent);
	put_bool(o, "recovered", dev->recovered);
	put_u64(o, "queues", dev->queues);
	put_u64(o, "ring_pages", dev->ring_pages);
	put_u64(o, "in_flight", dev->in_flight);
	put_u64(o, "persistent_grants", dev->persistent_grants);
	add_stats(o, &dev->stats);
	return o;
}

static void add_list(const struct control_subject *s, struct json_object *out)
{
	struct json_object *array = json_object_new_array();
	struct sr_blkback_device *devices = NULL;
	size_t count = 0;

	if (!sr_blkback_list(s->bb, &devices, &count))
		for (size_t i = 0; i < count; i++)
			json_object_array_add(array, device(&devices[i]));
	free(devices);
	json_object_object_add(out, "devices", array);
	if (s->net)
		net_add_vifs(s->net, out);
}

static void add_threads(const struct control_subject *s, struct json_object *out)
{
	struct sr_blkback_thread threads[SR_BLKBACK_MAX_THREADS];
	size_t n = sr_blkback_threads(s->bb, threads, SR_BLKBACK_MAX_THREADS);
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < n && i < SR_BLKBACK_MAX_THREADS; i++) {
		struct json_object *o = json_object_new_object();

		if (threads[i].cpu != UINT32_MAX)
			put_u64(o, "cpu", threads[i].cpu);
		put_u64(o, "queues", threads[i].queues);
		put_u64(o, "loops", threads[i].loops);
		put_u64(o, "busy_loops", threads[i].busy_loops);
		put_u64(o, "sleeps", threads[i].sleeps);
		put_u64(o, "wakeups", threads[i].wakeups);
		put_u64(o, "cpu_ns", threads[i].cpu_ns);
		put_u64(o, "spin_us", threads[i].spin_us);
		json_object_array_add(array, o);
	}
	json_object_object_add(out, "threads", array);
}

static void add_drivers(const struct control_subject *s, struct json_object *out)
{
	struct json_object *array = json_object_new_array();
	const struct sr_blk_driver *driver;

	for (size_t i = 0; (driver = sr_blk_driver_at(s->registry, i)); i++) {
		struct json_object *o = json_object_new_object();

		put_string(o, "name", driver->name);
		put_string(o, "description", driver->description ? driver->description : "");
		json_object_array_add(array, o);
	}
	json_object_object_add(out, "drivers", array);
}

/* So that a test, or an operator, sees a leak. */
static unsigned count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!dir)
		return 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and the directory itself */
}

static void add_info(const struct control_subject *s, struct json_object *out)
{
	struct sr_blk_stats totals;

	put_string(out, "version", SPLITRING_VERSION);
	put_u64(out, "pid", (uint64_t)getpid());
	put_u64(out, "supervisor", (uint64_t)s->d->supervisor);
	put_string(out, "hypervisor", s->d->opt.hypervisor);
	put_u64(out, "domid", s->d->domid);
	put_string(out, "mode", options_mode_name(s->d->opt.mode));
	put_bool(out, "survives_crash", s->survives);
	put_u64(out, "fds", count_fds());
	sr_blkback_totals(s->bb, &totals);
	add_stats(out, &totals);
	add_threads(s, out);
	add_drivers(s, out);
	if (s->net)
		net_add_info(s->net, out);
}

static const char *get_string(struct json_object *in, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(in, key, &v) ? json_object_get_string(v) : NULL;
}

static bool get_number(struct json_object *in, const char *key, int64_t max, int64_t *value)
{
	struct json_object *v;

	if (!json_object_object_get_ex(in, key, &v) || !json_object_is_type(v, json_type_int))
		return false;
	*value = json_object_get_int64(v);
	return *value >= 0 && *value <= max;
}

/* NULL, or what went wrong. */
static const char *refresh(const struct control_subject *s, struct json_object *in)
{
	int64_t domid, devid;
	int ret;

	if (!get_number(in, "domid", UINT16_MAX, &domid) ||
	    !get_number(in, "devid", UINT32_MAX, &devid))
		return "domid and devid are needed";
	ret = sr_blkback_refresh(s->bb, (uint16_t)domid, (uint32_t)devid);
	return ret ? strerror(-ret) : NULL;
}

/*
 * NULL, or why not. The supervisor does it; that the new program starts is tried here, while the
 * guests are served.
 */
static const char *upgrade(const struct control_subject *s, struct sr_fail *f)
{
	if (!s->d->supervisor)
		return "splitringd has no supervisor that could; restart its service: that is a "
		       "pause for the guests "
		       "where systemd keeps their records";
	if (daemon_try_program(s->d, f))
		return f->line;
	return kill(s->d->supervisor, SIGUSR2) ? "the supervisor is gone" : NULL;
}

char *status_answer(const struct control_subject *s, const char *line)
{
	struct json_object *in = json_tokener_parse(line), *out = json_object_new_object();
	const char *cmd = in ? get_string(in, "cmd") : NULL, *error = NULL;
	const char *text;
	char *copy = NULL;
	struct sr_fail f;

	if (!cmd)
		error = "not a JSON object with a cmd";
	else if (!strcmp(cmd, "info"))
		add_info(s, out);
	else if (!strcmp(cmd, "list"))
		add_list(s, out);
	else if (!strcmp(cmd, "refresh"))
		error = refresh(s, in);
	else if (!strcmp(cmd, "upgrade"))
		error = upgrade(s, &f);
	else
		error = "unknown cmd";
	put_bool(out, "ok", !error);
	if (error)
		put_string(out, "error", error);
	text = json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN);
	if (text && asprintf(&copy, "%s\n", text) < 0)
		copy = NULL;
	json_object_put(out);
	json_object_put(in);
	return copy;
}
