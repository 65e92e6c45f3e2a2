/* SPDX-License-Identifier: MIT */
#include <capture/ring.h>

#include <errno.h>
#include <string.h>

#define MAGIC 0x31706373u /* "scp1" */

_Static_assert(sizeof(struct sr_capture_record) == SR_CAPTURE_ALIGN,
	       "a header finds room wherever a record may begin");

size_t sr_capture_ring_bytes(uint64_t size)
{
	return (sizeof(struct sr_capture_ring) + size + 4095) & ~(size_t)4095;
}

/* --- writing ------------------------------------------------------------------------------------
 */

void sr_capture_writer_init(struct sr_capture_writer *w, void *memory, uint64_t size,
			    uint32_t snaplen)
{
	struct sr_capture_ring *ring = memory;

	ring->magic = MAGIC;
	ring->snaplen = snaplen;
	ring->size = size;
	ring->total = sr_capture_ring_bytes(size);
	*w = (struct sr_capture_writer){
		.ring = ring, .size = size, .limit = size, .snaplen = snaplen
	};
}

/* Is there room up to `end`? The reader's index is looked at only when there seems to be none. */
static bool room(struct sr_capture_writer *w, uint64_t end)
{
	uint64_t tail;

	if (end <= w->limit)
		return true;
	/* Acquire: the reader has done with the bytes (sr_capture_next). */
	tail = __atomic_load_n(&w->ring->tail, __ATOMIC_ACQUIRE);
	/* One that can't be leaves it as full as it was. */
	if (w->published - tail > w->size || tail + w->size < w->limit)
		return false;
	w->limit = tail + w->size;
	return end <= w->limit;
}

struct sr_capture_record *sr_capture_begin(struct sr_capture_writer *w, uint32_t length)
{
	uint32_t captured = length < w->snaplen ? length : w->snaplen;
	uint64_t size = sizeof(struct sr_capture_record) + (uint64_t)captured;
	uint64_t at = w->head & (w->size - 1), gap;
	struct sr_capture_record *record = (void *)(w->ring->data + at);

	size = (size + SR_CAPTURE_ALIGN - 1) & ~(uint64_t)(SR_CAPTURE_ALIGN - 1);
	gap = at + size > w->size ? w->size - at : 0;
	if (size > w->size || !room(w, w->head + gap + size))
		return NULL;
	if (gap) {
		record->size = (uint32_t)gap;
		record->id = 0;
		w->head += gap;
		record = (void *)w->ring->data;
	}
	record->size = (uint32_t)size;
	record->captured = captured;
	record->length = length;
	w->head += size;
	return record;
}

void sr_capture_rewind(struct sr_capture_writer *w, uint64_t head)
{
	w->head = head;
}

void sr_capture_publish(struct sr_capture_writer *w)
{
	w->published = w->head;
	/* Release: the records are complete before the reader sees them (sr_capture_peek). */
	__atomic_store_n(&w->ring->head, w->head, __ATOMIC_RELEASE);
}

static struct sr_capture_count *find_count(struct sr_capture_writer *w, uint64_t id)
{
	uint64_t at = (id * UINT64_C(0x9e3779b97f4a7c15)) >> 54;

	for (unsigned i = 0; i < SR_CAPTURE_INTERFACES; i++) {
		struct sr_capture_count *count = &w->ring->counts[(at + i) % SR_CAPTURE_INTERFACES];

		if (!count->id)
			__atomic_store_n(&count->id, id, __ATOMIC_RELEASE);
		if (count->id == id)
			return count;
	}
	return &w->ring->counts[SR_CAPTURE_INTERFACES];
}

void sr_capture_count(struct sr_capture_writer *w, uint64_t id, uint64_t seen, uint64_t missed)
{
	struct sr_capture_count *count = w->last;

	if (!count || count->id != id)
		count = w->last = find_count(w, id);
	/* We alone write them. */
	__atomic_store_n(&count->seen, count->seen + seen, __ATOMIC_RELAXED);
	__atomic_store_n(&count->missed, count->missed + missed, __ATOMIC_RELAXED);
}

/* --- reading ------------------------------------------------------------------------------------
 */

int sr_capture_reader_init(struct sr_capture_reader *r, void *memory, size_t bytes)
{
	struct sr_capture_ring *ring = memory;

	if (bytes < sizeof(*ring) || ring->magic != MAGIC || ring->total > bytes ||
	    ring->size < SR_CAPTURE_ALIGN || ring->size & (ring->size - 1) ||
	    ring->size > bytes - sizeof(*ring))
		return -EPROTO;
	*r = (struct sr_capture_reader){ .ring = ring, .size = ring->size };
	return 0;
}

int sr_capture_peek(struct sr_capture_reader *r, const struct sr_capture_record **out)
{
	const struct sr_capture_record *record;

	for (;;) {
		uint64_t at = r->tail & (r->size - 1);

		*out = NULL;
		if (r->tail == r->head) {
			/* Acquire: pairs with sr_capture_publish(). */
			r->head = __atomic_load_n(&r->ring->head, __ATOMIC_ACQUIRE);
			if (r->tail == r->head)
				return 0;
			if (r->head - r->tail > r->size)
				return -EPROTO;
		}
		record = (const void *)(r->ring->data + at);
		if (record->size < sizeof(*record) || record->size % SR_CAPTURE_ALIGN ||
		    record->size > r->size - at || record->size > r->head - r->tail)
			return -EPROTO;
		if (record->id)
			break;
		sr_capture_next(r);
	}
	if (record->captured > record->size - sizeof(*record))
		return -EPROTO;
	*out = record;
	return 0;
}

void sr_capture_next(struct sr_capture_reader *r)
{
	const struct sr_capture_record *record =
	    (const void *)(r->ring->data + (r->tail & (r->size - 1)));

	r->tail += record->size;
	/* Release: pairs with room(). */
	__atomic_store_n(&r->ring->tail, r->tail, __ATOMIC_RELEASE);
}

bool sr_capture_read_count(const struct sr_capture_reader *r, unsigned index,
			   struct sr_capture_count *count)
{
	const struct sr_capture_count *from = &r->ring->counts[index];

	count->id = __atomic_load_n(&from->id, __ATOMIC_ACQUIRE);
	count->seen = __atomic_load_n(&from->seen, __ATOMIC_RELAXED);
	count->missed = __atomic_load_n(&from->missed, __ATOMIC_RELAXED);
	return count->seen != 0;
}
