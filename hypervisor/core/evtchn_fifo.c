/* SPDX-License-Identifier: MIT */
/*
 * Delivery by the FIFO ABI. Each port has an event word in pages of the domain's memory; a pending
 * port is linked to the tail of the queue of its priority on its vcpu, whose head the guest finds
 * in the control block.
 *
 * Both lie in memory that the guest can write. We keep the tails ourselves, never follow a link,
 * and bound every loop; a guest that plays with its words mislays its own events.
 */
#include "port.h"

#include <errno.h>
#include <stdlib.h>

#define PENDING (1u << EVTCHN_FIFO_PENDING)
#define MASKED  (1u << EVTCHN_FIFO_MASKED)
#define LINKED  (1u << EVTCHN_FIFO_LINKED)
#define BUSY    (1u << EVTCHN_FIFO_BUSY)

#define LINK_TRIES 4

static event_word_t *word_of(const struct sr_domain *d, uint32_t port)
{
	event_word_t *page = d->fifo->array[port / SR_FIFO_WORDS_PER_PAGE];

	return page ? &page[port % SR_FIFO_WORDS_PER_PAGE] : NULL;
}

/* 1: `word` now links to `port`; 0: it is linked no more (the queue is empty); -1: it keeps
 * changing. */
static int try_link(event_word_t *word, uint32_t port)
{
	event_word_t w = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	if (!(w & LINKED))
		return 0;
	return __atomic_compare_exchange_n(word, &w, (w & ~(BUSY | EVTCHN_FIFO_LINK_MASK)) | port,
					   false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)
		   ? 1
		   : -1;
}

/*
 * Link the tail to `port`, if the tail is still queued. BUSY asks the guest to keep off the word;
 * one which does not gets the event lost at the end of its own queue, as if it had been linked.
 */
static bool link_tail(event_word_t *word, uint32_t port)
{
	int ret = try_link(word, port);

	if (ret >= 0)
		return ret;
	__atomic_fetch_or(word, BUSY, __ATOMIC_SEQ_CST);
	for (int i = 0; i < LINK_TRIES && ret < 0; i++)
		ret = try_link(word, port);
	if (ret != 1)
		__atomic_fetch_and(word, ~BUSY, __ATOMIC_SEQ_CST);
	return ret != 0;
}

/* True: the vcpu has to be told. */
static bool enqueue(struct sr_domain *d, struct sr_port *p, uint32_t port, event_word_t *word)
{
	struct sr_fifo_vcpu *v = &d->fifo->vcpu[p->vcpu], *old = &d->fifo->vcpu[p->last_vcpu];
	struct evtchn_fifo_control_block *control = v->control;
	uint32_t *tail = &v->tail[p->priority];

	if (!control)
		return false;
	if (__atomic_fetch_or(word, LINKED, __ATOMIC_SEQ_CST) & LINKED)
		return false;
	/* It was taken off its old queue. If it was the tail there, that queue is empty, and
	 * linking to this word from there would now corrupt the new one. */
	if (old->tail[p->last_priority] == port)
		old->tail[p->last_priority] = 0;
	p->last_vcpu = p->vcpu;
	p->last_priority = p->priority;
	if (!*tail || !link_tail(word_of(d, *tail), port)) {
		__atomic_store_n(&control->head[p->priority], port, __ATOMIC_RELEASE);
		*tail = port;
		if (!(__atomic_fetch_or(&control->ready, 1u << p->priority, __ATOMIC_SEQ_CST) &
		      (1u << p->priority)))
			sr_vcpu_mark(d, p->vcpu);
		return true;
	}
	*tail = port;
	return true;
}

bool sr_fifo_set_pending(struct sr_domain *d, struct sr_port *p, uint32_t port)
{
	event_word_t *word = word_of(d, port), w;

	if (!word) {
		p->pending = 1; /* raised when the array has grown so far */
		return false;
	}
	w = __atomic_fetch_or(word, PENDING, __ATOMIC_SEQ_CST);
	if (w & (MASKED | LINKED))
		return false;
	return enqueue(d, p, port, word);
}

