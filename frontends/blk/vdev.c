/* SPDX-License-Identifier: MIT */
#include <blkfront/vdev.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How xen-vbd-interface(7) numbers: major << 8 | disk << shift | partition, or the extended way. */
enum {
	XVD_MAJOR = 202,
	SD_MAJOR = 8,
	HD_MAJOR_0 = 3,
	HD_MAJOR_1 = 22,
	EXTENDED = 1u << 28,
	EXTENDED_DISKS = 1u << 20,
	EXTENDED_PARTITIONS = 256,
};

/* A decimal number without sign or leading zero, below `limit`; moves *s behind it. */
static bool take_number(const char **s, uint32_t limit, uint32_t *value)
{
	const char *p = *s;
	uint32_t v = 0;

	if (*p < '0' || *p > '9' || (p[0] == '0' && p[1] >= '0' && p[1] <= '9'))
		return false;
	for (; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (uint32_t)(*p - '0');
		if (v >= limit)
			return false;
	}
	*s = p;
	*value = v;
	return true;
}

/* "a" is 0, "z" is 25, "aa" is 26. */
static bool take_letters(const char **s, uint32_t limit, uint32_t *value)
{
	const char *p = *s;
	uint32_t v = 0;

	for (; *p >= 'a' && *p <= 'z'; p++) {
		v = v * 26 + (uint32_t)(*p - 'a') + 1;
		if (v > limit)
			return false;
	}
	if (p == *s)
		return false;
	*s = p;
	*value = v - 1;
	return true;
}

/* Letters and an optional partition from 1 on; nothing may follow. */
static bool letters_and_partition(const char *s, uint32_t *disk, uint32_t *partition)
{
	*partition = 0;
	if (!take_letters(&s, EXTENDED_DISKS, disk))
		return false;
	if (*s && (!take_number(&s, EXTENDED_PARTITIONS, partition) || *partition == 0))
		return false;
	return !*s;
}

static int encode_xvd(uint32_t disk, uint32_t partition, uint32_t *number)
{
	if (disk < 16 && partition < 16)
		*number = XVD_MAJOR << 8 | disk << 4 | partition;
	else
		*number = EXTENDED | disk << 8 | partition;
	return 0;
}

static int parse_plain(const char *name, uint32_t *number)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(name, &end, 0);
	if (errno || *end || v >= EXTENDED << 1)
		return -EINVAL;
	*number = (uint32_t)v;
	return 0;
}

int sr_vdev_parse(const char *name, uint32_t *number)
{
	uint32_t disk, partition;
	const char *s = name;

	if (*name >= '0' && *name <= '9')
		return parse_plain(name, number);
	if (*name == 'd') {
		s = name + 1;
		if (take_number(&s, EXTENDED_DISKS, &disk) && *s++ == 'p' &&
		    take_number(&s, EXTENDED_PARTITIONS, &partition) && !*s)
			return encode_xvd(disk, partition, number);
		return -EINVAL;
	}
	if (!strncmp(name, "xvd", 3)) {
		if (!letters_and_partition(name + 3, &disk, &partition))
			return -EINVAL;
		return encode_xvd(disk, partition, number);
	}
	if (!strncmp(name, "sd", 2)) {
		if (!letters_and_partition(name + 2, &disk, &partition) || disk >= 16 ||
		    partition >= 16)
			return -EINVAL;
		*number = SD_MAJOR << 8 | disk << 4 | partition;
		return 0;
	}
	if (!strncmp(name, "hd", 2)) {
		if (!letters_and_partition(name + 2, &disk, &partition) || disk >= 4 ||
		    partition >= 64)
			return -EINVAL;
		*number = (disk < 2 ? HD_MAJOR_0 : HD_MAJOR_1) << 8 | (disk & 1) << 6 | partition;
		return 0;
	}
	return -EINVAL;
}

static void put_name(char *name, size_t size, const char *prefix, uint32_t disk, uint32_t partition)
{
	char letters[8];
	size_t at = sizeof(letters);

	letters[--at] = '\0';
	for (disk++; disk; disk = (disk - 1) / 26)
		letters[--at] = (char)('a' + (disk - 1) % 26);
	if (partition)
		snprintf(name, size, "%s%s%u", prefix, letters + at, partition);
	else
		snprintf(name, size, "%s%s", prefix, letters + at);
}

void sr_vdev_name(uint32_t number, char *name, size_t size)
{
	uint32_t major = number >> 8, minor = number & 0xff;

	if (number >= EXTENDED && number < EXTENDED << 1)
		put_name(name, size, "xvd", (number & ~EXTENDED) >> 8, minor);
	else if (major == XVD_MAJOR)
		put_name(name, size, "xvd", minor >> 4, minor & 15);
	else if (major == SD_MAJOR)
		put_name(name, size, "sd", minor >> 4, minor & 15);
	else if ((major == HD_MAJOR_0 || major == HD_MAJOR_1) && minor < 128)
		put_name(name, size, "hd", (minor >> 6) + (major == HD_MAJOR_1 ? 2 : 0),
			 minor & 63);
	else
		snprintf(name, size, "%u", number);
}
