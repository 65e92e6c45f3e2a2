/* SPDX-License-Identifier: MIT */
/* The machine's life, and the toolstack's operations. */
#include "machine.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xenstore.h>

static bool exists(const struct fixture *f, const char *name)
{
	struct stat st;
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	return lstat(path, &st) == 0;
}

static char *node(const struct fixture *f, const char *path)
{
	struct sr_hypervisor *hv;
	struct xs_handle *xs;
	unsigned len;
	char *v;

	assert_int_equal(sr_hv_open(machine_address(f, 0), &hv), 0);
	assert_int_equal(sr_hv_xenstore(hv, &xs), 0);
	v = xs_read(xs, XBT_NULL, path, &len);
	xs_close(xs);
	sr_hv_close(hv);
	return v;
}

static void check_node(const struct fixture *f, const char *path, const char *want)
{
	char *v = node(f, path);

	if (want) {
		assert_non_null(v);
		assert_string_equal(v, want);
	} else {
		assert_null(v);
	}
	free(v);
}

/* --- the machine ----------------------------------------------------------------------------- */

static void a_fresh_machine_has_domain_0(void **state)
{
	struct fixture *f = *state;
	struct sr_domain_list_entry e;
	struct sr_machine_status st;
	pid_t pid;

	assert_int_equal(sr_control_next(f->control, -1, &e), 0);
	assert_int_equal(e.domid, 0);
	assert_int_equal(e.kind, SR_KIND_DOM0);
	assert_string_equal(e.name, "Domain-0");
	assert_int_equal(sr_control_next(f->control, 0, &e), -ENOENT);
	assert_int_equal(sr_control_status(f->control, &st), 0);
	assert_int_equal(st.pid, getpid());
	assert_int_equal(st.domains, 1);
	assert_int_equal(st.ports, 0);
	assert_int_equal(sr_machine_find(f->dir, &pid), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(sr_machine_find(f->parent, &pid), -ENOENT);
	assert_true(exists(f, "hv-0"));
	assert_true(exists(f, "xenstored"));
	check_node(f, "/local/domain/0/name", "Domain-0");
}

static void one_machine_a_directory(void **state)
{
	struct fixture *f = *state;
	struct sr_machine_opts opts = { .dir = f->dir };
	struct sr_machine *second;
	char path[200] = "";
	pid_t pid;

	assert_int_equal(sr_machine_new(&opts, &second), -EBUSY);
	/* That has not harmed the first one. */
	assert_int_equal(sr_machine_find(f->dir, &pid), 0);
	check_node(f, "/local/domain/0/name", "Domain-0");
	opts.dir = "/nowhere/at/all";
	assert_int_equal(sr_machine_new(&opts, &second), -ENOENT);
	memset(path, 'x', sizeof(path) - 1);
	memcpy(path, f->parent, strlen(f->parent));
	path[strlen(f->parent)] = '/';
	opts.dir = path;
	assert_int_equal(sr_machine_new(&opts, &second), -ENAMETOOLONG);
	assert_int_equal(access(path, F_OK), -1);
}

static void a_client_may_ask_it_to_stop(void **state)
{
	struct fixture *f = *state;
	struct sr_machine_status st;
	struct sr_control *late;

	assert_int_equal(sr_control_shutdown(f->control), 0);
	pthread_join(f->thread, NULL);
	sr_machine_free(f->machine);
	assert_int_equal(sr_control_status(f->control, &st), -ECONNRESET);
	sr_control_close(f->control);
	f->stopped = true;
	assert_int_equal(sr_control_open(f->dir, &late), -ENOENT);
}

/* A machine that was killed leaves its sockets; the next one in its place takes over. */
static void it_starts_where_another_was_killed(void **state)
{
	struct fixture *f = *state;
	int status;
	pid_t pid;

	machine_stop(f);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		struct sr_machine_opts opts = { .dir = f->dir };

		if (!sr_machine_new(&opts, &f->machine))
			kill(getpid(), SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_true(exists(f, "hv-0"));
	assert_int_equal(sr_machine_find(f->dir, &pid), -ENOENT);
	machine_start(f, (struct sr_machine_opts){ 0 });
	check_node(f, "/local/domain/0/name", "Domain-0");
}

/* --- domains --------------------------------------------------------------------------------- */

static void a_domain_has_its_nodes_and_sockets(void **state)
{
	struct fixture *f = *state;
	struct sr_domain_spec spec = {
		.kind = SR_KIND_GUEST, .name = "web.1", .pages = 2048, .vcpus = 2
	};
	struct sr_domain_list_entry e;
	char path[64], *vm;
	uint16_t domid;

	assert_int_equal(sr_control_create(f->control, &spec, &domid), 0);
	assert_int_equal(domid, 1);
	assert_int_equal(sr_control_info(f->control, domid, &e), 0);
	assert_string_equal(e.name, "web.1");
	assert_int_equal(e.pages, 2048);
	assert_int_equal(e.vcpus, 2);
	assert_int_equal(e.status, SR_DOMAIN_RUNNING);
	assert_int_equal(e.processes, 0);
	assert_true(exists(f, "hv-1"));
	assert_true(exists(f, "xenstored-1"));
	check_node(f, "/local/domain/1/name", "web.1");
	check_node(f, "/local/domain/1/domid", "1");
	check_node(f, "/local/domain/1/memory/target", "8192");
	check_node(f, "/local/domain/1/cpu/1/availability", "online");
	vm = node(f, "/local/domain/1/vm");
	assert_non_null(vm);
	snprintf(path, sizeof(path), "%s/name", vm);
	check_node(f, path, "web.1");
	assert_int_equal(sr_control_destroy(f->control, domid), 0);
	check_node(f, "/local/domain/1", NULL);
	check_node(f, path, NULL);
	assert_false(exists(f, "hv-1"));
	assert_false(exists(f, "xenstored-1"));
	assert_int_equal(sr_control_info(f->control, domid, &e), -ESRCH);
	free(vm);
}

static void bad_domains_are_refused(void **state)
{
	struct fixture *f = *state;
	struct sr_domain_spec good = {
		.kind = SR_KIND_GUEST, .name = "good", .pages = 16, .vcpus = 1
	};
	struct sr_domain_spec bad[7];
	char longest[80];
	uint16_t domid;

	for (int i = 0; i < 7; i++)
		bad[i] = good;
	memset(longest, 'a', sizeof(longest));
	longest[SR_NAME_MAX + 1] = '\0';
	bad[0].name = "";
	bad[1].name = "with/slash";
	bad[2].name = longest;
	bad[3].pages = 0;
	bad[4].pages = UINT64_MAX;
	bad[5].vcpus = 0;
	bad[6].kind = SR_KIND_DOM0;
	for (int i = 0; i < 7; i++)
		assert_int_equal(sr_control_create(f->control, &bad[i], &domid), -EINVAL);
	assert_int_equal(sr_control_create(f->control, &good, &domid), 0);
	assert_int_equal(sr_control_create(f->control, &good, &domid), -EEXIST);
	longest[SR_NAME_MAX] = '\0';
	good.name = longest;
	assert_int_equal(sr_control_create(f->control, &good, &domid), 0);
	assert_int_equal(sr_control_destroy(f->control, 0), -EINVAL);
	assert_int_equal(sr_control_destroy(f->control, 99), -ESRCH);
	assert_int_equal(sr_control_attach(f->control, 99, getpid()), -ESRCH);
	assert_int_equal(sr_control_attach(f->control, domid, -1), -ESRCH);
	assert_int_equal(sr_control_attach(f->control, domid, 0x3fffffff), -ESRCH);
	assert_int_equal(sr_control_attach(f->control, 0, getpid()), -EINVAL);
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (!pid) {
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

static void destroying_a_domain_kills_its_processes(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");
	pid_t pids[2] = { sleeper(), sleeper() };
	struct sr_domain_list_entry e;
	int status;

	for (int i = 0; i < 2; i++)
		assert_int_equal(sr_control_attach(f->control, domid, pids[i]), 0);
	assert_int_equal(sr_control_info(f->control, domid, &e), 0);
	assert_int_equal(e.processes, 2);
	assert_int_equal(e.pids[0] + e.pids[1], pids[0] + pids[1]);
	assert_int_equal(sr_control_destroy(f->control, domid), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
}

static void wait_gone(struct fixture *f, uint16_t domid)
{
	struct sr_domain_list_entry e;

	for (int i = 0; i < 1000 && !sr_control_info(f->control, domid, &e); i++)
		usleep(10000);
	assert_int_equal(sr_control_info(f->control, domid, &e), -ESRCH);
}

static void a_domain_dies_with_its_process(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");
	pid_t pid = sleeper();

	assert_int_equal(sr_control_attach(f->control, domid, pid), 0);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	wait_gone(f, domid);
	check_node(f, "/local/domain/1", NULL);
	/* Numbers go up; names are free again. */
	assert_int_equal(machine_guest(f, "guest"), domid + 1);
}

static void a_guests_handles_end_with_it(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");
	struct sr_machine_status before, now;
	struct sr_hypervisor *hv;
	struct sr_evtchn *ev;
	struct sr_gntshr *gs;
	struct sr_gnttab *gt;
	uint32_t port, ref[3];
	void *p;

	assert_int_equal(sr_control_status(f->control, &before), 0);
	assert_int_equal(sr_hv_open(machine_address(f, domid), &hv), 0);
	assert_int_equal(sr_evtchn_open(hv, &ev), 0);
	assert_int_equal(sr_gntshr_open(hv, &gs), 0);
	assert_int_equal(sr_gnttab_open(hv, &gt), 0);
	assert_int_equal(sr_evtchn_alloc_unbound(ev, 0, &port), 0);
	assert_int_equal(sr_gntshr_share(gs, 0, 3, true, ref, &p), 0);
	assert_int_equal(sr_gnttab_map(gt, 0, ref, 1, PROT_READ, &p), -EPERM);
	assert_int_equal(sr_control_destroy(f->control, domid), 0);
	assert_int_equal(sr_control_status(f->control, &now), 0);
	assert_int_equal(now.connections, before.connections);
	assert_int_equal(now.ports, 0);
	assert_int_equal(sr_evtchn_alloc_unbound(ev, 0, &port), -ECONNRESET);
	assert_int_equal(sr_gnttab_copy(gt, NULL, 0), 0);
	sr_gnttab_close(gt);
	sr_gntshr_close(gs);
	sr_evtchn_close(ev);
	sr_hv_close(hv);
}

static void *destroy(void *arg)
{
	struct fixture *f = arg;
	struct sr_control *ctl;
	intptr_t err = sr_control_open(f->dir, &ctl);

	if (!err)
		err = sr_control_destroy(ctl, 1);
	sr_control_close(ctl);
	return (void *)err;
}

/* It works on others' grants by itself: it is gone when its handles are. */
static void a_driver_domain_goes_after_its_last_handle(void **state)
{
	struct fixture *f = *state;
	struct sr_domain_spec spec = {
		.kind = SR_KIND_DRIVER, .name = "disks", .pages = 64, .vcpus = 1
	};
	struct sr_domain_list_entry e;
	struct sr_hypervisor *hv;
	struct sr_gnttab *gt;
	pthread_t thread;
	uint16_t domid;
	void *result;

	assert_int_equal(sr_control_create(f->control, &spec, &domid), 0);
	assert_int_equal(sr_hv_open(machine_address(f, domid), &hv), 0);
	assert_true(sr_hv_caps(hv) & SR_CAP_CHEAP_MAP);
	assert_int_equal(sr_gnttab_open(hv, &gt), 0);
	assert_int_equal(pthread_create(&thread, NULL, destroy, f), 0);
	do
		assert_int_equal(sr_control_info(f->control, domid, &e), 0);
	while (e.status != SR_DOMAIN_DYING);
	assert_string_equal(e.name, "disks");
	sr_gnttab_close(gt);
	pthread_join(thread, &result);
	assert_int_equal((intptr_t)result, 0);
	assert_int_equal(sr_control_info(f->control, domid, &e), -ESRCH);
	sr_hv_close(hv);
}

static void guests_are_trusted_where_asked_for(void **state)
{
	struct fixture *f = *state;
	struct sr_hypervisor *a, *b;
	struct sr_gntshr *gs;
	struct sr_gnttab *gt;
	uint16_t ida, idb;
	char *pa, *pb;
	uint32_t ref;

	machine_stop(f);
	machine_start(f, (struct sr_machine_opts){ .trust_guests = true });
	ida = machine_guest(f, "a");
	idb = machine_guest(f, "b");
	assert_int_equal(sr_hv_open(machine_address(f, ida), &a), 0);
	assert_int_equal(sr_hv_open(machine_address(f, idb), &b), 0);
	assert_int_equal(sr_gntshr_open(a, &gs), 0);
	assert_int_equal(sr_gnttab_open(b, &gt), 0);
	assert_int_equal(sr_gntshr_share(gs, idb, 1, true, &ref, (void **)&pa), 0);
	assert_int_equal(sr_gnttab_map(gt, ida, &ref, 1, PROT_READ, (void **)&pb), 0);
	strcpy(pa, "guest to guest");
	assert_string_equal(pb, "guest to guest");
	sr_gnttab_close(gt);
	sr_gntshr_close(gs);
	sr_hv_close(a);
	sr_hv_close(b);
}

static void a_dead_domain_is_listed_while_its_memory_is_mapped(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");
	struct sr_hypervisor *hv0, *hv;
	struct sr_domain_list_entry e;
	struct sr_gntshr *gs;
	struct sr_gnttab *gt;
	uint32_t ref;
	void *p, *q;

	assert_int_equal(sr_hv_open(machine_address(f, 0), &hv0), 0);
	assert_int_equal(sr_hv_open(machine_address(f, domid), &hv), 0);
	assert_int_equal(sr_gntshr_open(hv, &gs), 0);
	assert_int_equal(sr_gnttab_open(hv0, &gt), 0);
	assert_int_equal(sr_gntshr_share(gs, 0, 1, true, &ref, &p), 0);
	assert_int_equal(sr_gnttab_map(gt, domid, &ref, 1, PROT_READ, &q), 0);
	assert_int_equal(sr_control_destroy(f->control, domid), 0);
	assert_int_equal(sr_control_info(f->control, domid, &e), 0);
	assert_int_equal(e.status, SR_DOMAIN_DYING);
	assert_string_equal(e.name, "(null)");
	assert_int_equal(e.pinned, 1);
	assert_int_equal(sr_control_destroy(f->control, domid), -ESRCH);
	assert_int_equal(sr_gnttab_unmap(gt, q, 1), 0);
	assert_int_equal(sr_control_info(f->control, domid, &e), -ESRCH);
	sr_gnttab_close(gt);
	sr_gntshr_close(gs);
	sr_hv_close(hv);
	sr_hv_close(hv0);
}

static void many_domains_come_and_go(void **state)
{
	struct fixture *f = *state;
	struct sr_machine_status before, now;

	assert_int_equal(sr_control_status(f->control, &before), 0);
	for (int round = 0; round < 3; round++) {
		uint16_t ids[20];
		char name[16];

		for (int i = 0; i < 20; i++) {
			snprintf(name, sizeof(name), "guest%d", i);
			ids[i] = machine_guest(f, name);
		}
		for (int i = 19; i >= 0; i--)
			assert_int_equal(sr_control_destroy(f->control, ids[i]), 0);
	}
	assert_int_equal(sr_control_status(f->control, &now), 0);
	assert_memory_equal(&before, &now, sizeof(now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MACHINE_TEST(a_fresh_machine_has_domain_0),
		MACHINE_TEST(one_machine_a_directory),
		MACHINE_TEST(a_client_may_ask_it_to_stop),
		MACHINE_TEST(it_starts_where_another_was_killed),
		MACHINE_TEST(a_domain_has_its_nodes_and_sockets),
		MACHINE_TEST(bad_domains_are_refused),
		MACHINE_TEST(destroying_a_domain_kills_its_processes),
		MACHINE_TEST(a_domain_dies_with_its_process),
		MACHINE_TEST(a_guests_handles_end_with_it),
		MACHINE_TEST(a_driver_domain_goes_after_its_last_handle),
		MACHINE_TEST(guests_are_trusted_where_asked_for),
		MACHINE_TEST(a_dead_domain_is_listed_while_its_memory_is_mapped),
		MACHINE_TEST(many_domains_come_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
