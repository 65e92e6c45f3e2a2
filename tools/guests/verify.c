/* SPDX-License-Identifier: MIT */
/*
 * A guest's program that writes, reads back and compares, for ever: until SIGTERM, or for a time.
 * Each block says which one it is and how often it was written, so a lost, old, torn or misplaced
 * write is found. At the end every block is read once more. Exit status 0: no error and no
 * difference; the last line of its output is a JSON object that says what it did.
 */
#include <blkfront/blkfront.h>
#include <hypervisor.h>

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_DEPTH 256u

struct slot {
	struct iovec iov;
	uint64_t block;
	bool busy, write;
};

struct verify {
	struct sr_blkfront *front;
	struct sr_blkfront_queue *queue;
	uint64_t block_size, blocks;
	uint32_t *versions; /* of each block, as last written; 0: never */
	bool *out;          /* a request for it is in flight */
	struct slot slots[MAX_DEPTH];
	unsigned depth;
	bool read_only;
	uint64_t random;
	uint64_t reads, writes, flushes, errors, differences;
	uint64_t last_ns, longest_pause_ns;
};

static volatile sig_atomic_t stopped;

static void on_signal(int sig)
{
	stopped = 1;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdu;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53u;
	return x ^ x >> 33;
}

static uint64_t pick(struct verify *v, uint64_t below)
{
	v->random++;
	return mix(v->random) % below;
}

/* The words of a block all follow from its number and its version; version 0 is all zeroes. */
static uint64_t word(const struct verify *v, uint64_t block, uint32_t version, uint64_t i)
{
	return version ? mix(block * 0x9e3779b97f4a7c15u + version) + i : 0;
}

static void fill(const struct verify *v, struct slot *s)
{
	uint64_t *words = s->iov.iov_base;

	for (uint64_t i = 0; i < v->block_size / sizeof(*words); i++)
		words[i] = word(v, s->block, v->versions[s->block], i);
}

static void compare(struct verify *v, const struct slot *s)
{
	const uint64_t *words = s->iov.iov_base;

	for (uint64_t i = 0; i < v->block_size / sizeof(*words); i++) {
		if (words[i] == word(v, s->block, v->versions[s->block], i))
			continue;
		if (!v->differences++)
			printf("block %" PRIu64 " word %" PRIu64 ": got %016" PRIx64
			       ", want %016" PRIx64 " of version %u\n",
			       s->block, i, words[i], word(v, s->block, v->versions[s->block], i),
			       v->versions[s->block]);
		return;
	}
}

static int submit(struct verify *v, struct slot *s, uint64_t block, bool write)
{
	struct sr_blkfront_request request = {
		.op = write ? SR_BLKFRONT_WRITE : SR_BLKFRONT_READ,
		.iov = &s->iov,
		.iov_count = 1,
		.offset = block * v->block_size,
		.tag = s,
	};
	int ret;

	s->block = block;
	s->write = write;
	if (write) {
		v->versions[block]++;
		fill(v, s);
	}
	ret = sr_blkfront_submit(v->queue, &request);
	if (!ret) {
		s->busy = true;
		v->out[block] = true;
	} else if (write) {
		v->versions[block]--;
	}
	return ret;
}

static void complete(struct verify *v, const struct sr_blkfront_done *done)
{
	struct slot *s = done->tag;
	uint64_t now = now_ns();

	if (now - v->last_ns > v->longest_pause_ns)
		v->longest_pause_ns = now - v->last_ns;
	v->last_ns = now;
	s->busy = false;
	v->out[s->block] = false;
	if (done->error && !v->errors++)
		printf("%s of block %" PRIu64 ": %s\n", s->write ? "write" : "read", s->block,
		       strerror(-done->error));
	if (s->write)
		v->writes++;
	else
		v->reads++;
	if (!done->error && !s->write)
		compare(v, s);
}

/* Takes what is done; waits for it where `wait` says so. False: the disk is broken. */
static bool reap(struct verify *v, bool wait)
{
	struct sr_blkfront_done done[MAX_DEPTH];
	unsigned n;
	int ret = wait ? sr_blkfront_wait(v->queue, -1) : sr_blkfront_kick(v->queue);

	if (ret && ret != -EAGAIN)
		return false;
	n = sr_blkfront_reap(v->queue, done, MAX_DEPTH);
	for (unsigned i = 0; i < n; i++)
		complete(v, &done[i]);
	return true;
}

static bool drain(struct verify *v)
{
	while (sr_blkfront_in_flight(v->queue))
		if (!reap(v, true))
			return false;
	return true;
}

/* Free slots get a random block each, two writes to a read. False: the disk is broken. */
static bool fill_slots(struct verify *v)
{
	int ret;

	for (unsigned i = 0; i < v->depth; i++) {
		uint64_t block = pick(v, v->blocks);

		if (v->slots[i].busy || v->out[block])
			continue;
		ret = submit(v, &v->slots[i], block, !v->read_only && pick(v, 3));
		if (ret == -EBUSY)
			return true;
		if (ret)
			return false;
	}
	return true;
}

