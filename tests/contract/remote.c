/* SPDX-License-Identifier: MIT */
#include "remote.h"

#include <errno.h>
#include <poll.h>
#include <provider.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <xenstore.h>

#include "wire.h"

#define PATIENCE_MS 30000

struct remote {
	struct sr_hypervisor base;
	struct remote *next;
	struct xs_handle *xs;
	pthread_mutex_t lock; /* a question at a time */
	char request[64], reply[64];
	uint32_t seq;
	bool abandoned;
};

/* Each handle begins as the seam's handle of its family does: with its operations. */
struct remote_handle {
	union {
		struct sr_gnttab gt;
		struct sr_gntshr gs;
		struct sr_evtchn ev;
	};
	struct remote *r;
	uint32_t id;
};

struct share {
	struct share *next;
	struct remote_handle *owner;
	uint8_t *addr; /* reserved addresses, without memory */
	size_t len;
	uint32_t id;
};

static struct remote *remotes; /* of the test's main thread only */
static struct share *shares;
static pthread_mutex_t shares_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- question and answer --------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* True: the reply's node holds the answer to `seq`. */
static bool take_answer(struct remote *r, uint32_t seq, struct wire *answer)
{
	unsigned size;
	void *value = xs_read(r->xs, XBT_NULL, r->reply, &size);
	bool whole = value && size <= sizeof(*answer);

	if (whole) {
		memcpy(answer, value, size);
		whole = wire_is_whole(answer, size) && answer->seq == seq;
	}
	free(value);
	return whole;
}

static int ask_locked(struct remote *r, struct wire *w)
{
	int64_t deadline = now_ms() + PATIENCE_MS;
	char **event;

	w->seq = ++r->seq;
	if (!xs_write(r->xs, XBT_NULL, r->request, w, wire_size(w)))
		return -errno;
	while (!take_answer(r, r->seq, w)) {
		struct pollfd pfd = { .fd = xs_fileno(r->xs), .events = POLLIN };
		int64_t left = deadline - now_ms();

		if (left <= 0 || poll(&pfd, 1, (int)left) < 0)
			return -ETIMEDOUT;
		while ((event = xs_check_watch(r->xs)))
			free(event);
	}
	return w->op;
}

/* `w` is the question and then the answer. */
static int ask(struct remote *r, struct wire *w)
{
	int err = -ESHUTDOWN;

	pthread_mutex_lock(&r->lock);
	if (!r->abandoned)
		err = ask_locked(r, w);
	pthread_mutex_unlock(&r->lock);
	return err;
}

/* One without data either way. */
static int ask_plain(struct remote *r, enum wire_op op, uint32_t a, uint32_t b, uint32_t c,
		     uint32_t *out)
{
	struct wire w = { .op = op, .arg = { a, b, c } };
	int err = ask(r, &w);

	if (!err && out)
		*out = w.arg[0];
	return err;
}

/* --- gntshr ---------------------------------------------------------------------------------- */

static void drop_share(struct share **p)
{
	struct share *s = *p;

	*p = s->next;
	munmap(s->addr, s->len);
	free(s);
}

static int fetch_refs(struct remote *r, uint32_t id, unsigned count, uint32_t *refs)
{
	const unsigned most = WIRE_DATA / sizeof(*refs);

	for (unsigned done = 0; done < count;) {
		unsigned n = count - done < most ? count - done : most;
		struct wire w = { .op = WIRE_REFS, .arg = { id, done, n } };
		int err = ask(r, &w);

		if (err)
			return err;
		memcpy(refs + done, w.data, n * sizeof(*refs));
		done += n;
	}
	return 0;
}

