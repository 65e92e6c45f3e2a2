/* SPDX-License-Identifier: MIT */
#ifndef SR_SCALE_SERVER_H
#define SR_SCALE_SERVER_H

/*
 * The block backend in a process of its own, which tells what it holds. Every function fails the
 * test by itself.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SERVER_THREADS 2u

struct server {
	pid_t pid;
	int socket;
};

/* What the process holds and has done. */
struct server_look {
	/*
	 * Bytes of memory, but for what belongs to guests: what is mapped, or, where a sanitizer
	 * lays out the heap, what is allocated on it and what is mapped beside it.
	 */
	uint64_t memory;
	uint64_t guest_memory; /* bytes of guests' memory that it has touched, or pinned */
	uint64_t fds;
	uint64_t fd_limit;      /* the soft one */
	uint64_t vbds;          /* that it knows of */
	uint64_t loops, sleeps; /* of all queue threads */
};

void server_start(struct server *s, const char *address);
void server_look(struct server *s, struct server_look *look);
/* SIGTERM; it has to end well. */
void server_stop(struct server *s);

/* To be called by main() with its arguments: true if this process is a server, which has ended. */
bool server_main(int argc, char **argv, int *status);

#endif
