/* SPDX-License-Identifier: MIT */
#ifndef SR_BLK_LEDGER_H
#define SR_BLK_LEDGER_H

/*
 * The back end of one ring together with a record of it in memory that outlives the process, so
 * that a process killed at any instruction is followed by one that goes on: no request is lost,
 * none is answered twice, and the guest sees a pause.
 *
 * The record
 * ----------
 * Requests and responses are counted in 64 bits from the start of the connection; the low 32 bits
 * are the ring's indices. The record holds
 *
 *	T   taken: requests numbered below T have been taken from the ring
 *	A   answered: responses numbered below A are known to be published
 *
 * and a slot of N (the ring's size) for each request in hand:
 *
 *	take      1 + the request's number, 0 in a slot never used
 *	answer    1 + the number of its response, 0 while it has none
 *	request   the request as it was copied out of the ring
 *
 * In hand are, by definition, the slots with 0 < take <= T and (answer == 0 or answer > A).
 *
 * The steps, and why a kill between any two stores does no harm
 * -------------------------------------------------------------
 * A killed process has done a prefix of its stores in program order: later ones have not
 * happened, earlier ones are seen by whoever maps the memory next (the kernel's teardown of the
 * process orders it). So only the compiler must keep the order, which the release stores do.
 *
 * take:	1. take := T' + 1 (T' counts on from T)    the slot was free: now take > T, so it
 *		2. answer := 0, request := the copy        is not in hand, whatever else it holds
 *	commit:	3. T := T'                                 all requests of the batch, at once
 *
 *	Killed before 3: none of the batch is in hand. Nothing of it has been executed, and its ring
 *	slots are untouched, as a response is only written into the slot of a request below T. The
 *	next process sets their take to 0, since the numbers will be given again, and takes them
 *	anew. Killed after 3: all of them are in hand.
 *
 * answer:	4. answer := R + 1 (R counts on from A), the response into ring slot R
 * publish:	5. shared rsp_prod := (32 bits of) R'      the one store by which the guest learns
 *		6. A := R'
 *	The slots may be used for other requests only after 6.
 *
 *	Killed before 5: the guest has seen nothing; rsp_prod is still A, so the slots are in hand
 *	and are executed again. Killed between 5 and 6: rsp_prod is R' and not A; the slots with
 *	answer > A are exactly those that it covers, as 4 was done for all of them. The next process
 *	does 6 and they are no longer in hand. After 6 the same holds without looking at rsp_prod.
 *
 *	Slots with answer > A number n: so rsp_prod must be A, or A + n. Anything else is the guest
 *	writing where it must not: the device is disconnected. A guest that fakes A + n only
 *	loses its own responses.
 *
 * What is executed twice
 * ----------------------
 * Requests in hand are executed again in the order in which they were taken, through the same
 * path, so a barrier still waits for what was before it, and what was behind it waits for the
 * barrier. Reads, writes, flushes and discards can be repeated: until it has the response, a guest
 * can't know of any order between a request and others in flight beside it. That the old process'
 * writes can't land later on is the kernel's part: a process is not gone (its parent can't wait for
 * it, its locks on the image are not released) before its I/O in flight has ended.
 *
 * A notification may be lost between 5 and the event: the next process always sends one.
 */

#include <stdbool.h>
#include <stdint.h>

#include <ring/blkif.h>

#include <record_store.h>

#define SR_RECORD_MAGIC   0x315245534b4c4253u /* "SBLKSER1" */
#define SR_RECORD_VERSION 1u
#define SR_RECORD_QUEUES  16u
#define SR_RECORD_REFS    (1u << SR_BLKIF_MAX_RING_ORDER)

struct sr_record_slot {
	uint64_t take, answer;
	struct sr_blkif_request request;
};
_Static_assert(sizeof(struct sr_record_slot) == 128, "two cache lines");

struct sr_record_queue {
	uint64_t taken __attribute__((aligned(64)));
	uint64_t answered;
	struct sr_record_slot slots[] __attribute__((aligned(64)));
};

/* How a device was connected, so that the next process needs nothing from the guest's nodes. */
struct sr_record_queue_setup {
	uint32_t refs[SR_RECORD_REFS];
	uint32_t port; /* the frontend's */
};

/* The first page of a device's memory; its queues follow. */
struct sr_record {
	uint64_t magic;
	uint32_t version;
	uint32_t connected; /* 1: the rest is valid and the guest may have sent requests */
	uint32_t queues, order, abi, persistent;
	struct sr_record_queue_setup setup[SR_RECORD_QUEUES];
};

/* Bytes of a device's record, and the offset of queue `index` in it. */
size_t sr_record_size(unsigned queues, uint32_t ring_size);
struct sr_record_queue *sr_record_queue(struct sr_record *record, unsigned index,
					uint32_t ring_size);
/*
 * Is this a record of a connected device that we can go on with? `size`: of its memory. -ENOENT:
 * never connected; -EINVAL: another version, or it contradicts itself.
 */
int sr_record_check(const struct sr_record *record, size_t size);

struct sr_ledger {
	struct sr_blkif_back back;
	struct sr_record_queue *rec;
	uint64_t taken, answered; /* as in the record, but counting the batch at hand too */
	uint64_t published;
};

/*
 * Begins on a new connection: an empty record, positions from the ring. -EINVAL as for
 * sr_blkif_back_attach().
 */
int sr_ledger_begin(struct sr_ledger *j, struct sr_record_queue *rec, void *pages, unsigned order,
		    enum sr_blkif_abi abi);

/*
 * Goes on after a killed process. in_hand[] (room for the ring's size) gets the slots whose
 * requests are to be executed again, in this order, *count how many. -EPROTO: the shared
 * indices are impossible; -EINVAL: the record contradicts itself.
 */
int sr_ledger_resume(struct sr_ledger *j, struct sr_record_queue *rec, void *pages, unsigned order,
		     enum sr_blkif_abi abi, uint16_t *in_hand, unsigned *count);

/* Step 1 and 2: takes the next request into a free slot. */
static inline struct sr_blkif_request *sr_ledger_take(struct sr_ledger *j, unsigned slot)
{
	struct sr_record_slot *s = &j->rec->slots[slot];

	sr_record_store(&s->take, ++j->taken);
	sr_record_store(&s->answer, 0);
	sr_blkif_back_take(&j->back, &s->request);
	return &s->request;
}

/* Step 3, before the first request of the batch is executed. */
static inline void sr_ledger_commit(struct sr_ledger *j)
{
	sr_record_store(&j->rec->taken, j->taken);
}

/* Step 4. */
static inline void sr_ledger_answer(struct sr_ledger *j, unsigned slot, uint8_t operation,
				    int16_t status)
{
	struct sr_record_slot *s = &j->rec->slots[slot];

	sr_record_store(&s->answer, ++j->answered);
	sr_blkif_back_put(&j->back, s->request.id, operation, status);
}

/* Steps 5 and 6. The slots are free then. */
static inline void sr_ledger_publish(struct sr_ledger *j)
{
	if (j->answered == j->published)
		return;
	sr_ring_back_publish(&j->back.ring);
	sr_record_store(&j->rec->answered, j->answered);
	j->published = j->answered;
}

#endif
