/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <stdlib.h>
#include <string.h>

#include <ports/eal.h>

struct rte_mempool *rig_pool;
struct sr_fabric *rig_fabric;
struct sr_switch *rig_switch;
uint64_t rig_now;
unsigned rig_lanes = 1;
void (*rig_sent)(struct rig_member *to);
const uint8_t rig_broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct sr_member_port *running[64];
static unsigned running_count;

static void host_call(struct sr_lane *lane, void (*fn)(void *arg), void *arg)
{
	fn(arg);
}

static void host_wake(struct sr_lane *lane)
{
}

static void host_blocked(struct sr_outlet *out)
{
}

static int host_start(struct sr_member_port *port)
{
	running[running_count++] = port;
	return 0;
}

static void host_stop(struct sr_member_port *port)
{
	unsigned i = 0;

	while (running[i] != port)
		i++;
	running_count--;
	memmove(running + i, running + i + 1, (running_count - i) * sizeof(running[0]));
}

static void host_free(struct sr_member_port *port)
{
}

static uint64_t host_now(const struct sr_fabric *fabric)
{
	return rig_now;
}

static const struct sr_fabric_host host = {
	.now = host_now,
	.call = host_call,
	.wake = host_wake,
	.blocked = host_blocked,
	.start = host_start,
	.stop = host_stop,
	.free = host_free,
};

int rig_start(void **state)
{
	char error[256];

	if (sr_eal_start(&(struct sr_eal_options){ .huge = SR_EAL_HUGE_OFF, .memory_mb = 128 },
			 error, sizeof(error)) ||
	    sr_mbuf_pool_new("rig", 16383, &rig_pool, error, sizeof(error))) {
		print_error("%s\n", error);
		return -1;
	}
	return 0;
}

int rig_set_up(void **state)
{
	const struct sr_fabric_options options = { .queue_size = 64 };

	rig_now = 1000000000;
	if (sr_fabric_create(&host, rig_lanes, &options, &rig_fabric))
		return -1;
	rig_switch = sr_fabric_switch(rig_fabric, "xenbr0", true);
	return rig_switch ? 0 : -1;
}

int rig_tear_down(void **state)
{
	struct sr_member *member;

	while ((member = sr_switch_member_at(rig_switch, 0)))
		rig_remove(sr_member_arg(member));
	sr_switch_free(rig_switch);
	sr_fabric_destroy(rig_fabric);
	rig_lanes = 1;
	return rte_mempool_full(rig_pool) ? 0 : -1;
}

/* --- members ------------------------------------------------------------------------------------
 */

static int rig_receive(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct rig_member *m = arg;
	struct rig_queue *q = &m->queue[queue];

	m->calls++;
	m->asked = RTE_MAX(m->asked, n);
	if (m->fails)
		return m->fails;
	n = RTE_MIN(n, q->in_count);
	memcpy(pkts, q->in, n * sizeof(pkts[0]));
	q->in_count -= n;
	memmove(q->in, q->in + n, q->in_count * sizeof(pkts[0]));
	return (int)n;
}

static int rig_take_in(void *arg, unsigned queue, struct rte_mbuf **pkts, unsigned n)
{
	struct rig_member *m = arg;
	struct rig_queue *q = &m->queue[queue];

	n = RTE_MIN(n, q->room);
	for (unsigned i = 0; m->drops && m->fates && i < n; i += 2)
		m->fates[i] = (uint8_t)m->drops;
	memcpy(q->out + q->out_count, pkts, n * sizeof(pkts[0]));
	q->out_count += n;
	q->room -= n;
	if (n && rig_sent)
		rig_sent(m);
	return (int)n;
}

static void rig_note_drops(void *arg, unsigned queue, uint8_t *fates)
{
	((struct rig_member *)arg)->fates = fates;
}

static bool rig_arm(void *arg, unsigned queue)
{
	return false;
}

static bool rig_has_room(void *arg, unsigned queue)
{
	return ((struct rig_member *)arg)->queue[queue].room != 0;
}

