/* SPDX-License-Identifier: MIT */
/* A machine in one process, for the core's tests. */
#ifndef SR_TEST_CORE_HARNESS_H
#define SR_TEST_CORE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the above first. */
#include <cmocka.h>
#include <core/core.h>
#include <core/evtchn.h>
#include <core/grant_table.h>

#define MAX_DELIVERED 4096

struct delivered {
	uint16_t domid;
	uint32_t vcpu;
	uint32_t port;
};

struct machine {
	struct sr_core *core;
	struct delivered delivered[MAX_DELIVERED];
	uint32_t nr_delivered;
	struct delivered unbound[MAX_DELIVERED];
	uint32_t nr_unbound;
	struct sr_foreigns *foreigns; /* as another process would have them */
};

int machine_setup(void **state);
int machine_teardown(void **state);

/* A domain of 64 pages (dom0, if it is the first). */
uint16_t make_domain(struct machine *m, enum sr_role role);
/* With other wishes. */
uint16_t make_domain_with(struct machine *m, struct sr_domain_config config);

/* A connection as a trusted process would open it. */
struct sr_conn *connect_as(struct machine *m, uint16_t domid, uint32_t capacity, uint16_t *id);
/* Close it in good order. */
void disconnect(struct machine *m, struct sr_conn *conn, uint16_t id);

/* The domain's own table, and its memory. */
struct sr_grant_table *table_of(struct machine *m, uint16_t domid);
uint8_t *page_of(struct machine *m, uint16_t domid, uint64_t gfn);
/* Allocate a reference and grant a frame. */
uint32_t grant(struct sr_grant_table *tab, uint16_t to, uint64_t gfn, bool readonly);

/* Map one reference; its status. */
int16_t map_ref(struct sr_conn *conn, uint16_t dom, uint32_t ref, uint16_t flags,
		struct sr_grant_map *out);
int16_t unmap_handle(struct sr_conn *conn, uint32_t handle);

uint64_t pins_of(struct machine *m, uint16_t domid);

#endif
