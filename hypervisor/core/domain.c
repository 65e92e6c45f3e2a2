/* SPDX-License-Identifier: MIT */
/* The machine and its domains. */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_GRANT_FRAMES 64u
#define DEFAULT_MAPTRACK     262144u
#define MAX_VCPUS            XEN_LEGACY_MAX_VCPUS

/* The core puts its domains' views in the set itself; there are no others. */
static int fetch_none(void *ctx, uint16_t domid, struct sr_domain_fds *fds)
{
	return -ESRCH;
}

int sr_core_create(const struct sr_core_ops *ops, void *ctx, struct sr_core **out)
{
	struct sr_core *core = calloc(1, sizeof(*core));
	int ret;

	if (!core)
		return -ENOMEM;
	ret = sr_foreigns_create(fetch_none, NULL, &core->foreigns);
	if (ret < 0) {
		free(core);
		return ret;
	}
	core->ops = *ops;
	core->ctx = ctx;
	core->next_conn = 1;
	core->self.id = SR_CONN_MACHINE;
	core->self.impatient = true;
	core->self.header = &core->self_header;
	core->self.journal = &core->self_header.journal;
	*out = core;
	return 0;
}

struct sr_domain *sr_domain_of(struct sr_core *core, uint16_t domid)
{
	struct sr_domain *d = domid < DOMID_FIRST_RESERVED ? core->domains[domid] : NULL;

	return d && d->state == SR_DOMAIN_ALIVE ? d : NULL;
}

int sr_domain_named(struct sr_core *core, uint16_t caller, uint16_t dom, struct sr_domain **out)
{
	struct sr_domain *self = sr_domain_of(core, caller), *d;

	if (!self)
		return -ESRCH;
	d = dom == DOMID_SELF ? self : sr_domain_of(core, dom);
	if (!d)
		return -ESRCH;
	if (d != self && self->role != SR_ROLE_DOM0)
		return -EPERM;
	*out = d;
	return 0;
}

static void domain_free(struct sr_core *core, struct sr_domain *d)
{
	if (d->view)
		sr_foreign_put(core->foreigns, d->view);
	sr_domain_fds_close(&d->fds);
	free(d->virq_port);
	free(d->chunks);
	free(d->fifo);
	free(d);
}

static void domain_forget(struct sr_core *core, struct sr_domain *d)
{
	core->domains[d->domid] = NULL;
	core->nr_domains--;
	domain_free(core, d);
}

void sr_core_destroy(struct sr_core *core)
{
	uint16_t domid = SR_DOMID_ANY;

	if (!core)
		return;
	while (sr_core_domain_next(core, &domid) == 0)
		if (core->domains[domid]->state == SR_DOMAIN_ALIVE)
			sr_core_domain_destroy(core, domid);
	/* Whoever still has something mapped keeps its memory; nobody keeps account any more. */
	for (domid = 0; domid < DOMID_FIRST_RESERVED; domid++)
		if (core->domains[domid])
			domain_forget(core, core->domains[domid]);
	for (uint32_t id = 1; id < SR_CONN_MACHINE; id++)
		if (core->connections[id]) {
			close(core->connections[id]->fd);
			free(core->connections[id]);
		}
	sr_foreigns_destroy(core->foreigns);
	free(core);
}

static bool config_good(const struct sr_domain_config *c)
{
	if (c->domid != SR_DOMID_ANY && c->domid >= DOMID_FIRST_RESERVED)
		return false;
	if (c->nr_pages == 0 || c->nr_pages > UINT32_MAX)
		return false;
	return c->max_grant_frames <= SR_GRANT_FRAMES_MAX && c->nr_vcpus <= MAX_VCPUS &&
	       c->role <= SR_ROLE_GUEST;
}