static int remote_share(struct sr_gntshr *gs, uint16_t domid, unsigned count, bool writable,
			uint32_t *refs, void **addr)
{
	struct remote_handle *h = (struct remote_handle *)gs;
	struct wire w = { .op = WIRE_SHARE, .arg = { h->id, domid, count, writable } };
	int err = ask(h->r, &w);
	struct share *s;

	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	*s = (struct share){ .owner = h, .len = (size_t)count * SR_PAGE_SIZE, .id = w.arg[0] };
	s->addr = mmap(NULL, s->len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s->addr == MAP_FAILED) {
		free(s);
		return -ENOMEM;
	}
	err = fetch_refs(h->r, s->id, count, refs);
	if (err) {
		drop_share(&s);
		return err;
	}
	*addr = s->addr;
	pthread_mutex_lock(&shares_lock);
	s->next = shares;
	shares = s;
	pthread_mutex_unlock(&shares_lock);
	return 0;
}

static struct share **find_share(const void *at)
{
	const uint8_t *b = at;
	struct share **p = &shares;

	while (*p && (b < (*p)->addr || b >= (*p)->addr + (*p)->len))
		p = &(*p)->next;
	return p;
}

static int remote_unshare(struct sr_gntshr *gs, void *addr, unsigned count)
{
	struct remote_handle *h = (struct remote_handle *)gs;
	int err = -EINVAL;
	struct share **p;

	pthread_mutex_lock(&shares_lock);
	p = find_share(addr);
	if (*p && (*p)->addr == addr && (*p)->len == (size_t)count * SR_PAGE_SIZE)
		err = ask_plain(h->r, WIRE_UNSHARE, h->id, (*p)->id, count, NULL);
	if (!err)
		drop_share(p);
	pthread_mutex_unlock(&shares_lock);
	return err;
}

static void close_handle(struct remote_handle *h)
{
	ask_plain(h->r, WIRE_CLOSE, h->id, 0, 0, NULL);
	free(h);
}

static void gntshr_close(struct sr_gntshr *gs)
{
	struct remote_handle *h = (struct remote_handle *)gs;

	pthread_mutex_lock(&shares_lock);
	for (struct share **p = &shares; *p;)
		if ((*p)->owner == h)
			drop_share(p);
		else
			p = &(*p)->next;
	pthread_mutex_unlock(&shares_lock);
	close_handle(h);
}

static const struct sr_gntshr_ops gntshr_ops = {
	.close = gntshr_close,
	.share = remote_share,
	.unshare = remote_unshare,
};

/* --- the bytes of a share -------------------------------------------------------------------- */

static void must(int err)
{
	if (!err)
		return;
	fprintf(stderr, "contract-peer does not do its part: %s\n", strerror(-err));
	abort();
}

/* The share that holds `at`; it stays while its handle's one thread is at it. */
static struct share *share_at(const void *at)
{
	struct share *s;

	pthread_mutex_lock(&shares_lock);
	s = *find_share(at);
	pthread_mutex_unlock(&shares_lock);
	return s;
}

bool remote_put(void *at, const void *data, size_t len)
{
	struct share *s = share_at(at);

	for (size_t done = 0, n; s && done < len; done += n) {
		struct wire w = { .op = WIRE_PUT,
				  .arg = { s->id, (uint32_t)((uint8_t *)at - s->addr + done) } };

		n = len - done < WIRE_DATA ? len - done : WIRE_DATA;
		w.len = (uint32_t)n;
		memcpy(w.data, (const uint8_t *)data + done, n);
		must(ask(s->owner->r, &w));
	}
	return s != NULL;
}

bool remote_get(const void *at, void *data, size_t len)
{
	struct share *s = share_at(at);

	for (size_t done = 0, n; s && done < len; done += n) {
		struct wire w = { .op = WIRE_GET,
				  .arg = { s->id,
					   (uint32_t)((const uint8_t *)at - s->addr + done) } };

		n = len - done < WIRE_DATA ? len - done : WIRE_DATA;
		w.arg[2] = (uint32_t)n;
		must(ask(s->owner->r, &w));
		memcpy((uint8_t *)data + done, w.data, n);
	}
	return s != NULL;
}

/* --- gnttab: copies of single segments ------------------------------------------------------- */

