/* SPDX-License-Identifier: MIT */
/*
 * A guest with many vifs on one bridge that keeps all of them busy, for `./dev bench net`.
 *
 *     bench-vifs ADDRESS COUNT BYTES MILLISECONDS
 *
 * Each vif of the guest at ADDRESS, devices 0 to COUNT - 1, sends frames of BYTES to the next one,
 * the last one to the first. One thread does it all, without a kernel or another copy in between.
 * Prints as JSON how many arrived, in millions a second, of how many that were sent, and of those
 * the fewest and the most to one vif.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hypervisor.h>
#include <netfront/netfront.h>

#include "fd_limit.h"

#define MAX_VIFS   256u
#define BURST      32u
#define PAGE       4096u
#define MIN_BYTES  60u
#define MAX_BYTES  1514u
#define POSTED     SR_NETFRONT_RING_SIZE
#define WARM_UP_S  0.3
#define TURNS      16u /* between two looks at the clock */
#define PATIENCE_S 5.0

struct vif {
	struct sr_netfront *front;
	struct sr_netfront_queue *q;
	uint8_t *memory; /* what is posted, then the frame that is sent */
	struct sr_netfront_segment segment;
	uint64_t sent, received;
};

static struct vif vifs[MAX_VIFS];
static struct sr_hypervisor *guests[MAX_VIFS];
static unsigned count, guest_count;
static char why[256];

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- set-up -------------------------------------------------------------------------------------
 */

static int open_vif(struct sr_hypervisor *hv, unsigned device, struct vif *v)
{
	struct sr_netfront_options options = SR_NETFRONT_DEFAULTS;
	struct sr_netfront_buffer buffers[POSTED];
	size_t bytes = (POSTED + 1) * PAGE;
	int rc;

	options.device = device;
	options.error = why;
	options.error_size = sizeof(why);
	rc = sr_netfront_open(hv, &options, &v->front);
	if (rc)
		return rc;
	rc = sr_netfront_memory(v->front, bytes, (void **)&v->memory);
	/* As fast as the backend lets it be: mapped once where it serves that. */
	if (!rc && sr_netfront_static_limit(v->front, 0) > POSTED)
		rc = sr_netfront_static_map(v->front, 0, v->memory, bytes);
	if (rc)
		return rc;
	v->q = sr_netfront_queue(v->front, 0);
	for (unsigned i = 0; i < POSTED; i++) {
		uint8_t *page = v->memory + (size_t)i * PAGE;

		buffers[i] = (struct sr_netfront_buffer){ .page = page, .tag = page };
	}
	rc = sr_netfront_post(v->q, buffers, POSTED);
	return rc < 0 ? rc : 0;
}

static void make_frame(unsigned from, unsigned bytes)
{
	struct vif *v = &vifs[from];
	uint8_t *frame = v->memory + (size_t)POSTED * PAGE;

	memcpy(frame, sr_netfront_info(vifs[(from + 1) % count].front)->mac, 6);
	memcpy(frame + 6, sr_netfront_info(v->front)->mac, 6);
	/* A type that is for experiments: nothing on the way looks further. */
	frame[12] = 0x88;
	frame[13] = 0xb5;
	v->segment = (struct sr_netfront_segment){ .addr = frame, .length = bytes };
}

static int open_all(char **addresses, unsigned each, unsigned bytes)
{
	int rc = 0;

	for (unsigned i = 0; i < guest_count && !rc; i++)
		rc = sr_hv_open(addresses[i], &guests[i]);
	for (unsigned i = 0; i < count && !rc; i++)
		rc = open_vif(guests[i / each], i % each, &vifs[i]);
	for (unsigned i = 0; i < count && !rc; i++)
		make_frame(i, bytes);
	return rc;
}

static void close_all(void)
{
	for (unsigned i = 0; i < count; i++)
		sr_netfront_close(vifs[i].front);
	for (unsigned i = 0; i < guest_count; i++)
		sr_hv_close(guests[i]);
}

/* --- traffic ------------------------------------------------------------------------------------
 */

