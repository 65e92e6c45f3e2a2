/* SPDX-License-Identifier: MIT */
#ifndef SR_TOOLS_DISK_H
#define SR_TOOLS_DISK_H

#include <tools/fail.h>

#include <stdbool.h>
#include <stdint.h>

/*
 * A disk as the operator writes it, xl-disk-configuration(5):
 *
 *   /img,raw,xvda,w      format=raw,vdev=xvda,access=rw,target=/img
 *
 * and with one extension: a target that does not begin with a slash names a driver of splitringd
 * and what that driver opens, "target=null:size=1G" or "target=uring:/img,direct=on".
 */

/* The folder in the backend's part of xenstore: libxl's two ways for one and the same protocol. */
enum sr_disk_kind {
	SR_DISK_VBD,   /* backend/vbd: backendtype=phy, and the default */
	SR_DISK_QDISK, /* backend/qdisk: backendtype=qdisk */
};

struct sr_disk {
	enum sr_disk_kind kind;
	char *target;  /* absolute path, "driver:target,options", or "": a CD-ROM drive with nothing
			  in */
	char *vdev;    /* as written: "xvda" */
	char *backend; /* the backend's domain, name or number; NULL: dom0 */
	uint32_t number; /* of vdev */
	bool writable;
	bool cdrom;
	bool removable;
	bool discard; /* the guest may */
	bool direct_io_safe;
};

/*
 * A relative path is made absolute. What we can't do (a format other than raw, backendtype=tap, a
 * script) is refused with -EINVAL, as is what libxlutil refuses. Free with sr_disk_free().
 */
int sr_disk_parse(const char *spec, struct sr_disk *disk, struct sr_fail *f);
void sr_disk_free(struct sr_disk *disk);

/* "vbd", "qdisk" */
const char *sr_disk_kind_name(enum sr_disk_kind kind);

#endif
