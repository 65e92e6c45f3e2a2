/* SPDX-License-Identifier: MIT */
#include <common/reactor.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <common/stats.h>
#include <hypervisor.h>

/*
 * How often a busy thread looks for events of its idle sources. By time and not by rounds: a look
 * is a system call on some hosts, and a round without work is much shorter than that.
 */
#define SR_EVENT_NS 20000u
/* The same of descriptors of idle sources that are watched. */
#define SR_WATCH_NS     50000u
#define SR_EPOLL_EVENTS 32
/* A spin shorter than this is not worth its loop. */
#define SR_SPIN_MIN_NS 1000u
/* After so many sleeps that a single event could end, the next one is such a wait. */
#define SR_SETTLED 8u
/* How long a sleep is that events can't end, for want of kernel memory. */
#define SR_UNTOLD_MS 1

struct sr_thread {
	struct sr_mailbox box;
	struct sr_evtchn *ev;
	struct sr_clock clock;
	uint64_t now;              /* the clock, as last read */
	struct sr_source active;   /* head of a ring list */
	struct sr_source *polling; /* the one whose poll() runs; NULL: it has removed itself */
	unsigned active_count, idle_count;
	unsigned watched_idle; /* idle ones whose descriptor is watched */
	unsigned fd_awaited;   /* idle ones whose descriptor may wake us */
	struct sr_source **by_port;
	uint32_t by_port_size;
	int epoll;
	bool always, stop;
	int nice;
	bool can_wait;    /* in sr_evtchn_wait() */
	bool ev_watched;  /* the event channels' descriptor is in the epoll set */
	bool waiting;     /* atomic; there, and nobody has taken it upon himself to wake us */
	unsigned settled; /* sleeps in a row that could have been such a wait */
	unsigned events;  /* since the last sleep began */
	uint64_t spin, spin_min, spin_max; /* ticks */
	uint64_t event_interval;           /* ticks */
	uint64_t watch_interval;           /* ticks */
	uint64_t looked, watched;          /* when events and descriptors were last looked at */
	uint64_t idle_since;               /* 0: there was work in the last round */
	pthread_t pthread;
	struct sr_thread_stats stats;
};

/* --- mail ---------------------------------------------------------------------------------------
 */

struct call {
	struct sr_mail mail;
	void (*fn)(void *arg);
	void *arg;
	sem_t done;
};

static void run_call(void *arg)
{
	struct call *call = arg;

	call->fn(call->arg);
	sem_post(&call->done);
}

void sr_thread_post(struct sr_thread *t, struct sr_mail *mail)
{
	sr_mailbox_post(&t->box, mail);
	/* One of us wakes it, no other: wait_for_event() counts on that. */
	if (__atomic_load_n(&t->waiting, __ATOMIC_SEQ_CST) &&
	    __atomic_exchange_n(&t->waiting, false, __ATOMIC_SEQ_CST))
		sr_evtchn_wake(t->ev);
}

void sr_thread_call(struct sr_thread *t, void (*fn)(void *arg), void *arg)
{
	struct call call = { .mail = { .run = run_call, .arg = &call }, .fn = fn, .arg = arg };

	sem_init(&call.done, 0, 0);
	sr_thread_post(t, &call.mail);
	while (sem_wait(&call.done) && errno == EINTR)
		;
	sem_destroy(&call.done);
}

/* --- sources ------------------------------------------------------------------------------------
 */

static unsigned is_watched(const struct sr_source *s)
{
	return s->watched && s->fd >= 0;
}

static void activate(struct sr_thread *t, struct sr_source *s)
{
	if (s->active)
		return;
	s->active = true;
	s->last_work = t->now;
	s->prev = t->active.prev;
	s->next = &t->active;
	s->prev->next = s;
	t->active.prev = s;
	t->active_count++;
	t->idle_count--;
	t->watched_idle -= is_watched(s);
	t->fd_awaited -= s->fd_awaited;
	s->fd_awaited = false;
}

static void deactivate(struct sr_thread *t, struct sr_source *s)
{
	if (!s->active)
		return;
	s->active = false;
	s->prev->next = s->next;
	s->next->prev = s->prev;
	t->active_count--;
	t->idle_count++;
	t->watched_idle += is_watched(s);
	s->fd_awaited = s->fd >= 0 && !s->fd_rests;
	t->fd_awaited += s->fd_awaited;
}

