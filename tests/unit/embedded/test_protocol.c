/* SPDX-License-Identifier: MIT */
/* A hostile client at a guest's door: whatever it says, the machine goes on serving the others. */
#include "machine.h"

#include <errno.h>
#include <poll.h>
#include <protocol.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <core/channel.h>

static int knock(const struct fixture *f, uint16_t domid)
{
	struct timeval patience = { .tv_sec = 10 };
	struct sockaddr_un sa;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	assert_int_equal(sr_em_socket_name(f->dir, "hv", domid, &sa), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

/* The reply's status; -ECONNRESET where the machine has hung up. */
static int say(int fd, const void *msg, size_t len)
{
	struct sr_em_reply reply;
	ssize_t n;

	if (send(fd, msg, len, MSG_NOSIGNAL) < 0)
		return -ECONNRESET;
	n = recv(fd, &reply, sizeof(reply), 0);
	if (n <= 0)
		return errno == EAGAIN && n < 0 ? -ETIMEDOUT : -ECONNRESET;
	assert_true((size_t)n >= sizeof(reply));
	return reply.status;
}

static int greet(int fd, enum sr_em_kind kind)
{
	struct sr_em_request req = { .op = SR_EM_HELLO,
				     .hello = { .version = SR_EM_VERSION, .kind = kind } };

	return say(fd, &req, sizeof(req));
}

static int ask(int fd, struct sr_em_request req)
{
	return say(fd, &req, sizeof(req));
}

static void check_alive(struct fixture *f)
{
	struct sr_machine_status st;

	assert_int_equal(sr_control_status(f->control, &st), 0);
}

static void messages_of_odd_sizes_end_the_connection(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");
	char big[sizeof(struct sr_em_request) + SR_EM_COPY_MAX + 64] = { 0 };
	static const size_t sizes[] = { 1, 4, sizeof(struct sr_em_request) - 1,
					sizeof(struct sr_em_request) + 1, sizeof(big) };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int fd = knock(f, domid);

		assert_int_equal(greet(fd, SR_EM_INSTANCE), 0);
		assert_int_equal(say(fd, big, sizes[i]), -ECONNRESET);
		close(fd);
	}
	check_alive(f);
}

static void nothing_goes_before_hello(void **state)
{
	struct fixture *f = *state;
	int fd = knock(f, machine_guest(f, "guest"));

	for (uint32_t op = SR_EM_FOREIGN; op < SR_EM_OPS + 3; op++)
		assert_int_equal(ask(fd, (struct sr_em_request){ .op = op }), -EINVAL);
	assert_int_equal(ask(fd, (struct sr_em_request){ .op = SR_EM_HELLO }), -EPROTO);
	assert_int_equal(greet(fd, SR_EM_KINDS), -EINVAL);
	assert_int_equal(greet(fd, SR_EM_CONTROL), -EPERM);
	assert_int_equal(greet(fd, SR_EM_EVTCHN), 0);
	assert_int_equal(greet(fd, SR_EM_GNTSHR), -EINVAL);
	close(fd);
}

static void each_handle_does_its_own_kind_only(void **state)
{
	static const struct {
		enum sr_em_kind kind;
		enum sr_em_op first, last;
	} may[] = { { SR_EM_INSTANCE, SR_EM_FOREIGN, SR_EM_FOREIGN },
		    { SR_EM_GNTTAB, SR_EM_COPY, SR_EM_COPY },
		    { SR_EM_GNTSHR, SR_EM_PAGES, SR_EM_FIRE },
		    { SR_EM_EVTCHN, SR_EM_ALLOC, SR_EM_UNBIND } };
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");

	for (size_t i = 0; i < sizeof(may) / sizeof(may[0]); i++) {
		int fd = knock(f, domid);

		assert_int_equal(greet(fd, may[i].kind), 0);
		for (uint32_t op = SR_EM_FOREIGN; op < SR_EM_OPS; op++) {
			if (op >= may[i].first && op <= may[i].last)
				continue;
			assert_int_equal(ask(fd, (struct sr_em_request){ .op = op }), -EINVAL);
		}
		close(fd);
	}
}

static void a_guest_gets_no_foreign_memory(void **state)
{
	struct fixture *f = *state;
	uint16_t a = machine_guest(f, "a"), b = machine_guest(f, "b");
	int fd = knock(f, a);

	assert_int_equal(greet(fd, SR_EM_INSTANCE), 0);
	for (uint32_t domid = 0; domid <= b; domid++)
		assert_int_equal(ask(fd, (struct sr_em_request){ .op = SR_EM_FOREIGN,
								 .arg = { .domid = domid } }),
				 -EPERM);
	close(fd);
}

static void amounts_are_bounded(void **state)
{
	static const uint32_t counts[] = { 0, 1025, 1u << 20, 1u << 31, UINT32_MAX };
	struct fixture *f = *state;
	int fd = knock(f, machine_guest(f, "guest"));
	struct sr_em_request req = { 0 };

	assert_int_equal(greet(fd, SR_EM_GNTSHR), 0);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		req.amount.count = counts[i];
		req.op = SR_EM_PAGES;
		assert_int_equal(ask(fd, req), -ENOSPC);
		/* 64 frames of 512 references is all that a guest may have. */
		req.op = SR_EM_REFS;
		req.amount.count = counts[i] == 1025 ? 64 * 512 : counts[i];
		assert_int_equal(ask(fd, req), -ENOSPC);
	}
	close(fd);
}

