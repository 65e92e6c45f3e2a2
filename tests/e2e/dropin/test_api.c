/* SPDX-License-Identifier: MIT */
/*
 * What programs rely on in libxengnttab and libxenevtchn beyond what provider `xen` does, which the
 * contract suite covers. The program is linked to Xen's libraries and finds the drop-in ones; the
 * other domain is played through the seam.
 */
#include "machine.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xencall.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xengnttab.h>
#include <xentoollog.h>

#define NONE UINT32_MAX

/* The libraries complain on stderr where they are given no logger. */
static void say_nothing(struct xentoollog_logger *l, xentoollog_level level, int errnoval,
			const char *context, const char *format, va_list al)
{
}

static struct xentoollog_logger quiet = { .vmessage = say_nothing };

/* A guest that shares pages by the seam, and what domain 0 does by the libraries. */
struct guest {
	uint16_t domid;
	struct sr_hypervisor *hv;
	struct sr_gntshr *gs;
	uint8_t *page;
	uint32_t ref[4];
};

static void speak_as(const struct fixture *f, uint16_t domid)
{
	assert_int_equal(setenv("SPLITRING_HYPERVISOR", machine_address(f, domid), 1), 0);
}

static struct guest guest_open(struct fixture *f, const char *name)
{
	struct guest g = { .domid = machine_guest(f, name) };
	void *addr;

	assert_int_equal(sr_hv_open(machine_address(f, g.domid), &g.hv), 0);
	assert_int_equal(sr_gntshr_open(g.hv, &g.gs), 0);
	assert_int_equal(sr_gntshr_share(g.gs, 0, 4, true, g.ref, &addr), 0);
	g.page = addr;
	for (int i = 0; i < 4; i++)
		memset(g.page + i * SR_PAGE_SIZE, 16 * g.domid + i, SR_PAGE_SIZE);
	speak_as(f, 0);
	return g;
}

static void guest_close(struct guest *g)
{
	sr_gntshr_close(g->gs);
	sr_hv_close(g->hv);
}

static uint64_t pinned(const struct fixture *f, uint16_t domid)
{
	struct sr_domain_list_entry e;

	assert_int_equal(sr_control_info(f->control, domid, &e), 0);
	return e.pinned;
}

/* Whether the kernel reads and writes there for us. */
static bool accessible(void *addr, bool writing)
{
	char c = 0;
	int fds[2];
	bool can;

	assert_int_equal(pipe(fds), 0);
	if (writing) {
		assert_int_equal(write(fds[1], &c, 1), 1);
		can = read(fds[0], addr, 1) == 1;
	} else {
		can = write(fds[1], addr, 1) == 1;
	}
	close(fds[0]);
	close(fds[1]);
	return can;
}

/* --- libxengnttab ---------------------------------------------------------------------------- */

static void pages_of_several_domains_are_one_range(void **state)
{
	struct guest a = guest_open(*state, "a"), b = guest_open(*state, "b");
	uint32_t domids[] = { b.domid, a.domid, b.domid };
	uint32_t refs[] = { b.ref[2], a.ref[0], b.ref[1] };
	xengnttab_handle *gt = xengnttab_open(&quiet, 0);
	uint8_t *p = xengnttab_map_grant_refs(gt, 3, domids, refs, PROT_READ | PROT_WRITE);

	assert_non_null(p);
	assert_int_equal(p[0], 16 * b.domid + 2);
	assert_int_equal(p[SR_PAGE_SIZE], 16 * a.domid);
	assert_int_equal(p[2 * SR_PAGE_SIZE], 16 * b.domid + 1);
	p[SR_PAGE_SIZE + 5] = 99;
	assert_int_equal(a.page[5], 99);
	assert_int_equal(pinned(*state, b.domid), 2);
	assert_int_equal(xengnttab_unmap(gt, p, 2), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xengnttab_unmap(gt, NULL, 1), -1);
	assert_int_equal(xengnttab_unmap(gt, p, 3), 0);
	assert_false(accessible(p, false));
	assert_int_equal(pinned(*state, a.domid) + pinned(*state, b.domid), 0);
	/* All or nothing. */
	refs[2] = 4000;
	assert_null(xengnttab_map_grant_refs(gt, 3, domids, refs, PROT_READ));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(pinned(*state, a.domid) + pinned(*state, b.domid), 0);
	assert_null(xengnttab_map_grant_refs(gt, 0, domids, refs, PROT_READ));
	assert_int_equal(xengnttab_close(gt), 0);
	guest_close(&a);
	guest_close(&b);
}

