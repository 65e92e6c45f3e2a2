/* SPDX-License-Identifier: MIT */
#ifndef CONTRACT_REMOTE_H
#define CONTRACT_REMOTE_H

/*
 * The seam of another domain, by way of contract-peer there: what it opens, grants and binds is
 * that domain's. Event channels, granting and single copies only. A share's address is no memory
 * here: its bytes are reached with remote_put() and remote_get(). Any thread may use it, a handle
 * one at a time.
 */

#include <hypervisor.h>
#include <stdbool.h>

/*
 * Finds contract-peer in domain `domid`, waiting for it a while; what an earlier test left open
 * there is closed. `here`: an open instance of the same hypervisor, borrowed for as long.
 */
int remote_open(struct sr_hypervisor *here, uint16_t domid, struct sr_hypervisor **hv);
/* Every call of its instances fails from now on: the domain is about to go. */
void remote_abandon(uint16_t domid);

bool remote_is(const struct sr_evtchn *ev);
/* sr_evtchn_pending() that waits. */
int remote_wait(struct sr_evtchn *ev, int timeout_ms, uint32_t *port);

/* False: `at` lies in no share of another domain's. Fails the running test if the peer does. */
bool remote_put(void *at, const void *data, size_t len);
bool remote_get(const void *at, void *data, size_t len);

#endif
