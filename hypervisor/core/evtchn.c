/* SPDX-License-Identifier: MIT */
/* Ports: allocation, closing, sending, and what can be asked of them. */
#include "port.h"

#include <errno.h>
#include <stdlib.h>

int sr_ports_init(struct sr_domain *d)
{
	d->chunks = calloc(SR_PORT_CHUNKS, sizeof(*d->chunks));
	d->virq_port = calloc((size_t)d->nr_vcpus * NR_VIRQS, sizeof(*d->virq_port));
	d->port_hint = 1; /* port 0 never exists */
	return d->chunks && d->virq_port ? 0 : -ENOMEM;
}

uint32_t sr_port_limit(const struct sr_domain *d)
{
	uint32_t abi = d->fifo || d->channels ? EVTCHN_FIFO_NR_CHANNELS : EVTCHN_2L_NR_CHANNELS;

	return d->max_ports < abi ? d->max_ports : abi;
}

struct sr_port *sr_port_slot(struct sr_domain *d, uint32_t port)
{
	struct sr_port *chunk;

	if (port == 0 || port >= sr_port_limit(d))
		return NULL;
	chunk = d->chunks[port / SR_PORTS_PER_CHUNK];
	return chunk ? &chunk[port % SR_PORTS_PER_CHUNK] : NULL;
}

struct sr_port *sr_port_of(struct sr_domain *d, uint32_t port)
{
	struct sr_port *p = sr_port_slot(d, port);

	return p && p->state != EVTCHNSTAT_closed ? p : NULL;
}

int sr_port_alloc(struct sr_domain *d, uint32_t *port, struct sr_port **out)
{
	uint32_t limit = sr_port_limit(d);

	for (uint32_t n = d->port_hint; n < limit; n++) {
		struct sr_port **chunk = &d->chunks[n / SR_PORTS_PER_CHUNK];
		struct sr_port *p;

		if (!*chunk)
			*chunk = calloc(SR_PORTS_PER_CHUNK, sizeof(**chunk));
		if (!*chunk)
			return -ENOMEM;
		p = &(*chunk)[n % SR_PORTS_PER_CHUNK];
		if (p->state != EVTCHNSTAT_closed)
			continue;
		/* Where the port was last linked outlives it: its word may still be a queue's tail.
		 */
		*p = (struct sr_port){ .priority = EVTCHN_FIFO_PRIORITY_DEFAULT,
				       .last_priority = p->last_priority,
				       .last_vcpu = p->last_vcpu };
		d->port_hint = n + 1;
		d->nr_ports++;
		*port = n;
		*out = p;
		return 0;
	}
	d->port_hint = limit;
	return -ENOSPC;
}

static void peer_unbound(struct sr_core *core, struct sr_domain *d, struct sr_port *p)
{
	struct sr_domain *remote = sr_domain_of(core, p->remote_domid);
	struct sr_port *r = remote ? sr_port_of(remote, p->remote_port) : NULL;

	if (!r)
		return;
	r->state = EVTCHNSTAT_unbound;
	r->remote_domid = d->domid;
	if (core->ops.unbound)
		core->ops.unbound(core->ctx, remote->domid, p->remote_port);
}

void sr_port_release(struct sr_core *core, struct sr_domain *d, uint32_t port)
{
	struct sr_port *p = sr_port_of(d, port);
	uint8_t state = p->state;

	if (state == EVTCHNSTAT_virq)
		for (uint32_t i = 0; i < d->nr_vcpus * NR_VIRQS; i++)
			if (d->virq_port[i] == port)
				d->virq_port[i] = 0;
	if (d->fifo)
		sr_fifo_clear_pending(d, p, port);
	else if (!d->channels)
		sr_2l_clear_pending(d, port);
	p->state = EVTCHNSTAT_closed;
	p->owner = SR_CONN_NONE;
	d->nr_ports--;
	if (port < d->port_hint)
		d->port_hint = port;
	if (state == EVTCHNSTAT_interdomain)
		peer_unbound(core, d, p);
}

static void close_all(struct sr_core *core, struct sr_domain *d, uint16_t owner)
{
	for (uint32_t i = 0; i < SR_PORT_CHUNKS; i++) {
		struct sr_port *chunk = d->chunks[i];

		for (uint32_t n = 0; chunk && n < SR_PORTS_PER_CHUNK; n++)
			if (chunk[n].state != EVTCHNSTAT_closed &&
			    (owner == SR_CONN_NONE || chunk[n].owner == owner))
				sr_port_release(core, d, i * SR_PORTS_PER_CHUNK + n);
	}
}

void sr_ports_owner_dead(struct sr_core *core, struct sr_domain *d, uint16_t conn)
{
	close_all(core, d, conn);
}

void sr_ports_destroy(struct sr_core *core, struct sr_domain *d)
{
	close_all(core, d, SR_CONN_NONE);
	for (uint32_t i = 0; i < SR_PORT_CHUNKS; i++) {
		free(d->chunks[i]);
		d->chunks[i] = NULL;
	}
	free(d->fifo);
	d->fifo = NULL;
}

void sr_port_set_pending(struct sr_core *core, struct sr_domain *d, uint32_t port)
{
	struct sr_port *p = sr_port_of(d, port);

	if (d->channels ||
	    (d->fifo ? sr_fifo_set_pending(d, p, port) : sr_2l_set_pending(d, p, port)))
		core->ops.deliver(core->ctx, d->domid, p->vcpu, port);
}

