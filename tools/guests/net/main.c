/* SPDX-License-Identifier: MIT */
#include "guest_net.h"

#include <errno.h>
#include <hypervisor.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct guest {
	struct guest_net_options o;
	struct sr_hypervisor *hv;
	struct sr_netfront *front;
	struct guest_net_pump pumps[SR_NETFRONT_MAX_QUEUES];
	int taps[SR_NETFRONT_MAX_QUEUES];
	unsigned queues;  /* of the TAP; the vif may have fewer after a reconnection */
	unsigned running; /* pumps that have a thread */
	int stop_fd, event_fd, signal_fd;
	pid_t child;
	char error[256];
};

/* In netfront's thread: the main thread looks what it was. */
static void on_event(void *arg, enum sr_netfront_event event)
{
	struct guest *g = arg;

	(void)eventfd_write(g->event_fd, 1);
}

/*
 * Packets may wait until whoever is running has had its turn: then there are several a wake-up.
 * With a core free they go at once all the same. Another policy than the ordinary one is the
 * operator's.
 */
static void move_in_batches(void)
{
	const struct sched_param none = { 0 };

	if (sched_getscheduler(0) == SCHED_OTHER)
		(void)sched_setscheduler(0, SCHED_BATCH, &none);
}

static void *run_pump(void *arg)
{
	move_in_batches();
	guest_net_pump_run(arg);
	return NULL;
}

static int start_pumps(struct guest *g)
{
	const struct sr_netfront_info *info = sr_netfront_info(g->front);
	eventfd_t n;
	int rc = 0;

	(void)eventfd_read(g->stop_fd, &n);
	/* First: a queue that isn't attached looks like one whose interface is gone. */
	for (unsigned i = 0; i < g->queues && g->queues > 1; i++)
		guest_net_attach(g->taps[i], i < info->queues);
	for (unsigned i = 0; !rc && i < g->queues && i < info->queues; i++) {
		rc = -pthread_create(&g->pumps[i].thread, NULL, run_pump, &g->pumps[i]);
		if (!rc)
			g->running++;
	}
	for (unsigned i = 0; i < g->queues; i++)
		guest_net_carrier(g->taps[i], sr_netfront_carrier(g->front));
	return rc;
}

static void stop_pumps(struct guest *g)
{
	(void)eventfd_write(g->stop_fd, 1);
	while (g->running)
		pthread_join(g->pumps[--g->running].thread, NULL);
}

/* What the backend may keep mapped it shall; where that isn't all, nothing is. */
static void map_for_good(struct guest *g)
{
	size_t bytes = guest_net_pump_bytes();
	bool mapped = !g->o.no_static;

	for (unsigned i = 0; mapped && i < g->queues; i++) {
		mapped = sr_netfront_static_limit(g->front, i) >= bytes / SR_PAGE_SIZE &&
			 !sr_netfront_static_map(g->front, i, g->pumps[i].buffers, bytes);
	}
	printf("static maps: %s\n", mapped ? "yes" : "no");
}

static int open_front(struct guest *g)
{
	int rc = sr_hv_open(g->o.hypervisor, &g->hv);

	if (rc) {
		fprintf(stderr, "guest-net: %s: %s\n", g->o.hypervisor, strerror(-rc));
		return rc;
	}
	g->o.front.event = on_event;
	g->o.front.event_arg = g;
	g->o.front.error = g->error;
	g->o.front.error_size = sizeof(g->error);
	rc = sr_netfront_open(g->hv, &g->o.front, &g->front);
	if (rc)
		fprintf(stderr, "guest-net: %s\n", g->error[0] ? g->error : strerror(-rc));
	return rc;
}

static int set_up(struct guest *g)
{
	const struct sr_netfront_info *info;
	int rc;

	/* First, as only one thread enters it, and those that it makes. */
	rc = guest_net_enter(&g->o);
	if (!rc)
		rc = open_front(g);
	if (rc)
		return rc;
	info = sr_netfront_info(g->front);
	g->queues = info->queues;
	rc = guest_net_tap(g->o.interface, g->queues, g->taps);
	if (!rc)
		rc = guest_net_configure(&g->o, info);
	for (unsigned i = 0; i < g->queues && !rc; i++) {
		struct guest_net_pump *p = &g->pumps[i];

		p->front = g->front;
		p->queue = sr_netfront_queue(g->front, i);
		p->index = i;
		p->spin_us = g->o.spin_us;
		p->tap = g->taps[i];
		p->stop_fd = g->stop_fd;
		rc = guest_net_pump_init(p);
		if (rc)
			fprintf(stderr, "guest-net: no granted memory: %s\n", strerror(-rc));
	}
	if (rc)
		return rc;
	map_for_good(g);
	printf("connected: %u queues, mtu %u, offloads out%s%s%s%s%s\n", g->queues, info->mtu,
	       info->tx.sg ? " sg" : "", info->tx.csum4 ? " csum4" : "",
	       info->tx.csum6 ? " csum6" : "", info->tx.gso4 ? " tso4" : "",
	       info->tx.gso6 ? " tso6" : "");
	fflush(stdout);
	return start_pumps(g);
}

