/* SPDX-License-Identifier: MIT */
#ifndef SR_E2E_VIFS_H
#define SR_E2E_VIFS_H

/*
 * A machine, a network backend in it, and guests with one NIC each. Every function fails the test
 * by itself.
 */

#include <pthread.h>

#include <net/netback.h>
#include <netfront/netfront.h>
#include <ports/ports.h>

#include "harness.h"

#define VIFS_PAGES 64u

struct vif {
	uint16_t domid;
	char address[128]; /* the guest's */
	char front_dir[64], back_dir[64];
	uint8_t mac[6];
	struct sr_hypervisor *guest;
	struct sr_netfront *front;
	struct sr_netfront_queue *q; /* the first one */
	uint8_t *memory;             /* VIFS_PAGES: the first half is posted, the rest is sent */
	char error[256];             /* of the frontend */
};

struct vifs {
	struct harness h;
	struct sr_log log;
	struct sr_port_registry *registry;
	struct sr_hypervisor *hv;
	struct sr_backend *backend;
	struct sr_netback *nb;
	pthread_t thread;
	int result;
};

void vifs_start(struct vifs *w);
void vifs_stop(struct vifs *w);
/* The backend alone; the guests and the nodes stay. */
void vifs_start_backend(struct vifs *w);
void vifs_stop_backend(struct vifs *w, enum sr_backend_stop how);

/* A guest, and the nodes of a NIC as libxl writes them. `index`: the last byte of its address. */
void vifs_attach(struct vifs *w, struct vif *v, const char *bridge, uint8_t index);
/* With a node `rate` from the start. */
void vifs_attach_rate(struct vifs *w, struct vif *v, const char *bridge, uint8_t index,
		      const char *rate);
void vifs_open(struct vif *v, const struct sr_netfront_options *options);
/* The same, with nothing to receive into until vifs_post(). */
void vifs_open_deaf(struct vif *v, const struct sr_netfront_options *options);
void vifs_post(struct vif *v);
/* What open() answers. */
int vifs_try_open(struct vif *v, const struct sr_netfront_options *options);
/* As libxl: online 0, state 5; waits until the backend is closed, then removes the nodes. */
void vifs_detach(struct vifs *w, struct vif *v);
/* Closes the frontend; nothing may be left mapped. */
void vifs_close(struct vif *v);

void vifs_write(struct vifs *w, const char *dir, const char *node, const char *value);
/* Waits for it. */
void vifs_await(struct vifs *w, const char *dir, const char *node, const char *value);
void vifs_await_error(struct vifs *w, const struct vif *v, const char *part);

/* What the backend says of it. */
void vifs_device(struct vifs *w, const struct vif *v, struct sr_netback_device *device);

/* A frame of `length` bytes with a pattern; it returns once the backend has taken it. */
void vifs_send(struct vif *v, const uint8_t to[6], size_t length, unsigned seed);
/* The next frame of that guest's is this one; others' are passed over. Buffers are posted again. */
void vifs_expect(struct vif *v, const struct vif *from, size_t length, unsigned seed);

#endif
