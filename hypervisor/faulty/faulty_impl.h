/* SPDX-License-Identifier: MIT */
#ifndef FAULTY_IMPL_H
#define FAULTY_IMPL_H

#include <faulty/faulty.h>
#include <provider.h>
#include <pthread.h>
#include <stdatomic.h>

struct sr_fault_plan {
	uint64_t threshold; /* a random number below it is a fault; 0: by count */
	uint64_t nth;       /* the one call that fails; 0: none */
	_Atomic uint64_t calls, faults;
};

struct sr_proxy;

struct sr_faulty {
	struct sr_hypervisor base;
	struct sr_hypervisor *inner;
	uint64_t seed;
	struct sr_fault_plan plans[SR_FAULTS];
	pthread_mutex_t lock;     /* over `proxies` */
	struct sr_proxy *proxies; /* of xenstore connections */
};

/* Is this call of that kind one that fails? Any thread. */
bool sr_faulty_strikes(struct sr_faulty *hv, enum sr_fault kind);

int sr_faulty_parse(const char *spec, size_t len, struct sr_faulty *hv);

int sr_faulty_evtchn_open(struct sr_hypervisor *hv, struct sr_evtchn **ev);
int sr_faulty_xenstore(struct sr_hypervisor *hv, struct xs_handle **xs);
/* Waits for the proxies, whose clients have closed their connections. */
void sr_faulty_join_proxies(struct sr_faulty *hv);

#endif