static int start_command(struct guest *g, const sigset_t *mask)
{
	if (!g->o.command)
		return 0;
	g->child = fork();
	if (g->child < 0)
		return -errno;
	if (g->child == 0) {
		/* A guest that is destroyed takes its programs along. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_SETMASK, mask, NULL);
		execvp(g->o.command[0], g->o.command);
		fprintf(stderr, "guest-net: %s: %s\n", g->o.command[0], strerror(errno));
		_exit(127);
	}
	return 0;
}

/* The backend has closed the device, or broken it: connects again, as soon as there is one. */
static int reconnect(struct guest *g)
{
	const char *reason = sr_netfront_reason(g->front);
	int rc;

	printf("disconnected: %s\n", *reason ? reason : "the backend has closed the device");
	for (unsigned i = 0; i < g->queues; i++)
		guest_net_carrier(g->taps[i], false);
	stop_pumps(g);
	(void)sr_netfront_disconnect(g->front);
	rc = sr_netfront_connect(g->front);
	if (rc == -ETIMEDOUT || rc == -ECONNREFUSED)
		return 0; /* tried again when somebody has looked for signals */
	if (rc) {
		fprintf(stderr, "guest-net: %s\n", g->error);
		return rc;
	}
	printf("connected again: %u queues\n", sr_netfront_info(g->front)->queues);
	fflush(stdout);
	return start_pumps(g);
}

/* A signal: is that the end? The command's end is ours, with its status. */
static bool on_signal(struct guest *g, int *status)
{
	struct signalfd_siginfo info;
	int how;

	if (read(g->signal_fd, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo == SIGCHLD) {
		if (!g->child || waitpid(g->child, &how, WNOHANG) != g->child)
			return false;
		g->child = 0;
		*status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
		return true;
	}
	if (!g->child)
		return true;
	/* The command decides what it does about it. */
	kill(g->child, (int)info.ssi_signo);
	return false;
}

static int serve(struct guest *g)
{
	int status = 0, timeout = -1;
	struct pollfd fds[2] = {
		{ .fd = g->signal_fd, .events = POLLIN },
		{ .fd = g->event_fd, .events = POLLIN },
	};
	eventfd_t n;

	for (;;) {
		if (poll(fds, 2, timeout) < 0 && errno != EINTR)
			return 1;
		if (fds[0].revents && on_signal(g, &status))
			return status;
		(void)eventfd_read(g->event_fd, &n);
		if (sr_netfront_status(g->front) && reconnect(g))
			return 1;
		timeout = sr_netfront_status(g->front) ? 1000 : -1;
		for (unsigned i = 0; i < g->queues; i++)
			guest_net_carrier(g->taps[i], sr_netfront_carrier(g->front));
	}
}

/* One line for tests: what has gone both ways, as netfront and as the kernel took it. */
static void report(struct guest *g)
{
	struct sr_netfront_stats s, sum = { 0 };
	uint64_t tx_refused = 0, rx_refused = 0;

	for (unsigned i = 0; i < g->queues; i++) {
		sr_netfront_stats(sr_netfront_queue(g->front, i), &s);
		sum.tx_packets += s.tx_packets;
		sum.tx_bytes += s.tx_bytes;
		sum.tx_errors += s.tx_errors;
		sum.rx_packets += s.rx_packets;
		sum.rx_bytes += s.rx_bytes;
		sum.rx_errors += s.rx_errors;
		sum.notifications += s.notifications;
		sum.events += s.events;
		tx_refused += g->pumps[i].tx_refused;
		rx_refused += g->pumps[i].rx_refused;
	}
	printf("{\"tx_packets\": %" PRIu64 ", \"tx_bytes\": %" PRIu64 ", \"tx_errors\": %" PRIu64
	       ", \"tx_refused\": %" PRIu64 ", \"rx_packets\": %" PRIu64 ", \"rx_bytes\": %" PRIu64
	       ", \"rx_errors\": %" PRIu64 ", \"rx_refused\": %" PRIu64
	       ", \"notifications\": %" PRIu64 ", \"events\": %" PRIu64 "}\n",
	       sum.tx_packets, sum.tx_bytes, sum.tx_errors, tx_refused, sum.rx_packets,
	       sum.rx_bytes, sum.rx_errors, rx_refused, sum.notifications, sum.events);
}

static void tear_down(struct guest *g)
{
	stop_pumps(g);
	if (g->front)
		report(g);
	for (unsigned i = 0; i < g->queues; i++) {
		if (g->taps[i] > 0)
			close(g->taps[i]);
		guest_net_pump_free(&g->pumps[i]);
	}
	(void)sr_netfront_close(g->front);
	sr_hv_close(g->hv);
}

int main(int argc, char **argv)
{
	static struct guest g;
	sigset_t signals, before;
	int rc;

	guest_net_parse(argc, argv, &g.o);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	/* Before there is a second thread, which would get them otherwise. */
	sigprocmask(SIG_BLOCK, &signals, &before);
	g.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	g.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = g.signal_fd < 0 || g.stop_fd < 0 || g.event_fd < 0 ? -errno : set_up(&g);
	if (!rc)
		rc = start_command(&g, &before);
	rc = rc ? 1 : serve(&g);
	tear_down(&g);
	return rc;
}
