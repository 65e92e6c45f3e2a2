/* SPDX-License-Identifier: MIT */
/*
 * Event channels between processes. The core knows which port is bound to which; here each port
 * gets what lets events travel without us:
 *
 *   line    one word of shared memory (<core/channel.h>), made with the port and gone with it. The
 *           port's owner receives on it; whoever is bound to the port sends on it.
 *   ringer  an eventfd that a sender writes when the line says that the owner sleeps.
 *   bell    what the owner waits on: for a trusted owner the ringer itself. A guest gets an epoll
 *           descriptor that holds the ringer instead: with the eventfd in hand it could fill it
 *           and clear its O_NONBLOCK, and so block the backend that rings.
 *
 * For the same reason we never write a ringer that a sender has: we only hand out what a sender
 * needs to ring by itself, and begin with a count of 1 where a port starts pending.
 *
 * A port that loses its peer stays with its line, its ringer and its bell; only the lost peer's
 * line is marked closed. A sender that sees the mark, or knows no line yet, asks for the peer of
 * now (SR_EM_PEER). So a new peer needs no message to the old side. The line may be used by both
 * peers, one after the other, because both belong to the one domain that may bind to the port.
 *
 * The machine itself sends events where a page is unmapped (notices.c). It rings a bell that the
 * receiving handle has for that and that no peer knows; the handle then looks at all its lines.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "machine_impl.h"

#define PAGE 4096u

/* --- lines and bells ------------------------------------------------------------------------- */

static int make_line(struct sr_port *p, uint32_t word)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int err;

	p->line_fd = memfd_create("splitring-line", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (p->line_fd < 0)
		return -errno;
	if (ftruncate(p->line_fd, PAGE) || fcntl(p->line_fd, F_ADD_SEALS, seals)) {
		err = -errno;
		goto fail;
	}
	p->line = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, p->line_fd, 0);
	if (p->line == MAP_FAILED) {
		err = -errno;
		goto fail;
	}
	atomic_store_explicit(&p->line->word, word, memory_order_release);
	return 0;
fail:
	close(p->line_fd);
	return err;
}

/* A descriptor that is readable when `ringer` is, and with which nobody can write it. */
static int make_bell(int ringer)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int epfd = epoll_create1(EPOLL_CLOEXEC);

	if (epfd >= 0 && epoll_ctl(epfd, EPOLL_CTL_ADD, ringer, &ev)) {
		close(epfd);
		return -1;
	}
	return epfd;
}

static struct sr_port *find(const struct sr_dom *dom, uint32_t port)
{
	return port < dom->nr_ports ? dom->ports[port] : NULL;
}

static int make_room(struct sr_dom *dom, uint32_t port)
{
	uint32_t slots = dom->nr_ports ? dom->nr_ports : 64;
	struct sr_port **ports;

	while (slots <= port)
		slots *= 2;
	if (slots == dom->nr_ports)
		return 0;
	ports = realloc(dom->ports, slots * sizeof(*ports));
	if (!ports)
		return -ENOMEM;
	memset(ports + dom->nr_ports, 0, (slots - dom->nr_ports) * sizeof(*ports));
	dom->ports = ports;
	dom->nr_ports = slots;
	return 0;
}

static void unlink_port(struct sr_port *p)
{
	*p->link = p->next;
	if (p->next)
		p->next->link = p->link;
}

static void link_port(struct sr_port *p, struct sr_port **list)
{
	p->next = *list;
	p->link = list;
	if (p->next)
		p->next->link = &p->next;
	*list = p;
}

/* Gives the core's fresh port its line and ringer; a failure closes it again. */
static int adopt(struct sr_machine *m, struct sr_conn_state *c, uint32_t port, bool pending,
		 struct sr_port **out)
{
	uint32_t word = SR_CHANNEL_ARMED | (pending ? SR_CHANNEL_PENDING : 0);
	struct sr_dom *dom = c->dom;
	struct sr_port *p = calloc(1, sizeof(*p));
	int err = p ? make_room(dom, port) : -ENOMEM;

	if (err)
		goto fail;
	p->ringer = eventfd(pending, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->ringer < 0) {
		err = -errno;
		goto fail;
	}
	err = make_line(p, word);
	if (err) {
		close(p->ringer);
		goto fail;
	}
	p->dom = dom;
	p->owner = c;
	p->port = port;
	link_port(p, &c->ports);
	dom->ports[port] = p;
	dom->live_ports++;
	m->nr_fds += 2;
	*out = p;
	return 0;
fail:
	free(p);
	sr_core_evtchn_close(m->core, dom->domid, port);
	return err;
}

