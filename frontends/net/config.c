/* SPDX-License-Identifier: MIT */
#include "internal.h"

#include <errno.h>

/* What can be changed by xenstore while connected. */

#define MOST_HEADROOM 0x7fffu

static int write_headroom(struct sr_netfront *f, uint16_t headroom)
{
	int rc = sr_frontbus_write(&f->bus, XBT_NULL, f->bus.path, "xdp-headroom", "%u", headroom);

	return rc ? rc : sr_frontbus_set_state(&f->bus, XenbusStateReconfiguring);
}

int sr_netfront_set_headroom(struct sr_netfront *f, uint16_t headroom)
{
	unsigned answer = SR_FRONTBUS_STATE(Reconfigured), gone = SR_FRONTBUS_STATE(Closing) |
								  SR_FRONTBUS_STATE(Closed) |
								  SR_FRONTBUS_STATE(Unknown);
	XenbusState state = XenbusStateUnknown;
	int rc = sr_net_status(f), again;

	if (rc || headroom > MOST_HEADROOM)
		return rc ? rc : -EINVAL;
	if (!sr_frontbus_read_or(&f->bus, f->bus.backend, "feature-xdp-headroom", UINT32_MAX, 0))
		return -ENOTSUP;
	/* The answer is waited for here, not by the thread. */
	sr_net_unfollow(f);
	rc = write_headroom(f, headroom);
	if (!rc)
		rc = sr_frontbus_await(&f->bus, answer | gone, &state);
	if (!rc && state == XenbusStateReconfigured) {
		f->info.headroom = headroom;
		f->options.headroom = headroom;
		rc = sr_frontbus_set_state(&f->bus, XenbusStateConnected);
	} else if (!rc) {
		rc = -ESHUTDOWN;
	}
	again = sr_net_follow(f);
	return rc ? rc : again;
}

int sr_netfront_multicast_control(struct sr_netfront *f, bool on)
{
	int rc = sr_net_status(f);

	if (rc)
		return rc;
	if (!f->info.dynamic_multicast)
		return -ENOTSUP;
	rc = sr_frontbus_write(&f->bus, XBT_NULL, f->bus.path, "request-multicast-control", "%d",
			       on);
	if (!rc)
		f->options.multicast_control = on;
	return rc;
}
