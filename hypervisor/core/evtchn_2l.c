/* SPDX-License-Identifier: MIT */
/*
 * Delivery by the 2-level ABI: a pending bit and a mask bit a port in shared_info, and a selector a
 * vcpu that says which words of pending bits to look at. The guest can write all of it; nothing
 * here is believed beyond whether to ring.
 */
#include "port.h"

#define BITS_PER_WORD (8 * sizeof(xen_ulong_t))

static xen_ulong_t bit_of(uint32_t n)
{
	return (xen_ulong_t)1 << (n % BITS_PER_WORD);
}

static bool test_and_set(xen_ulong_t *words, uint32_t n)
{
	xen_ulong_t *w = &words[n / BITS_PER_WORD];

	return __atomic_fetch_or(w, bit_of(n), __ATOMIC_SEQ_CST) & bit_of(n);
}

static bool test_and_clear(xen_ulong_t *words, uint32_t n)
{
	xen_ulong_t *w = &words[n / BITS_PER_WORD];

	return __atomic_fetch_and(w, ~bit_of(n), __ATOMIC_SEQ_CST) & bit_of(n);
}

static bool test(const xen_ulong_t *words, uint32_t n)
{
	return __atomic_load_n(&words[n / BITS_PER_WORD], __ATOMIC_SEQ_CST) & bit_of(n);
}

static void select_word(struct sr_domain *d, uint32_t vcpu, uint32_t port)
{
	struct vcpu_info *v = &sr_shared_info(d)->vcpu_info[vcpu];

	if (!test_and_set(&v->evtchn_pending_sel, port / BITS_PER_WORD))
		sr_vcpu_mark(d, vcpu);
}

bool sr_2l_set_pending(struct sr_domain *d, struct sr_port *p, uint32_t port)
{
	struct shared_info *s = sr_shared_info(d);

	/* Pending first, then the mask: pairs with the guest, which unmasks first and then looks.
	 */
	if (test_and_set(s->evtchn_pending, port) || test(s->evtchn_mask, port))
		return false;
	select_word(d, p->vcpu, port);
	return true;
}

bool sr_2l_unmask(struct sr_domain *d, struct sr_port *p, uint32_t port)
{
	struct shared_info *s = sr_shared_info(d);

	if (!test_and_clear(s->evtchn_mask, port) || !test(s->evtchn_pending, port))
		return false;
	select_word(d, p->vcpu, port);
	return true;
}

void sr_2l_clear_pending(struct sr_domain *d, uint32_t port)
{
	test_and_clear(sr_shared_info(d)->evtchn_pending, port);
}

bool sr_2l_is_pending(struct sr_domain *d, uint32_t port)
{
	return test(sr_shared_info(d)->evtchn_pending, port);
}
