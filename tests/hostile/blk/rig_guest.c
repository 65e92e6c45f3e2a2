/* SPDX-License-Identifier: MIT */
/*
 * The rig in a guest: SR_HOSTILE_ADDRESS is its hypervisor ("xen:" unless said), and 51712 and
 * 51728 (xvda, xvdb; this one read-only) are its disks, which no kernel of its own has taken.
 */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <hypervisor.h>

#define READ_ONLY_DEVID 51728u

/*
 * The first references of a guest belong to its console and to xenstore. Those of our own pages are
 * kept far from them, by as many bits as there are, for what flips bits at random.
 */
enum { SPARE_PAGES = 1912 };

static struct {
	struct sr_hypervisor *hv;
	struct sr_gntshr *spare;
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
	return rc;
}

int rig_stop(void **state)
{
	sr_gntshr_close(rig.spare);
	sr_hv_close(rig.hv);
	return 0;
}

uint16_t rig_guest(const char *params, const char *mode)
{
	rig.devid = strcmp(mode, "r") ? RIG_DEVID : READ_ONLY_DEVID;
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
	return false;
}

int rig_unshare_in_use(void)
{
	return 0;
}

void rig_release(void)
{
}

void rig_hold(void)
{
}

void rig_await_held(unsigned count)
{
}

void rig_await_unmapped(uint16_t domid)
{
}

uint64_t rig_mapped(uint16_t domid)
{
	return 0;
}
