/* SPDX-License-Identifier: MIT */
/*
 * Event channels: the operations of <xen/event_channel.h> on the machine's ports, and the
 * consumer's side of both ABIs for domains that read their event words themselves.
 *
 * Operations return 0 or Xen's negative errno, which has Linux's numbers (-ENOSPC: no port left,
 * -EINVAL, -EPERM, -ESRCH, -EEXIST, -ENOENT, ...). Threads: as for struct sr_core. `caller` is the
 * acting domain.
 */
#ifndef SR_CORE_EVTCHN_H
#define SR_CORE_EVTCHN_H

#include <core/core.h>
#include <xen/event_channel.h>

int sr_core_evtchn_alloc_unbound(struct sr_core *core, uint16_t caller,
				 struct evtchn_alloc_unbound *op);
int sr_core_evtchn_bind_interdomain(struct sr_core *core, uint16_t caller,
				    struct evtchn_bind_interdomain *op);
int sr_core_evtchn_bind_virq(struct sr_core *core, uint16_t caller, struct evtchn_bind_virq *op);
int sr_core_evtchn_bind_ipi(struct sr_core *core, uint16_t caller, struct evtchn_bind_ipi *op);
int sr_core_evtchn_close(struct sr_core *core, uint16_t caller, uint32_t port);
/* An event to the other end; on an unbound port it is dropped and that is no error. */
int sr_core_evtchn_send(struct sr_core *core, uint16_t caller, uint32_t port);
int sr_core_evtchn_status(struct sr_core *core, uint16_t caller, struct evtchn_status *op);
int sr_core_evtchn_reset(struct sr_core *core, uint16_t caller, uint16_t dom);
int sr_core_evtchn_unmask(struct sr_core *core, uint16_t caller, uint32_t port);
int sr_core_evtchn_bind_vcpu(struct sr_core *core, uint16_t caller, uint32_t port, uint32_t vcpu);
int sr_core_evtchn_init_control(struct sr_core *core, uint16_t caller,
				struct evtchn_init_control *op);
int sr_core_evtchn_expand_array(struct sr_core *core, uint16_t caller, uint64_t array_gfn);
int sr_core_evtchn_set_priority(struct sr_core *core, uint16_t caller, uint32_t port,
				uint32_t priority);

/* The hypercall: cmd is EVTCHNOP_*, arg its structure. -ENOSYS: not one of the above. */
int sr_core_evtchn_op(struct sr_core *core, uint16_t caller, int cmd, void *arg);

/* The machine raises a virtual interrupt; dropped where it is not bound. vcpu is 0 for global ones.
 */
int sr_core_raise_virq(struct sr_core *core, uint16_t domid, uint32_t vcpu, uint32_t virq);

/* Close the port when connection `conn` dies; SR_CONN_NONE undoes it. -EINVAL: no such port. */
int sr_core_evtchn_set_owner(struct sr_core *core, uint16_t domid, uint32_t port, uint16_t conn);

/* ---- a domain that consumes its event words itself -------------------------------------- */

/*
 * One vcpu's consumer. Begin with zeroes but for the fields marked in. One thread uses it. Ports
 * are handled by `handle`; it is called with the pending bit cleared already.
 */
struct sr_evtchn_consumer {
	struct shared_info *info; /* in: the domain's */
	uint32_t vcpu;            /* in */
	/* 2-level, in: the ports this vcpu handles, as a bit array; NULL: all of them. */
	const xen_ulong_t *own;
	/* FIFO only, in: */
	struct evtchn_fifo_control_block *control; /* NULL: 2-level */
	uint8_t *mem;                              /* the domain's own memory */
	const uint64_t *array_gfns;                /* event array pages, as expanded */
	uint32_t nr_array_pages;
	/* FIFO, own: where each queue was left. */
	uint32_t head[EVTCHN_FIFO_MAX_QUEUES];
};

typedef void sr_evtchn_handler(void *ctx, uint32_t port);

/*
 * Handle all that is pending and unmasked for this vcpu, highest priority first (FIFO). Returns how
 * many.
 */
uint32_t sr_evtchn_consume(struct sr_evtchn_consumer *con, sr_evtchn_handler *handle, void *ctx);

/* Mask and unmask a port of one's own. unmask: true if it is pending and the hypervisor has to be
 * asked (EVTCHNOP_unmask) to raise it again. Ports out of the array: nothing, false. */
void sr_evtchn_consumer_mask(struct sr_evtchn_consumer *con, uint32_t port);
bool sr_evtchn_consumer_unmask(struct sr_evtchn_consumer *con, uint32_t port);

#endif
