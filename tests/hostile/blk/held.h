/* SPDX-License-Identifier: MIT */
#ifndef HOSTILE_HELD_H
#define HOSTILE_HELD_H

#include <stdbool.h>
#include <time.h>

#include <splitring/blk_driver.h>

/* Has one disk at a time. */
extern const struct sr_blk_driver held_driver;

/* false: answers all that it has, and all that comes. It begins with true. */
void held_set(bool hold);
/* Called in the middle of the next open(), by the engine's control thread. */
void held_on_open(void (*hook)(void *arg), void *arg);
/* How many it has. */
unsigned held_count(void);
/* Waits until it has `count` requests; false: not before `until` (CLOCK_REALTIME). */
bool held_await(unsigned count, const struct timespec *until);

#endif
