/* SPDX-License-Identifier: MIT */
#include "control.h"
#include "daemon.h"
#include "net.h"
#include "rival.h"

#include <blk/blkback.h>
#include <common/backend.h>
#include <common/keep.h>
#include <drivers/registry.h>
#include <hypervisor.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct worker {
	struct daemon *d;
	struct sr_hypervisor *hv;
	struct sr_blk_registry *registry;
	struct sr_keep *keep;
	struct sr_backend *backend; /* the control thread of disks and NICs */
	struct sr_blkback *bb;
	struct net *net;
	struct control *control;
	bool hand_over;
};

/* All that a signal does, the control thread does. */
static void block_signals(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_BLOCK, &mask, NULL);
}

/*
 * Who holds the memory that has to outlive us. systemd starts the next worker itself, so the disks
 * are left to it; a supervisor ends with its worker, so the disks are closed.
 */
static int open_keep(struct worker *w, int keep_fd, struct sr_fail *f)
{
	int ret;

	if (keep_fd >= 0) {
		ret = sr_keep_open_keeper(keep_fd, &w->keep);
	} else {
		ret = sr_keep_open_systemd(&w->keep);
		w->hand_over = !ret;
		if (ret == -ENOENT)
			ret = sr_keep_open_private(&w->keep);
	}
	return ret ? sr_fail(f, -ret, "can't keep records for recovery: %s; see splitringd(8)",
			     strerror(-ret))
		   : 0;
}

static int open_registry(struct worker *w, struct sr_fail *f)
{
	const struct options *opt = &w->d->opt;
	char error[512];
	int ret = sr_blk_registry_new(&w->registry);

	if (ret)
		return sr_fail(f, -ret, "out of memory; free some");
	for (size_t i = 0; i < opt->driver_count; i++) {
		ret =
		    sr_blk_registry_load(w->registry, opt->drivers[i], NULL, error, sizeof(error));
		if (ret)
			return sr_fail(f, -ret, "%s", error);
	}
	return 0;
}

static int open_backend(struct worker *w, struct sr_fail *f)
{
	const struct sr_backend_options options = {
		.keep = w->keep,
		.log = &w->d->log,
		.rival = rival_takes,
		.rival_ctx = w->d,
	};
	int ret = sr_backend_new(w->hv, &options, &w->backend);

	return ret ? sr_fail(f, -ret, "can't set up the backend: %s", strerror(-ret)) : 0;
}

static int open_blkback(struct worker *w, struct sr_fail *f)
{
	const struct options *opt = &w->d->opt;
	struct sr_blkback_options options = {
		.registry = w->registry,
		.backend = w->backend,
		.log = &w->d->log,
		.mode = opt->mode,
		.threads = opt->threads,
		.cpus = opt->cpu_count ? opt->cpus : NULL,
		.spin_us = opt->spin_us,
		.max_queues = opt->max_queues,
		.max_ring_page_order = opt->max_ring_page_order,
		.max_indirect_segments = opt->max_indirect_segments,
		.max_persistent_grants = opt->max_persistent_grants,
		.no_qdisk = !daemon_serves_qdisk(w->d, sr_hv_domid(w->hv)),
	};
	int ret = sr_blkback_new(w->hv, &options, &w->bb);

	return ret ? sr_fail(f, -ret, "can't set up the block backend: %s", strerror(-ret)) : 0;
}

/* What a frontend's pages and events need, tried before any disk does. */
static int try_devices(struct worker *w)
{
	struct sr_gnttab *gt = NULL;
	struct sr_evtchn *ev = NULL;
	int ret = sr_gnttab_open(w->hv, &gt);

	if (!ret)
		ret = sr_evtchn_open(w->hv, &ev);
	sr_evtchn_close(ev);
	sr_gnttab_close(gt);
	return ret;
}