static void copies_are_checked(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");
	struct sr_em_request req = { .op = SR_EM_COPY };
	char msg[sizeof(req) + 64] = { 0 };
	int fd = knock(f, domid);

	assert_int_equal(greet(fd, SR_EM_GNTTAB), 0);
	req.copy = (struct sr_em_copy){ .len = UINT16_MAX };
	assert_int_equal(ask(fd, req), -EINVAL);
	/* More or less data than it says. */
	req.copy = (struct sr_em_copy){ .len = 32, .write = 1 };
	assert_int_equal(ask(fd, req), -EINVAL);
	memcpy(msg, &req, sizeof(req));
	assert_int_equal(say(fd, msg, sizeof(req) + 33), -EINVAL);
	assert_int_equal(say(fd, msg, sizeof(req) + 32), 0);
	req.copy = (struct sr_em_copy){ .len = 32,
					.write = 7,
					.both = 9,
					.to_domid = 0xffff,
					.domid = 0xffff,
					.offset = 0xffff };
	assert_int_equal(ask(fd, req), 0);
	close(fd);
}

static void a_client_that_does_not_read_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct sr_em_request req = { .op = SR_EM_FOREIGN };
	int fd = knock(f, machine_guest(f, "guest"));
	struct pollfd pfd = { .fd = fd, .events = 0 };

	assert_int_equal(greet(fd, SR_EM_INSTANCE), 0);
	for (int i = 0; i < 100000; i++)
		if (send(fd, &req, sizeof(req), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
			break;
	/* Hung up on, and not waited for. */
	assert_int_equal(poll(&pfd, 1, 10000), 1);
	assert_true(pfd.revents & POLLHUP);
	close(fd);
	check_alive(f);
}

static void connections_and_ports_have_quotas(void **state)
{
	struct fixture *f = *state;
	struct sr_em_request req = { .op = SR_EM_ALLOC };
	int fds[9], n = 0, err;
	uint16_t domid, other;

	machine_stop(f);
	machine_start(f, (struct sr_machine_opts){ .guest_connections = 8, .guest_ports = 16 });
	domid = machine_guest(f, "guest");
	other = machine_guest(f, "other");
	for (int i = 0; i < 9; i++) {
		fds[i] = knock(f, domid);
		assert_int_equal(greet(fds[i], SR_EM_EVTCHN), i < 8 ? 0 : -ECONNRESET);
	}
	while (!(err = ask(fds[n % 2], req)) && n < 100)
		n++;
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(n, 15);
	/* That is nobody's loss but its own. */
	close(fds[8]);
	fds[8] = knock(f, other);
	assert_int_equal(greet(fds[8], SR_EM_EVTCHN), 0);
	assert_int_equal(ask(fds[8], req), 0);
	for (int i = 0; i < 9; i++)
		close(fds[i]);
}

/* Bounded fuzzing: each message well-formed in size, and mostly in its operation. */
static void random_messages_do_no_harm(void **state)
{
	struct fixture *f = *state;
	uint16_t domid = machine_guest(f, "guest");
	struct sr_machine_status before, now;
	unsigned seed = 20;

	assert_int_equal(sr_control_status(f->control, &before), 0);
	for (int conn = 0; conn < 40; conn++) {
		enum sr_em_kind kind = conn % SR_EM_CONTROL;
		int fd = knock(f, domid);

		assert_int_equal(greet(fd, kind), 0);
		for (int i = 0; i < 200; i++) {
			struct sr_em_request req;

			for (size_t b = 0; b < sizeof(req); b++) {
				int r = rand_r(&seed);

				/* Small numbers get further than large ones. */
				((uint8_t *)&req)[b] = r & 0x300 ? 0 : (uint8_t)(r >> 12);
			}
			req.op =
			    SR_EM_COPY + (uint32_t)rand_r(&seed) % (SR_EM_OPS - SR_EM_COPY + 1);
			if (ask(fd, req) == -ECONNRESET)
				break;
		}
		close(fd);
		check_alive(f);
	}
	for (int i = 0; i < 500; i++) {
		assert_int_equal(sr_control_status(f->control, &now), 0);
		if (now.connections == before.connections)
			break;
		usleep(10000);
	}
	assert_memory_equal(&before, &now, sizeof(now));
}

/* --- a hostile peer of an event channel ------------------------------------------------------ */

/* Binds by hand, so as to hold what a guest that wrote its own provider would hold. */
static int bind_by_hand(int fd, uint32_t remote, struct sr_channel_line **line, int *ringer)
{
	struct sr_em_request req = { .op = SR_EM_BIND, .arg = { .domid = 0, .port = remote } };
	struct sr_em_client cl = { .fd = fd };
	struct sr_em_reply reply;
	int fds[4], err;

	err = sr_em_call(&cl, &req, &reply, fds, 4);
	if (err)
		return err;
	*line = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[2], 0);
	assert_ptr_not_equal(*line, MAP_FAILED);
	*ringer = fds[3];
	/* The line cannot be cut off under who reads it. */
	assert_int_equal(ftruncate(fds[2], 0), -1);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	return 0;
}

