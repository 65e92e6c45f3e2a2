/* SPDX-License-Identifier: MIT */
/*
 * contract-peer ADDRESS DOMID: does in this domain what a contract test in domain DOMID asks for,
 * see wire.h. It trusts that domain. It ends when it is killed, or its xenstore goes.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xenstore.h>

#include <hypervisor.h>

#include "wire.h"

#define HANDLES 64u
#define SHARES  256u

struct handle {
	bool used;
	enum wire_kind kind;
	struct sr_gnttab *gt;
	struct sr_gntshr *gs;
	struct sr_evtchn *ev;
};

/* What was shared; kept until it is taken back or its handle goes. */
struct share {
	uint8_t *addr;
	uint32_t *refs;
	unsigned count, owner;
};

struct peer {
	struct sr_hypervisor *hv;
	struct xs_handle *xs;
	struct handle handle[HANDLES];
	struct share share[SHARES];
};

/* --- handles and shares ---------------------------------------------------------------------- */

static void forget(struct share *s)
{
	free(s->refs);
	*s = (struct share){ 0 };
}

static void close_handle(struct peer *p, unsigned n)
{
	struct handle *h = &p->handle[n];

	if (!h->used)
		return;
	sr_gnttab_close(h->gt);
	sr_gntshr_close(h->gs);
	sr_evtchn_close(h->ev);
	*h = (struct handle){ 0 };
	for (unsigned i = 0; i < SHARES; i++)
		if (p->share[i].addr && p->share[i].owner == n)
			forget(&p->share[i]);
}

static int open_handle(struct peer *p, uint32_t kind, uint32_t *out)
{
	for (unsigned i = 0; i < HANDLES; i++) {
		struct handle *h = &p->handle[i];
		int err = -EINVAL;

		if (h->used)
			continue;
		if (kind == WIRE_GNTTAB)
			err = sr_gnttab_open(p->hv, &h->gt);
		else if (kind == WIRE_GNTSHR)
			err = sr_gntshr_open(p->hv, &h->gs);
		else if (kind == WIRE_EVTCHN)
			err = sr_evtchn_open(p->hv, &h->ev);
		if (err)
			return err;
		h->used = true;
		h->kind = (enum wire_kind)kind;
		*out = i;
		return 0;
	}
	return -EMFILE;
}

static struct handle *handle_of(struct peer *p, uint32_t n, enum wire_kind kind)
{
	return n < HANDLES && p->handle[n].used && p->handle[n].kind == kind ? &p->handle[n] : NULL;
}

static struct share *share_of(struct peer *p, uint32_t n)
{
	return n < SHARES && p->share[n].addr ? &p->share[n] : NULL;
}

/* --- granting -------------------------------------------------------------------------------- */

static int do_share(struct peer *p, const struct wire *q, struct wire *a)
{
	struct handle *h = handle_of(p, q->arg[0], WIRE_GNTSHR);
	unsigned n = 0, count = q->arg[2];
	struct share *s;
	int err;

	while (n < SHARES && p->share[n].addr)
		n++;
	if (!h || n == SHARES || count > 1u << 20)
		return -EINVAL;
	s = &p->share[n];
	s->refs = calloc(count ? count : 1, sizeof(*s->refs));
	if (!s->refs)
		return -ENOMEM;
	err = sr_gntshr_share(h->gs, (uint16_t)q->arg[1], count, q->arg[3] != 0, s->refs,
			      (void **)&s->addr);
	if (err) {
		forget(s);
		return err;
	}
	s->count = count;
	s->owner = q->arg[0];
	a->arg[0] = n;
	return 0;
}

static int do_unshare(struct peer *p, const struct wire *q)
{
	struct handle *h = handle_of(p, q->arg[0], WIRE_GNTSHR);
	struct share *s = share_of(p, q->arg[1]);
	int err;

	if (!h || !s)
		return -EINVAL;
	err = sr_gntshr_unshare(h->gs, s->addr, q->arg[2]);
	if (!err)
		forget(s);
	return err;
}

