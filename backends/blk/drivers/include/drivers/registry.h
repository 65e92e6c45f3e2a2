/* SPDX-License-Identifier: MIT */
#ifndef DRIVERS_REGISTRY_H
#define DRIVERS_REGISTRY_H

/*
 * The block drivers a daemon knows: those built in, and those loaded from shared objects; and how a
 * disk's target names one of them.
 *
 * Threads: one at a time (the control thread). Errors: 0 or -errno, and one line for the operator
 * in `error`, always terminated, which names what failed and what to do.
 */

#include <splitring/blk_driver.h>

struct sr_blk_registry;

/* A registry with the built-in drivers. */
int sr_blk_registry_new(struct sr_blk_registry **registry);

/* Unloads what was loaded. Every disk of a loaded driver is closed before. NULL is allowed. */
void sr_blk_registry_free(struct sr_blk_registry *registry);

/*
 * Adds a driver, which must outlive the registry. -EINVAL: it does not keep the contract (the ABI
 * version, a name of [a-z0-9_-], the functions that go together); -EEXIST: the name is taken.
 */
int sr_blk_registry_add(struct sr_blk_registry *registry, const struct sr_blk_driver *driver,
			char *error, size_t error_size);

/*
 * Loads the shared object at `path` (with a slash in it: no search path is used) and adds the
 * driver that it exports as sr_blk_driver. *driver may be NULL where the caller does not want it.
 * -ENOENT: no such file; -ENOEXEC: not a driver; else as sr_blk_registry_add().
 */
int sr_blk_registry_load(struct sr_blk_registry *registry, const char *path,
			 const struct sr_blk_driver **driver, char *error, size_t error_size);

/* The driver of that name, or NULL. */
const struct sr_blk_driver *sr_blk_driver_find(const struct sr_blk_registry *registry,
					       const char *name);

/* To list them: the driver number `index`, or NULL after the last. */
const struct sr_blk_driver *sr_blk_driver_at(const struct sr_blk_registry *registry, size_t index);

/* A disk's target, taken apart. The strings are the target's own. */
struct sr_blk_target {
	const struct sr_blk_driver *driver;
	char *target;  /* sr_blk_open.target */
	char *options; /* sr_blk_open.options */
};

/*
 * Reads "[driver:]target[,key=value...]". Without a driver it is the uring driver's path. A comma
 * that belongs to the target itself is written twice. What stands before the first colon is a
 * driver's name only if it looks like one, so "/images/a:b" and "./a:b" are paths. -EINVAL: empty;
 * -ENOENT: unknown driver (the line names the known ones). sr_blk_target_clear() frees it; it is
 * safe to call after a failure too.
 */
int sr_blk_target_parse(const struct sr_blk_registry *registry, const char *text,
			struct sr_blk_target *target, char *error, size_t error_size);
void sr_blk_target_clear(struct sr_blk_target *target);

/*
 * Opens the disk and checks what the driver says of it (size, alignment: -EPROTO where it breaks
 * the contract), so that the engine can rely on *info. The line in `error` starts with the driver
 * and the target. On failure nothing stays open.
 */
int sr_blk_target_open(const struct sr_blk_target *target, bool read_only, void **disk,
		       struct sr_blk_info *info, char *error, size_t error_size);

/* 0, or -EPROTO and a line where `info` is not what the contract allows. Also for after refresh().
 */
int sr_blk_info_check(const struct sr_blk_info *info, char *error, size_t error_size);

#endif
