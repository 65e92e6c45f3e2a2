/* SPDX-License-Identifier: MIT */
#ifndef SR_XEN_FRAMES_H
#define SR_XEN_FRAMES_H

/*
 * Which frames of the machine hold pages that this domain grants to itself. A grant copy that names
 * our own page by its frame spares Xen the look-up of a reference, and its lock.
 *
 * Xen says so where a grant is mapped for devices, which takes no address of ours; the mapping is
 * given up at once. Only for dom0, and only where it is a PV domain: any other could be moved to
 * other frames by being saved and restored, or knows frames by numbers of its own.
 */

#include <stdint.h>

/*
 * frames[i]: the frame of the page that refs[i] gives `domid`, which is ourselves. They hold as
 * long as the pages are granted: the kernel gives such a page away no sooner. -ENOTSUP: not in this
 * domain; other negative values: Xen does not say.
 */
int sr_xen_frames(uint16_t domid, const uint32_t *refs, unsigned count, uint64_t *frames);

#endif