/* As on Xen numbers go up and come round, so that one is not soon given again. */
static int choose_domid(struct sr_core *core, uint16_t wish, uint16_t *domid)
{
	if (core->nr_domains == 0 && core->next_domid == 0) {
		*domid = 0;
		core->next_domid = 1;
		return 0;
	}
	if (wish != SR_DOMID_ANY) {
		*domid = wish;
		return core->domains[wish] ? -EEXIST : 0;
	}
	for (uint32_t i = 0; i < DOMID_FIRST_RESERVED; i++) {
		uint32_t id = core->next_domid;

		core->next_domid = id + 1 == DOMID_FIRST_RESERVED ? 1 : id + 1;
		if (!core->domains[id]) {
			*domid = (uint16_t)id;
			return 0;
		}
	}
	return -ENOSPC;
}

/* Everything else is zero in a fresh memfd. */
static int write_header(int fd, uint16_t domid, const struct sr_domain_config *c,
			uint32_t max_frames, bool hugetlb)
{
	struct sr_active_header h = { .magic = SR_ACTIVE_MAGIC,
				      .domid = domid,
				      .role = (uint16_t)c->role,
				      .nr_pages = c->nr_pages,
				      .max_frames = max_frames,
				      .hugetlb = hugetlb };

	atomic_init(&h.frames, 1);
	atomic_init(&h.version, 1);
	atomic_init(&h.dead, 0);
	return pwrite(fd, &h, sizeof(h), 0) == sizeof(h) ? 0 : -EIO;
}

/* A view owns what it is opened with; table and active stay with us too, to be passed on. */
static int open_view(struct sr_domain *d, struct sr_domain_memory *m)
{
	d->fds = (struct sr_domain_fds){ -1, -1, -1 };
	d->fds.table = fcntl(m->fds.table, F_DUPFD_CLOEXEC, 0);
	d->fds.active = fcntl(m->fds.active, F_DUPFD_CLOEXEC, 0);
	if (d->fds.table < 0 || d->fds.active < 0)
		return -EMFILE;
	return sr_foreign_open(d->domid, &m->fds, &d->view);
}

static int domain_new(struct sr_core *core, uint16_t domid, const struct sr_domain_config *c,
		      struct sr_domain **out)
{
	uint32_t max_frames = c->max_grant_frames ? c->max_grant_frames : DEFAULT_GRANT_FRAMES;
	struct sr_domain_memory m = { .fds = { -1, -1, -1 } };
	struct sr_domain *d = calloc(1, sizeof(*d));
	int ret = -ENOMEM;

	if (!d)
		return ret;
	d->domid = domid;
	d->role = c->role;
	d->nr_vcpus = c->nr_vcpus ? c->nr_vcpus : 1;
	d->max_maptrack = c->max_maptrack ? c->max_maptrack : DEFAULT_MAPTRACK;
	d->channels = c->channels;
	d->max_ports = c->max_ports ? c->max_ports : EVTCHN_FIFO_NR_CHANNELS;
	d->fds = m.fds;
	ret = sr_memory_create(c->nr_pages, max_frames, c->hugetlb, &m);
	if (ret == 0)
		ret = write_header(m.fds.active, domid, c, max_frames, m.hugetlb);
	if (ret == 0)
		ret = open_view(d, &m);
	sr_domain_fds_close(&m.fds);
	if (ret == 0)
		ret = sr_ports_init(d);
	if (ret < 0)
		domain_free(core, d);
	else
		*out = d;
	return ret;
}

int sr_core_domain_create(struct sr_core *core, const struct sr_domain_config *config,
			  uint16_t *domid)
{
	struct sr_domain *d;
	uint16_t id;
	int ret;

	if (!config_good(config))
		return -EINVAL;
	sr_core_reap(core);
	ret = choose_domid(core, config->domid, &id);
	if (ret < 0)
		return ret;
	ret = domain_new(core, id, config, &d);
	if (ret < 0)
		return ret;
	core->domains[id] = d;
	core->nr_domains++;
	sr_foreigns_insert(core->foreigns, d->view);
	*domid = id;
	return 0;
}

