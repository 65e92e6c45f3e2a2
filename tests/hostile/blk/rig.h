/* SPDX-License-Identifier: MIT */
#ifndef HOSTILE_RIG_H
#define HOSTILE_RIG_H

/*
 * A machine, a block backend with one queue thread for all, and a guest whose disk is in use all
 * the time: what hostile guests are let loose on. All in this process, so that the sanitizers see
 * everything and all file descriptors can be counted.
 *
 * Each case gets a guest of its own and is bracketed: afterwards the well-behaved guest's I/O still
 * verifies, and the counts of what the backend and the machine hold are what they were before.
 *
 * Functions without a result assert on failure.
 *
 * rig_guest.c is the other rig: the cases run in a guest of a real Xen host, one after the other on
 * disks that its dom0 has attached, and whoever runs the program watches the backend, the other
 * guests and the counts (tests/xen/scenarios/hostile.py). What a rig in a guest can't do is said
 * below.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <hostile/hostile.h>

#define RIG_DEVID 51712u /* xvda */
/* Long enough for a loaded machine; nothing waits that long where all is well. */
#define RIG_TIMEOUT_MS 10000
/* How long something that must not happen is waited for. */
#define RIG_QUIET_MS 100

/* Starts it all: a group set-up for cmocka, and the tear-down. */
int rig_start(void **state);
int rig_stop(void **state);

/* A disk of 16 MiB in memory. */
#define RIG_RAM "ram:size=16M"
/* A disk that keeps each request until rig_release(). */
#define RIG_HELD "held:disk"

/*
 * A new guest with one vbd on `params`; mode "w" or "r". In a guest: itself, and its first disk or
 * its second, which is read-only.
 */
uint16_t rig_guest(const char *params, const char *mode);
/* The guest's kit, opened. */
void rig_open(uint16_t domid, struct sr_hostile *h);
/* Its death. The kit may still be open: it has to be closed afterwards all the same. */
void rig_kill(uint16_t domid);

/* In a guest the rig does none of: rig_kill() to rig_await_gone(), rig_on_open(). */

/* The toolstack wants its vbd back, and takes it at once, however the guest behaves. */
void rig_remove(uint16_t domid);
/* Asserts that the backend forgets the device, and leaves nothing in its directory. */
void rig_is_forgotten(uint16_t domid);
/* Starts a program as the domain's process. */
void rig_spawn(char **argv, uint16_t domid, pid_t *pid);
/* Waits until the domain is no more: its process has died. */
void rig_await_gone(uint16_t domid);

/* Begins a case: counts what there is. */
void rig_begin(void);
/*
 * Ends it: `domid` dies if it is not 0, its device is removed, the other guest has done I/O since,
 * and the counts go back to what they were.
 */
void rig_end(uint16_t domid);

/* Asserts that the well-behaved guest completes and verifies more I/O from now on. */
void rig_others_go_on(void);
/* False in a guest without such a disk: it is one like others there, and nothing waits for it. */
bool rig_can_hold(void);
/* What the guest is told when it takes back a page that the backend has mapped: see <hypervisor.h>.
 */
int rig_unshare_in_use(void);
/* Answers what the held disk holds, and what it gets until rig_hold(). */
void rig_release(void);
void rig_hold(void);
/* Runs in the backend's control thread when it opens a held disk next. */
void rig_on_open(void (*hook)(void *arg), void *arg);
/* Waits until the held disk has `count` requests. */
void rig_await_held(unsigned count);
/* Waits until the backend maps nothing of the guest any more. */
void rig_await_unmapped(uint16_t domid);
/* The guest's pages that the backend maps now; in a guest always 0, for it can't know. */
uint64_t rig_mapped(uint16_t domid);
/* Bytes that malloc() has given out. */
uint64_t rig_allocated(void);
/* The address of a guest's hypervisor. */
const char *rig_address(uint16_t domid);

/* Asserts that honest I/O works on this device: one write, read back. */
void rig_io_works(struct sr_hostile *h);
/* Asserts what a request is answered with: BLKIF_RSP_*. */
void rig_answer(struct sr_hostile *h, const struct sr_blkif_request *req, int status);
/* Asserts that the backend lets the device go (Closing or Closed) and maps nothing any more. */
void rig_is_refused(struct sr_hostile *h, uint16_t domid);
/* Asserts that the device can be connected again, honestly, and works. */
void rig_reconnects(struct sr_hostile *h);

#endif
