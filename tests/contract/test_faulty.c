/* SPDX-License-Identifier: MIT */
/* The provider `faulty`: each kind of fault happens, when it should, and nothing else does. */
#include "world.h"

#include <errno.h>
#include <faulty/faulty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xenstore.h>

#define RW       (PROT_READ | PROT_WRITE)
#define PATIENCE 10000

/* The back domain once more, through faults. */
struct sight {
	struct sr_hypervisor *hv;
	struct sr_gnttab *gt;
	struct sr_evtchn *ev;
};

static void look(struct sight *s, const char *spec)
{
	char address[512];

	snprintf(address, sizeof(address), "faulty:%s:%s", spec, env.back);
	assert_int_equal(sr_hv_open(address, &s->hv), 0);
	assert_string_equal(sr_hv_address(s->hv), address);
	assert_int_equal(sr_gnttab_open(s->hv, &s->gt), 0);
	assert_int_equal(sr_evtchn_open(s->hv, &s->ev), 0);
}

static void look_away(struct sight *s)
{
	sr_gnttab_close(s->gt);
	sr_evtchn_close(s->ev);
	sr_hv_close(s->hv);
}

static void bad_specifications_are_refused(void **state)
{
	static const char *const bad[] = { "map",      "map=",     "map=x",      "map=1.5",
					   "map=-1",   "map=-0.5", "nonsense=1", "map=0.5x",
					   "map=3,,x", "seed=abc" };
	struct sr_hypervisor *hv;
	char address[512];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(address, sizeof(address), "faulty:%s:%s", bad[i], env.back);
		assert_int_equal(sr_hv_open(address, &hv), -EINVAL);
	}
	assert_int_equal(sr_hv_open("faulty:map=1", &hv), -EINVAL);
	assert_int_equal(sr_hv_open("faulty::nonsense:", &hv), -EINVAL);
	assert_int_equal(sr_hv_open("faulty::embedded:/nowhere", &hv), -ENOENT);
}

static void the_nth_map_fails(void **state)
{
	struct world *w = *state;
	struct sight s;
	uint64_t count;
	uint32_t ref;
	void *f, *b;

	look(&s, "map=3");
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, &f), 0);
	for (int i = 1; i <= 5; i++) {
		int err = sr_gnttab_map(s.gt, env.front_id, &ref, 1, RW, &b);

		assert_int_equal(err, i == 3 ? -EIO : 0);
		if (!err)
			assert_int_equal(sr_gnttab_unmap(s.gt, b, 1), 0);
	}
	assert_int_equal(sr_faulty_count(s.hv, SR_FAULT_MAP, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(sr_faulty_count(w->back, SR_FAULT_MAP, &count), -EINVAL);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
	look_away(&s);
}

static void a_probability_is_the_same_each_time(void **state)
{
	struct world *w = *state;
	char pattern[3][201] = { "" };
	static const char *const specs[] = { "map=0.3,seed=5", "map=0.3,seed=5", "map=0.3,seed=6" };
	uint32_t ref;
	void *f, *b;
	int failed = 0;

	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, &f), 0);
	for (int run = 0; run < 3; run++) {
		struct sight s;

		look(&s, specs[run]);
		for (int i = 0; i < 200; i++) {
			int err = sr_gnttab_map(s.gt, env.front_id, &ref, 1, RW, &b);

			pattern[run][i] = err ? 'x' : '.';
			failed += err != 0;
			if (!err)
				sr_gnttab_unmap(s.gt, b, 1);
		}
		look_away(&s);
	}
	assert_string_equal(pattern[0], pattern[1]);
	assert_string_not_equal(pattern[0], pattern[2]);
	assert_in_range(failed, 100, 260);
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
}

static void copies_fail_whole_or_in_part(void **state)
{
	struct world *w = *state;
	struct sr_copy_segment segs[6];
	char in[6][8];
	struct sight s;
	uint32_t ref;
	char *f;

	look(&s, "copy=2,copy-segment=4");
	assert_int_equal(sr_gntshr_share(w->gs, env.back_id, 1, true, &ref, (void **)&f), 0);
	strcpy(f, "granted");
	memset(in, 0, sizeof(in));
	for (int i = 0; i < 6; i++) {
		segs[i] = (struct sr_copy_segment){ .len = 8, .flags = SR_COPY_SOURCE_GREF };
		segs[i].source.foreign.ref = ref;
		segs[i].source.foreign.domid = env.front_id;
		segs[i].dest.virt = in[i];
	}
	assert_int_equal(sr_gnttab_copy(s.gt, segs, 6), 0);
	for (int i = 0; i < 6; i++) {
		assert_int_equal(segs[i].status < 0, i == 3);
		assert_string_equal(in[i], i == 3 ? "" : "granted");
	}
	assert_int_equal(sr_gnttab_copy(s.gt, segs, 6), -EIO);
	assert_int_equal(sr_gnttab_copy(s.gt, segs, 6), 0);
	assert_string_equal(in[3], "granted");
	assert_int_equal(sr_gntshr_unshare(w->gs, f, 1), 0);
	look_away(&s);
}

static void channel(struct world *w, struct sight *s, uint32_t *f, uint32_t *b)
{
	assert_int_equal(sr_evtchn_alloc_unbound(w->ef, env.back_id, f), 0);
	assert_int_equal(sr_evtchn_bind_interdomain(s->ev, env.front_id, *f, b), 0);
}

