/* SPDX-License-Identifier: MIT */
#ifndef SR_RING_INDEX_H
#define SR_RING_INDEX_H

/*
 * The index mechanics of Xen's shared rings (<xen/io/ring.h>), for any type of request.
 *
 * A ring of `size` slots (a power of two) carries requests from the front to the back, and in the
 * same slots responses from the back to the front. Indices run freely through 2^32. Each end keeps
 * what it knows in its private half, and believes of the shared words only what is possible.
 *
 *   back                                        front
 *   sr_ring_back_pending()  -> take requests    sr_ring_front_free()    -> put requests
 *   req_cons += taken                           req_prod_pvt += put
 *   rsp_prod_pvt += answered                    sr_ring_front_publish()
 *   sr_ring_back_publish()                      sr_ring_front_pending() -> take responses
 *                                               rsp_cons += taken
 *
 * Telling the other end. publish() makes a batch visible and costs one store. notify_needed() then
 * decides whether the other end has to be woken; it needs a full fence. Both in one:
 * publish_and_check(). A busy loop may publish many times and decide once, with this rule:
 *
 *   between the last publish() and any wait of this thread (a sleep, or a return to a loop that
 *   may sleep) there is a notify_needed(), and a notification if it says so.
 *
 * That is enough, as notify_needed() looks at all that was published since it was last asked. The
 * fence is cheap if some work has been done since publish(): the store has left the core by then.
 *
 * Going to sleep: arm() asks to be woken, then looks again. Sleep only if it returns 0.
 *
 * Threads: a half belongs to one thread at a time.
 * Errors: -EPROTO if the other end's index is impossible. It stays so: disconnect.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ring/atomic.h>

/*
 * The first 64 bytes of the shared page, the same in every ring of DEFINE_RING_TYPES(), which
 * defines them only together with a type of request. All four words lie in one cache line.
 */
struct sr_ring_indices {
	uint32_t req_prod;  /* front: requests below it are in their slots */
	uint32_t req_event; /* back: wake me when req_prod passes this */
	uint32_t rsp_prod;  /* back: responses below it are in their slots */
	uint32_t rsp_event; /* front: wake me when rsp_prod passes this */
	uint32_t reserved[12];
};
_Static_assert(sizeof(struct sr_ring_indices) == 64, "as in <xen/io/ring.h>");

struct sr_ring_back {
	struct sr_ring_indices *shared;
	uint32_t size;
	uint32_t req_cons;      /* next request to take */
	uint32_t rsp_prod_pvt;  /* next response to write */
	uint32_t rsp_published; /* what the front has been shown */
	uint32_t rsp_notified;  /* what notify_needed() has decided on */
};

struct sr_ring_front {
	struct sr_ring_indices *shared;
	uint32_t size;
	uint32_t rsp_cons;      /* next response to take */
	uint32_t req_prod_pvt;  /* next request to write */
	uint32_t req_published; /* what the back has been shown */
	uint32_t req_notified;  /* what notify_needed() has decided on */
};

/*
 * Does the way from `old` to `now` pass the index at which the other end wants to be woken?
 * It does if event is in (old, now], counted modulo 2^32.
 */
static inline bool sr_ring_passes(uint32_t event, uint32_t old, uint32_t now)
{
	return now - event < now - old;
}

/* --- the back: takes requests, gives responses ------------------------------------------------ */

/*
 * Begins at the given positions: 0 and 0 on a new ring; rsp_prod as read from the shared page on a
 * ring that another backend has served before; after recovery what was recorded. `shared` stays
 * the caller's. -EINVAL: `size` is no power of two, or more requests would be in flight than fit.
 */
static inline int sr_ring_back_attach(struct sr_ring_back *r, struct sr_ring_indices *shared,
				      uint32_t size, uint32_t rsp_prod, uint32_t req_cons)
{
	if (size == 0 || (size & (size - 1)) || req_cons - rsp_prod > size)
		return -EINVAL;
	*r = (struct sr_ring_back){
		.shared = shared,
		.size = size,
		.req_cons = req_cons,
		.rsp_prod_pvt = rsp_prod,
		.rsp_published = rsp_prod,
		.rsp_notified = rsp_prod,
	};
	return 0;
}

/* What the shared page says has been answered: where a new backend goes on. Not to be trusted. */
static inline uint32_t sr_ring_shared_rsp_prod(const struct sr_ring_indices *shared)
{
	return sr_ring_load(&shared->rsp_prod);
}

/* Requests taken and not answered yet. */
static inline uint32_t sr_ring_back_in_flight(const struct sr_ring_back *r)
{
	return r->req_cons - r->rsp_prod_pvt;
}

/*
 * How many requests can be taken now: 0 to size. The front can't have sent more than there are
 * slots whose response it has been shown: a req_prod beyond that is a lie, -EPROTO.
 */
static inline int sr_ring_back_pending(const struct sr_ring_back *r)
{
	/* Acquire: the slots are read after it. Pairs with the release in sr_ring_front_publish. */
	uint32_t prod = sr_ring_load_acquire(&r->shared->req_prod);
	uint32_t count = prod - r->req_cons;

	if (count > r->size - (r->req_cons - r->rsp_published))
		return -EPROTO;
	return (int)count;
}

/* Shows the front every response that has been written. Decides nothing: see the top. */
static inline void sr_ring_back_publish(struct sr_ring_back *r)
{
	if (r->rsp_published == r->rsp_prod_pvt)
		return;
	/* Release: the slots were written before it. Pairs with sr_ring_front_pending. */
	sr_ring_store_release(&r->shared->rsp_prod, r->rsp_prod_pvt);
	r->rsp_published = r->rsp_prod_pvt;
}