/* A port that a notice needs lives on as an orphan. */
static void close_port(struct sr_machine *m, struct sr_port *p)
{
	if (p->notices) {
		unlink_port(p);
		link_port(p, &p->dom->orphans);
		p->owner = NULL;
		return;
	}
	/* From now on the peer asks; it does so after the core has made its port unbound. */
	sr_core_evtchn_close(m->core, p->dom->domid, p->port);
	atomic_fetch_or_explicit(&p->line->word, SR_CHANNEL_CLOSED, memory_order_acq_rel);
	munmap(p->line, PAGE);
	close(p->line_fd);
	close(p->ringer);
	m->nr_fds -= 2;
	p->dom->ports[p->port] = NULL;
	p->dom->live_ports--;
	unlink_port(p);
	free(p);
}

/* The other end of an interdomain port; NULL: there is none. */
static struct sr_port *peer_of(struct sr_machine *m, const struct sr_port *p)
{
	struct evtchn_status st = { .dom = DOMID_SELF, .port = p->port };
	struct sr_dom *dom;

	if (sr_core_evtchn_status(m->core, p->dom->domid, &st) ||
	    st.status != EVTCHNSTAT_interdomain)
		return NULL;
	dom = sr_dom_find(m, st.u.interdomain.dom);
	return dom ? find(dom, st.u.interdomain.port) : NULL;
}

static void ring_bell(const struct sr_conn_state *c)
{
	uint64_t one = 1;
	ssize_t n = write(c->ringer, &one, sizeof(one));

	(void)n; /* EAGAIN: it rings already */
}

/*
 * A process was killed, maybe between an event and its ring: nobody else would ring for it, since
 * it is pending.
 */
static void ring_for_the_dead(struct sr_machine *m, const struct sr_conn_state *c)
{
	for (const struct sr_port *p = c->ports; p; p = p->next) {
		struct sr_port *peer = peer_of(m, p);

		if (peer && peer->owner && sr_channel_recover(peer->line))
			ring_bell(peer->owner);
	}
}

static void close_bell(struct sr_machine *m, int *fd)
{
	if (*fd < 0)
		return;
	close(*fd);
	*fd = -1;
	m->nr_fds--;
}

void sr_ports_close_all(struct sr_machine *m, struct sr_conn_state *c)
{
	if (!c->orderly)
		ring_for_the_dead(m, c);
	while (c->ports)
		close_port(m, c->ports);
	close_bell(m, &c->ringer);
	close_bell(m, &c->bell);
}

int sr_ports_hello(struct sr_machine *m, struct sr_conn_state *c, int *fds, unsigned *nr_fds)
{
	c->ringer = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->ringer < 0)
		return -errno;
	m->nr_fds++;
	if (!c->dom->trusted) {
		c->bell = make_bell(c->ringer);
		if (c->bell < 0)
			return -EMFILE;
		m->nr_fds++;
	}
	fds[0] = c->dom->trusted ? c->ringer : c->bell;
	*nr_fds = 1;
	return 0;
}

/* --- events that the machine itself raises --------------------------------------------------- */

void sr_ports_deliver(void *ctx, uint16_t domid, uint32_t vcpu, uint32_t port)
{
	struct sr_machine *m = ctx;
	struct sr_dom *dom = sr_dom_find(m, domid);
	struct sr_port *p = dom ? find(dom, port) : NULL;
	uint64_t one = 1;
	ssize_t n;

	if (!p || !p->virq)
		return;
	if (sr_channel_send(p->line) == SR_CHANNEL_RING) {
		n = write(p->ringer, &one, sizeof(one));
		(void)n; /* EAGAIN: it rings already */
	}
}

struct sr_port *sr_ports_hold(struct sr_dom *dom, uint32_t port)
{
	struct sr_port *p = find(dom, port);

	if (p)
		p->notices++;
	return p;
}

void sr_ports_let_go(struct sr_machine *m, struct sr_port *p)
{
	if (!--p->notices && !p->owner)
		close_port(m, p);
}

void sr_ports_send(struct sr_machine *m, const struct sr_port *p)
{
	struct sr_port *peer = peer_of(m, p);

	if (peer && peer->owner && sr_channel_send_by_bell(peer->line) == SR_CHANNEL_RING)
		ring_bell(peer->owner);
}

