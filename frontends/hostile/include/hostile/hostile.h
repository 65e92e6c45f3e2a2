/* SPDX-License-Identifier: MIT */
#ifndef SR_HOSTILE_H
#define SR_HOSTILE_H

/*
 * A blkfront that keeps no rule it doesn't want to keep.
 *
 * It is a kit, not a library with a contract towards the backend: each step of the handshake is a
 * call of its own, and all state lies open to be overwritten. The honest way is the default
 * (sr_hostile_connect(), sr_hostile_io()), so that a test leaves it at the one place it means to.
 * sr_hostile_random() leaves it everywhere, in a way that a seed repeats.
 *
 * Threads: a guest belongs to one thread, but for the flipper's own. Errors: 0 or -errno.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <ring/blkif.h>

struct sr_hypervisor;
struct sr_gntshr;
struct sr_evtchn;
struct xs_handle;
struct sr_hostile_flipper;

#define SR_HOSTILE_PAGES 16u /* data pages, granted for writing */

struct sr_hostile {
	struct sr_hypervisor *hv;
	struct xs_handle *xs;
	struct sr_gntshr *gs;
	struct sr_evtchn *ev;
	uint16_t backend; /* domain */
	char front[32];   /* directories in xenstore; the front's is relative to our domain's */
	char back[128];
	unsigned order; /* of the ring, once there is one */
	enum sr_blkif_abi abi;
	bool persistent; /* what the honest nodes say of persistent grants */
	uint8_t *ring;   /* its pages, or NULL */
	uint32_t ring_refs[1u << SR_BLKIF_MAX_RING_ORDER];
	uint32_t port; /* 0: none */
	struct sr_blkif_front io;
	uint8_t *data;
	uint32_t data_refs[SR_HOSTILE_PAGES];
	uint8_t *readonly; /* one page, granted for reading only */
	uint32_t readonly_ref;
	uint64_t next_id;
	/* The first that is not the guest's console's or xenstore's, which Xen's toolstack grants. */
	uint32_t lowest_ref;
	int patience_ms; /* of random steps: for what the backend rightly may not do */
};

/*
 * Finds the vbd numbered `devid` of the domain that `address` stands for, and grants the data
 * pages. On failure nothing is left. -ENOENT: no such device.
 */
int sr_hostile_open(const char *address, uint32_t devid, struct sr_hostile *h);
/* Leaves at once, without a word to the backend, as a process that dies does. */
void sr_hostile_close(struct sr_hostile *h);

/* --- the handshake, step by step -------------------------------------------------------------- */

/* Writes a node of the frontend's directory; NULL removes it. */
int sr_hostile_set(struct sr_hostile *h, const char *node, const char *value);
__attribute__((format(printf, 3, 4))) int sr_hostile_setf(struct sr_hostile *h, const char *node,
							  const char *format, ...);
/* A number from a node of the backend's directory, or `missing`. */
unsigned long sr_hostile_backend_number(struct sr_hostile *h, const char *node,
					unsigned long missing);
/* The backend's XenbusState, 0 where it has none. */
unsigned sr_hostile_backend_state(struct sr_hostile *h);
/*
 * Waits until the backend's state is one of the set bits of `states` (1 << XenbusStateConnected,
 * ...), and returns it; or -ETIMEDOUT.
 */
int sr_hostile_await(struct sr_hostile *h, unsigned states, int timeout_ms);

/* A new ring in granted pages, and an event channel. The former ones are forgotten: drop first. */
int sr_hostile_make_ring(struct sr_hostile *h, unsigned order, enum sr_blkif_abi abi);
/*
 * Takes the ring and the port back. -EBUSY: the backend still maps the ring, which is kept then;
 * the port is gone in any case.
 */
int sr_hostile_drop_ring(struct sr_hostile *h);
/* Writes the nodes that tell the truth about the ring. */
int sr_hostile_write_nodes(struct sr_hostile *h);
/* From wherever the device is: Closed, back to Initialising, and the backend at InitWait. */
int sr_hostile_reset(struct sr_hostile *h, int timeout_ms);
/* The honest way to Connected, from InitWait. */
int sr_hostile_connect(struct sr_hostile *h, unsigned order, enum sr_blkif_abi abi, int timeout_ms);

/* --- requests --------------------------------------------------------------------------------- */

/* An honest request of `segments` data pages, each whole. */
struct sr_blkif_request sr_hostile_request(struct sr_hostile *h, uint8_t operation, uint64_t sector,
					   unsigned segments);
/* The same, indirect: its segments stand in the last data page, and use the others over again. */
struct sr_blkif_request sr_hostile_indirect(struct sr_hostile *h, uint8_t operation,
					    uint64_t sector, unsigned segments);
/* Puts it into the ring as it is, even if there is no room. */
void sr_hostile_put(struct sr_hostile *h, const struct sr_blkif_request *req);
/*
 * The same, and then its first word: operation, nr_segments and handle; or operation, indirect_op
 * and nr_segments. From low to high, and beyond what `req` could say.
 */
void sr_hostile_put_head(struct sr_hostile *h, const struct sr_blkif_request *req, uint32_t head);
/* Publishes, and notifies whether the backend wants it or not. */
int sr_hostile_kick(struct sr_hostile *h);
/* The next response. -ETIMEDOUT; -EPROTO: an index that can't be. */
int sr_hostile_response(struct sr_hostile *h, int timeout_ms, struct blkif_response *rsp);
/* What stands as operation in the response: of an indirect request, what it wraps. */
uint8_t sr_hostile_response_operation(const struct sr_blkif_request *req);
/*
 * One request and its response, with nothing else in flight: the status is BLKIF_RSP_*. -EBADMSG:
 * a response to something else.
 */
int sr_hostile_io(struct sr_hostile *h, const struct sr_blkif_request *req, int timeout_ms,
		  int *status);

/* --- from behind ------------------------------------------------------------------------------ */

/* A thread that rewrites `words` 32-bit words at `at`, over and over, from `seed`. */
int sr_hostile_flip(void *at, size_t words, uint64_t seed, struct sr_hostile_flipper **flipper);
void sr_hostile_flip_stop(struct sr_hostile_flipper *flipper);

/*
 * `steps` random steps from `seed`: handshakes, nodes, states, requests, indices, events, grants,
 * each honest or not. Ends wherever it happens to be. The sequence depends on the seed, and on what
 * the backend did in between. 0, or an error that is none of the backend's business.
 */
int sr_hostile_random(struct sr_hostile *h, uint64_t seed, unsigned long steps);

#endif
