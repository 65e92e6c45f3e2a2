/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "machine_impl.h"

/* Handles that a trusted domain may have mapped, over all its connections: enough for 64 and more. */
#define TRUSTED_MAPTRACK (64u << 20)
#define GUEST_MAPTRACK   4096u
#define MAX_VCPUS        128u
#define MAX_PAGES        (UINT64_C(1) << 28) /* 1 TiB */

static int pidfd_open(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void pidfd_kill(int pidfd)
{
	/* The process may have ended in the meantime. */
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
}

struct sr_dom *sr_dom_find(struct sr_machine *m, uint32_t domid)
{
	return domid < m->nr_doms ? m->doms[domid] : NULL;
}

/* --- creation -------------------------------------------------------------------------------- */

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._+-", name[i]))
			return false;
	return len > 0 && len <= SR_NAME_MAX;
}

static int check_spec(struct sr_machine *m, const struct sr_domain_spec *spec)
{
	if (!name_ok(spec->name) || !spec->pages || spec->pages > MAX_PAGES || !spec->vcpus ||
	    spec->vcpus > MAX_VCPUS || spec->kind > SR_KIND_GUEST)
		return -EINVAL;
	for (uint32_t i = 0; i < m->nr_doms; i++)
		if (m->doms[i] && !strcmp(m->doms[i]->name, spec->name))
			return -EEXIST;
	return 0;
}

static int make_room(struct sr_machine *m, uint16_t domid)
{
	uint32_t slots = m->nr_doms ? m->nr_doms : 16;
	struct sr_dom **doms;

	while (slots <= domid)
		slots *= 2;
	if (slots == m->nr_doms)
		return 0;
	doms = realloc(m->doms, slots * sizeof(*doms));
	if (!doms)
		return -ENOMEM;
	memset(doms + m->nr_doms, 0, (slots - m->nr_doms) * sizeof(*doms));
	m->doms = doms;
	m->nr_doms = slots;
	return 0;
}

static int create_core(struct sr_machine *m, const struct sr_domain_spec *spec, uint16_t *domid)
{
	static const enum sr_role roles[] = {
		[SR_KIND_DOM0] = SR_ROLE_DOM0,
		[SR_KIND_DRIVER] = SR_ROLE_DRIVER,
		[SR_KIND_GUEST] = SR_ROLE_GUEST,
	};
	bool guest = spec->kind == SR_KIND_GUEST;
	bool trusted = !guest || m->opts.trust_guests;
	struct sr_domain_config config = {
		.domid = SR_DOMID_ANY,
		.role = roles[spec->kind],
		.nr_pages = spec->pages,
		.nr_vcpus = spec->vcpus,
		.max_grant_frames = guest ? m->opts.guest_grant_frames : SR_GRANT_FRAMES_MAX,
		.max_maptrack = trusted ? TRUSTED_MAPTRACK : GUEST_MAPTRACK,
		.max_ports = guest ? m->opts.guest_ports : 0,
		.channels = true,
		.hugetlb = m->opts.hugetlb,
	};

	return sr_core_domain_create(m->core, &config, domid);
}

static void make_uuid(struct sr_dom *dom, const struct sr_domain_spec *spec)
{
	static const uint8_t none[16];

	memcpy(dom->uuid, spec->uuid, sizeof(dom->uuid));
	if (memcmp(none, dom->uuid, sizeof(none)) || spec->kind == SR_KIND_DOM0)
		return;
	if (getrandom(dom->uuid, sizeof(dom->uuid), 0) != sizeof(dom->uuid))
		memcpy(dom->uuid, &dom->start_time, sizeof(dom->start_time));
	dom->uuid[6] = (dom->uuid[6] & 0x0f) | 0x40;
	dom->uuid[8] = (dom->uuid[8] & 0x3f) | 0x80;
}

bool sr_doms_bury(struct sr_machine *m)
{
	uint16_t domid = SR_DOMID_ANY;
	struct sr_domain_info info;
	bool left = false;

	/* To ask for a dead domain is to let go of it, if that can be. */
	while (!sr_core_domain_next(m->core, &domid))
		if (!sr_dom_find(m, domid) && !sr_core_domain_info(m->core, domid, &info))
			left = true;
	return left;
}

/* Whatever of the domain is there already goes: also used where its creation fails half-way. */
static void dismantle(struct sr_machine *m, struct sr_dom *dom)
{
	sr_door_close(m, dom);
	while (dom->conns)
		sr_conn_end(m, dom->conns);
	while (dom->processes) {
		struct sr_process *p = dom->processes;

		dom->processes = p->next;
		if (!p->exited)
			m->nr_fds--;
		sr_machine_unwatch(m, &p->src);
		sr_machine_bury(m, &p->src);
	}
	sr_ranges_fini(dom);
	sr_core_domain_destroy(m->core, dom->domid);
	if (dom->domid)
		sr_store_release(m->store, dom->domid);
	else
		sr_store_unlisten(m->store, 0);
	m->doms[dom->domid] = NULL;
	m->untidy |= sr_doms_bury(m);
	free(dom->ports);
	sr_machine_bury(m, &dom->door.src);
}