/* --- requests -------------------------------------------------------------------------------- */

/* What an answer carries; `bell` is closed after it where it was made for it. */
struct answer {
	struct sr_em_reply reply;
	int fds[SR_EM_MAX_FDS];
	unsigned nr_fds;
	int made_bell;
};

static int give_port(struct sr_machine *m, struct sr_port *p, struct answer *a)
{
	int bell = p->ringer;

	if (!p->dom->trusted) {
		bell = a->made_bell = make_bell(p->ringer);
		if (bell < 0) {
			close_port(m, p);
			return -EMFILE;
		}
	}
	a->reply.ret.port = p->port;
	a->fds[a->nr_fds++] = p->line_fd;
	a->fds[a->nr_fds++] = bell;
	return 0;
}

static void give_peer(const struct sr_port *peer, struct answer *a)
{
	a->fds[a->nr_fds++] = peer->line_fd;
	a->fds[a->nr_fds++] = peer->ringer;
}

static int alloc_unbound(struct sr_machine *m, struct sr_conn_state *c,
			 const struct sr_em_request *req, struct answer *a)
{
	struct evtchn_alloc_unbound op = { .dom = DOMID_SELF,
					   .remote_dom = (domid_t)req->arg.domid };
	struct sr_port *p;
	int err = sr_core_evtchn_alloc_unbound(m->core, c->dom->domid, &op);

	if (!err)
		err = adopt(m, c, op.port, false, &p);
	return err ? err : give_port(m, p, a);
}

static int bind_interdomain(struct sr_machine *m, struct sr_conn_state *c,
			    const struct sr_em_request *req, struct answer *a)
{
	struct evtchn_bind_interdomain op = { .remote_dom = (domid_t)req->arg.domid,
					      .remote_port = req->arg.port };
	struct sr_port *p, *peer;
	int err = sr_core_evtchn_bind_interdomain(m->core, c->dom->domid, &op);

	if (!err)
		err = adopt(m, c, op.local_port, true, &p);
	if (err)
		return err;
	peer = peer_of(m, p);
	if (!peer) {
		close_port(m, p);
		return -EINVAL;
	}
	err = give_port(m, p, a);
	if (!err)
		give_peer(peer, a);
	return err;
}

static int bind_virq(struct sr_machine *m, struct sr_conn_state *c, const struct sr_em_request *req,
		     struct answer *a)
{
	struct evtchn_bind_virq op = { .virq = req->arg.virq };
	struct sr_port *p;
	int err = sr_core_evtchn_bind_virq(m->core, c->dom->domid, &op);

	if (!err)
		err = adopt(m, c, op.port, false, &p);
	if (err)
		return err;
	p->virq = true;
	return give_port(m, p, a);
}

/* A port of this very handle. */
static struct sr_port *own(const struct sr_conn_state *c, uint32_t port)
{
	struct sr_port *p = find(c->dom, port);

	return p && p->owner == c ? p : NULL;
}

static int peer(struct sr_machine *m, struct sr_conn_state *c, const struct sr_em_request *req,
		struct answer *a)
{
	struct sr_port *p = own(c, req->arg.port), *other;

	if (!p)
		return -EINVAL;
	other = peer_of(m, p);
	if (!other)
		return -ENOTCONN;
	give_peer(other, a);
	return 0;
}

static int unbind(struct sr_machine *m, struct sr_conn_state *c, const struct sr_em_request *req)
{
	struct sr_port *p = own(c, req->arg.port);

	if (!p)
		return -EINVAL;
	close_port(m, p);
	return 0;
}

bool sr_ports_request(struct sr_machine *m, struct sr_conn_state *c,
		      const struct sr_em_request *req)
{
	struct answer a = { .made_bell = -1 };
	bool alive;
	int err;

	switch (req->op) {
	case SR_EM_ALLOC:
		err = alloc_unbound(m, c, req, &a);
		break;
	case SR_EM_BIND:
		err = bind_interdomain(m, c, req, &a);
		break;
	case SR_EM_VIRQ:
		err = bind_virq(m, c, req, &a);
		break;
	case SR_EM_PEER:
		err = peer(m, c, req, &a);
		break;
	default:
		err = unbind(m, c, req);
		break;
	}
	a.reply.status = err;
	alive = sr_conn_reply(m, c, &a.reply, NULL, a.fds, a.nr_fds);
	if (a.made_bell >= 0)
		close(a.made_bell);
	return alive;
}
