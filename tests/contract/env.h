/* SPDX-License-Identifier: MIT */
#ifndef CONTRACT_ENV_H
#define CONTRACT_ENV_H

/*
 * Where the contract's cases run: two domains of one hypervisor, `back` that may map what others
 * grant (dom0, or a driver domain), and `front`. The cases know the seam and this header only, so
 * that they run on any provider.
 *
 *   embedded:, embedded-strict:, faulty:SPEC:embedded:
 *                     a machine of the test's own; both domains are driven from this process
 *   peer:embedded:    the same, but a process of its own plays `front`: contract-peer
 *   dropin:embedded:  the same, and both use `xen:` over the drop-in libraries, which have to be
 *                     on the loader's path
 *   xen:              this domain, and the one whose number stands in SR_CONTRACT_FRONT, in which
 *                     `contract-peer xen: THIS_DOMAIN` runs. SR_CONTRACT_SPARE may list more
 *                     domains that run it and may be destroyed by `xl destroy`.
 */

#include <hypervisor.h>
#include <stdbool.h>
#include <stdint.h>

struct env {
	char back[256], front[256]; /* addresses for sr_hv_open() */
	uint16_t back_id, front_id;
	/* `front` is not driven from this process: what its cases do is slow, and some can't be. */
	bool remote;
	/*
	 * What Xen's drivers on Linux don't do and the embedded hypervisor does: to refuse that
	 * pages are taken back while they are mapped, and to forget the event of a port that was
	 * unbound when its number is given out anew.
	 */
	bool tells_busy, forgets_events;
};

/* What the hypervisor keeps for the two domains; a leak shows as a difference. */
struct usage {
	uint64_t pinned;      /* grants that somebody has mapped */
	uint64_t granted;     /* references given out */
	uint32_t ports;       /* event channels in use */
	uint32_t connections; /* open handles */
	uint32_t watches;
};

/* `scheme`: one of those above. */
int env_start(const char *scheme, struct env *env);
void env_stop(void);
/* Opens one of the environment's addresses. */
int env_open(const char *address, struct sr_hypervisor **hv);
/* False: this environment cannot tell. */
bool env_usage(struct usage *usage);
/* Another domain, a guest, and its end. False: this environment cannot. */
bool env_make_guest(uint16_t *domid, char address[256]);
void env_kill_guest(uint16_t domid);

#endif
