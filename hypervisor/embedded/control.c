/* SPDX-License-Identifier: MIT */
/* The toolstack's requests, in the machine process; control_client.c is their other end. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "machine_impl.h"

static int create(struct sr_machine *m, const struct sr_em_request *req, struct sr_em_reply *reply)
{
	const struct sr_em_create *cr = &req->create;
	struct sr_domain_spec spec = { .name = cr->name, .pages = cr->pages, .vcpus = cr->vcpus };
	struct sr_dom *dom;
	int err;

	if (cr->name[SR_NAME_MAX] || (cr->kind != SR_KIND_DRIVER && cr->kind != SR_KIND_GUEST))
		return -EINVAL;
	spec.kind = cr->kind;
	memcpy(spec.uuid, cr->uuid, sizeof(spec.uuid));
	err = sr_dom_create(m, &spec, &dom);
	if (!err)
		reply->ret.domid = dom->domid;
	return err;
}

static void describe(struct sr_machine *m, struct sr_dom *dom, struct sr_domain_list_entry *e)
{
	struct sr_store_usage usage;
	struct sr_domain_info info;

	sr_ranges_sweep(dom);
	*e = (struct sr_domain_list_entry){
		.domid = dom->domid,
		.kind = (uint16_t)dom->kind,
		.status = dom->dying ? SR_DOMAIN_DYING : SR_DOMAIN_RUNNING,
		.start_time = dom->start_time,
		.granted = sr_ranges_refs_given(dom),
		.ports = dom->live_ports,
		.connections = dom->nr_conns,
	};
	memcpy(e->name, dom->name, sizeof(e->name));
	memcpy(e->uuid, dom->uuid, sizeof(e->uuid));
	for (struct sr_process *p = dom->processes; p; p = p->next) {
		if (p->exited)
			continue;
		if (e->processes < SR_INFO_PROCESSES)
			e->pids[e->processes] = p->pid;
		e->processes++;
	}
	if (!sr_core_domain_info(m->core, dom->domid, &info)) {
		e->pages = info.nr_pages;
		e->vcpus = info.nr_vcpus;
		e->grant_frames = info.grant_frames;
		e->pinned = info.pins;
	}
	sr_store_domain_usage(m->store, dom->domid, &usage);
	e->store_nodes = (uint32_t)usage.nodes;
	e->store_watches = (uint32_t)usage.watches;
	e->store_connections = (uint32_t)usage.connections;
}

/* A dead domain of which somebody still maps memory: the core alone knows of it. */
static bool describe_zombie(struct sr_machine *m, uint16_t domid, struct sr_domain_list_entry *e)
{
	struct sr_domain_info info;

	/* Asking may be what lets go of it at last. */
	if (sr_core_domain_info(m->core, domid, &info))
		return false;
	*e = (struct sr_domain_list_entry){ .domid = domid,
					    .kind = SR_KIND_GUEST,
					    .status = SR_DOMAIN_DYING,
					    .name = "(null)",
					    .pages = info.nr_pages,
					    .vcpus = info.nr_vcpus,
					    .grant_frames = info.grant_frames,
					    .pinned = info.pins };
	if (info.role == SR_ROLE_DRIVER)
		e->kind = SR_KIND_DRIVER;
	return true;
}

static int next(struct sr_machine *m, const struct sr_em_request *req, struct sr_em_reply *reply)
{
	/* -1 is SR_DOMID_ANY: begin with the first. */
	uint16_t domid = (uint16_t)req->arg.domid;

	while (!sr_core_domain_next(m->core, &domid)) {
		struct sr_dom *dom = sr_dom_find(m, domid);

		if (dom) {
			describe(m, dom, &reply->entry);
			return 0;
		}
		if (describe_zombie(m, domid, &reply->entry))
			return 0;
	}
	return -ENOENT;
}

static int status(struct sr_machine *m, struct sr_em_reply *reply)
{
	struct sr_machine_status *st = &reply->machine;
	struct sr_store_usage usage;

	*st = (struct sr_machine_status){ .pid = getpid(),
					  .start_time = m->start_time,
					  .connections = m->nr_conns,
					  .fds = m->nr_fds };
	for (uint32_t i = 0; i < m->nr_doms; i++) {
		if (!m->doms[i])
			continue;
		st->domains++;
		st->ports += m->doms[i]->live_ports;
	}
	sr_store_total_usage(m->store, &usage);
	st->store_nodes = (uint32_t)usage.nodes;
	st->store_watches = (uint32_t)usage.watches;
	st->store_connections = (uint32_t)usage.connections;
	return 0;
}

static int destroy(struct sr_machine *m, struct sr_conn_state *c, struct sr_dom *dom,
		   bool *deferred)
{
	if (!dom->domid)
		return -EINVAL;
	if (dom->waiter)
		return -EBUSY;
	*deferred = true;
	dom->waiter = c;
	sr_dom_kill(m, dom);
	return 0;
}

int sr_control_request(struct sr_machine *m, struct sr_conn_state *c,
		       const struct sr_em_request *req, struct sr_em_reply *reply, bool *deferred)
{
	struct sr_dom *dom;

	switch (req->op) {
	case SR_EM_CREATE:
		return create(m, req, reply);
	case SR_EM_ATTACH:
		dom = sr_dom_find(m, req->arg.domid);
		return dom ? sr_dom_attach(m, dom, req->arg.pid) : -ESRCH;
	case SR_EM_DESTROY:
		dom = sr_dom_find(m, req->arg.domid);
		return dom ? destroy(m, c, dom, deferred) : -ESRCH;
	case SR_EM_NEXT:
		return next(m, req, reply);
	case SR_EM_STATUS:
		return status(m, reply);
	case SR_EM_SHUTDOWN:
		m->stop = true;
		return 0;
	default:
		return -EINVAL;
	}
}
