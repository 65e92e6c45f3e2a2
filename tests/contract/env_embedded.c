/* SPDX-License-Identifier: MIT */
/* Two domains of an embedded machine that runs in a thread, and perhaps a process for the second.
 */
#include <embedded/control.h>
#include <embedded/machine.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "env_kind.h"
#include "provider.h"

static struct sr_machine *machine;
static struct sr_control *control;
static pthread_t thread;
static char parent[64], dir[96], scheme_used[128];
static unsigned guests;
static pid_t peer;

extern char **environ;

static void *run(void *arg)
{
	sr_machine_run(machine);
	return NULL;
}

static bool make_guest(uint16_t *domid, char address[256])
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

static void kill_guest(uint16_t domid)
{
	sr_control_destroy(control, domid);
}

static int start_peer(struct env *env, const char *address)
{
	char path[PATH_MAX], back[8];
	char *argv[] = { path, (char *)address, back, NULL };
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 32);

	if (n < 0)
		return -errno;
	path[n] = 0;
	strcpy(strrchr(path, '/') + 1, "contract-peer");
	snprintf(back, sizeof(back), "%u", env->back_id);
	snprintf(env->front, sizeof(env->front), "peer:%u", env->front_id);
	env->remote = true;
	return -posix_spawn(&peer, path, NULL, NULL, argv, environ);
}

/* From now on, and in processes that are started, `xen:` is the domain at `address`. */
static int be_xen(const char *address)
{
	struct sr_hypervisor *hv;
	char path[PATH_MAX];
	int err = sr_hv_open(address, &hv);

	if (err)
		return err;
	err = sr_hv_store_path(hv, path, sizeof(path));
	sr_hv_close(hv);
	if (err)
		return err;
	return setenv("SPLITRING_HYPERVISOR", address, 1) || setenv("XENSTORED_PATH", path, 1)
		   ? -errno
		   : 0;
}

/* The peer first: it keeps the environment that it is started with. */
static int start_dropin(struct env *env)
{
	char front[256];
	int err;

	strcpy(front, env->front);
	err = be_xen(front);
	if (!err)
		err = start_peer(env, "xen:");
	if (!err)
		err = be_xen(env->back);
	strcpy(env->back, "xen:");
	env->tells_busy = env->forgets_events = false;
	return err;
}

static int start(const char *scheme, struct env *env)
{
	struct sr_machine_opts opts = { .dir = dir };
	bool with_peer = !strncmp(scheme, "peer:", 5), dropin = !strncmp(scheme, "dropin:", 7);
	char front[256];
	int err;

	scheme += with_peer ? 5 : dropin ? 7 : 0;
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
	env->tells_busy = env->forgets_events = true;
	if (!make_guest(&env->front_id, env->front))
		return -EIO;
	strcpy(front, env->front);
	return dropin ? start_dropin(env) : with_peer ? start_peer(env, front) : 0;
}

static void stop(void)
{
	if (peer > 0) {
		kill(peer, SIGKILL);
		waitpid(peer, NULL, 0);
	}
	sr_control_close(control);
	sr_machine_stop(machine);
	pthread_join(thread, NULL);
	sr_machine_free(machine);
	rmdir(parent);
}

static bool usage_now(struct usage *usage)
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

const struct env_kind env_embedded = {
	.start = start,
	.stop = stop,
	.usage = usage_now,
	.make_guest = make_guest,
	.kill_guest = kill_guest,
};
