/* SPDX-License-Identifier: MIT */
#ifndef SR_COMMON_REACTOR_H
#define SR_COMMON_REACTOR_H

/*
 * The queue threads. A thread serves any number of sources (a source is a queue of a device), each
 * with its event channel and perhaps a file descriptor. A source is active or idle: active ones
 * are polled in turn, each within its own budget, idle ones cost nothing.
 *
 *   event, descriptor or mail -> active -> polled; no work for a while -> arm() -> idle
 *
 * The event channel of a source is unmasked only when it goes idle: that is what throttles a guest
 * that sends a storm of events. A thread without active sources sleeps: on all its descriptors, or
 * where only events and mail can wake it, and one event did each of the last times, in
 * sr_evtchn_wait(), which is cheaper for a single one.
 *
 * Threads: a source belongs to its thread; everything that takes one is called there, by mail.
 */

#include <stdbool.h>
#include <stdint.h>

#include <common/clock.h>

struct sr_hypervisor;
struct sr_evtchn;
struct sr_thread;
struct sr_source;

struct sr_source_ops {
	/*
	 * Does what there is to do, up to its budget. Returns how much that was; 0: nothing. `now`
	 * is the thread's clock. It may remove its own source, no other.
	 */
	unsigned (*poll)(struct sr_source *source, uint64_t now);
	/*
	 * About to go idle: ask the other end for an event, look again. True: there is more to do,
	 * or what is awaited can't wake the thread.
	 */
	bool (*arm)(struct sr_source *source);
};

struct sr_source {
	const struct sr_source_ops *ops;
	/* Set before it is added: its fd wakes it also while the thread is busy with others. */
	bool watched;
	/*
	 * For poll() to say: that was all there was, and after it comes a pause. Where spinning
	 * does not pay the source is armed without another look.
	 */
	bool pausing;
	/* For arm() to say: nothing is awaited from its fd, until the source is polled again. */
	bool fd_rests;
	/* The thread's own. */
	struct sr_source *next, *prev; /* in the active list */
	uint64_t last_work;
	uint64_t events; /* received; readable from other threads */
	uint32_t port;
	int fd;
	bool active, masked, added, fd_awaited;
};

/* --- mail: a call that another thread makes -----------------------------------------------------
 */

/* Owned by its poster until run is called; it may be posted again from then on. */
struct sr_mail {
	void (*run)(void *arg);
	void *arg;
	struct sr_mail *next;
};

struct sr_mailbox {
	struct sr_mail *head; /* atomic; the latest first */
	int fd;               /* readable when there is mail */
};

int sr_mailbox_init(struct sr_mailbox *box);
void sr_mailbox_destroy(struct sr_mailbox *box);
/* From any thread. */
void sr_mailbox_post(struct sr_mailbox *box, struct sr_mail *mail);
/* In the owner's thread: runs all that has come, in the order of posting. */
void sr_mailbox_run(struct sr_mailbox *box);

static inline bool sr_mailbox_has_mail(const struct sr_mailbox *box)
{
	return __atomic_load_n(&box->head, __ATOMIC_RELAXED) != NULL;
}

/* --- threads ------------------------------------------------------------------------------------
 */

/* How a backend's threads wait for work, for its options. */
enum sr_poll_mode {
	SR_POLL_ADAPTIVE,  /* spins while it pays, then sleeps: the default */
	SR_POLL_ALWAYS,    /* never sleeps while a device is connected */
	SR_POLL_INTERRUPT, /* sleeps as soon as there is nothing to do */
};

struct sr_thread_options {
	const char *name; /* shown by ps; 15 bytes */
	int cpu;          /* to pin it to; -1: none */
	bool always;      /* never sleep while there is a source */
	unsigned spin_us; /* the longest spin without work before a sleep; 0: none */
	int nice;         /* as of setpriority(2); where it is not allowed, nothing happens */
};

/* Counters that any thread may read. */
struct sr_thread_stats {
	uint64_t loops, busy_loops, sleeps, wakeups, sources;
	uint64_t spin_ns; /* the present one */
};

/* Starts a thread, which opens an event channel handle of its own. */
int sr_thread_start(struct sr_hypervisor *hv, const struct sr_thread_options *options,
		    struct sr_thread **thread);
/* All sources are removed before. Runs what mail there is, then ends. NULL is allowed. */
void sr_thread_stop(struct sr_thread *thread);

void sr_thread_post(struct sr_thread *thread, struct sr_mail *mail);
/* Runs fn(arg) in the thread and waits for it. Not from that thread itself. */
void sr_thread_call(struct sr_thread *thread, void (*fn)(void *arg), void *arg);

const struct sr_thread_stats *sr_thread_stats(const struct sr_thread *thread);
/* Its CPU time in ns. */
uint64_t sr_thread_cpu_ns(const struct sr_thread *thread);

/* --- in the thread itself -----------------------------------------------------------------------
 */

struct sr_evtchn *sr_thread_evtchn(struct sr_thread *thread);
const struct sr_clock *sr_thread_clock(const struct sr_thread *thread);
/* Reads the clock, for the thread as well: from now on this is when things happen. */
uint64_t sr_thread_tick(struct sr_thread *thread);

/*
 * Adds a source, active at first, with its bound port and an fd that wakes it (or -1). -ENOMEM.
 * What `fd` says is looked at only while the thread sleeps, unless the source is watched.
 */
int sr_thread_add(struct sr_thread *thread, struct sr_source *source, uint32_t port, int fd);
/* Before its port is unbound and its fd closed. */
void sr_thread_remove(struct sr_thread *thread, struct sr_source *source);
/* Makes a source active. */
void sr_thread_wake(struct sr_thread *thread, struct sr_source *source);

#endif
