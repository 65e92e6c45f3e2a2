/* SPDX-License-Identifier: MIT */
/* Connections: their handles, and the views of other domains that they hold. */
#include "internal.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HELD_SIZE (DOMID_FIRST_RESERVED * sizeof(struct sr_held))

static int map_track(struct sr_conn *conn, int fd)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((size_t)st.st_size < SR_PAGE_SIZE)
		return -EINVAL;
	conn->track_size = (size_t)st.st_size;
	p = mmap(NULL, conn->track_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	conn->header = p;
	conn->journal = &conn->header->journal;
	conn->track = (struct sr_maptrack *)((uint8_t *)p + SR_PAGE_SIZE);
	conn->capacity = conn->header->capacity;
	if (conn->header->magic != SR_MAPTRACK_MAGIC || conn->header->conn != conn->id ||
	    conn->header->domid != conn->domid ||
	    conn->track_size < sr_maptrack_size(conn->capacity))
		return -EINVAL;
	return 0;
}

static void conn_free(struct sr_conn *conn)
{
	if (conn->header)
		munmap(conn->header, conn->track_size);
	if (conn->held)
		munmap(conn->held, HELD_SIZE);
	free(conn);
}

int sr_conn_open(const struct sr_conn_params *params, struct sr_conn **out)
{
	struct sr_conn *conn = calloc(1, sizeof(*conn));
	void *p;
	int ret;

	if (!conn)
		return -ENOMEM;
	conn->id = params->id;
	conn->domid = params->domid;
	conn->foreigns = params->foreigns;
	conn->first_held = SR_HELD_END;
	ret = map_track(conn, params->maptrack_fd);
	if (ret < 0)
		goto fail;
	p = mmap(NULL, HELD_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		ret = -errno;
		goto fail;
	}
	conn->held = p;
	/* Not 0 for who takes over a dead connection. */
	conn->used = atomic_load(&conn->header->used);
	if (conn->used > conn->capacity)
		conn->used = conn->capacity;
	*out = conn;
	return 0;
fail:
	conn_free(conn);
	return ret;
}

static void held_free_direct(struct sr_held *held)
{
	if (held->direct)
		munmap(held->direct, held->view->nr_pages * sizeof(struct sr_direct));
	held->direct = NULL;
}

static void conn_release(struct sr_conn *conn, uint16_t domid)
{
	struct sr_held *held = &conn->held[domid];
	uint16_t *link = &conn->first_held;

	while (*link != domid)
		link = &conn->held[*link].next;
	*link = held->next;
	held_free_direct(held);
	sr_foreign_put(conn->foreigns, held->view);
	held->view = NULL;
}

void sr_conn_forget(struct sr_conn *conn)
{
	while (conn->first_held != SR_HELD_END)
		conn_release(conn, conn->first_held);
	conn_free(conn);
}

void sr_conn_close(struct sr_conn *conn)
{
	if (!conn)
		return;
	sr_conn_unmap_areas(conn);
	for (uint32_t h = 0; h < conn->used; h++)
		if (sr_handle_mapped(conn, h))
			sr_unmap_one(conn, h);
	sr_conn_forget(conn);
}

void sr_conn_hold(struct sr_conn *conn, struct sr_foreign *view)
{
	struct sr_held *held = &conn->held[view->domid];

	held->view = view;
	held->mapped = 0;
	held->next = conn->first_held;
	conn->first_held = view->domid;
}

struct sr_foreign *sr_conn_view(struct sr_conn *conn, uint16_t domid)
{
	struct sr_foreign *view;

	if (domid >= DOMID_FIRST_RESERVED)
		return NULL;
	view = conn->held[domid].view;
	if (__builtin_expect(view != NULL, 1))
		return view;
	if (sr_foreign_get(conn->foreigns, domid, &view) < 0)
		return NULL;
	sr_conn_hold(conn, view);
	return view;
}

bool sr_conn_drop_dead(struct sr_conn *conn, uint16_t domid)
{
	struct sr_held *held = &conn->held[domid];

	if (!held->view || held->mapped || !sr_foreign_dead(held->view))
		return false;
	conn_release(conn, domid);
	return true;
}

void sr_conn_reap(struct sr_conn *conn)
{
	uint16_t domid = conn->first_held;

	while (domid != SR_HELD_END) {
		uint16_t next = conn->held[domid].next;

		sr_conn_drop_dead(conn, domid);
		domid = next;
	}
}

void sr_conn_settle(struct sr_conn *conn)
{
	uint16_t domid = conn->first_held;

	if (__builtin_expect(!conn->unsettled, 1))
		return;
	conn->unsettled = false;
	while (domid != SR_HELD_END) {
		uint16_t next = conn->held[domid].next;

		if (!conn->held[domid].mapped)
			conn_release(conn, domid);
		domid = next;
	}
}

uint32_t sr_conn_mapped(const struct sr_conn *conn)
{
	return conn->mapped;
}

int sr_handle_alloc(struct sr_conn *conn, uint32_t *handle)
{
	if (conn->free_head) {
		*handle = conn->free_head - 1;
		conn->free_head = conn->track[*handle].frame;
		return 0;
	}
	if (conn->used == conn->capacity)
		return -ENOSPC;
	*handle = conn->used++;
	/* Before the handle can come to be mapped: recovery looks no further than this. */
	atomic_store_explicit(&conn->header->used, conn->used, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	return 0;
}

void sr_handle_free(struct sr_conn *conn, uint32_t handle)
{
	conn->track[handle].frame = conn->free_head;
	conn->free_head = handle + 1;
}

bool sr_handle_mapped(const struct sr_conn *conn, uint32_t handle)
{
	return handle < conn->used &&
	       atomic_load_explicit(&conn->track[handle].mapped, memory_order_relaxed);
}

int sr_grant_handle_info(const struct sr_conn *conn, uint32_t handle, struct sr_maptrack *out)
{
	if (!sr_handle_mapped(conn, handle))
		return -ENOENT;
	out->ref = conn->track[handle].ref;
	out->granter = conn->track[handle].granter;
	out->flags = conn->track[handle].flags;
	out->frame = conn->track[handle].frame;
	atomic_store_explicit(&out->mapped, 1, memory_order_relaxed);
	return 0;
}

/*
 * Whoever holds a lock needs a microsecond at most, unless it lost its processor or its life. The
 * first calls for patience; in the second the machine process has to stop waiting, since it alone
 * can mend it.
 */
bool sr_conn_wait(const struct sr_conn *conn, uint32_t *round)
{
	const uint32_t spins = 64, yields = 256;
	uint32_t naps = conn->impatient ? 20 : 10000;
	uint32_t n = (*round)++;

	if (n < spins) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#endif
	} else if (n < spins + yields) {
		sched_yield();
	} else if (n < spins + yields + naps) {
		usleep(100);
	} else {
		return false;
	}
	return true;
}
