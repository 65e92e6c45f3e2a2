/* SPDX-License-Identifier: MIT */
#include "registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_DRIVER "uring"

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

/* Finds the driver; *rest is what stands behind its colon. */
static int parse_driver(const struct sr_blk_registry *registry, const char *text,
			const struct sr_blk_driver **driver, const char **rest, char *error,
			size_t size)
{
	size_t len = strcspn(text, ":/,="), at = 0;
	char name[SR_PLUGIN_NAME_MAX + 1] = DEFAULT_DRIVER;
	char known[256] = "";

	*rest = text;
	if (text[len] == ':' && sr_plugin_name_ok(text, len)) {
		memcpy(name, text, len);
		name[len] = '\0';
		*rest = text + len + 1;
	}
	*driver = sr_blk_driver_find(registry, name);
	if (*driver)
		return 0;
	for (size_t i = 0; i < registry->count && at < sizeof(known); i++)
		at += (size_t)snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "",
				       registry->entries[i].driver->name);
	return sr_plugin_error(error, size, -ENOENT, "%s: there is no driver '%s'; known are: %s",
			       text, name, known);
}

int sr_blk_target_parse(const struct sr_blk_registry *registry, const char *text,
			struct sr_blk_target *target, char *error, size_t error_size)
{
	const char *rest;
	char *to;
	int err;

	*target = (struct sr_blk_target){ 0 };
	err = parse_driver(registry, text, &target->driver, &rest, error, error_size);
	if (err)
		return err;
	target->target = malloc(strlen(rest) + 1);
	if (!target->target)
		goto no_memory;
	for (to = target->target; *rest && (*rest != ',' || rest[1] == ','); *to++ = *rest++)
		rest += *rest == ',';
	*to = '\0';
	if (to == target->target) {
		sr_blk_target_clear(target);
		return sr_plugin_error(
		    error, error_size, -EINVAL,
		    "'%s' names no disk: it is [driver:]target[,key=value...], as in "
		    "/images/a.img or ram:size=1G",
		    text);
	}
	target->options = strdup(*rest ? rest + 1 : "");
	if (target->options)
		return 0;
no_memory:
	sr_blk_target_clear(target);
	return sr_plugin_error(error, error_size, -ENOMEM, "%s: out of memory", text);
}

void sr_blk_target_clear(struct sr_blk_target *target)
{
	free(target->target);
	free(target->options);
	*target = (struct sr_blk_target){ 0 };
}

int sr_blk_info_check(const struct sr_blk_info *info, char *error, size_t error_size)
{
	uint32_t block = info->logical_block_size;

	if (!power_of_two(block) || block < 512 || block > 4096)
		return sr_plugin_error(error, error_size, -EPROTO,
				       "logical_block_size %u is no power of two from 512 to 4096",
				       block);
	if (info->physical_block_size &&
	    (!power_of_two(info->physical_block_size) || info->physical_block_size < block))
		return sr_plugin_error(
		    error, error_size, -EPROTO,
		    "physical_block_size %u is no multiple of logical_block_size",
		    info->physical_block_size);
	if (info->size == 0 || info->size % block || info->size > INT64_MAX)
		return sr_plugin_error(
		    error, error_size, -EPROTO,
		    "size %llu is no multiple of logical_block_size %u, or it is 0",
		    (unsigned long long)info->size, block);
	if (info->memory_alignment &&
	    (!power_of_two(info->memory_alignment) || info->memory_alignment > 4096))
		return sr_plugin_error(error, error_size, -EPROTO,
				       "memory_alignment %u is no power of two up to 4096",
				       info->memory_alignment);
	if (info->discard_granularity % block || info->discard_alignment % block)
		return sr_plugin_error(
		    error, error_size, -EPROTO,
		    "discard_granularity %u, discard_alignment %u: no multiples of "
		    "logical_block_size",
		    info->discard_granularity, info->discard_alignment);
	return 0;
}

int sr_blk_target_open(const struct sr_blk_target *target, bool read_only, void **disk,
		       struct sr_blk_info *info, char *error, size_t error_size)
{
	char why[512] = "";
	const struct sr_blk_open args = {
		.target = target->target,
		.options = target->options,
		.read_only = read_only,
		.error = why,
		.error_size = sizeof(why),
	};
	int err;

	*info = (struct sr_blk_info){ 0 };
	err = target->driver->open(&args, disk, info);
	if (!err) {
		err = sr_blk_info_check(info, why, sizeof(why));
		if (err && target->driver->close)
			target->driver->close(*disk);
	}
	if (err)
		sr_plugin_error(error, error_size, err, "%s:%s: %s", target->driver->name,
				target->target, why[0] ? why : strerror(-err));
	return err;
}
