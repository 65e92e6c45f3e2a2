/* SPDX-License-Identifier: MIT */

/*
 * The switch on several threads, with members that come and go under traffic: nothing is lost that
 * is not counted, nothing is delivered to who should not have it, every packet is given back.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <ports/eal.h>
#include <rte_ether.h>
#include <rte_mempool.h>

#include "impl.h"

#define LANES   4u
#define MEMBERS 6u
#define ROUNDS  30u /* of the seventh's coming and going */

/* --- a pool that a thread sanitizer can follow ---------------------------------------------------
 *
 * DPDK's own is in a library that it does not see: whoever takes a packet would seem to race with
 * who has given it back.
 */

struct stack {
	pthread_mutex_t lock;
	unsigned count;
	void *objects[];
};

static int stack_alloc(struct rte_mempool *mp)
{
	struct stack *s = calloc(1, sizeof(*s) + mp->size * sizeof(void *));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	mp->pool_data = s;
	return 0;
}

static void stack_free(struct rte_mempool *mp)
{
	free(mp->pool_data);
}

static int stack_put(struct rte_mempool *mp, void *const *objects, unsigned n)
{
	struct stack *s = mp->pool_data;

	pthread_mutex_lock(&s->lock);
	memcpy(s->objects + s->count, objects, n * sizeof(void *));
	s->count += n;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static int stack_get(struct rte_mempool *mp, void **objects, unsigned n)
{
	struct stack *s = mp->pool_data;
	int rc = -ENOBUFS;

	pthread_mutex_lock(&s->lock);
	if (s->count >= n) {
		s->count -= n;
		memcpy(objects, s->objects + s->count, n * sizeof(void *));
		rc = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static unsigned stack_count(const struct rte_mempool *mp)
{
	return ((struct stack *)mp->pool_data)->count;
}

static const struct rte_mempool_ops stack_ops = {
	.name = "locked",
	.alloc = stack_alloc,
	.free = stack_free,
	.enqueue = stack_put,
	.dequeue = stack_get,
	.get_count = stack_count,
};

RTE_MEMPOOL_REGISTER_OPS(stack_ops)

/* --- lanes as threads ---------------------------------------------------------------------------
 */

struct runner {
	pthread_t thread;
	void (*fn)(void *arg); /* a call from the control thread; atomic */
	void *arg;
	bool stop;                        /* atomic */
	struct sr_member_port *ports[16]; /* the lane's */
	unsigned count;
};

static struct runner runners[LANES];
static struct sr_fabric *fabric;
static struct sr_switch *sw;
static struct rte_mempool *pool;
static uint64_t clock_ns; /* atomic; one tick a round */

static void *run_lane(void *arg)
{
	struct sr_lane *lane = arg;
	struct runner *r = &runners[lane->index];

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		uint64_t now = __atomic_add_fetch(&clock_ns, 100, __ATOMIC_RELAXED);
		void (*fn)(void *arg) = __atomic_load_n(&r->fn, __ATOMIC_ACQUIRE);

		if (fn) {
			fn(r->arg);
			__atomic_store_n(&r->fn, NULL, __ATOMIC_RELEASE);
		}
		for (unsigned i = 0; i < r->count; i++)
			sr_port_poll(r->ports[i], now);
		sr_lane_poll(lane, now);
	}
	return NULL;
}

static void host_call(struct sr_lane *lane, void (*fn)(void *arg), void *arg)
{
	struct runner *r = &runners[lane->index];

	r->arg = arg;
	__atomic_store_n(&r->fn, fn, __ATOMIC_RELEASE);
	while (__atomic_load_n(&r->fn, __ATOMIC_ACQUIRE))
		sched_yield();
}

static int host_start(struct sr_member_port *port)
{
	struct runner *r = &runners[port->lane->index];

	r->ports[r->count++] = port;
	return 0;
}

static void host_stop(struct sr_member_port *port)
{
	struct runner *r = &runners[port->lane->index];
	unsigned i = 0;

	while (r->ports[i] != port)
		i++;
	r->ports[i] = r->ports[--r->count];
}

static void ignore_port(struct sr_member_port *port)
{
}

static void ignore_outlet(struct sr_outlet *out)
{
}

static void ignore_lane(struct sr_lane *lane)
{
}

static uint64_t host_now(const struct sr_fabric *f)
{
	return __atomic_load_n(&clock_ns, __ATOMIC_RELAXED);
}

static const struct sr_fabric_host host = {
	.now = host_now,
	.call = host_call,
	.wake = ignore_lane,
	.blocked = ignore_outlet,
	.start = host_start,
	.stop = host_stop,
	.free = ignore_port,
};

/* --- members: each queue makes packets, and looks at what it gets --------------------------------
 */

struct queue {
	uint64_t state; /* of its random numbers */
	unsigned left;  /* to send */
	uint64_t sent, got, wrong;
} __attribute__((aligned(64)));

struct member {
	struct sr_member *member;
	uint8_t number;
	unsigned queues;
	struct queue queue[LANES];
};

static struct member members[MEMBERS + 1];
static bool talking; /* atomic */

/*
 * Flooded packets have several owners. DPDK's count of them is right, but the last owner learns so
 * by a relaxed load, in which a thread sanitizer sees no order: it gets packets of one owner only.
 */
#ifdef __SANITIZE_THREAD__
static const bool flooding = false;
#else
static const bool flooding = true;
#endif

static uint64_t next(struct queue *q)
{
	q->state ^= q->state << 13;
	q->state ^= q->state >> 7;
	q->state ^= q->state << 17;
	return q->state;
}

static int member_receive(void *arg, unsigned index, struct rte_mbuf **pkts, unsigned n)
{
	struct member *m = arg;
	struct queue *q = &m->queue[index];
	unsigned i;

	for (i = 0; i < n && __atomic_load_n(&talking, __ATOMIC_RELAXED); i++) {
		struct rte_mbuf *pkt = rte_pktmbuf_alloc(pool);
		uint64_t r = next(q);
		uint8_t *frame;

		if (!pkt)
			break;
		frame = (uint8_t *)rte_pktmbuf_append(pkt, 64);
		memset(frame, 0, 64);
		if (flooding && r % 64 == 0) {
			memset(frame, 0xff, 6);
		} else {
			frame[0] = 2;
			frame[5] = (uint8_t)(r >> 8) % (MEMBERS + flooding) + 1;
		}
		frame[6] = 2;
		frame[11] = m->number;
		q->sent++;
		pkts[i] = pkt;
	}
	return (int)i;
}

static int member_send(void *arg, unsigned index, struct rte_mbuf **pkts, unsigned n)
{
	struct member *m = arg;
	struct queue *q = &m->queue[index];

	n = n > 1 ? n - next(q) % 2 : n; /* not always all of it */
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *frame = rte_pktmbuf_mtod(pkts[i], const uint8_t *);

		/* One for the seventh is flooded while that one is away. */
		if (frame[11] == m->number ||
		    (frame[0] == 2 && frame[5] != m->number && frame[5] != MEMBERS + 1))
			q->wrong++;
		q->got++;
		rte_pktmbuf_free(pkts[i]);
	}
	return (int)n;
}

static bool member_arm(void *arg, unsigned index)
{
	return false;
}

static const struct sr_member_ops member_ops = {
	.receive = member_receive,
	.send = member_send,
	.arm_receive = member_arm,
	.arm_send = member_arm,
};

static void join(unsigned index, unsigned queues)
{
	struct member *m = &members[index];
	struct sr_member_queue list[LANES];
	struct sr_member_config config = {
		.name = "m",
		.ops = &member_ops,
		.arg = m,
		.queue_count = queues,
		.queues = list,
		.mac = { 2, [5] = (uint8_t)(index + 1) },
		.check_mac = true,
		.capture_id = sr_capture_vif(0, index + 1),
	};

	m->number = (uint8_t)(index + 1);
	m->queues = queues;
	for (unsigned i = 0; i < queues; i++) {
		list[i] = (struct sr_member_queue){ .lane = (index + i) % LANES, .fd = -1 };
		m->queue[i].state = 88172645463325252u + index * 64 + i;
	}
	assert_int_equal(sr_member_add(sw, &config, &m->member), 0);
}

static void nothing(void *arg)
{
}

/* All members talk, or none does any more. */
static void talk(bool on)
{
	__atomic_store_n(&talking, on, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < LANES; i++)
		host_call(&fabric->lanes[i], nothing, NULL);
}

/* --- a capture meanwhile ------------------------------------------------------------------------
 */

#define RING 65536u

static size_t ring_bytes;
static uint8_t *rings;

static struct sr_fabric_capture *start_capture(void)
{
	const struct sr_capture_config config = {
		.rings = rings,
		.ring_bytes = ring_bytes,
		.ring_size = RING,
		.snaplen = 2048,
	};
	struct sr_fabric_capture *capture;

	memset(rings, 0, LANES * ring_bytes);
	assert_int_equal(sr_fabric_capture(fabric, &config, &capture), 0);
	return capture;
}

/* Reads what there is; each is whole, and from or to whom it says. Returns how many. */
static uint64_t look_at_capture(struct sr_capture_reader *readers)
{
	const struct sr_capture_record *record;
	uint64_t n = 0;

	for (unsigned i = 0; i < LANES; i++)
		for (unsigned k = 0; k < 200; k++, n++) {
			assert_int_equal(sr_capture_peek(&readers[i], &record), 0);
			if (!record)
				break;
			assert_int_equal(record->captured, 64);
			assert_int_equal(record->length, 64);
			if (record->from_guest)
				assert_int_equal(record->data[11], (uint8_t)record->id);
			else
				assert_int_not_equal(record->data[11], (uint8_t)record->id);
			sr_capture_next(&readers[i]);
		}
	return n;
}

static void test_traffic(void **state)
{
	struct sr_capture_reader readers[LANES];
	uint64_t got = 0, sent = 0, captured = 0;

	ring_bytes = sr_capture_ring_bytes(RING);
	rings = aligned_alloc(4096, LANES * ring_bytes);
	for (unsigned i = 0; i < MEMBERS; i++)
		join(i, i % 3 + 1);
	talk(true);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct sr_fabric_capture *capture = start_capture();

		for (unsigned k = 0; k < LANES; k++)
			assert_int_equal(
			    sr_capture_reader_init(&readers[k], rings + k * ring_bytes, ring_bytes),
			    0);
		join(MEMBERS, 2);
		sr_member_set_link(members[0].member, i % 2);
		captured += look_at_capture(readers);
		sr_member_remove(members[MEMBERS].member);
		sr_fabric_capture_end(capture);
		captured += look_at_capture(readers);
	}
	free(rings);
	talk(false);
	for (unsigned i = 0; i < MEMBERS; i++)
		sr_member_remove(members[i].member);
	for (unsigned i = 0; i <= MEMBERS; i++)
		for (unsigned j = 0; j < members[i].queues; j++) {
			assert_int_equal(members[i].queue[j].wrong, 0);
			got += members[i].queue[j].got;
			sent += members[i].queue[j].sent;
		}
	print_message("# %llu sent, %llu received, %llu captured\n", (unsigned long long)sent,
		      (unsigned long long)got, (unsigned long long)captured);
	assert_true(got > 1000);
	assert_true(captured > 1000);
	assert_true(rte_mempool_full(pool));
}

static int set_up(void **state)
{
	char error[256];

	if (sr_eal_start(&(struct sr_eal_options){ .huge = SR_EAL_HUGE_OFF, .memory_mb = 64 },
			 error, sizeof(error))) {
		print_error("%s\n", error);
		return -1;
	}
	pool = rte_pktmbuf_pool_create_by_ops("locked", 8191, 0, 0, 512, SOCKET_ID_ANY, "locked");
	if (!pool || sr_fabric_create(&host, LANES, NULL, &fabric))
		return -1;
	sw = sr_fabric_switch(fabric, "xenbr0", true);
	for (unsigned i = 0; i < LANES; i++) {
		if (pthread_create(&runners[i].thread, NULL, run_lane, &fabric->lanes[i]))
			return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	for (unsigned i = 0; i < LANES; i++) {
		__atomic_store_n(&runners[i].stop, true, __ATOMIC_RELEASE);
		pthread_join(runners[i].thread, NULL);
	}
	sr_switch_free(sw);
	sr_fabric_destroy(fabric);
	rte_mempool_free(pool);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_traffic) };

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