/* Bytes of a share to or from `data`. */
static int do_bytes(struct peer *p, const struct wire *q, struct wire *a)
{
	struct share *s = share_of(p, q->arg[0]);
	uint32_t len = q->op == WIRE_PUT ? q->len : q->arg[2];
	size_t size = s ? (size_t)s->count * SR_PAGE_SIZE : 0;

	if (len > WIRE_DATA || q->arg[1] > size || len > size - q->arg[1])
		return -EINVAL;
	if (q->op == WIRE_PUT) {
		memcpy(s->addr + q->arg[1], q->data, len);
		return 0;
	}
	memcpy(a->data, s->addr + q->arg[1], len);
	a->len = len;
	return 0;
}

static int do_refs(struct peer *p, const struct wire *q, struct wire *a)
{
	struct share *s = share_of(p, q->arg[0]);

	if (!s || q->arg[1] > s->count || q->arg[2] > s->count - q->arg[1] ||
	    q->arg[2] > WIRE_DATA / sizeof(*s->refs))
		return -EINVAL;
	a->len = (uint32_t)(q->arg[2] * sizeof(*s->refs));
	memcpy(a->data, s->refs + q->arg[1], a->len);
	return 0;
}

static int do_copy(struct peer *p, const struct wire *q, struct wire *a)
{
	struct handle *h = handle_of(p, q->arg[0], WIRE_GNTTAB);
	bool to_grant = q->arg[5] == WIRE_TO_GRANT;
	struct sr_copy_segment seg = { .len = (uint16_t)q->arg[4],
				       .flags =
					   to_grant ? SR_COPY_DEST_GREF : SR_COPY_SOURCE_GREF };
	union sr_copy_ptr *grant = to_grant ? &seg.dest : &seg.source;
	int err;

	if (!h || q->arg[4] > WIRE_DATA)
		return -EINVAL;
	memcpy(a->data, q->data, q->len);
	if (to_grant)
		seg.source.virt = a->data;
	else
		seg.dest.virt = a->data;
	grant->foreign.domid = (uint16_t)q->arg[1];
	grant->foreign.ref = q->arg[2];
	grant->foreign.offset = (uint16_t)q->arg[3];
	err = sr_gnttab_copy(h->gt, &seg, 1);
	a->arg[0] = (uint32_t)(int32_t)seg.status;
	a->len = q->arg[4];
	return err;
}

/* --- event channels -------------------------------------------------------------------------- */

static int do_pending(struct handle *h, uint32_t timeout_ms, uint32_t *port)
{
	struct pollfd pfd = { .fd = sr_evtchn_fd(h->ev), .events = POLLIN };
	int err;

	while ((err = sr_evtchn_pending(h->ev, port)) == -EAGAIN)
		if (poll(&pfd, 1, (int)timeout_ms) == 0)
			break;
	return err;
}

static int do_event(struct peer *p, const struct wire *q, struct wire *a)
{
	struct handle *h = handle_of(p, q->arg[0], WIRE_EVTCHN);

	if (!h)
		return -EINVAL;
	switch (q->op) {
	case WIRE_ALLOC:
		return sr_evtchn_alloc_unbound(h->ev, (uint16_t)q->arg[1], &a->arg[0]);
	case WIRE_BIND:
		return sr_evtchn_bind_interdomain(h->ev, (uint16_t)q->arg[1], q->arg[2],
						  &a->arg[0]);
	case WIRE_VIRQ:
		return sr_evtchn_bind_virq(h->ev, q->arg[1], &a->arg[0]);
	case WIRE_UNBIND:
		return sr_evtchn_unbind(h->ev, q->arg[1]);
	case WIRE_NOTIFY:
		return sr_evtchn_notify(h->ev, q->arg[1]);
	case WIRE_PENDING:
		return do_pending(h, q->arg[1], &a->arg[0]);
	default:
		return sr_evtchn_unmask(h->ev, q->arg[1]);
	}
}

