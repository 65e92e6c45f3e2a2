/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_CLI_H
#define SPLITRING_CLI_H

#include <embedded/control.h>
#include <tools/fail.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct xs_handle;
struct json_object;

/*
 * One run of the command. A command is a function that gets its own arguments (argv[0] is its
 * name) and returns 0, or -errno with the line for the operator in cli->fail, or CLI_USAGE.
 */
struct cli {
	const char *machine;    /* -m, or NULL */
	char dir[PATH_MAX];     /* of the machine, once cli_find() has found it */
	bool xen;               /* it is the Xen host that we run on */
	struct sr_control *ctl; /* once cli_open() has opened it */
	struct xs_handle *xs;   /* once cli_open_store() has opened it */
	struct sr_fail fail;
};

#define CLI_USAGE 2

struct command {
	const char *name;
	const char *arguments; /* as help shows them */
	const char *help;      /* a line or more, each but the last with its newline */
	int (*run)(struct cli *cli, int argc, char **argv);
};

/* main.c */

/*
 * The machine that -m, $SPLITRING_MACHINE or their absence mean: the only one that runs, or the Xen
 * host, which is called "xen:".
 */
int cli_find(struct cli *cli);
/* The same, and a connection to it. */
int cli_open(struct cli *cli);
/* The same, and one to its xenstore. */
int cli_open_store(struct cli *cli);

/*
 * Takes `options`, getopt_long() style (all long options' values are characters), from a command's
 * arguments: returns the next one, -1 at the end, '?' after having said what is wrong. `min` and
 * `max`: how many arguments may remain; checked at the end.
 */
struct option;
int cli_option(struct cli *cli, int argc, char **argv, const struct option *options, int min,
	       int max);

/* A domain by name or number. */
int cli_domain(struct cli *cli, const char *what, struct sr_domain_list_entry *entry);

/* Prints a JSON value with a newline, and gives it back. */
void cli_print_json(struct json_object *value);

/* cmd_create.c: where a guest's console goes, and a copy of what can be read now to our output. */
int console_path(struct cli *cli, const char *name, char *path, size_t size);
bool console_copy(int fd);

/* cmd_block.c: makes the device and waits for its backend; all or nothing. */
struct sr_disk;
int block_attach(struct cli *cli, uint16_t domid, const struct sr_disk *disk);
/* The same of a NIC, cmd_network.c; `index`: its number where it has none of its own. */
struct sr_nic;
int network_attach(struct cli *cli, uint16_t domid, const struct sr_nic *nic, uint32_t index);

/*
 * cmd_xen.c: for the commands that exist on a Xen host. `daemon` and what is added to `array` are
 * as splitringd tells them.
 */
int xen_info(struct cli *cli, struct json_object **daemon);
int xen_devices(struct cli *cli, int count, char **domains, struct json_object *array);
int xen_nics(struct cli *cli, int count, char **domains, struct json_object *array);
int xen_refresh(struct cli *cli, char *domain, const char *vdev);
struct device;
/* A NIC by its number or its address. */
int xen_vif(struct cli *cli, char *domain, const char *what, struct device *vif);

/* The commands: cmd_*.c */
int cmd_machine(struct cli *cli, int argc, char **argv);
int cmd_create(struct cli *cli, int argc, char **argv);
int cmd_list(struct cli *cli, int argc, char **argv);
int cmd_info(struct cli *cli, int argc, char **argv);
int cmd_destroy(struct cli *cli, int argc, char **argv);
int cmd_dmesg(struct cli *cli, int argc, char **argv);
int cmd_console(struct cli *cli, int argc, char **argv);
int cmd_network_attach(struct cli *cli, int argc, char **argv);
int cmd_network_detach(struct cli *cli, int argc, char **argv);
int cmd_network_link(struct cli *cli, int argc, char **argv);
int cmd_network_list(struct cli *cli, int argc, char **argv);
int cmd_capture(struct cli *cli, int argc, char **argv);
int cmd_top(struct cli *cli, int argc, char **argv);
int cmd_upgrade(struct cli *cli, int argc, char **argv);
int cmd_block_attach(struct cli *cli, int argc, char **argv);
int cmd_block_detach(struct cli *cli, int argc, char **argv);
int cmd_block_list(struct cli *cli, int argc, char **argv);
int cmd_block_refresh(struct cli *cli, int argc, char **argv);

#endif
