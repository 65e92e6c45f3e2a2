/* SPDX-License-Identifier: MIT */
/* The network backend: the threads that move packets, the switches, and their uplinks. */
#include <net/netback.h>

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mempool.h>

#include <hypervisor.h>
#include <ports/eal.h>
#include <ports/ports.h>

#include "vif.h"

#define SR_DEFAULT_SPIN_US 50u
/*
 * The threads that move packets go before the programs that packets are for: those would otherwise
 * take the processor after each packet, and answer each, where a burst and one answer would do. A
 * kernel's own interface runs in softirqs, before any program. Not as far as it goes: under a flood
 * a tenth of the processor is left for others.
 */
#define SR_NET_NICE        (-10)
#define SR_DEFAULT_PACKETS 16384u
/* For each large mbuf so many of a page: an eighth more memory. */
#define SR_LARGE_SHARE 64u
/* Of uplinks: what a guest may have at most. */
#define SR_UPLINK_MTU 1500u

static const char *const types[] = { "vif", NULL };

/* --- threads ------------------------------------------------------------------------------------
 */

static int lane_start(struct sr_netback *nb, unsigned index)
{
	struct sr_net_lane *lane = &nb->lanes[index];
	char name[16];
	struct sr_thread_options options = {
		.name = name,
		.cpu = nb->opt.cpus ? (int)nb->opt.cpus[index] : -1,
		.always = nb->opt.mode == SR_POLL_ALWAYS,
		.spin_us = nb->opt.mode == SR_POLL_INTERRUPT ? 0 : nb->opt.spin_us,
		/* One that never sleeps would starve whatever shares its processor. */
		.nice = nb->opt.mode == SR_POLL_ALWAYS ? 0 : SR_NET_NICE,
	};
	int rc = sr_gnttab_open(nb->hv, &lane->gt);

	snprintf(name, sizeof(name), "net-%u", index);
	return rc ? rc : sr_thread_start(nb->hv, &options, &lane->thread);
}

static void stop_lanes(struct sr_netback *nb)
{
	for (unsigned i = 0; i < nb->opt.threads; i++) {
		sr_thread_stop(nb->lanes[i].thread);
		sr_gnttab_close(nb->lanes[i].gt);
		nb->lanes[i] = (struct sr_net_lane){ 0 };
	}
}

/*
 * As much memory for packets with mbufs of either kind, and where it is Xen that copies them, large
 * ones for frames of 64 KiB.
 */
static int make_pool(struct sr_netback *nb, char *error, size_t error_size)
{
	unsigned count = (nb->opt.packets + 1) / 2, large = count / SR_LARGE_SHARE;
	unsigned pages = count * SR_MBUF_PAGES;
	void *memory = NULL;
	int rc;

	if (sr_hv_caps(nb->hv) & SR_CAP_CHEAP_MAP)
		return sr_mbuf_pool_new("vifs", nb->opt.packets, &nb->pool, error, error_size);
	rc = sr_eal_may_borrow()
		 ? sr_hv_copy_memory(nb->hv, pages + large * SR_MBUF_LARGE_PAGES, &memory)
		 : -ENOTSUP;
	if (rc && rc != -ENOTSUP && rc != -EBUSY)
		sr_log(&nb->log, SR_LOG_WARNING,
		       "no memory that Xen copies packets to and from by itself (%s), so it takes "
		       "longer; is xen-gntalloc loaded?",
		       strerror(-rc));
	rc = sr_mbuf_pool_new_pages("vifs", count, memory, &nb->pool, error, error_size);
	if (rc || !memory || !large)
		return rc;
	return sr_mbuf_pool_add_large(
	    nb->pool, large, (char *)memory + (size_t)pages * SR_PAGE_SIZE, error, error_size);
}

static int make_fabric(struct sr_netback *nb, char *error, size_t error_size)
{
	struct sr_thread *threads[SR_NETBACK_MAX_THREADS];
	int rc = sr_eal_start(nb->opt.eal, error, error_size);

	if (!rc && !nb->pool)
		rc = make_pool(nb, error, error_size);
	if (rc)
		return rc;
	for (unsigned i = 0; i < nb->opt.threads && !rc; i++) {
		rc = lane_start(nb, i);
		threads[i] = nb->lanes[i].thread;
	}
	if (!rc)
		rc = sr_fabric_new(threads, nb->opt.threads, NULL, &nb->fabric);
	if (!rc && (rc = sr_netback_start_captures(nb))) {
		sr_netback_stop_captures(nb);
		sr_fabric_free(nb->fabric);
		nb->fabric = NULL;
	}
	if (rc) {
		snprintf(error, error_size, "can't start the threads that move packets: %s",
			 strerror(-rc));
		stop_lanes(nb);
	}
	return rc;
}

/* --- switches -----------------------------------------------------------------------------------
 */

