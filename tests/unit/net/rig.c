/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <embedded/control.h>
#include <embedded/machine.h>
#include <rte_eal.h>
#include <rte_mempool.h>

struct rig rig;

static struct {
	char parent[64], dir[96];
	struct sr_machine *machine;
	struct sr_control *control;
	struct sr_hypervisor *hv, *guest_hv;
	pthread_t thread;
	void *rings;
	uint32_t ring_refs[3];
} world;

/* --- once a program -----------------------------------------------------------------------------
 */

static void start_eal(void)
{
	char *args[] = { "test", "--no-huge",      "--no-shconf",           "--no-pci", "-m",
			 "128",  "--no-telemetry", "--log-level=lib.eal:4", "--lcores", "0",
			 NULL };

	assert_true(rte_eal_init((int)(sizeof(args) / sizeof(args[0])) - 1, args) >= 0);
	/* EAL makes a directory for what it would share. */
	rmdir(rte_eal_get_runtime_dir());
}

static void *run(void *arg)
{
	sr_machine_run(arg);
	return NULL;
}

static void start_machine(void)
{
	struct sr_machine_opts opts = { .dir = world.dir };
	struct sr_domain_spec spec = {
		.kind = SR_KIND_GUEST, .name = "guest", .pages = 1024, .vcpus = 1
	};
	char address[160];

	strcpy(world.parent, "/tmp/sr-net-XXXXXX");
	assert_non_null(mkdtemp(world.parent));
	snprintf(world.dir, sizeof(world.dir), "%s/m", world.parent);
	assert_int_equal(sr_machine_new(&opts, &world.machine), 0);
	assert_int_equal(pthread_create(&world.thread, NULL, run, world.machine), 0);
	assert_int_equal(sr_control_open(world.dir, &world.control), 0);
	assert_int_equal(sr_control_create(world.control, &spec, &rig.domid), 0);
	snprintf(address, sizeof(address), "embedded-strict:%s", world.dir);
	assert_int_equal(sr_hv_open(address, &world.hv), 0);
	snprintf(address, sizeof(address), "embedded:%s#%u", world.dir, rig.domid);
	assert_int_equal(sr_hv_open(address, &world.guest_hv), 0);
}

int rig_group_setup(void **state)
{
	void *page;

	start_eal();
	start_machine();
	assert_int_equal(sr_gnttab_open(world.hv, &rig.gt), 0);
	assert_int_equal(sr_evtchn_open(world.hv, &rig.ev), 0);
	assert_int_equal(sr_gnttab_open(world.hv, &rig.ctrl_gt), 0);
	assert_int_equal(sr_evtchn_open(world.hv, &rig.ctrl_ev), 0);
	assert_int_equal(sr_gntshr_open(world.guest_hv, &rig.gs), 0);
	assert_int_equal(sr_evtchn_open(world.guest_hv, &rig.guest_ev), 0);
	assert_int_equal(sr_gntshr_share(rig.gs, 0, 3, true, world.ring_refs, &world.rings), 0);
	assert_int_equal(sr_gntshr_share(rig.gs, 0, RIG_PAGES, true, rig.refs, (void **)&rig.pages),
			 0);
	assert_int_equal(sr_gntshr_share(rig.gs, 0, 1, false, &rig.read_only_ref, &page), 0);
	rig.read_only_page = page;
	rig.pool = sr_netq_pool_create("test", 1023, 0);
	assert_non_null(rig.pool);
	return 0;
}

int rig_group_teardown(void **state)
{
	rte_mempool_free(rig.pool);
	assert_int_equal(sr_gntshr_unshare(rig.gs, rig.read_only_page, 1), 0);
	assert_int_equal(sr_gntshr_unshare(rig.gs, rig.pages, RIG_PAGES), 0);
	assert_int_equal(sr_gntshr_unshare(rig.gs, world.rings, 3), 0);
	sr_evtchn_close(rig.guest_ev);
	sr_gntshr_close(rig.gs);
	sr_evtchn_close(rig.ctrl_ev);
	sr_gnttab_close(rig.ctrl_gt);
	sr_evtchn_close(rig.ev);
	sr_gnttab_close(rig.gt);
	sr_hv_close(world.guest_hv);
	sr_hv_close(world.hv);
	sr_control_close(world.control);
	sr_machine_stop(world.machine);
	pthread_join(world.thread, NULL);
	sr_machine_free(world.machine);
	assert_int_equal(rmdir(world.parent), 0);
	rte_eal_cleanup();
	return 0;
}

