/* SPDX-License-Identifier: MIT */
/* Unmap notification: whoever is told of a page's end, and however that comes. */
#include "machine.h"

#include <core/channel.h>
#include <embedded/notify.h>
#include <errno.h>
#include <poll.h>
#include <protocol.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OFFSET 77u
#define NONE   UINT32_MAX

/* A guest that grants a page to domain 0 and is connected to it. */
struct pair {
	struct fixture *f;
	uint16_t domid;
	struct sr_hypervisor *guest, *dom0;
	struct sr_gntshr *gs;
	struct sr_gnttab *gt;
	struct sr_evtchn *eg, *e0;
	uint32_t port, port0; /* the guest's, domain 0's */
	uint32_t ref;
	uint8_t *page, *mapped; /* as the guest, as domain 0 sees it */
};

static uint32_t heard(struct sr_evtchn *ev, int timeout_ms)
{
	struct pollfd pfd = { .fd = sr_evtchn_fd(ev), .events = POLLIN };
	uint32_t port;

	while (poll(&pfd, 1, timeout_ms) > 0)
		if (!sr_evtchn_pending(ev, &port))
			return port;
	return 0;
}

static void pair_open(struct pair *p, struct fixture *f)
{
	void *addr;

	p->f = f;
	p->domid = machine_guest(f, "guest");
	assert_int_equal(sr_hv_open(machine_address(f, p->domid), &p->guest), 0);
	assert_int_equal(sr_hv_open(machine_address(f, 0), &p->dom0), 0);
	assert_int_equal(sr_gntshr_open(p->guest, &p->gs), 0);
	assert_int_equal(sr_gnttab_open(p->dom0, &p->gt), 0);
	assert_int_equal(sr_evtchn_open(p->guest, &p->eg), 0);
	assert_int_equal(sr_evtchn_open(p->dom0, &p->e0), 0);
	assert_int_equal(sr_evtchn_alloc_unbound(p->eg, 0, &p->port), 0);
	assert_int_equal(sr_evtchn_bind_interdomain(p->e0, p->domid, p->port, &p->port0), 0);
	assert_int_equal(heard(p->e0, 10000), p->port0);
	assert_int_equal(sr_evtchn_unmask(p->e0, p->port0), 0);
	assert_int_equal(sr_gntshr_share(p->gs, 0, 1, true, &p->ref, &addr), 0);
	p->page = addr;
	assert_int_equal(sr_gnttab_map(p->gt, p->domid, &p->ref, 1, PROT_READ | PROT_WRITE, &addr),
			 0);
	p->mapped = addr;
	p->page[OFFSET - 1] = p->page[OFFSET] = p->page[OFFSET + 1] = 1;
}

static void pair_close(struct pair *p)
{
	sr_gnttab_close(p->gt);
	sr_gntshr_close(p->gs);
	sr_evtchn_close(p->eg);
	sr_evtchn_close(p->e0);
	sr_hv_close(p->guest);
	sr_hv_close(p->dom0);
}

static uint32_t ports_of(const struct pair *p, uint16_t domid)
{
	struct sr_domain_list_entry e;

	assert_int_equal(sr_control_info(p->f->control, domid, &e), 0);
	return e.ports;
}

static void check_cleared(const uint8_t *page)
{
	assert_int_equal(page[OFFSET - 1], 1);
	assert_int_equal(page[OFFSET], 0);
	assert_int_equal(page[OFFSET + 1], 1);
}

static void either_side_fires(void **state)
{
	struct pair p;
	uint32_t id;

	pair_open(&p, *state);
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, OFFSET, p.port, &id), 0);
	assert_int_equal(heard(p.e0, 0), 0);
	assert_int_equal(p.mapped[OFFSET], 1);
	assert_int_equal(sr_em_gntshr_fire(p.gs, id), 0);
	check_cleared(p.mapped);
	assert_int_equal(heard(p.e0, 10000), p.port0);
	assert_int_equal(sr_em_gntshr_fire(p.gs, id), -ENOENT);

	p.page[OFFSET] = 1;
	assert_int_equal(sr_em_gnttab_notify(p.gt, p.domid, p.ref, OFFSET, p.port0, &id), 0);
	assert_int_equal(sr_em_gnttab_fire(p.gt, id), 0);
	check_cleared(p.page);
	assert_int_equal(heard(p.eg, 10000), p.port);
	assert_int_equal(sr_em_gnttab_fire(p.gt, id), -ENOENT);
	pair_close(&p);
}

static void byte_and_event_may_be_had_alone(void **state)
{
	struct pair p;
	uint32_t id;

	pair_open(&p, *state);
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, OFFSET, NONE, &id), 0);
	assert_int_equal(sr_em_gntshr_fire(p.gs, id), 0);
	check_cleared(p.mapped);
	assert_int_equal(heard(p.e0, 0), 0);
	p.page[OFFSET] = 1;
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, NONE, p.port, &id), 0);
	assert_int_equal(sr_em_gntshr_fire(p.gs, id), 0);
	assert_int_equal(p.mapped[OFFSET], 1);
	assert_int_equal(heard(p.e0, 10000), p.port0);
	pair_close(&p);
}

