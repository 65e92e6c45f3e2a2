/* SPDX-License-Identifier: MIT */
#include "daemon.h"

#include <drivers/registry.h>
#include <tools/rundir.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int say(const struct sr_fail *f, int status)
{
	fprintf(stderr, "splitringd: %s\n", f->line);
	return status;
}

/* A driver that can't be loaded has to be known before the first disk asks for it. */
static int check_drivers(const struct options *opt, struct sr_fail *f)
{
	struct sr_blk_registry *registry;
	char error[512];
	int ret = sr_blk_registry_new(&registry);

	if (ret)
		return sr_fail(f, -ret, "out of memory; free some");
	for (size_t i = 0; i < opt->driver_count && !ret; i++) {
		ret = sr_blk_registry_load(registry, opt->drivers[i], NULL, error, sizeof(error));
		if (ret)
			sr_fail(f, -ret, "%s", error);
	}
	sr_blk_registry_free(registry);
	return ret;
}

static int find_hypervisor(struct daemon *d, struct sr_fail *f)
{
	int ret;

	if (!d->opt.hypervisor) {
		if (access("/dev/xen/gntdev", F_OK))
			return sr_fail(
			    f, ENODEV,
			    "this is no Xen host; start a machine (splitring machine start "
			    "NAME) and give --hypervisor embedded:DIR");
		d->opt.hypervisor = strdup("xen:");
		if (!d->opt.hypervisor)
			return sr_fail(f, ENOMEM, "out of memory; free some");
	}
	ret = sr_run_address_dir(d->opt.hypervisor, d->dir, sizeof(d->dir), &d->domid, f);
	if (ret)
		return ret;
	/* A machine made its own directory, and where it did not there is no machine. */
	if (!strcmp(d->opt.hypervisor, "xen:"))
		ret = sr_run_make_dir(d->dir, f);
	else if (access(d->dir, F_OK))
		ret = sr_fail(f, ENOENT, "%s: no machine there; splitring machine start NAME",
			      d->opt.hypervisor);
	if (ret)
		return ret;
	if ((size_t)snprintf(d->socket, sizeof(d->socket), "%s/splitringd-%u.sock", d->dir,
			     d->domid) >= sizeof(d->socket) ||
	    (size_t)snprintf(d->lock, sizeof(d->lock), "%s/splitringd-%u.lock", d->dir, d->domid) >=
		sizeof(d->lock))
		return sr_fail(f, ENAMETOOLONG, "%s: too long for a path; use a shorter one",
			       d->dir);
	return 0;
}

static int run(struct daemon *d)
{
	struct sr_fail f;
	int status;

	if (find_hypervisor(d, &f) || daemon_open_log(d, &f) || daemon_lock(d, &f))
		return say(&f, EXIT_FAILED);
	sr_log_source_init(&d->src, &d->log, "splitringd");
	signal(SIGPIPE, SIG_IGN);
	daemon_raise_fd_limit(d);
	/* After an upgrade there is one, or what was handed on would be lost. */
	if (d->opt.supervisor || d->kept_fd >= 0) {
		status = supervisor_run(d);
	} else {
		status = worker_run(d, -1, -1);
		daemon_remove_pidfile(d);
		if (status == EXIT_GONE)
			status = EXIT_FAILED;
	}
	return status;
}

int main(int argc, char **argv)
{
	struct daemon d = { .lock_fd = -1, .log = { .fd = STDERR_FILENO, .timestamps = true } };
	struct sr_fail f;
	bool usage;
	int status = EXIT_DRAINED;

	daemon_note_program(&d, argv);
	if (options_read(argc, argv, &d.opt, &usage, &f)) {
		status = say(&f, usage ? EXIT_USAGE : EXIT_FAILED);
		goto out;
	}
	d.log.level = d.opt.log_level;
	if (d.opt.help) {
		fputs(options_help, stdout);
	} else if (d.opt.version) {
		puts("splitringd " SPLITRING_VERSION);
	} else if (check_drivers(&d.opt, &f)) {
		status = say(&f, EXIT_FAILED);
	} else if (d.opt.check_config) {
		puts("ok");
	} else {
		status = run(&d);
	}
out:
	if (d.lock_fd >= 0)
		close(d.lock_fd);
	if (d.log.fd != STDERR_FILENO)
		close(d.log.fd);
	options_free(&d.opt);
	return status;
}
