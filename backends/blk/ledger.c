/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SR_RECORD_PAGE 4096u

static size_t queue_size(uint32_t ring_size)
{
	return sizeof(struct sr_record_queue) + ring_size * sizeof(struct sr_record_slot);
}

size_t sr_record_size(unsigned queues, uint32_t ring_size)
{
	size_t size = SR_RECORD_PAGE + queues * queue_size(ring_size);

	_Static_assert(sizeof(struct sr_record) <= SR_RECORD_PAGE, "the first page");
	return (size + SR_RECORD_PAGE - 1) & ~(size_t)(SR_RECORD_PAGE - 1);
}

struct sr_record_queue *sr_record_queue(struct sr_record *record, unsigned index,
					uint32_t ring_size)
{
	uint8_t *base = (uint8_t *)record + SR_RECORD_PAGE + index * queue_size(ring_size);

	return (struct sr_record_queue *)(void *)base;
}

int sr_record_check(const struct sr_record *record, size_t size)
{
	if (size < SR_RECORD_PAGE)
		return -EINVAL;
	if (record->magic == 0 || !__atomic_load_n(&record->connected, __ATOMIC_ACQUIRE))
		return -ENOENT;
	if (record->magic != SR_RECORD_MAGIC || record->version != SR_RECORD_VERSION ||
	    record->queues == 0 || record->queues > SR_RECORD_QUEUES ||
	    record->order > SR_BLKIF_MAX_RING_ORDER || record->abi > SR_BLKIF_ABI_ARM)
		return -EINVAL;
	if (size !=
	    sr_record_size(record->queues,
			   sr_blkif_ring_size((enum sr_blkif_abi)record->abi, record->order)))
		return -EINVAL;
	return 0;
}

int sr_ledger_begin(struct sr_ledger *j, struct sr_record_queue *rec, void *pages, unsigned order,
		    enum sr_blkif_abi abi)
{
	uint32_t rsp = sr_ring_shared_rsp_prod(pages);
	int rc;

	/* A frontend that reconnects with a used ring goes on at its rsp_prod. */
	rc = sr_blkif_back_attach(&j->back, pages, order, abi, rsp, rsp);
	if (rc)
		return rc;
	j->rec = rec;
	/* Counts begin above 0, so that 32 bits of them are the index and no take is ever 0. */
	j->taken = j->answered = j->published = ((uint64_t)1 << 32) + rsp;
	memset(rec, 0, queue_size(j->back.ring.size));
	sr_record_store(&rec->answered, j->answered);
	sr_record_store(&rec->taken, j->taken);
	return 0;
}

static bool in_hand_at(const struct sr_record_slot *s, uint64_t taken, uint64_t answered)
{
	return s->take != 0 && s->take <= taken && (s->answer == 0 || s->answer > answered);
}

/* Was the batch that the dead process was publishing seen by the guest? Then that is step 6. */
static int find_answered(struct sr_record_queue *rec, uint32_t size, uint32_t shared_rsp)
{
	uint64_t unsure = 0;

	for (uint32_t i = 0; i < size; i++)
		if (in_hand_at(&rec->slots[i], rec->taken, rec->answered) && rec->slots[i].answer)
			unsure++;
	if (shared_rsp == (uint32_t)rec->answered)
		return 0;
	if (shared_rsp != (uint32_t)(rec->answered + unsure))
		return -EPROTO;
	sr_record_store(&rec->answered, rec->answered + unsure);
	return 0;
}

static int by_take(const void *a, const void *b, void *arg)
{
	const struct sr_record_queue *rec = arg;
	uint64_t x = rec->slots[*(const uint16_t *)a].take,
		 y = rec->slots[*(const uint16_t *)b].take;

	return x < y ? -1 : x > y;
}

int sr_ledger_resume(struct sr_ledger *j, struct sr_record_queue *rec, void *pages, unsigned order,
		     enum sr_blkif_abi abi, uint16_t *in_hand, unsigned *count)
{
	uint32_t size = sr_blkif_ring_size(abi, order);
	unsigned n = 0;
	int rc;

	if (rec->taken - rec->answered > size)
		return -EINVAL;
	rc = find_answered(rec, size, sr_ring_shared_rsp_prod(pages));
	if (rc)
		return rc;
	for (uint32_t i = 0; i < size; i++) {
		struct sr_record_slot *s = &rec->slots[i];

		/* Of a batch that was not committed: its numbers will be given again. */
		if (s->take > rec->taken)
			sr_record_store(&s->take, 0);
		if (!in_hand_at(s, rec->taken, rec->answered))
			continue;
		/* Its number may go to another response now. */
		sr_record_store(&s->answer, 0);
		in_hand[n++] = (uint16_t)i;
	}
	/* Every request below T has been answered below A, or is in hand. */
	if (n != rec->taken - rec->answered)
		return -EINVAL;
	rc = sr_blkif_back_attach(&j->back, pages, order, abi, (uint32_t)rec->answered,
				  (uint32_t)rec->taken);
	if (rc)
		return -EPROTO;
	qsort_r(in_hand, n, sizeof(*in_hand), by_take, rec);
	j->rec = rec;
	j->taken = rec->taken;
	j->answered = j->published = rec->answered;
	*count = n;
	return 0;
}
