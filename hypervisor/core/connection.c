/* SPDX-License-Identifier: MIT */
/* Connections as the machine sees them: birth, death, and who waits for whom. */
#include "machine.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct sr_connection *connection_of(struct sr_core *core, uint16_t id)
{
	struct sr_connection *c = id < SR_CONN_MACHINE ? core->connections[id] : NULL;

	return c && !c->dying ? c : NULL;
}

/* Ids come round late, so that one seen in an old lock word is not soon another's. */
static int choose_id(struct sr_core *core, uint16_t *id)
{
	for (uint32_t i = 1; i < SR_CONN_MACHINE; i++) {
		uint32_t n = core->next_conn;

		core->next_conn = n + 1 == SR_CONN_MACHINE ? 1 : n + 1;
		if (!core->connections[n]) {
			*id = (uint16_t)n;
			return 0;
		}
	}
	return -EMFILE;
}

static int create_maptrack(struct sr_connection *c)
{
	struct sr_maptrack_header h = { .magic = SR_MAPTRACK_MAGIC,
					.conn = c->id,
					.domid = c->domid,
					.capacity = c->capacity };
	int ret;

	for (unsigned i = 0; i < SR_JOURNAL_LOCKS; i++)
		atomic_init(&h.journal.lock[i].granter, DOMID_INVALID);
	ret = sr_memfd_sealed("sr-maptrack", sr_maptrack_size(c->capacity), 0, &c->fd);
	if (ret == 0 && pwrite(c->fd, &h, sizeof(h), 0) != sizeof(h)) {
		close(c->fd);
		ret = -EIO;
	}
	return ret;
}

int sr_core_connection_create(struct sr_core *core, uint16_t domid, uint32_t capacity, uint16_t *id)
{
	struct sr_domain *d = sr_domain_of(core, domid);
	struct sr_connection *c;
	int ret;

	if (!d)
		return -ESRCH;
	if (capacity > d->max_maptrack - d->maptrack)
		return -ENOSPC;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->domid = domid;
	c->capacity = capacity;
	ret = choose_id(core, &c->id);
	if (ret == 0)
		ret = create_maptrack(c);
	if (ret < 0) {
		free(c);
		return ret;
	}
	core->connections[c->id] = c;
	d->maptrack += capacity;
	d->connections++;
	*id = c->id;
	return 0;
}

int sr_core_connection_fd(struct sr_core *core, uint16_t id, int *fd)
{
	struct sr_connection *c = connection_of(core, id);

	if (!c)
		return -ENOENT;
	*fd = c->fd;
	return 0;
}

int sr_core_connection_local(struct sr_core *core, uint16_t id, struct sr_conn **conn)
{
	struct sr_connection *c = connection_of(core, id);
	struct sr_conn_params params;
	int ret = 0;

	if (!c)
		return -ENOENT;
	params = (struct sr_conn_params){
		.id = id, .domid = c->domid, .maptrack_fd = c->fd, .foreigns = core->foreigns
	};
	if (!c->local) {
		ret = sr_conn_open(&params, &c->local);
		if (ret == 0)
			c->local->impatient = true;
	}
	*conn = c->local;
	return ret;
}

/*
 * False: an entry is locked by somebody else, who may be just as dead and not yet known to be. Then
 * it waits, with its id taken, for the next occasion.
 */
static bool try_bury(struct sr_core *core, struct sr_connection *c)
{
	struct sr_domain *d = core->domains[c->domid];

	if (!sr_recover(core, c))
		return false;
	core->connections[c->id] = NULL;
	d->maptrack -= c->capacity;
	d->connections--;
	close(c->fd);
	free(c);
	return true;
}

void sr_connections_retry(struct sr_core *core)
{
	bool progress = true;

	while (core->nr_dying && progress) {
		progress = false;
		for (uint32_t id = 1; id < SR_CONN_MACHINE; id++)
			if (core->connections[id] && core->connections[id]->dying &&
			    try_bury(core, core->connections[id])) {
				core->nr_dying--;
				progress = true;
			}
	}
}

int sr_core_connection_dead(struct sr_core *core, uint16_t id)
{
	struct sr_connection *c = connection_of(core, id);
	struct sr_domain *d;

	if (!c)
		return -ENOENT;
	d = core->domains[c->domid];
	if (d->state == SR_DOMAIN_ALIVE)
		sr_ports_owner_dead(core, d, id);
	sr_conn_close(c->local);
	c->local = NULL;
	if (!try_bury(core, c)) {
		c->dying = true;
		core->nr_dying++;
	}
	sr_core_reap(core);
	return 0;
}

void sr_connections_of_domain_dead(struct sr_core *core, uint16_t domid)
{
	for (uint32_t id = 1; id < SR_CONN_MACHINE; id++) {
		struct sr_connection *c = core->connections[id];

		if (c && c->domid == domid && !c->dying)
			sr_core_connection_dead(core, (uint16_t)id);
	}
}
