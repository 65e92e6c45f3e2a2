/* SPDX-License-Identifier: MIT */
/* Captures: memory that is shared with whoever writes the packets down, and taps in the lanes. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <capture/ring.h>

#include "vif.h"

#define RING_SIZE (UINT64_C(4) << 20)

struct sr_netback_capture {
	struct sr_netback_capture *next;
	struct sr_netback *nb;
	struct sr_capture_config config;
	size_t bytes;
	struct sr_fabric_capture *taps; /* NULL: there is no fabric */
};

/*
 * A file of the right size from the start: whoever gets it can't shrink it under us. What it costs
 * to touch a page for the first time is paid here and not by the threads that move packets.
 */
static int make_memory(struct sr_netback_capture *c, int *fd)
{
	int rc = 0;

	*fd = memfd_create("splitring-capture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (*fd < 0)
		return -errno;
	if (ftruncate(*fd, (off_t)c->bytes) ||
	    fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		rc = -errno;
	if (!rc) {
		c->config.rings =
		    mmap(NULL, c->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, *fd, 0);
		if (c->config.rings == MAP_FAILED)
			rc = -errno;
	}
	if (rc)
		close(*fd);
	return rc;
}

int sr_netback_start_captures(struct sr_netback *nb)
{
	int rc = 0;

	for (struct sr_netback_capture *c = nb->captures; c && !rc; c = c->next)
		if (!c->taps)
			rc = sr_fabric_capture(nb->fabric, &c->config, &c->taps);
	return rc;
}

void sr_netback_stop_captures(struct sr_netback *nb)
{
	for (struct sr_netback_capture *c = nb->captures; c; c = c->next) {
		sr_fabric_capture_end(c->taps);
		c->taps = NULL;
	}
}

int sr_netback_capture(struct sr_netback *nb, const struct sr_netback_capture_options *options,
		       struct sr_netback_capture **out, int *fd)
{
	struct sr_netback_capture *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->nb = nb;
	c->config.snaplen = options->snaplen;
	c->config.ring_size = RING_SIZE;
	c->config.ring_bytes = sr_capture_ring_bytes(RING_SIZE);
	if (!options->all_domains) {
		c->config.mask = ~(options->all_devices ? (uint64_t)UINT32_MAX : 0);
		c->config.want = sr_capture_vif(options->domid, options->devid) & c->config.mask;
	}
	c->bytes = c->config.ring_bytes * nb->opt.threads;
	rc = make_memory(c, fd);
	if (rc) {
		free(c);
		return rc;
	}
	for (unsigned i = 0; i < nb->opt.threads; i++) {
		struct sr_capture_writer w;

		/* There is something to read from even before the threads run. */
		sr_capture_writer_init(&w, c->config.rings + i * c->config.ring_bytes, RING_SIZE,
				       options->snaplen);
	}
	sr_backend_lock(nb->backend);
	c->next = nb->captures;
	nb->captures = c;
	rc = nb->fabric ? sr_netback_start_captures(nb) : 0;
	sr_backend_unlock(nb->backend);
	if (rc) {
		sr_netback_capture_end(c);
		close(*fd);
		return rc;
	}
	*out = c;
	return 0;
}

void sr_netback_capture_end(struct sr_netback_capture *c)
{
	struct sr_netback_capture **at;

	if (!c)
		return;
	sr_backend_lock(c->nb->backend);
	for (at = &c->nb->captures; *at != c;)
		at = &(*at)->next;
	*at = c->next;
	sr_fabric_capture_end(c->taps);
	sr_backend_unlock(c->nb->backend);
	munmap(c->config.rings, c->bytes);
	free(c);
}
