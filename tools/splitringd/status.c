/* SPDX-License-Identifier: MIT */
#include "control.h"

#include <blk/blkback.h>
#include <drivers/registry.h>

#include <dirent.h>
#include <json.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xen/io/xenbus.h>

static void add_u64(struct json_object *o, const char *key, uint64_t v)
{
	json_object_object_add(o, key, json_object_new_uint64(v));
}

static void add_string(struct json_object *o, const char *key, const char *v)
{
	json_object_object_add(o, key, json_object_new_string(v));
}

static void add_bool(struct json_object *o, const char *key, bool v)
{
	json_object_object_add(o, key, json_object_new_boolean(v));
}

static const char *state_name(unsigned state)
{
	static const char *const names[] = {
		[XenbusStateUnknown] = "unknown",
		[XenbusStateInitialising] = "initialising",
		[XenbusStateInitWait] = "init-wait",
		[XenbusStateInitialised] = "initialised",
		[XenbusStateConnected] = "connected",
		[XenbusStateClosing] = "closing",
		[XenbusStateClosed] = "closed",
		[XenbusStateReconfiguring] = "reconfiguring",
		[XenbusStateReconfigured] = "reconfigured",
	};

	return state < sizeof(names) / sizeof(*names) ? names[state] : "unknown";
}

static void add_stats(struct json_object *o, const struct sr_blk_stats *s)
{
	struct json_object *by_op = json_object_new_object(), *errors = json_object_new_object();
	uint64_t requests = 0, bad = 0;

	for (unsigned i = 0; i < SR_STAT_OPS; i++) {
		add_u64(by_op, sr_stat_op_name(i), s->requests[i]);
		requests += s->requests[i];
	}
	for (unsigned i = 0; i < SR_STAT_ERRORS; i++) {
		add_u64(errors, sr_stat_error_name(i), s->errors[i]);
		bad += s->errors[i];
	}
	add_u64(o, "requests", requests);
	json_object_object_add(o, "requests_by_operation", by_op);
	add_u64(o, "errors", bad);
	json_object_object_add(o, "errors_by_reason", errors);
	add_u64(o, "bytes_read", s->bytes_read);
	add_u64(o, "bytes_written", s->bytes_written);
	add_u64(o, "bytes_discarded", s->bytes_discarded);
	add_u64(o, "notifications_received", s->events_received);
	add_u64(o, "notifications_sent", s->events_sent);
	add_u64(o, "notifications_suppressed", s->events_suppressed);
	add_u64(o, "batches", s->batches);
	add_u64(o, "sleeps", s->sleeps);
	add_u64(o, "indirect", s->indirect);
	add_u64(o, "persistent_hits", s->persistent_hits);
	add_u64(o, "persistent_maps", s->persistent_maps);
	add_u64(o, "persistent_purged", s->persistent_purged);
	add_u64(o, "maps", s->maps);
	add_u64(o, "copies", s->copies);
	add_u64(o, "read_modify_write", s->rmw);
	add_u64(o, "held", s->held);
	add_u64(o, "recovered", s->recovered);
	add_u64(o, "latency_p50_ns", sr_latency_percentile(s->latency, 50));
	add_u64(o, "latency_p99_ns", sr_latency_percentile(s->latency, 99));
}

static struct json_object *device(const struct sr_blkback_device *dev)
{
	struct json_object *o = json_object_new_object();

	add_u64(o, "domid", dev->frontend);
	add_u64(o, "devid", dev->devid);
	add_string(o, "vdev", dev->vdev);
	add_string(o, "type", dev->type);
	add_string(o, "params", dev->params);
	add_string(o, "driver", dev->driver);
	add_string(o, "state", state_name(dev->state));
	add_string(o, "error", dev->error);
	add_u64(o, "size", dev->size);
	add_u64(o, "sector_size", dev->sector_size);
	add_bool(o, "read_only", dev->read_only);
	add_bool(o, "cdrom", dev->cdrom);
	add_bool(o, "persistent", dev->persistent);
	add_bool(o, "recovered", dev->recovered);
	add_u64(o, "queues", dev->queues);
	add_u64(o, "ring_pages", dev->ring_pages);
	add_u64(o, "in_flight", dev->in_flight);
	add_u64(o, "persistent_grants", dev->persistent_grants);
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
}

static void add_threads(const struct control_subject *s, struct json_object *out)
{
	struct sr_blkback_thread threads[SR_BLKBACK_MAX_THREADS];
	size_t n = sr_blkback_threads(s->bb, threads, SR_BLKBACK_MAX_THREADS);
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; i < n && i < SR_BLKBACK_MAX_THREADS; i++) {
		struct json_object *o = json_object_new_object();

		if (threads[i].cpu != UINT32_MAX)
			add_u64(o, "cpu", threads[i].cpu);
		add_u64(o, "queues", threads[i].queues);
		add_u64(o, "loops", threads[i].loops);
		add_u64(o, "busy_loops", threads[i].busy_loops);
		add_u64(o, "sleeps", threads[i].sleeps);
		add_u64(o, "wakeups", threads[i].wakeups);
		add_u64(o, "cpu_ns", threads[i].cpu_ns);
		add_u64(o, "spin_us", threads[i].spin_us);
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

		add_string(o, "name", driver->name);
		add_string(o, "description", driver->description ? driver->description : "");
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

	add_string(out, "version", SPLITRING_VERSION);
	add_u64(out, "pid", (uint64_t)getpid());
	add_u64(out, "supervisor", (uint64_t)s->d->supervisor);
	add_string(out, "hypervisor", s->d->opt.hypervisor);
	add_u64(out, "domid", s->d->domid);
	add_string(out, "mode", options_mode_name(s->d->opt.mode));
	add_bool(out, "survives_crash", s->survives);
	add_u64(out, "fds", count_fds());
	sr_blkback_totals(s->bb, &totals);
	add_stats(out, &totals);
	add_threads(s, out);
	add_drivers(s, out);
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

char *status_answer(const struct control_subject *s, const char *line)
{
	struct json_object *in = json_tokener_parse(line), *out = json_object_new_object();
	const char *cmd = in ? get_string(in, "cmd") : NULL, *error = NULL;
	const char *text;
	char *copy = NULL;

	if (!cmd)
		error = "not a JSON object with a cmd";
	else if (!strcmp(cmd, "info"))
		add_info(s, out);
	else if (!strcmp(cmd, "list"))
		add_list(s, out);
	else if (!strcmp(cmd, "refresh"))
		error = refresh(s, in);
	else
		error = "unknown cmd";
	add_bool(out, "ok", !error);
	if (error)
		add_string(out, "error", error);
	text = json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN);
	if (text && asprintf(&copy, "%s\n", text) < 0)
		copy = NULL;
	json_object_put(out);
	json_object_put(in);
	return copy;
}