/* The port outlives its handle, until the last notice has gone through it. */
static void closed_handles_fire_in_any_order(void **state)
{
	struct pair p;
	uint32_t id;

	pair_open(&p, *state);
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, OFFSET, p.port, &id), 0);
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, NONE, p.port, &id), 0);
	sr_evtchn_close(p.eg);
	p.eg = NULL;
	assert_int_equal(ports_of(&p, p.domid), 1);
	/* Nobody hears it, and it does no harm. */
	assert_int_equal(sr_evtchn_notify(p.e0, p.port0), 0);
	sr_gntshr_close(p.gs);
	p.gs = NULL;
	check_cleared(p.mapped);
	assert_int_equal(heard(p.e0, 10000), p.port0);
	assert_int_equal(ports_of(&p, p.domid), 0);
	pair_close(&p);
}

static void an_unbound_port_still_carries_it(void **state)
{
	struct pair p;
	uint32_t id;

	pair_open(&p, *state);
	assert_int_equal(sr_em_gnttab_notify(p.gt, p.domid, p.ref, OFFSET, p.port0, &id), 0);
	assert_int_equal(sr_evtchn_unbind(p.e0, p.port0), 0);
	assert_int_equal(sr_evtchn_notify(p.e0, p.port0), -EINVAL);
	assert_int_equal(sr_gnttab_unmap(p.gt, p.mapped, 1), 0);
	assert_int_equal(p.page[OFFSET], 1);
	sr_gnttab_close(p.gt);
	p.gt = NULL;
	check_cleared(p.page);
	assert_int_equal(heard(p.eg, 10000), p.port);
	assert_int_equal(ports_of(&p, 0), 0);
	pair_close(&p);
}

static void be_killed(const char *address, uint16_t domid, uint32_t ref, uint32_t port)
{
	struct sr_hypervisor *hv;
	struct sr_gnttab *gt;
	struct sr_evtchn *ev;
	uint32_t mine, id;
	void *addr;

	if (sr_hv_open(address, &hv) || sr_gnttab_open(hv, &gt) || sr_evtchn_open(hv, &ev) ||
	    sr_evtchn_bind_interdomain(ev, domid, port, &mine) ||
	    sr_gnttab_map(gt, domid, &ref, 1, PROT_READ | PROT_WRITE, &addr) ||
	    sr_em_gnttab_notify(gt, domid, ref, OFFSET, mine, &id))
		_exit(1);
	kill(getpid(), SIGKILL);
}

static void a_kill_fires(void **state)
{
	struct pair p;
	uint32_t port;
	int status;
	pid_t pid;

	pair_open(&p, *state);
	assert_int_equal(sr_evtchn_alloc_unbound(p.eg, 0, &port), 0);
	pid = fork();
	if (!pid)
		be_killed(machine_address(p.f, 0), p.domid, p.ref, port);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(heard(p.eg, 10000), port);
	check_cleared(p.page);
	pair_close(&p);
}

/* A process that is killed between an event and its ring, played by a client of ours. */
static void an_event_of_the_dead_is_not_lost(void **state)
{
	struct sr_em_request req = { .op = SR_EM_BIND };
	struct sr_channel_line *line;
	struct sr_em_client cl;
	struct sr_em_reply reply;
	struct pair p;
	uint32_t port;
	int fds[4];

	pair_open(&p, *state);
	assert_int_equal(sr_evtchn_alloc_unbound(p.eg, 0, &port), 0);
	assert_int_equal(sr_em_connect(p.f->dir, 0, SR_EM_EVTCHN, &cl, &reply, fds, 1), 0);
	close(fds[0]);
	req.arg.domid = p.domid;
	req.arg.port = port;
	assert_int_equal(sr_em_call(&cl, &req, &reply, fds, 4), 0);
	line = mmap(NULL, SR_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0);
	assert_ptr_not_equal(line, MAP_FAILED);
	assert_int_equal(sr_channel_send(line), SR_CHANNEL_RING);
	assert_int_equal(heard(p.eg, 0), 0);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	munmap(line, SR_PAGE_SIZE);
	close(cl.fd);
	assert_int_equal(heard(p.eg, 10000), port);
	assert_int_equal(heard(p.eg, 0), 0);
	pair_close(&p);
}

static void the_end_of_the_domain_fires(void **state)
{
	struct pair p;
	uint32_t id;

	pair_open(&p, *state);
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, OFFSET, p.port, &id), 0);
	assert_int_equal(sr_control_destroy(p.f->control, p.domid), 0);
	check_cleared(p.mapped);
	pair_close(&p);
}

static void the_granter_may_be_gone(void **state)
{
	struct pair p;
	uint32_t id;

	pair_open(&p, *state);
	assert_int_equal(sr_em_gnttab_notify(p.gt, p.domid, p.ref, OFFSET, p.port0, &id), 0);
	assert_int_equal(sr_control_destroy(p.f->control, p.domid), 0);
	assert_int_equal(sr_em_gnttab_fire(p.gt, id), 0);
	assert_int_equal(p.mapped[OFFSET], 1);
	pair_close(&p);
}

