/* SPDX-License-Identifier: MIT */
#include "fake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#define MAX_GRANTS 65536u

struct grant {
	uint8_t *page;
	bool writable;
};

/* Granted and ended by the frontend's thread, read by the backend's. */
static struct grant grants[MAX_GRANTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned grants_used, next_ref = 8;
static _Atomic bool held;
static _Atomic unsigned events;

struct sr_hypervisor {
	unsigned caps;
};
struct sr_gntshr {
	int unused;
};
struct sr_evtchn {
	int fd;
	_Atomic bool masked;
};

static struct sr_hypervisor the_hypervisor;

static uint32_t grant_page(uint8_t *page, bool writable)
{
	uint32_t ref;

	pthread_mutex_lock(&lock);
	do {
		ref = next_ref++ % MAX_GRANTS;
	} while (ref == 0 || grants[ref].page);
	grants[ref] = (struct grant){ .page = page, .writable = writable };
	grants_used++;
	pthread_mutex_unlock(&lock);
	return ref;
}

static void end_page(uint32_t ref)
{
	pthread_mutex_lock(&lock);
	assert_non_null(grants[ref].page);
	grants[ref].page = NULL;
	grants_used--;
	pthread_mutex_unlock(&lock);
}

uint8_t *fake_page(uint32_t ref, bool write)
{
	struct grant g;

	pthread_mutex_lock(&lock);
	assert_true(ref < MAX_GRANTS);
	g = grants[ref];
	pthread_mutex_unlock(&lock);
	assert_non_null(g.page);
	assert_true(g.writable || !write);
	return g.page;
}

unsigned fake_grants(void)
{
	return grants_used;
}

unsigned fake_events(void)
{
	return events;
}

void fake_hold_grants(bool hold)
{
	held = hold;
}

/* --- the seam --------------------------------------------------------------------------------- */

int sr_hv_xenstore(struct sr_hypervisor *hv, struct xs_handle **xs)
{
	return -ENOTSUP;
}

uint16_t sr_hv_domid(const struct sr_hypervisor *hv)
{
	return 7;
}

unsigned sr_hv_caps(const struct sr_hypervisor *hv)
{
	return hv->caps;
}

int sr_gntshr_open(struct sr_hypervisor *hv, struct sr_gntshr **gs)
{
	*gs = calloc(1, sizeof(**gs));
	return 0;
}

void sr_gntshr_close(struct sr_gntshr *gs)
{
	free(gs);
}

int sr_gntshr_alloc(struct sr_gntshr *gs, unsigned count, void **addr)
{
	*addr = aligned_alloc(SR_PAGE_SIZE, (size_t)count * SR_PAGE_SIZE);
	memset(*addr, 0, (size_t)count * SR_PAGE_SIZE);
	return 0;
}

int sr_gntshr_free(struct sr_gntshr *gs, void *addr, unsigned count)
{
	free(addr);
	return 0;
}

int sr_gntshr_share(struct sr_gntshr *gs, uint16_t domid, unsigned count, bool writable,
		    uint32_t *refs, void **addr)
{
	sr_gntshr_alloc(gs, count, addr);
	for (unsigned i = 0; i < count; i++)
		refs[i] = grant_page((uint8_t *)*addr + (size_t)i * SR_PAGE_SIZE, writable);
	return 0;
}

int sr_gntshr_unshare(struct sr_gntshr *gs, void *addr, unsigned count)
{
	uint8_t *base = addr;

	for (uint32_t ref = 0; ref < MAX_GRANTS; ref++) {
		if (grants[ref].page >= base &&
		    grants[ref].page < base + (size_t)count * SR_PAGE_SIZE)
			end_page(ref);
	}
	free(addr);
	return 0;
}

int sr_gntshr_grant(struct sr_gntshr *gs, uint16_t domid, void *addr, bool writable, uint32_t *ref)
{
	uintptr_t page = (uintptr_t)addr & ~(uintptr_t)(SR_PAGE_SIZE - 1);

	*ref = grant_page((uint8_t *)page, writable);
	return 0;
}

int sr_gntshr_end(struct sr_gntshr *gs, uint32_t ref)
{
	if (held)
		return -EBUSY;
	end_page(ref);
	return 0;
}

int sr_evtchn_open(struct sr_hypervisor *hv, struct sr_evtchn **ev)
{
	*ev = calloc(1, sizeof(**ev));
	(*ev)->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return 0;
}

void sr_evtchn_close(struct sr_evtchn *ev)
{
	close(ev->fd);
	free(ev);
}

int sr_evtchn_fd(struct sr_evtchn *ev)
{
	return ev->fd;
}

int sr_evtchn_alloc_unbound(struct sr_evtchn *ev, uint16_t domid, uint32_t *port)
{
	*port = 1;
	return 0;
}

int sr_evtchn_notify(struct sr_evtchn *ev, uint32_t port)
{
	events++;
	return 0;
}

int sr_evtchn_pending(struct sr_evtchn *ev, uint32_t *port)
{
	uint64_t n;

	if (ev->masked || read(ev->fd, &n, sizeof(n)) != sizeof(n))
		return -EAGAIN;
	ev->masked = true;
	*port = 1;
	return 0;
}

int sr_evtchn_unmask(struct sr_evtchn *ev, uint32_t port)
{
	assert_true(ev->masked);
	ev->masked = false;
	return 0;
}

/* --- the backend ------------------------------------------------------------------------------ */

void fake_open(struct fake *f, const struct fake_options *o)
{
	struct sr_blkfront *front = &f->front;

	memset(f, 0, sizeof(*f));
	events = 0;
	held = false;
	the_hypervisor.caps = o->per_request ? SR_CAP_GRANT_PAGES : 0;
	front->bus.hv = &the_hypervisor;
	front->reason = "";
	front->size = FAKE_DISK_SIZE;
	front->options.abi = o->abi;
	front->queues = &f->queue;
	front->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	front->info = (struct sr_blkfront_info){
		.vdev = 51712,
		.queues = 1,
		.ring_order = o->order,
		.ring_size = sr_blkif_ring_size(o->abi, o->order),
		.max_segments = o->max_segments ? o->max_segments : 11,
		.sector_size = o->sector_size ? o->sector_size : 512,
		.grants_are_permanent = !o->per_request,
		.flush = true,
		.barrier = true,
		.discard = true,
		.secure_discard = true,
	};
	f->disk = calloc(1, FAKE_DISK_SIZE);
	assert_int_equal(sr_front_queue_init(front, &f->queue), 0);
	assert_int_equal(sr_front_queue_tables(front, &f->queue), 0);
	assert_int_equal(
	    sr_blkif_back_attach(&f->back, f->queue.ring_pages, o->order, o->abi, 0, 0), 0);
}

void fake_close(struct fake *f)
{
	sr_front_queue_free(&f->queue);
	close(f->front.wake_fd);
	free(f->disk);
}

struct sr_blkif_request fake_take(struct fake *f)
{
	struct sr_blkif_request req;

	assert_true(sr_ring_back_pending(&f->back.ring) > 0);
	sr_blkif_back_take(&f->back, &req);
	return req;
}

void fake_answer(struct fake *f, uint64_t id, uint8_t operation, int16_t status)
{
	sr_blkif_back_put(&f->back, id, operation, status);
}

void fake_publish(struct fake *f)
{
	if (sr_ring_back_publish_and_check(&f->back.ring))
		eventfd_write(f->queue.ev->fd, 1);
}

static void move(struct fake *f, uint64_t *at, const struct blkif_request_segment *seg, bool write)
{
	size_t n = (size_t)(seg->last_sect - seg->first_sect + 1) * 512;
	uint8_t *page;

	assert_true(seg->first_sect <= seg->last_sect && seg->last_sect < 8);
	assert_true(*at + n <= FAKE_DISK_SIZE);
	page = fake_page(seg->gref, !write) + seg->first_sect * 512;
	if (write)
		memcpy(f->disk + *at, page, n);
	else
		memcpy(page, f->disk + *at, n);
	*at += n;
}

static uint8_t serve_one(struct fake *f, const struct sr_blkif_request *req)
{
	struct blkif_request_segment segs[SR_BLKIF_MAX_INDIRECT_SEGS];
	const struct blkif_request_segment *list = req->segs;
	uint64_t at = req->sector * 512, begin = at;
	uint8_t op = req->operation;

	assert_false(req->malformed);
	assert_int_equal(req->handle, 51712);
	if (op == BLKIF_OP_DISCARD) {
		memset(f->disk + at, 0, req->nr_sectors * 512);
		return op;
	}
	if (op == BLKIF_OP_INDIRECT) {
		f->indirect_served++;
		op = req->indirect_op;
		list = segs;
		for (unsigned i = 0; i * 512u < req->nr_segments; i++) {
			unsigned n = req->nr_segments - i * 512u;

			sr_blkif_copy_segments(segs + i * 512u, fake_page(req->grefs[i], false),
					       n > 512 ? 512 : n);
		}
	}
	assert_true(req->nr_segments <= f->front.info.max_segments);
	for (unsigned i = 0; i < req->nr_segments; i++)
		move(f, &at, &list[i], op != BLKIF_OP_READ);
	assert_int_equal((at - begin) % f->front.info.sector_size, 0);
	f->segments_served += req->nr_segments;
	return op;
}

unsigned fake_serve(struct fake *f, unsigned max)
{
	int pending = sr_ring_back_pending(&f->back.ring);
	unsigned n = 0;

	assert_true(pending >= 0);
	for (; n < max && n < (unsigned)pending; n++) {
		struct sr_blkif_request req = fake_take(f);

		fake_answer(f, req.id, serve_one(f, &req), (int16_t)f->status);
		f->served++;
	}
	fake_publish(f);
	return n;
}