static int remote_copy(struct sr_gnttab *gt, struct sr_copy_segment *segs, unsigned count)
{
	struct remote_handle *h = (struct remote_handle *)gt;

	for (unsigned i = 0; i < count; i++) {
		struct sr_copy_segment *s = &segs[i];
		bool to = s->flags == SR_COPY_DEST_GREF;
		const union sr_copy_ptr *grant = to ? &s->dest : &s->source;
		struct wire w = { .op = WIRE_COPY,
				  .arg = { h->id, grant->foreign.domid, grant->foreign.ref,
					   grant->foreign.offset, s->len,
					   to ? WIRE_TO_GRANT : WIRE_FROM_GRANT } };
		int err;

		if (s->len > WIRE_DATA || (!to && s->flags != SR_COPY_SOURCE_GREF))
			return -ENOTSUP;
		if (to) {
			w.len = s->len;
			memcpy(w.data, s->source.virt, s->len);
		}
		err = ask(h->r, &w);
		if (err)
			return err;
		s->status = (int16_t)w.arg[0];
		if (!to && !s->status)
			memcpy(s->dest.virt, w.data, s->len);
	}
	return 0;
}

static int remote_map(struct sr_gnttab *gt, uint16_t domid, const uint32_t *refs, unsigned count,
		      int prot, void **addr)
{
	return -ENOTSUP;
}

static int remote_unmap(struct sr_gnttab *gt, void *addr, unsigned count)
{
	return -EINVAL;
}

static void gnttab_close(struct sr_gnttab *gt)
{
	close_handle((struct remote_handle *)gt);
}

static const struct sr_gnttab_ops gnttab_ops = {
	.close = gnttab_close,
	.map = remote_map,
	.unmap = remote_unmap,
	.copy = remote_copy,
};

/* --- evtchn ---------------------------------------------------------------------------------- */

static int event(struct sr_evtchn *ev, enum wire_op op, uint32_t a, uint32_t b, uint32_t *out)
{
	struct remote_handle *h = (struct remote_handle *)ev;

	return ask_plain(h->r, op, h->id, a, b, out);
}

static int remote_fd(struct sr_evtchn *ev)
{
	return -1;
}

static int remote_alloc(struct sr_evtchn *ev, uint16_t domid, uint32_t *port)
{
	return event(ev, WIRE_ALLOC, domid, 0, port);
}

static int remote_bind(struct sr_evtchn *ev, uint16_t domid, uint32_t remote_port, uint32_t *port)
{
	return event(ev, WIRE_BIND, domid, remote_port, port);
}

static int remote_virq(struct sr_evtchn *ev, unsigned virq, uint32_t *port)
{
	return event(ev, WIRE_VIRQ, virq, 0, port);
}

static int remote_unbind(struct sr_evtchn *ev, uint32_t port)
{
	return event(ev, WIRE_UNBIND, port, 0, NULL);
}

static int remote_notify(struct sr_evtchn *ev, uint32_t port)
{
	return event(ev, WIRE_NOTIFY, port, 0, NULL);
}

static int remote_pending(struct sr_evtchn *ev, uint32_t *port)
{
	return event(ev, WIRE_PENDING, 0, 0, port);
}

static int remote_unmask(struct sr_evtchn *ev, uint32_t port)
{
	return event(ev, WIRE_UNMASK, port, 0, NULL);
}

static void evtchn_close(struct sr_evtchn *ev)
{
	close_handle((struct remote_handle *)ev);
}

static const struct sr_evtchn_ops evtchn_ops = {
	.close = evtchn_close,
	.fd = remote_fd,
	.alloc_unbound = remote_alloc,
	.bind_interdomain = remote_bind,
	.bind_virq = remote_virq,
	.unbind = remote_unbind,
	.notify = remote_notify,
	.pending = remote_pending,
	.unmask = remote_unmask,
};

bool remote_is(const struct sr_evtchn *ev)
{
	return ev->ops == &evtchn_ops;
}

int remote_wait(struct sr_evtchn *ev, int timeout_ms, uint32_t *port)
{
	return event(ev, WIRE_PENDING, (uint32_t)timeout_ms, 0, port);
}

