/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <common/backend.h>
#include <common/log.h>
#include <hypervisor.h>
#include <net/netback.h>
#include <ports/ports.h>

/*
 * serve ADDRESS: the network backend of the machine at ADDRESS, for programs that are tested as a
 * guest's. SIGTERM ends it; then it says what went wrong with whom, nothing if nothing did.
 */

static int must(int rc, const char *what)
{
	if (rc) {
		fprintf(stderr, "%s: %s\n", what, strerror(-rc));
		exit(1);
	}
	return rc;
}

struct serve {
	struct sr_backend *backend;
	struct sr_netback *netback;
	sigset_t signals;
};

static void *wait_for_end(void *arg)
{
	struct serve *s = arg;
	struct sr_netback_device *devices;
	size_t count = 0;
	int sig;

	sigwait(&s->signals, &sig);
	must(sr_netback_list(s->netback, &devices, &count), "list");
	for (size_t i = 0; i < count; i++)
		if (*devices[i].error)
			printf("vif %u: %s\n", devices[i].frontend, devices[i].error);
	free(devices);
	fflush(stdout);
	sr_backend_stop(s->backend, SR_BACKEND_CLOSE);
	return NULL;
}

int main(int argc, char **argv)
{
	const struct sr_log log = { .fd = 2, .level = SR_LOG_WARNING };
	const struct sr_backend_options options = { .log = &log };
	struct sr_netback_options net = { .log = &log, .threads = 2, .max_queues = 4 };
	struct sr_port_registry *registry;
	struct sr_hypervisor *hv;
	struct serve s;
	pthread_t thread;
	int rc;

	if (argc != 2)
		return 2;
	sigemptyset(&s.signals);
	sigaddset(&s.signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &s.signals, NULL);
	must(sr_hv_open(argv[1], &hv), argv[1]);
	must(sr_port_registry_new(&registry), "ports");
	net.registry = registry;
	must(sr_backend_new(hv, &options, &s.backend), "backend");
	must(sr_netback_new(hv, s.backend, &net, &s.netback), "netback");
	must(-pthread_create(&thread, NULL, wait_for_end, &s), "thread");
	printf("ready\n");
	fflush(stdout);
	rc = sr_backend_run(s.backend);
	pthread_join(thread, NULL);
	sr_netback_free(s.netback);
	sr_backend_free(s.backend);
	sr_port_registry_free(registry);
	sr_hv_close(hv);
	return must(rc, "run");
}
