/* SPDX-License-Identifier: MIT */
#ifndef PORTS_PORT_H
#define PORTS_PORT_H

/* What the files of the ports share. */

#include <ports/ports.h>

/* Those built in. */
extern const struct sr_net_port_driver sr_net_port_driver_dpdk, sr_net_port_driver_tap;

/* Takes "driver:args" apart; *args is a part of `uplink`. */
int sr_port_find(const struct sr_port_registry *registry, const char *uplink,
		 const struct sr_net_port_driver **driver, const char **args, char *error,
		 size_t error_size);

#endif