static void rig_stalled(void *arg, unsigned queue, bool on)
{
	struct rig_member *m = arg;

	if (on)
		m->stalls++;
	else
		m->revivals++;
}

static void rig_broken(void *arg, unsigned queue)
{
	((struct rig_member *)arg)->broken++;
}

static bool rig_wants(const void *arg, const struct rte_ether_addr *to)
{
	return !((const struct rig_member *)arg)->deaf;
}

static const struct sr_member_ops rig_ops = {
	.receive = rig_receive,
	.send = rig_take_in,
	.note_drops = rig_note_drops,
	.arm_receive = rig_arm,
	.arm_send = rig_has_room,
	.broken = rig_broken,
	.stalled = rig_stalled,
	.wants = rig_wants,
};

struct rig_member *rig_add(unsigned number, const struct sr_member_config *config)
{
	struct rig_member *m = calloc(1, sizeof(*m));
	struct sr_member_config mine = *config;

	m->queues = config->queue_count;
	m->queue = calloc(m->queues, sizeof(m->queue[0]));
	for (unsigned i = 0; i < m->queues; i++)
		m->queue[i].room = RIG_DEPTH;
	m->mac[0] = 2;
	m->mac[5] = (uint8_t)number;
	mine.ops = &rig_ops;
	mine.arg = m;
	assert_int_equal(sr_member_add(rig_switch, &mine, &m->member), 0);
	return m;
}

struct rig_member *rig_vif(unsigned number, void (*change)(struct sr_member_config *config))
{
	static const struct sr_member_queue queue = { .fd = -1 };
	struct sr_member_config config = {
		.name = "vif",
		.queue_count = 1,
		.queues = &queue,
		.mac = { 2, [5] = (uint8_t)number },
		.mtu = 1500,
	};

	if (change)
		change(&config);
	return rig_add(number, &config);
}

void rig_remove(struct rig_member *m)
{
	sr_member_remove(m->member);
	rig_take(m);
	for (unsigned i = 0; i < m->queues; i++)
		rte_pktmbuf_free_bulk(m->queue[i].in, m->queue[i].in_count);
	free(m->queue);
	free(m);
}

/* --- packets ------------------------------------------------------------------------------------
 */

void rig_give(struct rig_member *from, unsigned queue, struct rte_mbuf *pkt)
{
	assert_non_null(pkt);
	assert_true(from->queue[queue].in_count < RIG_DEPTH);
	from->queue[queue].in[from->queue[queue].in_count++] = pkt;
}

struct rte_mbuf *rig_send(struct rig_member *from, const uint8_t dst[6], const uint8_t src[6])
{
	struct packet p = { .udp = true, .payload = 32 };
	struct rte_mbuf *pkt;

	memcpy(p.dst, dst, 6);
	memcpy(p.src, src, 6);
	pkt = packet_new(rig_pool, &p);
	rig_give(from, 0, pkt);
	return pkt;
}

unsigned rig_round(void)
{
	unsigned done = 0;

	for (unsigned i = 0; i < running_count; i++)
		done += sr_port_poll(running[i], rig_now);
	for (unsigned i = 0; i < rig_fabric->count; i++)
		done += sr_lane_poll(&rig_fabric->lanes[i], rig_now);
	return done;
}

void rig_run(void)
{
	while (rig_round())
		;
}

unsigned rig_take(struct rig_member *m)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->queues; i++) {
		n += m->queue[i].out_count;
		rte_pktmbuf_free_bulk(m->queue[i].out, m->queue[i].out_count);
		m->queue[i].out_count = 0;
	}
	return n;
}

uint64_t rig_drops(const struct rig_member *m, bool in, enum sr_net_drop reason)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < m->queues; i++) {
		const struct sr_member_stats *stats = sr_member_stats(m->member, i);

		n += in ? stats->in.drops[reason] : stats->out.drops[reason];
	}
	return n;
}