static void close_switch(struct sr_switch *sw)
{
	struct sr_member *member;

	/* Its vifs are gone by now. */
	while ((member = sr_switch_member_at(sw, 0)))
		sr_switch_uplink_close(member);
	sr_switch_free(sw);
}

/* One that has vifs without its uplinks would only look as if it worked. */
static int open_uplinks(struct sr_netback *nb, struct sr_switch *sw, char *error, size_t error_size)
{
	for (size_t i = 0; i < nb->opt.uplink_count; i++) {
		const struct sr_netback_uplink *u = &nb->opt.uplinks[i];
		struct sr_member *member;
		char why[256];
		int rc;

		if (strcmp(u->bridge, sr_switch_name(sw)))
			continue;
		rc = sr_switch_uplink(sw, nb->opt.registry, u->uplink, nb->opt.uplink_mtu, nb->pool,
				      &member, why, sizeof(why));
		if (rc) {
			snprintf(error, error_size, "bridge %s: %s", u->bridge, why);
			return rc;
		}
		sr_log(&nb->log, SR_LOG_INFO, "bridge %s: %s", u->bridge, u->uplink);
	}
	return 0;
}

struct sr_switch *sr_netback_switch(struct sr_netback *nb, const char *name, char *error,
				    size_t error_size)
{
	struct sr_switch *sw;

	if (!nb->fabric && make_fabric(nb, error, error_size))
		return NULL;
	sw = sr_fabric_switch(nb->fabric, name, false);
	if (sw)
		return sw;
	sw = sr_fabric_switch(nb->fabric, name, true);
	if (!sw) {
		snprintf(error, error_size, "bridge %s: out of memory", name);
		return NULL;
	}
	if (open_uplinks(nb, sw, error, error_size)) {
		close_switch(sw);
		return NULL;
	}
	return sw;
}

/* --- the class' ---------------------------------------------------------------------------------
 */

/*
 * Uplinks are opened at once, so that an operator who named a wrong one reads of it now. It is
 * tried again with the first vif: by then the device may be there.
 */
int sr_netback_start(void *netback)
{
	struct sr_netback *nb = netback;
	char error[512];

	sr_backend_lock(nb->backend);
	for (size_t i = 0; i < nb->opt.uplink_count; i++)
		if (!sr_netback_switch(nb, nb->opt.uplinks[i].bridge, error, sizeof(error)))
			sr_log(&nb->log, SR_LOG_ERROR, "%s", error);
	sr_backend_unlock(nb->backend);
	return 0;
}

void sr_netback_end(void *netback)
{
	struct sr_netback *nb = netback;
	struct sr_switch *sw;

	sr_netback_stop_captures(nb);
	while (nb->fabric && (sw = sr_fabric_switch_at(nb->fabric, 0)))
		close_switch(sw);
	sr_fabric_free(nb->fabric);
	nb->fabric = NULL;
	stop_lanes(nb);
}

/*
 * Who spins on the only processor keeps from running whoever in this domain could bring the work,
 * the more so as he goes before them.
 */
static bool only_processor(void)
{
	cpu_set_t allowed;

	return !sched_getaffinity(0, sizeof(allowed), &allowed) && CPU_COUNT(&allowed) == 1;
}

static unsigned limit(unsigned wanted, unsigned fallback, unsigned max)
{
	wanted = wanted ? wanted : fallback;
	return wanted < max ? wanted : max;
}

int sr_netback_new(struct sr_hypervisor *hv, struct sr_backend *backend,
		   const struct sr_netback_options *options, struct sr_netback **out)
{
	struct sr_netback *nb = calloc(1, sizeof(*nb));
	struct sr_netback_options *o;
	int rc;

	if (!nb)
		return -ENOMEM;
	nb->hv = hv;
	nb->backend = backend;
	nb->opt = *options;
	o = &nb->opt;
	o->threads = limit(o->threads, 1, SR_NETBACK_MAX_THREADS);
	if (o->mode == SR_POLL_ADAPTIVE && !o->spin_us && only_processor())
		o->mode = SR_POLL_INTERRUPT;
	o->spin_us = o->spin_us ? o->spin_us : SR_DEFAULT_SPIN_US;
	o->max_queues = limit(o->max_queues, o->threads, SR_NET_MAX_QUEUES);
	if (!o->uplink_mtu)
		o->uplink_mtu = SR_UPLINK_MTU;
	o->packets = o->packets ? o->packets : SR_DEFAULT_PACKETS;
	sr_log_source_init(&nb->log, options->log, "netback");
	rc = sr_backend_add(backend, &sr_vif_class, nb, types);
	if (rc) {
		free(nb);
		return rc;
	}
	*out = nb;
	return 0;
}

void sr_netback_free(struct sr_netback *nb)
{
	if (!nb)
		return;
	sr_mbuf_pool_free(nb->pool);
	free(nb);
}
