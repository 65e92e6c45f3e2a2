/* SPDX-License-Identifier: MIT */
/* Between the operations on ports (evtchn.c, evtchn_bind.c) and the two ABIs of delivery. */
#ifndef SR_CORE_PORT_H
#define SR_CORE_PORT_H

#include "machine.h"

/* The port if it is in use, or NULL. */
struct sr_port *sr_port_of(struct sr_domain *d, uint32_t port);
/* A port with this number, in use or not, whose chunk exists; or NULL. */
struct sr_port *sr_port_slot(struct sr_domain *d, uint32_t port);
int sr_port_alloc(struct sr_domain *d, uint32_t *port, struct sr_port **out);
void sr_port_release(struct sr_core *core, struct sr_domain *d, uint32_t port);
/* Number of the first port the ABI in force cannot have. */
uint32_t sr_port_limit(const struct sr_domain *d);

/* Make the port pending; tells the outside if that is news and not masked. */
void sr_port_set_pending(struct sr_core *core, struct sr_domain *d, uint32_t port);

/* Each returns true if the vcpu is to be told. */
bool sr_2l_set_pending(struct sr_domain *d, struct sr_port *p, uint32_t port);
bool sr_2l_unmask(struct sr_domain *d, struct sr_port *p, uint32_t port);
void sr_2l_clear_pending(struct sr_domain *d, uint32_t port);
bool sr_2l_is_pending(struct sr_domain *d, uint32_t port);

bool sr_fifo_set_pending(struct sr_domain *d, struct sr_port *p, uint32_t port);
bool sr_fifo_unmask(struct sr_domain *d, struct sr_port *p, uint32_t port);
void sr_fifo_clear_pending(struct sr_domain *d, struct sr_port *p, uint32_t port);

static inline struct shared_info *sr_shared_info(const struct sr_domain *d)
{
	return (struct shared_info *)(d->view->table + SR_TABLE_INFO_OFFSET);
}

/* The upcall of a vcpu. */
static inline void sr_vcpu_mark(const struct sr_domain *d, uint32_t vcpu)
{
	__atomic_store_n(&sr_shared_info(d)->vcpu_info[vcpu].evtchn_upcall_pending, 1,
			 __ATOMIC_SEQ_CST);
}

#endif