static bool readable(struct sr_evtchn *ev)
{
	struct pollfd pfd = { .fd = sr_evtchn_fd(ev), .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static void ringing_a_masked_port_does_not_keep_its_owner_awake(void **state)
{
	struct fixture *f = *state;
	int fd = knock(f, machine_guest(f, "guest")), ringer = -1, awake = 0;
	struct sr_channel_line *line = NULL;
	struct sr_hypervisor *hv;
	struct sr_evtchn *ev;
	uint32_t port, got;
	uint64_t one = 1;

	assert_int_equal(sr_hv_open(machine_address(f, 0), &hv), 0);
	assert_int_equal(sr_evtchn_open(hv, &ev), 0);
	assert_int_equal(sr_evtchn_alloc_unbound(ev, 1, &port), 0);
	assert_int_equal(greet(fd, SR_EM_EVTCHN), 0);
	assert_int_equal(bind_by_hand(fd, port, &line, &ringer), 0);
	assert_int_equal(sr_channel_send(line), SR_CHANNEL_RING);
	assert_int_equal(write(ringer, &one, sizeof(one)), sizeof(one));
	assert_int_equal(sr_evtchn_pending(ev, &got), 0);
	assert_int_equal(got, port);
	for (int i = 0; i < 1000; i++) {
		atomic_store(&line->word, (uint32_t)i * 7);
		assert_int_equal(write(ringer, &one, sizeof(one)), sizeof(one));
		awake += readable(ev);
		assert_int_equal(sr_evtchn_pending(ev, &got), -EAGAIN);
	}
	assert_in_range(awake, 0, 20);
	/* A full ringer costs the guest its events and us nothing. */
	one = UINT64_MAX - 1 - 1001 - 1;
	assert_int_equal(write(ringer, &one, sizeof(one)), sizeof(one));
	atomic_store(&line->word, SR_CHANNEL_PENDING);
	assert_int_equal(sr_evtchn_unmask(ev, port), 0);
	assert_int_equal(sr_evtchn_pending(ev, &got), 0);
	assert_int_equal(sr_evtchn_unmask(ev, port), 0);
	munmap(line, 4096);
	close(ringer);
	close(fd);
	sr_evtchn_close(ev);
	sr_hv_close(hv);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MACHINE_TEST(messages_of_odd_sizes_end_the_connection),
		MACHINE_TEST(nothing_goes_before_hello),
		MACHINE_TEST(each_handle_does_its_own_kind_only),
		MACHINE_TEST(a_guest_gets_no_foreign_memory),
		MACHINE_TEST(amounts_are_bounded),
		MACHINE_TEST(copies_are_checked),
		MACHINE_TEST(a_client_that_does_not_read_is_dropped),
		MACHINE_TEST(connections_and_ports_have_quotas),
		MACHINE_TEST(random_messages_do_no_harm),
		MACHINE_TEST(ringing_a_masked_port_does_not_keep_its_owner_awake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
