/* SPDX-License-Identifier: MIT */
#include "devices.h"

#include "machines.h"
#include "told.h"

#include <errno.h>
#include <getopt.h>
#include <json.h>
#include <stdlib.h>

/* --- attach and detach --------------------------------------------------------------------------
 */

int devices_guest(struct cli *cli, const char *name, struct sr_domain_list_entry *guest)
{
	int ret = cli_open_store(cli);

	if (!ret)
		ret = cli_domain(cli, name, guest);
	if (!ret && guest->kind != SR_KIND_GUEST)
		ret =
		    sr_fail(&cli->fail, EINVAL, "%s: not a guest; see splitring list", guest->name);
	return ret;
}

/* dom0, or the domain that backend= names. */
static int find_backend(struct cli *cli, const char *name, uint16_t *domid)
{
	struct sr_domain_list_entry entry;
	int ret;

	*domid = 0;
	if (!name)
		return 0;
	ret = cli_domain(cli, name, &entry);
	if (!ret)
		*domid = entry.domid;
	return ret;
}

int devices_attach(struct cli *cli, const struct device_kind *kind, struct device *device,
		   const char *backend, const void *arg, const char *name)
{
	int ret = find_backend(cli, backend, &device->backend);

	if (!ret)
		ret = device_add(cli->xs, device, kind->write, arg, name, &cli->fail);
	if (ret)
		return ret;
	ret = device_wait(cli->xs, cli->dir, device, name, &cli->fail);
	if (ret)
		device_erase(cli->xs, device);
	return ret;
}

int devices_detach(struct cli *cli, const struct device_kind *kind, int argc, char **argv)
{
	static const struct option options[] = { { "force", no_argument, NULL, 'f' }, { 0 } };
	struct device device;
	bool force = false;
	int c, ret;

	while ((c = cli_option(cli, argc, argv, options, 2, 2)) == 'f')
		force = true;
	if (c != -1)
		return CLI_USAGE;
	ret = kind->find(cli, argv[optind], argv[optind + 1], &device);
	return ret ? ret : device_remove(cli->xs, cli->dir, &device, force, &cli->fail);
}

/* --- list ---------------------------------------------------------------------------------------
 */

void devices_add_node(struct cli *cli, const struct device *device, const char *node,
		      struct json_object *o, const char *key)
{
	char *value = device_read(cli->xs, device, node);

	json_object_object_add(o, key, json_object_new_string(value ? value : ""));
	free(value);
}

static struct json_object *from_store(struct cli *cli, const struct device_kind *kind,
				      const struct device *device)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "domid", json_object_new_int(device->domid));
	json_object_object_add(o, "devid", json_object_new_int64(device->devid));
	kind->describe(cli, device, o);
	json_object_object_add(o, "state", json_object_new_string("not served"));
	return o;
}

static int add_devices(struct cli *cli, const struct device_kind *kind, uint16_t domid,
		       struct told *told, struct json_object *array)
{
	struct device *devices;
	unsigned n;
	int ret = device_list(cli->xs, kind->type, domid, &devices, &n);

	if (ret)
		return sr_fail(&cli->fail, -ret, "out of memory; free some");
	for (unsigned i = 0; i < n; i++) {
		struct json_object *o = told_find(cli, told, kind->told, &devices[i]);

		if (!o)
			o = from_store(cli, kind, &devices[i]);
		json_object_object_add(o, "backend", json_object_new_int(devices[i].backend));
		json_object_array_add(array, o);
	}
	free(devices);
	return 0;
}

/* Those of the domains that were named, or of all. */
static int collect(struct cli *cli, const struct device_kind *kind, int count, char **domains,
		   struct json_object *array)
{
	struct told told = { .backend = -1 };
	struct sr_domain_list_entry entry;
	int ret = 0, at = -1;

	for (int i = 0; i < count && !ret; i++) {
		ret = cli_domain(cli, domains[i], &entry);
		if (!ret)
			ret = add_devices(cli, kind, entry.domid, &told, array);
	}
	while (!count && !ret && !sr_control_next(cli->ctl, at, &entry)) {
		at = entry.domid;
		ret = add_devices(cli, kind, entry.domid, &told, array);
	}
	json_object_put(told.answer);
	return ret;
}

int devices_list(struct cli *cli, const struct device_kind *kind, int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct json_object *array;
	bool json = false;
	int c, ret;

	while ((c = cli_option(cli, argc, argv, options, 0, -1)) == 'j')
		json = true;
	if (c != -1)
		return CLI_USAGE;
	ret = cli_find(cli);
	if (!ret && !cli->xen)
		ret = cli_open_store(cli);
	if (ret)
		return ret;
	array = json_object_new_array();
	if (cli->xen)
		ret = kind->list_on_xen(cli, argc - optind, argv + optind, array);
	else
		ret = collect(cli, kind, argc - optind, argv + optind, array);
	if (!ret && json) {
		cli_print_json(array);
		return 0;
	}
	if (!ret)
		kind->print_table(array);
	json_object_put(array);
	return ret;
}
