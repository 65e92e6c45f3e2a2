/* SPDX-License-Identifier: MIT */
/*
 * Unmap notification (<embedded/notify.h>). A notice holds its port open, since its time may come
 * after a kill, when the kernel has closed the process's handles in an order of its own.
 */
#include <errno.h>
#include <stdlib.h>

#include "machine_impl.h"

#define NONE        UINT32_MAX
#define MAX_NOTICES 4096u /* of one domain */

struct sr_notice {
	struct sr_notice *next;
	uint32_t id;
	uint32_t offset; /* NONE: no byte is to be cleared */
	uint32_t frame;
	uint16_t domid;       /* whose frame */
	struct sr_port *port; /* NULL: no event is to be sent */
};

/* The frame behind a grant that the caller's domain has mapped now, and may write to. */
static int granted_frame(struct sr_machine *m, const struct sr_conn_state *c, uint16_t domid,
			 uint32_t ref, uint32_t *frame)
{
	struct sr_foreign *view = sr_core_domain_view(m->core, domid);
	const struct sr_active *act;

	if (!view || ref >= view->max_frames * SR_V1_PER_FRAME)
		return -EINVAL;
	act = &view->active[ref];
	if (!sr_active_writers(atomic_load_explicit(&act->word, memory_order_acquire)) ||
	    act->domid != c->dom->domid)
		return -EINVAL;
	*frame = act->frame;
	return 0;
}

static int find_page(struct sr_machine *m, const struct sr_conn_state *c,
		     const struct sr_em_notice *req, struct sr_notice *n)
{
	if (req->offset == NONE)
		return 0;
	if (req->offset >= SR_PAGE_SIZE)
		return -EINVAL;
	if (c->kind == SR_EM_GNTSHR) {
		n->domid = c->dom->domid;
		n->frame = req->frame;
		return sr_ranges_own(c, req->frame) ? 0 : -EINVAL;
	}
	if (req->domid >= DOMID_FIRST_RESERVED)
		return -EINVAL;
	n->domid = (uint16_t)req->domid;
	return granted_frame(m, c, n->domid, req->ref, &n->frame);
}

int sr_notices_add(struct sr_machine *m, struct sr_conn_state *c, const struct sr_em_notice *req,
		   struct sr_em_reply *reply)
{
	struct sr_notice *n;
	int err;

	if (c->dom->nr_notices >= MAX_NOTICES)
		return -ENOSPC;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->offset = req->offset;
	err = find_page(m, c, req, n);
	if (!err && req->port != NONE) {
		n->port = sr_ports_hold(c->dom, req->port);
		if (!n->port)
			err = -EINVAL;
	}
	if (err) {
		free(n);
		return err;
	}
	n->id = reply->notice = c->next_notice++;
	n->next = c->notices;
	c->notices = n;
	c->dom->nr_notices++;
	return 0;
}

/* Who granted the page may be gone: then nobody is left to look at the byte. */
static void clear_byte(struct sr_machine *m, const struct sr_notice *n)
{
	struct sr_foreign *view = sr_core_domain_view(m->core, n->domid);
	uint8_t *page = view ? sr_foreign_page(view, n->frame) : NULL;

	/* The peer writes there as it likes; this is one store. */
	if (page)
		__atomic_store_n(&page[n->offset], 0, __ATOMIC_RELEASE);
}

/* Fires the one at *at. */
static void fire(struct sr_machine *m, struct sr_conn_state *c, struct sr_notice **at)
{
	struct sr_notice *n = *at;

	*at = n->next;
	c->dom->nr_notices--;
	if (n->offset != NONE)
		clear_byte(m, n);
	if (n->port) {
		sr_ports_send(m, n->port);
		sr_ports_let_go(m, n->port);
	}
	free(n);
}

int sr_notices_fire(struct sr_machine *m, struct sr_conn_state *c, uint32_t id)
{
	for (struct sr_notice **at = &c->notices; *at; at = &(*at)->next) {
		if ((*at)->id != id)
			continue;
		fire(m, c, at);
		return 0;
	}
	return -ENOENT;
}

void sr_notices_fire_all(struct sr_machine *m, struct sr_conn_state *c)
{
	while (c->notices)
		fire(m, c, &c->notices);
}
