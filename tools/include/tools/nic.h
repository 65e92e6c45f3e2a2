/* SPDX-License-Identifier: MIT */
#ifndef SR_TOOLS_NIC_H
#define SR_TOOLS_NIC_H

#include <tools/fail.h>

#include <stdbool.h>
#include <stdint.h>

/*
 * A network interface as the operator writes it, xl-network-configuration(5):
 *
 *   mac=00:16:3e:12:34:56,bridge=xenbr0,rate=10Mb/s
 */

struct sr_nic {
	uint8_t mac[6];              /* one of Xen's, made up, where none is given */
	char *bridge, *ip, *vifname; /* NULL: not given */
	char *backend;               /* the backend's domain, name or number; NULL: dom0 */
	unsigned mtu;                /* 0: not given */
	uint64_t rate_bytes;         /* in rate_interval_us; 0: not given */
	uint32_t rate_interval_us;
	bool has_devid;
	uint32_t devid;
};

/*
 * What we can't do (an emulated NIC, a script) is refused with -EINVAL, as is what makes no sense.
 * Free with sr_nic_free().
 */
int sr_nic_parse(const char *spec, struct sr_nic *nic, struct sr_fail *f);
void sr_nic_free(struct sr_nic *nic);

#endif
