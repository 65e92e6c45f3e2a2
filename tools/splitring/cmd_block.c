/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "device.h"
#include "machines.h"
#include "told.h"

#include <blkfront/vdev.h>

#include <errno.h>
#include <getopt.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

static const struct option no_options[] = { { 0 } };

/* dom0, or the domain that backend= names. */
int cli_backend(struct cli *cli, const char *name, uint16_t *domid)
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

int block_attach(struct cli *cli, uint16_t domid, const struct sr_disk *disk)
{
	struct device vbd = {
		.domid = domid,
		.type = disk->kind == SR_DISK_QDISK ? DEVICE_QDISK : DEVICE_VBD,
		.devid = disk->number,
	};
	int ret = cli_backend(cli, disk->backend, &vbd.backend);

	if (!ret)
		ret = device_add(cli->xs, &vbd, vbd_write, disk, disk->vdev, &cli->fail);
	if (ret)
		return ret;
	ret = device_wait(cli->xs, cli->dir, &vbd, disk->vdev, &cli->fail);
	if (ret)
		device_erase(cli->xs, &vbd);
	return ret;
}

int cmd_block_attach(struct cli *cli, int argc, char **argv)
{
	struct sr_domain_list_entry entry;
	struct sr_disk disk;
	int ret;

	if (cli_option(cli, argc, argv, no_options, 2, 2) != -1)
		return CLI_USAGE;
	ret = sr_disk_parse(argv[optind + 1], &disk, &cli->fail);
	if (ret)
		return ret;
	ret = cli_open_store(cli);
	if (!ret)
		ret = cli_domain(cli, argv[optind], &entry);
	if (!ret && entry.kind != SR_KIND_GUEST)
		ret =
		    sr_fail(&cli->fail, EINVAL, "%s: not a guest; see splitring list", entry.name);
	if (!ret)
		ret = block_attach(cli, entry.domid, &disk);
	sr_disk_free(&disk);
	return ret;
}

static int find_vbd(struct cli *cli, const char *domain, const char *vdev, struct device *vbd)
{
	struct sr_domain_list_entry entry;
	uint32_t number;
	int ret;

	if (sr_vdev_parse(vdev, &number))
		return sr_fail(&cli->fail, EINVAL, "%s: no virtual disk; use xvda to xvdz", vdev);
	ret = cli_open_store(cli);
	if (!ret)
		ret = cli_domain(cli, domain, &entry);
	if (ret)
		return ret;
	if (device_find(cli->xs, DEVICE_VBD, entry.domid, number, vbd))
		return sr_fail(&cli->fail, ENOENT,
			       "%s: domain %u has no such disk; see splitring block-list", vdev,
			       entry.domid);
	return 0;
}

int cmd_block_detach(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "force", no_argument, NULL, 'f' }, { 0 } };
	bool force = false;
	struct device vbd;
	int c, ret;

	while ((c = cli_option(cli, argc, argv, options, 2, 2)) == 'f')
		force = true;
	if (c != -1)
		return CLI_USAGE;
	ret = find_vbd(cli, argv[optind], argv[optind + 1], &vbd);
	return ret ? ret : device_remove(cli->xs, cli->dir, &vbd, force, &cli->fail);
}

int cmd_block_refresh(struct cli *cli, int argc, char **argv)
{
	struct json_object *question, *answer;
	struct device vbd;
	int ret;

	if (cli_option(cli, argc, argv, no_options, 2, 2) != -1)
		return CLI_USAGE;
	ret = cli_find(cli);
	if (!ret && cli->xen)
		return xen_refresh(cli, argv[optind], argv[optind + 1]);
	if (!ret)
		ret = find_vbd(cli, argv[optind], argv[optind + 1], &vbd);
	if (ret)
		return ret;
	question = json_object_new_object();
	json_object_object_add(question, "cmd", json_object_new_string("refresh"));
	json_object_object_add(question, "domid", json_object_new_int(vbd.domid));
	json_object_object_add(question, "devid", json_object_new_int64(vbd.devid));
	ret = machine_ask_daemon(cli->dir, vbd.backend, question, &answer, &cli->fail);
	if (!ret)
		json_object_put(answer);
	return ret;
}

/* The device from its nodes alone, where its daemon does not answer. */
static struct json_object *from_store(struct cli *cli, const struct device *vbd)
{
	struct json_object *o = json_object_new_object();
	char *vdev = device_read(cli->xs, vbd, "dev"),
	     *params = device_read(cli->xs, vbd, "params");

	json_object_object_add(o, "domid", json_object_new_int(vbd->domid));
	json_object_object_add(o, "devid", json_object_new_int64(vbd->devid));
	json_object_object_add(o, "vdev", json_object_new_string(vdev ? vdev : ""));
	json_object_object_add(o, "type",
			       json_object_new_string(vbd->type == DEVICE_QDISK ? "qdisk" : "vbd"));
	json_object_object_add(o, "params", json_object_new_string(params ? params : ""));
	json_object_object_add(o, "state", json_object_new_string("not served"));
	free(vdev);
	free(params);
	return o;
}

static int add_devices(struct cli *cli, uint16_t domid, struct told *told,
		       struct json_object *array)
{
	struct device *vbds;
	unsigned n;
	int ret = device_list(cli->xs, DEVICE_VBD, domid, &vbds, &n);

	if (ret)
		return sr_fail(&cli->fail, -ret, "out of memory; free some");
	for (unsigned i = 0; i < n; i++) {
		struct json_object *o;

		o = told_find(cli, told, "devices", &vbds[i]);
		if (!o)
			o = from_store(cli, &vbds[i]);
		json_object_object_add(o, "backend", json_object_new_int(vbds[i].backend));
		json_object_array_add(array, o);
	}
	free(vbds);
	return 0;
}

static void print_table(struct json_object *array)
{
	printf("%-5s %-6s %-3s %-12s %-14s %-12s %-8s %s\n", "DomID", "Vdev", "BE", "State",
	       "Bytes", "Requests", "Errors", "Target");
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *o = json_object_array_get_idx(array, i);

		printf("%-5s %-6s %-3s %-12s %-14s %-12s %-8s %s\n", told_text(o, "domid"),
		       told_text(o, "vdev"), told_text(o, "backend"), told_text(o, "state"),
		       told_text(o, "size"), told_text(o, "requests"), told_text(o, "errors"),
		       told_text(o, "params"));
	}
}

int cmd_block_list(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
	struct told told = { .backend = -1 };
	struct sr_domain_list_entry entry;
	struct json_object *array;
	bool json = false;
	int c, ret, at = -1;

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
		ret = xen_devices(cli, argc - optind, argv + optind, array);
	for (int i = optind; i < argc && !ret && !cli->xen; i++) {
		ret = cli_domain(cli, argv[i], &entry);
		if (!ret)
			ret = add_devices(cli, entry.domid, &told, array);
	}
	while (optind == argc && !ret && !cli->xen && !sr_control_next(cli->ctl, at, &entry)) {
		at = entry.domid;
		ret = add_devices(cli, entry.domid, &told, array);
	}
	json_object_put(told.answer);
	if (!ret && json) {
		cli_print_json(array);
		return 0;
	}
	if (!ret)
		print_table(array);
	json_object_put(array);
	return ret;
}