static bool flush(struct verify *v)
{
	if (!sr_blkfront_info(v->front)->flush || pick(v, 100))
		return true;
	if (!drain(v))
		return false;
	if (sr_blkfront_io(v->queue, SR_BLKFRONT_FLUSH, 0, NULL, 0))
		v->errors++;
	v->flushes++;
	return true;
}

static bool load(struct verify *v, uint64_t seconds)
{
	uint64_t end = now_ns() + seconds * 1000000000u;

	v->last_ns = now_ns();
	/* A backend that wants its disk back gets it once what is out has been answered. */
	while (!stopped && !v->errors && (!seconds || now_ns() < end) &&
	       sr_blkfront_status(v->front) != -ESHUTDOWN)
		if (!fill_slots(v) || !reap(v, true) || !flush(v))
			return false;
	return drain(v);
}

static bool read_all(struct verify *v)
{
	unsigned next = 0;
	int ret;

	for (uint64_t block = 0; block < v->blocks; block++) {
		while (v->slots[next % v->depth].busy)
			if (!reap(v, true))
				return false;
		do
			ret = submit(v, &v->slots[next % v->depth], block, false);
		while (ret == -EBUSY && reap(v, true));
		if (ret)
			return false;
		next++;
	}
	return drain(v);
}

static int set_up(struct verify *v, struct sr_hypervisor *hv, const char *device)
{
	struct sr_blkfront_options options = SR_BLKFRONT_DEFAULTS;
	char error[256] = "";
	void *memory;
	int ret;

	options.device = device;
	options.error = error;
	options.error_size = sizeof(error);
	ret = sr_blkfront_open(hv, &options, &v->front);
	if (ret) {
		printf("%s: %s\n", device, *error ? error : strerror(-ret));
		return ret;
	}
	v->queue = sr_blkfront_queue(v->front, 0);
	v->read_only = sr_blkfront_info(v->front)->read_only;
	v->blocks = sr_blkfront_size(v->front) / v->block_size;
	v->versions = calloc(v->blocks, sizeof(*v->versions));
	v->out = calloc(v->blocks, sizeof(*v->out));
	if (!v->blocks || !v->versions || !v->out)
		return -ENOMEM;
	ret = sr_blkfront_alloc(v->queue, v->depth * v->block_size, &memory);
	for (unsigned i = 0; !ret && i < v->depth; i++)
		v->slots[i].iov =
		    (struct iovec){ (char *)memory + i * v->block_size, v->block_size };
	return ret;
}

static int run(struct verify *v, const char *device, uint64_t seconds)
{
	const char *address = getenv("SPLITRING_HYPERVISOR");
	struct sr_hypervisor *hv;
	bool whole = false;
	int ret;

	ret = address ? sr_hv_open(address, &hv) : -ENOENT;
	if (ret) {
		printf("%s: %s\n", address ? address : "SPLITRING_HYPERVISOR", strerror(-ret));
		return 1;
	}
	ret = set_up(v, hv, device);
	if (!ret) {
		printf("connected: %" PRIu64 " blocks\n", v->blocks);
		fflush(stdout);
		whole = load(v, seconds);
		if (whole && sr_blkfront_status(v->front) == -ESHUTDOWN)
			printf("the backend has taken the disk back\n");
		else if (whole)
			whole = read_all(v);
		if (!whole)
			printf("the disk is broken: %s\n", sr_blkfront_reason(v->front));
	}
	if (v->front)
		sr_blkfront_close(v->front);
	sr_hv_close(hv);
	printf("{\"reads\": %" PRIu64 ", \"writes\": %" PRIu64 ", \"flushes\": %" PRIu64
	       ", \"errors\": %" PRIu64 ", \"differences\": %" PRIu64
	       ", \"longest_pause_ms\": %" PRIu64 "}\n",
	       v->reads, v->writes, v->flushes, v->errors, v->differences,
	       v->longest_pause_ns / 1000000);
	return whole && !v->errors && !v->differences ? 0 : 1;
}

int main(int argc, char **argv)
{
	static struct verify v = { .block_size = 4096, .depth = 32 };
	const char *device = "xvda";
	uint64_t seconds = 0;
	int c, status;

	while ((c = getopt(argc, argv, "d:q:b:t:")) != -1) {
		if (c == 'd')
			device = optarg;
		else if (c == 'q')
			v.depth = (unsigned)strtoul(optarg, NULL, 10);
		else if (c == 'b')
			v.block_size = strtoull(optarg, NULL, 10);
		else if (c == 't')
			seconds = strtoull(optarg, NULL, 10);
		else
			return 2;
	}
	if (!v.depth || v.depth > MAX_DEPTH || !v.block_size || v.block_size % 512) {
		fputs("usage: verify [-d VDEV] [-q DEPTH] [-b BLOCK_SIZE] [-t SECONDS]\n", stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	v.random = now_ns();
	signal(SIGTERM, on_signal);
	status = run(&v, device, seconds);
	free(v.versions);
	free(v.out);
	return status;
}
