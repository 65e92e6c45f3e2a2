/* SPDX-License-Identifier: MIT */

/*
 * What the contract asks of any driver, run on the target that is named on the command line:
 *
 *     conformance [--load DRIVER.so] [--no-data] [--image DIR] TARGET
 *
 * The target's content is overwritten. --no-data is for a driver that keeps none, like null. With
 * --image a fresh image of 16 MiB is made in DIR, and every @ in TARGET is its path. Exit 77: it
 * can't run here (no such directory, or the file system of DIR lacks what the target asks for).
 */

#include "rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ZONE   (UINT64_C(256) << 10) /* of the disk, one for each request that can be in flight */
#define DEPTH  32u
#define QUEUES 3u

static const char *library;
static char *target;
static bool no_data;

/* What one queue's load needs. Zone i of the disk and of the shadow belongs to request i. */
struct load {
	struct rig *rig;
	struct rig_queue queue;
	uint64_t first; /* offset of the first zone */
	unsigned zones; /* as many requests are in flight at most */
	uint8_t *shadow;
	bool *known;     /* a zone of which shadow holds the content; else it was discarded */
	uint8_t *memory; /* two zones' worth for each request: pieces lie apart in it */
	uint64_t random;
};

static size_t align_up(size_t n, size_t to)
{
	return to > 1 ? (n + to - 1) / to * to : n;
}

static void load_open(struct load *load, struct rig *rig, unsigned index, unsigned count)
{
	uint64_t share = rig->info.size / count;

	*load = (struct load){ .rig = rig, .random = 0x9e3779b97f4a7c15u + index };
	load->first = share / ZONE * ZONE * index;
	load->zones = share / ZONE < DEPTH ? (unsigned)(share / ZONE) : DEPTH;
	assert_true(load->zones > 0);
	rig_queue_open(rig, &load->queue, load->zones, index, count);
	load->shadow = malloc(load->zones * ZONE);
	load->known = calloc(load->zones, sizeof(bool));
	load->memory = aligned_alloc(4096, load->zones * 2 * ZONE);
	assert_true(load->shadow && load->known && load->memory);
}

static void load_close(struct load *load)
{
	rig_queue_close(&load->queue);
	free(load->shadow);
	free(load->known);
	free(load->memory);
}

/* Makes a list of pieces for `length` bytes, scattered or not, in the memory of the request. */
static void scatter(struct load *load, struct rig_request *request, size_t length)
{
	size_t block = load->rig->info.logical_block_size, align = load->rig->info.memory_alignment;
	uint8_t *at = load->memory + request->index * 2 * ZONE;
	bool apart = rig_random(&load->random) & 1;
	uint32_t n = 0;

	while (length) {
		size_t len = length, gap = 0;

		if (apart) {
			len = (1 + rig_random(&load->random) % 16) * block;
			len = len < length ? len : length;
			gap = align_up(rig_random(&load->random) % (block / 2),
				       align > 8 ? align : 8);
		}
		if (n == SR_BLK_MAX_IOV - 1)
			len = length;
		/* Room: at most twice the length, as no gap is larger than its piece. */
		request->iov[n++] = (struct iovec){ at, len };
		at += len + (gap < len ? gap : 0);
		length -= len;
	}
	request->req.iov = request->iov;
	request->req.iov_count = n;
}

/* Copies between the pieces and a flat buffer, or compares them. */
static void gather(const struct rig_request *request, uint8_t *flat, bool to_pieces)
{
	for (uint32_t i = 0; i < request->req.iov_count; i++) {
		const struct iovec *iov = &request->iov[i];

		memcpy(to_pieces ? iov->iov_base : flat, to_pieces ? flat : iov->iov_base,
		       iov->iov_len);
		flat += iov->iov_len;
	}
}

static bool same(const struct rig_request *request, const uint8_t *flat)
{
	for (uint32_t i = 0; i < request->req.iov_count; i++) {
		if (memcmp(request->iov[i].iov_base, flat, request->iov[i].iov_len) != 0)
			return false;
		flat += request->iov[i].iov_len;
	}
	return true;
}

