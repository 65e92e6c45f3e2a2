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

/*
 * Queues that nothing wakes, and how soon they are looked at again: those beyond their rate; those
 * to a guest that has given no room, for it may never, and not every guest tells when it has.
 */
enum pause { PAUSE_RATE, PAUSE_ROOM, PAUSES };

static const long pause_ns[PAUSES] = { 1000000, 10000000 };

struct lane_run {
	struct sr_lane *lane;
	struct sr_thread *thread;
	struct sr_source source;
	struct sr_mail mail;
	uint32_t mailed;
	struct pauses {
		struct lane_run *lane;
		struct sr_source source;
		int timer;
		struct queue_run *queues;
	} pauses[PAUSES];
	int rc;
};

struct queue_run {
	struct sr_member_port *port;
	struct lane_run *lane;
	struct sr_source receive, send;
	bool split;
	struct queue_run *next_paused[PAUSES];
	bool paused[PAUSES];
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

/* --- queues that nothing wakes ------------------------------------------------------------------
 */

static struct sr_source *sending(struct queue_run *queue)
{
	return queue->split ? &queue->send : &queue->receive;
}

static unsigned timer_poll(struct sr_source *source, uint64_t now)
{
	struct pauses *pauses = container(source, struct pauses, source);
	enum pause why = (enum pause)(pauses - pauses->lane->pauses);
	unsigned woken = 0;
	uint64_t times;

	if (read(pauses->timer, &times, sizeof(times)) < 0)
		return 0;
	while (pauses->queues) {
		struct queue_run *queue = pauses->queues;

		pauses->queues = queue->next_paused[why];
		queue->paused[why] = false;
		sr_thread_wake(pauses->lane->thread,
			       why == PAUSE_RATE ? &queue->receive : sending(queue));
		woken++;
	}
	return woken;
}

static bool timer_arm(struct sr_source *source)
{
	return false;
}

static const struct sr_source_ops timer_ops = { .poll = timer_poll, .arm = timer_arm };

/* Wakes the queue a little later. False: it can't be. */
static bool pause_queue(struct queue_run *queue, enum pause why)
{
	const struct itimerspec soon = { .it_value.tv_nsec = pause_ns[why] };
	struct pauses *pauses = &queue->lane->pauses[why];

	if (queue->paused[why])
		return true;
	if (!pauses->queues && timerfd_settime(pauses->timer, 0, &soon, NULL))
		return false;
	queue->paused[why] = true;
	queue->next_paused[why] = pauses->queues;
	pauses->queues = queue;
	return true;
}

static void end_pause(struct queue_run *queue, enum pause why)
{
	struct queue_run **at = &queue->lane->pauses[why].queues;

	if (!queue->paused[why])
		return;
	while (*at != queue)
		at = &(*at)->next_paused[why];
	*at = queue->next_paused[why];
	queue->paused[why] = false;
}

/* --- queues -------------------------------------------------------------------------------------
 */

static unsigned receive_poll(struct sr_source *source, uint64_t now)
{
	struct queue_run *queue = container(source, struct queue_run, receive);
	unsigned done = sr_port_poll(queue->port, to_ns(queue->lane, now));

	/* A descriptor that is waited for tells of more by itself: no second look, a system call.
	 */
	source->pausing = queue->port->drained && source->fd >= 0;
	return done;
}

/* True: not idle. */
static bool arm_send(struct queue_run *queue)
{
	const struct sr_member_port *port = queue->port;
	const struct sr_member *member = port->member;

	if (!sr_outlet_busy(port->out) || port->broken)
		return false;
	if (member->ops.arm_send(member->arg, port->index))
		return true;
	/* What waits is kept for a time only. And once nothing is, an event is enough, if one
	 * comes.
	 */
	return (port->out->count || member->no_send_events) && !pause_queue(queue, PAUSE_ROOM);
}

static bool receive_arm(struct sr_source *source)
{
	struct queue_run *queue = container(source, struct queue_run, receive);
	struct sr_member_port *port = queue->port;

	if (port->broken)
		return false;
	if (!queue->split && arm_send(queue))
		return true;
	if (port->limited)
		return !pause_queue(queue, PAUSE_RATE);
	return port->member->ops.arm_receive(port->member->arg, port->index);
}

static const struct sr_source_ops receive_ops = { .poll = receive_poll, .arm = receive_arm };

static unsigned send_poll(struct sr_source *source, uint64_t now)
{
	struct queue_run *queue = container(source, struct queue_run, send);

	return sr_outlet_busy(queue->port->out)
		   ? sr_outlet_drain(queue->port->out, to_ns(queue->lane, now))
		   : 0;
}

static bool send_arm(struct sr_source *source)
{
	return arm_send(container(source, struct queue_run, send));
}

static const struct sr_source_ops send_ops = { .poll = send_poll, .arm = send_arm };

static void host_blocked(struct sr_outlet *out)
{
	struct queue_run *queue = out->port->source;

	if (queue)
		sr_thread_wake(queue->lane->thread, sending(queue));
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

	for (enum pause why = 0; why < PAUSES; why++)
		end_pause(queue, why);
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

static void leave(void *arg)
{
	struct lane_run *run = arg;

	if (run->source.added)
		sr_thread_remove(run->thread, &run->source);
	for (enum pause why = 0; why < PAUSES; why++)
		if (run->pauses[why].source.added)
			sr_thread_remove(run->thread, &run->pauses[why].source);
	sr_eal_thread_unregister();
}

static void join(void *arg)
{
	struct lane_run *run = arg;

	run->rc = sr_eal_thread_register();
	if (run->rc)
		return;
	run->rc = sr_thread_add(run->thread, &run->source, 0, -1);
	for (enum pause why = 0; why < PAUSES && !run->rc; why++)
		run->rc =
		    sr_thread_add(run->thread, &run->pauses[why].source, 0, run->pauses[why].timer);
	if (run->rc)
		leave(run);
}

static void lane_free(struct lane_run *run)
{
	for (enum pause why = 0; why < PAUSES; why++)
		if (run->pauses[why].timer >= 0)
			close(run->pauses[why].timer);
	free(run);
}

static int lane_start(struct sr_lane *lane, struct sr_thread *thread)
{
	struct lane_run *run = calloc(1, sizeof(*run));
	int rc;

	if (!run)
		return -ENOMEM;
	run->lane = lane;
	run->thread = thread;
	run->source.ops = &lane_ops;
	run->mail = (struct sr_mail){ .run = lane_mail, .arg = run };
	for (enum pause why = 0; why < PAUSES; why++) {
		struct pauses *pauses = &run->pauses[why];

		pauses->lane = run;
		pauses->source.ops = &timer_ops;
		pauses->source.watched = true;
		pauses->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
		if (pauses->timer < 0)
			run->rc = -errno;
	}
	if (!run->rc)
		sr_thread_call(thread, join, run);
	rc = run->rc;
	if (rc)
		lane_free(run);
	else
		lane->source = (struct sr_lane_source *)run;
	return rc;
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
		lane_free(run);
	}
	sr_fabric_destroy(fabric);
}

struct sr_thread *sr_fabric_thread(const struct sr_fabric *fabric, unsigned lane)
{
	return run_of(&fabric->lanes[lane])->thread;
}
