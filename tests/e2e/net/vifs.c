/* SPDX-License-Identifier: MIT */
#include "vifs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 30000
#define POSTED      (VIFS_PAGES / 2)
#define ETH_HEADER  14u

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* --- the backend --------------------------------------------------------------------------------
 */

static void *run(void *arg)
{
	struct vifs *w = arg;

	w->result = sr_backend_run(w->backend);
	return NULL;
}

void vifs_start_backend(struct vifs *w)
{
	const struct sr_backend_options options = { .log = &w->log };
	const struct sr_netback_options net = {
		.log = &w->log,
		.registry = w->registry,
		.threads = 2,
		.packets = 4096,
	};

	assert_int_equal(sr_hv_open(w->h.dom0, &w->hv), 0);
	assert_int_equal(sr_backend_new(w->hv, &options, &w->backend), 0);
	assert_int_equal(sr_netback_new(w->hv, w->backend, &net, &w->nb), 0);
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
}

void vifs_stop_backend(struct vifs *w, enum sr_backend_stop how)
{
	sr_backend_stop(w->backend, how);
	pthread_join(w->thread, NULL);
	sr_netback_free(w->nb);
	sr_backend_free(w->backend);
	sr_hv_close(w->hv);
	assert_int_equal(w->result, 0);
}

void vifs_start(struct vifs *w)
{
	memset(w, 0, sizeof(*w));
	w->log = (struct sr_log){
		.fd = STDERR_FILENO,
		.level = getenv("SR_TEST_LOG") ? SR_LOG_DEBUG : SR_LOG_ERROR,
	};
	harness_start(&w->h, "embedded:");
	assert_int_equal(sr_port_registry_new(&w->registry), 0);
	vifs_start_backend(w);
}

void vifs_stop(struct vifs *w)
{
	vifs_stop_backend(w, SR_BACKEND_CLOSE);
	sr_port_registry_free(w->registry);
	harness_stop(&w->h);
}

/* --- nodes --------------------------------------------------------------------------------------
 */

void vifs_write(struct vifs *w, const char *dir, const char *node, const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	assert_true(xs_write(w->h.xs, XBT_NULL, path, value, (unsigned)strlen(value)));
}

static char *read_node(struct vifs *w, const char *dir, const char *node)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	return xs_read(w->h.xs, XBT_NULL, path, NULL);
}

static bool await(struct vifs *w, const char *dir, const char *node, const char *part, bool whole)
{
	for (unsigned i = 0; i < PATIENCE_MS / 2; i++) {
		char *value = read_node(w, dir, node);
		bool same = value && (whole ? !strcmp(value, part) : strstr(value, part) != NULL);

		free(value);
		if (same)
			return true;
		nap();
	}
	return false;
}

void vifs_await(struct vifs *w, const char *dir, const char *node, const char *value)
{
	if (!await(w, dir, node, value, true)) {
		char *is = read_node(w, dir, node);

		fail_msg("%s/%s is %s, not %s", dir, node, is ? is : "missing", value);
	}
}

void vifs_await_error(struct vifs *w, const struct vif *v, const char *part)
{
	if (!await(w, v->back_dir, "hotplug-error", part, false)) {
		char *is = read_node(w, v->back_dir, "hotplug-error");

		fail_msg("the error is %s, not %s", is ? is : "missing", part);
	}
}

static void put(struct vifs *w, xs_transaction_t t, const char *dir, const char *node,
		const char *value)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, node);
	assert_true(xs_write(w->h.xs, t, path, value, (unsigned)strlen(value)));
}

static void make_dir(struct vifs *w, xs_transaction_t t, const char *dir, unsigned owner,
		     unsigned reader)
{
	struct xs_permissions perms[2] = {
		{ .id = owner, .perms = XS_PERM_NONE },
		{ .id = reader, .perms = XS_PERM_READ },
	};

	assert_true(xs_mkdir(w->h.xs, t, dir));
	assert_true(xs_set_permissions(w->h.xs, t, dir, perms, 2));
}

void vifs_attach_rate(struct vifs *w, struct vif *v, const char *bridge, uint8_t index,
		      const char *rate)
{
	char mac[24], number[16];
	xs_transaction_t t;

	memset(v, 0, sizeof(*v));
	v->domid = harness_guest(&w->h, 4096, v->address);
	assert_int_equal(sr_hv_open(v->address, &v->guest), 0);
	snprintf(v->front_dir, sizeof(v->front_dir), "/local/domain/%u/device/vif/0", v->domid);
	snprintf(v->back_dir, sizeof(v->back_dir), "/local/domain/0/backend/vif/%u/0", v->domid);
	memcpy(v->mac, (uint8_t[]){ 0x00, 0x16, 0x3e, 0, 0, index }, 6);
	snprintf(mac, sizeof(mac), "00:16:3e:00:00:%02x", index);
	snprintf(number, sizeof(number), "%u", v->domid);
	t = xs_transaction_start(w->h.xs);
	make_dir(w, t, v->front_dir, v->domid, 0);
	make_dir(w, t, v->back_dir, 0, v->domid);
	put(w, t, v->front_dir, "backend", v->back_dir);
	put(w, t, v->front_dir, "backend-id", "0");
	put(w, t, v->front_dir, "handle", "0");
	put(w, t, v->front_dir, "mac", mac);
	put(w, t, v->front_dir, "state", "1");
	put(w, t, v->back_dir, "frontend", v->front_dir);
	put(w, t, v->back_dir, "frontend-id", number);
	put(w, t, v->back_dir, "handle", "0");
	put(w, t, v->back_dir, "mac", mac);
	put(w, t, v->back_dir, "bridge", bridge);
	if (rate)
		put(w, t, v->back_dir, "rate", rate);
	put(w, t, v->back_dir, "online", "1");
	put(w, t, v->back_dir, "state", "1");
	assert_true(xs_transaction_end(w->h.xs, t, false));
}

