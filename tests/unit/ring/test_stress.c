/* SPDX-License-Identifier: MIT */
/* Both ends of one ring in a thread each, with real sleeps; and a front that lies as it goes. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include <ring/blkif.h>

enum { TIMEOUT_MS = 20000 }; /* of one sleep: longer means that a wake-up was lost */

struct stress {
	_Alignas(4096) uint8_t pages[2 * 4096];
	enum sr_blkif_abi abi;
	unsigned order;
	uint64_t requests;
	int to_front, to_back; /* event channels */
	struct sr_blkif_front front;
	const char *failed; /* the back's; the front asserts by itself */
};

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void notify(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static bool wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t count;

	return poll(&p, 1, TIMEOUT_MS) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

/* A request whose content follows from its id, so that the back can check all of it. */
static void make_request(struct sr_blkif_request *req, uint64_t id)
{
	*req = (struct sr_blkif_request){ .operation = BLKIF_OP_WRITE,
					  .id = id * 0x9e3779b97f4a7c15u,
					  .sector = id,
					  .nr_segments = (uint16_t)(id % 12) };
	for (unsigned i = 0; i < req->nr_segments; i++)
		req->segs[i] = (struct blkif_request_segment){ (uint32_t)(id * 31 + i), (uint8_t)id,
							       (uint8_t)(id >> 8) };
}

static bool request_is(const struct sr_blkif_request *req, uint64_t id)
{
	struct sr_blkif_request want;

	make_request(&want, id);
	if (req->id != want.id || req->sector != want.sector || req->malformed ||
	    req->operation != want.operation || req->nr_segments != want.nr_segments)
		return false;
	for (unsigned i = 0; i < want.nr_segments; i++) {
		if (req->segs[i].gref != want.segs[i].gref ||
		    req->segs[i].first_sect != want.segs[i].first_sect ||
		    req->segs[i].last_sect != want.segs[i].last_sect)
			return false;
	}
	return true;
}

static void *back_thread(void *arg)
{
	struct stress *s = arg;
	struct sr_blkif_back b;
	struct sr_blkif_request req;
	uint32_t seed = 4711;
	uint64_t taken = 0;
	int count;

	if (sr_blkif_back_attach(&b, s->pages, s->order, s->abi, 0, 0)) {
		s->failed = "attach";
		return NULL;
	}
	while (taken < s->requests) {
		count = sr_ring_back_pending(&b.ring);
		for (int i = 0; i < count; i++) {
			sr_blkif_back_take(&b, &req);
			if (!request_is(&req, taken++))
				s->failed = "a request is not as it was sent";
			sr_blkif_back_put(&b, req.id, req.operation, BLKIF_RSP_OKAY);
			if (next_random(&seed) % 4 == 0)
				sr_ring_back_publish(&b.ring);
		}
		if (sr_ring_back_publish_and_check(&b.ring))
			notify(s->to_front);
		if (count == 0 && taken < s->requests)
			count = sr_ring_back_arm(&b.ring);
		if (count == 0 && !wait_for(s->to_back))
			s->failed = "the back was not woken";
		if (count < 0)
			s->failed = "impossible req_prod";
		if (s->failed)
			break;
	}
	return NULL;
}

static void front_loop(struct stress *s)
{
	struct sr_blkif_front f = s->front;
	struct sr_blkif_request req;
	struct blkif_response rsp;
	uint32_t seed = 42, ahead;
	uint64_t sent = 0, got = 0;
	int count;

	while (got < s->requests) {
		uint32_t burst = next_random(&seed) % (f.ring.size * 2);

		for (; burst && sent < s->requests && sr_ring_front_free(&f.ring); burst--) {
			make_request(&req, sent++);
			sr_blkif_front_put(&f, &req);
		}
		if (sr_ring_front_publish_and_check(&f.ring))
			notify(s->to_back);
		count = sr_ring_front_pending(&f.ring);
		assert_true(count >= 0);
		for (int i = 0; i < count; i++) {
			sr_blkif_front_take(&f, &rsp);
			assert_int_equal(rsp.id, got++ * 0x9e3779b97f4a7c15u);
			assert_int_equal(rsp.operation, BLKIF_OP_WRITE);
			assert_int_equal(rsp.status, BLKIF_RSP_OKAY);
		}
		if (count || !sr_ring_front_in_flight(&f.ring))
			continue;
		ahead = 1 + next_random(&seed) % sr_ring_front_in_flight(&f.ring);
		count = sr_ring_front_arm(&f.ring, ahead);
		assert_true(count >= 0);
		if ((uint32_t)count < ahead)
			assert_true(wait_for(s->to_front));
	}
}

static void run(enum sr_blkif_abi abi, unsigned order, uint64_t requests)
{
	struct stress *s = aligned_alloc(4096, sizeof(*s));
	pthread_t back;

	assert_non_null(s);
	*s = (struct stress){ .abi = abi, .order = order, .requests = requests };
	assert_int_equal(sr_blkif_front_init(&s->front, s->pages, order, abi), 0);
	s->to_front = eventfd(0, EFD_CLOEXEC);
	s->to_back = eventfd(0, EFD_CLOEXEC);
	assert_true(s->to_front >= 0 && s->to_back >= 0);
	assert_int_equal(pthread_create(&back, NULL, back_thread, s), 0);
	front_loop(s);
	assert_int_equal(pthread_join(back, NULL), 0);
	assert_null(s->failed);
	close(s->to_front);
	close(s->to_back);
	free(s);
}

static void one_page_native(void **state)
{
	run(SR_BLKIF_ABI_NATIVE, 0, 50000);
}

static void two_pages_x86_32(void **state)
{
	run(SR_BLKIF_ABI_X86_32, 1, 50000);
}

struct flipper {
	_Alignas(4096) uint8_t pages[4096];
	uint32_t stop;
};

/* Rewrites every word of the page over and over, the indices too. */
static void *flip(void *arg)
{
	struct flipper *f = arg;
	uint32_t seed = 99;
	uint32_t *words = (void *)f->pages;

	while (!sr_ring_load(&f->stop)) {
		for (unsigned i = 0; i < sizeof(f->pages) / 4; i++) {
			/* Operations that exist, and counts around what is allowed. */
			uint32_t head = next_random(&seed) % 8 | (next_random(&seed) % 16) << 8;

			sr_ring_store(words + i, i < 4 ? next_random(&seed) % 64 : head);
		}
	}
	return NULL;
}

/* A request that changes while it is read is never more than its arrays hold. */
static void slots_that_change_while_read(void **state)
{
	struct flipper *f = aligned_alloc(4096, sizeof(*f));
	pthread_t thread;

	assert_non_null(f);
	*f = (struct flipper){ 0 };
	sr_ring_init_shared((void *)f->pages);
	assert_int_equal(pthread_create(&thread, NULL, flip, f), 0);
	for (unsigned i = 0; i < 20000; i++) {
		enum sr_blkif_abi abi = i % 2 ? SR_BLKIF_ABI_NATIVE : SR_BLKIF_ABI_X86_32;
		struct sr_blkif_back b = { 0 };
		struct sr_blkif_request req;
		int count;

		assert_int_equal(sr_blkif_back_attach(&b, f->pages, 0, abi, i, i), 0);
		count = sr_ring_back_pending(&b.ring);
		assert_true(count == -EPROTO || (count >= 0 && count <= 32));
		sr_blkif_back_take(&b, &req);
		if (req.operation == BLKIF_OP_INDIRECT)
			assert_true(req.nr_segments <= SR_BLKIF_MAX_INDIRECT_SEGS);
		else
			assert_true(req.nr_segments <= BLKIF_MAX_SEGMENTS_PER_REQUEST);
		assert_false(req.malformed && req.nr_segments);
	}
	sr_ring_store(&f->stop, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_page_native),
		cmocka_unit_test(two_pages_x86_32),
		cmocka_unit_test(slots_that_change_while_read),
	};

	return cmocka_run_group_tests_name("ring stress", tests, NULL, NULL);
}
