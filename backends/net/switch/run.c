/* SPDX-License-Identifier: MIT */

/*
 * The switch on the threads of the daemon. Each lane is a source of its thread (what comes from
 * other lanes), and each queue is one or two: what its receive event wakes, and what its send event
 * wakes, where these are not the same.
 */

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <common/reactor.h>
#include <ports/eal.h>

#include "impl.h"

/* How soon a queue beyond its rate is looked at again. */
#define LIMIT_NS 1000000

struct lane_run {
	struct sr_lane *lane;
	struct sr_thread *thread;
	struct sr_source source;
	struct sr_mail mail;
	uint32_t mailed;
	/* Queues beyond their rate, and the timer that wakes them. */
	struct sr_source timer_source;
	int timer;
	struct queue_run *limited;
	int rc;
};

struct queue_run {
	struct sr_member_port *port;
	struct lane_run *lane;
	struct sr_source receive, send;
	bool split;
	struct queue_run *next_limited;
	bool limited;
	struct sr_mail mail;
	uint32_t mailed;
};

#define container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static struct lane_run *run_of(const struct sr_lane *lane)
{
	return (struct lane_run *)lane->source;
}

static uint64_t to_ns(const struct lane_run *run, uint64_t ticks)
{
	return sr_clock_ns(sr_thread_clock(run->thread), ticks);
}

/* --- lanes --------------------------------------------------------------------------------------
 */

static unsigned lane_poll(struct sr_source *source, uint64_t now)
{
	struct lane_run *run = container(source, struct lane_run, source);

	return sr_lane_poll(run->lane, to_ns(run, now));
}

static bool lane_arm(struct sr_source *source)
{
	return sr_lane_arm(container(source, struct lane_run, source)->lane);
}

static const struct sr_source_ops lane_ops = { .poll = lane_poll, .arm = lane_arm };

static void lane_mail(void *arg)
{
	struct lane_run *run = arg;

	__atomic_store_n(&run->mailed, 0, __ATOMIC_RELEASE);
	sr_thread_wake(run->thread, &run->source);
}

static void host_wake(struct sr_lane *lane)
{
	struct lane_run *run = run_of(lane);

	if (!__atomic_exchange_n(&run->mailed, 1, __ATOMIC_ACQ_REL))
		sr_thread_post(run->thread, &run->mail);
}

static void host_call(struct sr_lane *lane, void (*fn)(void *arg), void *arg)
{
	sr_thread_call(run_of(lane)->thread, fn, arg);
}

/* --- queues beyond their rate -------------------------------------------------------------------
 */

static unsigned timer_poll(struct sr_source *source, uint64_t now)
{
	struct lane_run *run = container(source, struct lane_run, timer_source);
	unsigned woken = 0;
	uint64_t times;

	if (read(run->timer, &times, sizeof(times)) < 0)
		return 0;
	while (run->limited) {
		struct queue_run *queue = run->limited;

		run->limited = queue->next_limited;
		queue->limited = false;
		sr_thread_wake(run->thread, &queue->receive);
		woken++;
	}
	return woken;
}

static bool timer_arm(struct sr_source *source)
{
	return false;
}

static const struct sr_source_ops timer_ops = { .poll = timer_poll, .arm = timer_arm };

/* Wakes the queue a little later. */
static bool limit(struct queue_run *queue)
{
	const struct itimerspec soon = { .it_value.tv_nsec = LIMIT_NS };
	struct lane_run *run = queue->lane;

	if (queue->limited)
		return true;
	if (!run->limited && timerfd_settime(run->timer, 0, &soon, NULL))
		return false;
	queue->limited = true;
	queue->next_limited = run->limited;
	run->limited = queue;
	return true;
}

static void unlimit(struct queue_run *queue)
{
	struct queue_run **at = &queue->lane->limited;

	if (!queue->limited)
		return;
	while (*at != queue)
		at = &(*at)->next_limited;
	*at = queue->next_limited;
	queue->limited = false;
}

/* --- queues -------------------------------------------------------------------------------------
 */

static unsigned receive_poll(struct sr_source *source, uint64_t now)
{
	struct queue_run *queue = container(source, struct queue_run, receive);

	return sr_port_poll(queue->port, to_ns(queue->lane, now));
}

static bool arm_send(const struct sr_member_port *port)
{
	return port->out->count && !port->broken &&
	       port->member->ops.arm_send(port->member->arg, port->index);
}

static bool receive_arm(struct sr_source *source)
{
	struct queue_run *queue = container(source, struct queue_run, receive);
	struct sr_member_port *port = queue->port;

	if (port->broken)
		return false;
	if (!queue->split && arm_send(port))
		return true;
	if (port->limited)
		return !limit(queue);
	return port->member->ops.arm_receive(port->member->arg, port->index);
}

static const struct sr_source_ops receive_ops = { .poll = receive_poll, .arm = receive_arm };

static unsigned send_poll(struct sr_source *source, uint64_t now)
{
	struct queue_run *queue = container(source, struct queue_run, send);

	return queue->port->out->count ? sr_outlet_drain(queue->port->out, to_ns(queue->lane, now))
				       : 0;
}

static bool send_arm(struct sr_source *source)
{
	return arm_send(container(source, struct queue_run, send)->port);
}