static void a_read_only_map_cannot_be_written(void **state)
{
	struct guest g = guest_open(*state, "g");
	xengnttab_handle *gt = xengnttab_open(&quiet, 0);
	uint8_t *p = xengnttab_map_domain_grant_refs(gt, 2, g.domid, g.ref, PROT_READ);
	uint8_t *q = xengnttab_map_grant_ref(gt, g.domid, g.ref[0], PROT_READ | PROT_WRITE);

	assert_non_null(p);
	assert_non_null(q);
	assert_true(accessible(p, false));
	assert_false(accessible(p, true));
	assert_false(accessible(p + SR_PAGE_SIZE, true));
	assert_true(accessible(q, true));
	assert_int_equal(xengnttab_unmap(gt, p, 2), 0);
	assert_int_equal(q[1], 16 * g.domid);
	assert_int_equal(xengnttab_unmap(gt, q, 1), 0);
	xengnttab_close(gt);
	guest_close(&g);
}

/* As libxenvchan does. What comes to lie there later is not harmed. */
static void programs_may_munmap_by_themselves(void **state)
{
	struct guest g = guest_open(*state, "g");
	xengnttab_handle *gt = xengnttab_open(&quiet, 0);
	xengntshr_handle *gs = xengntshr_open(&quiet, 0);
	uint8_t *p = xengnttab_map_grant_ref(gt, g.domid, g.ref[0], PROT_READ), *q, *mine;
	uint32_t ref;

	assert_int_equal(munmap(p, SR_PAGE_SIZE), 0);
	q = xengnttab_map_grant_ref(gt, g.domid, g.ref[1], PROT_READ);
	assert_ptr_equal(p, q);
	assert_int_equal(*q, 16 * g.domid + 1);
	assert_int_equal(pinned(*state, g.domid), 1);
	assert_int_equal(munmap(q, SR_PAGE_SIZE), 0);
	p = xengntshr_share_pages(gs, g.domid, 1, &ref, 1);
	assert_ptr_equal(p, q);
	assert_int_equal(munmap(p, SR_PAGE_SIZE), 0);
	mine = mmap(p, SR_PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(mine, p);
	*mine = 7;
	xengnttab_close(gt);
	xengntshr_close(gs);
	assert_int_equal(*mine, 7);
	assert_int_equal(pinned(*state, g.domid), 0);
	munmap(mine, SR_PAGE_SIZE);
	guest_close(&g);
}

static void unshare_always_succeeds(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "g");
	struct sr_hypervisor *dom0;
	struct sr_gnttab *gt;
	xengntshr_handle *gs;
	uint32_t ref, other;
	uint8_t *p;
	void *mapped;

	assert_int_equal(sr_hv_open(machine_address(f, 0), &dom0), 0);
	assert_int_equal(sr_gnttab_open(dom0, &gt), 0);
	speak_as(f, domid);
	gs = xengntshr_open(&quiet, 0);
	assert_null(xengntshr_share_pages(gs, 0, 0, &ref, 1));
	p = xengntshr_share_pages(gs, 0, 1, &ref, 1);
	assert_non_null(p);
	assert_int_equal(*p, 0);
	*p = 3;
	assert_int_equal(sr_gnttab_map(gt, domid, &ref, 1, PROT_READ, &mapped), 0);
	assert_int_equal(xengntshr_unshare(gs, p, 1), 0);
	assert_false(accessible(p, false));
	/* The peer keeps what it has, and nobody else gets the page. */
	assert_int_equal(*(uint8_t *)mapped, 3);
	p = xengntshr_share_pages(gs, 0, 1, &other, 1);
	assert_int_not_equal(ref, other);
	*p = 4;
	assert_int_equal(*(uint8_t *)mapped, 3);
	assert_int_equal(xengntshr_unshare(gs, p, 1), 0);
	assert_int_equal(xengntshr_unshare(gs, p, 1), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(sr_gnttab_unmap(gt, mapped, 1), 0);
	assert_int_equal(sr_gnttab_map(gt, domid, &other, 1, PROT_READ, &mapped), -EINVAL);
	xengntshr_close(gs);
	sr_gnttab_close(gt);
	sr_hv_close(dom0);
}

static void unmap_tells_the_peer(void **state)
{
	const int rw = PROT_READ | PROT_WRITE;
	struct guest g = guest_open(*state, "g");
	xengnttab_handle *gt = xengnttab_open(&quiet, 0);
	xenevtchn_handle *ev = xenevtchn_open(&quiet, 0);
	struct sr_evtchn *theirs;
	struct pollfd pfd = { .events = POLLIN };
	uint32_t port, got;
	uint8_t *p;

	assert_int_equal(sr_evtchn_open(g.hv, &theirs), 0);
	assert_int_equal(sr_evtchn_alloc_unbound(theirs, 0, &port), 0);
	got = (uint32_t)xenevtchn_bind_interdomain(ev, g.domid, port);
	assert_null(xengnttab_map_grant_ref_notify(gt, g.domid, g.ref[0], rw, 4096, got));
	assert_null(xengnttab_map_grant_ref_notify(gt, g.domid, g.ref[0], rw, 0, got + 9));
	assert_int_equal(pinned(*state, g.domid), 0);
	p = xengnttab_map_grant_ref_notify(gt, g.domid, g.ref[0], rw, 9, got);
	assert_non_null(p);
	/* This one can't be written, so nothing of it is cleared. */
	assert_null(xengnttab_map_grant_ref_notify(gt, g.domid, g.ref[0], PROT_READ, 9, NONE));
	assert_int_equal(errno, EINVAL);
	xenevtchn_close(ev);
	assert_int_equal(g.page[9], 16 * g.domid);
	assert_int_equal(xengnttab_unmap(gt, p, 1), 0);
	assert_int_equal(g.page[9], 0);
	pfd.fd = sr_evtchn_fd(theirs);
	assert_int_equal(poll(&pfd, 1, 10000), 1);
	assert_int_equal(sr_evtchn_pending(theirs, &got), 0);
	assert_int_equal(got, port);
	sr_evtchn_close(theirs);
	xengnttab_close(gt);
	guest_close(&g);
}

static void a_bad_copy_is_refused_as_a_whole(void **state)
{
	struct guest g = guest_open(*state, "g");
	xengnttab_handle *gt = xengnttab_open(&quiet, 0);
	char to[16] = { 0 };
	xengnttab_grant_copy_segment_t segs[2] = {
		{ .source.foreign = { .ref = g.ref[0], .domid = g.domid },
		  .dest.virt = to,
		  .len = 8,
		  .flags = GNTCOPY_source_gref },
		{ .source.foreign = { .ref = g.ref[0], .domid = g.domid, .offset = 4090 },
		  .dest.virt = to + 8,
		  .len = 8,
		  .flags = GNTCOPY_source_gref },
	};

	assert_int_equal(xengnttab_grant_copy(gt, 2, segs), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(to[0], 0);
	segs[1].source.foreign.offset = 0;
	segs[1].source.foreign.ref = 4000;
	assert_int_equal(xengnttab_grant_copy(gt, 2, segs), 0);
	assert_int_equal(segs[0].status, GNTST_okay);
	assert_int_equal(segs[1].status, GNTST_bad_gntref);
	assert_int_equal(to[7], 16 * g.domid);
	segs[0].flags = 0;
	assert_int_equal(xengnttab_grant_copy(gt, 1, segs), -1);
	xengnttab_close(gt);
	guest_close(&g);
}

static void a_forked_child_may_close(void **state)
{
	struct guest g = guest_open(*state, "g");
	xengnttab_handle *gt = xengnttab_open(&quiet, 0);
	xengntshr_handle *gs = xengntshr_open(&quiet, 0);
	xenevtchn_handle *ev = xenevtchn_open(&quiet, 0);
	uint8_t *p = xengnttab_map_grant_ref(gt, g.domid, g.ref[0], PROT_READ);
	int status, port = xenevtchn_bind_unbound_port(ev, g.domid);
	pid_t pid = fork();

	if (!pid) {
		/* Its own handle is its own, whatever becomes of the inherited ones. */
		xenevtchn_handle *own = xenevtchn_open(&quiet, 0);
		bool good = own && xenevtchn_bind_unbound_port(own, g.domid) > 0;

		xengnttab_close(gt);
		xengntshr_close(gs);
		xenevtchn_close(ev);
		xenevtchn_close(own);
		_exit(!good);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(pinned(*state, g.domid), 1);
	assert_int_equal(xenevtchn_notify(ev, (evtchn_port_t)port), 0);
	assert_int_equal(xengnttab_unmap(gt, p, 1), 0);
	xengnttab_close(gt);
	xengntshr_close(gs);
	xenevtchn_close(ev);
	guest_close(&g);
}

/* --- libxenevtchn ---------------------------------------------------------------------------- */

struct channel {
	struct guest g;
	xenevtchn_handle *ev;
	struct sr_evtchn *theirs;
	uint32_t port, their_port;
};

static void channel_open(struct channel *c, struct fixture *f)
{
	c->g = guest_open(f, "g");
	c->ev = xenevtchn_open(&quiet, 0);
	assert_non_null(c->ev);
	assert_int_equal(sr_evtchn_open(c->g.hv, &c->theirs), 0);
	c->port = (uint32_t)xenevtchn_bind_unbound_port(c->ev, c->g.domid);
	assert_int_equal(sr_evtchn_bind_interdomain(c->theirs, 0, c->port, &c->their_port), 0);
}

static void channel_close(struct channel *c)
{
	sr_evtchn_close(c->theirs);
	xenevtchn_close(c->ev);
	guest_close(&c->g);
}

static void *notify_later(void *arg)
{
	struct channel *c = arg;

	usleep(50000);
	sr_evtchn_notify(c->theirs, c->their_port);
	return NULL;
}

static void a_blocking_descriptor_waits(void **state)
{
	struct channel c;
	pthread_t thread;

	channel_open(&c, *state);
	assert_int_equal(pthread_create(&thread, NULL, notify_later, &c), 0);
	assert_int_equal(xenevtchn_pending(c.ev), c.port);
	pthread_join(thread, NULL);
	assert_int_equal(xenevtchn_unmask(c.ev, c.port), 0);
	assert_int_equal(fcntl(xenevtchn_fd(c.ev), F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(xenevtchn_pending(c.ev), -1);
	assert_int_equal(errno, EAGAIN);
	channel_close(&c);
}

static void readable_means_that_there_is_an_event(void **state)
{
	struct channel c;
	struct pollfd pfd = { .events = POLLIN };

	channel_open(&c, *state);
	pfd.fd = xenevtchn_fd(c.ev);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(poll(&pfd, 1, 0), 0);
		sr_evtchn_notify(c.theirs, c.their_port);
		/* Not held: to unmask it is nothing. */
		assert_int_equal(xenevtchn_unmask(c.ev, c.port), 0);
		assert_int_equal(poll(&pfd, 1, 10000), 1);
		assert_int_equal(xenevtchn_pending(c.ev), c.port);
		/* Held: the next one waits for the unmask. */
		sr_evtchn_notify(c.theirs, c.their_port);
		assert_int_equal(poll(&pfd, 1, 0), 0);
		assert_int_equal(xenevtchn_unmask(c.ev, c.port), 0);
		assert_int_equal(poll(&pfd, 1, 10000), 1);
		assert_int_equal(xenevtchn_pending(c.ev), c.port);
		assert_int_equal(xenevtchn_unmask(c.ev, c.port), 0);
	}
	channel_close(&c);
}

static void ports_of_others_are_not_connected(void **state)
{
	struct channel c;

	channel_open(&c, *state);
	assert_int_equal(xenevtchn_notify(c.ev, c.port + 1), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(xenevtchn_notify(c.ev, NONE), -1);
	assert_int_equal(xenevtchn_unmask(c.ev, NONE), 0);
	assert_int_equal(xenevtchn_unbind(c.ev, c.port + 1), -1);
	assert_int_equal(errno, ENOTCONN);
	assert_int_equal(xenevtchn_unbind(c.ev, c.port), 0);
	assert_int_equal(xenevtchn_unbind(c.ev, c.port), -1);
	assert_int_equal(xenevtchn_bind_unbound_port(c.ev, 1 << 20), -1);
	channel_close(&c);
}

static void a_restricted_handle_knows_one_domain(void **state)
{
	struct channel c;

	channel_open(&c, *state);
	assert_int_equal(xenevtchn_restrict(c.ev, 0), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(xenevtchn_restrict(c.ev, c.g.domid), 0);
	assert_int_equal(xenevtchn_restrict(c.ev, c.g.domid), -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(xenevtchn_bind_virq(c.ev, VIRQ_DOM_EXC), -1);
	assert_int_equal(errno, EACCES);
	assert_int_equal(xenevtchn_bind_unbound_port(c.ev, 0), -1);
	assert_int_equal(errno, EACCES);
	assert_true(xenevtchn_bind_unbound_port(c.ev, c.g.domid) > 0);
	channel_close(&c);
}

/* --- what there is not ----------------------------------------------------------------------- */

static void what_is_missing_says_so(void **state)
{
	struct fixture *f = *state;
	xencall_handle *xcall = xencall_open(&quiet, 0);
	xenforeignmemory_handle *fmem = xenforeignmemory_open(&quiet, 0);
	xengnttab_handle *gt;
	xenevtchn_handle *ev;
	xen_pfn_t pfn = 1;
	uint32_t n;
	int err;

	speak_as(f, 0);
	gt = xengnttab_open(&quiet, 0);
	assert_int_equal(xengnttab_dmabuf_imp_to_refs(gt, 1, 0, 1, &n), -1);
	assert_int_equal(errno, ENOTTY);
	assert_int_equal(xengnttab_set_max_grants(gt, 1), 0);
	assert_true(fcntl(xengnttab_fd(gt), F_GETFD) & FD_CLOEXEC);
	xengnttab_close(gt);
	ev = xenevtchn_open(&quiet, XENEVTCHN_NO_CLOEXEC);
	assert_int_equal(fcntl(xenevtchn_fd(ev), F_GETFD), 0);
	assert_null(xenevtchn_fdopen(&quiet, xenevtchn_fd(ev), 0));
	assert_int_equal(errno, EOPNOTSUPP);
	xenevtchn_close(ev);
	assert_null(xenevtchn_open(&quiet, 1u << 7));
	assert_int_equal(xencall1(xcall, __HYPERVISOR_domctl, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_null(xenforeignmemory_map(fmem, 1, PROT_READ, 1, &pfn, &err));
	assert_int_equal(errno, EPERM);
	xencall_close(xcall);
	xenforeignmemory_close(fmem);
	setenv("SPLITRING_HYPERVISOR", "embedded:/nonexistent", 1);
	assert_null(xengnttab_open(&quiet, 0));
	assert_int_equal(errno, ENOENT);
	setenv("SPLITRING_HYPERVISOR", "xen:", 1);
	assert_null(xenevtchn_open(&quiet, 0));
	assert_int_equal(errno, EINVAL);
	unsetenv("SPLITRING_HYPERVISOR");
	assert_null(xengntshr_open(&quiet, 0));
	assert_int_equal(errno, ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MACHINE_TEST(pages_of_several_domains_are_one_range),
		MACHINE_TEST(a_read_only_map_cannot_be_written),
		MACHINE_TEST(programs_may_munmap_by_themselves),
		MACHINE_TEST(unshare_always_succeeds),
		MACHINE_TEST(unmap_tells_the_peer),
		MACHINE_TEST(a_bad_copy_is_refused_as_a_whole),
		MACHINE_TEST(a_forked_child_may_close),
		MACHINE_TEST(a_blocking_descriptor_waits),
		MACHINE_TEST(readable_means_that_there_is_an_event),
		MACHINE_TEST(ports_of_others_are_not_connected),
		MACHINE_TEST(a_restricted_handle_knows_one_domain),
		MACHINE_TEST(what_is_missing_says_so),
	};
	Dl_info info;

	if (!dladdr((void *)xengnttab_open, &info) || !strstr(info.dli_fname, "/dropin/")) {
		puts("1..0 # SKIP the drop-in libraries are not on the loader's path");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
