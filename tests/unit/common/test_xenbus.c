/* SPDX-License-Identifier: MIT */
/* The handshake as a table: what must hold for every pair, and the ways that devices really go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <common/xenbus.h>

static const enum xenbus_state states[] = {
	XenbusStateInitialising, XenbusStateInitWait, XenbusStateConnected,
	XenbusStateClosing,      XenbusStateClosed,
};

#define STATES (sizeof(states) / sizeof(states[0]))

static struct sr_xenbus_step step(enum xenbus_state s, enum sr_xenbus_event e)
{
	return sr_xenbus_step(s, e, false, true);
}

/* What may never come out, whatever goes in. */
static void test_every_pair(void **state)
{
	for (unsigned i = 0; i < STATES; i++)
		for (unsigned e = 0; e < SR_XB_EVENTS; e++)
			for (unsigned bits = 0; bits < 4; bits++) {
				bool attached = bits & 1, online = bits & 2;
				struct sr_xenbus_step s = sr_xenbus_step(
				    states[i], (enum sr_xenbus_event)e, attached, online);

				if (!s.actions)
					assert_int_equal(s.state, states[i]);
				/* It takes its time, so it comes alone. */
				if (s.actions & SR_XB_DETACH) {
					assert_true(attached);
					assert_int_equal(s.actions, SR_XB_DETACH);
					assert_int_equal(s.state, states[i]);
				}
				/* Queues are neither dropped nor made twice. */
				if (attached && (states[i] == XenbusStateConnected ||
						 states[i] == XenbusStateClosing))
					assert_false(s.actions &
						     (SR_XB_OPEN | SR_XB_CONNECT | SR_XB_CLOSE));
				assert_int_equal(s.state == XenbusStateConnected &&
						     states[i] != XenbusStateConnected,
						 (s.actions & SR_XB_CONNECT) != 0);
				if (s.actions & SR_XB_REMOVE)
					assert_false(online);
				if (s.state != states[i] && s.state != XenbusStateClosing)
					assert_true(s.actions & SR_XB_WRITE);
			}
}

/* Looking again comes to an end, whatever the frontend's state is. */
static void test_again_ends(void **state)
{
	for (unsigned i = 0; i < STATES; i++)
		for (unsigned e = 0; e < SR_XB_FAILED; e++) {
			enum xenbus_state s = states[i];
			unsigned n = 0;

			while (step(s, (enum sr_xenbus_event)e).actions & SR_XB_AGAIN) {
				s = step(s, (enum sr_xenbus_event)e).state;
				assert_true(++n < 4);
			}
		}
}

static void test_whole_life(void **state)
{
	struct sr_xenbus_step s = step(XenbusStateInitialising, SR_XB_FRONT_INITIALISING);

	assert_int_equal(s.state, XenbusStateInitWait);
	assert_int_equal(s.actions, SR_XB_OPEN | SR_XB_WRITE | SR_XB_AGAIN);
	s = step(XenbusStateInitWait, SR_XB_FRONT_READY);
	assert_int_equal(s.state, XenbusStateConnected);
	assert_int_equal(s.actions, SR_XB_CONNECT | SR_XB_WRITE);
	s = sr_xenbus_step(XenbusStateConnected, SR_XB_FRONT_CLOSING, true, true);
	assert_int_equal(s.actions, SR_XB_DETACH);
	s = step(XenbusStateConnected, SR_XB_FRONT_CLOSING);
	assert_int_equal(s.state, XenbusStateClosing);
	s = step(XenbusStateClosing, SR_XB_FRONT_CLOSED);
	assert_int_equal(s.state, XenbusStateClosed);
	assert_int_equal(s.actions, SR_XB_WRITE | SR_XB_CLOSE);
	/* And anew. */
	s = step(XenbusStateClosed, SR_XB_FRONT_INITIALISING);
	assert_int_equal(s.state, XenbusStateInitWait);
}

