/* SPDX-License-Identifier: MIT */
/*
 * Each way of asking a disk, on memory of ours and on a guest's pages as they are mapped:
 *
 *     way WAY MEMORY PAGES READ NS WRITE NS
 *
 * MEMORY is "own"; "mapped": the guest's, mapped by one call; "mapped-in-pieces": the same, a piece
 * a page; "mapped-singly": mapped page by page. READ and WRITE are "ok" after the data were found
 * right, in the disk and in the guest by its own account; "wrong"; or the name of the error, that
 * of the registration for registered buffers.
 */
#include "datapath.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <remote.h>

#define WRONG 1
#define PEEK  256u /* bytes of a page's two ends that the guest itself is asked for */

static const char *const way_names[DP_WAYS] = { "preadv", "libaio", "io_uring",
						"io_uring-registered" };
static uint8_t seed;

struct memory {
	const char *name;
	struct iovec iov[DP_PAGES];
	unsigned count;
	size_t length;
	bool guests;
};

static uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 7 + i / SR_PAGE_SIZE + seed);
}

static void fill(const struct memory *m)
{
	size_t at = 0;

	for (unsigned i = 0; i < m->count; i++)
		for (size_t j = 0; j < m->iov[i].iov_len; j++)
			((uint8_t *)m->iov[i].iov_base)[j] = byte_at(at++);
}

static bool is_filled(const struct memory *m)
{
	size_t at = 0;

	for (unsigned i = 0; i < m->count; i++)
		for (size_t j = 0; j < m->iov[i].iov_len; j++)
			if (((volatile uint8_t *)m->iov[i].iov_base)[j] != byte_at(at++))
				return false;
	return true;
}

/* The ends of the memory, as the guest sees them. */
static void put_ends(const struct dp_pages *p, const struct memory *m)
{
	uint8_t bytes[PEEK];

	for (int end = 0; end < 2 && m->guests; end++) {
		size_t at = end ? m->length - PEEK : 0;

		for (size_t i = 0; i < PEEK; i++)
			bytes[i] = byte_at(at + i);
		remote_put(p->guest + at, bytes, PEEK);
	}
}

static bool ends_are_filled(const struct dp_pages *p, const struct memory *m)
{
	uint8_t bytes[PEEK];

	for (int end = 0; end < 2 && m->guests; end++) {
		size_t at = end ? m->length - PEEK : 0;

		remote_get(p->guest + at, bytes, PEEK);
		for (size_t i = 0; i < PEEK; i++)
			if (bytes[i] != byte_at(at + i))
				return false;
	}
	return true;
}

/* The disk's beginning through memory of ours that no other case uses. */
static int plain(struct dp_disk *disk, bool write, size_t length, struct memory *m)
{
	static uint8_t *buffer;
	int n;

	if (!buffer)
		buffer = aligned_alloc(SR_PAGE_SIZE, DP_PAGES * SR_PAGE_SIZE);
	*m = (struct memory){ .iov = { { buffer, length } }, .count = 1, .length = length };
	if (write)
		fill(m);
	n = dp_transfer(disk, DP_PREADV, write, m->iov, 1);
	return n < 0 ? n : (size_t)n == length ? 0 : WRONG;
}

static int check_read(struct dp_pages *p, struct dp_disk *disk, enum dp_way way,
		      const struct memory *m)
{
	struct memory other;
	int n;

	seed++;
	fill(m);
	seed++;
	n = plain(disk, true, m->length, &other);
	if (n)
		return n;
	n = dp_transfer(disk, way, false, m->iov, m->count);
	if (n < 0)
		return n;
	return (size_t)n == m->length && is_filled(m) && ends_are_filled(p, m) ? 0 : WRONG;
}

static int check_write(struct dp_pages *p, struct dp_disk *disk, enum dp_way way,
		       const struct memory *m)
{
	struct memory other;
	int n;

	seed++;
	fill(m);
	seed++;
	fill(m);
	put_ends(p, m);
	n = dp_transfer(disk, way, true, m->iov, m->count);
	if (n < 0)
		return n;
	if ((size_t)n != m->length)
		return WRONG;
	n = plain(disk, false, m->length, &other);
	return n ? n : is_filled(&other) ? 0 : WRONG;
}

static void print_result(struct dp_disk *disk, enum dp_way way, bool write, const struct memory *m,
			 int result)
{
	uint64_t start = dp_now_ns(), spent = 0;
	unsigned rounds = 0;

	if (result) {
		printf(" %s -", result == WRONG ? "wrong" : strerrorname_np(-result));
		return;
	}
	for (; rounds < DP_ROUNDS && spent < DP_ENOUGH_NS; rounds++) {
		dp_transfer(disk, way, write, m->iov, m->count);
		spent = dp_now_ns() - start;
	}
	printf(" ok %" PRIu64, spent / rounds);
}

static void try_way(struct dp_pages *p, struct dp_disk *disk, enum dp_way way,
		    const struct memory *m)
{
	int err = 0;

	if (way == DP_URING_FIXED)
		err = io_uring_register_buffers(&disk->ring, m->iov, 1);
	printf("way %s %s %zu", way_names[way], m->name, m->length / SR_PAGE_SIZE);
	print_result(disk, way, false, m, err ? err : check_read(p, disk, way, m));
	print_result(disk, way, true, m, err ? err : check_write(p, disk, way, m));
	printf("\n");
	if (way == DP_URING_FIXED && !err)
		io_uring_unregister_buffers(&disk->ring);
}

static struct memory in_one_piece(const char *name, uint8_t *at, unsigned pages, bool guests)
{
	size_t length = (size_t)pages * SR_PAGE_SIZE;

	return (struct memory){ name, { { at, length } }, 1, length, guests };
}

/* The guest's pages a piece each, so that each has to be looked up by itself. */
static struct memory in_pages(const struct dp_pages *p, const char *name, bool singly)
{
	struct memory m = {
		.name = name, .count = DP_PAGES, .length = DP_PAGES * SR_PAGE_SIZE, .guests = true
	};

	for (unsigned i = 0; i < DP_PAGES; i++)
		m.iov[i] =
		    (struct iovec){ singly ? p->each[i] : p->run + i * SR_PAGE_SIZE, SR_PAGE_SIZE };
	return m;
}

void dp_ways(struct dp_pages *p, struct dp_disk *disk)
{
	const struct memory all[] = {
		in_one_piece("own", p->own, 1, false),
		in_one_piece("mapped", p->run, 1, true),
		in_one_piece("own", p->own, DP_PAGES, false),
		in_one_piece("mapped", p->run, DP_PAGES, true),
		in_pages(p, "mapped-in-pieces", false),
		in_pages(p, "mapped-singly", true),
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (int way = 0; way < DP_WAYS; way++)
			if (way != DP_URING_FIXED || all[i].count == 1)
				try_way(p, disk, (enum dp_way)way, &all[i]);
}
