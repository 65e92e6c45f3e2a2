/* SPDX-License-Identifier: MIT */
/* How ports come to be bound: to other domains, virtual interrupts, vcpus. */
#include "port.h"

#include <errno.h>

int sr_core_evtchn_alloc_unbound(struct sr_core *core, uint16_t caller,
				 struct evtchn_alloc_unbound *op)
{
	uint16_t remote = op->remote_dom == DOMID_SELF ? caller : op->remote_dom;
	struct sr_domain *d;
	struct sr_port *p;
	uint32_t port;
	int ret = sr_domain_named(core, caller, op->dom, &d);

	if (ret == 0)
		ret = sr_port_alloc(d, &port, &p);
	if (ret < 0)
		return ret;
	p->state = EVTCHNSTAT_unbound;
	p->remote_domid = remote;
	op->port = port;
	return 0;
}

int sr_core_evtchn_bind_interdomain(struct sr_core *core, uint16_t caller,
				    struct evtchn_bind_interdomain *op)
{
	uint16_t remote_domid = op->remote_dom == DOMID_SELF ? caller : op->remote_dom;
	struct sr_domain *d = sr_domain_of(core, caller);
	struct sr_domain *remote = sr_domain_of(core, remote_domid);
	struct sr_port *p, *r;
	uint32_t port;
	int ret;

	if (!d || !remote)
		return -ESRCH;
	r = sr_port_of(remote, op->remote_port);
	if (!r || r->state != EVTCHNSTAT_unbound || r->remote_domid != caller)
		return -EINVAL;
	ret = sr_port_alloc(d, &port, &p);
	if (ret < 0)
		return ret;
	p->state = EVTCHNSTAT_interdomain;
	p->remote_domid = remote_domid;
	p->remote_port = op->remote_port;
	r->state = EVTCHNSTAT_interdomain;
	r->remote_port = port;
	op->local_port = port;
	/* The other end may have sent while nobody was bound: be on the safe side. */
	sr_port_set_pending(core, d, port);
	return 0;
}

static bool virq_is_global(uint32_t virq)
{
	switch (virq) {
	case VIRQ_TIMER:
	case VIRQ_DEBUG:
	case VIRQ_XENOPROF:
	case VIRQ_XENPMU:
		return false;
	default:
		return true;
	}
}

int sr_core_evtchn_bind_virq(struct sr_core *core, uint16_t caller, struct evtchn_bind_virq *op)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	uint32_t *slot, port;
	struct sr_port *p;
	int ret;

	if (!d)
		return -ESRCH;
	if (op->virq >= NR_VIRQS || (virq_is_global(op->virq) && op->vcpu != 0))
		return -EINVAL;
	if (op->vcpu >= d->nr_vcpus)
		return -ENOENT;
	slot = &d->virq_port[op->vcpu * NR_VIRQS + op->virq];
	if (*slot)
		return -EEXIST;
	ret = sr_port_alloc(d, &port, &p);
	if (ret < 0)
		return ret;
	p->state = EVTCHNSTAT_virq;
	p->virq = op->virq;
	p->vcpu = (uint16_t)op->vcpu;
	*slot = op->port = port;
	return 0;
}

int sr_core_evtchn_bind_ipi(struct sr_core *core, uint16_t caller, struct evtchn_bind_ipi *op)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	struct sr_port *p;
	uint32_t port;
	int ret;

	if (!d)
		return -ESRCH;
	if (op->vcpu >= d->nr_vcpus)
		return -ENOENT;
	ret = sr_port_alloc(d, &port, &p);
	if (ret < 0)
		return ret;
	p->state = EVTCHNSTAT_ipi;
	p->vcpu = (uint16_t)op->vcpu;
	op->port = port;
	return 0;
}

int sr_core_evtchn_bind_vcpu(struct sr_core *core, uint16_t caller, uint32_t port, uint32_t vcpu)
{
	struct sr_domain *d = sr_domain_of(core, caller);
	struct sr_port *p;

	if (!d)
		return -ESRCH;
	if (vcpu >= d->nr_vcpus)
		return -ENOENT;
	p = sr_port_of(d, port);
	if (!p || p->state == EVTCHNSTAT_ipi ||
	    (p->state == EVTCHNSTAT_virq && !virq_is_global(p->virq)))
		return -EINVAL;
	p->vcpu = (uint16_t)vcpu;
	return 0;
}

int sr_core_raise_virq(struct sr_core *core, uint16_t domid, uint32_t vcpu, uint32_t virq)
{
	struct sr_domain *d = sr_domain_of(core, domid);
	uint32_t port;

	if (!d)
		return -ESRCH;
	if (virq >= NR_VIRQS || vcpu >= d->nr_vcpus || (virq_is_global(virq) && vcpu != 0))
		return -EINVAL;
	port = d->virq_port[vcpu * NR_VIRQS + virq];
	if (port)
		sr_port_set_pending(core, d, port);
	return 0;
}
