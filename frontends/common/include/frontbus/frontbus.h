/* SPDX-License-Identifier: MIT */
#ifndef SR_FRONTBUS_H
#define SR_FRONTBUS_H

/*
 * The frontend's half of xenbus, the same for every class of device: finds the device and its
 * backend, reads and writes nodes, goes from state to state.
 *
 * The device of class C and number N lies in /local/domain/OURS/device/C/N; its node `backend`
 * names the backend's directory, `backend-id` the backend's domain. Both sides have a `state`, one
 * of XenbusState*; see "STATE DIAGRAMS" in <xen/io/blkif.h>, which holds for all classes.
 *
 * Threads: a bus belongs to one thread at a time. Errors: 0 or -errno, and in words where
 * sr_frontbus_fail() puts them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xenstore.h>

#include <xen/io/xenbus.h>

struct sr_hypervisor;

struct sr_frontbus {
	struct sr_hypervisor *hv;
	struct xs_handle *xs;
	const char *class;   /* "vif" */
	unsigned device;     /* its number */
	const char *title;   /* what people call it, "disk xvda"; NULL: by class and number */
	unsigned timeout_ms; /* for each step of the backend */
	uint16_t backend_domid;
	char path[64];     /* our directory */
	char backend[256]; /* the backend's */
	char *error;       /* optional: where the first failure is put in words */
	size_t error_size;
};

/* A set of states, for sr_frontbus_await(). A backend without a state is Unknown: it is gone. */
#define SR_FRONTBUS_STATE(s) (1u << XenbusState##s)

/* Connects to xenstore; hv, class, device, timeout_ms and error are the caller's to set. */
int sr_frontbus_open(struct sr_frontbus *bus);
/* May be called whatever became of open(). */
void sr_frontbus_close(struct sr_frontbus *bus);

/* Puts one line into bus->error, unless there is one already. Returns `rc`. */
int sr_frontbus_fail(struct sr_frontbus *bus, int rc, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* `dir` is bus->path or bus->backend. -ENOENT: no such node; -EMSGSIZE: longer than `size`. */
int sr_frontbus_read_string(struct sr_frontbus *bus, const char *dir, const char *node, char *value,
			    size_t size);
/* The node as a number; -ENOENT, or -EINVAL if it is none. */
int sr_frontbus_read(struct sr_frontbus *bus, const char *dir, const char *node, uint64_t *value);
/* The same for optional nodes: what is missing, or isn't a number up to `max`, is `fallback`. */
uint64_t sr_frontbus_read_or(struct sr_frontbus *bus, const char *dir, const char *node,
			     uint64_t max, uint64_t fallback);
/* Writes DIR/NODE; `t` may be XBT_NULL. */
int sr_frontbus_write(struct sr_frontbus *bus, xs_transaction_t t, const char *dir,
		      const char *node, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/*
 * Finds the backend. -ENODEV: the domain has no such device. May be called again: the device may
 * have another backend by then.
 */
int sr_frontbus_find(struct sr_frontbus *bus);
/* Watches DIR/NODE; what fires is only that bus->xs becomes readable. */
int sr_frontbus_watch(struct sr_frontbus *bus, const char *dir, const char *node);
void sr_frontbus_unwatch(struct sr_frontbus *bus, const char *dir, const char *node);
void sr_frontbus_drain(struct sr_frontbus *bus);

XenbusState sr_frontbus_backend_state(struct sr_frontbus *bus);
int sr_frontbus_set_state(struct sr_frontbus *bus, XenbusState state);
/* Waits for one of `states`; the backend's state has to be watched. -ETIMEDOUT. */
int sr_frontbus_await(struct sr_frontbus *bus, unsigned states, XenbusState *state);
/* From any state to Closed on both sides. */
int sr_frontbus_goodbye(struct sr_frontbus *bus);
/* Closes what an earlier frontend left and waits until the backend can be negotiated with. */
int sr_frontbus_begin(struct sr_frontbus *bus);

/* Waits until the backend has what was published and is connected; says why if it doesn't. */
int sr_frontbus_await_connected(struct sr_frontbus *bus);

/*
 * One transaction: removes the nodes of our directory that is_ours() claims (an earlier connection
 * may have left some that mean something else now), then has put() write the new ones. Repeated by
 * itself as long as others are in the way.
 */
struct sr_frontbus_publication {
	bool (*is_ours)(const char *node);
	int (*put)(struct sr_frontbus *bus, xs_transaction_t t, void *arg);
	void *arg;
};
int sr_frontbus_publish(struct sr_frontbus *bus, const struct sr_frontbus_publication *p);

#endif
