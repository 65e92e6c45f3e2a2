/* SPDX-License-Identifier: MIT */
/*
 * data-path DOMID DISK...: which ways a guest's data may take to a disk, and what each costs. In
 * domain DOMID `contract-peer xen: THIS_DOMAIN` has to run. The first 128 KiB of each DISK are
 * written over. The lines it prints are described in ways.c and costs.c.
 */
#include "datapath.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <remote.h>

#define SIZE ((size_t)DP_PAGES * SR_PAGE_SIZE)
#define RW   (PROT_READ | PROT_WRITE)

int dp_pages_open(uint16_t domid, struct dp_pages *p)
{
	int err = sr_hv_open("xen:", &p->hv);

	p->domid = domid;
	if (!err)
		err = remote_open(p->hv, domid, &p->guest_hv);
	if (!err)
		err = sr_gntshr_open(p->guest_hv, &p->gs);
	if (!err)
		err = sr_gntshr_share(p->gs, sr_hv_domid(p->hv), DP_PAGES, true, p->refs,
				      (void **)&p->guest);
	if (!err)
		err = sr_gnttab_open(p->hv, &p->gt);
	if (!err)
		err = sr_gnttab_map(p->gt, domid, p->refs, DP_PAGES, RW, (void **)&p->run);
	for (unsigned i = 0; i < DP_PAGES && !err; i++)
		err = sr_gnttab_map(p->gt, domid, p->refs + i, 1, RW, (void **)&p->each[i]);
	if (err)
		return err;
	p->own = mmap(NULL, SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	return p->own == MAP_FAILED ? -ENOMEM : 0;
}

void dp_pages_close(struct dp_pages *p)
{
	sr_gnttab_close(p->gt);
	sr_gntshr_close(p->gs);
	sr_hv_close(p->guest_hv);
	sr_hv_close(p->hv);
	munmap(p->own, SIZE);
}

static int fail(const char *what, int err)
{
	fprintf(stderr, "data-path: %s: %s\n", what, strerror(-err));
	return 1;
}

int main(int argc, char **argv)
{
	struct dp_pages pages = { 0 };
	struct dp_disk disk;
	int err;

	if (argc < 2) {
		fputs("usage: data-path DOMID DISK...\n", stderr);
		return 2;
	}
	err = dp_pages_open((uint16_t)atoi(argv[1]), &pages);
	if (err)
		return fail(argv[1], err);
	dp_page_costs(&pages);
	for (int i = 2; i < argc; i++) {
		err = dp_disk_open(argv[i], &disk);
		if (err)
			return fail(argv[i], err);
		printf("disk %s\n", argv[i]);
		dp_ways(&pages, &disk);
		dp_requests(&pages, &disk);
		dp_disk_close(&disk);
	}
	dp_pages_close(&pages);
	return 0;
}