/* --- the instance ---------------------------------------------------------------------------- */

static int new_handle(struct sr_hypervisor *hv, enum wire_kind kind, struct remote_handle **out)
{
	struct remote_handle *h = calloc(1, sizeof(*h));
	int err;

	if (!h)
		return -ENOMEM;
	h->r = (struct remote *)hv;
	err = ask_plain(h->r, WIRE_OPEN, kind, 0, 0, &h->id);
	if (err) {
		free(h);
		return err;
	}
	*out = h;
	return 0;
}

static int remote_gnttab(struct sr_hypervisor *hv, struct sr_gnttab **gt)
{
	struct remote_handle *h;
	int err = new_handle(hv, WIRE_GNTTAB, &h);

	if (!err) {
		h->gt.ops = &gnttab_ops;
		*gt = &h->gt;
	}
	return err;
}

static int remote_gntshr(struct sr_hypervisor *hv, struct sr_gntshr **gs)
{
	struct remote_handle *h;
	int err = new_handle(hv, WIRE_GNTSHR, &h);

	if (!err) {
		h->gs.ops = &gntshr_ops;
		*gs = &h->gs;
	}
	return err;
}

static int remote_evtchn(struct sr_hypervisor *hv, struct sr_evtchn **ev)
{
	struct remote_handle *h;
	int err = new_handle(hv, WIRE_EVTCHN, &h);

	if (!err) {
		h->ev.ops = &evtchn_ops;
		*ev = &h->ev;
	}
	return err;
}

static int remote_xenstore(struct sr_hypervisor *hv, struct xs_handle **xs)
{
	return -ENOTSUP;
}

static void remote_close(struct sr_hypervisor *hv)
{
	struct remote *r = (struct remote *)hv, **p = &remotes;

	while (*p && *p != r)
		p = &(*p)->next;
	if (*p)
		*p = r->next;
	if (r->xs)
		xs_close(r->xs);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static const struct sr_hypervisor_ops hypervisor_ops = {
	.close = remote_close,
	.xenstore = remote_xenstore,
	.gnttab_open = remote_gnttab,
	.gntshr_open = remote_gntshr,
	.evtchn_open = remote_evtchn,
};

/* The peer makes its nodes when it is there. */
static int find_peer(struct remote *r)
{
	int64_t deadline = now_ms() + PATIENCE_MS;
	unsigned len;
	char *value;

	while (!(value = xs_read(r->xs, XBT_NULL, r->request, &len))) {
		if (now_ms() > deadline)
			return -ETIMEDOUT;
		usleep(20000);
	}
	free(value);
	return xs_watch(r->xs, r->reply, "reply") ? 0 : -errno;
}

int remote_open(struct sr_hypervisor *here, uint16_t domid, struct sr_hypervisor **hv)
{
	struct remote *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	r->base.ops = &hypervisor_ops;
	r->base.domid = domid;
	pthread_mutex_init(&r->lock, NULL);
	snprintf(r->request, sizeof(r->request), "/local/domain/%u/" WIRE_DIR "/request", domid);
	snprintf(r->reply, sizeof(r->reply), "/local/domain/%u/" WIRE_DIR "/reply", domid);
	/* No answer to another program's question may look like one to ours. */
	r->seq = (uint32_t)now_ms() ^ (uint32_t)getpid() << 20;
	err = sr_hv_xenstore(here, &r->xs);
	if (!err)
		err = find_peer(r);
	if (!err)
		err = ask_plain(r, WIRE_RESET, 0, 0, 0, NULL);
	if (err) {
		remote_close(&r->base);
		return err;
	}
	r->next = remotes;
	remotes = r;
	*hv = &r->base;
	return 0;
}

void remote_abandon(uint16_t domid)
{
	for (struct remote *r = remotes; r; r = r->next) {
		if (r->base.domid != domid)
			continue;
		pthread_mutex_lock(&r->lock);
		r->abandoned = true;
		pthread_mutex_unlock(&r->lock);
	}
}