/* The next request of a zone: a write of it all while nobody knows its content, else anything. */
static void choose(struct load *load, struct rig_request *request)
{
	const struct sr_blk_info *info = &load->rig->info;
	uint64_t blocks = ZONE / info->logical_block_size, first, count;
	uint64_t dice = rig_random(&load->random) % 100;
	struct sr_blk_request *req = &request->req;
	uint8_t *shadow;

	first = rig_random(&load->random) % blocks;
	count = 1 + rig_random(&load->random) % (dice & 1 ? blocks - first : 1);
	req->op = dice < 45 ? SR_BLK_READ : SR_BLK_WRITE;
	req->flags = 0;
	if (!load->known[request->index]) {
		first = 0;
		count = blocks;
		req->op = SR_BLK_WRITE;
	} else if (dice >= 97 && info->discard_granularity) {
		first = 0;
		count = blocks;
		req->op = SR_BLK_DISCARD;
	} else if (dice >= 95) {
		req->op = SR_BLK_FLUSH;
	}
	req->offset = load->first + request->index * ZONE + first * info->logical_block_size;
	req->length = count * info->logical_block_size;
	req->iov_count = 0;
	shadow = load->shadow + request->index * ZONE + first * info->logical_block_size;
	if (req->op == SR_BLK_READ || req->op == SR_BLK_WRITE)
		scatter(load, request, req->length);
	if (req->op == SR_BLK_WRITE) {
		rig_fill(shadow, req->length, &load->random);
		gather(request, shadow, true);
		load->known[request->index] = true;
	}
	if (req->op == SR_BLK_DISCARD)
		load->known[request->index] = false;
	if (req->op == SR_BLK_FLUSH)
		req->offset = req->length = 0;
}

static void check(struct load *load, struct rig_request *request)
{
	const struct sr_blk_request *req = &request->req;

	if (req->result)
		fail_msg("operation %u at %llu, %llu bytes: result %lld", req->op,
			 (unsigned long long)req->offset, (unsigned long long)req->length,
			 (long long)req->result);
	if (req->op == SR_BLK_READ && !no_data &&
	    !same(request, load->shadow + (req->offset - load->first)))
		fail_msg("what was read at %llu is not what was written",
			 (unsigned long long)req->offset);
}

/* `total` requests, as many in flight as the depth allows, in batches of all sizes. */
static void load_run(struct load *load, unsigned total)
{
	struct rig_request *done[64], *request;
	unsigned started = 0, finished = 0, batch;
	bool now;

	while (finished < total) {
		batch = 1 + (unsigned)(rig_random(&load->random) % load->zones);
		while (started < total && batch-- && (request = rig_take(&load->queue))) {
			choose(load, request);
			/* The depth was promised to the driver, so it has room for it. */
			assert_true(rig_submit(&load->queue, request, &now));
			started++;
			if (now) {
				check(load, request);
				finished++;
			}
		}
		rig_kick(&load->queue);
		batch = rig_reap(&load->queue, done, 1 + load->random % 64,
				 load->queue.inflight == load->zones || started == total);
		for (unsigned i = 0; i < batch; i++)
			check(load, done[i]);
		finished += batch;
	}
	assert_int_equal(load->queue.inflight, 0);
}

static int open_disk(void **state)
{
	static struct rig rig;

	if (rig_open(&rig, library, target, false))
		fail_msg("%s", rig.error);
	*state = &rig;
	return 0;
}

static int close_disk(void **state)
{
	rig_close(*state);
	return 0;
}

static void test_random_load(void **state)
{
	struct load load;

	load_open(&load, *state, 0, 1);
	load_run(&load, 6000);
	load_close(&load);
}

static void test_registered_memory(void **state)
{
	struct rig *rig = *state;
	struct load load;

	load_open(&load, rig, 0, 1);
	/* Half of it, so that requests with and without it mix, and one region that can't be had.
	 */
	rig->driver->memory_add(load.queue.queue, load.memory, load.zones * ZONE);
	rig->driver->memory_add(load.queue.queue, (void *)4096, ZONE);
	load_run(&load, 2000);
	rig->driver->memory_remove(load.queue.queue, (void *)4096, ZONE);
	rig->driver->memory_remove(load.queue.queue, load.memory, load.zones * ZONE);
	load_run(&load, 1000);
	load_close(&load);
}

static void *queue_thread(void *arg)
{
	load_run(arg, 2000);
	return NULL;
}

static void test_several_queues(void **state)
{
	pthread_t threads[QUEUES];
	struct load loads[QUEUES];

	for (unsigned i = 0; i < QUEUES; i++)
		load_open(&loads[i], *state, i, QUEUES);
	for (unsigned i = 0; i < QUEUES; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, queue_thread, &loads[i]), 0);
	for (unsigned i = 0; i < QUEUES; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < QUEUES; i++)
		load_close(&loads[i]);
}

/* The corners: the first and the last block, one block and everything that fits into one request.
 */