/* --- a connection -------------------------------------------------------------------------------
 */

static void wake(void *ctx, unsigned queue)
{
	rig.wakes++;
}

static void ctrl_wake(void *ctx)
{
	rig.ctrl_wakes++;
}

int rig_attach(const struct rig_options *options, bool resume)
{
	struct sr_netif_setup netif = {
		.queues = RIG_QUEUES,
		.domid = rig.domid,
		.multicast_filter = options->multicast_filter,
		.headroom = options->headroom,
		.record = &rig.netif_record,
		.resume = resume,
		.wake = wake,
		.ctrl_wake = ctrl_wake,
	};
	struct sr_netq_setup queue = {
		.gt = rig.gt,
		.ev = rig.ev,
		.domid = rig.domid,
		.tx_ref = rig.tx_ref,
		.rx_ref = rig.rx_ref,
		.tx_port = rig.tx_port,
		.rx_port = rig.rx_port,
		.pool = rig.pool,
		.features = options->features,
		.record = &rig.record,
		.resume = resume,
	};
	char error[160] = "";
	int rc;

	assert_int_equal(sr_netif_new(&netif, &rig.netif), 0);
	queue.netif = rig.netif;
	rc = sr_netq_attach(&queue, &rig.q, error, sizeof(error));
	if (rc) {
		assert_true(error[0]);
		rig.q = NULL;
		sr_netif_free(rig.netif);
		rig.netif = NULL;
		return rc;
	}
	if (options->ctrl)
		assert_int_equal(sr_netif_ctrl_attach(rig.netif, rig.ctrl_gt, rig.ctrl_ev,
						      rig.ctrl_ref, rig.ctrl_port, resume, error,
						      sizeof(error)),
				 0);
	return 0;
}

void rig_detach(void)
{
	if (!rig.netif)
		return;
	sr_netif_ctrl_detach(rig.netif);
	sr_netq_detach(rig.q);
	sr_netif_free(rig.netif);
	rig.q = NULL;
	rig.netif = NULL;
}

void rig_connect(const struct rig_options *options)
{
	uint8_t *rings = world.rings;

	memset(rig.pages, RIG_STALE, RIG_PAGES * SR_PAGE_SIZE);
	memset(rings, RIG_STALE, 3 * SR_PAGE_SIZE);
	memset(&rig.record, 0, sizeof(rig.record));
	memset(&rig.netif_record, 0, sizeof(rig.netif_record));
	rig.tx_page = rings;
	rig.rx_page = rings + SR_PAGE_SIZE;
	rig.ctrl_page = rings + 2 * SR_PAGE_SIZE;
	rig.tx_ref = world.ring_refs[0];
	rig.rx_ref = world.ring_refs[1];
	rig.ctrl_ref = world.ring_refs[2];
	rig.wakes = rig.ctrl_wakes = 0;
	sr_netif_tx_front_init(&rig.tx, rig.tx_page);
	sr_netif_rx_front_init(&rig.rx, rig.rx_page);
	sr_netif_ctrl_front_init(&rig.ctrl, rig.ctrl_page);
	rig.mbufs = rte_mempool_in_use_count(rig.pool);
	assert_int_equal(sr_evtchn_alloc_unbound(rig.guest_ev, 0, &rig.tx_port), 0);
	rig.rx_port = rig.tx_port;
	if (options->split)
		assert_int_equal(sr_evtchn_alloc_unbound(rig.guest_ev, 0, &rig.rx_port), 0);
	rig.with_ctrl = options->ctrl;
	if (options->ctrl)
		assert_int_equal(sr_evtchn_alloc_unbound(rig.guest_ev, 0, &rig.ctrl_port), 0);
	assert_int_equal(rig_attach(options, false), 0);
}

