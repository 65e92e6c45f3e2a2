/* SPDX-License-Identifier: MIT */
#ifndef HOSTILE_BYSTANDER_H
#define HOSTILE_BYSTANDER_H

#include <stdbool.h>

/*
 * A well-behaved guest: a thread that writes to its disk, reads back and compares, all the time
 * (with pauses, so that it leaves the processor to others).
 */
struct bystander;

/* 0 or -errno. */
int bystander_start(const char *address, struct bystander **b);
/* Did it complete a few more rounds within the time, and never fail so far? */
bool bystander_goes_on(struct bystander *b, int timeout_ms);
void bystander_stop(struct bystander *b);

#endif
