/* SPDX-License-Identifier: MIT */
#ifndef CONTRACT_WIRE_H
#define CONTRACT_WIRE_H

/*
 * How a test that runs in one domain has another domain do its part: a question and an answer at a
 * time, each the value of a node of the answering domain's:
 *
 *   data/contract/request   written by the domain that tests
 *   data/contract/reply     written by contract-peer, with the sequence number of the request
 *
 * Both ends are one build for one machine, so the values are this structure's first bytes.
 */

#include <stddef.h>
#include <stdint.h>

#define WIRE_DIR  "data/contract"
#define WIRE_DATA 1024u /* an unprivileged domain may write 2048 bytes a node */

enum wire_op {
	WIRE_RESET = 1, /* closes all that is open */
	WIRE_OPEN,      /* kind -> handle */
	WIRE_CLOSE,     /* handle */
	WIRE_SHARE,     /* handle, domid, count, writable -> share */
	WIRE_REFS,      /* share, first, count -> data: uint32_t[] */
	WIRE_UNSHARE,   /* handle, share, count */
	WIRE_PUT,       /* share, offset; data */
	WIRE_GET,       /* share, offset, length -> data */
	WIRE_COPY,      /* handle, domid, ref, offset, length, direction; data -> status; data */
	WIRE_ALLOC,     /* handle, domid -> port */
	WIRE_BIND,      /* handle, domid, port -> port */
	WIRE_VIRQ,      /* handle, virq -> port */
	WIRE_UNBIND,    /* handle, port */
	WIRE_NOTIFY,    /* handle, port */
	WIRE_PENDING,   /* handle, milliseconds to wait for it -> port */
	WIRE_UNMASK,    /* handle, port */
};

enum wire_kind { WIRE_GNTTAB, WIRE_GNTSHR, WIRE_EVTCHN };
enum { WIRE_FROM_GRANT, WIRE_TO_GRANT };

struct wire {
	uint32_t seq;
	int32_t op;      /* of an answer: 0 or -errno */
	uint32_t arg[6]; /* of an answer: what stands behind the arrow, the first in arg[0] */
	uint32_t len;    /* of data */
	uint8_t data[WIRE_DATA];
};

static inline unsigned wire_size(const struct wire *w)
{
	return (unsigned)(offsetof(struct wire, data) + w->len);
}

/* False: no value of this form. */
static inline int wire_is_whole(const struct wire *w, unsigned size)
{
	return size >= offsetof(struct wire, data) && w->len <= WIRE_DATA && size == wire_size(w);
}

#endif
