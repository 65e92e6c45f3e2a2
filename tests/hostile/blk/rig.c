/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <xen/io/xenbus.h>
#include <xenstore.h>

#include <blk/blkback.h>
#include <drivers/registry.h>
#include <embedded/control.h>
#include <embedded/machine.h>
#include <hypervisor.h>

#include "bystander.h"
#include "held.h"

/* ASan's, where it is linked in; gcc has no header for it. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* What is counted before and after a case. */
struct counts {
	unsigned fds, dom0_ports, dom0_connections;
	struct sr_machine_status machine;
	size_t devices;
};

static struct {
	char dir[64];
	struct sr_machine *machine;
	pthread_t machine_thread;
	struct sr_hypervisor *hv;
	struct sr_control *control;
	struct xs_handle *xs;
	struct sr_blk_registry *registry;
	struct sr_blkback *back;
	pthread_t back_thread;
	struct sr_log log;
	uint16_t good; /* the well-behaved guest */
	struct bystander *bystander;
	unsigned guests;
	struct counts before;
} rig;

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000l }, NULL);
}

static void *run_machine(void *arg)
{
	return (void *)(intptr_t)sr_machine_run(rig.machine);
}

static void *run_back(void *arg)
{
	return (void *)(intptr_t)sr_blkback_run(rig.back);
}

const char *rig_address(uint16_t domid)
{
	static char address[128];

	snprintf(address, sizeof(address), "embedded:%s#%u", rig.dir, domid);
	return address;
}

/* --- the toolstack's part --------------------------------------------------------------------- */

static void write_node(const char *dir, const char *node, const char *format, ...)
{
	char path[256], value[256];
	va_list args;

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	va_start(args, format);
	vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	assert_true(xs_write(rig.xs, XBT_NULL, path, value, (unsigned)strlen(value)));
}

static void make_dir(const char *dir, uint16_t owner, uint16_t reader)
{
	struct xs_permissions perms[2] = { { .id = owner, .perms = XS_PERM_NONE },
					   { .id = reader, .perms = XS_PERM_READ } };

	assert_true(xs_mkdir(rig.xs, XBT_NULL, dir));
	assert_true(xs_set_permissions(rig.xs, XBT_NULL, dir, perms, 2));
}

static void device_dirs(uint16_t domid, char front[64], char back[64])
{
	snprintf(front, 64, "/local/domain/%u/device/vbd/%u", domid, RIG_DEVID);
	snprintf(back, 64, "/local/domain/0/backend/vbd/%u/%u", domid, RIG_DEVID);
}

static void attach_vbd(uint16_t domid, const char *params, const char *mode)
{
	char front[64], back[64];

	device_dirs(domid, front, back);
	make_dir(front, domid, 0);
	make_dir(back, 0, domid);
	write_node(front, "backend", "%s", back);
	write_node(front, "backend-id", "0");
	write_node(front, "virtual-device", "%u", RIG_DEVID);
	write_node(front, "device-type", "disk");
	write_node(front, "state", "%d", XenbusStateInitialising);
	write_node(back, "frontend", "%s", front);
	write_node(back, "frontend-id", "%u", domid);
	write_node(back, "params", "%s", params);
	write_node(back, "mode", "%s", mode);
	write_node(back, "device-type", "disk");
	write_node(back, "dev", "xvda");
	write_node(back, "removable", "0");
	write_node(back, "online", "1");
	write_node(back, "state", "%d", XenbusStateInitialising);
}

static void remove_dirs(uint16_t domid)
{
	char front[64], back[64];

	device_dirs(domid, front, back);
	/* With the domain's own level, of which this was the only device. */
	*strrchr(back, '/') = '\0';
	xs_rm(rig.xs, XBT_NULL, back);
	xs_rm(rig.xs, XBT_NULL, front);
}

static void ask_for_vbd(const char *back)
{
	write_node(back, "online", "0");
	write_node(back, "state", "%d", XenbusStateClosing);
}

void rig_remove(uint16_t domid)
{
	char front[64], back[64];

	device_dirs(domid, front, back);
	ask_for_vbd(back);
	remove_dirs(domid);
}

static bool has_vbd(uint16_t domid)
{
	char front[64], back[64];
	unsigned len;
	char *value;

	device_dirs(domid, front, back);
	value = xs_read(rig.xs, XBT_NULL, back, &len);
	free(value);
	return value;
}

static bool is_served(uint16_t domid)
{
	struct sr_blkback_device *devices;
	bool served = false;
	size_t n;

	assert_int_equal(sr_blkback_list(rig.back, &devices, &n), 0);
	for (size_t i = 0; i < n; i++)
		served |= devices[i].frontend == domid;
	free(devices);
	return served;
}