bool sr_fifo_unmask(struct sr_domain *d, struct sr_port *p, uint32_t port)
{
	event_word_t *word = word_of(d, port);

	if (!word || !(__atomic_fetch_and(word, ~MASKED, __ATOMIC_SEQ_CST) & PENDING))
		return false;
	return sr_fifo_set_pending(d, p, port);
}

/* The word stays linked: the guest takes it off the queue and finds nothing pending. */
void sr_fifo_clear_pending(struct sr_domain *d, struct sr_port *p, uint32_t port)
{
	event_word_t *word = word_of(d, port);

	p->pending = 0;
	if (word)
		__atomic_fetch_and(word, ~PENDING, __ATOMIC_SEQ_CST);
}

/* Events which came by the 2-level ABI and were not taken must not get lost. */
static void carry_over(struct sr_core *core, struct sr_domain *d, uint32_t limit_2l)
{
	for (uint32_t port = 1; port < limit_2l; port++) {
		struct sr_port *p = sr_port_of(d, port);

		if (!p)
			continue;
		p->priority = EVTCHN_FIFO_PRIORITY_DEFAULT;
		p->last_vcpu = 0;
		p->last_priority = 0;
		if (sr_2l_is_pending(d, port))
			sr_port_set_pending(core, d, port);
	}
}

int sr_core_evtchn_init_control(struct sr_core *core, uint16_t caller,
				struct evtchn_init_control *op)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	uint8_t *page;

	if (!d)
		return -ESRCH;
	if (d->channels)
		return -EOPNOTSUPP;
	if (op->vcpu >= d->nr_vcpus)
		return -ENOENT;
	page = sr_foreign_page(d->view, op->control_gfn);
	if (!page || op->offset > SR_PAGE_SIZE - sizeof(struct evtchn_fifo_control_block) ||
	    op->offset % 8)
		return -EINVAL;
	if (d->fifo && d->fifo->vcpu[op->vcpu].control)
		return -EINVAL;
	if (!d->fifo) {
		uint32_t limit_2l = sr_port_limit(d);

		d->fifo = calloc(1, sizeof(*d->fifo) + d->nr_vcpus * sizeof(d->fifo->vcpu[0]));
		if (!d->fifo)
			return -ENOMEM;
		carry_over(core, d, limit_2l);
	}
	d->fifo->vcpu[op->vcpu].control = (struct evtchn_fifo_control_block *)(page + op->offset);
	op->link_bits = EVTCHN_FIFO_LINK_BITS;
	return 0;
}

int sr_core_evtchn_expand_array(struct sr_core *core, uint16_t caller, uint64_t array_gfn)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	uint32_t first;
	uint8_t *page;

	if (!d)
		return -ESRCH;
	if (!d->fifo)
		return -EOPNOTSUPP;
	if (d->fifo->nr_pages == SR_FIFO_ARRAY_PAGES)
		return -ENOSPC;
	page = sr_foreign_page(d->view, array_gfn);
	if (!page)
		return -EINVAL;
	first = d->fifo->nr_pages * SR_FIFO_WORDS_PER_PAGE;
	d->fifo->array[d->fifo->nr_pages++] = (event_word_t *)page;
	for (uint32_t port = first; port < first + SR_FIFO_WORDS_PER_PAGE; port++) {
		struct sr_port *p = sr_port_of(d, port);

		if (p && p->pending) {
			p->pending = 0;
			sr_port_set_pending(core, d, port);
		}
	}
	return 0;
}

int sr_core_evtchn_set_priority(struct sr_core *core, uint16_t caller, uint32_t port,
				uint32_t priority)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	struct sr_port *p = d ? sr_port_of(d, port) : NULL;

	if (!p)
		return d ? -EINVAL : -ESRCH;
	if (!d->fifo)
		return -ENOSYS;
	if (priority > EVTCHN_FIFO_PRIORITY_MIN)
		return -EINVAL;
	p->priority = (uint8_t)priority;
	return 0;
}
