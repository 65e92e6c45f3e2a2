/* SPDX-License-Identifier: MIT */
#ifndef SPLITRING_CARETAKER_H
#define SPLITRING_CARETAKER_H

/*
 * A thread beside a machine's own that does what xl's background processes do: when a guest has
 * gone, however it went, it closes and removes what is left of its devices in the backends' and
 * dom0's parts of xenstore. It also tells the machine's log which domains come and go.
 *
 * It is an ordinary client of the machine in `dir` and ends when the machine closes its xenstore.
 */
struct caretaker;

/* 0 or -errno. */
int caretaker_start(const char *dir, struct caretaker **caretaker);
/* Waits for its end: call it after the machine is freed. NULL is allowed. */
void caretaker_join(struct caretaker *caretaker);

#endif
