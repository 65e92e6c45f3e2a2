/* SPDX-License-Identifier: MIT */
#ifndef FAULTY_FAULTY_H
#define FAULTY_FAULTY_H

/*
 * A provider that wraps another one and injects faults:
 *
 *   faulty:SPEC:ADDRESS	faulty:map=0.01,copy=3,seed=7:embedded:/run/splitring/m
 *
 * SPEC is a list of KEY=VALUE with commas between them; an empty one injects nothing. A VALUE with
 * a dot in it is a probability, a whole number N means exactly the Nth call (counted from 1, over
 * all handles of the instance). What happens depends on SPEC and on how many calls of that kind
 * there were before, on nothing else; `seed` picks another sequence.
 *
 *   map           sr_gnttab_map() fails with -EIO, and maps nothing
 *   copy          sr_gnttab_copy() fails with -EIO, and copies nothing
 *   copy-segment  one segment fails with GNTST_general_error; the others are copied
 *   share         sr_gntshr_share(), _alloc() and _grant() fail with -ENOSPC
 *   bind          sr_evtchn_bind_interdomain() fails with -EIO
 *   notify-lost   an event that this instance sends does not arrive
 *   notify-dies   the process is killed in place of sending an event
 *   evtchn-lost   an event that arrived is not reported, and not masked
 *   evtchn-late   an event is reported 5 ms after it arrived
 *   evtchn-double an event is reported once more after it was unmasked
 *   store         a request to xenstore fails with EIO; the end of a transaction with EAGAIN
 *   seed          a number [1]
 */

#include <stddef.h>
#include <stdint.h>

enum sr_fault {
	SR_FAULT_MAP,
	SR_FAULT_COPY,
	SR_FAULT_COPY_SEGMENT,
	SR_FAULT_SHARE,
	SR_FAULT_BIND,
	SR_FAULT_NOTIFY_LOST,
	SR_FAULT_NOTIFY_DIES,
	SR_FAULT_EVTCHN_LOST,
	SR_FAULT_EVTCHN_LATE,
	SR_FAULT_EVTCHN_DOUBLE,
	SR_FAULT_STORE,
	SR_FAULTS,
};

struct sr_hypervisor;

/* How many faults of a kind an instance has injected. -EINVAL: it is not a faulty one. */
int sr_faulty_count(struct sr_hypervisor *hv, enum sr_fault kind, uint64_t *count);

#endif
