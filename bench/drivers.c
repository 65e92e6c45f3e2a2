/* SPDX-License-Identifier: MIT */

/*
 * What a block driver does by itself, without rings and grants:
 *
 *     bench-drivers [--time S] [--depth N] [--block SIZE] [--write] [--region SIZE] [--register]
 *                   [--touch] [--sleep] [--load DRIVER.so] TARGET...
 *
 * Random requests of one size, `depth` at a time, for S seconds on each target; then the requests a
 * second, the time each took, and the processor time of this thread a request. --region limits the
 * offsets to the first bytes of the disk; --register tells the driver of the memory; --touch reads
 * what was read, as a guest would; --sleep waits on the driver's descriptor instead of spinning.
 */

#include <drivers/registry.h>
#include <splitring/blk_options.h>

#include <getopt.h>
#include <poll.h>
#include <time.h>

struct settings {
	double time;
	uint64_t depth, block, region;
	bool write, touch, sleep, registered;
};

struct run {
	const struct settings *settings;
	const struct sr_blk_driver *driver;
	void *queue;
	uint64_t range; /* blocks */
	uint64_t random, finished, errors, sum;
	struct sr_blk_request *requests;
	struct iovec *iov;
	struct sr_blk_request **idle; /* a stack of them */
	unsigned idle_count;
};

static double now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void finish(struct run *run, struct sr_blk_request *req)
{
	const uint64_t *words = req->iov->iov_base;

	run->finished++;
	run->errors += req->result != 0;
	for (size_t i = 0; run->settings->touch && i < req->length / 8; i += 8)
		run->sum += words[i];
	run->idle[run->idle_count++] = req;
}

static void turn(struct run *run)
{
	struct sr_blk_request *done[64];
	unsigned n, submitted = run->idle_count;
	struct pollfd fd;

	while (run->idle_count) {
		struct sr_blk_request *req = run->idle[--run->idle_count];

		req->offset = next_random(&run->random) % run->range * run->settings->block;
		if (run->driver->submit(run->queue, req) == SR_BLK_DONE)
			finish(run, req);
		/* Those of a driver that is done at once are not taken again in this turn. */
		if (--submitted == 0)
			break;
	}
	if (run->driver->kick)
		run->driver->kick(run->queue);
	if (!run->driver->reap)
		return;
	n = run->driver->reap(run->queue, done, 64);
	if (n == 0 && run->idle_count == 0 && run->settings->sleep) {
		fd = (struct pollfd){ run->driver->fd(run->queue), POLLIN, 0 };
		poll(&fd, 1, 1000);
	}
	for (unsigned i = 0; i < n; i++)
		finish(run, done[i]);
}

/* The requests, and memory for them in one piece. NULL: none to be had. */
static uint8_t *prepare(struct run *run)
{
	const struct settings *settings = run->settings;
	size_t depth = settings->depth, scratch = (run->driver->scratch_size + 63) & ~(size_t)63;
	uint8_t *memory = aligned_alloc(4096, depth * (settings->block + scratch + 4096));

	run->requests = calloc(depth, sizeof(*run->requests));
	run->iov = calloc(depth, sizeof(*run->iov));
	run->idle = calloc(depth, sizeof(struct sr_blk_request *));
	if (!memory || !run->requests || !run->iov || !run->idle)
		return NULL;
	memset(memory, 0, depth * (settings->block + scratch + 4096));
	for (size_t i = 0; i < depth; i++) {
		run->iov[i] = (struct iovec){ memory + i * settings->block, settings->block };
		run->requests[i] = (struct sr_blk_request){
			.length = settings->block,
			.iov = &run->iov[i],
			.iov_count = 1,
			.op = settings->write ? SR_BLK_WRITE : SR_BLK_READ,
			.scratch = memory + depth * settings->block + i * scratch,
		};
		run->idle[run->idle_count++] = &run->requests[i];
	}
	return memory;
}