void sr_thread_wake(struct sr_thread *t, struct sr_source *s)
{
	if (s->added)
		activate(t, s);
}

static int ports_reserve(struct sr_thread *t, uint32_t port)
{
	uint32_t size = t->by_port_size ? t->by_port_size : 64;
	struct sr_source **ports;

	if (port < t->by_port_size)
		return 0;
	while (size <= port)
		size *= 2;
	ports = reallocarray(t->by_port, size, sizeof(struct sr_source *));
	if (!ports)
		return -ENOMEM;
	memset(ports + t->by_port_size, 0, (size - t->by_port_size) * sizeof(struct sr_source *));
	t->by_port = ports;
	t->by_port_size = size;
	return 0;
}

int sr_thread_add(struct sr_thread *t, struct sr_source *s, uint32_t port, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = s };
	int rc = ports_reserve(t, port);

	if (rc)
		return rc;
	/* Not every descriptor can be polled (a plain file): then it is always worth a look. */
	if (fd >= 0 && epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &event))
		return -errno;
	t->by_port[port] = s;
	s->port = port;
	s->fd = fd;
	/* An event that came between binding and this found no source, and its port stayed masked.
	 */
	s->masked = port != 0;
	s->added = true;
	s->active = false;
	s->fd_awaited = false;
	t->idle_count++;
	t->watched_idle += is_watched(s);
	activate(t, s);
	sr_stat_add(&t->stats.sources, 1);
	return 0;
}

void sr_thread_remove(struct sr_thread *t, struct sr_source *s)
{
	if (!s->added)
		return;
	if (t->polling == s)
		t->polling = NULL;
	deactivate(t, s);
	t->idle_count--;
	t->watched_idle -= is_watched(s);
	t->fd_awaited -= s->fd_awaited;
	s->fd_awaited = false;
	s->added = false;
	t->by_port[s->port] = NULL;
	if (s->fd >= 0)
		epoll_ctl(t->epoll, EPOLL_CTL_DEL, s->fd, NULL);
	sr_stat_add(&t->stats.sources, UINT64_MAX);
}

/* --- the loop -----------------------------------------------------------------------------------
 */

static void take_event(struct sr_thread *t, uint32_t port)
{
	struct sr_source *s = port < t->by_port_size ? t->by_port[port] : NULL;

	t->events++;
	if (!s)
		return; /* unbound a moment ago */
	s->masked = true;
	sr_stat_add(&s->events, 1);
	activate(t, s);
}

static void take_events(struct sr_thread *t)
{
	uint32_t port;

	/* Each port comes once until it is unmasked, so this ends. */
	while (!sr_evtchn_pending(t->ev, &port))
		take_event(t, port);
}

/* After poll() did so much. A pause is not waited for where a spin would not outlast it. */
static bool may_idle(const struct sr_thread *t, const struct sr_source *s, unsigned done)
{
	if (t->always)
		return false;
	if (done)
		return s->pausing && t->spin <= t->spin_min;
	return t->now - s->last_work > t->spin;
}

static void try_idle(struct sr_thread *t, struct sr_source *s)
{
	if (s->ops->arm(s))
		return;
	deactivate(t, s);
	if (s->masked) {
		s->masked = false;
		sr_evtchn_unmask(t->ev, s->port);
	}
}

/* One round: every active source once. Returns how much was done. */
static unsigned poll_sources(struct sr_thread *t)
{
	struct sr_source *s = t->active.next;
	uint64_t now = t->now;
	unsigned total = 0;

	while (s != &t->active) {
		struct sr_source *next = s->next;
		unsigned done;

		t->polling = s;
		done = s->ops->poll(s, now);
		total += done;
		/* If it has removed itself it may be freed by now. */
		if (t->polling) {
			if (done)
				s->last_work = now;
			if (may_idle(t, s, done))
				try_idle(t, s);
		}
		s = next;
	}
	t->polling = NULL;
	return total;
}

/*
 * How long there was nothing to do, the spin and the sleep together, says what spinning is worth:
 * longer, if it would have met the work, and shorter, if it was in vain anyway.
 */