/* Has the front to be notified of what was published since the last call? */
static inline bool sr_ring_back_notify_needed(struct sr_ring_back *r)
{
	uint32_t old = r->rsp_notified, now = r->rsp_published;

	if (old == now)
		return false;
	/*
	 * rsp_prod is seen before rsp_event is read. Its partner is the fence in sr_ring_front_arm:
	 * of the two ends at least one sees what the other has written.
	 */
	sr_ring_fence();
	r->rsp_notified = now;
	return sr_ring_passes(sr_ring_load(&r->shared->rsp_event), old, now);
}

static inline bool sr_ring_back_publish_and_check(struct sr_ring_back *r)
{
	sr_ring_back_publish(r);
	return sr_ring_back_notify_needed(r);
}

/*
 * Asks for a notification with the next request, and looks again: the count of requests that are
 * there already. 0: nothing, and the next one will notify us, so sleep.
 */
static inline int sr_ring_back_arm(struct sr_ring_back *r)
{
	sr_ring_store(&r->shared->req_event, r->req_cons + 1);
	/* req_event is seen before req_prod is read: partner of sr_ring_front_notify_needed. */
	sr_ring_fence();
	return sr_ring_back_pending(r);
}

/*
 * Takes back what arm() asked for: whoever was woken by something else, and looks at the ring
 * anyway, spares the front a notification. A front that has read the old index notifies once more.
 */
static inline void sr_ring_back_disarm(struct sr_ring_back *r)
{
	/* Passed already, as req_prod never goes back. */
	sr_ring_store(&r->shared->req_event, r->req_cons);
}

/* --- the front: gives requests, takes responses ----------------------------------------------- */

/* Makes an empty ring of the page, which nobody else uses yet. */
static inline void sr_ring_init_shared(struct sr_ring_indices *shared)
{
	*shared = (struct sr_ring_indices){ .req_event = 1, .rsp_event = 1 };
}

/*
 * Begins at the given positions, 0 and 0 on a new ring. `shared` stays the caller's. -EINVAL as
 * for sr_ring_back_attach().
 */
static inline int sr_ring_front_attach(struct sr_ring_front *r, struct sr_ring_indices *shared,
				       uint32_t size, uint32_t req_prod, uint32_t rsp_cons)
{
	if (size == 0 || (size & (size - 1)) || req_prod - rsp_cons > size)
		return -EINVAL;
	*r = (struct sr_ring_front){
		.shared = shared,
		.size = size,
		.rsp_cons = rsp_cons,
		.req_prod_pvt = req_prod,
		.req_published = req_prod,
		.req_notified = req_prod,
	};
	return 0;
}

/* How many requests can still be put. */
static inline uint32_t sr_ring_front_free(const struct sr_ring_front *r)
{
	return r->size - (r->req_prod_pvt - r->rsp_cons);
}

/* Requests published and not answered, as far as responses have been taken. */
static inline uint32_t sr_ring_front_in_flight(const struct sr_ring_front *r)
{
	return r->req_published - r->rsp_cons;
}

/* How many responses can be taken now. More than there are requests out is -EPROTO. */
static inline int sr_ring_front_pending(const struct sr_ring_front *r)
{
	/* Acquire: the slots are read after it. Pairs with the release in sr_ring_back_publish. */
	uint32_t prod = sr_ring_load_acquire(&r->shared->rsp_prod);
	uint32_t count = prod - r->rsp_cons;

	if (count > sr_ring_front_in_flight(r))
		return -EPROTO;
	return (int)count;
}

/* Shows the back every request that has been written. Decides nothing: see the top. */
static inline void sr_ring_front_publish(struct sr_ring_front *r)
{
	if (r->req_published == r->req_prod_pvt)
		return;
	/*
	 * Release: the slots were written before it, and the responses that lay in them were read.
	 * Pairs with sr_ring_back_pending.
	 */
	sr_ring_store_release(&r->shared->req_prod, r->req_prod_pvt);
	r->req_published = r->req_prod_pvt;
}

/* Has the back to be notified of what was published since the last call? */
static inline bool sr_ring_front_notify_needed(struct sr_ring_front *r)
{
	uint32_t old = r->req_notified, now = r->req_published;

	if (old == now)
		return false;
	/* req_prod is seen before req_event is read: partner of the fence in sr_ring_back_arm. */
	sr_ring_fence();
	r->req_notified = now;
	return sr_ring_passes(sr_ring_load(&r->shared->req_event), old, now);
}

static inline bool sr_ring_front_publish_and_check(struct sr_ring_front *r)
{
	sr_ring_front_publish(r);
	return sr_ring_front_notify_needed(r);
}

/*
 * Asks for a notification once `ahead` more responses are there, and looks again: the count of
 * those that are there already. Sleep only if it is >= 0 and less than `ahead`. `ahead` is from 1
 * to what is in flight: with more, nothing would ever wake us.
 */
static inline int sr_ring_front_arm(struct sr_ring_front *r, uint32_t ahead)
{
	sr_ring_store(&r->shared->rsp_event, r->rsp_cons + ahead);
	/* rsp_event is seen before rsp_prod is read: partner of sr_ring_back_notify_needed. */
	sr_ring_fence();
	return sr_ring_front_pending(r);
}

#endif
