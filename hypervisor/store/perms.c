// SPDX-License-Identifier: MIT
#include "perms.h"
#include "number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct sr_perms *perms_alloc(size_t count)
{
	struct sr_perms *perms = malloc(sizeof(*perms) + count * sizeof(perms->entry[0]));

	if (perms) {
		perms->refs = 1;
		perms->count = (uint32_t)count;
	}
	return perms;
}

static bool access_valid(char access)
{
	return access == 'n' || access == 'r' || access == 'w' || access == 'b';
}

int sr_perms_new(const struct sr_store_perm *entries, size_t count, struct sr_perms **perms)
{
	if (count == 0)
		return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		if (!access_valid(entries[i].access))
			return -EINVAL;
	}
	*perms = perms_alloc(count);
	if (!*perms)
		return -ENOMEM;
	memcpy((*perms)->entry, entries, count * sizeof(*entries));
	return 0;
}

static int entry_parse(const char *text, struct sr_store_perm *entry)
{
	if (!access_valid(text[0]))
		return -EINVAL;
	entry->access = text[0];
	return sr_parse_domid(text + 1, &entry->domid);
}

int sr_perms_parse(const char *text, size_t len, struct sr_perms **perms)
{
	const char *end = text + len;
	size_t count = 0;

	if (len == 0 || end[-1] != '\0')
		return -EINVAL;
	for (const char *p = text; p < end; p += strlen(p) + 1)
		count++;
	*perms = perms_alloc(count);
	if (!*perms)
		return -ENOMEM;
	count = 0;
	for (const char *p = text; p < end; p += strlen(p) + 1) {
		int ret = entry_parse(p, &(*perms)->entry[count++]);

		if (ret) {
			sr_perms_put(*perms);
			*perms = NULL;
			return ret;
		}
	}
	return 0;
}

int sr_perms_format(const struct sr_perms *perms, char *text, size_t size, size_t *len)
{
	size_t used = 0;

	for (uint32_t i = 0; i < perms->count; i++) {
		int n = snprintf(text + used, size - used, "%c%u", perms->entry[i].access,
				 perms->entry[i].domid);

		if (n < 0 || (size_t)n + 1 > size - used)
			return -E2BIG;
		used += (size_t)n + 1;
	}
	*len = used;
	return 0;
}

struct sr_perms *sr_perms_owned_by(struct sr_perms *perms, uint16_t domid)
{
	struct sr_perms *mine;

	if (sr_perms_owner(perms) == domid)
		return sr_perms_get(perms);
	mine = perms_alloc(perms->count);
	if (!mine)
		return NULL;
	memcpy(mine->entry, perms->entry, perms->count * sizeof(perms->entry[0]));
	mine->entry[0].domid = domid;
	return mine;
}

bool sr_perms_name(const struct sr_perms *perms, uint16_t domid)
{
	for (uint32_t i = 1; i < perms->count; i++) {
		if (perms->entry[i].domid == domid)
			return true;
	}
	return false;
}

struct sr_perms *sr_perms_without(const struct sr_perms *perms, uint16_t domid)
{
	struct sr_perms *rest = perms_alloc(perms->count);

	if (!rest)
		return NULL;
	rest->count = 0;
	for (uint32_t i = 0; i < perms->count; i++) {
		if (i == 0 || perms->entry[i].domid != domid)
			rest->entry[rest->count++] = perms->entry[i];
	}
	return rest;
}

static unsigned access_bits(char access)
{
	switch (access) {
	case 'r':
		return SR_MAY_READ;
	case 'w':
		return SR_MAY_WRITE;
	case 'b':
		return SR_MAY_READ | SR_MAY_WRITE;
	default:
		return 0;
	}
}

unsigned sr_perms_access(const struct sr_perms *perms, uint16_t domid, uint16_t target)
{
	uint16_t owner = sr_perms_owner(perms);

	if (domid == 0 || owner == domid || owner == target)
		return SR_MAY_READ | SR_MAY_WRITE | SR_MAY_OWN;
	for (uint32_t i = 1; i < perms->count; i++) {
		if (perms->entry[i].domid == domid || perms->entry[i].domid == target)
			return access_bits(perms->entry[i].access);
	}
	return access_bits(perms->entry[0].access);
}

void sr_perms_put(struct sr_perms *perms)
{
	if (perms && --perms->refs == 0)
		free(perms);
}