static void adapt(struct sr_thread *t, uint64_t waited)
{
	if (!t->spin_max)
		return;
	if (waited < t->spin_max)
		t->spin = t->spin * 2 < t->spin_max ? t->spin * 2 : t->spin_max;
	else if (waited > t->spin_max * 2)
		t->spin = t->spin / 2 > t->spin_min ? t->spin / 2 : t->spin_min;
	__atomic_store_n(&t->stats.spin_ns, sr_clock_ns(&t->clock, t->spin), __ATOMIC_RELAXED);
}

static void take_descriptors(struct sr_thread *t, int timeout)
{
	struct epoll_event events[SR_EPOLL_EVENTS];
	int n = epoll_wait(t->epoll, events, SR_EPOLL_EVENTS, timeout);

	if (timeout)
		t->now = sr_clock_now(&t->clock);
	for (int i = 0; i < n; i++)
		/* The mailbox has no source: it is looked at in each round. */
		if (events[i].data.ptr == t->ev)
			take_events(t);
		else if (events[i].data.ptr)
			activate(t, events[i].data.ptr);
}

/* True: it was mail that ended the wait. */
static bool wait_once(struct sr_thread *t)
{
	uint32_t port;
	int err = sr_evtchn_wait(t->ev, &port);

	t->now = sr_clock_now(&t->clock);
	if (!err)
		take_event(t, port);
	else if (err != -ECANCELED && err != -EINTR)
		t->can_wait = false;
	return err == -ECANCELED;
}

/*
 * Only events and mail can wake us. Mail comes before our look for it, or its poster sees us wait:
 * each does its own first, and then looks for the other's.
 */
static void wait_for_event(struct sr_thread *t)
{
	bool waked = false;

	__atomic_store_n(&t->waiting, true, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&t->box.head, __ATOMIC_SEQ_CST))
		waked = wait_once(t);
	/* A poster has seen us wait: his call is met here, or it would end the next wait. */
	if (!__atomic_exchange_n(&t->waiting, false, __ATOMIC_SEQ_CST))
		while (!waked && t->can_wait)
			waked = wait_once(t);
}

/* Is the next sleep to be one for a single event? */
static bool is_settled(struct sr_thread *t)
{
	if (!t->can_wait || t->fd_awaited || t->events > 1)
		t->settled = 0;
	else if (t->settled < SR_SETTLED)
		t->settled++;
	t->events = 0;
	return t->settled == SR_SETTLED;
}

/* An event need not be told to the epoll set while nobody sleeps on it. */
static void watch_events(struct sr_thread *t, bool watched)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = t->ev };

	if (t->ev_watched == watched)
		return;
	if (!epoll_ctl(t->epoll, watched ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, sr_evtchn_fd(t->ev),
		       &event))
		t->ev_watched = watched;
}

static void sleep_until_event(struct sr_thread *t)
{
	bool settled = is_settled(t);

	sr_stat_add(&t->stats.sleeps, 1);
	watch_events(t, !settled);
	if (settled) {
		wait_for_event(t);
	} else {
		take_descriptors(t, t->ev_watched ? -1 : SR_UNTOLD_MS);
		if (!t->ev_watched)
			take_events(t);
	}
	adapt(t, t->now - t->idle_since);
	t->idle_since = 0;
	t->looked = t->watched = t->now;
	sr_stat_add(&t->stats.wakeups, 1);
}

/* Mail, events, descriptors, then every active source. Returns how much was done. */
static unsigned one_round(struct sr_thread *t)
{
	if (sr_mailbox_has_mail(&t->box))
		sr_mailbox_run(&t->box);
	if (t->idle_count && t->now - t->looked >= t->event_interval) {
		take_events(t);
		t->looked = t->now;
	}
	if (t->watched_idle && t->now - t->watched >= t->watch_interval) {
		take_descriptors(t, 0);
		t->watched = t->now;
	}
	sr_stat_add(&t->stats.loops, 1);
	return poll_sources(t);
}

