/* SPDX-License-Identifier: MIT */
/*
 * guest-hostile-stages DEVID...: leaves the guest's first disk at the first stage of a handshake,
 * the second at the next and so on, says that it is there, and stays, so that somebody may destroy
 * the guest or take its disks. The busy one has requests all the time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "rig.h"
#include "stages.h"

/* Answers don't matter: what has been answered makes room. */
static void keep_busy(struct sr_hostile *h)
{
	struct blkif_response rsp;

	for (uint64_t i = 0;; i++) {
		struct sr_blkif_request req;

		if (sr_hostile_response(h, 1000, &rsp))
			continue;
		req = sr_hostile_indirect(h, BLKIF_OP_READ + i % 2, i % 1024, 250);
		sr_hostile_put(h, &req);
		sr_hostile_kick(h);
	}
}

int main(int argc, char **argv)
{
	static struct sr_hostile guests[STAGES];
	/* The one that shall be busy comes last: the others are where they belong by then. */
	unsigned count = argc > STAGES ? STAGES : (unsigned)argc - 1;

	for (unsigned stage = OPENED; stage < count; stage++) {
		struct sr_hostile *h = &guests[stage];
		uint32_t devid = (uint32_t)strtoul(argv[1 + stage], NULL, 0);

		assert_int_equal(sr_hostile_open(rig_address(0), devid, h), 0);
		if (stage != BUSY)
			stage_go_to(h, stage);
	}
	puts("ready");
	fflush(stdout);
	if (count > BUSY) {
		stage_go_to(&guests[BUSY], BUSY);
		keep_busy(&guests[BUSY]);
	}
	for (;;)
		pause();
}