static int take(struct vif *v)
{
	struct sr_netfront_rx_segment segments[BURST + SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_buffer buffers[BURST + SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_rx packets[BURST];
	unsigned used = 0;
	int n = sr_netfront_receive(v->q, packets, BURST, segments,
				    BURST + SR_NETFRONT_MAX_SEGMENTS - 1);

	if (n <= 0)
		return n;
	for (int i = 0; i < n; i++)
		used += packets[i].count;
	for (unsigned i = 0; i < used; i++)
		buffers[i] = (struct sr_netfront_buffer){
			.page = segments[i].tag,
			.tag = segments[i].tag,
		};
	v->received += (unsigned)n;
	n = sr_netfront_post(v->q, buffers, used);
	return n < 0 ? n : 0;
}

static int give(struct vif *v)
{
	struct sr_netfront_tx packets[BURST];
	struct sr_netfront_done done[SR_NETFRONT_RING_SIZE];
	int n;

	sr_netfront_reap(v->q, done, SR_NETFRONT_RING_SIZE);
	for (unsigned i = 0; i < BURST; i++)
		packets[i] = (struct sr_netfront_tx){ .segments = &v->segment, .count = 1 };
	n = sr_netfront_transmit(v->q, packets, BURST);
	if (n > 0)
		v->sent += (unsigned)n;
	return n < 0 ? n : 0;
}

static int turn(void)
{
	int rc = 0;

	for (unsigned i = 0; i < count && !rc; i++) {
		rc = take(&vifs[i]);
		if (!rc)
			rc = give(&vifs[i]);
		if (!rc)
			rc = sr_netfront_kick(vifs[i].q);
	}
	return rc;
}

static int run_until(double end)
{
	int rc = 0;

	while (!rc && seconds() < end)
		for (unsigned i = 0; i < TURNS && !rc; i++)
			rc = turn();
	return rc;
}

static uint64_t arrived(uint64_t *fewest, uint64_t *most)
{
	uint64_t sum = 0;

	*fewest = UINT64_MAX;
	*most = 0;
	for (unsigned i = 0; i < count; i++) {
		uint64_t n = vifs[i].received;

		sum += n;
		*fewest = n < *fewest ? n : *fewest;
		*most = n > *most ? n : *most;
	}
	return sum;
}

/* Until all vifs' links stand and the switch knows where they are. */
static int warm_up(void)
{
	double limit = seconds() + PATIENCE_S;
	uint64_t fewest, most;
	int rc;

	do {
		rc = run_until(seconds() + WARM_UP_S);
		arrived(&fewest, &most);
	} while (!rc && !fewest && seconds() < limit);
	if (!rc && !fewest)
		return -ETIMEDOUT;
	for (unsigned i = 0; i < count; i++)
		vifs[i].sent = vifs[i].received = 0;
	return rc;
}

static int measure(double time)
{
	uint64_t sum, sent = 0, fewest, most;
	double from;
	int rc = warm_up();

	if (rc)
		return rc;
	from = seconds();
	rc = run_until(from + time);
	if (rc)
		return rc;
	time = seconds() - from;
	sum = arrived(&fewest, &most);
	for (unsigned i = 0; i < count; i++)
		sent += vifs[i].sent;
	printf("{\"vifs\": %u, \"mpps\": %.4f, \"sent_mpps\": %.4f, \"fewest_mpps\": %.4f, "
	       "\"most_mpps\": %.4f}\n",
	       count, (double)sum / time / 1e6, (double)sent / time / 1e6,
	       (double)fewest / time / 1e6, (double)most / time / 1e6);
	return 0;
}

static bool read_number(const char *text, unsigned min, unsigned max, unsigned *n)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	*n = (unsigned)v;
	return end != text && !*end && v >= min && v <= max;
}

int main(int argc, char **argv)
{
	unsigned bytes, milliseconds, each;
	int rc;

	guest_count = argc > 4 ? (unsigned)argc - 4 : 0;
	if (!guest_count || !read_number(argv[1], MIN_BYTES, MAX_BYTES, &bytes) ||
	    !read_number(argv[2], 1, 600000, &milliseconds) ||
	    !read_number(argv[3], 1, MAX_VIFS, &each) || guest_count > MAX_VIFS / each ||
	    guest_count * each < 2) {
		fprintf(stderr,
			"usage: bench-vifs BYTES(%u..%u) MILLISECONDS EACH ADDRESS...\n"
			"2 to %u vifs in all\n",
			MIN_BYTES, MAX_BYTES, MAX_VIFS);
		return 2;
	}
	count = guest_count * each;
	raise_fd_limit();
	rc = open_all(argv + 4, each, bytes);
	if (!rc)
		rc = measure(milliseconds / 1e3);
	close_all();
	if (rc)
		fprintf(stderr, "bench-vifs: %s %s\n", strerror(-rc), why);
	return rc ? 1 : 0;
}
