/* SPDX-License-Identifier: MIT */
/* A queue thread's sleep: which of its two kinds it is, and that nothing is missed in either. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include <common/reactor.h>
#include <provider.h>

#define PORTS 4u

/* --- event channels that are simple enough to be right ------------------------------------------
 */

static struct channels {
	struct sr_evtchn base;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool pending[PORTS], masked[PORTS], waked;
	bool can_wait;
	int fd;
	unsigned waits, broken; /* waits; breaches of the contract */
} ch = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static int ready_port(void)
{
	for (unsigned port = 1; port < PORTS; port++)
		if (ch.pending[port] && !ch.masked[port])
			return (int)port;
	return 0;
}

/* The descriptor says what pending() would; whoever waits hears of it. */
static void tell(void)
{
	eventfd_t count;

	if (ready_port())
		eventfd_write(ch.fd, 1);
	else
		eventfd_read(ch.fd, &count);
	pthread_cond_signal(&ch.changed);
}

static int take(uint32_t *port)
{
	int ready = ready_port();

	if (!ready)
		return -EAGAIN;
	ch.pending[ready] = false;
	ch.masked[ready] = true;
	tell();
	*port = (uint32_t)ready;
	return 0;
}

static int ch_pending(struct sr_evtchn *ev, uint32_t *port)
{
	int err;

	pthread_mutex_lock(&ch.lock);
	err = take(port);
	pthread_mutex_unlock(&ch.lock);
	return err;
}

static int ch_unmask(struct sr_evtchn *ev, uint32_t port)
{
	pthread_mutex_lock(&ch.lock);
	ch.masked[port] = false;
	tell();
	pthread_mutex_unlock(&ch.lock);
	return 0;
}

static int ch_notify(struct sr_evtchn *ev, uint32_t port)
{
	pthread_mutex_lock(&ch.lock);
	ch.pending[port] = true;
	tell();
	pthread_mutex_unlock(&ch.lock);
	return 0;
}

static int ch_prepare_wait(struct sr_evtchn *ev)
{
	return ch.can_wait ? 0 : -ENOTSUP;
}

static int ch_wait(struct sr_evtchn *ev, uint32_t *port)
{
	int err = -ECANCELED;

	pthread_mutex_lock(&ch.lock);
	ch.waits++;
	while (!ch.waked && !ready_port())
		pthread_cond_wait(&ch.changed, &ch.lock);
	if (ch.waked)
		ch.waked = false;
	else
		err = take(port);
	pthread_mutex_unlock(&ch.lock);
	return err;
}

static int ch_wake(struct sr_evtchn *ev)
{
	pthread_mutex_lock(&ch.lock);
	ch.broken += ch.waked;
	ch.waked = true;
	pthread_cond_signal(&ch.changed);
	pthread_mutex_unlock(&ch.lock);
	return 0;
}

static int ch_fd(struct sr_evtchn *ev)
{
	return ch.fd;
}

static void ch_close(struct sr_evtchn *ev)
{
	close(ch.fd);
}

static const struct sr_evtchn_ops ch_ops = {
	.close = ch_close,
	.fd = ch_fd,
	.notify = ch_notify,
	.pending = ch_pending,
	.unmask = ch_unmask,
	.prepare_wait = ch_prepare_wait,
	.wait = ch_wait,
	.wake = ch_wake,
};

static int ch_open(struct sr_hypervisor *hv, struct sr_evtchn **ev)
{
	ch.base.ops = &ch_ops;
	ch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ch.waits = ch.broken = 0;
	ch.waked = false;
	for (unsigned port = 0; port < PORTS; port++)
		ch.pending[port] = ch.masked[port] = false;
	*ev = &ch.base;
	return 0;
}

static unsigned waits(void)
{
	unsigned n;

	pthread_mutex_lock(&ch.lock);
	n = ch.waits;
	pthread_mutex_unlock(&ch.lock);
	return n;
}

/* --- a thread with a source or two --------------------------------------------------------------
 */

/* Work is what `asked` is ahead of `done`. */
struct worker {
	struct sr_source source;
	unsigned asked, done, polls;
	bool pauses; /* after each request */
	sem_t answered;
};

static unsigned worker_poll(struct sr_source *source, uint64_t now)
{
	struct worker *w = (struct worker *)(void *)source;
	unsigned n = __atomic_load_n(&w->asked, __ATOMIC_ACQUIRE) - w->done;

	w->done += n;
	w->polls++;
	source->pausing = n && w->pauses;
	for (unsigned i = 0; i < n; i++)
		sem_post(&w->answered);
	return n;
}

static bool worker_arm(struct sr_source *source)
{
	struct worker *w = (struct worker *)(void *)source;

	return __atomic_load_n(&w->asked, __ATOMIC_ACQUIRE) != w->done;
}

static const struct sr_source_ops worker_ops = { worker_poll, worker_arm };

static struct fixture {
	struct sr_thread *thread;
	struct worker workers[2];
	int fds[2];
} fx;

static void add_all(void *arg)
{
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(sr_thread_add(fx.thread, &fx.workers[i].source, i + 1, fx.fds[i]),
				 0);
}

static void remove_all(void *arg)
{
	for (unsigned i = 0; i < 2; i++)
		sr_thread_remove(fx.thread, &fx.workers[i].source);
}