int sr_core_domain_destroy(struct sr_core *core, uint16_t domid)
{
	struct sr_domain *d = sr_domain_of(core, domid);

	if (!d)
		return -ESRCH;
	/* First of all: from now on nobody gets at its grants who is not there yet. */
	atomic_store(&d->view->header->dead, 1);
	sr_connections_of_domain_dead(core, domid);
	sr_ports_destroy(core, d);
	d->state = SR_DOMAIN_ZOMBIE;
	core->nr_zombies++;
	sr_core_reap(core);
	if (domid != 0)
		sr_core_raise_virq(core, 0, 0, VIRQ_DOM_EXC);
	return 0;
}

uint64_t sr_domain_pins(const struct sr_domain *d)
{
	uint32_t n = sr_grant_entries(1, atomic_load(&d->view->header->frames));
	uint64_t sum = 0;

	for (uint32_t ref = 0; ref < n; ref++) {
		uint64_t word =
		    atomic_load_explicit(&d->view->active[ref].word, memory_order_acquire);

		sum += sr_active_readers(word) + sr_active_writers(word) +
		       (sr_active_owner(word) != SR_CONN_NONE);
	}
	return sum;
}

/*
 * Other processes may hold views of the domain for long, with nothing mapped in them: a backend
 * that serves others goes on for years. So the memory is not left to whoever closes last.
 */
static void give_memory_back(const struct sr_domain *d)
{
	struct stat st;

	/* A kernel that cannot do it frees the memory with the last view. */
	if (fstat(d->view->mem_fd, &st) == 0)
		fallocate(d->view->mem_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			  st.st_size);
}

void sr_core_reap(struct sr_core *core)
{
	sr_connections_retry(core);
	for (uint32_t id = 0; core->nr_zombies && id < DOMID_FIRST_RESERVED; id++) {
		struct sr_domain *d = core->domains[id];

		if (d && d->state == SR_DOMAIN_ZOMBIE && d->connections == 0 &&
		    sr_domain_pins(d) == 0) {
			core->nr_zombies--;
			give_memory_back(d);
			domain_forget(core, d);
		}
	}
}

int sr_core_domain_next(struct sr_core *core, uint16_t *domid)
{
	for (uint32_t id = *domid == SR_DOMID_ANY ? 0 : *domid + 1u; id < DOMID_FIRST_RESERVED;
	     id++)
		if (core->domains[id]) {
			*domid = (uint16_t)id;
			return 0;
		}
	return -ENOENT;
}

int sr_core_domain_info(struct sr_core *core, uint16_t domid, struct sr_domain_info *info)
{
	struct sr_active_header *h;
	struct sr_domain *d;

	if (domid < DOMID_FIRST_RESERVED && core->domains[domid] &&
	    core->domains[domid]->state == SR_DOMAIN_ZOMBIE)
		sr_core_reap(core);
	d = domid < DOMID_FIRST_RESERVED ? core->domains[domid] : NULL;
	if (!d)
		return -ESRCH;
	h = d->view->header;
	*info = (struct sr_domain_info){
		.domid = domid,
		.role = d->role,
		.state = d->state,
		.nr_pages = d->view->nr_pages,
		.nr_vcpus = d->nr_vcpus,
		.grant_frames = atomic_load(&h->frames),
		.max_grant_frames = h->max_frames,
		.grant_version = atomic_load(&h->version),
		.ports = d->nr_ports,
		.connections = d->connections,
		.pins = sr_domain_pins(d),
		.hugetlb = d->view->hugetlb,
	};
	return 0;
}

int sr_core_domain_fds(struct sr_core *core, uint16_t domid, struct sr_domain_fds *fds)
{
	struct sr_domain *d = sr_domain_of(core, domid);

	if (!d)
		return -ESRCH;
	*fds = (struct sr_domain_fds){ d->view->mem_fd, d->fds.table, d->fds.active };
	return 0;
}

struct sr_foreign *sr_core_domain_view(struct sr_core *core, uint16_t domid)
{
	struct sr_domain *d = sr_domain_of(core, domid);

	return d ? d->view : NULL;
}
