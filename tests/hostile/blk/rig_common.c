/* SPDX-License-Identifier: MIT */
/* What a case asks of its own device, wherever that is. */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <xen/io/xenbus.h>

#include <hypervisor.h>

void rig_answer(struct sr_hostile *h, const struct sr_blkif_request *req, int status)
{
	int got;

	assert_int_equal(sr_hostile_io(h, req, RIG_TIMEOUT_MS, &got), 0);
	assert_int_equal(got, status);
}

void rig_io_works(struct sr_hostile *h)
{
	struct sr_blkif_request req = sr_hostile_request(h, BLKIF_OP_WRITE, 64, 2);
	uint8_t want[2 * SR_PAGE_SIZE];

	for (size_t i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 7 + h->next_id);
	memcpy(h->data, want, sizeof(want));
	rig_answer(h, &req, BLKIF_RSP_OKAY);
	memset(h->data, 0, sizeof(want));
	req = sr_hostile_request(h, BLKIF_OP_READ, 64, 2);
	rig_answer(h, &req, BLKIF_RSP_OKAY);
	assert_memory_equal(h->data, want, sizeof(want));
}

void rig_is_refused(struct sr_hostile *h, uint16_t domid)
{
	assert_true(sr_hostile_await(h, 1u << XenbusStateClosing | 1u << XenbusStateClosed,
				     RIG_TIMEOUT_MS) > 0);
	rig_await_unmapped(domid);
}

void rig_reconnects(struct sr_hostile *h)
{
	assert_int_equal(sr_hostile_reset(h, RIG_TIMEOUT_MS), 0);
	assert_int_equal(sr_hostile_connect(h, 0, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS), 0);
	rig_io_works(h);
}