static const struct sr_source_ops send_ops = { .poll = send_poll, .arm = send_arm };

static void host_blocked(struct sr_outlet *out)
{
	struct queue_run *queue = out->port->source;

	if (queue)
		sr_thread_wake(queue->lane->thread, queue->split ? &queue->send : &queue->receive);
}

static void queue_mail(void *arg)
{
	struct queue_run *queue = arg;

	__atomic_store_n(&queue->mailed, 0, __ATOMIC_RELEASE);
	sr_thread_wake(queue->lane->thread, &queue->receive);
}

void sr_member_wake(struct sr_member *member, unsigned index)
{
	struct queue_run *queue = member->ports[index].source;

	if (!__atomic_exchange_n(&queue->mailed, 1, __ATOMIC_ACQ_REL))
		sr_thread_post(queue->lane->thread, &queue->mail);
}

static void host_stop(struct sr_member_port *port)
{
	struct queue_run *queue = port->source;

	unlimit(queue);
	sr_thread_remove(queue->lane->thread, &queue->receive);
	if (queue->split)
		sr_thread_remove(queue->lane->thread, &queue->send);
}

static int host_start(struct sr_member_port *port)
{
	const struct sr_member_queue *config = &port->config;
	struct queue_run *queue = calloc(1, sizeof(*queue));
	int rc;

	if (!queue)
		return -ENOMEM;
	queue->port = port;
	queue->lane = run_of(port->lane);
	queue->receive.ops = &receive_ops;
	queue->receive.watched = true;
	queue->send.ops = &send_ops;
	queue->split = config->send_port != config->receive_port;
	queue->mail = (struct sr_mail){ .run = queue_mail, .arg = queue };
	port->source = queue;
	rc = sr_thread_add(queue->lane->thread, &queue->receive, config->receive_port, config->fd);
	if (!rc && queue->split) {
		rc = sr_thread_add(queue->lane->thread, &queue->send, config->send_port, -1);
		if (rc)
			sr_thread_remove(queue->lane->thread, &queue->receive);
	}
	return rc;
}

static void host_free(struct sr_member_port *port)
{
	free(port->source);
}

static uint64_t host_now(const struct sr_fabric *fabric)
{
	const struct lane_run *run = run_of(&fabric->lanes[0]);

	return to_ns(run, sr_clock_now(sr_thread_clock(run->thread)));
}

static const struct sr_fabric_host reactor_host = {
	.now = host_now,
	.call = host_call,
	.wake = host_wake,
	.blocked = host_blocked,
	.start = host_start,
	.stop = host_stop,
	.free = host_free,
};

/* --- the fabric ---------------------------------------------------------------------------------
 */

static void join(void *arg)
{
	struct lane_run *run = arg;

	run->rc = sr_eal_thread_register();
	if (run->rc)
		return;
	run->rc = sr_thread_add(run->thread, &run->source, 0, -1);
	if (run->rc)
		return;
	run->rc = sr_thread_add(run->thread, &run->timer_source, 0, run->timer);
	if (run->rc)
		sr_thread_remove(run->thread, &run->source);
}

static void leave(void *arg)
{
	struct lane_run *run = arg;

	sr_thread_remove(run->thread, &run->source);
	sr_thread_remove(run->thread, &run->timer_source);
	sr_eal_thread_unregister();
}

static int lane_start(struct sr_lane *lane, struct sr_thread *thread)
{
	struct lane_run *run = calloc(1, sizeof(*run));

	if (!run)
		return -ENOMEM;
	run->lane = lane;
	run->thread = thread;
	run->source.ops = &lane_ops;
	run->timer_source.ops = &timer_ops;
	run->timer_source.watched = true;
	run->mail = (struct sr_mail){ .run = lane_mail, .arg = run };
	run->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	run->rc = run->timer < 0 ? -errno : 0;
	if (!run->rc)
		sr_thread_call(thread, join, run);
	if (run->rc) {
		int rc = run->rc;

		if (run->timer >= 0)
			close(run->timer);
		free(run);
		return rc;
	}
	lane->source = (struct sr_lane_source *)run;
	return 0;
}

int sr_fabric_new(struct sr_thread *const *threads, unsigned count,
		  const struct sr_fabric_options *options, struct sr_fabric **out)
{
	struct sr_fabric *fabric;
	int rc = sr_fabric_create(&reactor_host, count, options, &fabric);

	if (rc)
		return rc;
	for (unsigned i = 0; i < count && !rc; i++)
		rc = lane_start(&fabric->lanes[i], threads[i]);
	if (rc) {
		sr_fabric_free(fabric);
		return rc;
	}
	*out = fabric;
	return 0;
}

void sr_fabric_free(struct sr_fabric *fabric)
{
	if (!fabric)
		return;
	for (unsigned i = 0; i < fabric->count; i++) {
		struct lane_run *run = run_of(&fabric->lanes[i]);

		if (!run)
			continue;
		sr_thread_call(run->thread, leave, run);
		close(run->timer);
		free(run);
	}
	sr_fabric_destroy(fabric);
}

struct sr_thread *sr_fabric_thread(const struct sr_fabric *fabric, unsigned lane)
{
	return run_of(&fabric->lanes[lane])->thread;
}