static void test_edges(void **state)
{
	struct rig *rig = *state;
	size_t block = rig->info.logical_block_size, large = 4 * ZONE;
	uint64_t offsets[3] = { 0, rig->info.size / 2 / block * block, 0 }, random = 42;
	uint8_t *out = aligned_alloc(4096, large), *in = aligned_alloc(4096, large);
	struct rig_queue queue;

	rig_queue_open(rig, &queue, 1, 0, 1);
	for (size_t len = block; len <= large && len <= rig->info.size; len *= 2) {
		offsets[2] = rig->info.size - len;
		for (unsigned i = 0; i < 3; i++) {
			uint64_t offset = offsets[i] < offsets[2] ? offsets[i] : offsets[2];

			rig_fill(out, len, &random);
			memset(in, 0, len);
			assert_int_equal(rig_do(&queue, SR_BLK_WRITE, offset, out, len, 0), 0);
			assert_int_equal(rig_do(&queue, SR_BLK_READ, offset, in, len, 0), 0);
			assert_true(no_data || memcmp(in, out, len) == 0);
		}
	}
	assert_int_equal(rig_do(&queue, SR_BLK_FLUSH, 0, NULL, 0, 0), 0);
	rig_queue_close(&queue);
	free(out);
	free(in);
}

/* As many pieces as a request may have, each of one block. */
static void test_most_pieces(void **state)
{
	struct rig *rig = *state;
	size_t block = rig->info.logical_block_size, len = SR_BLK_MAX_IOV * block;
	uint8_t *memory = aligned_alloc(4096, 2 * len);
	struct rig_request *request, *done;
	struct rig_queue queue;
	uint64_t random = 7;
	bool now;

	assert_true(len <= rig->info.size);
	rig_queue_open(rig, &queue, 1, 0, 1);
	request = rig_take(&queue);
	rig_fill(memory, 2 * len, &random);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < SR_BLK_MAX_IOV; i++)
			request->iov[i] =
			    (struct iovec){ memory + 2 * i * block + pass * block, block };
		request->req.op = pass ? SR_BLK_READ : SR_BLK_WRITE;
		request->req.offset = 0;
		request->req.length = len;
		request->req.iov = request->iov;
		request->req.iov_count = SR_BLK_MAX_IOV;
		assert_true(rig_submit(&queue, request, &now));
		rig_kick(&queue);
		assert_true(now || rig_reap(&queue, &done, 1, true) == 1);
		assert_int_equal(request->req.result, 0);
	}
	for (unsigned i = 0; i < SR_BLK_MAX_IOV && !no_data; i++)
		assert_memory_equal(memory + 2 * i * block, memory + (2 * i + 1) * block, block);
	rig_queue_close(&queue);
	free(memory);
}

/* Discard touches nothing beside its range, and the range can be written again. */
static void test_discard(void **state)
{
	struct rig *rig = *state;
	uint64_t step = rig->info.discard_granularity, random = 3;
	uint8_t *out, *in;
	struct rig_queue queue;
	size_t len = 3 * step;

	assert_true(len <= rig->info.size);
	out = aligned_alloc(4096, align_up(len, 4096));
	in = aligned_alloc(4096, align_up(len, 4096));
	rig_queue_open(rig, &queue, 4, 0, 1);
	for (unsigned secure = 0; secure <= (rig->info.secure_discard ? 1u : 0u); secure++) {
		rig_fill(out, len, &random);
		assert_int_equal(rig_do(&queue, SR_BLK_WRITE, 0, out, len, 0), 0);
		assert_int_equal(
		    rig_do(&queue, SR_BLK_DISCARD, step, NULL, step, secure ? SR_BLK_SECURE : 0),
		    0);
		assert_int_equal(rig_do(&queue, SR_BLK_READ, 0, in, len, 0), 0);
		if (no_data)
			continue;
		assert_memory_equal(in, out, step);
		assert_memory_equal(in + 2 * step, out + 2 * step, step);
		if (secure)
			assert_memory_not_equal(in + step, out + step, step);
		assert_int_equal(rig_do(&queue, SR_BLK_WRITE, step, out, step, 0), 0);
		assert_int_equal(rig_do(&queue, SR_BLK_READ, step, in, step, 0), 0);
		assert_memory_equal(in, out, step);
	}
	/* The whole disk in one request. */
	assert_int_equal(rig_do(&queue, SR_BLK_DISCARD, 0, NULL, rig->info.size, 0), 0);
	rig_queue_close(&queue);
	free(out);
	free(in);
}

