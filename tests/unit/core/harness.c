/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static void on_deliver(void *ctx, uint16_t domid, uint32_t vcpu, uint32_t port)
{
	struct machine *m = ctx;

	m->delivered[m->nr_delivered++ % MAX_DELIVERED] = (struct delivered){ domid, vcpu, port };
}

static void on_unbound(void *ctx, uint16_t domid, uint32_t port)
{
	struct machine *m = ctx;

	m->unbound[m->nr_unbound++ % MAX_DELIVERED] = (struct delivered){ domid, 0, port };
}

/* What the embedded provider does over a socket. */
static int fetch(void *ctx, uint16_t domid, struct sr_domain_fds *fds)
{
	struct machine *m = ctx;
	int ret = sr_core_domain_fds(m->core, domid, fds);

	if (ret < 0)
		return ret;
	fds->mem = fcntl(fds->mem, F_DUPFD_CLOEXEC, 0);
	fds->table = fcntl(fds->table, F_DUPFD_CLOEXEC, 0);
	fds->active = fcntl(fds->active, F_DUPFD_CLOEXEC, 0);
	return 0;
}

int machine_setup(void **state)
{
	static const struct sr_core_ops ops = { .deliver = on_deliver, .unbound = on_unbound };
	struct machine *m = calloc(1, sizeof(*m));

	assert_int_equal(sr_core_create(&ops, m, &m->core), 0);
	assert_int_equal(sr_foreigns_create(fetch, m, &m->foreigns), 0);
	*state = m;
	return 0;
}

int machine_teardown(void **state)
{
	struct machine *m = *state;

	sr_foreigns_destroy(m->foreigns);
	sr_core_destroy(m->core);
	free(m);
	return 0;
}

uint16_t make_domain_with(struct machine *m, struct sr_domain_config config)
{
	uint16_t domid;

	assert_int_equal(sr_core_domain_create(m->core, &config, &domid), 0);
	return domid;
}

uint16_t make_domain(struct machine *m, enum sr_role role)
{
	return make_domain_with(
	    m, (struct sr_domain_config){ .domid = SR_DOMID_ANY, .role = role, .nr_pages = 64 });
}

struct sr_conn *connect_as(struct machine *m, uint16_t domid, uint32_t capacity, uint16_t *id)
{
	struct sr_conn_params params = { .domid = domid, .foreigns = m->foreigns };
	struct sr_conn *conn;

	assert_int_equal(sr_core_connection_create(m->core, domid, capacity, id), 0);
	assert_int_equal(sr_core_connection_fd(m->core, *id, &params.maptrack_fd), 0);
	params.id = *id;
	assert_int_equal(sr_conn_open(&params, &conn), 0);
	return conn;
}

void disconnect(struct machine *m, struct sr_conn *conn, uint16_t id)
{
	sr_conn_close(conn);
	assert_int_equal(sr_core_connection_dead(m->core, id), 0);
}

struct sr_grant_table *table_of(struct machine *m, uint16_t domid)
{
	struct sr_foreign *view = sr_core_domain_view(m->core, domid);
	struct sr_grant_table *tab;

	assert_int_equal(sr_grant_table_create(view->table, view->max_frames,
					       atomic_load(&view->header->frames),
					       atomic_load(&view->header->version), &tab),
			 0);
	return tab;
}

uint8_t *page_of(struct machine *m, uint16_t domid, uint64_t gfn)
{
	return sr_foreign_page(sr_core_domain_view(m->core, domid), gfn);
}

uint32_t grant(struct sr_grant_table *tab, uint16_t to, uint64_t gfn, bool readonly)
{
	uint32_t ref;

	assert_int_equal(sr_grant_table_alloc(tab, &ref), 0);
	sr_grant_table_grant(tab, ref, to, gfn, readonly);
	return ref;
}

int16_t map_ref(struct sr_conn *conn, uint16_t dom, uint32_t ref, uint16_t flags,
		struct sr_grant_map *out)
{
	*out = (struct sr_grant_map){ .dom = dom, .ref = ref, .flags = flags };
	sr_grant_map(conn, out, 1);
	return out->status;
}

int16_t unmap_handle(struct sr_conn *conn, uint32_t handle)
{
	struct sr_grant_unmap op = { .handle = handle };

	sr_grant_unmap(conn, &op, 1);
	return op.status;
}

uint64_t pins_of(struct machine *m, uint16_t domid)
{
	struct sr_domain_info info;

	assert_int_equal(sr_core_domain_info(m->core, domid, &info), 0);
	return info.pins;
}
