/* SPDX-License-Identifier: MIT */
#include "must.h"
#include "testback.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

/*
 * A cable between two guests: what one sends the other receives, queue by queue, offloads and all.
 * For guest-net's test where no daemon is. wire ADDRESS DOMID DOMID; SIGTERM ends it, with SIGUSR1
 * it closes both devices, which may come back.
 */

static volatile sig_atomic_t stopped, closing;

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		stopped = 1;
	else
		closing = 1;
}

/* netif's flags of the two directions differ. */
static uint16_t rx_flags(uint16_t tx)
{
	return (uint16_t)((tx & NETTXF_csum_blank ? NETRXF_csum_blank : 0) |
			  (tx & NETTXF_data_validated ? NETRXF_data_validated : 0));
}

static bool forward(struct testback *from, struct testback *to, unsigned queue)
{
	static struct testback_packet p;
	unsigned n = 0;

	while (n < 64 && testback_take(from, queue, &p)) {
		testback_answer(from, queue, &p, NETIF_RSP_OKAY);
		p.flags = rx_flags(p.flags);
		/* Without room it is lost, as on any cable. */
		(void)testback_send(to, queue, &p, SR_PAGE_SIZE);
		n++;
	}
	if (n) {
		testback_publish(from, queue);
		testback_publish(to, queue);
	}
	return n;
}

/* Both ways, as long as both are connected. */
static bool forward_all(struct testback b[2])
{
	bool moved = false;

	for (unsigned q = 0; b[0].gt && b[1].gt && q < b[0].queues && q < b[1].queues; q++) {
		moved |= forward(&b[0], &b[1], q);
		moved |= forward(&b[1], &b[0], q);
	}
	return moved;
}

/* Takes what was notified and asks for the next. True: there is something already. */
static bool arm(struct testback *b)
{
	bool there = false;
	uint32_t port;

	while (b->gt && !sr_evtchn_pending(b->ev, &port))
		must(!sr_evtchn_unmask(b->ev, port));
	for (unsigned q = 0; b->gt && q < b->queues; q++)
		there |= sr_ring_back_arm(&b->queue[q].tx.ring) != 0;
	return there;
}

static void lock(struct testback b[2])
{
	pthread_mutex_lock(&b[0].lock);
	pthread_mutex_lock(&b[1].lock);
}

static void unlock(struct testback b[2])
{
	pthread_mutex_unlock(&b[1].lock);
	pthread_mutex_unlock(&b[0].lock);
}

/* One round; false: nothing is left to do before an event. */
static bool round_trip(struct testback b[2], struct pollfd fds[2])
{
	bool busy;

	lock(b);
	busy = forward_all(b);
	if (!busy)
		busy = (arm(&b[0]) | arm(&b[1])) && b[0].gt && b[1].gt;
	for (unsigned i = 0; i < 2; i++)
		fds[i] = (struct pollfd){ b[i].gt ? sr_evtchn_fd(b[i].ev) : -1, POLLIN, 0 };
	unlock(b);
	return busy;
}

int main(int argc, char **argv)
{
	static const struct testback_offer offer = {
		.queues = 2,
		.split = true,
		.sg = true,
		.gso = true,
		.csum6 = true,
		.control = true,
	};
	static struct testback b[2];
	struct pollfd fds[2];

	must(argc == 4);
	signal(SIGTERM, on_signal);
	signal(SIGUSR1, on_signal);
	for (unsigned i = 0; i < 2; i++)
		testback_start(&b[i], argv[1], argv[1], (uint16_t)atoi(argv[2 + i]), 0, &offer);
	printf("ready\n");
	fflush(stdout);
	while (!stopped) {
		for (unsigned i = 0; closing && i < 2; i++)
			testback_go(&b[i], XenbusStateClosed);
		closing = 0;
		/* A guest may come or go meanwhile, hence not for long. */
		if (!round_trip(b, fds))
			(void)poll(fds, 2, 50);
	}
	for (unsigned i = 0; i < 2; i++)
		testback_stop(&b[i]);
	return 0;
}