static void test_refresh_says_the_same(void **state)
{
	struct rig *rig = *state;
	struct sr_blk_info info = rig->info;

	assert_int_equal(rig->driver->refresh(rig->disk, &info), 0);
	assert_memory_equal(&info, &rig->info, sizeof(info));
}

static void test_queues_come_and_go(void **state)
{
	struct rig_queue queue;
	uint8_t *memory = aligned_alloc(4096, 4096);

	for (unsigned i = 0; i < 20; i++) {
		rig_queue_open(*state, &queue, 1 + i * 13, 0, 1);
		assert_int_equal(rig_do(&queue, SR_BLK_READ, 0, memory, 4096, 0), 0);
		rig_queue_close(&queue);
	}
	free(memory);
}

static void test_read_only(void **state)
{
	struct rig_queue queue;
	uint8_t *memory = aligned_alloc(4096, 4096);
	struct rig rig;

	if (rig_open(&rig, library, target, true))
		fail_msg("%s", rig.error);
	assert_true(rig.info.read_only);
	rig_queue_open(&rig, &queue, 1, 0, 1);
	assert_int_equal(rig_do(&queue, SR_BLK_READ, 0, memory, 4096, 0), 0);
	rig_queue_close(&queue);
	rig_close(&rig);
	free(memory);
}

/* Every @ of `text` becomes the path of a new image in `dir`. */
static char *make_image(const char *dir, const char *text, char *path, size_t size)
{
	char *out = malloc(strlen(text) * size + 1), *to = out;
	struct rig rig;
	int fd, err;

	snprintf(path, size, "%s/splitring-conformance-XXXXXX", dir);
	fd = mkstemp(path);
	if (fd < 0 || ftruncate(fd, 16 << 20)) {
		printf("1..0 # SKIP no image can be made in %s\n", dir);
		exit(77);
	}
	close(fd);
	for (; *text; text++)
		to += *text == '@' ? sprintf(to, "%s", path) : sprintf(to, "%c", *text);
	err = rig_open(&rig, library, out, false);
	if (err == -EOPNOTSUPP) {
		printf("1..0 # SKIP %s\n", rig.error);
		unlink(path);
		exit(77);
	}
	if (!err)
		rig_close(&rig);
	return out;
}

static int remove_image(void **state)
{
	const char *path = *state;

	return path[0] ? unlink(path) : 0;
}

static char image[256];

static int keep_image(void **state)
{
	*state = image;
	return 0;
}

#define DISK(test)                                                                                 \
	{                                                                                          \
#test, test, open_disk, close_disk, NULL                                           \
	}

/* The cases that this disk has to pass: what its driver does not claim to do is none of them. */
static size_t choose_cases(struct CMUnitTest *cases)
{
	const struct CMUnitTest always[] = {
		DISK(test_edges),
		DISK(test_most_pieces),
		DISK(test_random_load),
		DISK(test_several_queues),
		DISK(test_queues_come_and_go),
		{ "test_read_only", test_read_only, NULL, NULL, NULL },
	};
	size_t n = sizeof(always) / sizeof(always[0]);
	struct rig rig;

	memcpy(cases, always, sizeof(always));
	if (rig_open(&rig, library, target, false)) {
		fprintf(stderr, "%s\n", rig.error);
		exit(1);
	}
	if (rig.info.discard_granularity)
		cases[n++] = (struct CMUnitTest)DISK(test_discard);
	if (rig.driver->memory_add)
		cases[n++] = (struct CMUnitTest)DISK(test_registered_memory);
	if (rig.driver->refresh)
		cases[n++] = (struct CMUnitTest)DISK(test_refresh_says_the_same);
	rig_close(&rig);
	return n;
}

int main(int argc, char **argv)
{
	struct CMUnitTest cases[16];
	const char *dir = NULL;
	int i;

	for (i = 1; i < argc - 1; i++) {
		if (strcmp(argv[i], "--load") == 0)
			library = argv[++i];
		else if (strcmp(argv[i], "--image") == 0)
			dir = argv[++i];
		else if (strcmp(argv[i], "--no-data") == 0)
			no_data = true;
		else
			break;
	}
	if (i != argc - 1) {
		fprintf(stderr, "usage: %s [--load DRIVER.so] [--no-data] [--image DIR] TARGET\n",
			argv[0]);
		return 2;
	}
	target = dir ? make_image(dir, argv[i], image, sizeof(image)) : strdup(argv[i]);
	i = _cmocka_run_group_tests("drivers-conformance", cases, choose_cases(cases), keep_image,
				    remove_image);
	free(target);
	return i;
}
