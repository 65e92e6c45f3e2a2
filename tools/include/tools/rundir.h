/* SPDX-License-Identifier: MIT */
#ifndef SR_TOOLS_RUNDIR_H
#define SR_TOOLS_RUNDIR_H

#include <tools/fail.h>

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Where things are while they run:
 *
 *   BASE              $SPLITRING_RUN, or /run/splitring for root, or $XDG_RUNTIME_DIR/splitring
 *   BASE/NAME/        an embedded machine: its sockets (see <embedded/machine.h>), `log`,
 * `console/` DIR/splitringd-DOMID.{sock,lock} the daemon that serves as domain DOMID of it; on Xen
 * in BASE/xen/
 */

/* BASE. -ENAMETOOLONG. */
int sr_run_base(char *dir, size_t size, struct sr_fail *f);

/* The directory of the machine `name`; a name with a slash in it is the directory itself. */
int sr_run_machine_dir(const char *name, char *dir, size_t size, struct sr_fail *f);

/*
 * The directory of the hypervisor at `address` as sr_hv_open() takes it, and the domain that it
 * names (0 where it names none). -EINVAL: no such kind of address.
 */
int sr_run_address_dir(const char *address, char *dir, size_t size, uint16_t *domid,
		       struct sr_fail *f);

/* `mkdir -p` of the last two parts of `dir`, mode 0755 and 0700: BASE and a machine in it. */
int sr_run_make_dir(const char *dir, struct sr_fail *f);

#endif
