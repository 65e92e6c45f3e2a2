/* SPDX-License-Identifier: MIT */
#ifndef EMBEDDED_MACHINE_IMPL_H
#define EMBEDDED_MACHINE_IMPL_H

/*
 * The machine process's own structures. One thread, one epoll loop:
 *
 *   machine.c   the loop, its life, the directory
 *   conn.c      connections: accept, hello, requests, replies
 *   domain.c    domains: creation, processes, death
 *   nodes.c     a domain's xenstore nodes
 *   ports.c     event channels: lines and doorbells
 *   ranges.c    pages and grant references handed to gntshr handles
 *   notices.c   what peers are told when a page is unmapped
 *   control.c   the toolstack's requests
 */

#include <core/channel.h>
#include <core/core.h>
#include <core/evtchn.h>
#include <core/grant_table.h>
#include <embedded/machine.h>
#include <store/store.h>
#include <sys/un.h>
#include <time.h>

#include "protocol.h"

/* Something the loop waits on. It is freed after the batch of events in which it was closed. */
struct sr_source {
	int fd;
	void (*ready)(struct sr_machine *m, struct sr_source *src);
	struct sr_source *buried; /* the next one to free */
};

struct sr_bitmap {
	uint64_t *words;
	uint32_t bits;
};

/* A run of granules given to one gntshr handle. */
struct sr_range {
	struct sr_range *next;
	uint32_t first, count; /* pages or references */
};

/* All that a gntshr handle was given; it outlives the handle while a peer maps some of it. */
struct sr_estate {
	struct sr_estate *next;
	struct sr_range *pages, *refs;
};

struct sr_conn_state;

/* One event channel port that a handle of ours owns. */
struct sr_port {
	struct sr_port *next, **link; /* in its handle's list, or among the orphans */
	struct sr_dom *dom;
	struct sr_conn_state *owner; /* NULL: an orphan */
	unsigned notices;            /* that will be sent through it */
	uint32_t port;
	bool virq;
	int line_fd;
	struct sr_channel_line *line; /* to this port's owner */
	int ringer;                   /* eventfd: its senders have it, and ring it */
};

struct sr_process {
	struct sr_source src; /* pidfd */
	struct sr_process *next;
	struct sr_dom *dom;
	pid_t pid;
	bool exited;
};

struct sr_door {
	struct sr_source src;
	struct sr_dom *dom;
};

struct sr_conn_state {
	struct sr_source src;
	struct sr_conn_state *next, **link; /* in its domain's list */
	struct sr_dom *dom;
	bool greeted;
	bool orderly; /* its end was asked for, see SR_EM_BYE */
	enum sr_em_kind kind;
	uint16_t core_conn;        /* gnttab; SR_CONN_NONE otherwise */
	struct sr_conn *local;     /* gnttab of a guest: the machine does its copies */
	struct sr_port *ports;     /* evtchn */
	int ringer, bell;          /* evtchn: see sr_ports_send(); -1 */
	struct sr_estate *estate;  /* gntshr */
	struct sr_notice *notices; /* gntshr, gnttab */
	uint32_t next_notice;
};

struct sr_dom {
	struct sr_door door; /* first: see sr_machine_bury() */
	uint16_t domid;
	enum sr_domain_kind kind;
	bool trusted;
	bool dying;
	char name[SR_NAME_MAX + 1];
	uint8_t uuid[16];
	int64_t start_time;
	char door_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct sr_process *processes;
	struct sr_conn_state *conns;
	unsigned nr_conns;
	struct sr_port **ports;  /* by number */
	struct sr_port *orphans; /* open for their notices' sake; their handles are closed */
	uint32_t nr_ports;       /* slots in `ports` */
	uint32_t live_ports;
	uint32_t nr_notices;
	struct sr_grant_table *table; /* the machine's hand in the domain's grant table */
	struct sr_bitmap page_map, ref_map;
	struct sr_estate *lingering;
	/* Who asked for the destruction and waits for its end; NULL: nobody. */
	struct sr_conn_state *waiter;
};

struct sr_machine {
	struct sr_machine_opts opts;
	char *dir;
	int epfd;
	int lock_fd;  /* DIR/machine.pid */
	int spare_fd; /* given up for a moment where descriptors run out, see conn.c */
	int64_t start_time;
	bool stop;
	struct sr_source stopper; /* eventfd */
	struct sr_core *core;
	struct sr_store *store;
	struct sr_source store_src;
	struct sr_dom **doms; /* by number */
	uint32_t nr_doms;     /* slots in `doms` */
	unsigned nr_conns;
	uint32_t nr_fds;
	struct sr_source *graves;
	/* Something waits for a peer to unmap it, of which nobody tells us: look now and then. */
	bool untidy;
	time_t last_look; /* CLOCK_MONOTONIC, seconds */
};