void rig_is_forgotten(uint16_t domid)
{
	for (unsigned waited = 0; is_served(domid); waited += 5) {
		assert_true(waited < RIG_TIMEOUT_MS);
		pause_ms(5);
	}
	assert_false(has_vbd(domid));
}

/* As libxl does it: online 0, state 5, the backend closes, the directories go. */
static void detach_vbd(uint16_t domid)
{
	char front[64], back[64], state[80];
	char *value;

	if (!has_vbd(domid))
		return;
	device_dirs(domid, front, back);
	snprintf(state, sizeof(state), "%s/state", back);
	ask_for_vbd(back);
	for (unsigned waited = 0;; waited += 5) {
		unsigned len;

		value = xs_read(rig.xs, XBT_NULL, state, &len);
		if (!value || atoi(value) == XenbusStateClosed)
			break;
		free(value);
		assert_true(waited < RIG_TIMEOUT_MS);
		pause_ms(5);
	}
	free(value);
	remove_dirs(domid);
}

uint16_t rig_guest(const char *params, const char *mode)
{
	struct sr_domain_spec spec = { .kind = SR_KIND_GUEST, .pages = 4096, .vcpus = 1 };
	char name[32];
	uint16_t domid;

	snprintf(name, sizeof(name), "guest-%u", rig.guests++);
	spec.name = name;
	assert_int_equal(sr_control_create(rig.control, &spec, &domid), 0);
	attach_vbd(domid, params, mode);
	return domid;
}

void rig_open(uint16_t domid, struct sr_hostile *h)
{
	assert_int_equal(sr_hostile_open(rig_address(domid), RIG_DEVID, h), 0);
}

void rig_kill(uint16_t domid)
{
	assert_int_equal(sr_control_destroy(rig.control, domid), 0);
}

void rig_spawn(char **argv, uint16_t domid, pid_t *pid)
{
	assert_int_equal(posix_spawn(pid, argv[0], NULL, NULL, argv, environ), 0);
	assert_int_equal(sr_control_attach(rig.control, domid, *pid), 0);
}

void rig_await_gone(uint16_t domid)
{
	struct sr_domain_list_entry info;

	for (unsigned waited = 0; sr_control_info(rig.control, domid, &info) != -ESRCH;
	     waited += 5) {
		assert_true(waited < RIG_TIMEOUT_MS);
		pause_ms(5);
	}
}

/* --- counting --------------------------------------------------------------------------------- */

static unsigned open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

uint64_t rig_allocated(void)
{
	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	return mallinfo2().uordblks;
}

static void count(struct counts *c)
{
	struct sr_domain_list_entry dom0;
	struct sr_blkback_device *devices;

	assert_int_equal(sr_control_info(rig.control, 0, &dom0), 0);
	assert_int_equal(sr_control_status(rig.control, &c->machine), 0);
	assert_int_equal(sr_blkback_list(rig.back, &devices, &c->devices), 0);
	free(devices);
	c->fds = open_fds();
	c->dom0_ports = dom0.ports;
	c->dom0_connections = dom0.connections;
}

static bool same(const struct counts *a, const struct counts *b)
{
	return a->fds == b->fds && a->dom0_ports == b->dom0_ports &&
	       a->dom0_connections == b->dom0_connections && a->devices == b->devices &&
	       a->machine.domains == b->machine.domains &&
	       a->machine.connections == b->machine.connections &&
	       a->machine.ports == b->machine.ports &&
	       a->machine.store_nodes == b->machine.store_nodes &&
	       a->machine.store_watches == b->machine.store_watches &&
	       a->machine.store_connections == b->machine.store_connections &&
	       a->machine.fds == b->machine.fds;
}

static void print_counts(const char *when, const struct counts *c)
{
	print_message("# %s: fds %u, dom0's ports %u and connections %u, devices %zu; machine: "
		      "domains %u, connections %u, ports %u, store nodes %u, watches %u, store "
		      "connections %u, fds %u\n",
		      when, c->fds, c->dom0_ports, c->dom0_connections, c->devices,
		      c->machine.domains, c->machine.connections, c->machine.ports,
		      c->machine.store_nodes, c->machine.store_watches,
		      c->machine.store_connections, c->machine.fds);
}

void rig_begin(void)
{
	/* Whatever began with the well-behaved guest has been opened by then. */
	rig_others_go_on();
	count(&rig.before);
}