static void bad_requests_are_refused(void **state)
{
	struct pair p;
	struct sr_gnttab *gt;
	uint32_t id;

	pair_open(&p, *state);
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, SR_PAGE_SIZE, NONE, &id), -EINVAL);
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, OFFSET, p.port0 + 100, &id), -EINVAL);
	assert_int_equal(sr_em_gntshr_notify(p.gs, p.page, OFFSET, NONE - 1, &id), -EINVAL);
	assert_int_equal(sr_em_gntshr_notify(p.gs, &id, OFFSET, NONE, &id), -EINVAL);
	assert_int_equal(sr_em_gnttab_notify(p.gt, p.domid, p.ref + 1, OFFSET, NONE, &id), -EINVAL);
	assert_int_equal(sr_em_gnttab_notify(p.gt, p.domid, NONE, OFFSET, NONE, &id), -EINVAL);
	assert_int_equal(sr_em_gnttab_notify(p.gt, 999, p.ref, OFFSET, NONE, &id), -EINVAL);
	assert_int_equal(sr_gnttab_unmap(p.gt, p.mapped, 1), 0);
	assert_int_equal(sr_em_gnttab_notify(p.gt, p.domid, p.ref, OFFSET, NONE, &id), -EINVAL);
	assert_int_equal(p.page[OFFSET], 1);
	assert_int_equal(sr_gnttab_open(p.guest, &gt), 0);
	sr_gnttab_close(gt);
	pair_close(&p);
}

/* Who may only read a page has no byte of it cleared; an event does the page no harm. */
static void a_read_only_page_is_left_alone(void **state)
{
	struct pair p;
	uint32_t id;
	void *addr;

	pair_open(&p, *state);
	assert_int_equal(sr_gnttab_unmap(p.gt, p.mapped, 1), 0);
	assert_int_equal(sr_gnttab_map(p.gt, p.domid, &p.ref, 1, PROT_READ, &addr), 0);
	assert_int_equal(sr_em_gnttab_notify(p.gt, p.domid, p.ref, OFFSET, NONE, &id), -EINVAL);
	assert_int_equal(sr_em_gnttab_notify(p.gt, p.domid, p.ref, NONE, p.port0, &id), 0);
	assert_int_equal(sr_em_gnttab_fire(p.gt, id), 0);
	assert_int_equal(heard(p.eg, 10000), p.port);
	assert_int_equal(p.page[OFFSET], 1);
	pair_close(&p);
}

/* What a hostile guest can say at its door. */
static void a_guest_is_bounded(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");
	struct sr_em_request req = { .op = SR_EM_NOTICE, .notice = { .offset = 0, .port = NONE } };
	struct sr_em_client gs, gt;
	struct sr_em_reply reply;
	unsigned n = 0;
	int fds[2], err;

	assert_int_equal(sr_em_connect(f->dir, domid, SR_EM_GNTTAB, &gt, &reply, NULL, 0), 0);
	assert_int_equal(sr_em_call(&gt, &req, &reply, NULL, 0), -EINVAL);
	assert_int_equal(sr_em_connect(f->dir, domid, SR_EM_GNTSHR, &gs, &reply, fds, 2), 0);
	/* No page is this handle's yet; then some are, and not the one behind them. */
	assert_int_equal(sr_em_call(&gs, &req, &reply, NULL, 0), -EINVAL);
	assert_int_equal(sr_em_call(&gs,
				    &(struct sr_em_request){ .op = SR_EM_PAGES, .amount = { 4 } },
				    &reply, NULL, 0),
			 0);
	req.notice.frame = reply.range.first + 4;
	assert_int_equal(sr_em_call(&gs, &req, &reply, NULL, 0), -EINVAL);
	req.notice.frame = NONE;
	assert_int_equal(sr_em_call(&gs, &req, &reply, NULL, 0), -EINVAL);
	req.notice.offset = NONE;
	while (!(err = sr_em_call(&gs, &req, &reply, NULL, 0)))
		assert_in_range(++n, 1, 100000);
	assert_int_equal(err, -ENOSPC);
	close(fds[0]);
	close(fds[1]);
	sr_em_disconnect(&gs);
	sr_em_disconnect(&gt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MACHINE_TEST(either_side_fires),
		MACHINE_TEST(byte_and_event_may_be_had_alone),
		MACHINE_TEST(closed_handles_fire_in_any_order),
		MACHINE_TEST(an_unbound_port_still_carries_it),
		MACHINE_TEST(a_kill_fires),
		MACHINE_TEST(an_event_of_the_dead_is_not_lost),
		MACHINE_TEST(the_end_of_the_domain_fires),
		MACHINE_TEST(the_granter_may_be_gone),
		MACHINE_TEST(bad_requests_are_refused),
		MACHINE_TEST(a_read_only_page_is_left_alone),
		MACHINE_TEST(a_guest_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