void rig_disconnect(void)
{
	rig_detach();
	sr_evtchn_unbind(rig.guest_ev, rig.tx_port);
	if (rig.rx_port != rig.tx_port)
		sr_evtchn_unbind(rig.guest_ev, rig.rx_port);
	if (rig.with_ctrl)
		sr_evtchn_unbind(rig.guest_ev, rig.ctrl_port);
	assert_int_equal(rte_mempool_in_use_count(rig.pool), rig.mbufs);
}

void rig_resume(const struct rig_options *options)
{
	rig_detach();
	assert_int_equal(rig_attach(options, true), 0);
}

int rig_setup(void **state)
{
	rig_connect(&(struct rig_options){ .features = RIG_ALL });
	return 0;
}

int rig_teardown(void **state)
{
	rig_disconnect();
	return 0;
}

/* --- the guest sends ----------------------------------------------------------------------------
 */

void rig_tx(unsigned page, uint16_t offset, uint16_t flags, uint16_t id, uint16_t size)
{
	struct netif_tx_request req = { rig.refs[page], offset, flags, id, size };

	assert_true(sr_ring_front_free(&rig.tx.ring) > 0);
	sr_netif_tx_front_put(&rig.tx, &req);
}

void rig_tx_extra(const struct netif_extra_info *extra)
{
	assert_true(sr_ring_front_free(&rig.tx.ring) > 0);
	sr_netif_tx_front_put_extra(&rig.tx, extra);
}

void rig_tx_publish(void)
{
	sr_ring_front_publish(&rig.tx.ring);
}

int rig_receive(struct rte_mbuf **pkts, unsigned n)
{
	int got = sr_netq_receive(rig.q, pkts, n);

	for (int i = 0; i < got; i++)
		rte_mbuf_sanity_check(pkts[i], 1);
	return got;
}

unsigned rig_tx_responses(void)
{
	int n = sr_ring_front_pending(&rig.tx.ring);

	assert_true(n >= 0);
	return (unsigned)n;
}

int16_t rig_tx_response(uint16_t *id)
{
	struct netif_tx_response rsp;

	assert_true(rig_tx_responses() > 0);
	sr_netif_tx_front_take(&rig.tx, &rsp);
	if (id)
		*id = rsp.id;
	return rsp.status;
}

unsigned rig_tx_all(int16_t status)
{
	unsigned n = rig_tx_responses();

	for (unsigned i = 0; i < n; i++) {
		int16_t got = rig_tx_response(NULL);

		if (got != NETIF_RSP_NULL)
			assert_int_equal(got, status);
	}
	return n;
}

struct rte_mbuf *rig_send(const void *bytes, uint16_t len, uint16_t flags,
			  const struct netif_extra_info *extra)
{
	struct rte_mbuf *pkts[2];
	unsigned pages = (len + SR_PAGE_SIZE - 1u) / SR_PAGE_SIZE, left = len;
	int n;

	memcpy(rig.pages, bytes, len);
	for (unsigned i = 0; i < pages; i++) {
		unsigned size = left < SR_PAGE_SIZE ? left : SR_PAGE_SIZE;
		uint16_t more = i + 1 < pages ? NETTXF_more_data : 0;

		if (i == 0)
			rig_tx(0, 0, flags | more | (extra ? NETTXF_extra_info : 0), 0, len);
		else
			rig_tx(i, 0, more, (uint16_t)i, (uint16_t)size);
		if (i == 0 && extra)
			rig_tx_extra(extra);
		left -= size;
	}
	rig_tx_publish();
	n = rig_receive(pkts, 2);
	assert_true(n == 0 || n == 1);
	return n ? pkts[0] : NULL;
}

uint64_t rig_tx_drops(enum sr_net_drop reason)
{
	return sr_netq_stats(rig.q)->tx.drops[reason];
}

