/* SPDX-License-Identifier: MIT */
/*
 * Clients of a store for tests: raw ones that speak the wire protocol, in the thread that also
 * runs the store, so that all happens in a known order; and a thread that runs a store for
 * clients that block.
 */
#ifndef STORE_HARNESS_H
#define STORE_HARNESS_H

#include <store/store.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <xen/io/xs_wire.h>

struct answer {
	struct xsd_sockmsg header;
	char payload[XENSTORE_PAYLOAD_MAX + 1]; /* and a nul */
};

struct event {
	char path[XENSTORE_ABS_PATH_MAX + 1];
	char token[64];
};

#define PEER_EVENTS 256

struct peer {
	struct sr_store *store;
	int fd;
	uint32_t last_id;
	struct event *events; /* received while a reply was waited for */
	size_t event_count;
};

/* A store in '*state', checked at the end. Use as set-up and tear-down. */
int store_setup(void **state);
int store_teardown(void **state);

/* Runs the store until it has nothing to do. */
void store_run(struct sr_store *store);

void peer_open(struct peer *peer, struct sr_store *store, uint16_t domid);
void peer_close(struct peer *peer);

void peer_send(struct peer *peer, uint32_t type, uint32_t tx_id, const void *payload, size_t len);
void peer_send_bytes(struct peer *peer, const void *bytes, size_t len);
/* The next message. False: there is none. */
bool peer_receive(struct peer *peer, struct answer *answer);
/* Whether the store has closed the connection. */
bool peer_is_closed(struct peer *peer);

/* Sends a request, keeps events that come, and gives the reply, valid until the next one. */
const struct answer *peer_ask(struct peer *peer, uint32_t type, uint32_t tx_id, const void *payload,
			      size_t len);

/* Each of these is a request of strings; the literal's last nul is part of it. */
#define ASK(peer, type, tx, text) peer_ask(peer, type, tx, text, sizeof(text))
#define ASK_OK(peer, type, tx, text)                                                               \
	assert_string_equal(peer_outcome(peer_ask(peer, type, tx, text, sizeof(text))), "OK")
#define ASK_ERROR(peer, type, tx, text, error)                                                     \
	assert_string_equal(peer_outcome(peer_ask(peer, type, tx, text, sizeof(text))), error)
/* The reply's bytes; 'wanted' is a literal of which the last nul counts. */
#define ASK_STRINGS(peer, type, tx, text, wanted)                                                  \
	expect_bytes(ASK(peer, type, tx, text), wanted, sizeof(wanted))
void expect_bytes(const struct answer *answer, const void *bytes, size_t len);

/* "OK" for a reply that is not an error, or the error's name. */
const char *peer_outcome(const struct answer *answer);

/* Outcomes. */
const char *peer_write(struct peer *peer, uint32_t tx_id, const char *path, const char *value);
const char *peer_path(struct peer *peer, uint32_t type, uint32_t tx_id, const char *path);
const char *peer_set_perms(struct peer *peer, uint32_t tx_id, const char *path, const char *perm);
const char *peer_watch(struct peer *peer, const char *path, const char *token);
/* The value, or the error's name. */
const char *peer_read(struct peer *peer, uint32_t tx_id, const char *path);

uint32_t peer_start(struct peer *peer);
const char *peer_commit(struct peer *peer, uint32_t tx_id);

void expect_event(struct peer *peer, const char *path, const char *token);
void expect_no_event(struct peer *peer);
/* Takes and forgets all events; how many there were. */
size_t drop_events(struct peer *peer);

/* A store that a thread runs, with a socket for domain 0 and one for domain 5. */
struct server {
	struct sr_store *store;
	pthread_mutex_t lock; /* for direct use of the store meanwhile */
	pthread_t thread;
	int stop_fd;
	char dir[32];
	char socket[64];  /* domain 0 */
	char socket5[64]; /* domain 5 */
};

int server_setup(void **state);
int server_teardown(void **state);

#endif
