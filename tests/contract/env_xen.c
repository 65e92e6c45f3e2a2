/* SPDX-License-Identifier: MIT */
/* Two domains of the Xen host that we run on; see env.h for what has to be there. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "env_kind.h"
#include "remote.h"

static const char *spares; /* what is left of SR_CONTRACT_SPARE */

static bool take_number(const char **text, uint16_t *value)
{
	char *end;
	unsigned long n;

	if (!*text)
		return false;
	n = strtoul(*text, &end, 10);
	if (end == *text || n > UINT16_MAX)
		return false;
	*text = end;
	*value = (uint16_t)n;
	return true;
}

static int start(const char *scheme, struct env *env)
{
	const char *front = getenv("SR_CONTRACT_FRONT");
	struct sr_hypervisor *hv;
	int err;

	spares = getenv("SR_CONTRACT_SPARE");
	if (!take_number(&front, &env->front_id))
		return -EDESTADDRREQ;
	err = sr_hv_open(scheme, &hv);
	if (err)
		return err;
	env->back_id = sr_hv_domid(hv);
	sr_hv_close(hv);
	snprintf(env->back, sizeof(env->back), "%s", scheme);
	snprintf(env->front, sizeof(env->front), "peer:%u", env->front_id);
	env->remote = true;
	return 0;
}

static void stop(void)
{
}

static bool usage_now(struct usage *usage)
{
	return false;
}

static bool make_guest(uint16_t *domid, char address[256])
{
	if (!take_number(&spares, domid))
		return false;
	snprintf(address, 256, "peer:%u", *domid);
	return true;
}

static void kill_guest(uint16_t domid)
{
	char command[64];

	remote_abandon(domid);
	snprintf(command, sizeof(command), "xl destroy %u", domid);
	if (system(command))
		fprintf(stderr, "%s failed\n", command);
}

const struct env_kind env_xen = {
	.start = start,
	.stop = stop,
	.usage = usage_now,
	.make_guest = make_guest,
	.kill_guest = kill_guest,
};
