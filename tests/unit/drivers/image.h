/* SPDX-License-Identifier: MIT */
#ifndef TEST_DRIVERS_IMAGE_H
#define TEST_DRIVERS_IMAGE_H

/* Images and loop devices for tests; all of them fail the test where they can't do what they say.
 */

#include "rig.h"

#define MIB           (UINT64_C(1) << 20)
#define WHERE         "/var/tmp" /* on a real file system, with O_DIRECT */
#define IMAGE_DRIVERS 2

/* The drivers that take a path. */
extern const char *const image_drivers[IMAGE_DRIVERS];

/* A new file of `size` bytes in `dir`; its path in path[256]. */
void image_make(char *path, const char *dir, uint64_t size);

/* Opens "driver:path,options". */
int image_open(struct rig *rig, const char *driver, const char *path, const char *options,
	       bool read_only);

/* The open fails with `err`, and the line has `part` in it. */
void image_refused(const char *driver, const char *path, const char *options, bool read_only,
		   int err, const char *part);

/* Bytes of the medium that the file takes. */
uint64_t image_allocated(const char *path);

/* NULL: what follows can be had here; else why not. */
const char *media_missing(void);

/* A loop device over the file; its path in path[32], its descriptor returned. */
int loop_make(char *path, const char *image, bool read_only);
void loop_remove(int fd);

/* A tmpfs of `size` bytes that only this process sees; its path in path[64]. */
void small_tmpfs(char *path, const char *size);
void small_tmpfs_remove(const char *path);

#endif
