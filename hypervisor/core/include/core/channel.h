/* SPDX-License-Identifier: MIT */
/*
 * The fast path of a bound interdomain event channel: one cache line for each direction, shared
 * by the two ends and the machine process, so that an event to a busy receiver costs no system
 * call.
 *
 * All state of a direction is bits of ONE word, and every step is one read-modify-write of it.
 * So all steps are totally ordered (the word's modification order), and no fence is needed to
 * pair two locations. Why no wake-up is lost: the receiver sleeps only after sr_channel_arm()
 * found PENDING clear. A send ordered before that arm would have left PENDING set, so arm would
 * have seen it. A send ordered after it is either the first since, which sees ARMED without
 * PENDING and rings the doorbell, or follows one that did. What the sender wrote before the send
 * is visible to the receiver after take or arm: release and acquire on the same word, and
 * read-modify-writes by others in between continue the release sequence.
 *
 * A hostile peer can write the word as it likes. It can thereby lose or invent events of this
 * one channel, or send us the slow way; it reaches nothing else.
 */
#ifndef SR_CORE_CHANNEL_H
#define SR_CORE_CHANNEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SR_CHANNEL_PENDING 1u /* an event was sent and not taken */
#define SR_CHANNEL_ARMED   2u /* unmasked: the receiver wants the doorbell for the next event */
#define SR_CHANNEL_CLOSED  4u /* by the machine process: this pair is no more */
#define SR_CHANNEL_BELL    8u /* by the machine process: it rang, and not at this port's doorbell */

/* One direction. Zero bytes are a fresh one: not pending, masked, open. */
struct sr_channel_line {
	_Alignas(64) _Atomic uint32_t word;
};

/* A bound pair. lines[0] carries events to the end that allocated the port, lines[1] those to the
 * end that bound to it. */
struct sr_channel {
	struct sr_channel_line lines[2];
};

enum sr_channel_sent {
	SR_CHANNEL_QUIET, /* nothing more to do */
	SR_CHANNEL_RING,  /* write to the receiver's doorbell */
	SR_CHANNEL_SLOW,  /* ask the machine process (EVTCHNOP_send) */
};

/* Sender. Any number of threads. */
static inline enum sr_channel_sent sr_channel_send(struct sr_channel_line *line)
{
	/* Release: pairs with the acquire in take, arm and peek. */
	uint32_t old =
	    atomic_fetch_or_explicit(&line->word, SR_CHANNEL_PENDING, memory_order_acq_rel);

	if (old & SR_CHANNEL_CLOSED)
		return SR_CHANNEL_SLOW;
	return (old & (SR_CHANNEL_ARMED | SR_CHANNEL_PENDING)) == SR_CHANNEL_ARMED
		   ? SR_CHANNEL_RING
		   : SR_CHANNEL_QUIET;
}

/* Receiver: is there anything to take? One load, for polling. */
static inline bool sr_channel_peek(struct sr_channel_line *line)
{
	return atomic_load_explicit(&line->word, memory_order_acquire) & SR_CHANNEL_PENDING;
}

/* Receiver: take the event and mask the channel. True if there was one. */
static inline bool sr_channel_take(struct sr_channel_line *line)
{
	uint32_t gone = SR_CHANNEL_PENDING | SR_CHANNEL_ARMED | SR_CHANNEL_BELL;

	return atomic_fetch_and_explicit(&line->word, ~gone, memory_order_acq_rel) &
	       SR_CHANNEL_PENDING;
}

/*
 * Receiver: unmask. True: an event is pending already and nobody rings for it; the caller takes it
 * (or rings its own doorbell) before it sleeps.
 */
static inline bool sr_channel_arm(struct sr_channel_line *line)
{
	return atomic_fetch_or_explicit(&line->word, SR_CHANNEL_ARMED, memory_order_acq_rel) &
	       SR_CHANNEL_PENDING;
}

/* Receiver: mask, keeping what is pending. */
static inline void sr_channel_mask(struct sr_channel_line *line)
{
	atomic_fetch_and_explicit(&line->word, ~SR_CHANNEL_ARMED, memory_order_acq_rel);
}

/* Machine process: from now on every send of either end takes the slow way. */
static inline void sr_channel_close(struct sr_channel *ch)
{
	atomic_fetch_or_explicit(&ch->lines[0].word, SR_CHANNEL_CLOSED, memory_order_acq_rel);
	atomic_fetch_or_explicit(&ch->lines[1].word, SR_CHANNEL_CLOSED, memory_order_acq_rel);
}

/*
 * Machine process: like sr_channel_send(), and SR_CHANNEL_RING is for a bell that stands for many
 * lines. One ring an event: who waits on a descriptor and then reads it counts on that.
 */
static inline enum sr_channel_sent sr_channel_send_by_bell(struct sr_channel_line *line)
{
	uint32_t old = atomic_load_explicit(&line->word, memory_order_relaxed);
	uint32_t set;

	do
		set = old & SR_CHANNEL_PENDING ? 0 : SR_CHANNEL_PENDING | SR_CHANNEL_BELL;
	while (!atomic_compare_exchange_weak_explicit(&line->word, &old, old | set,
						      memory_order_acq_rel, memory_order_relaxed));
	return set && old & SR_CHANNEL_ARMED ? SR_CHANNEL_RING : SR_CHANNEL_QUIET;
}

/* Machine process: a sender has died. True: it may not have rung for the event that it sent. */
static inline bool sr_channel_recover(struct sr_channel_line *line)
{
	uint32_t waiting = SR_CHANNEL_PENDING | SR_CHANNEL_ARMED;

	/* What is not waiting now was rung for, or is taken by somebody who is awake. */
	if ((atomic_load_explicit(&line->word, memory_order_acquire) & waiting) != waiting)
		return false;
	atomic_fetch_or_explicit(&line->word, SR_CHANNEL_BELL, memory_order_acq_rel);
	return true;
}

/* Receiver: has the machine rung for this line? */
static inline bool sr_channel_belled(struct sr_channel_line *line)
{
	uint32_t sent = SR_CHANNEL_PENDING | SR_CHANNEL_BELL;

	return (atomic_load_explicit(&line->word, memory_order_acquire) & sent) == sent;
}

static inline bool sr_channel_closed(struct sr_channel_line *line)
{
	return atomic_load_explicit(&line->word, memory_order_acquire) & SR_CHANNEL_CLOSED;
}

_Static_assert(sizeof(struct sr_channel) == 128, "one line a direction");

#endif