static void test_unplug(void **state)
{
	struct sr_xenbus_step s;

	/* The guest is given the time to finish. */
	s = sr_xenbus_step(XenbusStateConnected, SR_XB_TOOLSTACK_CLOSING, true, false);
	assert_int_equal(s.state, XenbusStateClosing);
	assert_false(s.actions & SR_XB_DETACH);
	s = sr_xenbus_step(XenbusStateClosing, SR_XB_FRONT_READY, true, false);
	assert_int_equal(s.actions, 0);
	s = sr_xenbus_step(XenbusStateClosing, SR_XB_FRONT_CLOSED, true, false);
	assert_int_equal(s.actions, SR_XB_DETACH);
	s = sr_xenbus_step(XenbusStateClosing, SR_XB_FRONT_CLOSED, false, false);
	assert_int_equal(s.state, XenbusStateClosed);
	assert_true(s.actions & SR_XB_REMOVE);
	/* Not connected: at once. */
	s = sr_xenbus_step(XenbusStateInitWait, SR_XB_TOOLSTACK_CLOSING, false, false);
	assert_int_equal(s.state, XenbusStateClosed);
	/* Closed already: what the toolstack has overwritten is written again. */
	s = sr_xenbus_step(XenbusStateConnected, SR_XB_TOOLSTACK_CLOSED, true, false);
	assert_int_equal(s.actions, SR_XB_DETACH);
	s = sr_xenbus_step(XenbusStateConnected, SR_XB_TOOLSTACK_CLOSED, false, false);
	assert_int_equal(s.state, XenbusStateClosed);
	assert_true(s.actions & SR_XB_REMOVE);
	s = sr_xenbus_step(XenbusStateClosed, SR_XB_TOOLSTACK_CLOSING, false, false);
	assert_true((s.actions & SR_XB_WRITE) && (s.actions & SR_XB_REMOVE));
	/* It is to go, so it is not opened again. */
	s = sr_xenbus_step(XenbusStateClosed, SR_XB_FRONT_INITIALISING, false, false);
	assert_int_equal(s.actions, SR_XB_REMOVE);
}

/* netfront changes its headroom while the queues stay. */
static void test_reconfigured(void **state)
{
	struct sr_xenbus_step s =
	    sr_xenbus_step(XenbusStateConnected, SR_XB_FRONT_RECONFIGURING, true, true);

	assert_int_equal(sr_xenbus_front_event("7"), SR_XB_FRONT_RECONFIGURING);
	assert_int_equal(s.state, XenbusStateReconfigured);
	assert_int_equal(s.actions, SR_XB_RECONFIGURE | SR_XB_WRITE);
	s = sr_xenbus_step(XenbusStateReconfigured, SR_XB_FRONT_RECONFIGURING, true, true);
	assert_int_equal(s.actions, 0);
	/* Looked at once more: it may have written what it wants behind its state. */
	s = sr_xenbus_step(XenbusStateReconfigured, SR_XB_FRONT_READY, true, true);
	assert_int_equal(s.state, XenbusStateConnected);
	assert_int_equal(s.actions, SR_XB_RECONFIGURE | SR_XB_WRITE);
	s = sr_xenbus_step(XenbusStateReconfigured, SR_XB_FRONT_GONE, true, true);
	assert_int_equal(s.actions, SR_XB_DETACH);
	s = sr_xenbus_step(XenbusStateReconfigured, SR_XB_FRONT_CLOSED, false, true);
	assert_int_equal(s.state, XenbusStateClosed);
}

static void test_nonsense(void **state)
{
	assert_int_equal(sr_xenbus_step((enum xenbus_state)99, SR_XB_FAILED, true, true).actions,
			 0);
	assert_int_equal(
	    sr_xenbus_step(XenbusStateConnected, (enum sr_xenbus_event)77, true, true).actions, 0);
	assert_int_equal(sr_xenbus_front_event(NULL), SR_XB_FRONT_GONE);
	assert_int_equal(sr_xenbus_front_event(""), SR_XB_FRONT_GONE);
	assert_int_equal(sr_xenbus_front_event("44"), SR_XB_FRONT_GONE);
	assert_int_equal(sr_xenbus_front_event("/"), SR_XB_FRONT_GONE);
	assert_int_equal(sr_xenbus_front_event("0"), SR_XB_FRONT_GONE);
	assert_int_equal(sr_xenbus_front_event("9"), SR_XB_FRONT_GONE);
	assert_int_equal(sr_xenbus_front_event("1"), SR_XB_FRONT_INITIALISING);
	assert_int_equal(sr_xenbus_front_event("3"), SR_XB_FRONT_READY);
	assert_int_equal(sr_xenbus_front_event("4"), SR_XB_FRONT_READY);
	assert_int_equal(sr_xenbus_front_event("5"), SR_XB_FRONT_CLOSING);
	assert_int_equal(sr_xenbus_front_event("6"), SR_XB_FRONT_CLOSED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_pair),   cmocka_unit_test(test_again_ends),
		cmocka_unit_test(test_whole_life),   cmocka_unit_test(test_unplug),
		cmocka_unit_test(test_reconfigured), cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