static void start(bool can_wait)
{
	static const struct sr_hypervisor_ops hv_ops = { .evtchn_open = ch_open };
	static struct sr_hypervisor hv = { .ops = &hv_ops };
	struct sr_thread_options options = { .cpu = -1 };

	fx = (struct fixture){ .fds = { -1, -1 } };
	ch.can_wait = can_wait;
	for (unsigned i = 0; i < 2; i++) {
		fx.workers[i].source.ops = &worker_ops;
		sem_init(&fx.workers[i].answered, 0, 0);
	}
	fx.fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(sr_thread_start(&hv, &options, &fx.thread), 0);
}

static void stop(void)
{
	sr_thread_call(fx.thread, remove_all, NULL);
	sr_thread_stop(fx.thread);
	close(fx.fds[1]);
	for (unsigned i = 0; i < 2; i++)
		sem_destroy(&fx.workers[i].answered);
	assert_int_equal(ch.broken, 0);
}

static void ask(unsigned i)
{
	__atomic_add_fetch(&fx.workers[i].asked, 1, __ATOMIC_RELEASE);
	ch_notify(&ch.base, i + 1);
}

static void await(unsigned i)
{
	while (sem_wait(&fx.workers[i].answered))
		;
}

static void rest(void *arg)
{
	fx.workers[1].source.fd_rests = *(bool *)arg;
	sr_thread_wake(fx.thread, &fx.workers[1].source);
}

/* Says whether worker 1's descriptor may wake it. */
static void set_rests(bool rests)
{
	sr_thread_call(fx.thread, rest, &rests);
}

static void single_events_are_waited_for(void **state)
{
	start(true);
	sr_thread_call(fx.thread, add_all, NULL);
	set_rests(true);
	for (unsigned n = 0; n < 1000; n++) {
		ask(n % 2);
		await(n % 2);
	}
	/* All but those of the beginning, and those that found the work before they slept. */
	assert_in_range(waits(), 1, 1000);
	stop();
}

static void without_such_a_wait_the_descriptor_does(void **state)
{
	start(false);
	sr_thread_call(fx.thread, add_all, NULL);
	set_rests(true);
	for (unsigned n = 0; n < 1000; n++) {
		ask(n % 2);
		await(n % 2);
	}
	assert_int_equal(waits(), 0);
	stop();
}

static void a_pause_needs_no_second_look(void **state)
{
	enum { REQUESTS = 1000 };

	start(true);
	fx.workers[0].pauses = true;
	sr_thread_call(fx.thread, add_all, NULL);
	set_rests(true);
	for (unsigned n = 0; n < REQUESTS; n++) {
		ask(0);
		await(0);
	}
	stop();
	/* One that comes just as the source is armed may be found before its event. */
	assert_in_range(fx.workers[0].polls, REQUESTS, 2 * REQUESTS - 1);
}

/* Makes the thread wait for single events, as it does after some of them. */
static void settle(void)
{
	unsigned before = waits();

	while (waits() == before) {
		ask(0);
		await(0);
	}
}

static void a_descriptor_that_is_awaited_wakes(void **state)
{
	unsigned before;

	start(true);
	sr_thread_call(fx.thread, add_all, NULL);
	for (unsigned n = 0; n < 50; n++) {
		set_rests(true);
		settle();
		set_rests(false);
		before = waits();
		/* No event tells of this work, only the descriptor. */
		__atomic_add_fetch(&fx.workers[1].asked, 1, __ATOMIC_RELEASE);
		eventfd_write(fx.fds[1], 1);
		await(1);
		for (unsigned i = 0; i < 20; i++) {
			ask(0);
			await(0);
		}
		assert_int_equal(waits(), before);
		eventfd_read(fx.fds[1], &(eventfd_t){ 0 });
	}
	stop();
}

static void a_thread_that_waits_can_be_stopped(void **state)
{
	for (unsigned n = 0; n < 50; n++) {
		start(true);
		sr_thread_call(fx.thread, add_all, NULL);
		set_rests(true);
		settle();
		stop();
	}
}

/* --- all at once --------------------------------------------------------------------------------
 */

#define ROUNDS 4000u

static void nothing(void *arg)
{
	++*(unsigned *)arg;
}

/* Each call comes back only if the thread has woken up for it. */
static void *call_often(void *arg)
{
	for (unsigned n = 0; n < ROUNDS; n++)
		sr_thread_call(fx.thread, nothing, arg);
	return NULL;
}

static void *ask_often(void *arg)
{
	unsigned i = *(unsigned *)arg;

	for (unsigned n = 0; n < ROUNDS; n++) {
		ask(i);
		await(i);
	}
	return NULL;
}

static void no_wake_up_is_lost(void **state)
{
	void *(*const what[])(void *) = { call_often, call_often, ask_often, ask_often };
	unsigned args[] = { 0, 0, 0, 1 };
	pthread_t threads[4];

	start(true);
	sr_thread_call(fx.thread, add_all, NULL);
	set_rests(true);
	/* Events of one source beside mail; then of two, which changes the kind of sleep often. */
	for (unsigned count = 3; count <= 4; count++) {
		args[0] = args[1] = 0;
		settle();
		for (unsigned i = 0; i < count; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, what[i], &args[i]), 0);
		for (unsigned i = 0; i < count; i++)
			pthread_join(threads[i], NULL);
		assert_int_equal(args[0], ROUNDS);
		assert_int_equal(args[1], ROUNDS);
	}
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_events_are_waited_for),
		cmocka_unit_test(without_such_a_wait_the_descriptor_does),
		cmocka_unit_test(a_pause_needs_no_second_look),
		cmocka_unit_test(a_descriptor_that_is_awaited_wakes),
		cmocka_unit_test(a_thread_that_waits_can_be_stopped),
		cmocka_unit_test(no_wake_up_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
