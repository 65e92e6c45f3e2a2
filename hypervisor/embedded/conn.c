/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "machine_impl.h"

/* Requests of one client that are served in a row; then the others have their turn. */
#define TURN 8
/*
 * Handles that a trusted gnttab connection can have mapped at once: Xen's own default of 1024
 * frames. 256 vbds that keep 1056 pages each fit. What is not used costs address space only.
 */
#define MAPTRACK_ENTRIES (1024u * 512u)

union message {
	struct sr_em_request req;
	char bytes[sizeof(struct sr_em_request) + SR_EM_COPY_MAX];
};

/* --- replies --------------------------------------------------------------------------------- */

bool sr_conn_reply(struct sr_machine *m, struct sr_conn_state *c, struct sr_em_reply *reply,
		   const void *data, const int *fds, unsigned nr_fds)
{
	union {
		char buf[CMSG_SPACE(sizeof(int) * SR_EM_MAX_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec iov[2] = { { .iov_base = reply, .iov_len = sizeof(*reply) },
				{ .iov_base = (void *)data, .iov_len = reply->bytes } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = data ? 2 : 1 };

	if (nr_fds && !reply->status) {
		struct cmsghdr *cm = &control.align;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * nr_fds);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(sizeof(int) * nr_fds);
		memcpy(CMSG_DATA(cm), fds, sizeof(int) * nr_fds);
	}
	if (sendmsg(c->src.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	/* A client that does not take its replies is not waited for. */
	sr_conn_end(m, c);
	return false;
}

/* --- the end of a connection ----------------------------------------------------------------- */

/* Gives back all that the handle held. */
static void release(struct sr_machine *m, struct sr_conn_state *c)
{
	sr_notices_fire_all(m, c);
	sr_ports_close_all(m, c);
	if (c->estate)
		sr_ranges_release(m, c);
	if (c->core_conn != SR_CONN_NONE)
		sr_core_connection_dead(m->core, c->core_conn);
	c->core_conn = SR_CONN_NONE;
	c->local = NULL;
}

void sr_conn_end(struct sr_machine *m, struct sr_conn_state *c)
{
	struct sr_dom *dom = c->dom;

	if (c->src.fd < 0)
		return;
	release(m, c);
	for (uint32_t i = 0; i < m->nr_doms; i++)
		if (m->doms[i] && m->doms[i]->waiter == c)
			m->doms[i]->waiter = NULL;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	dom->nr_conns--;
	m->nr_conns--;
	m->nr_fds--;
	sr_machine_unwatch(m, &c->src);
	sr_machine_bury(m, &c->src);
}

/* --- hello ----------------------------------------------------------------------------------- */

static int hello_gnttab(struct sr_machine *m, struct sr_conn_state *c, struct sr_em_reply *reply,
			int *fds, unsigned *nr_fds)
{
	int err = sr_core_connection_create(m->core, c->dom->domid,
					    c->dom->trusted ? MAPTRACK_ENTRIES : 1, &c->core_conn);

	if (err) {
		c->core_conn = SR_CONN_NONE;
		return err;
	}
	if (!c->dom->trusted)
		return sr_core_connection_local(m->core, c->core_conn, &c->local);
	reply->hello.conn = c->core_conn;
	*nr_fds = 1;
	return sr_core_connection_fd(m->core, c->core_conn, &fds[0]);
}

static int hello_gntshr(struct sr_machine *m, struct sr_conn_state *c, struct sr_em_reply *reply,
			int *fds, unsigned *nr_fds)
{
	struct sr_domain_fds of;
	int err = sr_core_domain_fds(m->core, c->dom->domid, &of);

	if (err)
		return err;
	c->estate = calloc(1, sizeof(*c->estate));
	if (!c->estate)
		return -ENOMEM;
	fds[0] = of.mem;
	fds[1] = of.table;
	*nr_fds = 2;
	return 0;
}

static int hello(struct sr_machine *m, struct sr_conn_state *c, const struct sr_em_request *req,
		 struct sr_em_reply *reply, int *fds, unsigned *nr_fds)
{
	struct sr_domain_info info;
	int err;

	if (c->greeted)
		return -EINVAL;
	if (req->hello.version != SR_EM_VERSION)
		return -EPROTO;
	if (req->hello.kind >= SR_EM_KINDS)
		return -EINVAL;
	if (req->hello.kind == SR_EM_CONTROL && c->dom->kind != SR_KIND_DOM0)
		return -EPERM;
	err = sr_core_domain_info(m->core, c->dom->domid, &info);
	if (err)
		return err;
	c->greeted = true;
	c->kind = req->hello.kind;
	reply->hello = (struct sr_em_hello_reply){
		.domid = c->dom->domid,
		.trusted = c->dom->trusted,
		.hugetlb = info.hugetlb,
		.nr_pages = info.nr_pages,
		.max_frames = info.max_grant_frames,
		.frames = info.grant_frames,
		.version = info.grant_version,
	};
	if (c->kind == SR_EM_GNTTAB)
		return hello_gnttab(m, c, reply, fds, nr_fds);
	if (c->kind == SR_EM_GNTSHR)
		return hello_gntshr(m, c, reply, fds, nr_fds);
	if (c->kind == SR_EM_EVTCHN)
		return sr_ports_hello(m, c, fds, nr_fds);
	return 0;
}

/* --- requests -------------------------------------------------------------------------------- */

static int foreign(struct sr_machine *m, struct sr_conn_state *c, const struct sr_em_request *req,
		   int *fds, unsigned *nr_fds)
{
	struct sr_domain_fds of;
	int err;

	if (!c->dom->trusted)
		return -EPERM;
	if (req->arg.domid > UINT16_MAX)
		return -ESRCH;
	err = sr_core_domain_fds(m->core, (uint16_t)req->arg.domid, &of);
	if (err)
		return err;
	fds[0] = of.mem;
	fds[1] = of.table;
	fds[2] = of.active;
	*nr_fds = 3;
	return 0;
}

/*
 * A guest's copy: the guest's own side travels in the messages, so the machine touches no memory
 * of the guest but what some domain granted.
 */
static bool copy(struct sr_machine *m, struct sr_conn_state *c, union message *msg, size_t len)
{
	struct sr_em_reply reply = { 0 };
	const struct sr_em_copy cp = msg->req.copy;
	struct sr_grant_copy seg = { .len = cp.len };
	char data[SR_EM_COPY_MAX];
	size_t want = cp.write && !cp.both ? cp.len : 0;

	if (!c->local || cp.len > SR_EM_COPY_MAX || len - sizeof(msg->req) != want) {
		reply.status = -EINVAL;
		return sr_conn_reply(m, c, &reply, NULL, NULL, 0);
	}
	seg.source.virt = msg->bytes + sizeof(msg->req);
	seg.dest.virt = data;
	if (!cp.write || cp.both) {
		seg.flags |= SR_COPY_SOURCE_GRANT;
		seg.source.grant.ref = cp.ref;
		seg.source.grant.domid = cp.domid;
		seg.source.grant.offset = cp.offset;
	}
	if (cp.write || cp.both) {
		seg.flags |= SR_COPY_DEST_GRANT;
		seg.dest.grant.ref = cp.both ? cp.to_ref : cp.ref;
		seg.dest.grant.domid = cp.both ? cp.to_domid : cp.domid;
		seg.dest.grant.offset = cp.both ? cp.to_offset : cp.offset;
	}
	sr_grant_copy(c->local, &seg, 1);
	reply.grant_status = seg.status;
	if (!cp.write && !cp.both && seg.status == GNTST_okay)
		reply.bytes = cp.len;
	return sr_conn_reply(m, c, &reply, reply.bytes ? data : NULL, NULL, 0);
}

/* Which requests each kind of handle may make. */
static bool allowed(const struct sr_conn_state *c, uint32_t op)
{
	if (op == SR_EM_HELLO || op == SR_EM_BYE)
		return true;
	if (!c->greeted || op >= SR_EM_OPS)
		return false;
	switch (c->kind) {
	case SR_EM_INSTANCE:
		return op == SR_EM_FOREIGN;
	case SR_EM_GNTTAB:
		return op == SR_EM_COPY ||
		       (c->dom->trusted && (op == SR_EM_NOTICE || op == SR_EM_FIRE));
	case SR_EM_GNTSHR:
		return op >= SR_EM_PAGES && op <= SR_EM_FIRE;
	case SR_EM_EVTCHN:
		return op >= SR_EM_ALLOC && op <= SR_EM_UNBIND;
	case SR_EM_CONTROL:
		return op >= SR_EM_CREATE;
	default:
		return false;
	}
}

/* Closes those descriptors of a reply which were made for it; false: the connection is gone. */
static bool answer(struct sr_machine *m, struct sr_conn_state *c, struct sr_em_request *req)
{
	struct sr_em_reply reply = { 0 };
	int fds[SR_EM_MAX_FDS];
	unsigned nr_fds = 0;
	bool deferred = false, alive;

	switch (allowed(c, req->op) ? req->op : SR_EM_OPS) {
	case SR_EM_HELLO:
		reply.status = hello(m, c, req, &reply, fds, &nr_fds);
		break;
	case SR_EM_BYE:
		c->orderly = true;
		release(m, c);
		break;
	case SR_EM_FOREIGN:
		reply.status = foreign(m, c, req, fds, &nr_fds);
		break;
	case SR_EM_PAGES:
		reply.status = sr_ranges_pages(m, c, req->amount.count, &reply);
		break;
	case SR_EM_REFS:
		reply.status = sr_ranges_refs(m, c, req->amount.count, &reply);
		break;
	case SR_EM_NOTICE:
		reply.status = sr_notices_add(m, c, &req->notice, &reply);
		break;
	case SR_EM_FIRE:
		reply.status = sr_notices_fire(m, c, req->notice.id);
		break;
	case SR_EM_ALLOC:
	case SR_EM_BIND:
	case SR_EM_VIRQ:
	case SR_EM_PEER:
	case SR_EM_UNBIND:
		return sr_ports_request(m, c, req);
	case SR_EM_OPS:
		reply.status = -EINVAL;
		break;
	default:
		reply.status = sr_control_request(m, c, req, &reply, &deferred);
		break;
	}
	if (deferred)
		return true;
	alive = sr_conn_reply(m, c, &reply, NULL, fds, nr_fds);
	if (alive && req->op == SR_EM_BYE) {
		sr_conn_end(m, c);
		return false;
	}
	return alive;
}

/* The last handle of a dying domain is what its destruction waited for. */
static void end_and_settle(struct sr_machine *m, struct sr_conn_state *c)
{
	struct sr_dom *dom = c->dom;

	sr_conn_end(m, c);
	if (dom->dying)
		sr_dom_settle(m, dom);
}

static void conn_ready(struct sr_machine *m, struct sr_source *src)
{
	struct sr_conn_state *c = (struct sr_conn_state *)src;

	for (int i = 0; i < TURN && src->fd >= 0; i++) {
		union message msg;
		/* No room for control data: descriptors that a client sends are dropped. */
		ssize_t n = recv(src->fd, &msg, sizeof(msg), MSG_DONTWAIT | MSG_TRUNC);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < (ssize_t)sizeof(msg.req) || n > (ssize_t)sizeof(msg)) {
			/* Closed, broken, or not our protocol. */
			end_and_settle(m, c);
			return;
		}
		if (msg.req.op == SR_EM_COPY && allowed(c, SR_EM_COPY))
			copy(m, c, &msg, (size_t)n);
		else if (n != sizeof(msg.req))
			sr_conn_end(m, c);
		else
			answer(m, c, &msg.req);
	}
	if (src->fd < 0 && c->dom->dying)
		sr_dom_settle(m, c->dom);
}

/* --- the door -------------------------------------------------------------------------------- */

/* No descriptor left for a client: turn it away, or the loop would find it at the door for ever. */
static void turn_away(struct sr_machine *m, int door)
{
	int fd;

	if (errno != EMFILE && errno != ENFILE)
		return;
	if (m->spare_fd >= 0)
		close(m->spare_fd);
	fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	m->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void door_ready(struct sr_machine *m, struct sr_source *src)
{
	struct sr_dom *dom = ((struct sr_door *)src)->dom;
	unsigned limit = dom->kind == SR_KIND_GUEST ? m->opts.guest_connections : UINT16_MAX;
	struct sr_conn_state *c;
	int fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		turn_away(m, src->fd);
		return;
	}
	c = dom->nr_conns < limit ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->src.fd = fd;
	c->src.ready = conn_ready;
	c->dom = dom;
	c->core_conn = SR_CONN_NONE;
	c->ringer = c->bell = -1;
	if (sr_machine_watch(m, &c->src)) {
		close(fd);
		free(c);
		return;
	}
	c->next = dom->conns;
	c->link = &dom->conns;
	if (c->next)
		c->next->link = &c->next;
	dom->conns = c;
	dom->nr_conns++;
	m->nr_conns++;
	m->nr_fds++;
}

int sr_door_open(struct sr_machine *m, struct sr_dom *dom)
{
	struct sockaddr_un sa;
	int fd, err;

	err = sr_em_socket_name(m->dir, "hv", dom->domid, &sa);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* The directory is ours alone (its lock says so): what lies there is left from a crash. */
	unlink(sa.sun_path);
	if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 128)) {
		err = -errno;
		close(fd);
		return err;
	}
	dom->door.src.fd = fd;
	dom->door.src.ready = door_ready;
	dom->door.dom = dom;
	strcpy(dom->door_path, sa.sun_path);
	err = sr_machine_watch(m, &dom->door.src);
	if (err)
		sr_door_close(m, dom);
	else
		m->nr_fds++;
	return err;
}

void sr_door_close(struct sr_machine *m, struct sr_dom *dom)
{
	if (dom->door.src.fd < 0)
		return;
	sr_machine_unwatch(m, &dom->door.src);
	unlink(dom->door_path);
	m->nr_fds--;
}