void rig_end(uint16_t domid)
{
	struct sr_domain_list_entry info;
	struct counts now;

	rig_others_go_on();
	if (domid) {
		if (!sr_control_info(rig.control, domid, &info) && info.status == SR_DOMAIN_RUNNING)
			rig_kill(domid);
		detach_vbd(domid);
	}
	/* Connections are seen to close a moment after they did. */
	for (unsigned waited = 0; waited < RIG_TIMEOUT_MS; waited += 10) {
		/* To ask for a dead domain makes the machine look whether it can go, at once. */
		sr_control_info(rig.control, domid, &info);
		count(&now);
		if (same(&rig.before, &now))
			return;
		pause_ms(10);
	}
	print_counts("before", &rig.before);
	print_counts("after", &now);
	fail_msg("something leaked");
}

uint64_t rig_mapped(uint16_t domid)
{
	struct sr_domain_list_entry info;

	assert_int_equal(sr_control_info(rig.control, domid, &info), 0);
	return info.pinned;
}

void rig_await_unmapped(uint16_t domid)
{
	for (unsigned waited = 0; rig_mapped(domid); waited += 5) {
		assert_true(waited < RIG_TIMEOUT_MS);
		pause_ms(5);
	}
}

/* --- what a case asks for --------------------------------------------------------------------- */

void rig_others_go_on(void)
{
	assert_true(bystander_goes_on(rig.bystander, RIG_TIMEOUT_MS));
}

void rig_release(void)
{
	held_set(false);
}

bool rig_can_hold(void)
{
	return true;
}

int rig_unshare_in_use(void)
{
	return -EBUSY;
}

void rig_hold(void)
{
	held_set(true);
}

void rig_on_open(void (*hook)(void *arg), void *arg)
{
	held_on_open(hook, arg);
}

void rig_await_held(unsigned requests)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += RIG_TIMEOUT_MS / 1000;
	assert_true(held_await(requests, &until));
}

/* --- set-up and tear-down --------------------------------------------------------------------- */

static int start_back(void)
{
	/* SR_HOSTILE_LOG=1 shows the backend's log. */
	bool show = getenv("SR_HOSTILE_LOG") != NULL;
	struct sr_blkback_options options = { .threads = 1,
					      .max_queues = 4,
					      .log = show ? &rig.log : NULL };
	char error[256];
	int rc;

	rig.log = (struct sr_log){ .fd = STDERR_FILENO, .level = SR_LOG_DEBUG };
	rc = sr_blk_registry_new(&rig.registry);
	if (!rc)
		rc = sr_blk_registry_add(rig.registry, &held_driver, error, sizeof(error));
	options.registry = rig.registry;
	if (!rc)
		rc = sr_blkback_new(rig.hv, &options, &rig.back);
	if (!rc)
		rc = -pthread_create(&rig.back_thread, NULL, run_back, NULL);
	return rc;
}

int rig_start(void **state)
{
	struct sr_machine_opts opts = { .dir = rig.dir };
	char address[96];
	int rc;

	snprintf(rig.dir, sizeof(rig.dir), "/tmp/sr-hostile-XXXXXX");
	if (!mkdtemp(rig.dir))
		return -1;
	/* SR_HOSTILE_STRICT=1: each map with a protection of its own, so that a use of what has
	 * been unmapped, or a write to what is read-only, is a fault. */
	snprintf(address, sizeof(address), "embedded%s:%s",
		 getenv("SR_HOSTILE_STRICT") ? "-strict" : "", rig.dir);
	rc = sr_machine_new(&opts, &rig.machine);
	if (!rc)
		rc = -pthread_create(&rig.machine_thread, NULL, run_machine, NULL);
	if (!rc)
		rc = sr_control_open(rig.dir, &rig.control);
	if (!rc)
		rc = sr_hv_open(address, &rig.hv);
	if (!rc)
		rc = sr_hv_xenstore(rig.hv, &rig.xs);
	if (!rc)
		rc = start_back();
	if (rc)
		return rc;
	rig.good = rig_guest(RIG_RAM, "w");
	return bystander_start(rig_address(rig.good), &rig.bystander);
}

int rig_stop(void **state)
{
	void *machine_rc, *back_rc;

	bystander_stop(rig.bystander);
	rig_kill(rig.good);
	detach_vbd(rig.good);
	sr_blkback_stop(rig.back, SR_BLKBACK_CLOSE);
	pthread_join(rig.back_thread, &back_rc);
	sr_blkback_free(rig.back);
	sr_blk_registry_free(rig.registry);
	xs_close(rig.xs);
	sr_hv_close(rig.hv);
	sr_control_close(rig.control);
	sr_machine_stop(rig.machine);
	pthread_join(rig.machine_thread, &machine_rc);
	sr_machine_free(rig.machine);
	rmdir(rig.dir);
	return back_rc || machine_rc ? -1 : 0;
}
