/* SPDX-License-Identifier: MIT */
/* Picks the environment by its scheme, and opens what is in another domain. */
#include "env.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "env_kind.h"
#include "remote.h"

static const struct env_kind *kind;
/* The instance through whose xenstore peers are spoken to. */
static struct sr_hypervisor *here;

int env_start(const char *scheme, struct env *env)
{
	struct sr_hypervisor *peer;
	int err;

	kind = strcmp(scheme, "xen:") ? &env_embedded : &env_xen;
	err = kind->start(scheme, env);
	if (err || !env->remote)
		return err;
	err = sr_hv_open(env->back, &here);
	/* That it is there: no case has to wait for it. */
	if (!err)
		err = env_open(env->front, &peer);
	if (!err)
		sr_hv_close(peer);
	return err;
}

void env_stop(void)
{
	sr_hv_close(here);
	kind->stop();
}

int env_open(const char *address, struct sr_hypervisor **hv)
{
	if (strncmp(address, "peer:", 5))
		return sr_hv_open(address, hv);
	return remote_open(here, (uint16_t)atoi(address + 5), hv);
}

bool env_usage(struct usage *usage)
{
	return kind->usage(usage);
}

bool env_make_guest(uint16_t *domid, char address[256])
{
	return kind->make_guest(domid, address);
}

void env_kill_guest(uint16_t domid)
{
	kind->kill_guest(domid);
}