/* machine.c */
int sr_machine_watch(struct sr_machine *m, struct sr_source *src);
/* Closes the source's descriptor. */
void sr_machine_unwatch(struct sr_machine *m, struct sr_source *src);
/*
 * free() after this batch of events, since an event for it may stand in the batch. `src` is the
 * first member of what is freed.
 */
void sr_machine_bury(struct sr_machine *m, struct sr_source *src);

/* domain.c */
/* True: dead domains are left which others map. Those that nobody maps any more are let go. */
bool sr_doms_bury(struct sr_machine *m);
struct sr_dom *sr_dom_find(struct sr_machine *m, uint32_t domid);
int sr_dom_create(struct sr_machine *m, const struct sr_domain_spec *spec, struct sr_dom **dom);
int sr_dom_attach(struct sr_machine *m, struct sr_dom *dom, pid_t pid);
/* Begins the end; sr_dom_settle() finishes it when the last process is gone. */
void sr_dom_kill(struct sr_machine *m, struct sr_dom *dom);
void sr_dom_settle(struct sr_machine *m, struct sr_dom *dom);
/* At once, whoever still lives; for the machine's own end. */
void sr_dom_destroy(struct sr_machine *m, struct sr_dom *dom);

/* nodes.c */
int sr_nodes_create(struct sr_machine *m, const struct sr_dom *dom,
		    const struct sr_domain_spec *spec);
void sr_nodes_remove(struct sr_machine *m, const struct sr_dom *dom);

/* conn.c */
int sr_door_open(struct sr_machine *m, struct sr_dom *dom);
void sr_door_close(struct sr_machine *m, struct sr_dom *dom);
void sr_conn_end(struct sr_machine *m, struct sr_conn_state *c);
/* Sends a reply; the connection ends if its client does not take it. False: it has ended. */
bool sr_conn_reply(struct sr_machine *m, struct sr_conn_state *c, struct sr_em_reply *reply,
		   const void *data, const int *fds, unsigned nr_fds);

/* ports.c */
void sr_ports_deliver(void *ctx, uint16_t domid, uint32_t vcpu, uint32_t port);
/* Serves a request of an evtchn handle and replies to it. False: the connection has ended. */
bool sr_ports_request(struct sr_machine *m, struct sr_conn_state *c,
		      const struct sr_em_request *req);
void sr_ports_close_all(struct sr_machine *m, struct sr_conn_state *c);
/* The handle's own bell, on which it hears events that the machine sends. */
int sr_ports_hello(struct sr_machine *m, struct sr_conn_state *c, int *fds, unsigned *nr_fds);
/* Keeps a port of `dom` open until sr_ports_let_go(). NULL: there is none of that number. */
struct sr_port *sr_ports_hold(struct sr_dom *dom, uint32_t port);
void sr_ports_let_go(struct sr_machine *m, struct sr_port *p);
/* An event to the other end, if there is one. */
void sr_ports_send(struct sr_machine *m, const struct sr_port *p);

/* notices.c */
int sr_notices_add(struct sr_machine *m, struct sr_conn_state *c, const struct sr_em_notice *req,
		   struct sr_em_reply *reply);
int sr_notices_fire(struct sr_machine *m, struct sr_conn_state *c, uint32_t id);
/* The handle is closed: all are fired while its pages are still mapped. */
void sr_notices_fire_all(struct sr_machine *m, struct sr_conn_state *c);

/* ranges.c */
int sr_ranges_init(struct sr_machine *m, struct sr_dom *dom);
void sr_ranges_fini(struct sr_dom *dom);
int sr_ranges_pages(struct sr_machine *m, struct sr_conn_state *c, uint32_t count,
		    struct sr_em_reply *reply);
int sr_ranges_refs(struct sr_machine *m, struct sr_conn_state *c, uint32_t count,
		   struct sr_em_reply *reply);
/* The handle is closed: ends its grants; what is still mapped lingers. */
void sr_ranges_release(struct sr_machine *m, struct sr_conn_state *c);
/* Frees what lingered and is not mapped any more. */
void sr_ranges_sweep(struct sr_dom *dom);
/* Does the frame belong to this very handle? */
bool sr_ranges_own(const struct sr_conn_state *c, uint32_t frame);
/* References given out, with those that linger. */
uint64_t sr_ranges_refs_given(const struct sr_dom *dom);

/* control.c */
int sr_control_request(struct sr_machine *m, struct sr_conn_state *c,
		       const struct sr_em_request *req, struct sr_em_reply *reply, bool *deferred);

#endif
