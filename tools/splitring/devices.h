/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_DEVICES_H
#define SPLITRING_DEVICES_H

/* What the commands for disks and those for NICs share: attach, detach, list. */

#include "cli.h"
#include "device.h"

struct json_object;

struct device_kind {
	enum device_type type; /* as device_list() takes it */
	device_writer *write;
	const char *told; /* where a daemon's answer to `list` has them */
	/* The device that the command line means; opens the store. */
	int (*find)(struct cli *cli, const char *domain, const char *what, struct device *device);
	/* Adds what its nodes say, where its daemon does not answer. */
	void (*describe)(struct cli *cli, const struct device *device, struct json_object *o);
	/* On a Xen host: those of the domains named, or of all. */
	int (*list_on_xen)(struct cli *cli, int count, char **domains, struct json_object *array);
	void (*print_table)(struct json_object *array);
};

/* Opens the store and finds the guest. */
int devices_guest(struct cli *cli, const char *name, struct sr_domain_list_entry *guest);

/*
 * Makes the nodes of `device`, whose backend's domain is named by `backend` (NULL: dom0), and waits
 * for it. Where it is refused they go again. `arg`: the writer's; `name`: how lines call it.
 */
int devices_attach(struct cli *cli, const struct device_kind *kind, struct device *device,
		   const char *backend, const void *arg, const char *name);

/* The commands, with all their arguments. */
int devices_detach(struct cli *cli, const struct device_kind *kind, int argc, char **argv);
int devices_list(struct cli *cli, const struct device_kind *kind, int argc, char **argv);

/* Adds a node of the backend's directory as `key`; "" if there is none. */
void devices_add_node(struct cli *cli, const struct device *device, const char *node,
		      struct json_object *o, const char *key);

#endif
