/* SPDX-License-Identifier: MIT */
#ifndef DATAPATH_H
#define DATAPATH_H

/*
 * What a request's data may lie in while the disk works on them, and how the disk is asked.
 * Functions return 0 (or a count) and -errno.
 */

#include <hypervisor.h>
#include <libaio.h>
#include <liburing.h>
#include <stdint.h>

#define DP_PAGES 32u
/* A figure is the mean of so many rounds, or of those that were begun in so many ns. */
#define DP_ROUNDS    100u
#define DP_ENOUGH_NS 20000000u

/* The pages of a guest, in which contract-peer runs, and as many of ours. */
struct dp_pages {
	struct sr_hypervisor *hv, *guest_hv;
	struct sr_gnttab *gt;
	struct sr_gntshr *gs;
	uint16_t domid;
	uint32_t refs[DP_PAGES];
	uint8_t *guest; /* contract-peer's: for remote_put() and remote_get() */
	uint8_t *own;
	uint8_t *run;            /* all of the guest's, mapped by one call */
	uint8_t *each[DP_PAGES]; /* the same pages once more, each by a call of its own */
};

int dp_pages_open(uint16_t domid, struct dp_pages *pages);
void dp_pages_close(struct dp_pages *pages);

enum dp_way { DP_PREADV, DP_AIO, DP_URING, DP_URING_FIXED, DP_WAYS };

struct dp_disk {
	int fd;
	io_context_t aio;
	struct io_uring ring;
};

int dp_disk_open(const char *path, struct dp_disk *disk);
void dp_disk_close(struct dp_disk *disk);
/*
 * Transfers `count` pieces to or from the disk's beginning and waits for it. DP_URING_FIXED takes
 * one piece, which lies in what was registered as the ring's buffer 0.
 */
int dp_transfer(struct dp_disk *disk, enum dp_way way, bool write, const struct iovec *iov,
		unsigned count);
uint64_t dp_now_ns(void);

/* Which memory each way of asking takes, and whether the data are right: a line each. */
void dp_ways(struct dp_pages *pages, struct dp_disk *disk);
/* What a request of 1, 8 and 32 pages costs by the way its data go: a line each. */
void dp_requests(struct dp_pages *pages, struct dp_disk *disk);
/* What a page costs before and after the disk has had it: a line each. */
void dp_page_costs(struct dp_pages *pages);

#endif
