/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "devices.h"
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

/* The device from its nodes alone. */
static void describe(struct cli *cli, const struct device *vbd, struct json_object *o)
{
	devices_add_node(cli, vbd, "dev", o, "vdev");
	json_object_object_add(o, "type",
			       json_object_new_string(vbd->type == DEVICE_QDISK ? "qdisk" : "vbd"));
	devices_add_node(cli, vbd, "params", o, "params");
}

static const struct device_kind disks = {
	.type = DEVICE_VBD,
	.write = vbd_write,
	.told = "devices",
	.find = find_vbd,
	.describe = describe,
	.list_on_xen = xen_devices,
	.print_table = print_table,
};

int block_attach(struct cli *cli, uint16_t domid, const struct sr_disk *disk)
{
	struct device vbd = {
		.domid = domid,
		.type = disk->kind == SR_DISK_QDISK ? DEVICE_QDISK : DEVICE_VBD,
		.devid = disk->number,
	};

	return devices_attach(cli, &disks, &vbd, disk->backend, disk, disk->vdev);
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
	ret = devices_guest(cli, argv[optind], &entry);
	if (!ret)
		ret = block_attach(cli, entry.domid, &disk);
	sr_disk_free(&disk);
	return ret;
}

int cmd_block_detach(struct cli *cli, int argc, char **argv)
{
	return devices_detach(cli, &disks, argc, argv);
}

int cmd_block_list(struct cli *cli, int argc, char **argv)
{
	return devices_list(cli, &disks, argc, argv);
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