int sr_dom_create(struct sr_machine *m, const struct sr_domain_spec *spec, struct sr_dom **out)
{
	struct sockaddr_un sa;
	struct sr_dom *dom;
	uint16_t domid;
	int err;

	err = check_spec(m, spec);
	if (err)
		return err;
	err = create_core(m, spec, &domid);
	if (err)
		return err;
	dom = calloc(1, sizeof(*dom));
	if (!dom || make_room(m, domid)) {
		free(dom);
		sr_core_domain_destroy(m->core, domid);
		return -ENOMEM;
	}
	m->doms[domid] = dom;
	dom->domid = domid;
	dom->kind = spec->kind;
	dom->trusted = spec->kind != SR_KIND_GUEST || m->opts.trust_guests;
	dom->start_time = time(NULL);
	dom->door.src.fd = -1;
	strcpy(dom->name, spec->name);
	make_uuid(dom, spec);
	err = sr_ranges_init(m, dom);
	if (!err)
		err = sr_em_socket_name(m->dir, "xenstored", domid, &sa);
	if (!err)
		err = sr_store_listen(m->store, sa.sun_path, domid);
	if (!err)
		err = sr_nodes_create(m, dom, spec);
	if (!err && domid)
		err = sr_store_introduce(m->store, domid);
	if (!err)
		err = sr_door_open(m, dom);
	if (err) {
		sr_nodes_remove(m, dom);
		dismantle(m, dom);
		return err;
	}
	*out = dom;
	return 0;
}

/* --- processes ------------------------------------------------------------------------------- */

static void process_ready(struct sr_machine *m, struct sr_source *src)
{
	struct sr_process *p = (struct sr_process *)src;

	p->exited = true;
	m->nr_fds--;
	sr_machine_unwatch(m, src);
	if (p->dom->dying)
		sr_dom_settle(m, p->dom);
	else
		sr_dom_kill(m, p->dom);
}

int sr_dom_attach(struct sr_machine *m, struct sr_dom *dom, pid_t pid)
{
	struct sr_process *p;
	int err;

	if (pid <= 0)
		return -ESRCH;
	if (!dom->domid || dom->dying)
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->src.fd = pidfd_open(pid);
	p->src.ready = process_ready;
	p->dom = dom;
	p->pid = pid;
	err = p->src.fd < 0 ? -errno : sr_machine_watch(m, &p->src);
	if (err) {
		if (p->src.fd >= 0)
			close(p->src.fd);
		free(p);
		return err;
	}
	p->next = dom->processes;
	dom->processes = p;
	m->nr_fds++;
	return 0;
}

/* --- death ----------------------------------------------------------------------------------- */

/*
 * A guest's handles can be closed under its feet: the guest reaches nothing but its own memory
 * and its own lines. A trusted process works on other domains' grants by itself, so what it holds
 * can only be given back after it has stopped: when its handle closes.
 */
static void end_untrusted(struct sr_machine *m, struct sr_dom *dom)
{
	struct sr_conn_state *c, *next;

	for (c = dom->conns; c; c = next) {
		next = c->next;
		if (!dom->trusted || c->kind != SR_EM_GNTTAB)
			sr_conn_end(m, c);
	}
}

static void tell_waiter(struct sr_machine *m, struct sr_dom *dom)
{
	struct sr_em_reply reply = { 0 };
	struct sr_conn_state *c = dom->waiter;

	dom->waiter = NULL;
	if (c)
		sr_conn_reply(m, c, &reply, NULL, NULL, 0);
}

void sr_dom_settle(struct sr_machine *m, struct sr_dom *dom)
{
	struct sr_conn_state *waiter;

	if (dom->conns)
		return;
	for (struct sr_process *p = dom->processes; p; p = p->next)
		if (!p->exited)
			return;
	sr_nodes_remove(m, dom);
	waiter = dom->waiter;
	dismantle(m, dom);
	dom->waiter = waiter;
	tell_waiter(m, dom);
}

void sr_dom_kill(struct sr_machine *m, struct sr_dom *dom)
{
	if (!dom->dying) {
		dom->dying = true;
		sr_door_close(m, dom);
		for (struct sr_process *p = dom->processes; p; p = p->next)
			if (!p->exited)
				pidfd_kill(p->src.fd);
		end_untrusted(m, dom);
	}
	sr_dom_settle(m, dom);
}

void sr_dom_destroy(struct sr_machine *m, struct sr_dom *dom)
{
	for (struct sr_process *p = dom->processes; p; p = p->next)
		if (!p->exited)
			pidfd_kill(p->src.fd);
	dom->waiter = NULL;
	dismantle(m, dom);
}