/* --- questions and answers ------------------------------------------------------------------- */

static int answer(struct peer *p, const struct wire *q, struct wire *a)
{
	switch (q->op) {
	case WIRE_RESET:
		for (unsigned i = 0; i < HANDLES; i++)
			close_handle(p, i);
		return 0;
	case WIRE_OPEN:
		return open_handle(p, q->arg[0], &a->arg[0]);
	case WIRE_CLOSE:
		if (q->arg[0] >= HANDLES)
			return -EINVAL;
		close_handle(p, q->arg[0]);
		return 0;
	case WIRE_SHARE:
		return do_share(p, q, a);
	case WIRE_UNSHARE:
		return do_unshare(p, q);
	case WIRE_REFS:
		return do_refs(p, q, a);
	case WIRE_PUT:
	case WIRE_GET:
		return do_bytes(p, q, a);
	case WIRE_COPY:
		return do_copy(p, q, a);
	case WIRE_ALLOC:
	case WIRE_BIND:
	case WIRE_VIRQ:
	case WIRE_UNBIND:
	case WIRE_NOTIFY:
	case WIRE_PENDING:
	case WIRE_UNMASK:
		return do_event(p, q, a);
	default:
		return -ENOSYS;
	}
}

/* Both nodes, and the domain that tests let in. */
static bool make_nodes(struct peer *p, uint16_t tester)
{
	static const struct {
		const char *path;
		unsigned perm;
	} nodes[] = {
		{ WIRE_DIR "/reply", XS_PERM_READ },
		{ WIRE_DIR "/request", XS_PERM_READ | XS_PERM_WRITE },
	};

	xs_rm(p->xs, XBT_NULL, WIRE_DIR);
	for (unsigned i = 0; i < 2; i++) {
		struct xs_permissions perms[2] = {
			{ .id = sr_hv_domid(p->hv), .perms = XS_PERM_NONE },
			{ .id = tester, .perms = nodes[i].perm },
		};

		if (!xs_write(p->xs, XBT_NULL, nodes[i].path, "", 0) ||
		    !xs_set_permissions(p->xs, XBT_NULL, nodes[i].path, perms, 2))
			return false;
	}
	return xs_watch(p->xs, WIRE_DIR "/request", "request");
}

static int serve(struct peer *p)
{
	uint32_t last = 0;

	for (;;) {
		struct wire q = { 0 }, a = { 0 };
		unsigned n, size;
		char **event = xs_read_watch(p->xs, &n), *value;

		if (!event)
			return -errno;
		free(event);
		value = xs_read(p->xs, XBT_NULL, WIRE_DIR "/request", &size);
		if (!value)
			return errno == EAGAIN ? 0 : -errno;
		memcpy(&q, value, size < sizeof(q) ? size : sizeof(q));
		free(value);
		if (!wire_is_whole(&q, size) || q.seq == last)
			continue;
		last = a.seq = q.seq;
		a.op = answer(p, &q, &a);
		if (!xs_write(p->xs, XBT_NULL, WIRE_DIR "/reply", &a, wire_size(&a)))
			return -errno;
	}
}

int main(int argc, char **argv)
{
	static struct peer peer;
	int err;

	if (argc != 3) {
		fputs("usage: contract-peer ADDRESS DOMID\n", stderr);
		return 2;
	}
	err = sr_hv_open(argv[1], &peer.hv);
	if (!err)
		err = sr_hv_xenstore(peer.hv, &peer.xs);
	if (!err && !make_nodes(&peer, (uint16_t)atoi(argv[2])))
		err = -errno;
	if (!err) {
		printf("# contract-peer: domain %u answers domain %s\n", sr_hv_domid(peer.hv),
		       argv[2]);
		fflush(stdout);
		err = serve(&peer);
	}
	fprintf(stderr, "contract-peer: %s: %s\n", argv[1], strerror(-err));
	return 1;
}
