/* SPDX-License-Identifier: MIT */
#ifndef CONTRACT_ENV_H
#define CONTRACT_ENV_H

/*
 * Where the contract's cases run: two domains of one hypervisor, `back` that may map what others
 * grant (dom0, or a driver domain), and `front`. The cases know the seam and this header only, so
 * that they run on any provider.
 */

#include <hypervisor.h>
#include <stdbool.h>
#include <stdint.h>

struct env {
	char back[256], front[256]; /* addresses for sr_hv_open() */
	uint16_t back_id, front_id;
};

/* What the hypervisor keeps for the two domains; a leak shows as a difference. */
struct usage {
	uint64_t pinned;      /* grants that somebody has mapped */
	uint64_t granted;     /* references given out */
	uint32_t ports;       /* event channels in use */
	uint32_t connections; /* open handles */
	uint32_t watches;
};

/* `scheme`: what stands before the directory in an address: "embedded:", ... */
int env_start(const char *scheme, struct env *env);
void env_stop(void);
/* False: this environment cannot tell. */
bool env_usage(struct usage *usage);
/* Another domain, a guest, and its end. False: this environment cannot. */
bool env_make_guest(uint16_t *domid, char address[256]);
void env_kill_guest(uint16_t domid);

#endif