int sr_core_evtchn_close(struct sr_core *core, uint16_t caller, uint32_t port)
{
	struct sr_domain *d = sr_domain_of(core, caller);

	if (!d)
		return -ESRCH;
	if (!sr_port_of(d, port))
		return -EINVAL;
	sr_port_release(core, d, port);
	return 0;
}

int sr_core_evtchn_send(struct sr_core *core, uint16_t caller, uint32_t port)
{
	struct sr_domain *d = sr_domain_of(core, caller), *remote;
	struct sr_port *p = d ? sr_port_of(d, port) : NULL;

	if (!p)
		return d ? -EINVAL : -ESRCH;
	switch (p->state) {
	case EVTCHNSTAT_interdomain:
		remote = sr_domain_of(core, p->remote_domid);
		if (remote && sr_port_of(remote, p->remote_port))
			sr_port_set_pending(core, remote, p->remote_port);
		return 0;
	case EVTCHNSTAT_ipi:
		sr_port_set_pending(core, d, port);
		return 0;
	case EVTCHNSTAT_unbound:
		return 0;
	default:
		return -EINVAL;
	}
}

int sr_core_evtchn_status(struct sr_core *core, uint16_t caller, struct evtchn_status *op)
{
	struct sr_domain *d;
	struct sr_port *p;
	int ret = sr_domain_named(core, caller, op->dom, &d);

	if (ret < 0)
		return ret;
	if (op->port == 0 || op->port >= sr_port_limit(d))
		return -EINVAL;
	p = sr_port_of(d, op->port);
	op->status = p ? p->state : EVTCHNSTAT_closed;
	op->vcpu = p ? p->vcpu : 0;
	if (op->status == EVTCHNSTAT_unbound) {
		op->u.unbound.dom = p->remote_domid;
	} else if (op->status == EVTCHNSTAT_interdomain) {
		op->u.interdomain.dom = p->remote_domid;
		op->u.interdomain.port = p->remote_port;
	} else if (op->status == EVTCHNSTAT_virq) {
		op->u.virq = p->virq;
	}
	return 0;
}

int sr_core_evtchn_reset(struct sr_core *core, uint16_t caller, uint16_t dom)
{
	struct sr_domain *d;
	int ret = sr_domain_named(core, caller, dom, &d);

	if (ret < 0)
		return ret;
	close_all(core, d, SR_CONN_NONE);
	/* Back to the 2-level ABI: what the last queues looked like is of no more account. */
	free(d->fifo);
	d->fifo = NULL;
	d->port_hint = 1;
	return 0;
}

int sr_core_evtchn_unmask(struct sr_core *core, uint16_t caller, uint32_t port)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	struct sr_port *p = d ? sr_port_of(d, port) : NULL;

	if (!p)
		return d ? -EINVAL : -ESRCH;
	if (d->channels)
		return 0;
	if (d->fifo ? sr_fifo_unmask(d, p, port) : sr_2l_unmask(d, p, port))
		core->ops.deliver(core->ctx, d->domid, p->vcpu, port);
	return 0;
}

int sr_core_evtchn_set_owner(struct sr_core *core, uint16_t domid, uint32_t port, uint16_t conn)
{
	struct sr_domain *d = sr_domain_of(core, domid);
	struct sr_port *p = d ? sr_port_of(d, port) : NULL;

	if (!p)
		return -EINVAL;
	p->owner = conn;
	return 0;
}

int sr_core_evtchn_op(struct sr_core *core, uint16_t caller, int cmd, void *arg)
{
	switch (cmd) {
	case EVTCHNOP_alloc_unbound:
		return sr_core_evtchn_alloc_unbound(core, caller, arg);
	case EVTCHNOP_bind_interdomain:
		return sr_core_evtchn_bind_interdomain(core, caller, arg);
	case EVTCHNOP_bind_virq:
		return sr_core_evtchn_bind_virq(core, caller, arg);
	case EVTCHNOP_bind_ipi:
		return sr_core_evtchn_bind_ipi(core, caller, arg);
	case EVTCHNOP_close:
		return sr_core_evtchn_close(core, caller, ((struct evtchn_close *)arg)->port);
	case EVTCHNOP_send:
		return sr_core_evtchn_send(core, caller, ((struct evtchn_send *)arg)->port);
	case EVTCHNOP_status:
		return sr_core_evtchn_status(core, caller, arg);
	case EVTCHNOP_bind_vcpu:
		return sr_core_evtchn_bind_vcpu(core, caller,
						((struct evtchn_bind_vcpu *)arg)->port,
						((struct evtchn_bind_vcpu *)arg)->vcpu);
	case EVTCHNOP_unmask:
		return sr_core_evtchn_unmask(core, caller, ((struct evtchn_unmask *)arg)->port);
	case EVTCHNOP_reset:
		return sr_core_evtchn_reset(core, caller, ((struct evtchn_reset *)arg)->dom);
	case EVTCHNOP_init_control:
		return sr_core_evtchn_init_control(core, caller, arg);
	case EVTCHNOP_expand_array:
		return sr_core_evtchn_expand_array(core, caller,
						   ((struct evtchn_expand_array *)arg)->array_gfn);
	case EVTCHNOP_set_priority:
		return sr_core_evtchn_set_priority(core, caller,
						   ((struct evtchn_set_priority *)arg)->port,
						   ((struct evtchn_set_priority *)arg)->priority);
	default:
		return -ENOSYS;
	}
}
