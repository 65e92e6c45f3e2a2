/* SPDX-License-Identifier: MIT */
/* The machine's own state; seen by the machine process only. */
#ifndef SR_CORE_MACHINE_H
#define SR_CORE_MACHINE_H

#include "internal.h"

/* Event channels of a domain come in chunks, allocated as ports are. */
#define SR_PORTS_PER_CHUNK 128u
#define SR_PORT_CHUNKS     (EVTCHN_FIFO_NR_CHANNELS / SR_PORTS_PER_CHUNK)

#define SR_FIFO_WORDS_PER_PAGE (SR_PAGE_SIZE / sizeof(event_word_t))
#define SR_FIFO_ARRAY_PAGES    (EVTCHN_FIFO_NR_CHANNELS / SR_FIFO_WORDS_PER_PAGE)

struct sr_port {
	uint8_t state;         /* EVTCHNSTAT_* */
	uint8_t priority;      /* FIFO */
	uint8_t pending;       /* FIFO: an event came before the array had a word for the port */
	uint8_t last_priority; /* FIFO: the queue it was linked to last, */
	uint16_t last_vcpu;    /* and of which vcpu */
	uint16_t remote_domid; /* unbound, interdomain */
	uint32_t remote_port;  /* interdomain */
	uint32_t virq;
	uint16_t vcpu;
	uint16_t owner; /* connection that the port dies with */
};

struct sr_fifo_vcpu {
	struct evtchn_fifo_control_block *control; /* in the domain's memory; NULL: none */
	uint32_t tail[EVTCHN_FIFO_MAX_QUEUES];
};

struct sr_fifo {
	event_word_t *array[SR_FIFO_ARRAY_PAGES]; /* in the domain's memory */
	uint32_t nr_pages;
	struct sr_fifo_vcpu vcpu[]; /* nr_vcpus */
};

struct sr_domain {
	uint16_t domid;
	enum sr_role role;
	enum sr_domain_state state;
	uint32_t nr_vcpus;
	uint32_t max_maptrack;
	uint32_t maptrack; /* handles its connections have room for */
	uint32_t connections;
	uint32_t version_was; /* grant table version while the header says "changing" */
	struct sr_foreign *view;
	struct sr_domain_fds fds; /* table and active; mem is the view's */
	/* event channels */
	uint32_t max_ports;
	bool channels;
	uint32_t nr_ports;       /* in use */
	uint32_t port_hint;      /* all below are in use */
	struct sr_port **chunks; /* SR_PORT_CHUNKS of them */
	uint32_t *virq_port;     /* [vcpu * NR_VIRQS + virq]; 0: not bound */
	struct sr_fifo *fifo;    /* NULL: 2-level */
};

struct sr_connection {
	uint16_t id;
	uint16_t domid;
	uint32_t capacity;
	int fd;
	bool dying; /* something it held was locked by another; tried again later */
	struct sr_conn *local;
};

struct sr_core {
	struct sr_core_ops ops;
	void *ctx;
	struct sr_foreigns *foreigns;
	struct sr_domain *domains[DOMID_FIRST_RESERVED];
	struct sr_connection *connections[SR_CONN_MACHINE];
	uint32_t next_domid;
	uint32_t next_conn;
	uint32_t nr_domains;
	uint32_t nr_dying;
	uint32_t nr_zombies;
	/* For operations of the machine itself, which take locks too. */
	struct sr_conn self;
	struct sr_maptrack_header self_header;
};

/* A living domain, or NULL. */
struct sr_domain *sr_domain_of(struct sr_core *core, uint16_t domid);
/* The domain that `caller` names as `dom`: itself, or for dom0 any. -ESRCH, -EPERM. */
int sr_domain_named(struct sr_core *core, uint16_t caller, uint16_t dom, struct sr_domain **out);
/* Let go of zombies that nobody has mapped, after taking up what is still dying. */
void sr_core_reap(struct sr_core *core);
/* Mapped grants of the domain; locks count as one. */
uint64_t sr_domain_pins(const struct sr_domain *d);

/* ---- recover.c ---- */
/* Give back what the connection held. True when nothing is left. */
bool sr_recover(struct sr_core *core, struct sr_connection *c);

/* ---- connection.c ---- */
void sr_connections_retry(struct sr_core *core);
void sr_connections_of_domain_dead(struct sr_core *core, uint16_t domid);

/* ---- evtchn.c ---- */
int sr_ports_init(struct sr_domain *d);
void sr_ports_destroy(struct sr_core *core, struct sr_domain *d);
void sr_ports_owner_dead(struct sr_core *core, struct sr_domain *d, uint16_t conn);

#endif
