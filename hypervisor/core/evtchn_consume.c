/* SPDX-License-Identifier: MIT */
/* The consumer's side of both ABIs, for domains that read their event words themselves. */
#include <core/evtchn.h>

#define BITS_PER_WORD  (8 * sizeof(xen_ulong_t))
#define WORDS_PER_PAGE (SR_PAGE_SIZE / sizeof(event_word_t))

#define PENDING (1u << EVTCHN_FIFO_PENDING)
#define MASKED  (1u << EVTCHN_FIFO_MASKED)
#define LINKED  (1u << EVTCHN_FIFO_LINKED)
#define BUSY    (1u << EVTCHN_FIFO_BUSY)

static xen_ulong_t bit_of(uint32_t n)
{
	return (xen_ulong_t)1 << (n % BITS_PER_WORD);
}

static uint32_t consume_2l(struct sr_evtchn_consumer *con, sr_evtchn_handler *handle, void *ctx)
{
	struct vcpu_info *v = &con->info->vcpu_info[con->vcpu];
	uint32_t handled = 0;

	/* The flag before the selector, the selector before the bits: what is set after we looked
	 * sets the flag again. Pairs with the hypervisor, which writes them the other way round. */
	while (__atomic_exchange_n(&v->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST)) {
		xen_ulong_t sel = __atomic_exchange_n(&v->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);

		for (; sel; sel &= sel - 1) {
			unsigned w = (unsigned)__builtin_ctzl(sel);
			xen_ulong_t *pending = &con->info->evtchn_pending[w];
			xen_ulong_t todo =
			    __atomic_load_n(pending, __ATOMIC_SEQ_CST) &
			    ~__atomic_load_n(&con->info->evtchn_mask[w], __ATOMIC_SEQ_CST);

			if (con->own)
				todo &= con->own[w];
			for (; todo; todo &= todo - 1) {
				unsigned b = (unsigned)__builtin_ctzl(todo);

				__atomic_fetch_and(pending, ~bit_of(b), __ATOMIC_SEQ_CST);
				handle(ctx, (uint32_t)(w * BITS_PER_WORD + b));
				handled++;
			}
		}
	}
	return handled;
}

static event_word_t *word_of(const struct sr_evtchn_consumer *con, uint32_t port)
{
	uint32_t page = port / WORDS_PER_PAGE;

	if (page >= con->nr_array_pages)
		return NULL;
	return (event_word_t *)(con->mem + (con->array_gfns[page] << SR_PAGE_SHIFT)) +
	       port % WORDS_PER_PAGE;
}

/* Take the word off its queue; returns the next port, 0 at the end. BUSY: the hypervisor is
 * linking. */
static uint32_t unlink_word(event_word_t *word)
{
	event_word_t w = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	do
		w &= ~BUSY;
	while (!__atomic_compare_exchange_n(word, &w, w & ~(LINKED | EVTCHN_FIFO_LINK_MASK), false,
					    __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE));
	return w & EVTCHN_FIFO_LINK_MASK;
}

static uint32_t consume_queue(struct sr_evtchn_consumer *con, unsigned q, uint32_t *ready,
			      sr_evtchn_handler *handle, void *ctx)
{
	uint32_t port = con->head[q];
	event_word_t *word, w;

	if (port == 0)
		port = __atomic_load_n(&con->control->head[q], __ATOMIC_ACQUIRE);
	word = word_of(con, port);
	if (!word) {
		*ready &= ~(1u << q);
		return 0;
	}
	con->head[q] = unlink_word(word);
	if (con->head[q] == 0)
		*ready &= ~(1u << q);
	w = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	if (!(w & PENDING) || (w & MASKED))
		return 0;
	__atomic_fetch_and(word, ~PENDING, __ATOMIC_SEQ_CST);
	handle(ctx, port);
	return 1;
}

static uint32_t consume_fifo(struct sr_evtchn_consumer *con, sr_evtchn_handler *handle, void *ctx)
{
	struct vcpu_info *v = &con->info->vcpu_info[con->vcpu];
	uint32_t handled = 0, ready;

	while (__atomic_exchange_n(&v->evtchn_upcall_pending, 0, __ATOMIC_SEQ_CST)) {
		ready = __atomic_exchange_n(&con->control->ready, 0, __ATOMIC_SEQ_CST);
		while (ready) {
			handled +=
			    consume_queue(con, (unsigned)__builtin_ctz(ready), &ready, handle, ctx);
			/* A higher priority may have come up meanwhile. */
			ready |= __atomic_exchange_n(&con->control->ready, 0, __ATOMIC_SEQ_CST);
		}
	}
	return handled;
}

uint32_t sr_evtchn_consume(struct sr_evtchn_consumer *con, sr_evtchn_handler *handle, void *ctx)
{
	return con->control ? consume_fifo(con, handle, ctx) : consume_2l(con, handle, ctx);
}

void sr_evtchn_consumer_mask(struct sr_evtchn_consumer *con, uint32_t port)
{
	event_word_t *word;

	if (!con->control) {
		if (port < EVTCHN_2L_NR_CHANNELS)
			__atomic_fetch_or(&con->info->evtchn_mask[port / BITS_PER_WORD],
					  bit_of(port), __ATOMIC_SEQ_CST);
		return;
	}
	word = word_of(con, port);
	if (word)
		__atomic_fetch_or(word, MASKED, __ATOMIC_SEQ_CST);
}

/*
 * Unmask only what is not pending: what is, the hypervisor has to unmask, since it alone queues. If
 * an event came between our two looks, it may have seen the mask and not been raised: mask again,
 * and ask.
 */
static bool unmask_2l(struct sr_evtchn_consumer *con, uint32_t port)
{
	xen_ulong_t *mask = &con->info->evtchn_mask[port / BITS_PER_WORD];
	xen_ulong_t *pending = &con->info->evtchn_pending[port / BITS_PER_WORD];

	if (__atomic_load_n(pending, __ATOMIC_SEQ_CST) & bit_of(port))
		return true;
	__atomic_fetch_and(mask, ~bit_of(port), __ATOMIC_SEQ_CST);
	if (!(__atomic_load_n(pending, __ATOMIC_SEQ_CST) & bit_of(port)))
		return false;
	__atomic_fetch_or(mask, bit_of(port), __ATOMIC_SEQ_CST);
	return true;
}

bool sr_evtchn_consumer_unmask(struct sr_evtchn_consumer *con, uint32_t port)
{
	event_word_t *word, w;

	if (!con->control)
		return port < EVTCHN_2L_NR_CHANNELS && unmask_2l(con, port);
	word = word_of(con, port);
	if (!word)
		return false;
	w = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	do
		if (w & PENDING)
			return w & MASKED;
	while (!__atomic_compare_exchange_n(word, &w, w & ~MASKED, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST));
	return false;
}
