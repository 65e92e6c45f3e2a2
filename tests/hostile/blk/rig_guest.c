/* SPDX-License-Identifier: MIT */
/*
 * The rig in a guest: SR_HOSTILE_ADDRESS is its hypervisor ("xen:" unless said), and 51712 and
 * 51728 (xvda, xvdb; this one read-only) are its disks, which no kernel of its own has taken. If it
 * has them, 51744 and 51760 are a disk that holds requests and its switch: see held_module.c.
 */
#include "rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <hypervisor.h>

#define READ_ONLY_DEVID 51728u
#define HELD_DEVID      51744u
#define SWITCH_DEVID    51760u

/*
 * The first references of a guest belong to its console and to xenstore. Those of our own pages are
 * kept far from them, by as many bits as there are, for what flips bits at random.
 */
enum { SPARE_PAGES = 1912 };

static struct {
	struct sr_hypervisor *hv;
	struct sr_gntshr *spare;
	struct sr_hostile lever; /* the switch */
	bool can_hold;
	uint32_t devid;
} rig;

const char *rig_address(uint16_t domid)
{
	const char *address = getenv("SR_HOSTILE_ADDRESS");

	return address ? address : "xen:";
}

int rig_start(void **state)
{
	static uint32_t refs[SPARE_PAGES];
	uint16_t self;
	void *pages;
	int rc;

	rc = sr_hv_open(rig_address(0), &rig.hv);
	if (rc)
		return rc;
	self = sr_hv_domid(rig.hv);
	rc = sr_gntshr_open(rig.hv, &rig.spare);
	/* To itself, which has no use for them. */
	if (!rc)
		rc = sr_gntshr_share(rig.spare, self, SPARE_PAGES, false, refs, &pages);
	if (rc)
		return rc;
	rc = sr_hostile_open(rig_address(0), SWITCH_DEVID, &rig.lever);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	rc = sr_hostile_reset(&rig.lever, RIG_TIMEOUT_MS);
	if (!rc)
		rc = sr_hostile_connect(&rig.lever, 0, SR_BLKIF_ABI_NATIVE, RIG_TIMEOUT_MS);
	rig.can_hold = !rc;
	return rc;
}

int rig_stop(void **state)
{
	if (rig.can_hold)
		sr_hostile_close(&rig.lever);
	sr_gntshr_close(rig.spare);
	sr_hv_close(rig.hv);
	return 0;
}

uint16_t rig_guest(const char *params, const char *mode)
{
	rig.devid = strcmp(mode, "r") ? RIG_DEVID : READ_ONLY_DEVID;
	if (rig.can_hold && !strcmp(params, RIG_HELD))
		rig.devid = HELD_DEVID;
	return sr_hv_domid(rig.hv);
}

void rig_open(uint16_t domid, struct sr_hostile *h)
{
	assert_int_equal(sr_hostile_open(rig_address(domid), rig.devid, h), 0);
	/* However the case before has left it. */
	assert_int_equal(sr_hostile_reset(h, RIG_TIMEOUT_MS), 0);
}

void rig_begin(void)
{
}

void rig_end(uint16_t domid)
{
}

void rig_others_go_on(void)
{
}

bool rig_can_hold(void)
{
	return rig.can_hold;
}

int rig_unshare_in_use(void)
{
	return 0;
}

static void use_switch(uint8_t operation)
{
	struct sr_blkif_request req = sr_hostile_request(&rig.lever, operation, 0, 1);

	rig_answer(&rig.lever, &req, BLKIF_RSP_OKAY);
}

static void set_hold(uint8_t hold)
{
	if (!rig.can_hold)
		return;
	rig.lever.data[0] = hold;
	use_switch(BLKIF_OP_WRITE);
}

void rig_release(void)
{
	set_hold(0);
}

void rig_hold(void)
{
	set_hold(1);
}

void rig_await_held(unsigned count)
{
	unsigned have = 0;

	for (unsigned i = 0; rig.can_hold && have < count; i++) {
		assert_true(i < RIG_TIMEOUT_MS / RIG_QUIET_MS);
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = RIG_QUIET_MS * 1000000 }, NULL);
		use_switch(BLKIF_OP_READ);
		memcpy(&have, rig.lever.data, sizeof(have));
	}
}

void rig_await_unmapped(uint16_t domid)
{
}

uint64_t rig_mapped(uint16_t domid)
{
	return 0;
}