static void measure(struct run *run, const char *name)
{
	double start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID), end;
	uint64_t count;

	do {
		for (unsigned i = 0; i < 64; i++)
			turn(run);
		end = now(CLOCK_MONOTONIC);
	} while (end - start < run->settings->time);
	count = run->finished;
	cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	while (run->idle_count < run->settings->depth && run->driver->reap) {
		struct sr_blk_request *done[64];
		unsigned n = run->driver->reap(run->queue, done, 64);

		for (unsigned i = 0; i < n; i++)
			finish(run, done[i]);
	}
	printf("%-40s %9.1f k/s %8.1f ns each %8.1f ns of CPU each  %llu errors\n", name,
	       (double)count / (end - start) * 1e-3, (end - start) * 1e9 / (double)count,
	       cpu * 1e9 / (double)count, (unsigned long long)run->errors);
	fflush(stdout);
}

static int run_queue(const struct settings *settings, const struct sr_blk_target *target,
		     void *disk, const struct sr_blk_info *info, const char *name)
{
	struct sr_blk_queue_params params = { .depth = (uint32_t)settings->depth, .count = 1 };
	struct run run = {
		.settings = settings,
		.driver = target->driver,
		.queue = disk,
		.random = 88172645463325252u,
	};
	uint64_t region =
	    settings->region && settings->region < info->size ? settings->region : info->size;
	uint8_t *memory = prepare(&run);
	int err = memory ? 0 : -ENOMEM;

	run.range = region / settings->block;
	if (!err && (!run.range || settings->block % info->logical_block_size))
		err = -EINVAL;
	if (!err && run.driver->queue_open)
		err = run.driver->queue_open(disk, &params, &run.queue);
	if (!err) {
		if (settings->registered && run.driver->memory_add)
			run.driver->memory_add(run.queue, memory,
					       settings->depth * settings->block);
		measure(&run, name);
		if (run.driver->queue_close)
			run.driver->queue_close(run.queue);
	}
	free(memory);
	free(run.requests);
	free(run.iov);
	free(run.idle);
	return err;
}

static int run_target(const struct settings *settings, struct sr_blk_registry *registry,
		      const char *text)
{
	struct sr_blk_target target;
	struct sr_blk_info info;
	char error[512] = "";
	void *disk;
	int err;

	err = sr_blk_target_parse(registry, text, &target, error, sizeof(error));
	if (!err)
		err = sr_blk_target_open(&target, false, &disk, &info, error, sizeof(error));
	if (!err) {
		err = run_queue(settings, &target, disk, &info, text);
		if (err)
			snprintf(error, sizeof(error), "%s: %s", text, strerror(-err));
		if (target.driver->close)
			target.driver->close(disk);
	}
	sr_blk_target_clear(&target);
	if (err)
		fprintf(stderr, "%s\n", error);
	return err;
}

static int size_of(const char *text, uint64_t *size)
{
	if (!sr_blk_parse_size(text, strlen(text), size) && *size)
		return 0;
	fprintf(stderr, "%s is no size\n", text);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "time", required_argument, NULL, 't' },
		{ "depth", required_argument, NULL, 'd' },
		{ "block", required_argument, NULL, 'b' },
		{ "region", required_argument, NULL, 'r' },
		{ "write", no_argument, NULL, 'w' },
		{ "touch", no_argument, NULL, 'o' },
		{ "register", no_argument, NULL, 'g' },
		{ "sleep", no_argument, NULL, 's' },
		{ "load", required_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	struct settings settings = { .time = 2, .depth = 32, .block = 4096 };
	struct sr_blk_registry *registry;
	const char *library = NULL;
	char error[512];
	int option, err = 0;

	while (!err && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 't')
			settings.time = strtod(optarg, NULL);
		else if (option == 'd')
			err = size_of(optarg, &settings.depth);
		else if (option == 'b')
			err = size_of(optarg, &settings.block);
		else if (option == 'r')
			err = size_of(optarg, &settings.region);
		else if (option == 'l')
			library = optarg;
		else if (option == '?')
			err = -EINVAL;
		settings.write |= option == 'w';
		settings.touch |= option == 'o';
		settings.registered |= option == 'g';
		settings.sleep |= option == 's';
	}
	if (err || sr_blk_registry_new(&registry))
		return 2;
	if (library && sr_blk_registry_load(registry, library, NULL, error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		err = 1;
	}
	for (int i = optind; !err && i < argc; i++)
		err |= run_target(&settings, registry, argv[i]);
	sr_blk_registry_free(registry);
	return err ? 1 : 0;
}