static void *thread_main(void *arg)
{
	struct sr_thread *t = arg;

	/* On Linux this is the thread's own. Without the right to it, it is as it was. */
	if (t->nice)
		(void)setpriority(PRIO_PROCESS, (id_t)gettid(), t->nice);
	t->now = sr_clock_now(&t->clock);
	while (!t->stop) {
		unsigned done = one_round(t);

		if (done) {
			sr_stat_add(&t->stats.busy_loops, 1);
			t->idle_since = 0;
		}
		if (!t->idle_since && (!done || !t->active_count))
			t->idle_since = t->now;
		/* Without another look: if there is an event, the sleep ends at once. */
		if (!t->active_count && !t->stop) {
			sleep_until_event(t);
			continue;
		}
		if (!done)
			sr_cpu_relax();
		t->now = sr_clock_now(&t->clock);
	}
	return NULL;
}

/* --- start and stop -----------------------------------------------------------------------------
 */

static int epoll_add(int epoll, int fd, void *what)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = what };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int start_pthread(struct sr_thread *t, const struct sr_thread_options *options)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	int rc;

	pthread_attr_init(&attr);
	if (options->cpu >= 0) {
		CPU_ZERO(&cpus);
		CPU_SET((unsigned)options->cpu, &cpus);
		pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	}
	rc = -pthread_create(&t->pthread, &attr, thread_main, t);
	pthread_attr_destroy(&attr);
	if (!rc && options->name)
		pthread_setname_np(t->pthread, options->name);
	return rc;
}

static void thread_free(struct sr_thread *t)
{
	if (t->epoll >= 0)
		close(t->epoll);
	sr_evtchn_close(t->ev);
	sr_mailbox_destroy(&t->box);
	free(t->by_port);
	free(t);
}

int sr_thread_start(struct sr_hypervisor *hv, const struct sr_thread_options *options,
		    struct sr_thread **thread)
{
	struct sr_thread *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return -ENOMEM;
	t->active.next = t->active.prev = &t->active;
	t->always = options->always;
	t->nice = options->nice;
	sr_clock_init(&t->clock);
	t->spin_max = sr_clock_ticks(&t->clock, (uint64_t)options->spin_us * 1000);
	t->spin_min = sr_clock_ticks(&t->clock, SR_SPIN_MIN_NS);
	t->spin = t->spin_max;
	t->event_interval = sr_clock_ticks(&t->clock, SR_EVENT_NS);
	t->watch_interval = sr_clock_ticks(&t->clock, SR_WATCH_NS);
	t->stats.spin_ns = sr_clock_ns(&t->clock, t->spin);
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	rc = t->epoll < 0 ? -errno : 0;
	if (sr_mailbox_init(&t->box) && !rc)
		rc = -errno;
	if (!rc)
		rc = sr_evtchn_open(hv, &t->ev);
	t->can_wait = !rc && !sr_evtchn_prepare_wait(t->ev);
	if (!rc)
		rc = epoll_add(t->epoll, t->box.fd, NULL);
	if (!rc)
		rc = epoll_add(t->epoll, sr_evtchn_fd(t->ev), t->ev);
	t->ev_watched = !rc;
	if (!rc)
		rc = start_pthread(t, options);
	if (rc) {
		thread_free(t);
		return rc;
	}
	*thread = t;
	return 0;
}

static void ask_to_stop(void *arg)
{
	((struct sr_thread *)arg)->stop = true;
}

void sr_thread_stop(struct sr_thread *t)
{
	if (!t)
		return;
	sr_thread_call(t, ask_to_stop, t);
	pthread_join(t->pthread, NULL);
	thread_free(t);
}

const struct sr_thread_stats *sr_thread_stats(const struct sr_thread *t)
{
	return &t->stats;
}

uint64_t sr_thread_cpu_ns(const struct sr_thread *t)
{
	struct timespec now;
	clockid_t id;

	if (pthread_getcpuclockid(t->pthread, &id) || clock_gettime(id, &now))
		return 0;
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct sr_evtchn *sr_thread_evtchn(struct sr_thread *t)
{
	return t->ev;
}

const struct sr_clock *sr_thread_clock(const struct sr_thread *t)
{
	return &t->clock;
}

uint64_t sr_thread_tick(struct sr_thread *t)
{
	t->now = sr_clock_now(&t->clock);
	return t->now;
}