static int open_hypervisor(struct worker *w, struct sr_fail *f)
{
	const char *address = w->d->opt.hypervisor;
	bool xen = !strcmp(address, "xen:");
	const char *name = daemon_hypervisor(w->d);
	int ret = sr_hv_open(address, &w->hv);

	if (ret)
		return sr_fail(f, -ret, "%s: can't open the hypervisor: %s; is %s running?", name,
			       strerror(-ret), xen ? "xenstored" : "it");
	ret = try_devices(w);
	if (ret)
		return sr_fail(
		    f, -ret, "%s: can't use grants or event channels: %s%s", name, strerror(-ret),
		    xen ? "; run modprobe xen-gntdev and modprobe xen-evtchn, as root" : "");
	return rival_check_start(w->d, sr_hv_domid(w->hv), f);
}

static int open_all(struct worker *w, int keep_fd, struct sr_fail *f)
{
	struct control_subject subject = { .d = w->d };
	char *notify = NULL;
	int ret;

	/* sr_keep_open_systemd() unsets it, and READY=1 is still to come. */
	if (getenv("NOTIFY_SOCKET"))
		notify = strdup(getenv("NOTIFY_SOCKET"));
	ret = open_keep(w, keep_fd, f);
	if (notify)
		setenv("NOTIFY_SOCKET", notify, 1);
	free(notify);
	if (!ret)
		ret = open_hypervisor(w, f);
	if (!ret)
		ret = open_registry(w, f);
	if (!ret)
		ret = open_backend(w, f);
	if (!ret)
		ret = open_blkback(w, f);
	if (!ret)
		ret = net_open(w->d, w->hv, w->backend, &w->net, f);
	if (ret)
		return ret;
	subject.bb = w->bb;
	subject.registry = w->registry;
	subject.net = w->net;
	subject.hand_over = w->hand_over;
	subject.survives = sr_keep_survives(w->keep);
	return control_start(&subject, &w->control, f);
}

static void say_ready(const struct worker *w, int ready_fd)
{
	sr_log(&w->d->src, SR_LOG_INFO, "%s: serving as domain %u, %u queue threads, %s",
	       daemon_hypervisor(w->d), sr_hv_domid(w->hv), w->d->opt.threads,
	       sr_keep_survives(w->keep) ? "disks survive a crash of this process"
					 : "disks do not survive a crash of this process");
	if (ready_fd >= 0) {
		if (write(ready_fd, "", 1) != 1)
			sr_log(&w->d->src, SR_LOG_WARNING, "the supervisor is gone");
		close(ready_fd);
		return;
	}
	daemon_write_pidfile(w->d, getpid());
	daemon_notify("READY=1");
}

static void close_all(struct worker *w)
{
	control_stop(w->control);
	net_close(w->net);
	sr_blkback_free(w->bb);
	sr_backend_free(w->backend);
	sr_blk_registry_free(w->registry);
	sr_keep_close(w->keep);
	sr_hv_close(w->hv);
}

int worker_run(struct daemon *d, int keep_fd, int ready_fd)
{
	struct worker w = { .d = d };
	struct sr_fail f;
	int status = EXIT_FAILED, ret;

	block_signals();
	ret = open_all(&w, keep_fd, &f);
	if (ret) {
		/* A machine that died together with a worker is not there for the next one. */
		if (!w.hv && (ret == -ENOENT || ret == -ECONNREFUSED))
			status = EXIT_GONE;
		sr_log(&d->src, SR_LOG_ERROR, "%s", f.line);
		if (ready_fd >= 0)
			close(ready_fd);
		goto out;
	}
	say_ready(&w, ready_fd);
	ret = sr_backend_run(w.backend);
	if (control_lost_machine(w.control)) {
		sr_log(&d->src, SR_LOG_ERROR, "%s is gone, and all disks with it",
		       daemon_hypervisor(d));
		status = EXIT_GONE;
	} else if (ret) {
		sr_log(&d->src, SR_LOG_ERROR, "%s: %s", daemon_hypervisor(d), strerror(-ret));
	} else {
		sr_log(&d->src, SR_LOG_INFO, "stopped");
		status = EXIT_DRAINED;
	}
out:
	close_all(&w);
	return status;
}
