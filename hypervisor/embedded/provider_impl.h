/* SPDX-License-Identifier: MIT */
#ifndef EMBEDDED_PROVIDER_IMPL_H
#define EMBEDDED_PROVIDER_IMPL_H

/* The provider's own structures: what one process sees of an embedded machine. */

#include <core/conn.h>
#include <core/foreign.h>
#include <provider.h>
#include <pthread.h>
#include <xen/xen.h>

#include "protocol.h"

struct sr_em_hv {
	struct sr_hypervisor base;
	char *dir;
	bool strict;
	bool trusted;                 /* does its grant operations itself */
	pthread_mutex_t lock;         /* over `client` */
	struct sr_em_client client;   /* SR_EM_INSTANCE */
	struct sr_foreigns *foreigns; /* trusted: shared by all gnttab handles */
};

/* Opens a handle's own connection as this instance's domain. */
int sr_em_hv_connect(struct sr_em_hv *hv, enum sr_em_kind kind, struct sr_em_client *cl,
		     struct sr_em_reply *reply, int *fds, unsigned nr_fds);

/* DOMID_SELF by its number. */
static inline uint16_t sr_em_domid(const struct sr_em_hv *hv, uint16_t domid)
{
	return domid == DOMID_SELF ? hv->base.domid : domid;
}

int sr_em_gnttab_open(struct sr_hypervisor *hv, struct sr_gnttab **gt);
int sr_em_guest_gnttab_open(struct sr_hypervisor *hv, struct sr_gnttab **gt);
int sr_em_gntshr_open(struct sr_hypervisor *hv, struct sr_gntshr **gs);
int sr_em_evtchn_open(struct sr_hypervisor *hv, struct sr_evtchn **ev);

#endif