uint64_t rig_rx_drops(enum sr_net_drop reason)
{
	return sr_netq_stats(rig.q)->rx.drops[reason];
}

void rig_check_bytes(const struct rte_mbuf *pkt, const void *bytes, size_t len)
{
	static uint8_t copy[65536];
	const void *p;

	assert_int_equal(pkt->pkt_len, len);
	p = rte_pktmbuf_read(pkt, 0, (uint32_t)len, copy);
	assert_non_null(p);
	assert_memory_equal(p, bytes, len);
}

/* --- the guest receives -------------------------------------------------------------------------
 */

void rig_post(unsigned first, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		sr_netif_rx_front_put(&rig.rx, (uint16_t)(first + i), rig.refs[first + i]);
	sr_ring_front_publish(&rig.rx.ring);
}

struct rte_mbuf *rig_packet(const void *bytes, size_t len, size_t segment)
{
	struct rte_mbuf *head = NULL;
	const uint8_t *from = bytes;

	do {
		size_t n = len < segment ? len : segment;
		struct rte_mbuf *m = rte_pktmbuf_alloc(rig.pool);

		assert_non_null(m);
		memcpy(rte_pktmbuf_append(m, (uint16_t)n), from, n);
		if (!head)
			head = m;
		else
			assert_int_equal(rte_pktmbuf_chain(head, m), 0);
		from += n;
		len -= n;
	} while (len);
	return head;
}

int rig_give(struct rte_mbuf *pkt)
{
	int rc = sr_netq_send(rig.q, &pkt, 1);

	if (rc != 1)
		rte_pktmbuf_free(pkt);
	return rc;
}

static void take_extras(struct rig_got *got)
{
	struct netif_extra_info extra;

	do {
		assert_true(sr_ring_front_pending(&rig.rx.ring) > 0);
		sr_netif_rx_front_take_extra(&rig.rx, &extra);
		got->slots++;
		if (extra.type == XEN_NETIF_EXTRA_TYPE_GSO)
			got->gso = extra;
		else if (extra.type == XEN_NETIF_EXTRA_TYPE_HASH)
			got->hash = extra;
		else
			fail_msg("extra info of type %u", extra.type);
	} while (extra.flags & XEN_NETIF_EXTRA_FLAG_MORE);
}

/* The id that was posted in the slot of the next response: posted ids are pages, in a row. */
bool rig_take(struct rig_got *got)
{
	struct netif_rx_response rsp;
	bool first = true;

	if (sr_ring_front_pending(&rig.rx.ring) <= 0)
		return false;
	got->len = got->slots = 0;
	got->status = 0;
	memset(&got->gso, 0, sizeof(got->gso));
	memset(&got->hash, 0, sizeof(got->hash));
	do {
		assert_true(sr_ring_front_pending(&rig.rx.ring) > 0);
		sr_netif_rx_front_take(&rig.rx, &rsp);
		got->slots++;
		assert_true(rsp.id < RIG_PAGES);
		if (first)
			got->flags = rsp.flags;
		if (rsp.status >= 0) {
			const uint8_t *page = rig.pages + rsp.id * SR_PAGE_SIZE;

			assert_true(rsp.offset + rsp.status <= (int)SR_PAGE_SIZE);
			memcpy(got->bytes + got->len, page + rsp.offset, (size_t)rsp.status);
			got->len += (size_t)rsp.status;
			/* Nothing before or behind it was touched. */
			for (unsigned i = 0; i < rsp.offset; i++)
				assert_int_equal(page[i], RIG_STALE);
			for (unsigned i = rsp.offset + (unsigned)rsp.status; i < SR_PAGE_SIZE; i++)
				assert_int_equal(page[i], RIG_STALE);
		} else if (!got->status) {
			got->status = rsp.status;
		}
		if (first && (rsp.flags & NETRXF_extra_info))
			take_extras(got);
		first = false;
	} while (rsp.flags & NETRXF_more_data);
	return true;
}
