/* SPDX-License-Identifier: MIT */
/*
 * What the commands do on a Xen host, where domains and disks are xl's: they ask splitringd, which
 * knows its own disks.
 */
#include "cli.h"
#include "device.h"
#include "machines.h"

#include <errno.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

static int64_t number_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : -1;
}

/* The number of a domain that is given by number or name. */
static int find_domain(struct cli *cli, const char *what, unsigned *domid)
{
	char path[64], *end, *name, **ids;
	struct xs_handle *xs;
	unsigned n = 0;
	int ret = -ENOENT;

	*domid = (unsigned)strtoul(what, &end, 10);
	if (*what >= '0' && *what <= '9' && !*end)
		return 0;
	xs = xs_open(0);
	if (!xs)
		return sr_fail(&cli->fail, errno, "can't reach xenstore: %m");
	ids = xs_directory(xs, XBT_NULL, "/local/domain", &n);
	for (unsigned i = 0; ids && ret && i < n; i++) {
		snprintf(path, sizeof(path), "/local/domain/%.16s/name", ids[i]);
		name = xs_read(xs, XBT_NULL, path, NULL);
		if (name && !strcmp(name, what)) {
			*domid = (unsigned)strtoul(ids[i], NULL, 10);
			ret = 0;
		}
		free(name);
	}
	free(ids);
	xs_close(xs);
	return ret ? sr_fail(&cli->fail, ENOENT, "%s: no such domain; see xl list", what) : 0;
}

int xen_info(struct cli *cli, struct json_object **daemon)
{
	int ret = machine_ask(cli->dir, 0, "info", daemon, &cli->fail);

	if (!ret)
		json_object_object_del(*daemon, "ok");
	return ret;
}

static int devices_of(struct cli *cli, const char *key, int count, char **domains,
		      struct json_object *array)
{
	struct json_object *info = NULL, *answer = NULL, *devices;
	int ret = machine_ask(cli->dir, 0, "info", &info, &cli->fail);

	if (!ret)
		ret = machine_ask(cli->dir, 0, "list", &answer, &cli->fail);
	if (ret || !json_object_object_get_ex(answer, key, &devices))
		goto out;
	for (int i = 0; (i < count || !i) && !ret; i++) {
		unsigned domid = 0;

		if (count)
			ret = find_domain(cli, domains[i], &domid);
		for (size_t k = 0; !ret && k < json_object_array_length(devices); k++) {
			struct json_object *o = json_object_array_get_idx(devices, k);

			if (count && number_of(o, "domid") != domid)
				continue;
			json_object_object_add(o, "backend",
					       json_object_new_int64(number_of(info, "domid")));
			json_object_array_add(array, json_object_get(o));
		}
	}
out:
	json_object_put(answer);
	json_object_put(info);
	return ret;
}

int xen_devices(struct cli *cli, int count, char **domains, struct json_object *array)
{
	return devices_of(cli, "devices", count, domains, array);
}

int xen_nics(struct cli *cli, int count, char **domains, struct json_object *array)
{
	return devices_of(cli, "vifs", count, domains, array);
}

int xen_vif(struct cli *cli, char *domain, const char *what, struct device *vif)
{
	struct json_object *array = json_object_new_array(), *mac;
	int ret = xen_nics(cli, 1, &domain, array);
	bool found = false;
	char *end;
	unsigned long number = strtoul(what, &end, 10);

	for (size_t i = 0; !ret && i < json_object_array_length(array); i++) {
		struct json_object *o = json_object_array_get_idx(array, i);
		bool same = json_object_object_get_ex(o, "mac", &mac) &&
			    !strcasecmp(json_object_get_string(mac), what);

		if (!same && (*end || number_of(o, "devid") != (int64_t)number))
			continue;
		*vif = (struct device){
			.domid = (uint16_t)number_of(o, "domid"),
			.backend = (uint16_t)number_of(o, "backend"),
			.type = DEVICE_VIF,
			.devid = (uint32_t)number_of(o, "devid"),
		};
		found = true;
	}
	json_object_put(array);
	if (!ret && !found)
		ret = sr_fail(&cli->fail, ENOENT,
			      "%s: %s has no such NIC of ours; see splitring network-list", what,
			      domain);
	return ret;
}

int xen_refresh(struct cli *cli, char *domain, const char *vdev)
{
	struct json_object *array = json_object_new_array(), *question, *answer, *name;
	int ret = xen_devices(cli, 1, &domain, array);
	int64_t domid = -1, devid = -1;

	for (size_t i = 0; !ret && i < json_object_array_length(array); i++) {
		struct json_object *o = json_object_array_get_idx(array, i);

		if (!json_object_object_get_ex(o, "vdev", &name) ||
		    strcmp(json_object_get_string(name), vdev) != 0)
			continue;
		domid = number_of(o, "domid");
		devid = number_of(o, "devid");
	}
	json_object_put(array);
	if (!ret && devid < 0)
		ret = sr_fail(&cli->fail, ENOENT,
			      "%s: %s has no such disk of ours; see splitring block-list", vdev,
			      domain);
	if (ret)
		return ret;
	question = json_object_new_object();
	json_object_object_add(question, "cmd", json_object_new_string("refresh"));
	json_object_object_add(question, "domid", json_object_new_int64(domid));
	json_object_object_add(question, "devid", json_object_new_int64(devid));
	ret = machine_ask_daemon(cli->dir, 0, question, &answer, &cli->fail);
	if (!ret)
		json_object_put(answer);
	return ret;
}