void vifs_attach(struct vifs *w, struct vif *v, const char *bridge, uint8_t index)
{
	vifs_attach_rate(w, v, bridge, index, NULL);
}

void vifs_detach(struct vifs *w, struct vif *v)
{
	vifs_write(w, v->back_dir, "online", "0");
	vifs_write(w, v->back_dir, "state", "5");
	vifs_await(w, v->back_dir, "state", "6");
	assert_true(xs_rm(w->h.xs, XBT_NULL, v->back_dir));
	assert_true(xs_rm(w->h.xs, XBT_NULL, v->front_dir));
}

/* --- the guest ----------------------------------------------------------------------------------
 */

int vifs_try_open(struct vif *v, const struct sr_netfront_options *options)
{
	struct sr_netfront_options o = SR_NETFRONT_DEFAULTS;

	if (options)
		o = *options;
	o.error = v->error;
	o.error_size = sizeof(v->error);
	return sr_netfront_open(v->guest, &o, &v->front);
}

static void post(struct vif *v, void *page)
{
	struct sr_netfront_buffer b = { .page = page, .tag = page };

	assert_int_equal(sr_netfront_post(v->q, &b, 1), 1);
}

void vifs_open_deaf(struct vif *v, const struct sr_netfront_options *options)
{
	void *memory;

	if (vifs_try_open(v, options))
		fail_msg("open: %s", v->error);
	v->q = sr_netfront_queue(v->front, 0);
	assert_int_equal(
	    sr_netfront_memory(v->front, VIFS_PAGES * SR_NETFRONT_BUFFER_SIZE, &memory), 0);
	v->memory = memory;
}

void vifs_post(struct vif *v)
{
	for (unsigned i = 0; i < POSTED; i++)
		post(v, v->memory + i * SR_NETFRONT_BUFFER_SIZE);
	assert_int_equal(sr_netfront_kick(v->q), 0);
}

void vifs_open(struct vif *v, const struct sr_netfront_options *options)
{
	vifs_open_deaf(v, options);
	vifs_post(v);
}

void vifs_close(struct vif *v)
{
	if (v->front)
		assert_int_equal(sr_netfront_close(v->front), 0);
	v->front = NULL;
	sr_hv_close(v->guest);
}

void vifs_device(struct vifs *w, const struct vif *v, struct sr_netback_device *device)
{
	struct sr_netback_device *list;
	bool found = false;
	size_t count;

	assert_int_equal(sr_netback_list(w->nb, &list, &count), 0);
	for (size_t i = 0; i < count; i++)
		if (list[i].frontend == v->domid) {
			*device = list[i];
			found = true;
		}
	free(list);
	assert_true(found);
}

/* --- frames -------------------------------------------------------------------------------------
 */

static void fill(uint8_t *frame, const uint8_t to[6], const uint8_t from[6], size_t length,
		 unsigned seed)
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	/* A type that is nobody's: no IP that anything would look into. */
	frame[12] = 0x88;
	frame[13] = 0xb5;
	for (size_t i = ETH_HEADER; i < length; i++)
		frame[i] = (uint8_t)(seed + i * 7 + (i >> 8) * 13);
}

void vifs_send(struct vif *v, const uint8_t to[6], size_t length, unsigned seed)
{
	uint8_t *frame = v->memory + POSTED * SR_NETFRONT_BUFFER_SIZE;
	struct sr_netfront_segment segment = { .addr = frame, .length = (uint32_t)length };
	struct sr_netfront_tx packet = { .segments = &segment, .count = 1, .tag = frame };
	struct sr_netfront_done done;

	fill(frame, to, v->mac, length, seed);
	assert_int_equal(sr_netfront_transmit(v->q, &packet, 1), 1);
	if (sr_netfront_wait(v->q, SR_NETFRONT_TX, PATIENCE_MS))
		fail_msg("a frame of %zu bytes was not taken", length);
	assert_int_equal(sr_netfront_reap(v->q, &done, 1), 1);
	assert_int_equal(done.error, 0);
}

/* The next frame; how long it is. */
static size_t receive(struct vif *v, uint8_t *got)
{
	struct sr_netfront_rx_segment segments[SR_NETFRONT_MAX_SEGMENTS];
	struct sr_netfront_rx packet;
	size_t at = 0;

	if (sr_netfront_wait(v->q, SR_NETFRONT_RX, PATIENCE_MS))
		fail_msg("no frame came");
	assert_int_equal(sr_netfront_receive(v->q, &packet, 1, segments, SR_NETFRONT_MAX_SEGMENTS),
			 1);
	for (unsigned i = 0; i < packet.count; i++) {
		const struct sr_netfront_rx_segment *s = &segments[i];

		memcpy(got + at, (uint8_t *)s->tag + s->offset, s->length);
		at += s->length;
		post(v, s->tag);
	}
	assert_int_equal(sr_netfront_kick(v->q), 0);
	assert_int_equal(packet.length, at);
	return at;
}

void vifs_expect(struct vif *v, const struct vif *from, size_t length, unsigned seed)
{
	static uint8_t got[65536], want[65536];
	size_t len;

	do
		len = receive(v, got);
	while (memcmp(got + 6, from->mac, 6) != 0);
	assert_int_equal(len, length);
	memcpy(want, got, 6);
	fill(want, got, from->mac, length, seed);
	assert_memory_equal(got, want, length);
}
