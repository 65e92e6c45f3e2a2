/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "devices.h"
#include "told.h"

#include <errno.h>
#include <getopt.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

static const struct option no_options[] = { { 0 } };

/* A NIC by its number or its address. */
static bool is_meant(struct cli *cli, const struct device *vif, const char *what)
{
	char *end, *mac;
	unsigned long number = strtoul(what, &end, 10);
	bool same;

	if (*what >= '0' && *what <= '9' && !*end)
		return number == vif->devid;
	mac = device_read(cli->xs, vif, "mac");
	same = mac && !strcasecmp(mac, what);
	free(mac);
	return same;
}

static int find_vif(struct cli *cli, const char *domain, const char *what, struct device *vif)
{
	struct sr_domain_list_entry entry;
	struct device *list;
	unsigned n, i = 0;
	int ret = cli_open_store(cli);

	if (!ret)
		ret = cli_domain(cli, domain, &entry);
	if (ret)
		return ret;
	if (device_list(cli->xs, DEVICE_VIF, entry.domid, &list, &n))
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	while (i < n && !is_meant(cli, &list[i], what))
		i++;
	if (i < n)
		*vif = list[i];
	free(list);
	return i < n ? 0
		     : sr_fail(&cli->fail, ENOENT,
			       "%s: domain %u has no such NIC; see splitring network-list", what,
			       entry.domid);
}

static const char *count_of(struct json_object *o, const char *direction, const char *key)
{
	struct json_object *d;

	return json_object_object_get_ex(o, direction, &d) ? told_text(d, key) : "-";
}

static void print_table(struct json_object *array)
{
	printf("%-5s %-3s %-3s %-17s %-12s %-3s %-11s %-11s %-8s %-8s %s\n", "DomID", "Idx", "BE",
	       "MAC", "State", "Qs", "TxPackets", "RxPackets", "TxDrop", "RxDrop", "Bridge");
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *o = json_object_array_get_idx(array, i);

		printf("%-5s %-3s %-3s %-17s %-12s %-3s %-11s %-11s %-8s %-8s %s\n",
		       told_text(o, "domid"), told_text(o, "devid"), told_text(o, "backend"),
		       told_text(o, "mac"), told_text(o, "state"), told_text(o, "queues"),
		       count_of(o, "tx", "packets"), count_of(o, "rx", "packets"),
		       count_of(o, "tx", "dropped"), count_of(o, "rx", "dropped"),
		       told_text(o, "bridge"));
	}
}

/* The device from its nodes alone. */
static void describe(struct cli *cli, const struct device *vif, struct json_object *o)
{
	devices_add_node(cli, vif, "mac", o, "mac");
	devices_add_node(cli, vif, "bridge", o, "bridge");
}

static const struct device_kind vifs = {
	.type = DEVICE_VIF,
	.write = vif_write,
	.told = "vifs",
	.find = find_vif,
	.describe = describe,
	.list_on_xen = xen_nics,
	.print_table = print_table,
};

int network_attach(struct cli *cli, uint16_t domid, const struct sr_nic *nic, uint32_t index)
{
	struct device vif = {
		.domid = domid,
		.type = DEVICE_VIF,
		.devid = nic->has_devid ? nic->devid : index,
	};
	char name[16];

	snprintf(name, sizeof(name), "vif %u", vif.devid);
	return devices_attach(cli, &vifs, &vif, nic->backend, nic, name);
}

/* The first number that the guest has no NIC of. */
static int free_number(struct cli *cli, uint16_t domid, uint32_t *number)
{
	struct device *list;
	unsigned n;

	if (device_list(cli->xs, DEVICE_VIF, domid, &list, &n))
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	*number = 0;
	for (unsigned i = 0; i < n; i++)
		if (list[i].devid == *number)
			++*number;
	free(list);
	return 0;
}

/* xl takes a specification in one argument or in several. */
static char *join(int count, char **words)
{
	size_t size = 1;
	char *spec;

	for (int i = 0; i < count; i++)
		size += strlen(words[i]) + 1;
	spec = calloc(1, size);
	for (int i = 0; spec && i < count; i++) {
		if (i)
			strcat(spec, ",");
		strcat(spec, words[i]);
	}
	return spec;
}

int cmd_network_attach(struct cli *cli, int argc, char **argv)
{
	struct sr_domain_list_entry entry;
	struct sr_nic nic;
	uint32_t number = 0;
	char *spec;
	int ret;

	if (cli_option(cli, argc, argv, no_options, 1, -1) != -1)
		return CLI_USAGE;
	spec = join(argc - optind - 1, argv + optind + 1);
	if (!spec)
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	ret = sr_nic_parse(spec, &nic, &cli->fail);
	free(spec);
	if (ret)
		return ret;
	ret = devices_guest(cli, argv[optind], &entry);
	if (!ret)
		ret = free_number(cli, entry.domid, &number);
	if (!ret)
		ret = network_attach(cli, entry.domid, &nic, number);
	sr_nic_free(&nic);
	return ret;
}

int cmd_network_detach(struct cli *cli, int argc, char **argv)
{
	return devices_detach(cli, &vifs, argc, argv);
}

int cmd_network_list(struct cli *cli, int argc, char **argv)
{
	return devices_list(cli, &vifs, argc, argv);
}

int cmd_network_link(struct cli *cli, int argc, char **argv)
{
	struct xs_handle *xs;
	struct device vif;
	const char *how;
	int ret;

	if (cli_option(cli, argc, argv, no_options, 3, 3) != -1)
		return CLI_USAGE;
	how = argv[optind + 2];
	if (strcmp(how, "up") != 0 && strcmp(how, "down") != 0)
		return sr_fail(&cli->fail, EINVAL, "%s: a link is put up or down", how);
	ret = cli_find(cli);
	if (ret)
		return ret;
	ret = cli->xen ? xen_vif(cli, argv[optind], argv[optind + 1], &vif)
		       : find_vif(cli, argv[optind], argv[optind + 1], &vif);
	if (ret)
		return ret;
	xs = cli->xen ? xs_open(0) : cli->xs;
	ret = xs ? device_write(xs, &vif, "link", *how == 'u' ? "1" : "0") : -errno;
	if (cli->xen)
		xs_close(xs);
	return ret ? sr_fail(&cli->fail, -ret, "can't write its nodes into xenstore: %s",
			     strerror(-ret))
		   : 0;
}
