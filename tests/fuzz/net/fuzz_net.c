/* SPDX-License-Identifier: MIT */
/*
 * A guest that writes anything into the three rings of a vif and into the pages behind them, over a
 * hypervisor of this process whose copies are the moment at which the guest changes its slots.
 * Whatever it does: what was taken is answered unless the queue is broken, packets are what their
 * headers say, nothing is lost or touched that isn't the engine's.
 */
#include "../input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xen/xen.h>

#include <hypervisor.h>
#include <net/netif.h>
#include <net/packet.h>
#include <net/queue.h>
#include <net/record.h>
#include <ring/netif.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#define PAGES   24u
#define TX_REF  100u
#define RX_REF  101u
#define CTL_REF 102u

/* --- the hypervisor -----------------------------------------------------------------------------
 */

static struct {
	uint8_t pages[PAGES][SR_PAGE_SIZE], tx[SR_PAGE_SIZE], rx[SR_PAGE_SIZE], ctrl[SR_PAGE_SIZE];
} guest __attribute__((aligned(4096)));
static uint64_t random_state;
static int mapped;

static uint64_t random_word(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint8_t *page_of(uint32_t ref)
{
	switch (ref) {
	case TX_REF:
		return guest.tx;
	case RX_REF:
		return guest.rx;
	case CTL_REF:
		return guest.ctrl;
	default:
		return ref < PAGES ? guest.pages[ref] : NULL;
	}
}

int sr_gnttab_map(struct sr_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		  int prot, void **addr)
{
	must(count == 1, "more than one page mapped at once");
	*addr = page_of(refs[0]);
	if (!*addr)
		return -EINVAL;
	mapped++;
	return 0;
}

int sr_gnttab_unmap(struct sr_gnttab *gt, void *addr, unsigned count)
{
	must(addr && count == 1, "unmapped what was not mapped");
	mapped--;
	return 0;
}

int sr_gnttab_copy(struct sr_gnttab *gt, struct sr_copy_segment *segs, unsigned count)
{
	/* The guest does its worst meanwhile: its slots change, and so do its pages. */
	for (unsigned i = 0; i < 8; i++) {
		guest.tx[64 + random_word() % (SR_PAGE_SIZE - 64)] = (uint8_t)random_word();
		guest.rx[64 + random_word() % (SR_PAGE_SIZE - 64)] = (uint8_t)random_word();
		guest.pages[random_word() % PAGES][random_word() % 4096] = (uint8_t)random_word();
	}
	for (unsigned i = 0; i < count; i++) {
		struct sr_copy_segment *s = &segs[i];
		bool in = s->flags == SR_COPY_SOURCE_GREF;
		union sr_copy_ptr *theirs = in ? &s->source : &s->dest;
		uint8_t *page = page_of(theirs->foreign.ref);

		must(in || s->flags == SR_COPY_DEST_GREF, "flags");
		must(theirs->foreign.domid == 7, "another domain");
		must(theirs->foreign.offset + s->len <= SR_PAGE_SIZE, "a copy leaves its page");
		s->status = page ? GNTST_okay : GNTST_bad_gntref;
		if (page && in)
			memcpy(s->dest.virt, page + theirs->foreign.offset, s->len);
		else if (page)
			memcpy(page + theirs->foreign.offset, s->source.virt, s->len);
	}
	return 0;
}

int sr_evtchn_bind_interdomain(struct sr_evtchn *ev, uint16_t domid, uint32_t remote,
			       uint32_t *port)
{
	*port = remote;
	return 0;
}

int sr_evtchn_unbind(struct sr_evtchn *ev, uint32_t port)
{
	return 0;
}

int sr_evtchn_notify(struct sr_evtchn *ev, uint32_t port)
{
	return 0;
}

/* --- the guest ----------------------------------------------------------------------------------
 */

static struct rte_mempool *pool;
static struct sr_netif *netif;
static struct sr_netq *q;
static struct sr_netif_front tx, rx, ctrl;

static void publish(struct sr_netif_front *f, struct input *in)
{
	sr_ring_front_publish(&f->ring);
	/* Now and then an index that can't be. */
	if (take(in, 1) == 255)
		f->ring.shared->req_prod = (uint32_t)take(in, 4);
}

/* A slot of anything. */
static void put_any(struct input *in)
{
	struct netif_tx_request req = {
		.gref = (uint32_t)(take(in, 1) % (PAGES + 1)),
		.offset = (uint16_t)take(in, 2),
		.flags = (uint16_t)take(in, 1),
		.size = (uint16_t)take(in, 2),
	};

	if (sr_ring_front_free(&tx.ring))
		sr_netif_tx_front_put(&tx, &req);
}

static void put_extra(struct input *in, bool more)
{
	static const uint8_t types[] = { 1, 1, 1, 1, 2, 3, 4, 9 };
	unsigned kind = (unsigned)take(in, 1);
	struct netif_extra_info extra = { .type = types[kind & 7], .flags = more };

	extra.u.gso.size = (uint16_t)(kind & 0x40 ? take(in, 2) : 40 + (kind >> 3));
	extra.u.gso.type = (uint8_t)(kind & 0x80 ? take(in, 1) : 1 + (kind >> 5 & 1));
	sr_netif_tx_front_put_extra(&tx, &extra);
}

/* A packet whose framing is right, and whose sizes mostly are. */
static void put_packet(struct input *in)
{
	static const uint16_t sizes[] = { 0, 14, 54, 60, 128, 1514, 4095, 4096 };
	unsigned shape = (unsigned)take(in, 1), fragments = shape & 3, extras = shape >> 2 & 3;
	unsigned first = (unsigned)take(in, 1), flags = (unsigned)take(in, 1), sum = 0;
	struct netif_tx_request req[4] = { 0 };

	if (sr_ring_front_free(&tx.ring) < 8)
		return;
	for (unsigned i = 0; i <= fragments; i++) {
		unsigned size = i ? (unsigned)take(in, 1) : first;

		req[i].gref = (first + i) % (PAGES + (shape >> 7));
		req[i].size = sizes[size & 7];
		req[i].flags = i < fragments ? NETTXF_more_data : 0;
		sum += req[i].size;
	}
	req[0].flags |= (uint16_t)(flags & (NETTXF_csum_blank | NETTXF_data_validated));
	req[0].flags |= extras ? NETTXF_extra_info : 0;
	req[0].size = (uint16_t)(flags & 0xe0 ? sum : take(in, 2));
	sr_netif_tx_front_put(&tx, &req[0]);
	for (unsigned i = 0; i < extras; i++)
		put_extra(in, i + 1 < extras);
	for (unsigned i = 1; i <= fragments; i++)
		sr_netif_tx_front_put(&tx, &req[i]);
}

/* A frame with TCP or UDP over IPv4 or IPv6 at a page's start, of which some bytes are others. */
static void make_frame(uint8_t *p, struct input *in)
{
	unsigned kind = (unsigned)take(in, 1), l3 = kind & 1 ? 40 : 20,
		 protocol = kind & 2 ? 17 : 6;
	unsigned changes = kind >> 2 & 7, total = 100 + 16 * (kind >> 4);

	memset(p + 12, 0, 60);
	p[12] = kind & 1 ? 0x86 : 8;
	p[13] = kind & 1 ? 0xdd : 0;
	p[14] = kind & 1 ? 0x60 : 0x45;
	if (kind & 1) {
		p[18] = (uint8_t)(total >> 8);
		p[19] = (uint8_t)total;
		p[20] = (uint8_t)protocol;
	} else {
		p[16] = (uint8_t)(total >> 8);
		p[17] = (uint8_t)total;
		p[23] = (uint8_t)protocol;
	}
	p[14 + l3 + 12] = 0x50;
	for (unsigned i = 0; i + 4 < changes; i++)
		p[12 + take(in, 1) % 80] = (uint8_t)take(in, 1);
}

static void check_packet(const struct rte_mbuf *m)
{
	const char *why;
	struct sr_net_headers h;

	must(rte_mbuf_check(m, 1, &why) == 0, "an mbuf that contradicts itself");
	must(m->pkt_len >= SR_NET_MIN_PACKET && m->pkt_len <= SR_NET_MAX_PACKET, "length");
	if (!(m->ol_flags & RTE_MBUF_F_TX_L4_MASK))
		return;
	must(sr_net_parse_packet(m, &h) == 0 && h.l4_complete && !h.fragment, "described");
	must(m->l2_len == h.l2_len && m->l3_len == h.l3_len && m->l4_len == h.l4_len, "lengths");
	must((unsigned)h.l2_len + h.l3_len + h.l4_size <= m->pkt_len, "beyond the packet");
	if (m->ol_flags & RTE_MBUF_F_TX_TCP_SEG)
		must(m->tso_segsz && sr_net_segments(m) > 1, "segments");
}

/* What came in goes back out, by way of software where the guest did not agree. */
static void receive_and_send(struct input *in)
{
	struct rte_mbuf *pkts[40];
	uint32_t before = tx.ring.shared->rsp_prod, published = tx.ring.req_published;
	int n = sr_netq_receive(q, pkts, (unsigned)(take(in, 1) % 40)), sent;

	for (int i = 0; i < n; i++)
		check_packet(pkts[i]);
	must(tx.ring.shared->rsp_prod - before <= SR_NETIF_TX_SLOTS, "too many responses");
	if (!sr_netq_broken(q) && published == tx.ring.shared->req_prod)
		must(sr_ring_front_pending(&tx.ring) >= 0, "responses to what was not sent");
	if (n <= 0)
		return;
	sent = sr_netq_send(q, pkts, (unsigned)n);
	must(sent <= n, "more than there were");
	sent = sent < 0 ? 0 : sent;
	sr_netq_drop(q, false, SR_NET_DROP_NO_SLOTS, pkts + sent, (unsigned)(n - sent));
}

static void drain(struct sr_netif_front *f)
{
	int n = sr_ring_front_pending(&f->ring);

	if (n > 0)
		f->ring.rsp_cons += (uint32_t)n;
}

static void put_ctrl(struct input *in)
{
	struct xen_netif_ctrl_request req = { .type = (uint16_t)(take(in, 1) % 13) };

	for (unsigned i = 0; i < 3; i++) {
		unsigned kind = (unsigned)take(in, 1);

		req.data[i] = kind < 230 ? kind % 26 : (uint32_t)take(in, 4);
	}
	/* Mostly for queue 0, by the page that has a list. */
	if (req.type >= XEN_NETIF_CTRL_TYPE_ADD_GREF_MAPPING && req.data[0] < 20) {
		req.data[0] = 0;
		req.data[1] = PAGES - 1;
	}
	if (sr_ring_front_free(&ctrl.ring))
		sr_netif_ctrl_front_put(&ctrl, &req);
}

static void step(struct input *in)
{
	unsigned op = (unsigned)take(in, 1), n = 1 + (unsigned)take(in, 1) % 24;

	switch (op % 5) {
	case 0:
		for (unsigned i = 0; i < n; i++)
			make_frame(guest.pages[i % (PAGES - 1)], in);
		break;
	case 1:
		for (unsigned i = 0; i < n && in->size; i++)
			put_packet(in);
		if (op >= 240)
			put_any(in);
		publish(&tx, in);
		break;
	case 2:
		for (unsigned i = 0; i < n && sr_ring_front_free(&rx.ring); i++)
			sr_netif_rx_front_put(&rx, (uint16_t)i,
					      (uint32_t)(take(in, 1) % (PAGES + 1)));
		publish(&rx, in);
		break;
	case 3:
		put_ctrl(in);
		publish(&ctrl, in);
		sr_netif_ctrl_poll(netif);
		break;
	case 4:
		sr_netq_arm_receive(q);
		sr_netq_arm_send(q);
		sr_netq_disarm(q);
		sr_netq_flush(q);
		break;
	}
	receive_and_send(in);
	drain(&tx);
	drain(&rx);
	drain(&ctrl);
}

/* --- a connection -------------------------------------------------------------------------------
 */

static void start(void)
{
	char *args[] = { (char *)"fuzz",
			 (char *)"--no-huge",
			 (char *)"--no-shconf",
			 (char *)"--no-pci",
			 (char *)"-m",
			 (char *)"128",
			 (char *)"--no-telemetry",
			 (char *)"--lcores",
			 (char *)"0",
			 (char *)"--log-level=lib.eal:4" };

	must(rte_eal_init((int)(sizeof(args) / sizeof(args[0])), args) >= 0, "EAL");
	/* EAL makes a directory for what it would share. */
	rmdir(rte_eal_get_runtime_dir());
	pool = sr_netq_pool_create("fuzz", 2047, 0);
	must(pool != NULL, "pool");
}

static void connect(struct input *in, struct sr_netq_record *record, bool resume)
{
	struct sr_netif_setup shared = { .queues = 2, .domid = 7, .headroom = take(in, 1) };
	struct sr_netq_setup setup = {
		.domid = 7,
		.tx_ref = TX_REF,
		.rx_ref = RX_REF,
		.tx_port = 1,
		.rx_port = 2,
		.pool = pool,
		.features = (unsigned)take(in, 1),
		.record = record,
		.resume = resume,
	};
	char error[160];

	must(sr_netif_new(&shared, &netif) == 0, "netif");
	setup.netif = netif;
	/* What the guest has left in the rings may be too bad to go on with. */
	if (sr_netq_attach(&setup, &q, error, sizeof(error))) {
		must(resume, "attach");
		q = NULL;
		return;
	}
	if (!resume)
		must(sr_netif_ctrl_attach(netif, NULL, NULL, CTL_REF, 3, false, error,
					  sizeof(error)) == 0,
		     "control ring");
}

static void disconnect(void)
{
	sr_netif_ctrl_detach(netif);
	sr_netq_detach(q);
	sr_netif_free(netif);
	must(mapped == 0, "still mapped");
	must(rte_mempool_in_use_count(pool) == 0, "mbufs lost");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sr_netq_record record;
	struct input in = { data, size };

	if (!pool)
		start();
	random_state = 0x9e3779b97f4a7c15u;
	memset(&guest, 0xa7, sizeof(guest));
	memset(&record, 0, sizeof(record));
	for (unsigned i = 0; i < 64; i++)
		((struct xen_netif_gref *)(void *)guest.pages[PAGES - 1])[i] =
		    (struct xen_netif_gref){ .ref = i % (PAGES - 1), .flags = (i % 5) == 4 };
	for (unsigned i = 0; i < PAGES - 1; i++) {
		struct input kind = { (const uint8_t[]){ (uint8_t)(i | i << 4) }, 1 };

		make_frame(guest.pages[i], &kind);
	}
	sr_netif_tx_front_init(&tx, guest.tx);
	sr_netif_rx_front_init(&rx, guest.rx);
	sr_netif_ctrl_front_init(&ctrl, guest.ctrl);
	connect(&in, &record, false);
	for (unsigned i = 0; i < 20 && in.size > 64; i++)
		step(&in);
	disconnect();
	connect(&in, &record, true);
	for (unsigned i = 0; q && i < 4 && in.size; i++)
		step(&in);
	disconnect();
	return 0;
}
