/* SPDX-License-Identifier: MIT */
#include "told.h"

#include "cli.h"
#include "device.h"
#include "machines.h"

#include <json.h>

static void ask(struct cli *cli, struct told *told, uint16_t backend)
{
	struct sr_fail ignored;

	json_object_put(told->answer);
	told->answer = NULL;
	told->backend = backend;
	machine_ask(cli->dir, backend, "list", &told->answer, &ignored);
}

static int64_t number_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : -1;
}

struct json_object *told_find(struct cli *cli, struct told *told, const char *key,
			      const struct device *device)
{
	struct json_object *devices;

	if (told->backend != device->backend)
		ask(cli, told, device->backend);
	if (!told->answer || !json_object_object_get_ex(told->answer, key, &devices))
		return NULL;
	for (size_t i = 0; i < json_object_array_length(devices); i++) {
		struct json_object *o = json_object_array_get_idx(devices, i);

		if (number_of(o, "domid") == device->domid &&
		    number_of(o, "devid") == device->devid)
			return json_object_get(o);
	}
	return NULL;
}

const char *told_text(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : "-";
}
