/* SPDX-License-Identifier: MIT */
/* Two domains of an embedded machine that runs in a thread. */
#include <embedded/control.h>
#include <embedded/machine.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "env.h"

static struct sr_machine *machine;
static struct sr_control *control;
static pthread_t thread;
static char parent[64], dir[96], scheme_used[128];
static unsigned guests;

static void *run(void *arg)
{
	sr_machine_run(machine);
	return NULL;
}

bool env_make_guest(uint16_t *domid, char address[256])
{
	struct sr_domain_spec spec = { .kind = SR_KIND_GUEST, .pages = 4096, .vcpus = 1 };
	char name[32];

	snprintf(name, sizeof(name), "guest%u", guests++);
	spec.name = name;
	if (sr_control_create(control, &spec, domid))
		return false;
	snprintf(address, 256, "%s%s#%u", scheme_used, dir, *domid);
	return true;
}

void env_kill_guest(uint16_t domid)
{
	sr_control_destroy(control, domid);
}

int env_start(const char *scheme, struct env *env)
{
	struct sr_machine_opts opts = { .dir = dir };
	int err;

	snprintf(scheme_used, sizeof(scheme_used), "%s", scheme);
	snprintf(parent, sizeof(parent), "/tmp/sr-contract-XXXXXX");
	if (!mkdtemp(parent))
		return -errno;
	snprintf(dir, sizeof(dir), "%s/m", parent);
	err = sr_machine_new(&opts, &machine);
	if (err)
		return err;
	if (pthread_create(&thread, NULL, run, NULL))
		return -EAGAIN;
	err = sr_control_open(dir, &control);
	if (err)
		return err;
	snprintf(env->back, sizeof(env->back), "%s%s", scheme, dir);
	env->back_id = 0;
	return env_make_guest(&env->front_id, env->front) ? 0 : -EIO;
}

void env_stop(void)
{
	sr_control_close(control);
	sr_machine_stop(machine);
	pthread_join(thread, NULL);
	sr_machine_free(machine);
	rmdir(parent);
}

bool env_usage(struct usage *usage)
{
	struct sr_domain_list_entry e;

	memset(usage, 0, sizeof(*usage));
	for (int after = -1; !sr_control_next(control, after, &e); after = e.domid) {
		usage->pinned += e.pinned;
		usage->granted += e.granted;
		usage->ports += e.ports;
		usage->connections += e.connections;
		usage->watches += e.store_watches;
	}
	return true;
}
