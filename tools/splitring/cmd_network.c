/* SPDX-License-Identifier: MIT */
#include "cli.h"
#include "device.h"
#include "machines.h"
#include "told.h"

#include <errno.h>
#include <getopt.h>
#include <json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xenstore.h>

static const struct option no_options[] = { { 0 } };

int network_attach(struct cli *cli, uint16_t domid, const struct sr_nic *nic, uint32_t index)
{
	struct device vif = {
		.domid = domid,
		.type = DEVICE_VIF,
		.devid = nic->has_devid ? nic->devid : index,
	};
	char name[16];
	int ret = cli_backend(cli, nic->backend, &vif.backend);

	snprintf(name, sizeof(name), "vif %u", vif.devid);
	if (!ret)
		ret = device_add(cli->xs, &vif, vif_write, nic, name, &cli->fail);
	if (ret)
		return ret;
	ret = device_wait(cli->xs, cli->dir, &vif, name, &cli->fail);
	if (ret)
		device_erase(cli->xs, &vif);
	return ret;
}

/* The first number that the guest has no NIC of. */
static int free_number(struct cli *cli, uint16_t domid, uint32_t *number)
{
	struct device *vifs;
	unsigned n;

	if (device_list(cli->xs, DEVICE_VIF, domid, &vifs, &n))
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	*number = 0;
	for (unsigned i = 0; i < n; i++)
		if (vifs[i].devid == *number)
			++*number;
	free(vifs);
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
	ret = cli_open_store(cli);
	if (!ret)
		ret = cli_domain(cli, argv[optind], &entry);
	if (!ret && entry.kind != SR_KIND_GUEST)
		ret =
		    sr_fail(&cli->fail, EINVAL, "%s: not a guest; see splitring list", entry.name);
	if (!ret)
		ret = free_number(cli, entry.domid, &number);
	if (!ret)
		ret = network_attach(cli, entry.domid, &nic, number);
	sr_nic_free(&nic);
	return ret;
}

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
	struct device *vifs;
	unsigned n, i = 0;
	int ret = cli_open_store(cli);

	if (!ret)
		ret = cli_domain(cli, domain, &entry);
	if (ret)
		return ret;
	if (device_list(cli->xs, DEVICE_VIF, entry.domid, &vifs, &n))
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	while (i < n && !is_meant(cli, &vifs[i], what))
		i++;
	if (i < n)
		*vif = vifs[i];
	free(vifs);
	return i < n ? 0
		     : sr_fail(&cli->fail, ENOENT,
			       "%s: domain %u has no such NIC; see splitring network-list", what,
			       entry.domid);
}

int cmd_network_detach(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { { "force", no_argument, NULL, 'f' }, { 0 } };
	bool force = false;
	struct device vif;
	int c, ret;

	while ((c = cli_option(cli, argc, argv, options, 2, 2)) == 'f')
		force = true;
	if (c != -1)
		return CLI_USAGE;
	ret = find_vif(cli, argv[optind], argv[optind + 1], &vif);
	return ret ? ret : device_remove(cli->xs, cli->dir, &vif, force, &cli->fail);
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

/* The device from its nodes alone, where its daemon does not answer. */
static struct json_object *from_store(struct cli *cli, const struct device *vif)
{
	static const char *const nodes[] = { "mac", "bridge" };
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "domid", json_object_new_int(vif->domid));
	json_object_object_add(o, "devid", json_object_new_int64(vif->devid));
	for (unsigned i = 0; i < 2; i++) {
		char *value = device_read(cli->xs, vif, nodes[i]);

		json_object_object_add(o, nodes[i], json_object_new_string(value ? value : ""));
		free(value);
	}
	json_object_object_add(o, "state", json_object_new_string("not served"));
	return o;
}

static int add_vifs(struct cli *cli, uint16_t domid, struct told *told, struct json_object *array)
{
	struct device *vifs;
	unsigned n;

	if (device_list(cli->xs, DEVICE_VIF, domid, &vifs, &n))
		return sr_fail(&cli->fail, ENOMEM, "out of memory; free some");
	for (unsigned i = 0; i < n; i++) {
		struct json_object *o = told_find(cli, told, "vifs", &vifs[i]);

		if (!o)
			o = from_store(cli, &vifs[i]);
		json_object_object_add(o, "backend", json_object_new_int(vifs[i].backend));
		json_object_array_add(array, o);
	}
	free(vifs);
	return 0;
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

/* Those of the domains that were named, or of all. */
static int collect(struct cli *cli, int count, char **domains, struct json_object *array)
{
	struct told told = { .backend = -1 };
	struct sr_domain_list_entry entry;
	int ret = 0, at = -1;

	for (int i = 0; i < count && !ret; i++) {
		ret = cli_domain(cli, domains[i], &entry);
		if (!ret)
			ret = add_vifs(cli, entry.domid, &told, array);
	}
	while (!count && !ret && !sr_control_next(cli->ctl, at, &entry)) {
		at = entry.domid;
		ret = add_vifs(cli, entry.domid, &told, array);
	}
	json_object_put(told.answer);
	return ret;
}

int cmd_network_list(struct cli *cli, int argc, char **argv)
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
		ret = xen_nics(cli, argc - optind, argv + optind, array);
	else
		ret = collect(cli, argc - optind, argv + optind, array);
	if (!ret && json) {
		cli_print_json(array);
		return 0;
	}
	if (!ret)
		print_table(array);
	json_object_put(array);
	return ret;
}
