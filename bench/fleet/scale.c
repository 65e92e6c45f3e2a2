/* SPDX-License-Identifier: MIT */

/*
 * The guests of `./dev bench scale`: many vbds on a machine that has a backend already.
 *
 *     bench-scale DIR GUESTS DISKS TARGET MILLISECONDS
 *
 * TARGET is what the toolstack writes as params; a '@' in it becomes the disk's number. Reads a
 * command a line and answers each with one line of JSON:
 *
 *     attach FIRST END   attaches these: [ns, ...], from the first node to Connected
 *     detach FIRST END   and lets go of them: {}
 *     load DEPTH         4 KiB random reads on disk 0: {"iops": N, "requests": N}
 *
 * What fails goes to stderr, and ends it, without an answer.
 */
#include <errno.h>
#include <fleet/fleet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK       4096u
#define MAX_DEPTH   32u
#define GUEST_PAGES 8192u

static struct sr_fleet *fleet;

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int attach(unsigned first, unsigned end, const char *target)
{
	size_t head = strcspn(target, "@");
	int rc = 0;

	printf("[");
	for (unsigned i = first; i < end && !rc; i++) {
		char params[512];
		uint64_t ns;

		if (target[head])
			snprintf(params, sizeof(params), "%.*s%u%s", (int)head, target, i,
				 target + head + 1);
		else
			snprintf(params, sizeof(params), "%s", target);
		rc = sr_fleet_attach(fleet, i, params, &ns);
		if (!rc)
			printf("%s%llu", i == first ? "" : ", ", (unsigned long long)ns);
	}
	printf("%s\n", rc ? "" : "]");
	return rc;
}

static int detach(unsigned first, unsigned end)
{
	int rc = 0;

	for (unsigned i = first; i < end && !rc; i++)
		rc = sr_fleet_detach(fleet, i, SR_FLEET_GUEST_FIRST);
	printf("%s\n", rc ? "" : "{}");
	return rc;
}

struct load {
	struct sr_blkfront_queue *q;
	uint8_t *pages;
	struct iovec iov[MAX_DEPTH];
	uint64_t random, blocks, done;
	int error;
};

static void submit(struct load *l, unsigned slot)
{
	struct sr_blkfront_request req = {
		.op = SR_BLKFRONT_READ,
		.iov = &l->iov[slot],
		.iov_count = 1,
		.tag = (void *)(uintptr_t)slot,
	};
	int rc;

	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	req.offset = l->random % l->blocks * BLOCK;
	rc = sr_blkfront_submit(l->q, &req);
	if (rc)
		l->error = rc;
}

static void turn(struct load *l, bool more)
{
	struct sr_blkfront_done done[MAX_DEPTH];
	int rc = sr_blkfront_wait(l->q, 10000);
	unsigned n = sr_blkfront_reap(l->q, done, MAX_DEPTH);

	if (rc)
		l->error = rc;
	l->done += n;
	for (unsigned i = 0; i < n && !l->error; i++) {
		l->error = done[i].error;
		if (more && !l->error)
			submit(l, (unsigned)(uintptr_t)done[i].tag);
	}
}

static int load(unsigned depth, double time)
{
	struct load l = { .random = 88172645463325252u };
	struct sr_blkfront *front = sr_fleet_front(fleet, 0);
	double from, to;
	uint64_t counted;

	if (!front || depth < 1 || depth > MAX_DEPTH)
		return -EINVAL;
	l.q = sr_blkfront_queue(front, 0);
	l.blocks = sr_blkfront_size(front) / BLOCK;
	l.error = sr_blkfront_alloc(l.q, (size_t)MAX_DEPTH * BLOCK, (void **)&l.pages);
	if (l.error)
		return l.error;
	from = seconds();
	for (unsigned i = 0; i < depth && !l.error; i++) {
		l.iov[i] = (struct iovec){ l.pages + (size_t)i * BLOCK, BLOCK };
		submit(&l, i);
	}
	do {
		for (unsigned i = 0; i < 64 && !l.error; i++)
			turn(&l, true);
		to = seconds();
	} while (to - from < time && !l.error);
	counted = l.done;
	while (sr_blkfront_in_flight(l.q) && !l.error)
		turn(&l, false);
	/* What the backend still maps is freed when the disk is closed. */
	sr_blkfront_free(l.q, l.pages);
	if (l.error)
		return l.error;
	printf("{\"iops\": %.0f, \"requests\": %llu}\n", (double)counted / (to - from),
	       (unsigned long long)l.done);
	return 0;
}

static int obey(const char *line, const char *target, double time)
{
	unsigned a = 0, b = 0;

	if (sscanf(line, "attach %u %u", &a, &b) == 2 && b <= sr_fleet_count(fleet))
		return attach(a, b, target);
	if (sscanf(line, "detach %u %u", &a, &b) == 2 && b <= sr_fleet_count(fleet))
		return detach(a, b);
	if (sscanf(line, "load %u", &a) == 1)
		return load(a, time);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	struct sr_fleet_spec spec = { .guest_pages = GUEST_PAGES };
	char line[64];
	int rc;

	if (argc != 6) {
		fprintf(stderr, "usage: bench-scale DIR GUESTS DISKS TARGET MILLISECONDS\n");
		return 2;
	}
	spec.dir = argv[1];
	spec.guests = (unsigned)strtoul(argv[2], NULL, 10);
	spec.disks = (unsigned)strtoul(argv[3], NULL, 10);
	rc = sr_fleet_new(&spec, &fleet);
	if (rc) {
		fprintf(stderr, "bench-scale: can't make the guests: %s\n", strerror(-rc));
		return 1;
	}
	while (!rc && fgets(line, sizeof(line), stdin)) {
		rc = obey(line, argv[4], strtod(argv[5], NULL) / 1000);
		fflush(stdout);
	}
	if (rc)
		fprintf(stderr, "bench-scale: %.*s: %s; %s\n", (int)strcspn(line, "\n"), line,
			strerror(-rc), sr_fleet_error(fleet));
	sr_fleet_free(fleet);
	return rc ? 1 : 0;
}
