/* SPDX-License-Identifier: MIT */
/* Decimal numbers as clients send them: digits only, to the end of the string. */
#ifndef STORE_NUMBER_H
#define STORE_NUMBER_H

#include <errno.h>
#include <stdint.h>

static inline int sr_parse_number(const char *text, uint32_t max, uint32_t *number)
{
	uint64_t value = 0;

	if (*text == '\0')
		return -EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(*text - '0');
		if (value > max)
			return -EINVAL;
	}
	*number = (uint32_t)value;
	return 0;
}

static inline int sr_parse_domid(const char *text, uint16_t *domid)
{
	uint32_t number = 0;
	int ret = sr_parse_number(text, UINT16_MAX, &number);

	*domid = (uint16_t)number;
	return ret;
}

#endif