static void a_bind_fails(void **state)
{
	struct world *w = *state;
	uint32_t f, b;
	struct sight s;

	look(&s, "bind=1");
	assert_int_equal(sr_evtchn_alloc_unbound(w->ef, env.back_id, &f), 0);
	assert_int_equal(sr_evtchn_bind_interdomain(s.ev, env.front_id, f, &b), -EIO);
	assert_int_equal(sr_evtchn_bind_interdomain(s.ev, env.front_id, f, &b), 0);
	look_away(&s);
}

static void events_get_lost(void **state)
{
	struct world *w = *state;
	uint32_t f, b;
	struct sight s;

	look(&s, "evtchn-lost=2,notify-lost=1");
	channel(w, &s, &f, &b);
	assert_int_equal(world_wait(s.ev, PATIENCE), b);
	assert_int_equal(sr_evtchn_unmask(s.ev, b), 0);
	assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
	assert_int_equal(world_wait(s.ev, 0), 0);
	/* Lost, but the port is not masked by it. */
	assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
	assert_int_equal(world_wait(s.ev, PATIENCE), b);
	assert_int_equal(sr_evtchn_notify(s.ev, b), 0);
	assert_int_equal(world_wait(w->ef, 0), 0);
	assert_int_equal(sr_evtchn_notify(s.ev, b), 0);
	assert_int_equal(world_wait(w->ef, PATIENCE), f);
	look_away(&s);
}

static void events_come_late(void **state)
{
	struct world *w = *state;
	uint32_t f, b, got;
	struct sight s;

	look(&s, "evtchn-late=1");
	channel(w, &s, &f, &b);
	assert_int_equal(sr_evtchn_pending(s.ev, &got), -EAGAIN);
	/* The descriptor wakes who waits for it. */
	assert_int_equal(world_wait(s.ev, PATIENCE), b);
	assert_int_equal(sr_evtchn_unmask(s.ev, b), 0);
	assert_int_equal(world_wait(s.ev, 0), 0);
	look_away(&s);
}

static void a_late_event_of_an_unbound_port_is_none(void **state)
{
	struct world *w = *state;
	uint32_t f, b, got;
	struct sight s;

	look(&s, "evtchn-late=1");
	channel(w, &s, &f, &b);
	assert_int_equal(sr_evtchn_pending(s.ev, &got), -EAGAIN);
	assert_int_equal(sr_evtchn_unbind(s.ev, b), 0);
	assert_int_equal(world_wait(s.ev, 20), 0);
	look_away(&s);
}

static void events_come_twice(void **state)
{
	struct world *w = *state;
	uint32_t f, b, got;
	struct sight s;

	look(&s, "evtchn-double=1");
	channel(w, &s, &f, &b);
	assert_int_equal(world_wait(s.ev, PATIENCE), b);
	assert_int_equal(sr_evtchn_pending(s.ev, &got), -EAGAIN);
	assert_int_equal(sr_evtchn_unmask(s.ev, b), 0);
	assert_int_equal(world_wait(s.ev, PATIENCE), b);
	assert_int_equal(sr_evtchn_unmask(s.ev, b), 0);
	assert_int_equal(world_wait(s.ev, 0), 0);
	assert_int_equal(sr_evtchn_notify(w->ef, f), 0);
	assert_int_equal(world_wait(s.ev, PATIENCE), b);
	look_away(&s);
}

static void xenstore_fails(void **state)
{
	struct xs_handle *xs;
	xs_transaction_t t;
	struct sight s;
	unsigned len;
	char *v;

	look(&s, "store=2");
	assert_int_equal(sr_hv_xenstore(s.hv, &xs), 0);
	v = xs_read(xs, XBT_NULL, "/local/domain/0/name", &len);
	assert_non_null(v);
	free(v);
	assert_null(xs_read(xs, XBT_NULL, "/local/domain/0/name", &len));
	assert_int_equal(errno, EIO);
	v = xs_read(xs, XBT_NULL, "/local/domain/0/name", &len);
	assert_non_null(v);
	free(v);
	xs_close(xs);
	look_away(&s);

	/* The end of a transaction: EAGAIN, and nothing of it has happened. */
	look(&s, "store=3");
	assert_int_equal(sr_hv_xenstore(s.hv, &xs), 0);
	t = xs_transaction_start(xs);
	assert_true(xs_write(xs, t, "/local/domain/0/data/faulty", "x", 1));
	assert_false(xs_transaction_end(xs, t, false));
	assert_int_equal(errno, EAGAIN);
	assert_null(xs_read(xs, XBT_NULL, "/local/domain/0/data/faulty", &len));
	assert_int_equal(errno, ENOENT);
	t = xs_transaction_start(xs);
	assert_true(xs_transaction_end(xs, t, true));
	/* Watches pass the proxy. */
	assert_true(xs_watch(xs, "/local/domain/0/name", "token"));
	free(xs_read_watch(xs, &len));
	xs_close(xs);
	look_away(&s);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(bad_specifications_are_refused),
		CASE(the_nth_map_fails),
		CASE(a_probability_is_the_same_each_time),
		CASE(copies_fail_whole_or_in_part),
		CASE(a_bind_fails),
		CASE(events_get_lost),
		CASE(events_come_late),
		CASE(a_late_event_of_an_unbound_port_is_none),
		CASE(events_come_twice),
		CASE(xenstore_fails),
	};

	return world_main(argc, argv, "faulty", tests, sizeof(tests) / sizeof(tests[0]));
}
