/* SPDX-License-Identifier: MIT */
#ifndef CONTRACT_ENV_KIND_H
#define CONTRACT_ENV_KIND_H

/* What stands behind env.h: the functions there without their prefix. */

#include "env.h"

struct env_kind {
	int (*start)(const char *scheme, struct env *env);
	void (*stop)(void);
	bool (*usage)(struct usage *usage);
	bool (*make_guest)(uint16_t *domid, char address[256]);
	void (*kill_guest)(uint16_t domid);
};

extern const struct env_kind env_embedded; /* embedded:, peer:embedded:, ... */
extern const struct env_kind env_xen;      /* xen: */

#endif
